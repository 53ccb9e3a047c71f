// The checkpoint of a job that stands still, from CRIU (criu/dump_session.h).
//
//   showing its /proc to its init -> dumping -> hiding it -> done
//
// The job's cgroup is frozen and its keeper paused before, and stays so until `done`.
#pragma once

#include <memory>
#include <string>

#include "base/ids.h"
#include "base/log.h"
#include "daemon/content_source.h"
#include "daemon/copies.h"
#include "daemon/paths.h"
#include "loop/handles.h"

namespace ternd {

struct LiveDumpSpec {
  base::JobId job;
  base::Epoch epoch;      // for the name of CRIU's cgroup, like
  std::uint64_t run = 0;  // which is not used twice
  CopyView copy;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  bool tcp_close = false;
  bool shell_job = false;  // criu::DumpSpec
  std::string sync;  // the job's folder, whose output is brought to the disk first; empty: no need
};

[[nodiscard]] std::unique_ptr<ContentSource> start_live_dump(loop::Loop& loop, const Paths& paths,
                                                             base::Log& log, LiveDumpSpec spec,
                                                             ContentSource::Callbacks callbacks);

}  // namespace ternd
