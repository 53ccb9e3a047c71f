#include "init/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "init/sys.h"

namespace init {
namespace {

constexpr std::int64_t kRetryMs = 1000;
constexpr std::int64_t kLimitRetryMs = 50;  // the daemon makes room
constexpr const char* kStreamFiles[2] = {"stdout.log", "stderr.log"};
constexpr int kStreamFds[2] = {kInitStdoutRead, kInitStderrRead};
constexpr int kStreamDrops[2] = {kSignalDropStdout, kSignalDropStderr};

std::int64_t now_ms() {
  struct timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// Field 22 of a process's stat, which begins after the last ')' (the name may hold anything).
bool read_start(int folder, std::uint64_t* start) {
  char text[1024];
  const int fd = retry([&] { return openat(folder, "stat", O_RDONLY | O_CLOEXEC); });
  if (fd < 0) return false;
  const ssize_t size = retry([&] { return read(fd, text, sizeof text - 1); });
  close(fd);
  if (size <= 0) return false;
  text[size] = '\0';
  const char* at = std::strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 22; ++field) {
    at = std::strchr(at + 1, ' ');
  }
  return at != nullptr && parse_number(at + 1, 10, UINT64_MAX, start, ' ');
}

int open_fd_of(int folder, int fd) {
  char name[32];
  std::snprintf(name, sizeof name, "fd/%d", fd);
  return retry([&] { return openat(folder, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC); });
}

}  // namespace

const char* Keeper::open_files(const KeeperOptions& options) {
  Bases bases = {kBasesMagic, options.stdout_base, options.stderr_base};
  switch (load_whole("bases", &bases, sizeof bases)) {
    case Loaded::kDamaged:
      return "the file 'bases' is damaged";
    case Loaded::kAbsent:
      if (!store_whole("bases", &bases, sizeof bases)) return "cannot write 'bases'";
      break;
    case Loaded::kYes:
      if (bases.magic != kBasesMagic) return "the file 'bases' is damaged";
      if (bases.stdout_base != options.stdout_base || bases.stderr_base != options.stderr_base) {
        return "the job folder was begun with other offsets";
      }
  }
  const std::uint64_t offsets[2] = {bases.stdout_base, bases.stderr_base};
  for (unsigned index = 0; index < 2; ++index) {
    if (!streams_[index].open_file(kStreamFiles[index], offsets[index])) {
      return "cannot open the job's output files";
    }
  }
  order_.open_file("order");
  const Loaded exit = load_whole("exit", &exit_, sizeof exit_);
  if (exit == Loaded::kDamaged || (exit == Loaded::kYes && exit_.magic != kExitMagic)) {
    return "the file 'exit' is damaged";
  }
  if (exit == Loaded::kYes) state_ = State::kExited;
  paused_ = options.paused;
  limit_ = options.limit;
  return nullptr;
}

// Through one folder handle, so that a PID used anew in between cannot be mistaken for init.
const char* Keeper::open_init(const KeeperOptions& options) {
  if (pipe2(peek_, O_CLOEXEC | O_NONBLOCK) != 0) return "cannot make a pipe";
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d", options.init_pid);
  const int folder = retry([&] { return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, options.init_pid, 0));
  std::uint64_t start = 0;
  const bool found =
      folder >= 0 && pidfd >= 0 && read_start(folder, &start) && start == options.init_start;
  if (found) init_pidfd_ = pidfd;
  if (found && state_ != State::kExited) {
    for (unsigned index = 0; index < 2; ++index) {
      streams_[index].attach(open_fd_of(folder, kStreamFds[index]));  // or -1: was dropped
    }
    status_pipe_ = open_fd_of(folder, kInitStatusRead);
  }
  const int error = errno;
  if (!found && pidfd >= 0) close(pidfd);
  if (folder >= 0) close(folder);
  // One that is just dying has closed its descriptors before its pidfd tells; that will come.
  const bool dying = error == ENOENT || error == ESRCH;
  if (found && state_ != State::kExited && status_pipe_ < 0 && !dying) {
    errno = error;
    return "cannot open the job's pipes";
  }
  if (state_ == State::kExited) acknowledge_to_init();  // a keeper before may not have come to it
  return nullptr;
}

void Keeper::run() {
  for (;;) turn();
}

bool Keeper::init_gone() const {
  if (init_pidfd_ < 0) return true;
  struct pollfd one = {init_pidfd_, POLLIN, 0};
  return poll(&one, 1, 0) > 0;
}

int Keeper::timeout_ms() const {
  if (paused_ || state_ == State::kExited) return -1;
  if (store_errno_ == 0) return -1;
  const std::int64_t left = retry_at_ms_ - now_ms();
  return left > 0 ? static_cast<int>(left) : 0;
}

void Keeper::turn() {
  enum { kListener, kClient, kStatus, kInit, kStdout, kStderr, kCount };
  struct pollfd polled[kCount];
  for (auto& one : polled) one = {-1, POLLIN, 0};
  const bool reads = !paused_ && state_ != State::kExited && store_errno_ == 0;
  polled[kListener].fd = listener_;
  polled[kClient].fd = client_;
  if (reads && state_ == State::kRunning) {
    polled[kStatus].fd = status_pipe_;
    polled[kInit].fd = init_pidfd_;
    polled[kStdout].fd = streams_[0].pipe();
    polled[kStderr].fd = streams_[1].pipe();
  }
  // Draining, or an init that was gone before we came, needs nothing to wait for.
  const bool at_once = reads && (state_ == State::kDraining || init_pidfd_ < 0);
  if (poll(polled, kCount, at_once ? 0 : timeout_ms()) < 0) return;
  // A pause that has arrived is obeyed before anything more is read.
  if (polled[kListener].revents != 0) accept_client();
  if (polled[kClient].revents != 0 && client_ == polled[kClient].fd) hear_client();
  if (paused_ || state_ == State::kExited) return;
  if (store_errno_ != 0) {
    if (now_ms() < retry_at_ms_) return;
    store_errno_ = 0;
  }
  if (state_ == State::kRunning) {
    const bool gone = init_gone();
    if (gone || (polled[kStatus].revents & POLLIN) != 0) look_at_status(gone);
  }
  move_output();
}

// The status is looked at before the pipes are emptied: once it is there, nobody writes any more,
// so that pipes found empty afterwards are empty for good.
void Keeper::look_at_status(bool gone) {
  StatusRecord record = {};
  if (status_pipe_ >= 0 &&
      retry([this] {
        return tee(status_pipe_, peek_[1], sizeof(StatusRecord), SPLICE_F_NONBLOCK);
      }) == sizeof record &&
      retry([&] { return read(peek_[0], &record, sizeof record); }) == sizeof record &&
      record.magic == kStatusMagic) {
    exit_ = {kExitMagic, record.wait_status, ExitSource::kInit, 0, 0};
    state_ = State::kDraining;
  } else if (gone) {
    // The kernel reports a namespace's PID 1 as ended only when all others in it have.
    exit_ = {kExitMagic, SIGKILL, ExitSource::kVanished, 0, 0};
    state_ = State::kDraining;
  }
}

void Keeper::move_output() {
  bool more = false;
  for (unsigned index = 0; index < 2 && store_errno_ == 0; ++index) {
    Stream& stream = streams_[index];
    if (!stream.attached()) continue;
    // The last bytes of a job that has ended, a pipe full at most, are not waited for.
    switch (stream.move(state_ == State::kRunning ? limit_ : 0)) {
      case Moved::kSome:
        order_.note(index, stream.end());
        grew_ = true;
        more = true;
        break;
      case Moved::kEmpty:
        break;
      case Moved::kEnded:
        stream.detach();
        break;
      case Moved::kFailed:
        store_failed(errno);
    }
  }
  if (grew_) tell_growth();
  if (!more && store_errno_ == 0 && state_ == State::kDraining) finish();
}

void Keeper::finish() {
  exit_.stdout_end = streams_[0].end();
  exit_.stderr_end = streams_[1].end();
  if (!streams_[0].sync() || !streams_[1].sync() || !store_whole("exit", &exit_, sizeof exit_)) {
    store_failed(errno);
    return;
  }
  state_ = State::kExited;
  acknowledge_to_init();
  send(MessageKind::kExited, 0, 0);
}

// Nothing was consumed: the job blocks on its full pipe until there is room.
void Keeper::store_failed(int error) {
  store_errno_ = error;
  retry_at_ms_ = now_ms() + (error == kAtLimit ? kLimitRetryMs : kRetryMs);
  send(MessageKind::kDiskFull, 0, 0);
}

void Keeper::acknowledge_to_init() const {
  if (exit_.source == ExitSource::kInit && init_pidfd_ >= 0) {
    syscall(SYS_pidfd_send_signal, init_pidfd_, kSignalAcknowledge, nullptr, 0);
  }
}

void Keeper::close_reader(unsigned index) {
  streams_[index].detach();
  if (init_pidfd_ >= 0) {
    syscall(SYS_pidfd_send_signal, init_pidfd_, kStreamDrops[index], nullptr, 0);
  }
}

}  // namespace init
