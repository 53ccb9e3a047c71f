#include "machine/preflight.h"

#include <fcntl.h>
#include <linux/kdev_t.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "machine/fd.h"
#include "machine/preflight_sockets.h"
#include "machine/process_name.h"
#include "probe/proc_parse.h"

namespace machine {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kStatusSizeMax = 64 << 10;
constexpr std::size_t kMapsSizeMax = 64 << 20;
constexpr std::string_view kDeleted = " (deleted)";

std::string target_of(const std::string& link) {
  std::error_code error;
  return fs::read_symlink(link, error).string();
}

class Inspection {
 public:
  Inspection(const InspectOptions& options, FileHashes& hashes)
      : options_(options), hashes_(hashes) {}
  void process(pid_t pid);
  void sockets();
  Preflight finish();

 private:
  void object(const std::string& sentence) { obstacles_.insert(sentence); }
  void identity(const probe::ProcessStatus& status, std::string_view text);
  void namespaces();
  void maps();
  void descriptors();
  void descriptor(const std::string& number);
  void regular(const std::string& link, const std::string& target, const struct stat& info,
               int access_mode);
  void folder(const char* name);
  [[nodiscard]] bool look(const std::string& file, const std::string& name, struct stat* out);
  void need(const std::string& link, const std::string& path, const struct stat& info);
  [[nodiscard]] std::string link(const std::string& name) const {
    return "/proc/" + std::to_string(pid_) + "/" + name;
  }
  // It ended while it was looked at, and has no part in the move; a zombie has no program either.
  [[nodiscard]] bool gone() const { return target_of(link("exe")).empty(); }
  [[nodiscard]] std::string who() const { return name_ + " (" + std::to_string(pid_) + ")"; }

  const InspectOptions& options_;
  FileHashes& hashes_;
  pid_t pid_ = 0;
  std::string name_;
  std::map<std::string, std::string> inner_namespaces_;  // as the first process has them
  std::set<std::string> obstacles_;
  std::set<std::uint32_t> uids_;
  std::set<std::uint32_t> gids_;
  std::map<std::string, RequiredFile> files_;
  std::vector<JobSocket> sockets_;
  std::uint64_t memory_ = 0;
};

void Inspection::process(pid_t pid) {
  pid_ = pid;
  auto text = read_small_file(link("status"), kStatusSizeMax);
  if (!text) return;  // it ended
  auto status = probe::parse_process_status(*text);
  if (!status || status->state == 'Z') return;
  name_ = status->name;
  memory_ += static_cast<std::uint64_t>(std::max<std::int64_t>(status->rss_bytes, 0));
  identity(*status, *text);
  namespaces();
  struct stat info {};
  if (::stat(link("exe").c_str(), &info) == 0) {
    regular(link("exe"), target_of(link("exe")), info, O_RDONLY);
  }
  folder("cwd");
  folder("root");
  maps();
  descriptors();
}

void Inspection::identity(const probe::ProcessStatus& status, std::string_view text) {
  uids_.insert(status.uids.begin(), status.uids.end());
  gids_.insert(status.gids.begin(), status.gids.end());
  gids_.insert(status.groups.begin(), status.groups.end());
  const std::size_t at = text.find("\nTracerPid:\t");
  if (at != std::string_view::npos && text[at + 12] != '0') {
    object(who() + " is being traced by a debugger; end that first");
  }
}

void Inspection::namespaces() {
  for (const char* kind : {"mnt", "net", "user", "cgroup"}) {
    const std::string mine = target_of(std::string("/proc/self/ns/") + kind);
    const std::string theirs = target_of(link(std::string("ns/") + kind));
    if (theirs.empty() || theirs == mine) continue;
    object(who() + " made a " + kind + " namespace of its own, which cannot move; run it without");
  }
  for (const char* kind : {"pid", "ipc", "uts", "time"}) {
    const std::string theirs = target_of(link(std::string("ns/") + kind));
    if (theirs.empty()) continue;
    const auto [first, added] = inner_namespaces_.emplace(kind, theirs);
    if (!added && first->second != theirs) {
      object(who() + " made a " + kind + " namespace inside the job, which cannot move");
    }
  }
}

void Inspection::folder(const char* name) {
  const std::string target = target_of(link(name));
  struct stat info {};
  if (target.empty() || ::stat(link(name).c_str(), &info) != 0) return;
  if (target == options_.init_root) return;
  if (target.ends_with(kDeleted)) {
    return object(who() + " is in a folder that was deleted; change to another one");
  }
  if (!valid_required_path(target)) {
    return object(who() + " is in " + target + ", which is another folder on every machine");
  }
  if (std::string_view(name) == "root" && target != "/") {
    return object(who() + " has " + target + " as its root folder, which cannot move");
  }
  files_.try_emplace(target, RequiredFile{target, 0, info.st_mode, {}});
}

// False: it was unmapped or closed meanwhile, or cannot be looked at, by CRIU either: a server
// that answers to its own user only, or to nobody any more.
bool Inspection::look(const std::string& file, const std::string& name, struct stat* out) {
  if (::stat(file.c_str(), out) == 0) return true;
  const int error = errno;
  if (error != ENOENT && !gone()) {
    object(who() + " uses " + name + ", which cannot be looked at: " + std::strerror(error));
  }
  return false;
}

// Every file-backed mapping, through map_files: the inode that is mapped, whatever its name is now.
void Inspection::maps() {
  auto text = read_small_file(link("maps"), kMapsSizeMax);
  if (!text && gone()) return;
  if (!text) return object(who() + " has maps that cannot be read: " + text.error().detail);
  std::set<std::string> seen;
  for (std::string_view rest = *text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t path = line.find('/');
    if (path == std::string_view::npos) {
      if (line.ends_with("anon_inode:[io_uring]"))
        object(who() + " uses io_uring; " + "disable it");
      continue;
    }
    const std::string_view name = line.substr(path);
    if (name.starts_with("/SYSV")) {
      if (target_of("/proc/self/ns/ipc") == target_of(link("ns/ipc"))) {
        object(who() + " shares System V memory with programs outside the job");
      }
      continue;
    }
    if (!seen.insert(std::string(name)).second) continue;
    const std::string file = link("map_files/" + std::string(line.substr(0, line.find(' '))));
    struct stat info {};
    if (!look(file, std::string(name), &info)) continue;
    if (S_ISREG(info.st_mode)) regular(file, target_of(file), info, O_RDONLY);
  }
}

void Inspection::descriptors() {
  std::error_code error;
  std::vector<std::string> numbers;
  for (fs::directory_iterator at(link("fd"), error), end; !error && at != end;
       at.increment(error)) {
    numbers.push_back(at->path().filename().string());
  }
  for (const std::string& number : numbers) descriptor(number);
}

bool common_device(
    dev_t device) {  // the same everywhere: mem(4), null, zero, full, random, urandom
  constexpr std::array kMinors = {3U, 5U, 7U, 8U, 9U};
  return major(device) == 1 &&
         std::find(kMinors.begin(), kMinors.end(), minor(device)) != kMinors.end();
}

void Inspection::descriptor(const std::string& number) {
  const std::string file = link("fd/" + number);
  const std::string target = target_of(file);
  struct stat info {};
  if (target.empty() || !look(file, target, &info)) return;
  auto details = read_small_file(link("fdinfo/" + number), 1 << 20);
  int flags = 0;
  if (details) {
    if (details->find("\nlock:") != std::string::npos) {
      object(who() + " holds a lock on " + target + ", which cannot move");
    }
    if (const std::size_t at = details->find("flags:\t"); at != std::string::npos) {
      std::from_chars(details->data() + at + 7, details->data() + details->size(), flags, 8);
    }
  }
  if (target.starts_with("anon_inode:")) {
    const std::string kind = target.substr(11);
    for (const char* fine :
         {"[eventpoll]", "[eventfd]", "[timerfd]", "[signalfd]", "inotify", "[pidfd]"}) {
      if (kind == fine) return;
    }
    return object(who() + " uses " + kind + ", which cannot move");
  }
  if (S_ISSOCK(info.st_mode)) {
    if (auto socket = look_at_socket(pid_, number, info.st_ino)) sockets_.push_back(*socket);
    return;
  }
  if (S_ISREG(info.st_mode)) return regular(file, target, info, flags & O_ACCMODE);
  if (S_ISFIFO(info.st_mode) && target.starts_with('/')) {
    return object(who() + " has the named pipe " + target + " open, which cannot move");
  }
  if (S_ISDIR(info.st_mode)) {
    if (!valid_required_path(target)) object(who() + " has the folder " + target + " open");
    return;
  }
  if (S_ISBLK(info.st_mode) || (S_ISCHR(info.st_mode) && !common_device(info.st_rdev))) {
    const bool terminal = target.starts_with("/dev/pts/") || target.starts_with("/dev/tty");
    object(who() + " has " + target + " open, " +
           (terminal ? "a terminal; start it without one" : "a device, which stays here"));
  }
}

void Inspection::regular(const std::string& file, const std::string& target,
                         const struct stat& info, int access_mode) {
  if (target.empty()) return;  // closed or unmapped after it was looked at
  const bool memory = target.starts_with("/memfd:") || target.starts_with("/dev/zero");
  if (memory || info.st_nlink == 0 || target.ends_with(kDeleted)) {
    const auto size = static_cast<std::uint64_t>(info.st_blocks) * 512;
    if (!memory && size > options_.ghost_limit_bytes) {
      object(who() + " has a deleted file of " + std::to_string(size >> 20) +
             " MiB open, more than can travel along (" +
             std::to_string(options_.ghost_limit_bytes >> 20) + " MiB)");
    }
    return;
  }
  if (!valid_required_path(target)) {
    return object(who() + " has " + target + " open, which is another file on every machine");
  }
  if (access_mode != O_RDONLY) {
    return object(who() + " has " + target +
                  " open for writing; files do not move yet, so let it " +
                  "write to its output instead, or close the file between writes");
  }
  need(file, target, info);
}

void Inspection::need(const std::string& file, const std::string& path, const struct stat& info) {
  if (files_.contains(path)) return;
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid() && errno == ENOENT) return;  // unmapped or closed after it was looked at
  auto hash = fd.valid() ? hashes_.hash(fd.get())
                         : base::Result<base::crypto::Hash256>(io_error("read it"));
  if (!hash && gone()) return;
  if (!hash) return object(path + " cannot be compared: " + hash.error().detail);
  files_.emplace(path,
                 RequiredFile{path, static_cast<std::uint64_t>(info.st_size), info.st_mode, *hash});
}

void Inspection::sockets() {
  std::set<std::uint64_t> inside;
  for (const JobSocket& socket : sockets_) inside.insert(socket.inode);
  for (const JobSocket& socket : sockets_) {
    if (std::string why = socket_obstacle(socket, inside); !why.empty()) {
      object("it has " + why);
    }
  }
}

Preflight Inspection::finish() {
  Preflight out;
  Requirement& needs = out.requirement;
  utsname name{};
  ::uname(&name);
  needs.architecture = name.machine;
  needs.kernel = name.release;
  needs.criu = options_.criu_version;
  if (auto text = read_small_file("/proc/cpuinfo", 16 << 20)) {
    needs.cpu_flags = parse_cpu_flags(*text);
  }
  needs.memory_bytes = memory_;
  needs.uids.assign(uids_.begin(), uids_.end());
  needs.gids.assign(gids_.begin(), gids_.end());
  for (auto& [path, file] : files_) needs.files.push_back(std::move(file));
  if (needs.uids.size() > kRequiredIdsMax || needs.gids.size() > kRequiredIdsMax) {
    object("it runs as too many users or groups");
  } else if (auto encoded = encode_requirement(needs); !encoded) {
    object(encoded.error().detail);
  }
  out.obstacles.assign(obstacles_.begin(), obstacles_.end());
  return out;
}

}  // namespace

base::Result<Preflight> inspect_job(const Cgroup& job, const InspectOptions& options,
                                    FileHashes& hashes) {
  auto pids = job.processes();
  if (!pids) return pids.error();
  if (pids->empty()) return base::fail(base::Code::kNotFound, "nobody lives in " + job.path());
  std::sort(pids->begin(), pids->end());
  Inspection inspection(options, hashes);
  for (const pid_t pid : *pids) inspection.process(pid);
  inspection.sockets();
  return inspection.finish();
}

}  // namespace machine
