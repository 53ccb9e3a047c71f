#include "transfer/interrupted_calls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "made_images.h"
#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;
using protobuf::WireType;
using testing::image;
using testing::number;

constexpr std::uint64_t kInterrupted = static_cast<std::uint64_t>(-4);
constexpr std::uint64_t kAt = 0x401002;  // behind the instruction

struct Registers {
  std::uint64_t call, result, di, si, dx, r10;
  std::uint64_t mode = 1;
  std::uint64_t machine = 1;
  std::uint64_t at = kAt;
};

// A core as CRIU writes it; of a process, with what it does on signals.
Image core(const Registers& of, const Bytes& task) {
  Bytes registers;
  images::append(registers, number(8, of.r10));
  images::append(registers, number(11, of.result));
  images::append(registers, number(13, of.dx));
  images::append(registers, number(14, of.si));
  images::append(registers, number(15, of.di));
  images::append(registers, number(16, of.call));
  images::append(registers, number(17, of.at));
  images::append(registers, number(28, of.mode));
  Bytes info;
  images::append(info, number(1, 77));
  images::append(info, {2, WireType::kBytes, 0, registers});
  Bytes message;
  images::append(message, number(1, of.machine));
  images::append(message, {2, WireType::kBytes, 0, info});
  if (!task.empty()) images::append(message, {3, WireType::kBytes, 0, task});
  return image({message});
}

// By signal; the others are left to their default.
using Handlers = std::map<int, std::uint64_t>;

Bytes task(const Handlers& handlers, int last = 64) {
  Bytes message;
  for (int signal = 1; signal <= last; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    const auto found = handlers.find(signal);
    Bytes action;
    images::append(action, number(1, found == handlers.end() ? 0 : found->second));
    images::append(action, number(2, 0));
    images::append(message, {15, WireType::kBytes, 0, action});
  }
  return message;
}

// One process, 1, with another thread, 2, in the same call.
ImageSet process(const Registers& of, const Bytes& task) {
  Bytes tree;
  images::append(tree, number(1, 1));
  images::append(tree, number(5, 1));
  images::append(tree, number(5, 2));
  ImageSet set;
  set["pstree.img"] = image({tree});
  set["core-1.img"] = core(of, task);
  set["core-2.img"] = core(of, {});
  return set;
}

base::Bytes no_file(const std::string&, std::uint64_t, std::size_t) { return {}; }

// CRIU resumes a thread at its instruction pointer, with what its registers hold.
TEST(InterruptedCalls, AreMadeAgainUnlessTheProgramAskedForTheRest) {
  struct Row {
    const char* name;
    Registers registers;
    bool again;
  };
  const Row rows[] = {
      {"poll without end", {7, kInterrupted, 0x1000, 1, static_cast<std::uint32_t>(-1), 0}, true},
      {"futex", {202, kInterrupted, 0x1000, 9, 0, 0x2000}, true},
      {"nanosleep, the rest not asked for", {35, kInterrupted, 0x1000, 0, 0, 0}, true},
      {"sleep(3), by nanosleep", {35, kInterrupted, 0x1000, 0x1000, 0, 0}, true},
      {"nanosleep, the rest asked for", {35, kInterrupted, 0x1000, 0x1010, 0, 0}, false},
      {"sleep(3)", {230, kInterrupted, 0, 0, 0x1000, 0x1000}, true},
      {"clock_nanosleep, the rest not asked for", {230, kInterrupted, 1, 0, 0x1000, 0}, true},
      {"clock_nanosleep, the rest asked for", {230, kInterrupted, 1, 0, 0x1000, 0x9}, false},
      {"epoll_wait, which ends so always", {232, kInterrupted, 4, 0x1000, 1, 0}, false},
      {"no system call", {static_cast<std::uint64_t>(-1), kInterrupted, 4, 0, 1, 0}, false},
      {"poll that has ended", {7, 1, 0x1000, 1, 0, 0}, false},
      {"poll of a 32-bit program", {7, kInterrupted, 0x1000, 1, 0, 0, 2}, false},
      {"another machine", {7, kInterrupted, 0x1000, 1, 0, 0, 1, 3}, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    ImageSet set = process(row.registers, task({}));
    const Bytes before = images::whole(set["core-1.img"]);
    repeat_interrupted_calls(set, no_file);
    const Bytes after = images::whole(set["core-1.img"]);
    EXPECT_EQ(after.size(), set["core-1.img"].size);
    if (!row.again) {
      EXPECT_EQ(after, before);
      continue;
    }
    images::each_entry(after, [&](base::ByteView entry) {
      const base::ByteView info = bytes_of(entry, 2);
      const base::ByteView registers = bytes_of(info, 2);
      EXPECT_EQ(number_of(info, 1), 77U);
      EXPECT_EQ(number_of(registers, 11), row.registers.call);
      EXPECT_EQ(number_of(registers, 16), row.registers.call);
      EXPECT_EQ(number_of(registers, 17), kAt - 2);
      EXPECT_EQ(number_of(registers, 15), row.registers.di);
    });
  }
}

TEST(InterruptedCalls, AreMadeAgainOnlyWhereNoSignalIsHandled) {
  constexpr std::uint64_t kIgnore = 1;
  constexpr std::uint64_t kHandler = 0x401100;
  struct Row {
    const char* name;
    Bytes task;
    bool again;
  };
  const Row rows[] = {
      {"defaults", task({}), true},
      {"ignored", task({{SIGHUP, kIgnore}, {64, kIgnore}}), true},
      {"the C library's own", task({{32, kHandler}, {33, kHandler}}), true},
      {"a handler", task({{SIGALRM, kHandler}}), false},
      {"of the first signal", task({{1, kHandler}}), false},
      {"of the last signal", task({{64, kHandler}}), false},
      {"of the program's first real-time signal", task({{34, kHandler}}), false},
      {"not told", {}, false},
      {"told in part", task({}, 63), false},
      {"told of one more", task({}, 65), false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const ImageSet before = process({7, kInterrupted, 0x1000, 1, 0, 0}, row.task);
    ImageSet after = process({7, kInterrupted, 0x1000, 1, 0, 0}, row.task);
    repeat_interrupted_calls(after, no_file);
    for (const char* name : {"core-1.img", "core-2.img"}) {
      EXPECT_EQ(images::whole(after.at(name)) != images::whole(before.at(name)), row.again) << name;
    }
  }
  ImageSet treeless = process({7, kInterrupted, 0x1000, 1, 0, 0}, task({}));
  treeless.erase("pstree.img");
  const Bytes before = images::whole(treeless["core-1.img"]);
  repeat_interrupted_calls(treeless, no_file);
  EXPECT_EQ(images::whole(treeless["core-1.img"]), before);
}

constexpr char kProgram[] = "/bin/program";
constexpr std::uint64_t kMappedAt = 0x400000;
constexpr std::uint64_t kMappedFrom = 0x1000;

struct Mapping {
  std::uint64_t status = 0x41;  // a private one of a file
  std::uint64_t end = kMappedAt + 0x2000;
  std::uint64_t page = 0;  // one of the process's own
  bool unlinked = false;
};

void map_program(ImageSet& set, const Mapping& how) {
  constexpr std::uint64_t kFile = 5;
  Bytes area;
  images::append(area, number(1, kMappedAt));
  images::append(area, number(2, how.end));
  images::append(area, number(3, kMappedFrom));
  images::append(area, number(4, kFile));
  images::append(area, number(7, how.status));
  Bytes memory;
  images::append(memory, {14, WireType::kBytes, 0, area});
  set["mm-1.img"] = image({memory});
  Bytes pages;
  images::append(pages, number(1, how.page));
  images::append(pages, number(2, how.page == 0 ? 0 : 1));
  set["pagemap-1.img"] = image({pages});
  const std::string_view path = kProgram;
  Bytes reg;
  const Bytes name(path.begin(), path.end());
  images::append(reg, {6, WireType::kBytes, 0, name});
  Bytes file;
  images::append(file, number(1, 1));
  images::append(file, number(2, kFile));
  images::append(file, {3, WireType::kBytes, 0, reg});
  set["files.img"] = image({file});
  if (!how.unlinked) return;
  Bytes remap;
  images::append(remap, number(1, kFile));
  images::append(remap, number(2, 6));
  set["remap-fpath.img"] = image({remap});
}

TEST(InterruptedCalls, OfARestartedOneTheCodeTellsWhichItWas) {
  const auto loads = [](std::uint8_t call) { return Bytes{0xb8, call, 0, 0, 0, 0x0f, 0x05}; };
  constexpr std::uint64_t kPage = kAt & ~std::uint64_t{0xfff};
  struct Row {
    const char* name;
    Bytes code;
    std::uint64_t si, r10;
    Mapping mapping;
    std::uint64_t again;  // 0: keeps EINTR
  };
  const Row rows[] = {
      {"poll", loads(7), 1, 0, {}, 7},
      {"futex", loads(202), 9, 0x2000, {}, 202},
      {"sleep(3)", loads(230), 0, 0x1000, {}, 230},
      {"the rest asked for", loads(230), 0, 0x9, {}, 0},
      {"nanosleep, the rest asked for", loads(35), 0x9, 0, {}, 0},
      {"a call that does not restart", loads(1), 1, 0, {}, 0},
      {"a higher number", {0xb8, 7, 1, 0, 0, 0x0f, 0x05}, 1, 0, {}, 0},
      {"loaded elsewhere", {0x90, 7, 0, 0, 0, 0x0f, 0x05}, 1, 0, {}, 0},
      {"of 32 bits", {0xb8, 7, 0, 0, 0, 0xcd, 0x80}, 1, 0, {}, 0},
      {"code that cannot be read", {}, 1, 0, {}, 0},
      {"memory without a file", loads(7), 1, 0, {.status = 0x201}, 0},
      {"a file that is gone", loads(7), 1, 0, {.unlinked = true}, 0},
      {"code that was written to", loads(7), 1, 0, {.page = kPage}, 0},
      {"its first byte was written to", loads(7), 1, 0, {.page = kPage - 0x1000}, 0},
      {"another page was written to", loads(7), 1, 0, {.page = kPage + 0x1000}, 7},
      {"mapped elsewhere", loads(7), 1, 0, {.end = kAt - 1}, 0},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    ImageSet set = process({219, kInterrupted, 0x1000, row.si, 0x1000, row.r10}, task({}));
    map_program(set, row.mapping);
    const auto read = [&](const std::string& path, std::uint64_t from, std::size_t size) {
      EXPECT_EQ(path, kProgram);
      EXPECT_EQ(from, kMappedFrom + (kAt - 7 - kMappedAt));
      EXPECT_EQ(size, 7U);
      return row.code;
    };
    const Bytes before = images::whole(set["core-2.img"]);
    repeat_interrupted_calls(set, read);
    const Bytes after = images::whole(set["core-2.img"]);
    if (row.again == 0) {
      EXPECT_EQ(after, before);
      continue;
    }
    images::each_entry(after, [&](base::ByteView entry) {
      const base::ByteView registers = bytes_of(bytes_of(entry, 2), 2);
      EXPECT_EQ(number_of(registers, 11), row.again);
      EXPECT_EQ(number_of(registers, 17), kAt - 2);
      EXPECT_EQ(number_of(registers, 14), row.si);
    });
  }
}

// Areas of a process do not overlap; a peer's images can say what they like.
TEST(InterruptedCalls, TheFirstAreaThatHasThePlaceCounts) {
  ImageSet set = process({219, kInterrupted, 0x1000, 1, 0x1000, 0}, task({}));
  map_program(set, {});
  Bytes memory;
  images::each_entry(images::whole(set["mm-1.img"]), [&](base::ByteView entry) {
    for (int copies = 0; copies < 1000; ++copies) {
      images::append(memory, {14, WireType::kBytes, 0, bytes_of(entry, 14)});
    }
  });
  set["mm-1.img"] = image({memory});
  const Bytes before = images::whole(set["core-1.img"]);
  int reads = 0;
  repeat_interrupted_calls(set, [&](const std::string&, std::uint64_t, std::size_t) {
    return ++reads == 1 ? Bytes{} : Bytes{0xb8, 7, 0, 0, 0, 0x0f, 0x05};
  });
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(images::whole(set["core-1.img"]), before);
}

TEST(InterruptedCalls, OfVeryManyPlacesSomeAreLookedUp) {
  constexpr std::uint64_t kThreads = 1000;
  constexpr std::size_t kLookedUp = 256;
  Registers of{219, kInterrupted, 0x1000, 1, 0x1000, 0};
  ImageSet set = process(of, task({}));
  map_program(set, {});
  Bytes tree;
  images::append(tree, number(1, 1));
  for (std::uint64_t thread = 1; thread <= kThreads; ++thread) {
    images::append(tree, number(5, thread));
    of.at = kAt + thread;
    const std::string name = "core-" + std::to_string(thread) + ".img";
    set[name] = core(of, thread == 1 ? task({}) : Bytes{});
  }
  set["pstree.img"] = image({tree});
  std::map<std::string, Bytes> before;
  for (const auto& [name, one] : set) before[name] = images::whole(one);
  std::size_t reads = 0;
  repeat_interrupted_calls(set, [&](const std::string&, std::uint64_t, std::size_t) {
    ++reads;
    return Bytes{0xb8, 7, 0, 0, 0, 0x0f, 0x05};
  });
  EXPECT_EQ(reads, kLookedUp);
  std::size_t again = 0;
  for (const auto& [name, one] : set) again += images::whole(one) != before[name] ? 1 : 0;
  EXPECT_EQ(again, kLookedUp);
}

}  // namespace
}  // namespace transfer
