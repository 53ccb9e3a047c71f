// A multithreaded job to move: prints 1, 2, 3, ... and checks itself all the while.
//
// Four workers take turns under a mutex and condition variables: each turn must find what the one
// before left, in shared memory and in the worker's own thread-local and stack variables. Any
// disagreement is said on standard output and ends the program with 99.
#include <poll.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace {

constexpr unsigned long kWorkers = 4;

struct Shared {
  std::mutex mutex;
  std::condition_variable turned;
  unsigned long turn = 0;
  std::array<unsigned long, kWorkers> taken{};
};

thread_local unsigned long turns_of_this_thread = 0;

[[noreturn]] void damaged(const char* what) {
  std::printf("damaged: %s\n", what);
  std::fflush(stdout);
  std::_Exit(99);
}

void work(Shared& shared, unsigned long index) {
  unsigned long turns_on_stack = 0;
  while (true) {
    std::unique_lock lock(shared.mutex);
    shared.turned.wait(lock, [&] { return shared.turn % kWorkers == index; });
    if (shared.taken[index] != turns_on_stack) damaged("shared memory and a stack disagree");
    if (turns_of_this_thread != turns_on_stack) damaged("a thread-local variable changed");
    ++shared.taken[index];
    ++turns_on_stack;
    ++turns_of_this_thread;
    ++shared.turn;
    unsigned long sum = 0;
    for (const unsigned long taken : shared.taken) sum += taken;
    if (sum != shared.turn) damaged("the workers' turns do not add up");
    std::printf("%lu\n", shared.turn);
    std::fflush(stdout);
    lock.unlock();
    shared.turned.notify_all();
    (void)::poll(nullptr, 0, 20);  // this job's own pace, not a wait for anything
  }
}

}  // namespace

int main() {
  Shared shared;
  std::vector<std::thread> workers;
  for (unsigned long i = 0; i < kWorkers; ++i) workers.emplace_back(work, std::ref(shared), i);
  for (std::thread& worker : workers) worker.join();
}
