// The job of handover_bench: so much resident memory of which no two pages are alike, and the wall
// clock appended to a witness file every few milliseconds, so that the longest gap between two
// lines is how long it stood still, whoever moved it. The file is open only while a line is
// written.
//
//   memory_job MiB WITNESS
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  const std::size_t size = argc == 3 ? std::strtoul(argv[1], nullptr, 10) << 20 : 0;
  if (size == 0) return 2;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  auto* words = static_cast<std::uint64_t*>(memory);
  std::uint64_t state = 1;
  for (std::size_t i = 0; i < size / sizeof(*words); ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    words[i] = state;
  }
  for (std::size_t at = 0;; at = (at + 512) % (size / sizeof(*words))) {
    words[at] += 1;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    char line[32];
    const int length = std::snprintf(
        line, sizeof(line), "%lld\n",
        static_cast<long long>(std::chrono::duration_cast<std::chrono::microseconds>(now).count()));
    const int witness = ::open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (witness < 0 || ::write(witness, line, static_cast<std::size_t>(length)) != length) return 1;
    ::close(witness);
    ::usleep(4000);
  }
}
