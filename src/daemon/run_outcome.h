// What `tern run --on` tells of the job when the order to move it is over.
#pragma once

#include <string>

#include "node/event.h"
#include "node/jobs.h"

namespace ternd {

struct RunFacts {
  const node::jobs::Job* job = nullptr;  // null: forgotten, as those are that ended long ago
  bool in_doubt = false;                 // a handover of it is not over
  std::string at;                        // the name of the node that has it, or had it
};

inline std::string run_outcome(const node::Reply& moved, const RunFacts& now) {
  const node::jobs::Job* job = now.job;
  if (moved.exit_code == 0) return job == nullptr ? moved.sentence : "moved to " + now.at;
  if (job == nullptr) return "the job has ended";
  if (job->wait_status) {
    return job->here ? "the job has ended here, before it could move"
                     : "the job has ended on " + now.at;
  }
  if (!job->here || now.in_doubt) return moved.sentence;
  return moved.sentence + "; the job runs here, where it started";
}

}  // namespace ternd
