#include "machine/job_process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <optional>

#include "init/contract.h"

namespace machine {
namespace {

struct Pipe {
  Fd read;
  Fd write;
};

base::Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return io_error("make a pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

bool has_nul(const std::vector<std::string>& texts) {
  for (const auto& text : texts) {
    if (text.find('\0') != std::string::npos) return true;
  }
  return false;
}

base::Status check(const JobSpec& spec) {
  using base::Code;
  if (spec.command.empty()) return base::fail(Code::kInvalid, "there is no command to run");
  if (has_nul(spec.command) || has_nul(spec.env) || has_nul({spec.dir, spec.init_root})) {
    return base::fail(Code::kInvalid, "a command holds no NUL character");
  }
  if (spec.groups.size() > init::kGroupsMax) {
    return base::fail(Code::kInvalid, "the user is in too many groups");
  }
  return {};
}

// What init polls must never make it wait. The ends are descriptions of their own: main's blocks.
base::Status unblock(const Fd& fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return io_error("set up a pipe");
  }
  return {};
}

// With a number of at least `wanted`: the lower ones that are free are held meanwhile.
Fd open_master(unsigned wanted) {
  std::vector<Fd> lower;
  for (unsigned tries = 0; tries <= wanted; ++tries) {
    Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    unsigned number = 0;
    if (!master.valid() || ::ioctl(master.get(), TIOCGPTN, &number) != 0 || number >= wanted) {
      return master;
    }
    lower.push_back(std::move(master));
  }
  return Fd();
}

base::Result<Pipe> make_terminal(const JobSpec& spec) {
  unsigned chance = 0;
  (void)!::getrandom(&chance, sizeof chance, 0);
  Pipe ends{{}, open_master(kTerminalsLow + chance % (kTerminalsMax - kTerminalsLow))};
  char name[64];
  const struct winsize usual = {24, 80, 0, 0};  // until somebody sits at it
  if (ends.write.valid()) (void)::ioctl(ends.write.get(), TIOCSWINSZ, &usual);
  if (!ends.write.valid() || ::unlockpt(ends.write.get()) != 0 ||
      ::ptsname_r(ends.write.get(), name, sizeof name) != 0) {
    return io_error("make a terminal");
  }
  ends.read = Fd(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!ends.read.valid()) return io_error("open the job's terminal");
  if (spec.change_user) (void)!::fchown(ends.read.get(), spec.uid, spec.gid);
  return ends;
}

// Descriptors of init for its job's input; `read` and `write` as main and init see it.
struct InputPipes {
  Pipe input;
  Pipe feed;
  Pipe news;
};

base::Result<InputPipes> make_input(const JobSpec& spec) {
  auto input = spec.input == JobInput::kTerminal ? make_terminal(spec) : make_pipe();
  if (!input) return input.error();
  auto feed = make_pipe();
  if (!feed) return feed.error();
  auto news = make_pipe();
  if (!news) return news.error();
  for (const Fd* fd : {&input->write, &feed->read, &news->read, &news->write}) {
    if (auto done = unblock(*fd); !done) return done.error();
  }
  return InputPipes{std::move(*input), std::move(*feed), std::move(*news)};
}

std::string octal(mode_t mask) {
  std::string text(3, '0');
  for (unsigned digit = 0; digit < 3; ++digit) {
    text[2 - digit] = static_cast<char>('0' + ((mask >> (3 * digit)) & 7U));
  }
  return text;
}

std::vector<std::string> init_arguments(const JobSpec& spec) {
  std::vector<std::string> argv{"tern-init", "--umask", octal(spec.mask)};
  if (spec.change_user) {
    std::string groups;
    for (const gid_t group : spec.groups) {
      groups += (groups.empty() ? "" : ",") + std::to_string(group);
    }
    argv.insert(argv.end(), {"--uid", std::to_string(spec.uid), "--gid", std::to_string(spec.gid),
                             "--groups", groups});
  }
  if (!spec.dir.empty()) argv.insert(argv.end(), {"--dir", spec.dir});
  if (spec.input == JobInput::kPipe) argv.insert(argv.end(), {"--input", "pipe"});
  if (spec.input == JobInput::kTerminal) argv.insert(argv.end(), {"--input", "terminal"});
  if (!spec.init_root.empty()) argv.insert(argv.end(), {"--root", spec.init_root});
  if (spec.hold) argv.insert(argv.end(), {"--hold", "1"});
  if (spec.adopted != 0) argv.insert(argv.end(), {"--adopted", std::to_string(spec.adopted)});
  argv.push_back("--");
  argv.insert(argv.end(), spec.command.begin(), spec.command.end());
  return argv;
}

}  // namespace

base::Result<StartedJob> start_job(const JobSpec& spec, const Cgroup& cgroup) {
  if (auto fine = check(spec); !fine) return fine.error();
  auto out = make_pipe();
  if (!out) return out.error();
  auto err = make_pipe();
  if (!err) return err.error();
  auto status = make_pipe();
  if (!status) return status.error();

  SpawnSpec start;
  start.program = spec.init_path;
  start.argv = init_arguments(spec);
  start.env = spec.env;
  start.fds = {{out->write.get(), 1},
               {err->write.get(), 2},
               {out->read.get(), init::kInitStdoutRead},
               {err->read.get(), init::kInitStderrRead},
               {status->read.get(), init::kInitStatusRead},
               {status->write.get(), init::kInitStatusWrite}};
  std::optional<InputPipes> pipes;
  if (spec.input != JobInput::kNothing) {
    auto made = make_input(spec);
    if (!made) return made.error();
    pipes = std::move(*made);
    const std::initializer_list<PassedFd> ends = {{pipes->input.write.get(), init::kInitInput},
                                                  {pipes->feed.read.get(), init::kInitFeedRead},
                                                  {pipes->feed.write.get(), init::kInitFeedWrite},
                                                  {pipes->news.read.get(), init::kInitNewsRead},
                                                  {pipes->news.write.get(), init::kInitNewsWrite},
                                                  {pipes->input.read.get(), init::kInitMainInput}};
    start.fds.insert(start.fds.end(), ends);
  }
  start.dir = "/";
  start.cgroup = &cgroup;
  start.namespaces = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  auto process = spawn(start);
  if (!process) return process.error();
  // Our child and not reaped, so the PID is its own even if it has ended already.
  auto name = name_process(process->pid);
  if (!name) {
    ::kill(process->pid, SIGKILL);
    retry([&] { return ::waitpid(process->pid, nullptr, 0); });
    return name.error();
  }
  return StartedJob{*name, std::move(*process)};
}

}  // namespace machine
