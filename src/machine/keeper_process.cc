// Starting, finding and stopping keepers, and reading what they stored.
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>

#include <chrono>
#include <csignal>

#include "machine/keeper_client.h"
#include "machine/spawn.h"

namespace machine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kReportSizeMax = 1024;

Patience left_until(Clock::time_point deadline) {
  return std::max(Patience(0), std::chrono::ceil<Patience>(deadline - Clock::now()));
}

base::Status wait_readable(int fd, Clock::time_point deadline) {
  for (;;) {
    const Patience left = left_until(deadline);
    pollfd one{fd, POLLIN, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::min<long>(left.count(), 60'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return io_error("wait for a keeper");
    if (ready == 0 && left.count() == 0) {
      return base::fail(base::Code::kTimeout, "a keeper took too long");
    }
  }
}

// What the keeper says on its report pipe until it closes it or says that it is up.
base::Result<std::string> read_report(int fd, Clock::time_point deadline) {
  std::string report;
  char piece[256];
  for (;;) {
    if (auto ready = wait_readable(fd, deadline); !ready) return ready.error();
    const ssize_t size = retry([&] { return ::read(fd, piece, sizeof piece); });
    if (size < 0) return io_error("hear from a keeper");
    if (size == 0) return report;
    report.append(piece, static_cast<std::size_t>(size));
    if (report.front() == init::kReportOk || report.size() > kReportSizeMax) return report;
  }
}

template <typename Record>
base::Result<Record> read_record(const std::string& path, std::uint64_t magic) {
  auto text = read_small_file(path, sizeof(Record));
  if (!text) return text.error();
  Record record{};
  if (text->size() == sizeof record) {
    std::copy(text->begin(), text->end(), reinterpret_cast<char*>(&record));
  }
  if (record.magic != magic) return base::fail(base::Code::kInvalid, path + " is damaged");
  return record;
}

}  // namespace

base::Status start_keeper(const KeeperSpec& spec, Patience patience) {
  const auto deadline = Clock::now() + patience;
  auto living = find_keeper(spec.job_dir);
  if (!living) return living.error();
  if (living->has_value()) {
    return base::fail(base::Code::kExists, "the job has a keeper already");
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return io_error("make a pipe");
  const Fd report_read(ends[0]);
  Fd report_write(ends[1]);
  SpawnSpec start;
  start.program = spec.keeper_path;
  start.argv = {"tern-keeper",
                spec.job_dir,
                std::to_string(spec.init.pid),
                std::to_string(spec.init.start_ticks),
                std::to_string(spec.stdout_base),
                std::to_string(spec.stderr_base),
                spec.paused ? "paused" : "running",
                std::to_string(spec.limit)};
  start.fds = {{report_write.get(), init::kKeeperReport}};
  start.dir = "/";
  start.cgroup = spec.cgroup;
  auto parent = spawn(start);
  if (!parent) return parent.error();
  report_write.reset();
  // It forks at once and its first process ends; the keeper itself is nobody's child.
  if (auto ended = wait_for_end(*parent, left_until(deadline)); !ended) return ended.error();
  auto report = read_report(report_read.get(), deadline);
  if (!report) return report.error();
  if (report->empty()) return base::fail(base::Code::kIo, "the keeper died at its start");
  if (report->front() != init::kReportOk) return base::fail(base::Code::kRefused, *report);
  return {};
}

base::Result<std::optional<pid_t>> find_keeper(const std::string& job_dir) {
  const std::string path = job_dir + "/keeper.lock";
  const Fd fd(retry([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW); }));
  if (!fd.valid()) {
    if (errno == ENOENT) return std::optional<pid_t>();
    return io_error("open " + path);
  }
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd.get(), F_GETLK, &lock) != 0) return io_error("look at " + path);
  if (lock.l_type == F_UNLCK) return std::optional<pid_t>();
  return std::optional<pid_t>(lock.l_pid);
}

// The pidfd first, then the lock once more: a process that still holds it is the one of the pidfd.
base::Status stop_keeper(const std::string& job_dir, Patience patience) {
  const auto deadline = Clock::now() + patience;
  for (;;) {
    auto found = find_keeper(job_dir);
    if (!found) return found.error();
    if (!found->has_value()) return {};
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, **found, 0)));
    if (!pidfd.valid() && errno != ESRCH) return io_error("open the job's keeper");
    auto again = find_keeper(job_dir);
    if (!again) return again.error();
    if (pidfd.valid() && *again == *found) {
      if (::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0) != 0 &&
          errno != ESRCH) {
        return io_error("end the job's keeper");
      }
      return wait_readable(pidfd.get(), deadline);
    }
    if (Clock::now() >= deadline) {
      return base::fail(base::Code::kTimeout, "the job's keepers follow one another too fast");
    }
  }
}

base::Status replace_keeper(const KeeperSpec& spec, Patience patience) {
  const auto deadline = Clock::now() + patience;
  if (auto stopped = stop_keeper(spec.job_dir, patience); !stopped) return stopped;
  return start_keeper(spec, left_until(deadline));
}

base::Result<init::ExitRecord> read_exit(const std::string& job_dir) {
  return read_record<init::ExitRecord>(job_dir + "/exit", init::kExitMagic);
}

base::Result<init::Bases> read_bases(const std::string& job_dir) {
  return read_record<init::Bases>(job_dir + "/bases", init::kBasesMagic);
}

}  // namespace machine
