#include "machine/requirement.h"

#include <sys/stat.h>

#include "base/wire.h"

namespace machine {
namespace {

constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kFieldCount = 9;
constexpr std::size_t kFileFieldCount = 4;
constexpr std::size_t kFlagSizeMax = 32;

void read_ids(base::Reader& in, std::vector<std::uint32_t>& out) {
  const std::size_t count = in.array(kRequiredIdsMax);
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    const auto id = static_cast<std::uint32_t>(in.u64(UINT32_MAX));
    if (!out.empty() && id <= out.back()) in.reject("ids that are not sorted");
    out.push_back(id);
  }
}

void read_files(base::Reader& in, std::vector<RequiredFile>& out) {
  const std::size_t count = in.array(kRequiredFilesMax);
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    in.array_of(kFileFieldCount);
    RequiredFile file;
    file.path = in.text(kRequiredPathSizeMax);
    file.size = in.u64(INT64_MAX);
    file.mode = static_cast<std::uint32_t>(in.u64(0177777));
    file.hash = in.fixed<std::tuple_size_v<base::crypto::Hash256>>();
    if (!in.ok()) return;
    if (!valid_required_path(file.path)) return in.reject("a path that no job needs");
    if (!S_ISREG(file.mode) && !S_ISDIR(file.mode)) return in.reject("neither file nor folder");
    if (S_ISDIR(file.mode) && file.size != 0) return in.reject("a folder with content");
    if (!out.empty() && file.path <= out.back().path) return in.reject("files out of order");
    out.push_back(std::move(file));
  }
}

void write_ids(base::Writer& out, const std::vector<std::uint32_t>& ids) {
  out.array(ids.size());
  for (const std::uint32_t id : ids) out.u64(id);
}

}  // namespace

bool valid_required_path(std::string_view path) {
  if (path.empty() || path.size() > kRequiredPathSizeMax || path[0] != '/') return false;
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) return false;
  }
  for (const std::string_view bad : {"/proc", "/sys"}) {
    if (path == bad || (path.starts_with(bad) && path[bad.size()] == '/')) return false;
  }
  if (path == "/") return true;
  for (std::string_view rest = path.substr(1);;) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    rest.remove_prefix(slash + 1);
  }
}

base::Result<base::Bytes> encode_requirement(const Requirement& requirement) {
  const bool fits =
      requirement.files.size() <= kRequiredFilesMax && requirement.uids.size() <= kRequiredIdsMax &&
      requirement.gids.size() <= kRequiredIdsMax && requirement.cpu_flags.size() <= kCpuFlagsMax;
  base::Writer out;
  out.array(kFieldCount).u64(kVersion).text(requirement.architecture).text(requirement.kernel);
  out.text(requirement.criu).array(requirement.cpu_flags.size());
  for (const std::string& flag : requirement.cpu_flags) out.text(flag);
  out.u64(requirement.memory_bytes);
  write_ids(out, requirement.uids);
  write_ids(out, requirement.gids);
  out.array(requirement.files.size());
  for (const RequiredFile& file : requirement.files) {
    out.array(kFileFieldCount).text(file.path).u64(file.size).u64(file.mode).bin(file.hash);
  }
  if (!fits || out.bytes().size() > kRequirementSizeMax) {
    return base::fail(base::Code::kTooLarge,
                      "it uses too many files (" + std::to_string(requirement.files.size()) + ")");
  }
  return out.take();
}

base::Result<Requirement> decode_requirement(base::ByteView bytes) {
  if (bytes.size() > kRequirementSizeMax) {
    return base::fail(base::Code::kTooLarge, "a requirement that is too large");
  }
  base::Reader in(bytes);
  in.array_of(kFieldCount);
  if (in.u64() != kVersion) in.reject("a requirement of another version");
  Requirement out;
  out.architecture = in.text(32);
  out.kernel = in.text(128);
  out.criu = in.text(32);
  const std::size_t flags = in.array(kCpuFlagsMax);
  for (std::size_t i = 0; i < flags && in.ok(); ++i) {
    out.cpu_flags.push_back(in.text(kFlagSizeMax));
  }
  out.memory_bytes = in.u64(INT64_MAX);
  read_ids(in, out.uids);
  read_ids(in, out.gids);
  read_files(in, out.files);
  if (base::Status status = in.finish(); !status) return status.error();
  return out;
}

}  // namespace machine
