// Counts in a file that it maps: the number stands in each of its pages, and all must agree. What
// it prints is what it counted (tests/e2e/test_files.py).
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

int main(int argc, char** argv) {
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kPages = 512;
  if (argc != 2) return 2;
  const int fd = ::open(argv[1], O_RDWR | O_CREAT, 0644);
  if (fd < 0 || ::ftruncate(fd, kPage * kPages) != 0) return 3;
  void* const at = ::mmap(nullptr, kPage * kPages, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return 4;
  ::close(fd);
  auto* const pages = static_cast<volatile std::uint8_t*>(at);
  const auto number = [&](std::size_t page) {
    return reinterpret_cast<volatile std::uint64_t*>(pages + page * kPage);
  };
  for (std::uint64_t n = *number(0) + 1;; ++n) {
    for (std::size_t page = 0; page < kPages; ++page) {
      if (*number(page) != n - 1) return 5;
      *number(page) = n;
    }
    std::printf("%llu\n", static_cast<unsigned long long>(n));
    std::fflush(stdout);
    ::poll(nullptr, 0, 20);
  }
}
