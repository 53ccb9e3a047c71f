// Output that does not move: a guest's that home does not take, home's that its disk does not take.
#include <algorithm>

#include "node/jobs.h"

namespace node::jobs {

using base::Time;

void Jobs::watch_spool(Time now, Job& job) {
  for (std::size_t s = 0; s < kStreams; ++s) {
    if (job.home_has[s] >= job.spool[s]) {
      job.waits_since[s].reset();
    } else if (!job.waits_since[s]) {
      job.waits_since[s] = now;
    }
  }
}

void Jobs::tell_stall(Time now, Job& job) {
  if (now < next_stall(job)) return;
  for (int stream = 0; stream < kStreams; ++stream) {
    const auto s = static_cast<std::size_t>(stream);
    if (!job.waits_since[s] || now - *job.waits_since[s] < kOutputStall) continue;
    job.stall_said = now;
    OutputStalls stall;
    stall.job = job.spec.id;
    stall.stream = stream;
    stall.since = now - *job.waits_since[s];
    stall.at_home = job.appending[s];
    stall.home = stall.at_home ? job.have[s] : job.home_has[s];
    stall.spool = job.spool[s];
    stall.reading = job.reading[s];
    stall.in_flight = job.in_flight[s];
    if (stall.in_flight) stall.sent_ago = now - job.sent_at[s];
    return out(stall);
  }
}

Time Jobs::next_stall(const Job& job) {
  Time next = base::kNever;
  for (const auto& since : job.waits_since) {
    if (since) next = std::min(next, *since + kOutputStall);
  }
  if (next == base::kNever || !job.stall_said) return next;
  const base::Duration lasted =
      *job.stall_said - (next - kOutputStall);  // home may be away for days
  return std::max(next, *job.stall_said + std::max(kOutputStallAgain, lasted));
}

}  // namespace node::jobs
