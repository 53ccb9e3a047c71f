#include "transfer/interrupted_calls.h"

#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using images::changed;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;

// CRIU's images/core.proto and images/core-x86.proto.
constexpr std::uint32_t kMachine = 1;
constexpr std::uint64_t kX86 = 1;
constexpr std::uint32_t kThreadInfo = 2;
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

}  // namespace

void repeat_interrupted_calls(ImageSet& images) {
  for (auto& [name, image] : images) {
    if (!name.starts_with("core-")) continue;
    bool any = false;
    const Bytes bytes = images::whole(image);
    const auto again = [](ByteView core) {
      return number_of(core, kMachine) == kX86 &&
             made_again(bytes_of(bytes_of(core, kThreadInfo), kRegisters));
    };
    images::each_entry(bytes, [&](ByteView core) { any = any || again(core); });
    if (!any) continue;
    images::rewrite(
        image, [&](ByteView core) { return again(core) ? repeated(core) : base::to_bytes(core); });
  }
}

}  // namespace transfer
