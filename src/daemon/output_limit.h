// Keeps what is stored of each job's output within the limit that this machine's owner chose
// (`output-limit`). Whatever is written, offsets count from the job's first byte.
//
//   at home, the log        the oldest goes first, but nothing that an attached `tern run` or
//                           `tern attach` has still to read
//   elsewhere, the spool    only what home has stored
//
// Where nothing may go the job waits on its full pipe (its keeper, init/spool.h, and Copies'
// append_home hold the limit), until its reader or its home has caught up.
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "base/ids.h"
#include "base/log.h"
#include "daemon/copies.h"
#include "loop/handles.h"

namespace ternd {

// Readers come back within this time after a start; until then nothing goes from a log.
inline constexpr base::Duration kReadersReturn = std::chrono::seconds(10);
// Of a spool, whose bytes home has, more than this is not kept.
inline constexpr std::uint64_t kSpoolKeptMax = 64 << 20;

class OutputLimit {
 public:
  // `bytes` of each stream; 0: no limit.
  OutputLimit(loop::Loop& loop, Copies& copies, base::Log& log, std::uint64_t bytes);

  // A stream ends at `end`; what lies before `floor` may go.
  void log_grew(const base::JobId& job, int stream, std::uint64_t end, std::uint64_t floor);
  void spool_grew(const base::JobId& job, int stream, std::uint64_t end, std::uint64_t floor);
  void forget(const base::JobId& job) { known_.erase(job); }

 private:
  struct Known {
    std::uint64_t first = 0;  // byte that is stored; not after it
    bool busy = false;
  };
  void trim(const base::JobId& job, int stream, std::uint64_t end, std::uint64_t floor,
            std::uint64_t limit);

  loop::Loop& loop_;
  Copies& copies_;
  base::Log& log_;
  std::uint64_t bytes_;
  base::Time started_;
  std::map<base::JobId, std::array<Known, node::kStreams>> known_;
};

}  // namespace ternd
