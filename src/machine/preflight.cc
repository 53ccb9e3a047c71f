#include "machine/preflight.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "machine/fd.h"
#include "machine/file_user.h"
#include "machine/job_process.h"
#include "machine/preflight_count.h"
#include "machine/preflight_fds.h"
#include "machine/preflight_ipc.h"
#include "machine/preflight_packages.h"
#include "machine/preflight_sockets.h"
#include "machine/preflight_tasks.h"
#include "machine/process_name.h"
#include "probe/proc_parse.h"
#include "transfer/job_files.h"

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
  Inspection(const std::vector<pid_t>& pids, const InspectOptions& options, bool paused,
             FileHashes& hashes)
      : pids_(pids), options_(options), paused_(paused), hashes_(hashes) {
    if (paused || options.stands_still) patience_ = {};
  }
  void process(pid_t pid);
  void sockets();
  void terminals();
  void system_v(pid_t pid);  // of any process: they share the namespace
  void named_folder();
  Preflight finish();

 private:
  void object(const std::string& sentence) { obstacles_.insert(sentence); }
  void identity(const probe::ProcessStatus& status, std::string_view text);
  void namespaces();
  void maps();
  void descriptors();
  void descriptor(const std::string& number);
  [[nodiscard]] bool terminal(dev_t device, const std::string& details);
  void regular(const std::string& link, const std::string& target, struct stat info,
               int access_mode);
  void folder(const char* name);
  [[nodiscard]] bool look(const std::string& file, const std::string& name, struct stat* out);
  void need(const std::string& link, const std::string& path, const struct stat& info,
            bool written);
  void need_folder(const std::string& path, const struct stat& info, std::uint32_t flags);
  [[nodiscard]] std::string link(const std::string& name) const {
    return "/proc/" + std::to_string(pid_) + "/" + name;
  }
  // It ended while it was looked at, and has no part in the move; a zombie has no program either.
  [[nodiscard]] bool gone() const { return target_of(link("exe")).empty(); }
  [[nodiscard]] std::string who() const { return name_ + " (" + std::to_string(pid_) + ")"; }

  const std::vector<pid_t>& pids_;
  const InspectOptions& options_;
  bool paused_;
  FileHashes& hashes_;
  std::chrono::milliseconds patience_ = kBorrowedMax;
  pid_t pid_ = 0;
  std::string name_;
  std::map<std::string, std::string> inner_namespaces_;  // as the first process has them
  std::set<std::string> obstacles_;
  std::optional<probe::ProcessStatus> first_;
  std::set<std::uint32_t> uids_;
  std::set<std::uint32_t> gids_;
  std::map<std::string, RequiredFile> files_;
  std::vector<JobSocket> sockets_;
  std::set<unsigned> masters_;  // numbers of pseudo terminals
  std::set<unsigned> slaves_;
  std::uint64_t memory_ = 0;
  TaskCount tasks_;
};

void Inspection::process(pid_t pid) {
  pid_ = pid;
  auto text = read_small_file(link("status"), kStatusSizeMax);
  if (!text) return;  // it ended
  auto status = probe::parse_process_status(*text);
  if (!status) return;
  name_ = status->name;
  tasks_.add(*status);
  if (status->state == 'Z') {
    if (status->threads > 1) {
      object(who() + " has ended its first thread while others go on, which cannot move; have " +
             "main() wait for them");
    }
    return;
  }
  for (const std::string& why : {shared_with_parent(pid_, status->ppid, patience_),
                                 options_.stays ? "" : timer_obstacle(pid_)}) {
    if (!why.empty()) object(who() + " " + why);
  }
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
  if (!first_) first_ = status;
  const std::string other = options_.stays ? "" : other_user(*first_, status);
  if (!other.empty()) object(who() + " " + other);
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
    if (options_.stays && theirs != target_of(std::string("/proc/self/ns/") + kind)) {
      object(who() + " lives in a " + kind + " namespace of its own, as containers do");
      continue;
    }
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
  if (!options_.stays && !valid_required_path(target)) {
    return object(who() + " is in " + target + ", which is another folder on every machine");
  }
  if (std::string_view(name) == "root" && target != "/") {
    return object(who() + " has " + target + " as its root folder, which cannot move");
  }
  need_folder(target, info, 0);
}

void Inspection::need_folder(const std::string& path, const struct stat& info,
                             std::uint32_t flags) {
  RequiredFile folder{path, 0, info.st_mode, {}};
  if (path != "/" && !transfer::in_system_folder(path)) {
    const Birth born = birth_of(AT_FDCWD, path);
    folder.flags = kRequiredTravels;
    folder.inode = info.st_ino;
    folder.born_seconds = born.seconds;
    folder.born_nanos = born.nanos;
  }
  files_.try_emplace(path, folder).first->second.flags |= flags;
}

void Inspection::named_folder() {
  struct stat info {};
  if (options_.dir.empty()) return;
  if (::lstat(options_.dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return object("the folder " + options_.dir + ", named with --dir, is not there any more");
  }
  need_folder(options_.dir, info, kRequiredWritten);
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
    if (path == std::string_view::npos) continue;
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
    const std::size_t rights = line.find(' ') + 1;
    const bool written = line.substr(rights, 2) == "rw" && line.substr(rights + 3, 1) == "s";
    if (!S_ISREG(info.st_mode)) continue;
    regular(file, target_of(file), info, written ? O_RDWR : O_RDONLY);
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

void Inspection::descriptor(const std::string& number) {
  const std::string file = link("fd/" + number);
  const std::string target = target_of(file);
  struct stat info {};
  if (target.empty() || !look(file, target, &info)) return;
  auto details = read_small_file(link("fdinfo/" + number), 1 << 20);
  int flags = 0;
  if (details) {
    if (has_lease(*details)) {
      object(who() + " holds a lease on " + target + ", which cannot move; locks can");
    } else if (options_.stays && has_write_lock(*details)) {
      object(who() + " has locked " + target + ", which two cannot have locked at once; adopt it " +
             "when it has not, or start it anew with tern run, which moves locks");
    }
    flags = std::max(open_flags(*details), 0);
  }
  if (target.starts_with("anon_inode:")) {
    const std::string kind = target.substr(11);
    if (kind == "inotify" && !paused_ && has_unread_events(pid_, number)) {
      object(who() +
             " has inotify events that it has not read yet, which would be lost; try again " +
             "when it has read them");
    }
    const std::string why = anonymous_obstacle(kind, details ? *details : "", pids_);
    if (!why.empty()) object(who() + " " + why);
    return;
  }
  if (S_ISSOCK(info.st_mode)) {
    if (details && holds_descriptors(*details)) {
      object(who() + " has a socket with open files in it that nobody has received yet, which " +
             "cannot move; try again when they are received");
    }
    if (auto socket = look_at_socket(pid_, number, info.st_ino)) {
      socket->owner = who();
      sockets_.push_back(std::move(*socket));
    }
    return;
  }
  if (is_message_queue(file)) {
    return object(who() + " has the POSIX message queue " + target +
                  " open, which cannot move; a " + "pipe or a socket pair can");
  }
  if (S_ISREG(info.st_mode)) return regular(file, target, info, flags & O_ACCMODE);
  if (S_ISFIFO(info.st_mode)) {
    const std::string why = pipe_obstacle(target, flags);
    if (!why.empty()) object(who() + " " + why);
    return;
  }
  if (S_ISDIR(info.st_mode)) {
    if (!options_.stays && !valid_required_path(target))
      object(who() + " has the folder " + target + " open");
    return;
  }
  if (S_ISCHR(info.st_mode) && terminal(info.st_rdev, details ? *details : "")) return;
  if (S_ISBLK(info.st_mode) || (S_ISCHR(info.st_mode) && !common_device(info.st_rdev))) {
    const bool terminal = target.starts_with("/dev/pts/") || target.starts_with("/dev/tty");
    object(who() + " has " + target + " open, " +
           (terminal ? "a terminal; start it without one, or with: tern run --tty"
                     : "a device, which stays here"));
  }
}

void Inspection::regular(const std::string& file, const std::string& target, struct stat info,
                         int access_mode) {
  if (target.empty()) return;  // closed or unmapped after it was looked at
  const bool memory = target.starts_with("/memfd:") || target.starts_with("/dev/zero");
  if (memory || info.st_nlink == 0 || target.ends_with(kDeleted)) {
    // The name may have been removed after that.
    if (!memory && info.st_nlink != 0 && ::stat(file.c_str(), &info) != 0) return;
    if (!memory && info.st_nlink != 0) {  // CRIU could only make it a name in its folder
      return object(who() + " has " + target.substr(0, target.rfind(kDeleted)) + " open, a name " +
                    "that was removed while the file has another one, which cannot move " +
                    "(semaphores of sem_open are such files; those of sem_init can move)");
    }
    const auto size = static_cast<std::uint64_t>(info.st_blocks) * 512;
    if (!memory && size > options_.ghost_limit_bytes) {
      object(who() + " has a deleted file of " + std::to_string(size >> 20) +
             " MiB open, more than can travel along (" +
             std::to_string(options_.ghost_limit_bytes >> 20) + " MiB)");
    }
    return;
  }
  if (options_.stays) return;
  if (!valid_required_path(target)) {
    return object(who() + " has " + target + " open, which is another file on every machine");
  }
  const bool written = access_mode != O_RDONLY;
  if (written && transfer::in_system_folder(target)) {
    return object(who() + " has " + target + " open for writing, a file of the system, and those " +
                  "do not move; let it close that file");
  }
  need(file, target, info, written);
}

void Inspection::need(const std::string& file, const std::string& path, const struct stat& info,
                      bool written) {
  const bool own = !transfer::in_system_folder(path);
  if (const auto known = files_.find(path); known != files_.end()) {
    if (!written || (known->second.flags & kRequiredWritten) != 0) return;
  }
  if (!own && options_.own_files_only) return;
  if (own) {
    if ((info.st_mode & 07000) != 0) {
      return object(path + " is set-user-ID or the like, and such files do not move");
    }
    const Birth born = birth_of(AT_FDCWD, path);
    RequiredFile wanted{path,
                        static_cast<std::uint64_t>(info.st_size),
                        info.st_mode,
                        {},
                        kRequiredTravels | (written ? kRequiredWritten : 0U),
                        info.st_ino,
                        born.seconds,
                        born.nanos};
    files_[path] = wanted;
    if (written || options_.own_files_only) return;
  }
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid() && errno == ENOENT) return;  // unmapped or closed after it was looked at
  auto hash = fd.valid() ? hashes_.hash(fd.get())
                         : base::Result<base::crypto::Hash256>(io_error("read it"));
  if (!hash && (gone() || (own && hash.error().code == base::Code::kStale))) return;
  if (own && hash) files_[path].hash = *hash;
  if (own && hash) return;
  if (!hash) return object(path + " cannot be compared: " + hash.error().detail);
  files_.emplace(path,
                 RequiredFile{path, static_cast<std::uint64_t>(info.st_size), info.st_mode, *hash});
}

// True: one that moves if its other end is the job's own too (terminals()).
bool Inspection::terminal(dev_t device, const std::string& details) {
  if (device == makedev(5, 0)) {  // as tried: CRIU's "ctty inheritance"
    object(who() + " has /dev/tty open, which cannot move (less, ssh and sh -i open it; bash and " +
           "vim do not)");
    return true;
  }
  if (device == makedev(5, 2)) {
    const std::size_t at = details.find("tty-index:\t");
    unsigned number = 0;
    if (at == std::string::npos) return false;
    std::from_chars(details.data() + at + 11, details.data() + details.size(), number);
    masters_.insert(number);
    return true;
  }
  const unsigned kind = major(device);
  if (kind < 136 || kind > 143) return false;
  slaves_.insert((kind - 136) * 256 + minor(device));
  return true;
}

void Inspection::terminals() {
  for (const unsigned number : slaves_) {
    if (masters_.contains(number) || options_.leave_terminals) continue;
    if (options_.stays) {
      object("it has /dev/pts/" + std::to_string(number) + " open, a terminal, which stays; with " +
             "--leave-terminal its input ends, and what it shows goes to tern logs");
      continue;
    }
    object("it has /dev/pts/" + std::to_string(number) +
           " open, a terminal of somebody else; start it without one, or with: tern run --tty");
  }
  for (const unsigned number : masters_) {
    if (number < kTerminalsMax) continue;
    object("it has a terminal with the number " + std::to_string(number) + "; only those below " +
           std::to_string(kTerminalsMax) + " can move");
  }
}

void Inspection::system_v(pid_t pid) {
  if (target_of("/proc/self/ns/ipc") == target_of("/proc/" + std::to_string(pid) + "/ns/ipc")) {
    return;  // the machine's own: maps() sees what the job uses of that
  }
  for (const std::string& kind : system_v_objects(pid))
    object("it has " + kind + ", which cannot move; POSIX shared memory and files can");
}

void Inspection::sockets() {
  for (const std::string& why : socket_obstacles(sockets_, options_.tcp_close)) object(why);
}

Preflight Inspection::finish() {
  Preflight out;
  Requirement& needs = out.requirement;
  utsname name{};
  ::uname(&name);
  needs.architecture = name.machine;
  needs.kernel = name.release;
  needs.criu = options_.criu_version;
  const auto cpus = read_small_file("/proc/cpuinfo", 16 << 20);
  if (cpus) needs.cpu_flags = parse_cpu_flags(*cpus);
  needs.memory_bytes = memory_;
  needs.uids.assign(uids_.begin(), uids_.end());
  needs.gids.assign(gids_.begin(), gids_.end());
  for (auto& [path, file] : files_) needs.files.push_back(std::move(file));
  std::set<BoundPort> ports;
  for (const JobSocket& socket : sockets_) {
    if (socket.port) ports.insert(*socket.port);
  }
  needs.ports.assign(ports.begin(), ports.end());
  if (options_.packages != nullptr) name_packages(needs, *options_.packages);
  if (const std::string why = tasks_.obstacle(); !why.empty()) object(why);
  if (needs.uids.size() > kRequiredIdsMax || needs.gids.size() > kRequiredIdsMax) {
    object("it runs as too many users or groups");
  } else if (auto encoded = encode_requirement(needs); !encoded) {
    object(encoded.error().detail);
  }
  out.obstacles.assign(obstacles_.begin(), obstacles_.end());
  return out;
}

Preflight inspect(const std::vector<pid_t>& pids, const InspectOptions& options, bool paused,
                  FileHashes& hashes) {
  Inspection inspection(pids, options, paused, hashes);
  for (const pid_t pid : pids) inspection.process(pid);
  inspection.sockets();
  inspection.terminals();
  if (!pids.empty()) inspection.system_v(pids.front());
  inspection.named_folder();
  return inspection.finish();
}

}  // namespace

base::Result<Preflight> inspect_job(const Cgroup& job, const InspectOptions& options,
                                    FileHashes& hashes) {
  const auto events = job.events();
  auto pids = job.processes();
  if (!pids) return pids.error();
  if (pids->empty()) return base::fail(base::Code::kNotFound, "nobody lives in " + job.path());
  std::sort(pids->begin(), pids->end());
  // Where numbers began anew, it need not have the lowest.
  if (const auto init = find_init(job)) {
    const auto at = std::find(pids->begin(), pids->end(), init->pid);
    if (at != pids->end()) std::rotate(pids->begin(), at, at + 1);
  }
  return inspect(*pids, options, events && events->frozen, hashes);
}

Preflight inspect_processes(const std::vector<pid_t>& pids, const InspectOptions& options,
                            FileHashes& hashes) {
  return inspect(pids, options, /*paused=*/false, hashes);
}

}  // namespace machine
