// A job that notices if anything of it was touched: its threads hold known values in general and
// vector registers, wait in system calls of several kinds, and check memory, what of it may not be
// read, a socket and the umask. Whenever all of them got on, the number in the file `count` grows.
// What is not as it must be ends it at once. With an argument its first thread may do nothing but
// read and write (seccomp(2), strict mode).
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// The job's own pace, not a wait for anything: enough work to be met in the middle of it, without
// taking the machine from others.
void rest() { (void)::poll(nullptr, 0, 1); }

constexpr int kKinds = 6;
constexpr const char* kKindNames[kKinds] = {"registers do not get on", "sleep does not get on",
                                            "memory does not get on",  "pipes do not get on",
                                            "turn 0 does not come",    "turn 1 does not come"};
constexpr int kWaitsMax = 10'000;  // of 1 ms at least
std::atomic<std::uint64_t> progress[kKinds];

[[noreturn]] void wrong(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::FILE* file = std::fopen("wrong", "w");
  if (file != nullptr) {
    std::fprintf(file, "%s\n", what);
    std::fclose(file);
  }
  std::abort();
}

// A long stretch without memory or system calls, everything in registers.
void hold_registers() {
  for (std::uint64_t round = 1;; ++round) {
    std::uint64_t left = 100'000;
    std::uint64_t bad = 0;
#if defined(__x86_64__)
    const std::uint64_t seed = round * 0x9e3779b97f4a7c15ULL;
    asm volatile(
        "movq %[seed], %%xmm3\n\t"
        "movq %[seed], %%xmm15\n\t"
        "mov %[seed], %%r12\n\t"
        "not %%r12\n\t"
        "1: dec %[left]\n\t"
        "jnz 1b\n\t"
        "movq %%xmm3, %%rax\n\t"
        "xor %[seed], %%rax\n\t"
        "or %%rax, %[bad]\n\t"
        "movq %%xmm15, %%rax\n\t"
        "xor %[seed], %%rax\n\t"
        "or %%rax, %[bad]\n\t"
        "not %%r12\n\t"
        "xor %[seed], %%r12\n\t"
        "or %%r12, %[bad]\n\t"
        : [left] "+r"(left), [bad] "+r"(bad)
        : [seed] "r"(seed)
        : "rax", "r12", "xmm3", "xmm15", "cc");
#else
    volatile double a = static_cast<double>(round);
    double b = a;
    for (; left > 0; --left) b = b * 1.0 + 0.0;
    bad = b == a ? 0 : 1;
#endif
    if (bad != 0) wrong("registers changed");
    ++progress[0];
    rest();
  }
}

void sleep_often() {
  for (;;) {
    const timespec moment{0, 1'000'000};
    const int error = clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr);
    if (error != 0 && error != EINTR) wrong("sleep failed");
    ++progress[1];
  }
}

void check_memory() {
  std::vector<std::uint64_t> words(1 << 19);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = i * 0x9e3779b97f4a7c15ULL;
  for (;;) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] != i * 0x9e3779b97f4a7c15ULL) wrong("memory changed");
    }
    ++progress[2];
    rest();
  }
}

// Two that wake each other, one over a pipe, one over a condition.
void play(int in, int out) {
  for (std::uint64_t expected = 0;; expected += 2) {
    std::uint64_t got = 0;
    ssize_t size = 0;
    while ((size = ::read(in, &got, sizeof got)) < 0 && errno == EINTR) {
    }
    if (size != sizeof got || got != expected) wrong("a pipe gave something else");
    pollfd one{out, POLLOUT, 0};
    while (::poll(&one, 1, 1000) < 0) {
      if (errno != EINTR) wrong("poll failed");
    }
    const std::uint64_t next = got + 1;
    while ((size = ::write(out, &next, sizeof next)) < 0 && errno == EINTR) {
    }
    if (size != sizeof next) wrong("a pipe took something else");
    ++progress[3];
    rest();
  }
}

std::mutex mutex;
std::condition_variable condition;
std::uint64_t turn = 0;

void take_turns(std::uint64_t me) {
  std::unique_lock lock(mutex);
  for (;;) {
    if (!condition.wait_for(lock, std::chrono::seconds(30), [me] { return turn % 2 == me; })) {
      wrong("a wakeup was lost");
    }
    ++turn;
    ++progress[4 + me];
    condition.notify_all();
    rest();
  }
}

constexpr mode_t kUmask = 0031;

// A page with something in it that nobody may read.
class Hidden {
 public:
  Hidden() {
    page_ = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page_ == MAP_FAILED || ::pipe(ends_) != 0) wrong("no page");
    *static_cast<char*>(page_) = 1;
    if (::mprotect(page_, 4096, PROT_NONE) != 0) wrong("no page");
  }
  void check() const {
    if (::write(ends_[1], page_, 1) >= 0 || errno != EFAULT) wrong("a hidden page can be read");
  }

 private:
  void* page_ = nullptr;
  int ends_[2] = {};
};

void tell(std::uint64_t count) {
  std::FILE* file = std::fopen("next", "w");
  struct stat info {};
  if (file == nullptr || ::fstat(::fileno(file), &info) != 0) wrong("no file");
  if ((info.st_mode & 0777) != (0666 & ~kUmask)) wrong("the umask changed");
  std::fprintf(file, "%llu\n", static_cast<unsigned long long>(count));
  std::fclose(file);
  if (std::rename("next", "count") != 0) wrong("no file");
}

// A socket with something in its queue.
class Queue {
 public:
  Queue() {
    if (::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends_) != 0 || ::write(ends_[0], "12", 2) != 2) {
      wrong("no socket");
    }
  }
  void check() const {
    int offset = 0;
    socklen_t size = sizeof offset;
    if (::getsockopt(ends_[1], SOL_SOCKET, SO_PEEK_OFF, &offset, &size) != 0 || offset != -1) {
      wrong("a socket is peeked at from elsewhere");
    }
  }

 private:
  int ends_[2] = {};
};

// A thread that may do nothing but answer.
class Echo {
 public:
  Echo() {
    if (::pipe(there_) != 0 || ::pipe(back_) != 0) wrong("no pipe");
  }
  void check() const {
    char byte = 1;
    pollfd one{back_[0], POLLIN, 0};
    if (::write(there_[1], &byte, 1) != 1) wrong("a pipe ended");
    int ready = 0;
    while ((ready = ::poll(&one, 1, kWaitsMax)) < 0 && errno == EINTR) {
    }
    if (ready != 1) wrong("no echo");
    if (::read(back_[0], &byte, 1) != 1) wrong("a pipe ended");
  }
  [[noreturn]] void serve() const {
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) wrong("no seccomp");
    for (char byte = 0;;) {
      if (::read(there_[0], &byte, 1) == 1) (void)!::write(back_[1], &byte, 1);
    }
  }

 private:
  int there_[2] = {};
  int back_[2] = {};
};

[[noreturn]] void watch(const Echo* echo) {
  const Hidden hidden;
  const Queue queue;
  for (std::uint64_t count = 1;; ++count) {
    std::uint64_t before[kKinds];
    for (int i = 0; i < kKinds; ++i) before[i] = progress[i];
    for (int i = 0; i < kKinds; ++i) {
      for (int waits = 0; progress[i] == before[i]; ++waits) {
        if (waits == kWaitsMax) wrong(kKindNames[i]);
        rest();
      }
    }
    hidden.check();
    queue.check();
    if (echo != nullptr) echo->check();
    tell(count);
  }
}

}  // namespace

int main(int argc, char**) {
  int there[2];
  int back[2];
  if (::pipe(there) != 0 || ::pipe(back) != 0) return 1;
  const std::uint64_t first = 0;
  if (::write(there[1], &first, sizeof first) != sizeof first) return 1;
  ::umask(kUmask);
  std::vector<std::thread> threads;
  threads.emplace_back(hold_registers);
  threads.emplace_back(sleep_often);
  threads.emplace_back(check_memory);
  threads.emplace_back(play, there[0], back[1]);
  threads.emplace_back([&] {  // sends back what it got, and so it is still in step
    for (;;) {
      std::uint64_t got = 0;
      ssize_t size = 0;
      while ((size = ::read(back[0], &got, sizeof got)) < 0 && errno == EINTR) {
      }
      if (size != sizeof got) wrong("a pipe ended");
      const std::uint64_t next = got + 1;
      if (::write(there[1], &next, sizeof next) != sizeof next) wrong("a pipe ended");
    }
  });
  threads.emplace_back(take_turns, 0);
  threads.emplace_back(take_turns, 1);
  if (argc < 2) watch(nullptr);
  const Echo echo;
  threads.emplace_back(watch, &echo);
  echo.serve();
}
