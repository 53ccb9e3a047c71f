#include "sim/swarm.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "base/check.h"
#include "sim/report.h"
#include "sim/run.h"

namespace sim {
namespace {

constexpr std::uint64_t kRealEvery = 50;
constexpr std::uint32_t kWorkersMax = 256;

// What the workers share: whose turn it is, and whether to go on.
struct Shared {
  std::array<std::atomic<std::uint64_t>, kWorkersMax> seeds{};  // what each worker is at
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> stop{false};
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// One world's result on the pipe: fixed figures, then the report's line, then the failure's text.
struct Header {
  std::uint64_t seed = 0;
  std::uint64_t events = 0;
  std::uint64_t commits = 0;
  FaultCounts faults{};
  std::uint32_t failed = 0;
  std::uint32_t line_size = 0;
  std::uint32_t text_size = 0;
};

bool write_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t wrote = ::write(fd, data, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    data += wrote;
    size -= static_cast<std::size_t>(wrote);
  }
  return true;
}

bool read_all(int fd, char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t got = ::read(fd, data, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    data += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

std::string command_of(std::uint64_t seed, const Wanted& wanted) {
  std::string command = "tern-sim run --seed " + std::to_string(seed);
  if (wanted.nodes != 0) command += " --nodes " + std::to_string(wanted.nodes);
  if (wanted.faulty.count() != 0) {
    command += " --seconds " + std::to_string(wanted.faulty.count() / 1'000'000);
  }
  if (wanted.faults == FaultMode::kNone) command += " --faults none";
  if (wanted.faults == FaultMode::kSome) command += " --faults some";
  if (seed % kRealEvery == 0) command += " --crypto real";
  return command;
}

void work(const SwarmOptions& options, Shared& shared, std::uint32_t self, int out) {
  const std::uint64_t count = options.last - options.first + 1;
  while (!shared.stop) {
    const std::uint64_t at = shared.next.fetch_add(1);
    if (at >= count) return;
    if (at % options.shards != options.shard - 1) continue;
    const std::uint64_t seed = options.first + at;
    shared.seeds[self] = seed;
    const Scenario scenario = scenario_of(seed, options.wanted);
    Outcome outcome = run_scenario(scenario, {});
    if (options.check_twice) {
      const Outcome again = run_scenario(scenario, {QueueKind::kCalendar, nullptr, false});
      if (again.trace_hash != outcome.trace_hash) {
        outcome.unmet.push_back("the same trace from both queues: " + outcome.trace_hash + " and " +
                                again.trace_hash);
      }
    }
    const std::string line = options.report.empty() ? "" : json_of(outcome) + "\n";
    const std::string text =
        outcome.failed() ? failure_of(outcome, options.commit, command_of(seed, options.wanted))
                         : "";
    Header header{seed,
                  outcome.counts.events,
                  outcome.counts.commits,
                  outcome.faults,
                  outcome.failed() ? 1U : 0U,
                  static_cast<std::uint32_t>(line.size()),
                  static_cast<std::uint32_t>(text.size())};
    char raw[sizeof(Header)];
    std::memcpy(raw, &header, sizeof(header));
    if (!write_all(out, raw, sizeof(raw))) return;
    if (!write_all(out, line.data(), line.size())) return;
    if (!write_all(out, text.data(), text.size())) return;
  }
}

struct Worker {
  pid_t pid = 0;
  int fd = -1;
  std::uint32_t number = 0;
};

class Swarm {
 public:
  Swarm(const SwarmOptions& options, const std::function<void(const std::string&)>& failed)
      : options_(options), failed_(failed) {
    void* memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    shared_ = new (memory) Shared;
  }
  ~Swarm() { ::munmap(shared_, sizeof(Shared)); }
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  SwarmResult run(const std::function<void(const SwarmResult&)>& progress) {
    const auto began = std::chrono::steady_clock::now();
    if (!open_report()) return result_;
    start();
    auto told = began;
    while (!workers_.empty()) {
      std::vector<pollfd> waits;
      for (const Worker& worker : workers_) waits.push_back({worker.fd, POLLIN, 0});
      if (::poll(waits.data(), waits.size(), 1000) < 0 && errno != EINTR) break;
      for (std::size_t i = waits.size(); i-- > 0;) {
        if (waits[i].revents != 0 && !take(workers_[i])) finish(i);
      }
      const auto now = std::chrono::steady_clock::now();
      result_.wall_seconds = std::chrono::duration<double>(now - began).count();
      if (now - told >= std::chrono::seconds(2)) {
        told = now;
        progress(result_);
      }
    }
    if (report_ != nullptr && std::fclose(report_) != 0) result_.trouble = report_trouble();
    return result_;
  }

 private:
  std::string report_trouble() const {
    return "the report " + options_.report + " cannot be written: " + std::strerror(errno);
  }

  bool open_report() {
    if (options_.report.empty()) return true;
    report_ = std::fopen(options_.report.c_str(), "we");
    if (report_ == nullptr) result_.trouble = report_trouble();
    return report_ != nullptr;
  }

  void start() {
    std::uint32_t count = options_.workers;
    if (count == 0) count = std::max(std::thread::hardware_concurrency(), 1U);
    count = std::min(count, kWorkersMax);
    for (std::uint32_t i = 0; i < count; ++i) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) break;
      const pid_t pid = ::fork();
      if (pid == 0) {
        ::close(ends[0]);
        work(options_, *shared_, i, ends[1]);
        ::_exit(0);
      }
      ::close(ends[1]);
      if (pid < 0) {
        ::close(ends[0]);
        break;
      }
      workers_.push_back({pid, ends[0], i});
    }
    if (workers_.empty()) result_.trouble = "no worker could be started";
  }

  // False: the worker has no more to say.
  bool take(const Worker& worker) {
    char raw[sizeof(Header)];
    if (!read_all(worker.fd, raw, sizeof(raw))) return false;
    Header header;
    std::memcpy(&header, raw, sizeof(header));
    std::string line(header.line_size, '\0');
    std::string text(header.text_size, '\0');
    if (!read_all(worker.fd, line.data(), line.size())) return false;
    if (!read_all(worker.fd, text.data(), text.size())) return false;
    ++result_.worlds;
    result_.events += header.events;
    result_.commits += header.commits;
    for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
      result_.faults[kind] += header.faults[kind];
    }
    if (report_ != nullptr && std::fwrite(line.data(), 1, line.size(), report_) != line.size()) {
      result_.trouble = report_trouble();
      shared_->stop = true;
    }
    if (header.failed == 0) return true;
    ++result_.failed;
    if (!result_.first_failed || header.seed < *result_.first_failed) {
      result_.first_failed = header.seed;
    }
    failed_(text);
    if (!options_.keep_going) shared_->stop = true;
    return true;
  }

  void finish(std::size_t index) {
    int status = 0;
    ::close(workers_[index].fd);
    while (::waitpid(workers_[index].pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      const std::uint64_t seed = shared_->seeds[workers_[index].number];
      result_.trouble = "a worker died of signal " + std::to_string(WTERMSIG(status)) +
                        " in the world of seed " + std::to_string(seed) +
                        ": a CHECK of the cores, or of the simulator, did not hold (see above)\n"
                        "  again:  " +
                        command_of(seed, options_.wanted);
      ++result_.failed;
      if (!result_.first_failed || seed < *result_.first_failed) result_.first_failed = seed;
      shared_->stop = true;
    }
    workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  const SwarmOptions& options_;
  const std::function<void(const std::string&)>& failed_;
  Shared* shared_ = nullptr;
  std::vector<Worker> workers_;
  SwarmResult result_;
  std::FILE* report_ = nullptr;
};

}  // namespace

Scenario scenario_of(std::uint64_t seed, const Wanted& wanted) {
  Wanted one = wanted;
  one.seed = seed;
  Scenario scenario = generate(one);
  scenario.real_crypto = seed % kRealEvery == 0;
  return scenario;
}

SwarmResult swarm(const SwarmOptions& options,
                  const std::function<void(const std::string&)>& failed,
                  const std::function<void(const SwarmResult&)>& progress) {
  return Swarm(options, failed).run(progress);
}

}  // namespace sim
