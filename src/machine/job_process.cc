#include "machine/job_process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/wait.h>

#include <csignal>

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
  if (!spec.init_root.empty()) argv.insert(argv.end(), {"--root", spec.init_root});
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
