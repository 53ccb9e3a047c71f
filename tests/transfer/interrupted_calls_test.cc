#include "transfer/interrupted_calls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;
using protobuf::WireType;

constexpr std::uint64_t kInterrupted = static_cast<std::uint64_t>(-4);
constexpr std::uint64_t kAt = 0x401002;  // behind the instruction

struct Registers {
  std::uint64_t call, result, di, si, dx, r10;
  std::uint64_t mode = 1;
  std::uint64_t machine = 1;
};

Field number(std::uint32_t which, std::uint64_t value) {
  return {which, WireType::kVarint, value, {}};
}

Image image(const Bytes& entry) {
  Image out;
  Buffer magics(8);
  std::ranges::fill(magics.mutable_view(), std::uint8_t{0});
  out.size = magics.size();
  out.chunks.push_back(std::move(magics));
  images::add_entry(out, entry);
  return out;
}

// A core as CRIU writes it; of a process, with what it does on signals.
Image core(const Registers& of, const Bytes& task) {
  Bytes registers;
  images::append(registers, number(8, of.r10));
  images::append(registers, number(11, of.result));
  images::append(registers, number(13, of.dx));
  images::append(registers, number(14, of.si));
  images::append(registers, number(15, of.di));
  images::append(registers, number(16, of.call));
  images::append(registers, number(17, kAt));
  images::append(registers, number(28, of.mode));
  Bytes info;
  images::append(info, number(1, 77));
  images::append(info, {2, WireType::kBytes, 0, registers});
  Bytes message;
  images::append(message, number(1, of.machine));
  images::append(message, {2, WireType::kBytes, 0, info});
  if (!task.empty()) images::append(message, {3, WireType::kBytes, 0, task});
  return image(message);
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
  set["pstree.img"] = image(tree);
  set["core-1.img"] = core(of, task);
  set["core-2.img"] = core(of, {});
  return set;
}

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
    repeat_interrupted_calls(set);
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
    repeat_interrupted_calls(after);
    for (const char* name : {"core-1.img", "core-2.img"}) {
      EXPECT_EQ(images::whole(after.at(name)) != images::whole(before.at(name)), row.again) << name;
    }
  }
  ImageSet treeless = process({7, kInterrupted, 0x1000, 1, 0, 0}, task({}));
  treeless.erase("pstree.img");
  const Bytes before = images::whole(treeless["core-1.img"]);
  repeat_interrupted_calls(treeless);
  EXPECT_EQ(images::whole(treeless["core-1.img"]), before);
}

}  // namespace
}  // namespace transfer
