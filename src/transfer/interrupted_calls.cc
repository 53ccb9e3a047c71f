#include "transfer/interrupted_calls.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

// CRIU's images/pstree.proto, images/core.proto and images/core-x86.proto; of x86_64 the calls,
// too.
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
constexpr std::uint64_t kRestarted = 219;                      // restart_syscall(2)
constexpr std::uint64_t kPoll = 7;
constexpr std::uint64_t kNanosleep = 35;
constexpr std::uint64_t kFutex = 202;
constexpr std::uint64_t kClockNanosleep = 230;
constexpr std::array<std::uint8_t, 2> kInstruction{0x0f, 0x05};  // syscall
constexpr std::uint8_t kLoad = 0xb8;                             // mov $number,%eax
constexpr std::size_t kLoadSize = 5;
constexpr std::size_t kCodeSize = kLoadSize + kInstruction.size();

// CRIU's images/mm.proto, vma.proto, pagemap.proto, remap-file-path.proto and regfile.proto.
constexpr char kFiles[] = "files.img";
constexpr char kRemaps[] = "remap-fpath.img";
constexpr std::uint32_t kAreas = 14;
constexpr std::uint32_t kAreaStart = 1;
constexpr std::uint32_t kAreaEnd = 2;
constexpr std::uint32_t kAreaOffset = 3;
constexpr std::uint32_t kAreaFile = 4;
constexpr std::uint32_t kAreaStatus = 7;
constexpr std::uint64_t kFilePrivate = 1U << 6U;
constexpr std::uint32_t kPagesAt = 1;
constexpr std::uint32_t kPages = 2;
constexpr std::uint32_t kPages64 = 5;
constexpr std::uint64_t kPageSize = 4096;
constexpr std::uint32_t kRemapped = 1;
constexpr std::uint32_t kFileId = 2;
constexpr std::uint32_t kFileReg = 3;
constexpr std::uint32_t kRegPath = 6;

constexpr std::uint64_t kIgnored = 1;  // SIG_IGN; SIG_DFL is less
// The C library's own signals, for pthread_cancel(3) and setuid(2): no program can ask for them,
// and glibc handles the second one in each program that has threads (nptl(7)).
constexpr int kCancel = 32;
constexpr int kSetId = 33;

// Where a sleep has what it asks for, and where it is told what is left.
bool asks_elsewhere(std::uint64_t request, std::uint64_t left) {
  return left != 0 && left != request;
}

bool interrupted(ByteView core) {
  const ByteView registers = bytes_of(bytes_of(core, kThreadInfo), kRegisters);
  return number_of(core, kMachine) == kX86 && number_of(registers, kMode, kNative) == kNative &&
         number_of(registers, kResult) == kInterrupted;
}

bool made_again(std::uint64_t call, ByteView registers) {
  switch (call) {
    case kPoll:
    case kFutex:
      return true;
    case kNanosleep:  // (request, left)
      return !asks_elsewhere(number_of(registers, kDi), number_of(registers, kSi));
    case kClockNanosleep:  // (clock, flags, request, left)
      return !asks_elsewhere(number_of(registers, kDx), number_of(registers, kR10));
    default:
      return false;
  }
}

Bytes repeated(ByteView core, std::uint64_t call) {
  const ByteView info = bytes_of(core, kThreadInfo);
  const Bytes fresh = changed(bytes_of(info, kRegisters), [&](Field& field) {
    if (field.number == kResult || field.number == kCall) field.value = call;
    if (field.number == kAt) field.value -= kInstruction.size();
  });
  const Bytes thread = changed(info, [&](Field& field) {
    if (field.number == kRegisters) field.bytes = fresh;
  });
  return changed(core, [&](Field& field) {
    if (field.number == kThreadInfo) field.bytes = thread;
  });
}

std::string image_of(std::string_view kind, std::uint64_t id) {
  return std::string(kind) + "-" + std::to_string(id) + ".img";
}

// Each lookup walks images and opens a file, and a peer's images may name as many places as they
// like. Programs wait at few; of more than these nothing is known.
constexpr std::size_t kLookupsMax = 256;

// What is mapped where in a process, as far as it is a file's.
class MappedCode {
 public:
  MappedCode(const ImageSet& images, const FileReader& read) : images_(images), read_(read) {}

  // The call whose number the program loads right before `at`, which is behind the instruction.
  // Threads that wait mostly do so at few places.
  std::optional<std::uint64_t> call_before(std::uint64_t process, std::uint64_t at) {
    const auto known = calls_.find({process, at});
    if (known != calls_.end()) return known->second;
    if (calls_.size() >= kLookupsMax) return std::nullopt;
    return calls_[{process, at}] = look(process, at);
  }

 private:
  std::optional<std::uint64_t> look(std::uint64_t process, std::uint64_t at) {
    if (at < kCodeSize) return std::nullopt;
    const std::uint64_t start = at - kCodeSize;
    if (of_its_own(process, start) || of_its_own(process, at - 1)) return std::nullopt;
    const Bytes code = code_at(process, start);
    if (code.size() != kCodeSize || code[0] != kLoad ||
        !std::equal(kInstruction.begin(), kInstruction.end(), code.begin() + kLoadSize)) {
      return std::nullopt;
    }
    return base::get_le32(ByteView(code).subspan(1));
  }

  // Of the first area that has it all: areas do not overlap, but in images they could.
  Bytes code_at(std::uint64_t process, std::uint64_t start) {
    Bytes code;
    bool found = false;
    each(image_of("mm", process), [&](ByteView memory) {
      protobuf::Reader reader(memory);
      while (!found) {
        const auto field = reader.next();
        if (!field) return;
        if (field->number != kAreas || number_of(field->bytes, kAreaStart) > start ||
            number_of(field->bytes, kAreaEnd) < start + kCodeSize) {
          continue;
        }
        found = true;
        code = content(field->bytes, start);
      }
    });
    return code;
  }

  void each(std::string_view name, const std::function<void(ByteView)>& visit) const {
    const auto image = images_.find(name);
    if (image != images_.end()) images::each_entry(images::whole(image->second), visit);
  }

  // Its page is in the checkpoint: the program, or who debugged it, wrote there.
  bool of_its_own(std::uint64_t process, std::uint64_t address) const {
    bool found = false;
    each(image_of("pagemap", process), [&](ByteView pages) {
      const std::uint64_t first = number_of(pages, kPagesAt);
      const std::uint64_t count = number_of(pages, kPages64, number_of(pages, kPages));
      found = found || (address >= first && (address - first) / kPageSize < count);
    });
    return found;
  }

  Bytes content(ByteView area, std::uint64_t address) {
    if ((number_of(area, kAreaStatus) & kFilePrivate) == 0) return {};
    if (!paths_) paths_ = paths_of_files();
    const auto path = paths_->find(number_of(area, kAreaFile));
    if (path == paths_->end() || path->second.empty()) return {};
    return read_(path->second, number_of(area, kAreaOffset) + address - number_of(area, kAreaStart),
                 kCodeSize);
  }

  // By their ids; those that are unlinked have none.
  std::map<std::uint64_t, std::string> paths_of_files() const {
    std::map<std::uint64_t, std::string> paths;
    each(kFiles, [&](ByteView entry) {
      const ByteView name = bytes_of(bytes_of(entry, kFileReg), kRegPath);
      if (!name.empty()) paths[number_of(entry, kFileId)].assign(name.begin(), name.end());
    });
    each(kRemaps, [&](ByteView remap) { paths.erase(number_of(remap, kRemapped)); });
    return paths;
  }

  const ImageSet& images_;
  const FileReader& read_;
  std::optional<std::map<std::uint64_t, std::string>> paths_;  // once they are asked for
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::optional<std::uint64_t>> calls_;
};

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

struct Thread {
  std::uint64_t process = 0;
  std::string core;
};

// Of processes without handlers.
std::vector<Thread> candidates(const ImageSet& images) {
  std::vector<Thread> threads;
  const auto tree = images.find(kTree);
  if (tree == images.end()) return threads;
  images::each_entry(images::whole(tree->second), [&](ByteView process) {
    const std::uint64_t pid = number_of(process, kPid);
    const std::string leader = image_of("core", pid);
    const auto core = images.find(leader);
    if (core == images.end() || !without_handlers(core->second)) return;
    threads.push_back({pid, leader});
    protobuf::Reader reader(process);
    while (const auto field = reader.next()) {
      if (field->number != kThreads) continue;
      if (std::string thread = image_of("core", field->value); thread != leader) {
        threads.push_back({pid, thread});
      }
    }
  });
  return threads;
}

}  // namespace

void repeat_interrupted_calls(ImageSet& images, const FileReader& read) {
  MappedCode code(images, read);
  for (const Thread& thread : candidates(images)) {
    const auto image = images.find(thread.core);
    if (image == images.end()) continue;
    std::uint64_t call = 0;
    const auto again = [&](ByteView core) {
      if (!interrupted(core)) return false;
      const ByteView registers = bytes_of(bytes_of(core, kThreadInfo), kRegisters);
      call = number_of(registers, kCall);
      if (call == kRestarted) {
        call = code.call_before(thread.process, number_of(registers, kAt)).value_or(kRestarted);
      }
      return made_again(call, registers);
    };
    images::rewrite_where(image->second, again,
                          [&](ByteView core) { return repeated(core, call); });
  }
}

}  // namespace transfer
