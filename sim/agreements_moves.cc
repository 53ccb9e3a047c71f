// Handovers: balance/source_end.h, balance/sink_end.h and balance/planner.h from outside.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "probe/trit.h"
#include "sim/agreements.h"
#include "sim/world.h"

namespace sim {

using balance::Decision;
using balance::EndState;

namespace {

// The diagrams of balance/source_end.h and balance/sink_end.h.
bool may_follow(std::optional<EndState> before, EndState next) {
  using S = EndState;
  if (!before) {
    return next == S::kSourceBegun || next == S::kSourceWithdrawn || next == S::kSinkExpecting ||
           next == S::kSinkFailed;
  }
  if (*before == next) return true;
  if (next == S::kResolvedHere) return *before == S::kSourceSealed || *before == S::kSinkReady;
  switch (*before) {
    case S::kSourceBegun:
      return next == S::kSourceWithdrawn || next == S::kSourceSealed || next == S::kSourceGoneAway;
    case S::kSourceSealed:
      return next == S::kSourceGoneAway || next == S::kSourceResumed || next == S::kSourceGone;
    case S::kSourceResumed:
      return next == S::kSourceGone || next == S::kSourceGoneAway;
    case S::kSourceWithdrawn:
    case S::kSourceGone:
      return next == S::kSourceGoneAway;
    case S::kSinkExpecting:
      return next == S::kSinkFailed || next == S::kSinkReady || next == S::kSinkDiscarded;
    case S::kSinkReady:
      return next == S::kSinkReleased || next == S::kSinkVoid || next == S::kSinkDiscarded;
    case S::kSinkReleased:
      return next == S::kSinkVoid || next == S::kSinkDiscarded || next == S::kSourceGoneAway;
    default:
      return false;
  }
}

constexpr base::Duration kLooksAgain = std::chrono::seconds(1);  // all that waited, a sample too
constexpr base::Duration kMovedShows = std::chrono::minutes(3);  // then the load average has it all

std::int64_t share(std::int64_t load_micros, std::int64_t cpus_millis) {
  return load_micros * 1000 / std::max<std::int64_t>(cpus_millis, 1);
}

// Whether `job` could move after those before it: the rules of design.md §2, worked out anew.
bool is_planned(const balance::wire::Offer& offer, const balance::wire::Room& room,
                const std::vector<base::JobId>& jobs, balance::Cause cause) {
  const bool wakes = cause == balance::Cause::kWake;
  const bool for_memory = cause == balance::Cause::kMemory;
  constexpr std::int64_t kRounding = 2000;
  if (!room.accepts) return false;
  std::int64_t high = offer.ratio_micros;
  std::int64_t low = room.ratio_micros;
  std::int64_t memory = room.memory_bytes;
  std::int64_t scum = INT64_MAX;
  auto older = offer.jobs.begin();  // to wake: the offer is by age
  for (const base::JobId& id : jobs) {
    const auto job = std::find_if(offer.jobs.begin(), offer.jobs.end(),
                                  [&](const auto& one) { return one.job == id; });
    if (job == offer.jobs.end()) return false;
    if (wakes && std::exchange(older, job) > job) return false;
    const bool levels = !wakes && !for_memory;
    if (levels && high + kRounding <= probe::kPlusAboveMicros) return false;
    const std::int64_t order = for_memory ? job->memory_bytes : job->scum_micros;
    if (!wakes && order > std::exchange(scum, order)) return false;
    const std::int64_t gap = std::abs(high - low);
    high = std::max<std::int64_t>(high - share(job->load_micros, offer.cpus_millis), 0);
    low += share(job->load_micros, room.cpus_millis);
    memory -= job->memory_bytes;
    if (low > probe::kPlusAboveMicros + kRounding || memory < 0) return false;
    if (levels && std::abs(high - low) > gap + kRounding) return false;
  }
  return true;
}

template <typename T>
void remember(std::vector<T>& words, const T& word) {
  if (words.size() >= kWordsKeptMax) words.erase(words.begin());
  words.push_back(word);
}

}  // namespace

// ---- what is said

void Agreements::says(std::uint32_t host, const balance::wire::Message& message) {
  namespace wire = balance::wire;
  if (const auto* answer = std::get_if<wire::Answer>(&message.body)) {
    if (!answer->ok) return;
    const base::Bytes* value = disk(host, balance::kAcceptanceKey);
    auto stored =
        value == nullptr
            ? base::Result<balance::Acceptance>(base::fail(base::Code::kInvalid, "there is none"))
            : balance::decode_acceptance(*value);
    if (!stored || stored->proposal != answer->proposal) {
      not_durable(host, "an acceptance that is not stored");
    }
    const Accepting& one = accepting_[host];
    if (one.cancelled && one.proposal == answer->proposal && one.life == world_.life(host)) {
      promises_.broke("cancel-heard", host, "it accepts what it heard cancelled");
    }
  } else if (const auto* formed = std::get_if<wire::FormStored>(&message.body)) {
    if (disk(host, balance::form_key(formed->triad)) == nullptr) {
      not_durable(host, "a form record that is not stored");
    }
  } else if (const auto* report = std::get_if<wire::EndReport>(&message.body)) {
    const base::Bytes* value = disk(host, balance::end_key(report->id));
    auto stored =
        value == nullptr
            ? base::Result<balance::EndRecord>(base::fail(base::Code::kInvalid, "there is none"))
            : balance::decode_end(*value);
    if (!stored || stored->state != report->end.state || stored->acted != report->end.acted) {
      not_durable(host, std::string("an end's state ") +
                            balance::end_state_name(report->end.state) + " that is not stored");
    }
  } else if (const auto* cancel = std::get_if<wire::Cancel>(&message.body)) {
    cancelled_.insert(cancel->proposal);
  } else if (const auto* preflight = std::get_if<wire::Preflight>(&message.body)) {
    const base::Bytes* value = disk(host, balance::own_key(preflight->id.job));
    auto own = value == nullptr ? base::Result<balance::OwnRecord>(balance::OwnRecord{})
                                : balance::decode_own(*value);
    if (!own || own->next < preflight->id.epoch) not_durable(host, "an epoch that is not burnt");
    check_epoch(host, preflight->id);
  } else if (const auto* offer = std::get_if<wire::Offer>(&message.body)) {
    remember(words_[{offer->triad, offer->term}].offers, *offer);
    // Right after a start nothing is known yet, and nothing is offered.
    if (!offer->jobs.empty()) check_effective(host, offer->ratio_micros);
  } else if (const auto* room = std::get_if<wire::Room>(&message.body)) {
    remember(words_[{room->triad, room->term}].rooms, *room);
    if (room->accepts) check_effective(host, room->ratio_micros - waking_ratio(host));
  } else if (const auto* prepare = std::get_if<wire::Prepare>(&message.body)) {
    check_plan(host, *prepare);
  } else if (const auto* able = std::get_if<wire::PreflightDone>(&message.body)) {
    if (able->ok) can_take_.insert(able->id);
  } else if (const auto* prepared = std::get_if<wire::Prepared>(&message.body)) {
    if (!prepared->ok || can_take_.contains(prepared->id) ||
        promises_.excused(prepared->id.triad)) {
      return;
    }
    promises_.broke("checked", host, "it would begin what SINK did not say that it can take");
  }
}

void Agreements::hears(std::uint32_t host, const balance::wire::Message& message) {
  if (const auto* report = std::get_if<balance::wire::EndReport>(&message.body)) {
    const bool runs = report->end.state == EndState::kSourceResumed ||
                      report->end.state == EndState::kSourceWithdrawn;
    if (runs && report->end.acted) may_discard_.emplace(host, report->id);
  } else if (const auto* cancel = std::get_if<balance::wire::Cancel>(&message.body)) {
    const auto found = accepting_.find(host);
    if (found == accepting_.end() || found->second.proposal != cancel->proposal) return;
    found->second.cancelled = true;
  } else if (const auto* superseded = std::get_if<balance::wire::Superseded>(&message.body)) {
    may_discard_.emplace(host, superseded->id);
    superseded_.emplace(host, superseded->id);
  } else if (const auto* group = std::get_if<balance::wire::GroupMessage>(&message.body)) {
    if (auto raft = balance::group::decode(group->bytes)) consensus_.hears(host, *raft);
  }
}

void Agreements::check_plan(std::uint32_t host, const balance::wire::Prepare& prepare) {
  const balance::FormRecord* form = promises_.form(prepare.triad);
  if (form == nullptr || promises_.excused(prepare.triad)) return;
  if (form->cause == balance::Cause::kPerson) {
    if (prepare.job != form->job) promises_.broke("plan", host, "not the job that a person named");
    return;
  }
  Words& words = words_[{prepare.triad, prepare.term}];
  if (std::find(words.prepared.begin(), words.prepared.end(), prepare.job) != words.prepared.end())
    return;
  words.prepared.push_back(prepare.job);
  // An end that leads asks itself, unheard.
  if (words.offers.empty() || words.rooms.empty()) return;
  for (const auto& offer : words.offers) {
    for (const auto& room : words.rooms) {
      if (is_planned(offer, room, words.prepared, form->cause)) return;
    }
  }
  promises_.broke("plan", host,
                  "job " + prepare.job.brief() + " of triad " + prepare.triad.brief() +
                      " fits none of what its ends said");
}

// A room is what is left beside the jobs that are being woken there.
std::int64_t Agreements::waking_ratio(std::uint32_t host) const {
  std::int64_t ratio = 0;
  for (const auto& [id, job] : world_.node(host)->jobs().all()) {
    const bool wakes = job.here && job.rest == node::jobs::Rest::kWaking && job.parked;
    if (wakes) ratio += share(job.parked->load_micros, world_.machine(host).shape().cpus_millis);
  }
  return ratio;
}

// The load average that the machine shows, corrected by what was moved and the average has not
// seen.
void Agreements::check_effective(std::uint32_t host, std::int64_t ratio_micros) {
  if (promises_.excused_host(host) || world_.is_clone(host)) return;
  // A daemon forgets what moved when it stops.
  if (world_.life(host) != 1 && world_.now() - world_.born(host) < kMovedShows) return;
  // Who has just woken says what it saw before it slept (seed 13006).
  const base::Time woke = world_.woke(host);
  if (woke != base::Time{} && world_.now() - woke < kLooksAgain) return;
  const World::Moved moved = world_.moved(host);
  const Machine& machine = world_.machine(host);
  const std::int64_t load = machine.load_micros();
  const std::int64_t cpus = machine.shape().cpus_millis;
  const std::int64_t wanted = std::max<std::int64_t>(load + moved.sum_micros, 0);
  // What a throttle hid of a job that is over shows in nothing that its node is told.
  // Of one that came and is throttled its node goes by what it used before, however much of its
  // coming the average has not seen (seed 749).
  const bool throttles = std::any_of(machine.copies().begin(), machine.copies().end(),
                                     [](const Copy& copy) { return copy.limit_micros != 0; });
  const std::int64_t slack =
      moved.all_micros / (throttles ? 1 : 2) + 150'000 + machine.hidden_of_gone_micros();
  if (std::abs(ratio_micros - share(wanted, cpus)) <= share(slack, cpus) + 1000) return;
  promises_.broke("effective", host,
                  "it says " + std::to_string(ratio_micros / 1000) +
                      " thousandths, with a load of " + std::to_string(load / 1000) + " and " +
                      std::to_string(moved.sum_micros / 1000) + " just moved");
}

void Agreements::sampled(std::uint32_t host) {
  if (world_.machine(host).hidden_micros() < 1000 || world_.lies(host)) return;
  check_effective(host, world_.node(host)->status().effective_ratio_micros);
}

void Agreements::check_epoch(std::uint32_t host, const balance::HandoverId& id) {
  if (promises_.excused(id.triad) || promises_.excused_job(world_.job_index(id.job))) return;
  const auto [found, fresh] = epochs_.emplace(std::make_pair(id.job, id.epoch), id.triad);
  if (fresh || found->second == id.triad) return;
  promises_.broke(
      "epoch-once", host,
      "epoch " + std::to_string(id.epoch.value) + " of job " + id.job.brief() + " in two triads");
}

// ---- what the host is told to do

void Agreements::orders(std::uint32_t host, const balance::Action& action) {
  using S = EndState;
  const auto needs = [&](const balance::HandoverId& id, std::initializer_list<S> states) {
    const base::Bytes* value = disk(host, balance::end_key(id));
    if (value != nullptr) {
      auto record = balance::decode_end(*value);
      if (record && std::find(states.begin(), states.end(), record->state) != states.end()) return;
    }
    not_durable(host, "the host is told to act in a handover whose state is not stored");
  };
  if (const auto* a = std::get_if<balance::FreezeAndStream>(&action)) {
    needs(a->id, {S::kSourceBegun});
    check_epoch(host, a->id);
    const balance::FormRecord* form = promises_.form(a->id.triad);
    if (form != nullptr && stored_form_[a->id.triad].size() < form->members.size()) {
      promises_.broke("durable-first", host, "it freezes before all have stored the form record");
    }
  } else if (const auto* seal = std::get_if<balance::SendSeal>(&action)) {
    needs(seal->id, {S::kSourceSealed});
  } else if (const auto* thaw = std::get_if<balance::Thaw>(&action)) {
    needs(thaw->id, {S::kSourceWithdrawn, S::kSourceResumed, S::kResolvedHere});
  } else if (const auto* kill = std::get_if<balance::KillOriginal>(&action)) {
    needs(kill->id, {S::kSourceGoneAway});
  } else if (const auto* expect = std::get_if<balance::ExpectStream>(&action)) {
    needs(expect->id, {S::kSinkExpecting});
  } else if (const auto* restore = std::get_if<balance::Restore>(&action)) {
    needs(restore->id, {S::kSinkExpecting});
  } else if (const auto* release = std::get_if<balance::ReleaseCopy>(&action)) {
    needs(release->id, {S::kSinkReleased, S::kResolvedHere});
  } else if (const auto* discard = std::get_if<balance::DiscardCopy>(&action)) {
    needs(discard->id, {S::kSinkFailed, S::kSinkVoid, S::kSinkDiscarded});
  }
}

// ---- what an end stores

std::optional<Decision> Agreements::outcome_on_disk(std::uint32_t host,
                                                    const balance::HandoverId& id) const {
  for (base::LogIndex at{2};; at = at.next()) {
    const base::Bytes* value = disk(host, balance::log_key(id.triad, at));
    if (value == nullptr) return std::nullopt;
    auto entry = balance::group::decode_entry(*value);
    if (!entry || entry->payload.empty()) continue;
    auto what = balance::decode_log_entry(entry->payload);
    if (!what) continue;
    const auto* outcome = std::get_if<balance::OutcomeEntry>(&*what);
    if (outcome != nullptr && outcome->job == id.job && outcome->epoch == id.epoch) {
      return outcome->decision;
    }
  }
}

void Agreements::stores_end(std::uint32_t host, const balance::RecordChange& change) {
  const base::Bytes* value = disk(host, change.key);
  auto before =
      value == nullptr
          ? base::Result<balance::EndRecord>(base::fail(base::Code::kInvalid, "there is none"))
          : balance::decode_end(*value);
  if (!change.value) {
    if (before && (!before->acted || !balance::is_final_state(before->state))) {
      promises_.broke("end-order", host, "an end is forgotten before it is done");
    }
    return;
  }
  auto id = balance::parse_end_key(change.key);
  auto record = balance::decode_end(*change.value);
  if (!id || !record) return;
  if (world_.hosts() <= kWatchedHostsMax) ends_.emplace(host, *id);
  check_end(host, *id, *record);
  if (promises_.excused(id->triad) || promises_.excused_host(host)) return;
  if (record->acted && !(before && before->acted)) check_acted(host, *id, *record);
  const bool was_ready = before && before->state == EndState::kSinkReady;
  if (was_ready && record->state == EndState::kSinkDiscarded) check_discarded(host, *id);
}

// What the machine shows against what an end says that it did.
void Agreements::check_acted(std::uint32_t host, const balance::HandoverId& id,
                             const balance::EndRecord& record) {
  using S = EndState;
  const std::uint32_t job = world_.job_index(id.job);
  if (promises_.excused_job(job)) return;
  const Copy* copy = world_.machine(host).find(job);
  const auto arrival = world_.incoming(host).find(id);
  const bool waits =
      arrival != world_.incoming(host).end() &&
      (arrival->second.state == Incoming::kHeld || arrival->second.state == Incoming::kSealed ||
       arrival->second.state == Incoming::kReceiving);
  bool done = true;
  switch (record.state) {
    case S::kSourceWithdrawn:
    case S::kSourceResumed:
      done = copy == nullptr || !copy->frozen || copy->frozen_for != id;
      break;
    case S::kSourceGoneAway:
      done = copy == nullptr || copy->epoch > id.epoch;
      break;
    case S::kSinkFailed:
    case S::kSinkVoid:
    case S::kSinkDiscarded:
    case S::kSinkReleased:
      done = !waits;
      break;
    case S::kResolvedHere:
      done = !waits && (copy == nullptr || !copy->frozen || copy->frozen_for != id);
      break;
    default:
      break;
  }
  if (done) return;
  promises_.broke("acted", host,
                  std::string(balance::end_state_name(record.state)) + " of job " + id.job.brief() +
                      " is not what its machine shows");
}

void Agreements::check_discarded(std::uint32_t host, const balance::HandoverId& id) {
  const auto arrival = world_.incoming(host).find(id);
  const bool held =
      arrival != world_.incoming(host).end() && arrival->second.state == Incoming::kHeld;
  if (!held || may_discard_.contains({host, id}) || world_.hosts() > kWatchedHostsMax) return;
  promises_.broke("held-kept", host,
                  "the held copy of job " + id.job.brief() +
                      " is given up, and nobody told it that "
                      "the original runs");
}

// A person's word beats the outcome (design.md §4): where somebody resolved the job, and the end
// was told that a higher epoch runs.
bool Agreements::was_superseded(std::uint32_t host, const balance::HandoverId& id) const {
  if (!resolved_.contains(id.job)) return false;
  return superseded_.contains({host, id}) || world_.hosts() > kWatchedHostsMax;
}

bool Agreements::lacks_other_end(const base::JobId& job) const {
  const auto found = resolved_.find(job);
  if (found == resolved_.end()) return false;
  const auto is_of = [&](const auto& end) { return end.second == found->second; };
  return std::count_if(ends_.begin(), ends_.end(), is_of) < 2;
}

void Agreements::check_end(std::uint32_t host, const balance::HandoverId& id,
                           const balance::EndRecord& record) {
  using S = EndState;
  if (promises_.excused(id.triad) || promises_.excused_host(host)) return;
  std::optional<S> before;
  if (const base::Bytes* value = disk(host, balance::end_key(id))) {
    if (auto old_record = balance::decode_end(*value)) before = old_record->state;
  }
  const std::string name = balance::end_state_name(record.state);
  if (!may_follow(before, record.state)) {
    promises_.broke("end-order", host,
                    name + " after " + (before ? balance::end_state_name(*before) : "nothing"));
  }
  if (before == record.state) return;
  if (record.state == S::kSinkReady) {
    const auto found = world_.incoming(host).find(id);
    if (found == world_.incoming(host).end() || found->second.held_at == base::Time{}) {
      promises_.broke("ready-held", host, "ready, and no copy was ever held");
    }
  }
  // As committed, as told by one who knew it (balance, "Decided"), or as in the log here, where it
  // may be of a leader whom nobody followed.
  std::optional<Decision> outcome = promises_.outcome(id);
  const auto told = decided_.find(id);
  if (told != decided_.end()) outcome = told->second;
  if (!outcome) outcome = outcome_on_disk(host, id);
  const auto only = [&](Decision decision) {
    if (outcome != decision) promises_.broke("by-outcome", host, name + " against the outcome");
  };
  if (record.state == S::kResolvedHere) resolved_[id.job] = id;
  const bool gives_way = was_superseded(host, id);
  if (record.state == S::kSinkVoid) only(Decision::kCommit);
  if (record.state == S::kSourceGoneAway && !gives_way) only(Decision::kCommit);
  if (record.state == S::kSourceGone) only(Decision::kAbort);
  if (record.state == S::kSinkDiscarded && !gives_way) only(Decision::kAbort);
  if (record.state == S::kSinkReleased && outcome != Decision::kCommit) {
    const balance::FormRecord* form = promises_.form(id.triad);
    const std::uint32_t job = world_.job_index(id.job);
    const std::uint32_t source =
        form == nullptr ? kNobody : world_.host_of(form->seat(balance::Seat::kSource)->node);
    const bool gone = source != kNobody && world_.machine(source).find(job) == nullptr;
    if (outcome != Decision::kAbort || !gone) only(Decision::kCommit);
  }
  if (record.state == S::kSourceResumed && outcome == Decision::kCommit) {
    const balance::FormRecord* form = promises_.form(id.triad);
    const std::uint32_t sink =
        form == nullptr ? kNobody : world_.host_of(form->seat(balance::Seat::kSink)->node);
    if (sink == kNobody) return;
    const auto arrival = world_.incoming(sink).find(id);
    const bool lives =
        arrival != world_.incoming(sink).end() &&
        (arrival->second.state == Incoming::kHeld || arrival->second.state == Incoming::kReleased);
    if (lives) only(Decision::kAbort);
  } else if (record.state == S::kSourceResumed) {
    only(Decision::kAbort);
  }
}

}  // namespace sim
