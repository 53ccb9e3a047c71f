// Whether a job has more processes and threads than a checkpoint holds, told before the freeze: the
// sink would refuse it after (transfer/limits.h, transfer/image_check.h). A part of
// machine/preflight.h.
#pragma once

#include <cstddef>
#include <string>

#include "probe/proc_parse.h"

namespace machine {

class TaskCount {
 public:
  void add(const probe::ProcessStatus& process);
  // A sentence; empty where there is room. What it does not refuse may still be too much, by a few:
  // the images that some jobs have beside those of their processes are not counted.
  [[nodiscard]] std::string obstacle() const;

 private:
  std::size_t processes_ = 0;
  std::size_t threads_ = 0;  // of all of them, the first ones too
  std::size_t images_ = 0;
};

}  // namespace machine
