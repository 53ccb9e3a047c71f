// tern-guard: starts CRIU for a dump and repairs the job if CRIU is killed.
//
// tern-guard [--uid N --gid N --capabilities BITS] [--library FILE] --job CGROUP --run CGROUP
//            --note FILE --recorded FILE -- PROGRAM [ARG...]
//
//   recording (the job, frozen) -> CRIU runs, traced -> it succeeds ----------------> 0
//        | cannot: a note, and CRIU runs unguarded       \-> fails, killed: put back -> its status,
//                                                                                       128 + N
// CRIU that dies (kill -9, out of memory) while it plants or removes its code in the job's
// processes would leave them with its registers and breakpoints. The guard is told of that death by
// PTRACE_EVENT_EXIT before the kernel lets CRIU's own tracees go: it freezes the job then, lets
// CRIU die, and puts everything back as it was before CRIU began (job_record.h). The same where it
// ends by itself, but not with success: as a rule it has cleaned up, but not when a process of the
// job died meanwhile, upon which it exits where it stands (criu/parasite-syscall.c), nor when
// cleaning up failed. It freezes the job again before it lets go of it, so nothing of it has run.
//
// Rules
//  - The guard is in neither CRIU's cgroup nor the job's, so that killing one of these leaves it.
//    Nobody thaws the job before the guard has ended. Until `recorded` is there it may be killed,
//    once CRIU has been: nothing of the job was touched.
//  - A guard that is killed leaves CRIU running as if there had been none.
//  - This cannot be repaired: a task that reaches a breakpoint of CRIU's after CRIU was killed
//    dies of it. So CRIU gets a library that keeps its tasks from breakpoints (gentle_ptrace.cc),
//    and is told to do without hardware ones.
//  - Nor can this: a task that has a seccomp filter which kills it for a call of CRIU's, and stands
//    before that call (ptrace's stop comes before the filter) when CRIU is killed.
//  - PROGRAM must become CRIU by exec, not start it: a tracer's death is seen, not its child's.
//  - Root, or whoever may trace both CRIU and the job; CRIU may be another user.
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "init/become.h"
#include "init/contract.h"
#include "init/job_record.h"
#include "init/sys.h"

namespace init {
namespace {

constexpr char kNoHardwareBreakpoints[] = "130";  // criu/include/fault-injection.h, "not fatal"
constexpr time_t kPatienceSeconds = 10;           // for the job's threads to stop
constexpr int kRoundSeconds = 20;                 // for all of recording, or of putting back

struct GuardOptions {
  bool change_user = false;
  User user;
  const char* job = nullptr;
  const char* run = nullptr;
  const char* note = nullptr;
  const char* recorded = nullptr;
  const char* library = nullptr;
  char** command = nullptr;
};

[[noreturn]] void give_up(const char* what, int error) {
  std::fprintf(stderr, "tern-guard: %s: %s\n", what, strerror(error));
  _exit(kExitGuardFailed);
}

bool parse_option(const char* name, const char* value, GuardOptions* out) {
  std::uint64_t number = 0;
  if (std::strcmp(name, "--job") == 0) {
    out->job = value;
  } else if (std::strcmp(name, "--run") == 0) {
    out->run = value;
  } else if (std::strcmp(name, "--note") == 0) {
    out->note = value;
  } else if (std::strcmp(name, "--recorded") == 0) {
    out->recorded = value;
  } else if (std::strcmp(name, "--library") == 0) {
    out->library = value;
  } else if (std::strcmp(name, "--capabilities") == 0) {
    return parse_number(value, 10, UINT64_MAX, &out->user.capabilities);
  } else if (std::strcmp(name, "--uid") == 0) {
    if (!parse_number(value, 10, UINT32_MAX - 1, &number)) return false;
    out->user.uid = static_cast<uid_t>(number);
    out->change_user = true;
  } else if (std::strcmp(name, "--gid") == 0) {
    if (!parse_number(value, 10, UINT32_MAX - 1, &number)) return false;
    out->user.gid = static_cast<gid_t>(number);
  } else {
    return false;
  }
  return true;
}

bool parse_options(char** argv, GuardOptions* out) {
  if (*argv == nullptr) return false;
  for (++argv; *argv != nullptr && std::strcmp(*argv, "--") != 0; argv += 2) {
    if (argv[1] == nullptr || !parse_option(argv[0], argv[1], out)) return false;
  }
  if (*argv == nullptr || argv[1] == nullptr) return false;
  out->command = argv + 1;
  return out->job != nullptr && out->run != nullptr && out->note != nullptr &&
         out->recorded != nullptr;
}

// For whoever reads the work folder when CRIU has ended: one line each.
void note(const GuardOptions& options, const char* what, const char* why, int error) {
  char line[512];
  const int size = error == 0
                       ? std::snprintf(line, sizeof line, "%s%s\n", what, why)
                       : std::snprintf(line, sizeof line, "%s%s: %s\n", what, why, strerror(error));
  const int fd = open(options.note, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0 || size <= 0) return;
  (void)write_all(fd, line, std::strlen(line));
  close(fd);
}

// A descriptor for each process of the job is kept; CRIU gets the limit that we were given.
rlimit given_limit = {};

void raise_limit() {
  if (getrlimit(RLIMIT_NOFILE, &given_limit) != 0) given_limit = {RLIM_INFINITY, RLIM_INFINITY};
  const rlimit all = {given_limit.rlim_max, given_limit.rlim_max};
  (void)setrlimit(RLIMIT_NOFILE, &all);
}

[[noreturn]] void run_criu(const GuardOptions& options, const int (&go)[2]) {
  char byte = 0;
  close(go[1]);  // else the guard's death would not be seen here
  if (retry([&] { return read(go[0], &byte, 1); }) != 1) _exit(kExitGuardFailed);
  (void)setrlimit(RLIMIT_NOFILE, &given_limit);
  if (options.change_user && !become(options.user)) give_up("become another user", errno);
  for (const int number : {SIGHUP, SIGINT, SIGTERM, SIGPIPE}) signal(number, SIG_DFL);
  if (options.library != nullptr) {
    setenv("LD_PRELOAD", options.library, 1);
    setenv("CRIU_FAULT", kNoHardwareBreakpoints, 1);
  }
  execv(options.command[0], options.command);
  give_up(options.command[0], errno);
}

// In its cgroup from the first instruction on, and waiting for a byte in the pipe `go`.
pid_t start_criu(const GuardOptions& options, const int (&go)[2]) {
  const int cgroup = open(options.run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (cgroup < 0) give_up(options.run, errno);
  clone_args args = {};
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<std::uint64_t>(cgroup);
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) give_up("start CRIU", errno);
  if (pid == 0) run_criu(options, go);
  close(cgroup);
  return static_cast<pid_t>(pid);
}

void ring(int) {}  // ends a wait with EINTR

void set_alarm(time_t seconds) {
  struct sigaction action = {};
  action.sa_handler = ring;  // without SA_RESTART
  sigaction(SIGALRM, &action, nullptr);
  itimerval timer = {};
  timer.it_value.tv_sec = seconds;
  if (seconds != 0) timer.it_interval.tv_usec = 100'000;  // it may ring between two waits
  setitimer(ITIMER_REAL, &timer, nullptr);
}

// Killed before it was let go: nothing of the job was touched.
bool has_ended(pid_t criu) {
  const int error = errno;
  siginfo_t info = {};
  const int rc = waitid(P_PID, static_cast<id_t>(criu), &info, WEXITED | WNOHANG | WNOWAIT);
  errno = error;
  return rc == 0 && info.si_pid == criu;
}

bool is_stop_signal(int number) {
  return number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

enum class Damage { kNone, kMendable, kRan };

// CRIU's wait status.
int attend(pid_t criu, JobRecord* job, Damage* damage) {
  for (;;) {
    int status = 0;
    if (retry([&] { return waitpid(criu, &status, __WALL); }) < 0) give_up("wait for CRIU", errno);
    if (!WIFSTOPPED(status)) return status;
    const int event = status >> 16;
    long pass_on = 0;
    if (event == PTRACE_EVENT_EXIT) {
      unsigned long end = 0;
      ptrace(PTRACE_GETEVENTMSG, criu, nullptr, &end);
      if (end != 0) {
        *damage = job->runs() ? Damage::kRan : Damage::kMendable;
        job->stop();  // before the kernel lets the job's tasks go
      }
    } else if (event == PTRACE_EVENT_STOP) {
      if (is_stop_signal(WSTOPSIG(status))) {
        ptrace(PTRACE_LISTEN, criu, nullptr, nullptr);
        continue;
      }
    } else {
      pass_on = WSTOPSIG(status);
    }
    ptrace(PTRACE_CONT, criu, nullptr, pass_on);
  }
}

// One that failed by itself has left nothing as a rule, and then there is nothing to tell.
void mend(const GuardOptions& options, JobRecord* job, bool killed) {
  set_alarm(kPatienceSeconds);
  job->set_deadline(kRoundSeconds);
  errno = 0;
  if (const char* failed = job->put_back()) return note(options, kNoteDamaged, failed, errno);
  if (killed || job->mended()) note(options, kNoteRepaired, "everything", 0);
}

int guard(const GuardOptions& options) {
  int go[2];
  if (pipe2(go, O_CLOEXEC) != 0) give_up("make a pipe", errno);
  const pid_t criu = start_criu(options, go);
  static JobRecord job;
  set_alarm(kPatienceSeconds);
  job.set_deadline(kRoundSeconds);
  const char* failed = job.open(options.job) ? job.take() : "cannot open the job's cgroup";
  set_alarm(0);
  if (failed == nullptr && ptrace(PTRACE_SEIZE, criu, nullptr, PTRACE_O_TRACEEXIT) != 0 &&
      !has_ended(criu)) {
    failed = "cannot trace CRIU";
  }
  if (failed != nullptr) note(options, kNoteUnguarded, failed, errno);
  const int recorded = open(options.recorded, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (recorded < 0) give_up(options.recorded, errno);
  close(recorded);
  (void)write_all(go[1], "g", 1);
  Damage damage = Damage::kNone;
  const int status = attend(criu, &job, &damage);
  if (damage == Damage::kRan) note(options, kNoteDamaged, "it ran before CRIU had ended", 0);
  if (damage == Damage::kMendable) mend(options, &job, WIFSIGNALED(status));
  return WIFEXITED(status) ? WEXITSTATUS(status) : kExitSignalled + WTERMSIG(status);
}

}  // namespace
}  // namespace init

int main(int, char** argv) {
  init::GuardOptions options;
  if (!init::parse_options(argv, &options)) init::give_up("wrong arguments", EINVAL);
  setsid();  // what is typed at the daemon's terminal is neither for CRIU nor for us
  for (const int number : {SIGHUP, SIGINT, SIGTERM, SIGPIPE}) signal(number, SIG_IGN);
  init::raise_limit();
  return init::guard(options);
}
