#include "balance/triad.h"

#include <algorithm>
#include <utility>

namespace balance {

namespace {

group::Config group_config(const StoredForm& stored, const TriadId& id, const NodeId& self,
                           base::Incarnation incarnation) {
  const FormRecord& form = stored.form;
  group::Config config;
  config.id = id;
  config.self = self;
  // Seat 0 is the member nearest to ERGODIC; of a pair SOURCE alone decides.
  config.preferred = form.seat(form.is_pair() ? Seat::kSource : Seat::kCoordinator)->node;
  for (const Member& m : form.members) {
    config.members.push_back({m.node, m.store, !form.is_pair() || m.seat == Seat::kSource});
  }
  config.form = encode(form);
  config.incarnation = incarnation;
  return config;
}

}  // namespace

Triad::Triad(Step step, StoredForm stored, base::Incarnation incarnation, base::Rng rng,
             Surroundings around, std::vector<RecordChange> also)
    : stored_(std::move(stored)),
      id_(triad_id_of(stored_.form)),
      incarnation_(incarnation),
      rng_(rng),
      around_(around),
      self_(step.out.self()),
      seat_(stored_.form.member(self_)->seat),
      to_recover_(group::Recovered{}) {
  also.push_back({form_key(id_), encode(stored_)});
  stage_write_ = write(step, std::move(also));
}

Triad::Triad(StoredForm stored, base::Incarnation incarnation, base::Rng rng, Surroundings around,
             TriadRecords records)
    : stored_(std::move(stored)),
      id_(triad_id_of(stored_.form)),
      incarnation_(incarnation),
      rng_(rng),
      around_(around),
      self_(around.self),
      seat_(stored_.form.member(self_)->seat),
      stage_(records.lingers ? Stage::kLingering : Stage::kMember),
      keys_(records.keys.begin(), records.keys.end()),
      to_recover_(std::move(records.group)),
      to_linger_(std::move(records.lingers)) {
  for (const group::Entry& entry : to_recover_->entries) note(entry);
  for (auto& [id, record] : records.ends) make_end(id, std::move(record));
}

// ---- consensus

void Triad::open_group(base::Time now, group::Recovered recovered) {
  auto opened = Group::open(group_config(stored_, id_, self_, incarnation_), std::move(recovered),
                            base::Rng(rng_.next()), now);
  if (!opened) {
    // A damaged store: no vote, no word, but the ends here keep what they must keep.
    around_.log.error("triad_log_damaged",
                      {{"triad", id_.brief()}, {"why", opened.error().detail}});
    return;
  }
  group_.emplace(std::move(*opened));
}

void Triad::run_group(Step step, const group::Event& event) {
  if (!group_) return;
  for (const group::Action& action : group_->step(step.now, event)) perform(step, action);
}

void Triad::perform(Step step, const group::Action& action) {
  if (const auto* send = std::get_if<group::Send>(&action)) {
    step.out.send(send->to, wire::GroupMessage{id_, send->bytes});
  } else if (const auto* persist = std::get_if<group::Persist>(&action)) {
    store(step, *persist);
  } else if (const auto* committed = std::get_if<group::Committed>(&action)) {
    apply(step, *committed);
  } else if (const auto* elected = std::get_if<group::BecameLeader>(&action)) {
    lead_.reset();
    around_.log.info("elected", {{"triad", id_.brief()}, {"term", elected->term.value}});
  } else if (std::get_if<group::SteppedDown>(&action) != nullptr) {
    lead_.reset();
  } else if (std::get_if<group::Proposed>(&action) != nullptr) {
    proposal_taken_ = true;
  } else if (const auto* forgot = std::get_if<group::Forgot>(&action)) {
    around_.log.error("member_forgot", {{"triad", id_.brief()}, {"node", forgot->node.brief()}});
  }
}

void Triad::store(Step step, const group::Persist& persist) {
  std::vector<RecordChange> changes;
  if (persist.hard) changes.push_back({hard_key(id_), group::encode_hard_state(*persist.hard)});
  if (persist.log) {
    base::LogIndex at = persist.log->first;
    for (const group::Entry& entry : persist.log->entries) {
      note(entry);
      changes.push_back({log_key(id_, at), group::encode_entry(entry)});
      at = at.next();
    }
    for (; at <= persist.log->old_last; at = at.next()) {
      changes.push_back({log_key(id_, at), std::nullopt});
    }
  }
  group_writes_.emplace_back(write(step, std::move(changes)), persist.id);
}

void Triad::note(const group::Entry& entry) {
  auto decoded = decode_log_entry(entry.payload);
  if (entry.payload.empty() || !decoded) return;
  if (std::holds_alternative<BeginEntry>(*decoded)) begin_stored_ = true;
  if (auto* outcome = std::get_if<OutcomeEntry>(&*decoded)) stored_last_ = std::move(*outcome);
}

std::uint64_t Triad::write(Step step, std::vector<RecordChange> changes) {
  for (const RecordChange& change : changes) {
    if (!change.key.starts_with(triad_prefix(id_))) continue;
    if (change.value) {
      keys_.insert(change.key);
    } else {
      keys_.erase(change.key);
    }
  }
  return step.out.persist(std::move(changes));
}

// ---- decisions

void Triad::apply(Step step, const group::Committed& entry) {
  if (entry.payload.empty()) return;
  quiet_since_ = step.now;
  auto decoded = decode_log_entry(entry.payload);
  if (!decoded) {
    around_.log.error("entry_unreadable", {{"triad", id_.brief()}, {"index", entry.index.value}});
    return;
  }
  if (const auto* begin = std::get_if<BeginEntry>(&*decoded)) {
    apply(step, *begin);
  } else if (const auto* outcome = std::get_if<OutcomeEntry>(&*decoded)) {
    apply(step, *outcome);
  } else {
    dissolved_ = true;
  }
}

void Triad::apply(Step step, const BeginEntry& entry) {
  const HandoverId id{id_, entry.job, entry.epoch};
  if (handover(id) != nullptr || dissolved_) return;
  Handover opened;
  opened.id = id;
  opened.preflight = entry.preflight;
  opened.begun_at = step.now;
  ledger_.push_back(opened);
  if (seat_ == Seat::kCoordinator) return;
  if (!ends_.contains(id)) make_end(id, std::nullopt);
  if (around_.stopping) ends_.at(id)->give_up(step, kIsStopping);
  if (in_doubt_elsewhere(entry.job)) ends_.at(id)->give_up(step, kIsInDoubt);
  ends_.at(id)->begin(step);
}

void Triad::apply(Step step, const OutcomeEntry& entry) {
  Handover* const decided = handover({id_, entry.job, entry.epoch});
  if (decided == nullptr || decided->outcome) return;  // the first one counts
  decided->outcome = entry;
  decided->decided_at = step.now;
  const auto found = ends_.find(decided->id);
  if (found != ends_.end()) found->second->outcome(step, entry.decision);
}

void Triad::make_end(const HandoverId& id, std::optional<EndRecord> recovered) {
  if (seat_ == Seat::kSource) {
    ends_[id] = std::make_unique<SourceEnd>(id, self_, other_end(), around_.own, recovered);
  } else if (seat_ == Seat::kSink) {
    ends_[id] = std::make_unique<SinkEnd>(id, self_, other_end(), around_.own, recovered);
  }
}

NodeId Triad::other_end() const {
  return stored_.form.seat(seat_ == Seat::kSource ? Seat::kSink : Seat::kSource)->node;
}

Triad::Handover* Triad::handover(const HandoverId& id) {
  for (Handover& h : ledger_) {
    if (h.id == id) return &h;
  }
  return nullptr;
}

bool Triad::bound() const {
  return std::any_of(ends_.begin(), ends_.end(), [](const auto& e) { return e.second->bound(); });
}

// ---- events

void Triad::receive(Step step, const NodeId& from, const StoreId& store, const wire::Body& body) {
  const Member* member = stored_.form.member(from);
  if (member == nullptr || member->store != store) {
    // A new store is no member and never will be; nor is one that the proposer invented.
    const bool never = member != nullptr && std::holds_alternative<wire::Gone>(body);
    if (never && stage_ == Stage::kMember && !begin_stored_ && ends_.empty()) {
      return leave(step, false);
    }
    around_.log.debug("not_a_member", {{"triad", id_.brief()}, {"from", from.brief()}});
    return;
  }
  if (!active()) return;
  if (contact_.empty()) tick(step);  // first event after a restart
  if (!active()) return;
  contact_[from].heard = step.now;
  stage_ == Stage::kMember ? hear(step, from, body) : hear_late(step, from, body);
  settle(step);
}

void Triad::hear(Step step, const NodeId& from, const wire::Body& body) {
  const bool from_source = stored_.form.seat(Seat::kSource)->node == from;
  const bool from_sink = stored_.form.seat(Seat::kSink)->node == from;
  if (const auto* group = std::get_if<wire::GroupMessage>(&body)) {
    run_group(step, group::Received{from, group->bytes});
  } else if (std::get_if<wire::Form>(&body) != nullptr) {
    step.out.send(from, wire::FormStored{id_});
  } else if (std::get_if<wire::FormStored>(&body) != nullptr) {
    form_stored_.insert(from);
  } else if (const auto* gone = std::get_if<wire::Gone>(&body)) {
    hear_gone(step, from, *gone);
  } else if (const auto* ask = std::get_if<wire::Ask>(&body)) {
    answer_ask(step, from, ask->term);
  } else if (const auto* offer = std::get_if<wire::Offer>(&body)) {
    if (from_source && lead_ && offer->term == lead_->term) lead_->offer = *offer;
  } else if (const auto* room = std::get_if<wire::Room>(&body)) {
    if (from_sink && lead_ && room->term == lead_->term) lead_->room = *room;
  } else if (const auto* next = std::get_if<wire::Prepare>(&body)) {
    if (seat_ == Seat::kSource) prepare(step, *next);
  } else if (const auto* requirement = std::get_if<wire::Preflight>(&body)) {
    if (seat_ == Seat::kSink && from_source) preflight(step, from, *requirement);
  } else if (const auto* done = std::get_if<wire::PreflightDone>(&body)) {
    if (from_sink) preflight_done(step, *done);
  } else if (const auto* prepared = std::get_if<wire::Prepared>(&body)) {
    if (from_source) hear_prepared(step, *prepared);
  } else if (const auto* report = std::get_if<wire::EndReport>(&body)) {
    hear_report(step, from, *report);
  } else if (const auto* decided = std::get_if<wire::Decided>(&body)) {
    hear_decided(step, decided->outcome);
  } else if (const auto* superseded = std::get_if<wire::Superseded>(&body)) {
    hear_superseded(step, from, *superseded);
  }
}

// The job may have moved on and come back since, under a higher epoch still. What came back is no
// matter of the third's: only the other end may have been resolved, and beats that copy too.
void Triad::hear_superseded(Step step, const NodeId& from, const wire::Superseded& message) {
  const auto found = ends_.find(message.id);
  if (found == ends_.end()) return;
  const OwnRecord* own = around_.own.find(message.id.job);
  const Epoch known = own == nullptr ? Epoch{} : own->epoch;
  if (known > message.id.epoch && from != other_end()) return;
  if (message.epoch > std::max(message.id.epoch, known)) found->second->superseded(step);
}

void Triad::hear_report(Step step, const NodeId& from, const wire::EndReport& report) {
  const bool of_source = stored_.form.seat(Seat::kSource)->node == from;
  if (!of_source && stored_.form.seat(Seat::kSink)->node != from) return;
  if (report.end.state != EndState::kResolvedHere &&
      report.end.state != EndState::kSourceGoneAway &&
      is_source_state(report.end.state) != of_source) {
    return;
  }
  if (handover(report.id) == nullptr && !ends_.contains(report.id)) return;
  Reports& reports = reports_[report.id];
  std::optional<EndRecord>& slot = of_source ? reports.source : reports.sink;
  if (!slot || !slot->acted || report.end.acted) slot = report.end;
  reports.bytes = std::max(reports.bytes, report.bytes);
  const auto found = ends_.find(report.id);
  if (found != ends_.end() && from != self_) found->second->peer_says(step, report.end);
}

void Triad::persisted(Step step, std::uint64_t id) {
  if (stage_ == Stage::kStoring && id == stage_write_) {
    stage_ = Stage::kMember;
    if (stored_.proposer != self_) step.out.send(stored_.proposer, wire::FormStored{id_});
    return tick(step);
  }
  if (stage_ == Stage::kLeaving && id == stage_write_) {
    stage_ = Stage::kLeft;
    return;
  }
  if (stage_ == Stage::kParting && id == stage_write_) stage_ = Stage::kLingering;
  if (!active()) return;
  while (!group_writes_.empty() && group_writes_.front().first <= id) {
    const group::PersistId done = group_writes_.front().second;
    group_writes_.pop_front();
    run_group(step, group::Persisted{done});
  }
  if (preparation_ && preparation_->at == Preparation::At::kWriting && preparation_->write == id) {
    preparation_->at = Preparation::At::kCollecting;
    step.out.act(CollectRequirement{preparation_->id, other_end()});
  }
  for (auto& [key, end] : ends_) end->persisted(step, id);
  settle(step);
}

void Triad::host_says(Step step, const HandoverId& id, const Event& event) {
  if (!active()) return;
  if (const auto* requirement = std::get_if<RequirementCollected>(&event)) {
    collected(step, *requirement);
  } else if (const auto* checked = std::get_if<PreflightChecked>(&event)) {
    preflight_checked(step, *checked);
  } else {
    const auto found = ends_.find(id);
    if (found == ends_.end()) return;
    found->second->host_says(step, event);
  }
  settle(step);
}

void Triad::job_ended(Step step, const JobId& job) {
  if (!active() || seat_ != Seat::kSource) return;
  if (preparation_ && preparation_->id.job == job) preparation_over(step, false, "the job ended");
  for (auto& [id, end] : ends_) {
    if (id.job == job && !end->settled()) {
      end->give_up(step, "the job ended");
    }
  }
  settle(step);
}

void Triad::stopping(Step step, bool withdraw) {
  if (!active()) return;
  const bool preparing = preparation_ && preparation_->at != Preparation::At::kDone;
  if (preparing) preparation_over(step, false, kIsStopping);
  for (auto& [id, end] : ends_) {
    if (withdraw && end->bound()) end->give_up(step, kIsStopping);
  }
  settle(step);
}

void Triad::tick(Step step) {
  if (!active()) return;
  if (contact_.empty()) {
    for (const Member& m : stored_.form.members) contact_[m.node] = {step.now, step.now};
    if (stage_ == Stage::kMember) open_group(step.now, std::move(*to_recover_));
    to_recover_.reset();
    report_at_ = form_at_ = quiet_since_ = step.now;
  }
  if (stage_ != Stage::kMember) {
    linger_on(step);
    return settle(step);
  }
  if (may_leave_quietly() && step.now >= quiet_since_ + kSeatQuiet) return leave_quietly(step);
  if (group_ && step.now >= group_->next_deadline()) run_group(step, group::Tick{});
  for (auto& [id, end] : ends_) {
    if (seat_ == Seat::kSource && lost_contact(step, other_end(), base::Time::min())) {
      end->give_up(step, "the sink cannot be reached");
    }
    end->tick(step);
  }
  preparation_tick(step);
  resend_form(step);
  ask_silent(step);
  settle(step);
}

// What follows from the state, whatever changed it.
void Triad::settle(Step step) {
  if (!active()) return;
  lead(step);
  report_ends(step, stage_ == Stage::kMember && step.now >= report_at_);
  tell(step);
  end_if_over(step);
}

void Triad::report_ends(Step step, bool again) {
  if (again) report_at_ = step.now + kReportEvery;
  for (const auto& [id, end] : ends_) {
    if (!end->has_record()) continue;
    const std::pair<EndState, bool> now_at{end->state(), end->settled()};
    const auto before = reported_.find(id);
    const bool changed = before == reported_.end() || before->second != now_at;
    const bool newest = ledger_.empty() || ledger_.back().id == id || end->bound();
    if (!changed && !(again && newest)) continue;
    reported_[id] = now_at;
    if (changed) linger_every_ = kReportEvery;
    for (const Member& m : stored_.form.members) {
      if (m.node == self_) continue;
      step.out.send(m.node, wire::EndReport{id, end->record(), end->bytes()});
    }
  }
}

void Triad::resend_form(Step step) {
  if (stored_.proposer != self_ || step.now < form_at_) return;
  form_at_ = base::kNever;
  for (const Member& m : stored_.form.members) {
    if (m.node == self_ || form_stored_.contains(m.node)) continue;
    step.out.send(m.node, wire::Form{stored_.proposal, stored_.form});
    form_at_ = step.now + kFormEvery;
  }
}

// Who has been silent is asked, so that a triad that is gone elsewhere is left here too.
void Triad::ask_silent(Step step) {
  for (auto& [node, contact] : contact_) {
    if (node == self_ || step.now < std::max(contact.heard, contact.asked) + kAskEvery) continue;
    contact.asked = step.now;
    step.out.send(node, wire::Ask{id_, Term{}});
  }
}

base::Time Triad::next_deadline(base::Time now) const {
  if (!active()) return base::kNever;
  if (contact_.empty()) return now;
  base::Time at = report_at_;
  for (const auto& [id, end] : ends_) at = std::min(at, end->next_deadline());
  if (stage_ != Stage::kMember) return at;
  if (group_) at = std::min(at, group_->next_deadline());
  if (stored_.proposer == self_) at = std::min(at, form_at_);
  if (may_leave_quietly()) at = std::min(at, quiet_since_ + kSeatQuiet);
  for (const auto& [node, contact] : contact_) {
    if (node != self_) at = std::min(at, std::max(contact.heard, contact.asked) + kAskEvery);
  }
  if (preparation_ && preparation_->at != Preparation::At::kDone) {
    at = std::min(at, preparation_->give_up_at);
    if (preparation_->at == Preparation::At::kAsking) at = std::min(at, preparation_->resend_at);
  }
  return at;
}

// ---- what can be seen

SeatInfo Triad::seat() const {
  SeatInfo info;
  info.triad = id_;
  info.seat = seat_;
  if (group_) {
    info.term = group_->term();
    info.leads = group_->in_office();
    info.leader = group_->leader().value_or(NodeId{});
  }
  return info;
}

End* Triad::end_of(const JobId& job) {
  End* newest = nullptr;
  for (auto& [id, end] : ends_) {
    if (id.job == job && end->bound()) newest = end.get();
  }
  return newest;
}

std::vector<const End*> Triad::bound_ends() const {
  std::vector<const End*> ends;
  for (const auto& [id, end] : ends_) {
    if (end->bound()) ends.push_back(end.get());
  }
  return ends;
}

const End* Triad::end(const HandoverId& id) const {
  const auto found = ends_.find(id);
  return found == ends_.end() ? nullptr : found->second.get();
}

bool Triad::involves(const JobId& job) const {
  if (stage_ != Stage::kLingering && stored_.form.job == job) return true;
  if (preparation_ && preparation_->id.job == job) return true;
  return std::any_of(ends_.begin(), ends_.end(), [&](const auto& e) {
    return e.first.job == job && (e.second->writing() || !e.second->settled());
  });
}

}  // namespace balance
