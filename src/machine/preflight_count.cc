#include "machine/preflight_count.h"

#include <algorithm>

#include "transfer/image_check.h"
#include "transfer/limits.h"

namespace machine {
namespace {

// Each thread's core, and each process's ids, mm, pagemap, pages, fs and fdinfo.
constexpr std::size_t kImagesOfProcess = 6;

}  // namespace

void TaskCount::add(const probe::ProcessStatus& process) {
  const std::size_t threads = std::max<std::size_t>(process.threads, 1);
  ++processes_;
  threads_ += threads;
  images_ += threads + (process.state == 'Z' ? 0 : kImagesOfProcess);
}

std::string TaskCount::obstacle() const {
  if (threads_ <= transfer::kTasksMax && images_ <= transfer::kImagesMax) return {};
  constexpr std::size_t kProcesses = transfer::kImagesMax / (kImagesOfProcess + 1);
  return "it has " + std::to_string(processes_) + " processes with " + std::to_string(threads_) +
         " threads; a checkpoint holds about " + std::to_string(kProcesses / 100 * 100) +
         " processes and " + std::to_string(transfer::kTasksMax) + " threads; have it start fewer";
}

}  // namespace machine
