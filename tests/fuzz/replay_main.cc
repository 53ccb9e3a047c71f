// Runs a fuzz target without libFuzzer: every file of the corpus folder named on the command line,
// the empty input, and some hundred mutations of each file. The mutations are drawn from a fixed
// seed, so that a failure comes back: the last line printed names the file and the mutation.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr int kMutations = 300;
using Input = std::vector<std::uint8_t>;

struct Draw {  // splitmix64 (Steele et al. 2014): the same numbers everywhere
  std::uint64_t state;
  std::uint64_t next() {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }
  std::uint8_t byte() { return static_cast<std::uint8_t>(next() >> 56); }
};

void mutate_once(Input& input, Draw& draw) {
  constexpr std::uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
  const auto offset = [&] { return static_cast<std::ptrdiff_t>(draw.below(input.size())); };
  if (input.empty()) {
    input.push_back(draw.byte());
    return;
  }
  switch (draw.below(7)) {
    case 0:
      input[draw.below(input.size())] = draw.byte();
      break;
    case 1:
      input[draw.below(input.size())] ^= static_cast<std::uint8_t>(1U << draw.below(8));
      break;
    case 2:
      input[draw.below(input.size())] = kEdges[draw.below(std::size(kEdges))];
      break;
    case 3:
      input.resize(draw.below(input.size() + 1));
      break;
    case 4:
      input.insert(input.begin() + offset(), draw.byte());
      break;
    case 5:
      input.erase(input.begin() + offset());
      break;
    default: {  // a piece of the input again, elsewhere
      const std::size_t from = draw.below(input.size());
      const std::size_t size = std::min<std::size_t>(1 + draw.below(64), input.size() - from);
      const Input piece(input.begin() + static_cast<std::ptrdiff_t>(from),
                        input.begin() + static_cast<std::ptrdiff_t>(from + size));
      input.insert(input.begin() + offset(), piece.begin(), piece.end());
    }
  }
}

void run(const Input& input) {
  // An exact copy on the heap, so that a sanitizer sees a read past its end.
  const Input exact(input);
  (void)LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  run({});
  if (argc != 2 || !std::filesystem::is_directory(argv[1])) {
    std::printf("usage: %s CORPUS_FOLDER\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::printf("%s holds no seeds\n", argv[1]);
    return 2;
  }
  for (const auto& path : files) {
    std::ifstream file(path, std::ios::binary);
    const Input seed{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    std::printf("%s, %zu bytes\n", path.filename().c_str(), seed.size());
    run(seed);
    Draw draw{seed.size() * 0x100000001b3};
    for (int mutation = 0; mutation < kMutations; ++mutation) {
      Input input = seed;
      for (std::size_t i = 1 + draw.below(4); i > 0; --i) mutate_once(input, draw);
      run(input);
    }
  }
  std::printf("%zu seeds, %d mutations each\n", files.size(), kMutations);
  return 0;
}
