// SOURCE and SINK before anything is begun: what could move, and whether SINK can take it. A
// refusal here costs the job nothing, it was never frozen (design.md §4.1).
#include <algorithm>

#include "balance/rules.h"
#include "balance/triad.h"

namespace balance {

// In the order in which the plan tries them.
std::vector<JobFacts> Triad::to_offer(base::Time now) const {
  LocalState local = around_.local;
  if (!local.policy.moves_jobs) return {};
  const bool wakes = stored_.form.cause == Cause::kWake;
  const bool by_rule = stored_.form.cause != Cause::kPerson;
  std::erase_if(local.jobs, [&](const JobFacts& job) {
    const std::string why = wakes ? why_sleeps(job) : why_stays(job, now, false);
    // Else the plan would choose it again at once, and others would never have their turn.
    const auto rest = around_.rests.find(job.id);
    if (by_rule && rest != around_.rests.end() && now < rest->second.until) return true;
    return !why.empty() || !around_.own.is_here(job.id) || (wakes && rests_yet(job, now)) ||
           in_doubt_elsewhere(job.id);
  });
  if (wakes) return by_age(local.jobs);
  if (stored_.form.cause != Cause::kMemory) return by_scum(local.jobs);
  const auto sink = std::find_if(around_.view.begin(), around_.view.end(),
                                 [&](const NodeLoad& node) { return node.id == other_end(); });
  if (sink == around_.view.end()) return {};
  return memory_offer(now, std::move(local), *sink);
}

void Triad::answer_ask(Step step, const NodeId& from, Term term) {
  if (term == Term{}) return;  // it only wanted to know that this node is still in
  const LocalState& local = around_.local;
  if (seat_ == Seat::kSource) {
    wire::Offer offer{id_, term, local.effective_ratio_micros, local.cpus_millis, {}};
    for (const JobFacts& job : to_offer(step.now)) {
      if (offer.jobs.size() >= kOfferJobsMax) break;
      offer.jobs.push_back({job.id, job.load_micros, job.memory_bytes, job.scum_micros});
    }
    step.out.send(from, std::move(offer));
  } else if (seat_ == Seat::kSink) {
    const Room room = room_of(local);
    step.out.send(
        from, wire::Room{id_, term, room.level.ratio_micros, local.cpus_millis, room.memory_free,
                         local.policy.accepts_jobs && local.trit == probe::Trit::kMinus});
  }
}

std::string Triad::why_not_prepare(Step step, const JobId& job) const {
  if (around_.stopping) return kIsStopping;
  for (const auto& [id, end] : ends_) {
    if (id.job == job) return "the job was already tried in this triad";
  }
  if (!around_.own.is_here(job)) return "the job is not on this node any more";
  if (in_doubt_elsewhere(job)) return kIsInDoubt;
  if (around_.own.find(job)->next.value >= kMoveEpochMax) return "the job has no epochs left";
  const auto facts = std::find_if(around_.local.jobs.begin(), around_.local.jobs.end(),
                                  [&](const JobFacts& f) { return f.id == job; });
  if (facts == around_.local.jobs.end()) return "the job does not run here";
  if (stored_.form.cause == Cause::kWake) return why_sleeps(*facts);
  return why_stays(*facts, step.now, stored_.form.cause == Cause::kPerson);
}

void Triad::prepare(Step step, const wire::Prepare& message) {
  if (preparation_ && message.term < preparation_->term) return;
  if (preparation_ && message.term == preparation_->term && preparation_->id.job == message.job) {
    if (preparation_->at == Preparation::At::kDone) {
      preparation_over(step, preparation_->ok, preparation_->reason);
    }
    return;
  }
  Preparation next;
  next.term = message.term;
  next.id = {id_, message.job, Epoch{}};
  next.give_up_at = step.now + kPreflightWait;
  std::string why_not = why_not_prepare(step, message.job);
  preparation_ = std::move(next);
  if (!why_not.empty()) return preparation_over(step, false, std::move(why_not));
  // The next epoch, burned from now on whatever becomes of it.
  preparation_->own = *around_.own.find(message.job);
  preparation_->own.next = preparation_->own.next.next();
  preparation_->id.epoch = preparation_->own.next;
  // In memory at once, so that a preparation that replaces this one cannot give it out again.
  around_.own.set(message.job, preparation_->own, step.out);
  preparation_->write = write(step, {{own_key(message.job), encode(preparation_->own)}});
}

void Triad::collected(Step step, const RequirementCollected& event) {
  if (!preparation_ || preparation_->id != event.id ||
      preparation_->at != Preparation::At::kCollecting) {
    return;
  }
  if (!event.ok) return preparation_over(step, false, event.reason);
  if (event.requirement.size() > kRequirementSizeMax) {
    return preparation_over(step, false, "the job needs too many files");
  }
  preparation_->requirement = event.requirement;
  preparation_->at = Preparation::At::kAsking;
  preparation_->resend_at = step.now;
  preparation_tick(step);
}

void Triad::preparation_tick(Step step) {
  if (!preparation_ || preparation_->at == Preparation::At::kDone) return;
  if (step.now >= preparation_->give_up_at) {
    return preparation_over(step, false, "the sink did not answer in time");
  }
  if (preparation_->at != Preparation::At::kAsking || step.now < preparation_->resend_at) return;
  preparation_->resend_at = step.now + kPreflightEvery;
  step.out.send(other_end(), wire::Preflight{preparation_->id, preparation_->requirement});
}

void Triad::preflight(Step step, const NodeId& from, const wire::Preflight& message) {
  if (checked_ && checked_->id == message.id) {
    if (checked_->done) {
      step.out.send(from, wire::PreflightDone{message.id, checked_->ok, checked_->reason});
    }
    return;
  }
  if (checked_ && checked_->id.job == message.id.job && checked_->id.epoch > message.id.epoch)
    return;
  checked_ = Checked{message.id, false, false, {}};
  if (around_.stopping) return preflight_checked(step, {message.id, false, kIsStopping});
  if (!around_.local.policy.accepts_jobs) {
    return preflight_checked(step, {message.id, false, no_jobs_sentence(around_.local.policy)});
  }
  if (around_.own.full()) {
    return preflight_checked(step, {message.id, false, "this node's table of jobs is full"});
  }
  if (in_doubt_elsewhere(message.id.job))
    return preflight_checked(step, {message.id, false, kIsInDoubt});
  step.out.act(CheckPreflight{message.id, from, message.requirement});
}

void Triad::preflight_checked(Step step, const PreflightChecked& event) {
  if (!checked_ || checked_->id != event.id || checked_->done) return;
  checked_->done = true;
  checked_->ok = event.ok;
  checked_->reason = cut_reason(event.reason);
  step.out.send(other_end(), wire::PreflightDone{event.id, checked_->ok, checked_->reason});
}

void Triad::preflight_done(Step step, const wire::PreflightDone& message) {
  if (!preparation_ || preparation_->id != message.id ||
      preparation_->at != Preparation::At::kAsking) {
    return;
  }
  preparation_over(step, message.ok, message.reason);
}

void Triad::preparation_over(Step step, bool ok, std::string reason) {
  const bool news = preparation_->at != Preparation::At::kDone;
  preparation_->at = Preparation::At::kDone;
  preparation_->ok = ok;
  preparation_->reason = cut_reason(reason);
  preparation_->requirement.clear();
  if (news && !ok) {
    refusal_ = preparation_->reason;
    HandoverEvent event;
    event.id = preparation_->id;
    event.cause = stored_.form.cause;
    event.source = self_;
    event.sink = other_end();
    event.told_by = Seat::kSource;
    event.over = true;
    event.reason = refusal_;
    event.term = preparation_->term;
    step.out.act(event);
  }
  // To all: who is coordinator now knows itself.
  for (const Member& m : stored_.form.members) {
    step.out.send(m.node, wire::Prepared{preparation_->id, preparation_->term, ok, reason});
  }
}

}  // namespace balance
