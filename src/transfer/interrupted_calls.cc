#include "transfer/interrupted_calls.h"

#include <algorithm>
#include <string>
#include <vector>

#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"
#include "transfer/signal_actions.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using images::changed;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;

// CRIU's images/pstree.proto, images/core.proto and images/core-x86.proto.
constexpr char kTree[] = "pstree.img";
constexpr std::uint32_t kPid = 1;
constexpr std::uint32_t kThreads = 5;  // the first one, too
constexpr std::uint32_t kMachine = 1;
constexpr std::uint64_t kX86 = 1;
constexpr std::uint32_t kThreadInfo = 2;
constexpr std::uint32_t kTask = 3;
constexpr std::uint32_t kRegisters = 2;  // of the thread info
constexpr std::uint32_t kR10 = 8;
constexpr std::uint32_t kResult = 11;
constexpr std::uint32_t kDx = 13;
constexpr std::uint32_t kSi = 14;
constexpr std::uint32_t kDi = 15;
constexpr std::uint32_t kCall = 16;
constexpr std::uint32_t kAt = 17;
constexpr std::uint32_t kMode = 28;
constexpr std::uint64_t kNative = 1;

constexpr std::uint64_t kInterrupted = ~std::uint64_t{4} + 1;  // -EINTR, of x86_64
constexpr std::uint64_t kInstructionSize = 2;                  // syscall

constexpr std::uint64_t kIgnored = 1;  // SIG_IGN; SIG_DFL is less
// The C library's own signals, for pthread_cancel(3) and setuid(2): no program can ask for them,
// and glibc handles the second one in each program that has threads (nptl(7)).
constexpr int kCancel = 32;
constexpr int kSetId = 33;

// Where a sleep has what it asks for, and where it is told what is left.
bool asks_elsewhere(std::uint64_t request, std::uint64_t left) {
  return left != 0 && left != request;
}

// By the numbers of x86_64.
bool made_again(ByteView registers) {
  if (number_of(registers, kMode, kNative) != kNative) return false;
  if (number_of(registers, kResult) != kInterrupted) return false;
  switch (number_of(registers, kCall)) {
    case 7:    // poll
    case 202:  // futex
      return true;
    case 35:  // nanosleep(request, left)
      return !asks_elsewhere(number_of(registers, kDi), number_of(registers, kSi));
    case 230:  // clock_nanosleep(clock, flags, request, left)
      return !asks_elsewhere(number_of(registers, kDx), number_of(registers, kR10));
    default:
      return false;
  }
}

Bytes repeated(ByteView core) {
  const ByteView info = bytes_of(core, kThreadInfo);
  const ByteView registers = bytes_of(info, kRegisters);
  const std::uint64_t call = number_of(registers, kCall);
  const Bytes fresh = changed(registers, [&](Field& field) {
    if (field.number == kResult) field.value = call;
    if (field.number == kAt) field.value -= kInstructionSize;
  });
  const Bytes thread = changed(info, [&](Field& field) {
    if (field.number == kRegisters) field.bytes = fresh;
  });
  return changed(core, [&](Field& field) {
    if (field.number == kThreadInfo) field.bytes = thread;
  });
}

std::string core_of(std::uint64_t thread) { return "core-" + std::to_string(thread) + ".img"; }

// No: also where the image does not tell.
bool without_handlers(const Image& leader) {
  bool without = false;
  images::each_entry(images::whole(leader), [&](ByteView core) {
    const auto actions = signal_actions(bytes_of(core, kTask));
    without = !actions.empty() && std::ranges::all_of(actions, [](const auto& action) {
      return action.second.handler <= kIgnored || action.first == kCancel || action.first == kSetId;
    });
  });
  return without;
}

// The threads' images, of processes without handlers.
std::vector<std::string> candidates(const ImageSet& images) {
  std::vector<std::string> names;
  const auto tree = images.find(kTree);
  if (tree == images.end()) return names;
  const Bytes bytes = images::whole(tree->second);
  images::each_entry(bytes, [&](ByteView process) {
    const std::string leader = core_of(number_of(process, kPid));
    const auto core = images.find(leader);
    if (core == images.end() || !without_handlers(core->second)) return;
    names.push_back(leader);
    protobuf::Reader reader(process);
    while (const auto field = reader.next()) {
      if (field->number != kThreads) continue;
      if (std::string thread = core_of(field->value); thread != leader) names.push_back(thread);
    }
  });
  return names;
}

bool waits_again(ByteView core) {
  return number_of(core, kMachine) == kX86 &&
         made_again(bytes_of(bytes_of(core, kThreadInfo), kRegisters));
}

}  // namespace

void repeat_interrupted_calls(ImageSet& images) {
  for (const std::string& name : candidates(images)) {
    const auto image = images.find(name);
    if (image != images.end()) images::rewrite_where(image->second, waits_again, repeated);
  }
}

}  // namespace transfer
