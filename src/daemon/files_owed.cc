#include "daemon/files_owed.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/wire.h"
#include "daemon/job_folder.h"
#include "machine/fd.h"
#include "transfer/job_files.h"

namespace ternd::files_owed {
namespace {

using base::Result;
using base::Status;

constexpr std::size_t kSpecMax = 2 << 20;
constexpr std::size_t kRemovedMax = transfer::kJobFilesMax;
constexpr std::size_t kNoteMax = kSpecMax + transfer::kJobNamesMax + 8 * kRemovedMax;
constexpr const char* kHome = ".home";

Status write(const std::string& folder, const std::string& name, const FilesOwed& owed) {
  if (Status made = job_folder::make(folder); !made) return made;
  if (Status s = job_folder::sync_folder(folder.substr(0, folder.rfind('/'))); !s) return s;
  // What finds no place counts as not removed by the job: nothing is sent then.
  std::vector<std::string_view> removed;
  std::size_t names = 0;
  static const std::set<std::string> kNone;
  for (const std::string& path : owed.removed ? *owed.removed : kNone) {
    names += path.size();
    if (names > transfer::kJobNamesMax || removed.size() == kRemovedMax) break;
    removed.push_back(path);
  }
  base::Writer w;
  w.array(owed.removed ? 4 : 3).u64(owed.removed ? 2 : 1);
  w.bin(node::encode(owed.spec)).counter(owed.epoch);
  if (owed.removed) w.array(removed.size());
  for (const std::string_view path : removed) w.text(path);
  return job_folder::write_file(folder, name, w.take());
}

Result<FilesOwed> read(const std::string& path) {
  auto text = machine::read_small_file(path, kNoteMax);
  if (!text) return text.error();
  base::Reader r(base::as_bytes(*text));
  FilesOwed owed;
  const std::size_t fields = r.array(4);
  if (const std::uint64_t version = r.u64(); version != 1 && version != 2) {
    r.reject("made by a newer tern");
  } else if (fields != version + 2) {
    r.reject("of another length than its version");
  }
  const base::ByteView spec = r.bin(kSpecMax);
  owed.epoch = r.counter<base::Epoch>();
  if (fields == 4) {
    owed.removed.emplace();
    for (std::size_t left = r.array(kRemovedMax); left > 0; --left) {
      owed.removed->insert(r.text(transfer::kJobPathMax));
    }
  }
  if (Status finished = r.finish(); !finished) return finished.error();
  auto decoded = node::decode_spec(spec);
  if (!decoded) return decoded.error();
  owed.spec = std::move(*decoded);
  return owed;
}

Status unlink_if_there(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return machine::io_error("remove " + path);
}

}  // namespace

Status note(const std::string& folder, const FilesOwed& owed) {
  const std::string name = owed.spec.id.hex();
  if (Status gone = unlink_if_there(folder + "/" + name + kHome); !gone) return gone;
  return write(folder, name, owed);
}

Status home_has_it(const std::string& folder, const FilesOwed& owed) {
  const std::string path = folder + "/" + owed.spec.id.hex();
  if (::rename(path.c_str(), (path + kHome).c_str()) == 0) return job_folder::sync_folder(folder);
  if (errno != ENOENT) return machine::io_error("rename " + path);
  return write(folder, owed.spec.id.hex() + kHome, owed);  // it could not be noted before
}

bool is_home(const std::string& folder, const FilesOwed& owed) {
  auto noted = read(folder + "/" + owed.spec.id.hex() + kHome);
  return noted && noted->spec.id == owed.spec.id && noted->epoch == owed.epoch;
}

Status remove(const std::string& folder, const base::JobId& job) {
  const std::string path = folder + "/" + job.hex();
  if (Status gone = unlink_if_there(path); !gone) return gone;
  if (Status gone = unlink_if_there(path + kHome); !gone) return gone;
  if (::access(folder.c_str(), F_OK) != 0) return {};
  return job_folder::sync_folder(folder);
}

All read_all(const std::string& folder) {
  All all;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string path = entry.path().string();
    const std::string name = entry.path().filename().string();
    const bool home = name.ends_with(kHome);
    if (name.ends_with(".new") || (!home && ::access((path + kHome).c_str(), F_OK) == 0)) continue;
    auto owed = read(path);
    if (!owed || owed->spec.id.hex() + (home ? kHome : "") != name) {
      all.unreadable.push_back({name, owed ? "it is another job's" : owed.error().detail});
      continue;
    }
    all.found.push_back({std::move(*owed), home});
  }
  return all;
}

}  // namespace ternd::files_owed
