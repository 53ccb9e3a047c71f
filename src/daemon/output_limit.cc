#include "daemon/output_limit.h"

#include <algorithm>

#include "daemon/job_folder.h"

namespace ternd {

OutputLimit::OutputLimit(loop::Loop& loop, Copies& copies, base::Log& log, std::uint64_t bytes)
    : loop_(loop), copies_(copies), log_(log), bytes_(bytes), started_(loop.now()) {}

void OutputLimit::log_grew(const base::JobId& job, int stream, std::uint64_t end,
                           std::uint64_t floor) {
  if (loop_.now() - started_ >= kReadersReturn) trim(job, stream, end, floor, bytes_);
}

void OutputLimit::spool_grew(const base::JobId& job, int stream, std::uint64_t end,
                             std::uint64_t floor) {
  trim(job, stream, end, floor, std::min(bytes_, kSpoolKeptMax));
}

void OutputLimit::trim(const base::JobId& job, int stream, std::uint64_t end, std::uint64_t floor,
                       std::uint64_t limit) {
  if (bytes_ == 0) return;
  Known& known = known_[job][static_cast<std::size_t>(stream)];
  if (known.busy || end < known.first || end - known.first <= limit / 4 * 3) return;
  if (std::min(floor, end - limit / 2) < known.first + kTrimUnit) return;
  known.busy = true;
  copies_.trim(job, stream, floor, limit, [this, job, stream](base::Result<std::uint64_t> first) {
    const auto it = known_.find(job);
    if (it == known_.end()) return;
    Known& trimmed = it->second[static_cast<std::size_t>(stream)];
    trimmed.busy = false;
    if (first) {
      trimmed.first = *first;
    } else {
      log_.error("output_limit", {{"job", job.hex()}, {"why", first.error().detail}});
    }
  });
}

}  // namespace ternd
