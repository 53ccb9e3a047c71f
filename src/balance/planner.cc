#include "balance/planner.h"

#include <algorithm>
#include <tuple>

#include "balance/rules.h"

namespace balance {

std::vector<JobId> plan_moves(const wire::Offer& offer, const wire::Room& room, Cause cause) {
  const bool for_memory = cause == Cause::kMemory;
  std::vector<JobId> moves;
  if (!room.accepts) return moves;
  const bool wakes = cause == Cause::kWake;
  std::vector<wire::OfferedJob> jobs = offer.jobs;
  if (!wakes) {
    std::sort(jobs.begin(), jobs.end(), [&](const wire::OfferedJob& a, const wire::OfferedJob& b) {
      if (for_memory && a.memory_bytes != b.memory_bytes) return a.memory_bytes > b.memory_bytes;
      return std::tie(b.scum_micros, b.load_micros, a.job) <
             std::tie(a.scum_micros, a.load_micros, b.job);
    });
  }
  Level source{offer.ratio_micros, offer.cpus_millis};
  Level sink{room.ratio_micros, room.cpus_millis};
  std::int64_t memory = room.memory_bytes;
  for (const wire::OfferedJob& job : jobs) {
    const bool levels = !wakes && !for_memory;
    if (levels && source.ratio_micros <= probe::kPlusAboveMicros) break;
    if (moves.size() >= kMovesPerTriadMax) break;
    if (!has_room(sink, memory, job.load_micros, job.memory_bytes)) continue;
    if (levels && !never_worse(source, sink, job.load_micros)) continue;
    if (!wakes) source.ratio_micros = without_job(source, job.load_micros);
    sink.ratio_micros = with_job(sink, job.load_micros);
    memory -= job.memory_bytes;
    moves.push_back(job.job);
  }
  return moves;
}

}  // namespace balance
