#include "daemon/held_launch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "machine/cgroup.h"
#include "machine/fd.h"
#include "machine/file_hash.h"
#include "machine/file_user.h"
#include "machine/requirement.h"
#include "transfer/job_files.h"

namespace ternd {
namespace {

constexpr machine::Patience kPatience{20000};
constexpr std::uint64_t kCommandSizeMax = 1ULL << 30;

// Until init has blocked its signals: a SIGCONT that came before would be lost on it. SIGHUP stands
// for all, as SIGCONT itself does not look blocked while init waits for it.
base::Status await_blocked(pid_t init) {
  const std::string path = "/proc/" + std::to_string(init) + "/status";
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    auto text = machine::read_small_file(path, 64 << 10);
    if (!text) return text.error();
    const std::size_t at = text->find("\nSigBlk:\t");
    if (at == std::string::npos) break;
    const std::uint64_t mask = std::strtoull(text->c_str() + at + 9, nullptr, 16);
    if ((mask & (std::uint64_t{1} << (SIGHUP - 1))) != 0) return {};
    ::usleep(500);
  }
  return base::fail(base::Code::kTimeout, "the job's init does not come up");
}

base::Status stop(const machine::StartedJob& job) {
  if (base::Status up = await_blocked(job.init.pid); !up) return up;
  // From outside of its namespace even PID 1 can be stopped.
  if (::kill(job.init.pid, SIGSTOP) != 0) return machine::io_error("stop the job's init");
  return {};
}

base::Status hold(const machine::StartedJob& job, const machine::Cgroup& group) {
  if (base::Status stopped = stop(job); !stopped) return stopped;
  if (base::Status frozen = group.freeze(kPatience); !frozen) return frozen;
  return machine::check_held(group);
}

template <typename Then>
base::Result<machine::ProcessName> launch(const machine::JobSpec& start, const std::string& cgroup,
                                          machine::Children& children, const Then& then) {
  machine::JobSpec waiting = start;
  waiting.hold = true;
  auto group = machine::Cgroup::create(cgroup);
  if (!group) return group.error();
  auto started = machine::start_job(waiting, *group);
  const base::Status ready = started ? then(*started, *group) : base::Status(started.error());
  if (started) children.add(std::move(started->process));
  if (ready) return started->init;
  (void)group->kill_all(kPatience).ok();
  (void)group->remove().ok();
  return ready.error();
}

// As execvp(3) finds it; empty: nowhere.
std::string command_path(const node::JobSpec& spec, const node::LaunchPlan& plan) {
  const std::string& name = spec.argv.front();
  const auto runs = [](const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 0111) != 0;
  };
  if (name.find('/') != std::string::npos) {
    const std::string path = name.front() == '/' ? name : spec.cwd + "/" + name;
    return runs(path) ? path : std::string();
  }
  std::string folders = "/usr/local/bin:/usr/bin:/bin";
  for (const std::string& entry : plan.env) {
    if (entry.rfind("PATH=", 0) == 0) folders = entry.substr(5);
  }
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const std::string path = folders.substr(at, end - at) + "/" + name;
    if (runs(path)) return path;
    at = end + 1;
  }
  return {};
}

// A folder, or a regular file; nothing else is opened, as that may block or do something.
base::Result<machine::RequiredFile> required(const std::string& named, mode_t kind) {
  char* const real = ::realpath(named.c_str(), nullptr);
  if (real == nullptr) return machine::io_error("find " + named);
  machine::RequiredFile file;
  file.path = real;
  std::free(real);  // NOLINT: realpath's
  const machine::Fd found(::open(file.path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!found.valid()) return machine::io_error("open " + file.path);
  struct stat info {};
  if (::fstat(found.get(), &info) != 0) return machine::io_error("look at " + file.path);
  if ((info.st_mode & S_IFMT) != kind) {
    return base::fail(base::Code::kInvalid,
                      file.path + " is not a " + (kind == S_IFDIR ? "folder" : "regular file"));
  }
  if (file.path != "/" && !transfer::in_system_folder(file.path) && (info.st_mode & 07000) == 0) {
    const machine::Birth born = machine::birth_of(found.get(), "");
    file.flags = machine::kRequiredTravels;
    file.inode = info.st_ino;
    file.born_seconds = born.seconds;
    file.born_nanos = born.nanos;
  }
  file.mode = info.st_mode;
  if (kind == S_IFDIR) return file;
  file.size = static_cast<std::uint64_t>(info.st_size);
  if (file.size > kCommandSizeMax) {
    return base::fail(base::Code::kTooLarge, file.path + " is too large to be compared elsewhere");
  }
  const std::string again = "/proc/self/fd/" + std::to_string(found.get());
  const machine::Fd fd(::open(again.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return machine::io_error("open " + file.path);
  machine::FileHashes hashes;
  auto hash = hashes.hash(fd.get());
  if (!hash) return hash.error();
  file.hash = *hash;
  return file;
}

}  // namespace

base::Result<node::LaunchPlan> plan_of(const transfer::ImageSet& images) {
  const auto image = images.find(node::kLaunchImage);
  if (image == images.end() || images.size() != 1) {
    return base::fail(base::Code::kInvalid, "a queued job does not say how to start it");
  }
  auto bytes = transfer::image_contents(image->second, node::kLaunchSizeMax);
  if (!bytes) return bytes.error();
  return node::decode_launch_plan(*bytes);
}

base::Result<base::Bytes> needs_to_start(const node::JobSpec& spec, const node::LaunchPlan& plan) {
  machine::Requirement needs;
  utsname names{};
  if (::uname(&names) != 0) return machine::io_error("ask for the kernel");
  needs.architecture = names.machine;
  needs.kernel = names.release;
  needs.uids = {spec.uid};
  needs.gids = spec.groups;
  needs.gids.push_back(spec.gid);
  std::sort(needs.gids.begin(), needs.gids.end());
  needs.gids.erase(std::unique(needs.gids.begin(), needs.gids.end()), needs.gids.end());
  const machine::FileUser user(spec.uid, spec.gid, {spec.groups.begin(), spec.groups.end()});
  if (!user.good()) return base::fail(base::Code::kIo, "cannot look at files as the job's user");
  const std::string command = command_path(spec, plan);
  if (command.empty()) {
    return base::fail(base::Code::kNotFound, spec.argv.front() + ": no such program");
  }
  std::vector<std::pair<std::string, mode_t>> paths = {{spec.cwd, S_IFDIR}, {command, S_IFREG}};
  if (!spec.dir.empty() && spec.dir != spec.cwd) paths.emplace_back(spec.dir, S_IFDIR);
  for (const auto& [path, kind] : paths) {
    auto file = required(path, kind);
    if (!file) return file.error();
    if (path == spec.dir) file->flags |= machine::kRequiredWritten;
    if (path == spec.dir) file->flags |= machine::kRequiredTravels;
    needs.files.push_back(std::move(*file));
  }
  std::sort(needs.files.begin(), needs.files.end());
  return machine::encode_requirement(needs);
}

machine::JobSpec start_of(const node::JobSpec& spec, const node::LaunchPlan& plan,
                          const machine::Helpers& helpers, const std::string& init_root) {
  machine::JobSpec start;
  start.init_path = helpers.init_path;
  start.command = spec.argv;
  start.env = plan.env;
  start.dir = spec.cwd;
  start.uid = spec.uid;
  start.gid = spec.gid;
  start.groups.assign(spec.groups.begin(), spec.groups.end());
  start.change_user = ::geteuid() == 0;
  start.mask = plan.umask;
  start.input = plan.input == node::LaunchInput::kPipe       ? machine::JobInput::kPipe
                : plan.input == node::LaunchInput::kTerminal ? machine::JobInput::kTerminal
                                                             : machine::JobInput::kNothing;
  start.init_root = init_root;
  return start;
}

base::Status launch_held(const machine::JobSpec& start, const std::string& cgroup,
                         machine::Children& children) {
  const auto init = launch(start, cgroup, children, hold);
  return init ? base::Status() : base::Status(init.error());
}

base::Result<machine::ProcessName> launch_capsule(const machine::JobSpec& start,
                                                  const std::string& cgroup,
                                                  machine::Children& children) {
  return launch(start, cgroup, children,
                [](const machine::StartedJob& job, const machine::Cgroup&) { return stop(job); });
}

}  // namespace ternd
