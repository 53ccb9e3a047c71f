// tern-keeper: holds one job's output and exit, and outlives the daemon (init/keeper.h).
//
// tern-keeper DIR INIT_PID INIT_START STDOUT_BASE STDERR_BASE paused|running LIMIT
//
// Detaches itself from whoever starts it; tells on descriptor 3 that it is up, or why not.
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "init/keeper.h"
#include "init/sys.h"

namespace init {
namespace {

[[noreturn]] void give_up(const char* what, int error) {
  char line[512];
  const int size = error == 0 ? std::snprintf(line, sizeof line, "%s", what)
                              : std::snprintf(line, sizeof line, "%s: %s", what, strerror(error));
  if (size > 0) (void)write_all(kKeeperReport, line, std::strlen(line));
  _exit(1);
}

bool parse_options(int argc, char** argv, KeeperOptions* options) {
  std::uint64_t pid = 0;
  if (argc != 8) return false;
  options->dir = argv[1];
  if (!parse_number(argv[2], 10, INT32_MAX, &pid) || pid == 0) return false;
  if (!parse_number(argv[3], 10, UINT64_MAX, &options->init_start)) return false;
  if (!parse_number(argv[4], 10, INT64_MAX, &options->stdout_base)) return false;
  if (!parse_number(argv[5], 10, INT64_MAX, &options->stderr_base)) return false;
  if (!parse_number(argv[7], 10, INT64_MAX, &options->limit)) return false;
  options->init_pid = static_cast<pid_t>(pid);
  options->paused = std::strcmp(argv[6], "paused") == 0;
  return options->paused || std::strcmp(argv[6], "running") == 0;
}

void detach() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a file size limit is then an error like a full disk
  signal(SIGHUP, SIG_IGN);
  umask(077);
  syscall(SYS_close_range, kKeeperReport + 1, ~0U, 0);
  const pid_t child = fork();
  if (child < 0) give_up("cannot start a keeper", errno);
  if (child > 0) _exit(0);
  setsid();
  const int nothing = open("/dev/null", O_RDWR);
  for (int fd = 0; nothing >= 0 && fd <= 2; ++fd) dup2(nothing, fd);
  if (nothing > kKeeperReport) close(nothing);
}

// A POSIX lock, because F_GETLK tells everybody which process holds it. It is lost when any
// descriptor of the file is closed, so nothing else here opens it. Held until death.
void take_lock() {
  const int fd = open("keeper.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) give_up("cannot open keeper.lock", errno);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(fd, F_SETLK, &lock) != 0) give_up("the job has a keeper already", 0);
}

}  // namespace
}  // namespace init

int main(int argc, char** argv) {
  using init::give_up;
  static init::Keeper keeper;
  init::KeeperOptions options;
  if (!init::parse_options(argc, argv, &options)) give_up("wrong arguments", 0);
  init::detach();
  if (chdir(options.dir) != 0) give_up("cannot enter the job folder", errno);
  init::take_lock();
  errno = 0;
  if (const char* what = keeper.open_files(options)) give_up(what, errno);
  if (const char* what = keeper.open_init(options)) give_up(what, errno);
  if (const char* what = keeper.listen_on_socket()) give_up(what, errno);
  (void)init::write_all(init::kKeeperReport, &init::kReportOk, 1);
  close(init::kKeeperReport);
  keeper.run();
}
