#include "machine/requirement.h"

#include <sys/stat.h>

#include "base/wire.h"
#include "machine/packages.h"

namespace machine {
namespace {

constexpr std::uint64_t kVersion = 4;
constexpr std::uint64_t kVersionWithoutPackages = 3;  // of parked jobs, too
constexpr std::size_t kFieldCount = 10;
constexpr std::size_t kFileFieldCount = 5;
constexpr std::size_t kOwnFileFieldCount = 8;
constexpr std::size_t kFlagSizeMax = 32;

void read_ids(base::Reader& in, std::vector<std::uint32_t>& out) {
  const std::size_t count = in.array(kRequiredIdsMax);
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    const auto id = static_cast<std::uint32_t>(in.u64(UINT32_MAX));
    if (!out.empty() && id <= out.back()) in.reject("ids that are not sorted");
    out.push_back(id);
  }
}

void read_files(base::Reader& in, bool packages, std::vector<RequiredFile>& out) {
  const std::size_t plain = packages ? kFileFieldCount : kFileFieldCount - 1;
  const std::size_t count = in.array(kRequiredFilesMax);
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    const std::size_t fields = in.array(kOwnFileFieldCount);
    if (fields != plain && fields != kOwnFileFieldCount) in.reject("an odd file");
    RequiredFile file;
    file.path = in.text(kRequiredPathSizeMax);
    file.size = in.u64(INT64_MAX);
    file.mode = static_cast<std::uint32_t>(in.u64(0177777));
    file.hash = in.fixed<std::tuple_size_v<base::crypto::Hash256>>();
    if (fields == kOwnFileFieldCount) {
      file.flags = static_cast<std::uint32_t>(in.u64(kRequiredTravels | kRequiredWritten));
      file.inode = in.u64();
      file.born_seconds = in.i64();
      file.born_nanos = static_cast<std::uint32_t>(in.u64(999999999));
      if ((file.flags & kRequiredTravels) == 0) in.reject("a file that does not travel");
    }
    if (fields == kFileFieldCount) {
      file.package = in.text(kPackageTextMax);
      if (!valid_package_text(file.package)) in.reject("an odd package");
    }
    if (!in.ok()) return;
    if (!valid_required_path(file.path)) return in.reject("a path that no job needs");
    if (!S_ISREG(file.mode) && !S_ISDIR(file.mode)) return in.reject("neither file nor folder");
    if (S_ISDIR(file.mode) && file.size != 0) return in.reject("a folder with content");
    if (!out.empty() && file.path <= out.back().path) return in.reject("files out of order");
    out.push_back(std::move(file));
  }
}

void read_ports(base::Reader& in, std::vector<BoundPort>& out) {
  const std::size_t count = in.array(kRequiredPortsMax);
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    in.array_of(2);
    BoundPort port;
    port.tcp = in.boolean();
    const auto packed = in.fixed<base::Endpoint::kPackedSize>();
    if (!in.ok()) return;
    auto at = base::Endpoint::unpack(packed);
    if (!at || at->port == 0) return in.reject("no port");
    port.at = *at;
    if (!out.empty() && port <= out.back()) return in.reject("ports out of order");
    out.push_back(port);
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
      requirement.gids.size() <= kRequiredIdsMax && requirement.cpu_flags.size() <= kCpuFlagsMax &&
      requirement.ports.size() <= kRequiredPortsMax;
  base::Writer out;
  out.array(kFieldCount).u64(kVersion).text(requirement.architecture).text(requirement.kernel);
  out.text(requirement.criu).array(requirement.cpu_flags.size());
  for (const std::string& flag : requirement.cpu_flags) out.text(flag);
  out.u64(requirement.memory_bytes);
  write_ids(out, requirement.uids);
  write_ids(out, requirement.gids);
  out.array(requirement.files.size());
  for (const RequiredFile& file : requirement.files) {
    const bool travels = (file.flags & kRequiredTravels) != 0;
    out.array(travels ? kOwnFileFieldCount : kFileFieldCount);
    out.text(file.path).u64(file.size).u64(file.mode).bin(file.hash);
    if (!travels) {
      out.text(file.package);
      continue;
    }
    out.u64(file.flags).u64(file.inode).i64(file.born_seconds).u64(file.born_nanos);
  }
  out.array(requirement.ports.size());
  for (const BoundPort& port : requirement.ports) {
    out.array(2).boolean(port.tcp).bin(port.at.packed());
  }
  if (!fits || out.bytes().size() > kRequirementSizeMax) {
    return base::fail(base::Code::kTooLarge,
                      "it uses too many files (" + std::to_string(requirement.files.size()) +
                          ") or ports (" + std::to_string(requirement.ports.size()) + ")");
  }
  return out.take();
}

base::Result<Requirement> decode_requirement(base::ByteView bytes) {
  if (bytes.size() > kRequirementSizeMax) {
    return base::fail(base::Code::kTooLarge, "a requirement that is too large");
  }
  base::Reader in(bytes);
  in.array_of(kFieldCount);
  const std::uint64_t version = in.u64();
  if (version != kVersion && version != kVersionWithoutPackages) {
    in.reject("a requirement of another version");
  }
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
  read_files(in, version == kVersion, out.files);
  read_ports(in, out.ports);
  if (base::Status status = in.finish(); !status) return status.error();
  return out;
}

}  // namespace machine
