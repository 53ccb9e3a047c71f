// Who needs the root folder of a job's init (machine/init_root.h). Its path has no epoch in it, as
// it is part of the checkpoint, so attempts of one job share it: an attempt that is over must not
// take it from one that has begun and has no process in it yet.
//
// claim() makes the folder, drop() gives the claim up and removes the folder when no other epoch
// claims it and no process has it as its root. Both block, and may be called from any thread; what
// they do to one folder never overlaps. Claims do not outlive the daemon: after a restart nothing
// is arriving.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/ids.h"
#include "base/result.h"

namespace ternd {

class InitRoots {
 public:
  // `root` empty: the job has none here, and nothing is done.
  [[nodiscard]] base::Status claim(const base::JobId& job, base::Epoch epoch,
                                   const std::string& root);
  // Also of an epoch that claimed nothing. One that cannot be removed is in nobody's way.
  void drop(const base::JobId& job, base::Epoch epoch, const std::string& root);
  // The same of all epochs up to `newest`.
  void drop_through(const base::JobId& job, base::Epoch newest, const std::string& root);

 private:
  void remove_if_unclaimed(const base::JobId& job, const std::string& root);

  std::mutex alone_;
  std::set<std::pair<base::JobId, base::Epoch>> claims_;
};

}  // namespace ternd
