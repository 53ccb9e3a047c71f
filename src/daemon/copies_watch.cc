// Copies: what takes long, and keepers that say nothing.
#include <utility>

#include "daemon/copies_internal.h"

namespace ternd {

using base::JobId;
using base::Time;

namespace {

std::string seconds(base::Duration duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count()) + " s";
}

}  // namespace

void Copies::ask_keeper(const std::shared_ptr<Copy>& copy, Time now) {
  if (!copy->asked) copy->asked = now;
  (void)copy->keeper->send(init::Op::kStatus).ok();  // one that is gone is seen when it is read
}

void Copies::look_after(Time now) {
  const auto all = copies_;  // a keeper that is gone ends its copy
  for (const auto& [job, copy] : all) {
    if (copy->busy) {
      if (now - copy->began < kSlowSaid || now - copy->slow_said < kSlowSaid) continue;
      copy->slow_said = now;
      log_.warn("copy_operation_slow", {{"job", job.hex()}, {"state", describe(job)}});
      continue;
    }
    if (copy->gone || !copy->keeper) continue;
    if (!copy->asked || now - *copy->asked < kKeeperSilence) {
      ask_keeper(copy, now);
      continue;
    }
    if (now - copy->renewed >= kSlowSaid) renew_keeper(copy, now);
  }
}

// It may have answered, and the loop was not told.
void Copies::renew_keeper(const std::shared_ptr<Copy>& copy, Time now) {
  copy->renewed = now;
  ++silent_keepers_;
  const std::string state = describe(copy->job);
  on_keeper(copy);
  log_.warn("keeper_silent", {{"job", copy->job.hex()},
                              {"state", state},
                              {"had_answered", copy->asked || !copy->keeper ? 0 : 1}});
  if (copy->busy || copy->gone || !copy->keeper) return;
  if (copy->asked) {
    copy->drop_keeper();
    return connect_keeper(copy);
  }
  copy->keeper_poll.reset();
  watch_keeper(copy);
}

std::string Copies::describe(const JobId& job) const {
  const Time now = loop::Loop::now();
  std::string text = "no copy";
  if (const auto copy = get(job)) {
    text = copy->busy ? std::string(copy->doing) + " for " + seconds(now - copy->began)
                      : std::string("no operation");
    text += ", " + std::to_string(copy->queue.size()) + " wait";
    text += copy->keeper ? ", keeper heard " + seconds(now - copy->heard) + " ago" : ", no keeper";
    if (copy->keeper && !copy->keeper_poll) text += ", not listened to";
    if (copy->asked) text += ", asked " + seconds(now - *copy->asked) + " ago";
    text += ", ends " + std::to_string(copy->ends[0]) + " " + std::to_string(copy->ends[1]);
    if (copy->gone) text += ", gone";
    if (copy->view.frozen) text += ", frozen";
  }
  const auto folder = in_folders_.find(job);
  if (folder == in_folders_.end()) return text;
  return text + "; folder: " + std::to_string(folder->second.queue.size()) +
         " wait, the first for " + seconds(now - folder->second.began);
}

}  // namespace ternd
