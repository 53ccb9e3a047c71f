// tern-init: PID 1 of a job.
//
// tern-init [--uid N --gid N --groups N,N...] [--umask OCTAL] [--dir PATH]
//           [--root PATH] [--input pipe|terminal] [--hold 1] [--adopted PID] -- COMMAND [ARG...]
//
// Leads the session, starts COMMAND (main) in a process group of its own, reaps, passes signals on
// to that group; with --hold after a SIGCONT. With --adopted it starts nothing: main is its process
// PID, which CRIU restores beside it meanwhile (enter_main.cc). When main ends, so does all of the
// job: what is left is killed and reaped, the status goes into the status pipe, and init waits to
// be told (kSignalAcknowledge) that it is stored. It exists because a bare job as PID 1 would
// ignore SIGINT and SIGTERM, and because the pipes need an owner that moves with the job
// (init/contract.h).
//
// All signals stay blocked and are taken one by one: a blocked signal reaches even PID 1, and
// there is no handler whose moment could be wrong.
#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "init/contract.h"
#include "init/input.h"
#include "init/sys.h"

namespace init {
namespace {

constexpr std::uint64_t kIdMax = 0xfffffffe;  // (uid_t)-1 means "leave it" to the kernel

struct Options {
  bool change_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::size_t group_count = 0;
  gid_t groups[kGroupsMax];
  mode_t mask = 022;
  const char* dir = nullptr;  // main's working folder
  bool hold = false;
  pid_t adopted = 0;           // main, which is not ours to start
  const char* root = nullptr;  // init's own root (machine/init_root.h); main keeps the real one
  char** command = nullptr;
  bool input = false;  // main has one; else /dev/null
  bool terminal = false;
};

Options options;
Input input;
int signals = -1;  // of a job with input: polled beside it

// Onto the job's own stderr, as a shell would.
void complain(const char* what, int error) {
  char line[512];
  const int size = std::snprintf(line, sizeof line, "tern: %.400s: %s\n", what, strerror(error));
  if (size <= 0) return;
  const std::size_t length = static_cast<std::size_t>(size);
  (void)write_all(STDERR_FILENO, line, length < sizeof line ? length : sizeof line - 1);
}

bool parse_groups(const char* text) {
  while (*text != '\0') {
    std::uint64_t group = 0;
    if (options.group_count == kGroupsMax) return false;
    if (!parse_number(text, 10, kIdMax, &group, ',', &text)) return false;
    options.groups[options.group_count++] = static_cast<gid_t>(group);
  }
  return true;
}

bool parse_option(const char* name, const char* value) {
  std::uint64_t number = 0;
  if (std::strcmp(name, "--dir") == 0) {
    options.dir = value;
    return true;
  }
  if (std::strcmp(name, "--root") == 0) {
    options.root = value;
    return true;
  }
  if (std::strcmp(name, "--groups") == 0) return parse_groups(value);
  if (std::strcmp(name, "--input") == 0) {
    options.input = true;
    options.terminal = std::strcmp(value, "terminal") == 0;
    return options.terminal || std::strcmp(value, "pipe") == 0;
  }
  if (std::strcmp(name, "--umask") == 0) {
    if (!parse_number(value, 8, 0777, &number)) return false;
    options.mask = static_cast<mode_t>(number);
    return true;
  }
  if (!parse_number(value, 10, kIdMax, &number)) return false;
  if (std::strcmp(name, "--hold") == 0) {
    options.hold = number != 0;
    return true;
  }
  if (std::strcmp(name, "--adopted") == 0) {
    options.adopted = static_cast<pid_t>(number);
    return number > 1 && number <= INT32_MAX;
  }
  if (std::strcmp(name, "--uid") == 0) {
    options.uid = static_cast<uid_t>(number);
    options.change_user = true;
    return true;
  }
  if (std::strcmp(name, "--gid") == 0) {
    options.gid = static_cast<gid_t>(number);
    return true;
  }
  return false;
}

bool parse_options(char** argv) {
  if (*argv == nullptr) return false;
  for (++argv; *argv != nullptr && std::strcmp(*argv, "--") != 0; argv += 2) {
    if (argv[1] == nullptr || !parse_option(argv[0], argv[1])) return false;
  }
  if (*argv == nullptr || argv[1] == nullptr) return false;
  options.command = argv + 1;
  return true;
}

// Init itself becomes the user too: a checkpoint of a user's job then holds no root credentials.
bool become_user() {
  umask(options.mask);
  if (options.change_user) {
    if (setgroups(options.group_count, options.groups) != 0 ||
        setresgid(options.gid, options.gid, options.gid) != 0 ||
        setresuid(options.uid, options.uid, options.uid) != 0) {
      complain("cannot become the job's user", errno);
      return false;
    }
  }
  if (getuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    complain("no_new_privs", errno);
    return false;
  }
  return true;
}

bool enter_root() {
  if (options.root == nullptr) return chdir("/") == 0;
  if (chroot(options.root) == 0 && chdir("/") == 0) return true;
  complain(options.root, errno);
  return false;
}

void prepare_signals(sigset_t* all) {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;  // what was ignored would stay ignored in main
  // Before they are blocked: a SIGCONT that waits would be dropped by it.
  for (int number = 1; number < NSIG; ++number) sigaction(number, &standard, nullptr);
  sigfillset(all);
  sigprocmask(SIG_SETMASK, all, nullptr);
}

// In a group of its own. With a terminal main leads a session, too, as under a login: CRIU gives a
// terminal back to the leader of its session only, so a shell has to be that itself.
void take_input() {
  if (!options.terminal) setpgid(0, 0);
  if (!options.input) return;
  for (int fd = 0; fd <= (options.terminal ? 2 : 0); ++fd) dup2(kInitMainInput, fd);
  if (!options.terminal) return;
  setsid();
  ioctl(0, TIOCSCTTY, 0);
}

[[noreturn]] void run_main() {
  take_input();
  if (!become_user()) _exit(kExitCannotExecute);
  if (options.dir != nullptr && chdir(options.dir) != 0) {
    complain(options.dir, errno);
    _exit(kExitCannotExecute);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvp(options.command[0], options.command);
  const int error = errno;
  complain(options.command[0], error);
  _exit(error == ENOENT ? kExitNotFound : kExitCannotExecute);
}

bool passed_on(int number) {
  switch (number) {
    case SIGHUP:
    case SIGINT:
    case SIGQUIT:
    case SIGTERM:
    case SIGUSR1:
    case SIGUSR2:
    case SIGALRM:
    case SIGWINCH:
    case SIGCONT:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return true;
    default:
      return false;
  }
}

// To main's group; to main alone once it has moved itself to another one.
void pass_on(pid_t main_pid, int number) {
  if (kill(-main_pid, number) != 0) kill(main_pid, number);
}

void drop_reader(int number) {
  if (number == kSignalDropStdout) close(kInitStdoutRead);
  if (number == kSignalDropStderr) close(kInitStderrRead);
}

// The next signal, as sigwaitinfo; what input there is is passed on meanwhile.
int await_signal(const sigset_t* all) {
  if (!input.there() || signals < 0) return sigwaitinfo(all, nullptr);
  for (;;) {
    struct pollfd polled[1 + Input::kPolled];
    polled[0] = {signals, POLLIN, 0};
    input.set_up(polled + 1);
    if (poll(polled, 1 + Input::kPolled, -1) < 0) continue;
    input.turn(polled + 1);
    struct signalfd_siginfo info = {};
    if (polled[0].revents != 0 && read(signals, &info, sizeof info) == sizeof info) {
      return static_cast<int>(info.ssi_signo);
    }
  }
}

// Returns main's wait status.
int supervise(pid_t main_pid, const sigset_t* all) {
  for (;;) {
    const int number = await_signal(all);
    if (number < 0) continue;  // EINTR: frozen, traced or stopped meanwhile
    if (passed_on(number)) pass_on(main_pid, number);
    drop_reader(number);
    if (number != SIGCHLD) continue;
    bool ended = false;
    int main_status = 0;
    for (;;) {
      int status = 0;
      const pid_t pid = retry([&] { return waitpid(-1, &status, WNOHANG); });
      if (pid <= 0) break;
      if (pid == main_pid) {
        ended = true;
        main_status = status;
      }
    }
    if (ended) return main_status;
  }
}

void end_the_rest() {
  for (;;) {
    kill(-1, SIGKILL);
    const pid_t pid = retry([] { return waitpid(-1, nullptr, 0); });
    if (pid < 0) return;  // ECHILD
  }
}

// The job is over: what its terminal still shows is its output.
void show_the_rest() {
  while (input.shows_more()) {
    struct pollfd polled[1 + Input::kPolled];
    polled[0] = {signals, POLLIN, 0};
    input.set_up(polled + 1);
    if (poll(polled, 1 + Input::kPolled, -1) < 0) continue;
    input.turn(polled + 1);
    struct signalfd_siginfo info = {};
    if (read(signals, &info, sizeof info) == sizeof info) {
      drop_reader(static_cast<int>(info.ssi_signo));
    }
  }
}

void report(int status) {
  const StatusRecord record = {kStatusMagic, status, 0};
  (void)write_all(kInitStatusWrite, &record, sizeof record);
}

void await_acknowledgement(const sigset_t* all) {
  for (;;) {
    const int number = sigwaitinfo(all, nullptr);
    if (number == kSignalAcknowledge) return;
    drop_reader(number);
  }
}

// One that the job sent itself, before there was anything to acknowledge, must not count.
void forget_early_acknowledgements() {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, kSignalAcknowledge);
  const struct timespec at_once = {};
  while (sigtimedwait(&one, nullptr, &at_once) == kSignalAcknowledge) {
  }
}

// One that came before is pending still; everything else waits for supervise().
void await_continue() {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGCONT);
  while (sigwaitinfo(&one, nullptr) != SIGCONT) {
  }
}

// The wait status of main, or of the attempt.
int run(char** argv, const sigset_t* all) {
  if (!parse_options(argv)) {
    complain("tern-init", EINVAL);
    return W_EXITCODE(kExitCannotExecute, 0);
  }
  // Its root stays where it is meanwhile (machine/init_root.h): a process is in it.
  if (options.hold && options.root != nullptr && chdir(options.root) != 0) {
    complain(options.root, errno);
    return W_EXITCODE(kExitCannotExecute, 0);
  }
  if (options.hold) await_continue();
  const pid_t main_pid = options.adopted != 0 ? options.adopted : fork();
  if (main_pid < 0) {
    complain("fork", errno);
    return W_EXITCODE(kExitCannotExecute, 0);
  }
  if (main_pid == 0) run_main();
  if (options.input) close(kInitMainInput);  // main's alone
  // Whoever comes first: the group exists before it gets a signal. (A group's leader could not make
  // a session of its own.)
  if (!options.terminal && options.adopted == 0) setpgid(main_pid, main_pid);
  // After the fork, since main must not be locked into init's root.
  if (!enter_root() || !become_user()) return W_EXITCODE(kExitCannotExecute, 0);
  if (options.input) {
    signals = signalfd(-1, all, SFD_NONBLOCK | SFD_CLOEXEC);
    InputEnds ends;
    ends.output = options.terminal ? STDOUT_FILENO : -1;
    input.open(ends, options.terminal);
  }
  return supervise(main_pid, all);
}

}  // namespace
}  // namespace init

int main(int, char** argv) {
  sigset_t all;
  init::prepare_signals(&all);
  if (getpid() != 1) {
    init::complain("tern-init runs as process 1 of a job only", EPERM);
    return init::kExitCannotExecute;  // kill(-1) anywhere else would be a catastrophe
  }
  setsid();
  for (int fd = init::kInitStdoutRead; fd <= init::kInitMainInput; ++fd) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  const int status = init::run(argv, &all);
  init::end_the_rest();
  if (init::options.terminal) init::show_the_rest();
  init::forget_early_acknowledgements();
  init::report(status);
  init::await_acknowledgement(&all);
  return 0;
}
