// Four threads that work on a file that they share by a mapping, a page each at a time, until it is
// done; then it says what came of it (tests/e2e/test_matrix.py).
//
//   e2e_mapped_threads_job FOLDER ROUNDS FILE    0 rounds: until there is that file
// Prints each round's number.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::uint64_t kThreads = 4;
constexpr std::uint64_t kWords = 1 << 18;  // 2 MiB

std::uint64_t mixed(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

struct Barrier {  // spins: it lives in memory and nowhere in the kernel
  std::atomic<std::uint64_t> arrived{0};
  void wait(std::uint64_t round) {
    arrived.fetch_add(1);
    while (arrived.load() < kThreads * round) (void)::poll(nullptr, 0, 1);
  }
};

struct Job {
  std::uint64_t* words = nullptr;
  std::uint64_t rounds = 0;
  const char* enough = nullptr;
  Barrier barrier;
  std::atomic<std::uint64_t> last{UINT64_MAX};  // round, once it is known
};

// Each thread's part of a round depends on what another wrote in the round before.
void work(Job& job, std::uint64_t index) {
  constexpr std::uint64_t kPart = kWords / kThreads;
  for (std::uint64_t round = 1; round <= job.last; ++round) {
    std::uint64_t* const own = job.words + index * kPart;
    const std::uint64_t* const other = job.words + ((index + round) % kThreads) * kPart;
    const std::vector<std::uint64_t> seen(other, other + kPart);
    if (index == 0 && (job.rounds > 0 ? round == job.rounds : ::access(job.enough, F_OK) == 0)) {
      job.last = round;
    }
    job.barrier.wait(2 * round - 1);
    for (std::uint64_t i = 0; i < kPart; ++i) own[i] = mixed(own[i] ^ seen[i] ^ round);
    job.barrier.wait(2 * round);
    if (index == 0) {
      std::printf("%llu\n", static_cast<unsigned long long>(round));
      std::fflush(stdout);
    }
    (void)::poll(nullptr, 0, 20);  // this job's own pace
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int fd = ::open((std::string(argv[1]) + "/words").c_str(), O_RDWR | O_CREAT, 0644);
  constexpr std::size_t kBytes = kWords * sizeof(std::uint64_t);
  if (fd < 0 || ::ftruncate(fd, kBytes) != 0) return 3;
  void* const at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return 4;
  Job job;
  job.words = static_cast<std::uint64_t*>(at);
  job.rounds = std::strtoull(argv[2], nullptr, 10);
  job.enough = argv[3];
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < kThreads; ++i) threads.emplace_back(work, std::ref(job), i);
  for (std::thread& thread : threads) thread.join();
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < kWords; ++i) sum = mixed(sum ^ job.words[i]);
  std::printf("sum %016llx\n", static_cast<unsigned long long>(sum));
}
