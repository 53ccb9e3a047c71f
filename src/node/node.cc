// The routing between cores. What people ask for is in node_people.cc, what is shown in
// node_status.cc, what they type in node_inputs.cc, whose a job is in node_owner.cc, orders between
// nodes in node_orders.cc.
#include "node/node.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "node/records.h"

namespace node {
namespace {

using base::NodeId;

constexpr int kBalance = 1;
constexpr int kJobs = 2;
constexpr int kThrottles = 3;

base::Rng seeded(std::uint64_t seed, std::uint64_t stream) {
  return base::Rng(seed ^ (stream * 0x9e3779b97f4a7c15ULL));
}

// Of a job that is at rest, or on its way there or back.
void rest_facts(const jobs::Job& job, balance::JobFacts& facts) {
  if (job.rest == jobs::Rest::kParking) {
    facts.movable = false;
    facts.why_not = "the job is being parked";
    return;
  }
  facts.state = balance::JobState::kParked;
  if (!job.parked) return;
  if (job.parked->queued) facts.state = balance::JobState::kQueued;
  facts.since = job.parked->since;
  facts.load_micros = job.parked->load_micros;
  facts.memory_bytes = job.parked->memory_bytes;
  facts.waking = job.rest == jobs::Rest::kWaking;
  facts.movable = job.rest == jobs::Rest::kParked;
  if (!facts.movable) facts.why_not = "the job is being woken";
}

bool is_host_operation(const balance::Action& action) {
  return std::holds_alternative<balance::CollectRequirement>(action) ||
         std::holds_alternative<balance::CheckPreflight>(action) ||
         std::holds_alternative<balance::FreezeAndStream>(action) ||
         std::holds_alternative<balance::SendSeal>(action) ||
         std::holds_alternative<balance::Thaw>(action) ||
         std::holds_alternative<balance::KillOriginal>(action) ||
         std::holds_alternative<balance::CheckOriginal>(action) ||
         std::holds_alternative<balance::ExpectStream>(action) ||
         std::holds_alternative<balance::Restore>(action) ||
         std::holds_alternative<balance::CheckCopy>(action) ||
         std::holds_alternative<balance::ReleaseCopy>(action) ||
         std::holds_alternative<balance::DiscardCopy>(action);
}

}  // namespace

Node::Node(Config config, const Records& records,
           const std::map<base::JobId, StreamEnds>& home_ends, base::Log& log)
    : config_(std::move(config)),
      self_(config_.keys.id()),
      log_(log),
      inputs_(self_),
      moved_(config_.load_window),
      throttles_(records, config_.load_window) {
  gossip::Config gossip{config_.keys.clone(),
                        config_.chain,
                        roster_of(records, config_.root, config_.wall),
                        config_.salt,
                        config_.gossip_secret.clone(),
                        config_.seed,
                        config_.pool};
  gossip_ = std::make_unique<gossip::Gossip>(std::move(gossip), log);
  balance::Config agreement;
  agreement.self = self_;
  agreement.store = config_.store;
  agreement.incarnation = config_.incarnation;
  balance_ = std::make_unique<balance::Balance>(agreement, seeded(config_.seed, 1),
                                                agreements_of(records), log);
  jobs_ = std::make_unique<jobs::Jobs>(self_, records, home_ends);
  addresses_ = node::addresses_of(records);
  recover_drain(records);
  for (const Whereabouts& other : node::met_of(records)) met_.push_back({other, true});
  // Questions are numbered from anywhere: what answers the daemon before a restart fits none.
  next_query_ = seeded(config_.seed, 2).next() >> 16;
}

Node::~Node() = default;

Actions Node::step(base::Time now, const Event& event) {
  now_ = std::max(now, now_);
  std::visit([this](const auto& e) { on(e); }, event);
  after_doubt();
  if (sleep_.phase() == Sleep::kLeaving) tend_sleep();
  tend_drain();
  tend_inputs();
  // Also of a handover that this node left without hearing how it ended.
  std::erase_if(timings_, [&](const auto& t) { return !balance_->in_doubt(t.first.job); });
  return std::exchange(actions_, {});
}

base::Time Node::next_deadline() const {
  base::Time next =
      std::min({gossip_->next_deadline(), balance_->next_deadline(), jobs_->next_deadline(),
                drain_.next_try(), inputs_.next_deadline(), sleep_.next_deadline()});
  for (const auto& [query, waiting] : waiting_) {
    next = std::min({next, waiting.deadline, waiting.again_at});
  }
  for (const auto& [token, trial] : trials_) next = std::min(next, trial.deadline);
  return next;
}

// ---- events from the host

void Node::on(const Start& event) {
  starting_ = true;
  started_at_ = now_;
  wall_ = event.wall;
  gossip::Started started;
  started.incarnation = config_.incarnation;
  started.wall = event.wall;
  started.fields = digest_fields();
  to_gossip(started);
  seek_remembered();
  to_balance(balance::Tick{});
  starting_ = false;
  look_for_unowned();
}

void Node::on(const Tick& /*event*/) {
  to_gossip(gossip::Tick{});
  to_balance(balance::Tick{});
  to_jobs(jobs::Tick{});
  end_late_trials();  // first: they take their questions out of waiting_
  tend_waiting();
}

void Node::on(const WallClock& event) {
  wall_ = event.wall;
  to_gossip(gossip::WallClock{event.wall});
}
void Node::on(const DatagramIn& event) { to_gossip(gossip::Datagram{event.from, event.bytes}); }
void Node::on(const Introduced& event) {
  to_gossip(gossip::MemberIntroduced{event.chain, event.endpoint, event.called});
}
void Node::on(const SeedPeer& event) { to_gossip(gossip::PeerSeed{event.endpoint}); }
void Node::on(const Stopping& event) { to_balance(balance::Stopping{event.withdraw}); }
void Node::on(const Leave& /*event*/) { to_gossip(gossip::Leave{}); }

void Node::on(const MessageIn& event) {
  auto message = decode_message(event.bytes);
  if (!message) {
    log_.debug("message_dropped", {{"from", event.from.hex()}, {"why", message.error().detail}});
    return;
  }
  called({event.from, event.at});
  on_message(event.from, *message);
}

void Node::on_message(NodeId from, const Message& message) {
  if (const auto* agreement = std::get_if<Agreement>(&message)) {
    for (const Whereabouts& other : agreement->meets) meet(other);
    return to_balance(balance::Received{from, agreement->bytes});
  }
  if (const auto* query = std::get_if<JobsQuery>(&message)) {
    return send(from, jobs_reply(query->query, from));
  }
  if (const auto* jobs_reply = std::get_if<JobsReply>(&message)) {
    const auto it = waiting_.find(jobs_reply->query);
    if (it == waiting_.end() || it->second.missing.erase(from) == 0) return;
    for (const JobInfo& info : jobs_reply->jobs) merge(it->second, info);
    if (it->second.missing.empty()) answer_jobs(jobs_reply->query);
    return;
  }
  if (const auto* order = std::get_if<Order>(&message)) return on_order(from, *order);
  if (const auto* answer = std::get_if<OrderReply>(&message)) return on_order_reply(from, *answer);
  if (const auto* query = std::get_if<LogQuery>(&message)) return on_log_query(from, *query);
  if (const auto* log = std::get_if<LogReply>(&message)) return on_log_reply(from, *log);
  if (const auto* why = std::get_if<WhyQuery>(&message)) return on_why_query(from, *why);
  if (const auto* why = std::get_if<WhyReply>(&message)) return on_why_reply(from, *why);
  if (const auto* needs = std::get_if<NeedsQuery>(&message)) return on_needs_query(from, *needs);
  if (const auto* needs = std::get_if<NeedsReply>(&message)) return on_needs_reply(from, *needs);
  if (const auto* input = std::get_if<Input>(&message)) return on_input(from, *input);
  if (const auto* reply = std::get_if<InputReply>(&message)) {
    return take(inputs_.step(now_, inputs::Peer{from, *reply}));
  }
  to_jobs(jobs::Peer{from, message});
  if (const auto* here = std::get_if<Here>(&message)) meet_host(from, here->job);
}

void Node::on(const Persisted& event) {
  const auto it = persisting_.find(event.id);
  if (it == persisting_.end()) return;
  const Persisting what = it->second;
  persisting_.erase(it);
  if (what.owner == kBalance) to_balance(balance::Persisted{what.inner});
  if (what.owner == kJobs) to_jobs(jobs::Kept{what.inner});
  if (what.owner == kThrottles) {
    if (const auto limiting = limits_stored_.extract(what.inner)) limit_now(limiting.mapped());
  }
}

void Node::on(const Sample& event) {
  sample_ = event;
  sampled_ = true;
  heed_owner();
  forget_throttles();
  limit_attended();
  hold_guests();
  on_local(/*is_sample=*/true);
  tend_sleep();
}

void Node::on(const Handover& event) {
  const auto* checked = std::get_if<balance::PreflightChecked>(&event.event);
  if (checked != nullptr && !checked->ok) {
    // It is read at the other end, where "here" would be another node.
    balance::PreflightChecked named = *checked;
    named.reason = name_of(self_) + ": " + named.reason;
    return to_balance(named);
  }
  to_balance(event.event);
  if (const auto* thawed = std::get_if<balance::Thawed>(&event.event)) {
    throttles_.thawed(now_, thawed->id.job);
  }
  if (const auto* discarded = std::get_if<balance::Discarded>(&event.event)) {
    // A late word on an earlier attempt does not concern the one that arrives now.
    const auto newest = arriving_.find(discarded->id.job);
    if (newest != arriving_.end() && newest->second != discarded->id) return;
    arriving_.erase(discarded->id.job);
    to_jobs(jobs::DropArrival{discarded->id.job});
  }
}

void Node::on(const JobNews& event) {
  const auto answer_run = [this](const base::JobId& job, int exit_code, const std::string& why) {
    if (const auto who = running_.extract(job)) reply(who.mapped(), exit_code, why);
  };
  if (const auto* failed = std::get_if<jobs::LaunchFailed>(&event.event)) {
    answer_run(failed->job, 1, failed->reason);
  }
  if (const auto* launched = std::get_if<jobs::Launched>(&event.event)) {
    answer_run(launched->job, 0, "");
  }
  // While a handover is undecided the end of the copy here may not be the job's: the other copy may
  // run. Told when it is known whose the job is.
  const auto* ended = std::get_if<jobs::Ended>(&event.event);
  if (ended != nullptr) ended_.erase(ended->job);
  if (ended != nullptr && balance_->in_doubt(ended->job)) {
    ended_in_doubt_[ended->job] = *ended;
    return;
  }
  // An undecided handover asks for the original itself.
  const auto* vanished = std::get_if<jobs::Vanished>(&event.event);
  if (vanished != nullptr && balance_->in_doubt(vanished->job)) {
    ended_in_doubt_[vanished->job] = jobs::Ended{vanished->job, SIGKILL, vanished->ends};
    return;
  }
  const jobs::Job* job = ended == nullptr ? nullptr : jobs_->find(ended->job);
  const bool removed = job != nullptr && job->rest == jobs::Rest::kRemoving;
  to_jobs(event.event);
  if (removed) {
    if (const auto who = resting_.extract(ended->job)) answer_person(who.mapped(), 0, "", "");
  }
  // A person may want it elsewhere at once: balance hears of it before the next sample.
  if (std::holds_alternative<jobs::Launched>(event.event)) on_local();
}

// ---- into the cores

void Node::to_gossip(const gossip::Event& event) { route(gossip_->step(now_, event)); }

void Node::to_balance(const balance::Event& event) { route(balance_->step(now_, event)); }

void Node::to_jobs(const jobs::Event& event) { route(jobs_->step(now_, event)); }

// What a core says while another's word is being taken waits for its turn.
template <typename Said>
void Node::route(Said said) {
  if (routing_) {
    for (auto& action : said) said_.emplace_back(std::move(action));
    return;
  }
  routing_ = true;
  for (auto& action : said) take(action);
  while (!said_.empty()) {
    auto action = std::move(said_.front());
    said_.pop_front();
    std::visit([this](auto& a) { this->take(a); }, action);
  }
  routing_ = false;
}

void Node::on_view(const gossip::ViewChanged& view) {
  balance::ViewChanged changed;
  changed.gone = view.gone;
  for (const NodeId& id : view.changed) {
    const auto seen = gossip_->find(id);
    if (!seen) continue;  // it went in a later step, which says so
    changed.nodes.push_back(load_of(*seen));
    remember_address_of(*seen);
  }
  if (!view.gone.empty()) keep_met({});
  to_balance(changed);
}

// ---- this node's own load

void Node::on_local(bool is_sample) {
  if (!sampled_) return;
  const std::int64_t cpus = std::max<std::int64_t>(sample_.cpus_millis, 1);
  const std::int64_t load = moved_.effective_load_micros(now_, load_without_throttles());
  effective_micros_ = probe::ratio_micros(load, cpus);
  const probe::Trit before = trit_.trit();
  const probe::Trit trit =
      is_sample ? trit_.update(effective_micros_) : trit_.correct(effective_micros_);
  if (trit != before) {
    Happened event;
    event.kind = "trit";
    event.node = self_;
    event.text = probe::trit_name(trit);
    out(std::move(event));
  }
  balance::LocalState local;
  local.trit = trit;
  local.effective_ratio_micros = effective_micros_;
  local.cpus_millis = cpus;
  local.memory_total_bytes = sample_.memory_total_bytes;
  local.memory_free_bytes = sample_.memory_free_bytes;
  local.policy.accepts_jobs = accepts();
  local.policy.why_no_jobs = why_no_guests();
  local.policy.moves_jobs = config_.moves_jobs;
  local.policy.throttles = config_.no_throttle.empty();
  local.policy.drains = reach() == Reach::kAll;
  for (const auto& [id, job] : jobs_->all()) {
    const bool rests = job.rest != jobs::Rest::kNone;
    if (!job.here || !(job.launched || rests) || job.wait_status || ended_.contains(id)) continue;
    balance::JobFacts facts;
    facts.id = id;
    facts.epoch = job.epoch;
    facts.arrived = job.arrived;
    if (const Throttle* throttle = throttle_of(id)) {
      facts.throttled = throttle->limit_micros != 0;
      facts.throttle_is_persons = throttle->is_persons || throttle->is_owners;
      // What was stored before a restart may have come to the host only after it.
      facts.throttle_changed = std::max(throttle->changed, started_at_);
      if (facts.throttled) facts.state = balance::JobState::kThrottled;
    }
    for (const JobSample& measured : sample_.jobs) {
      if (measured.job != id) continue;
      const JobSample seen = counted(measured);
      facts.load_micros = seen.load_micros;
      facts.memory_bytes = seen.memory_bytes;
      facts.scum_micros = seen.scum_micros;
      facts.movable = seen.movable;
      facts.why_not = seen.why_not;
    }
    if (rests) rest_facts(job, facts);
    local.jobs.push_back(facts);
  }
  // First who is there: after a sleep that is not who was.
  to_gossip(gossip::LocalDigest{digest_fields()});
  local_ = std::move(local);
  to_balance(local_);
}

gossip::DigestFields Node::digest_fields() const {
  gossip::DigestFields fields;
  fields.effective_milli = std::min<std::int64_t>(effective_micros_ / 1000, 1'000'000'000);
  const std::int64_t ratio =
      probe::ratio_micros(sample_.load_micros, std::max<std::int64_t>(sample_.cpus_millis, 1));
  fields.ratio_milli = std::min<std::int64_t>(ratio / 1000, 1'000'000'000);
  fields.trit = probe::trit_value(trit_.trit());
  fields.cpus_milli = std::clamp<std::int64_t>(sample_.cpus_millis, 1, 1'000'000'000);
  fields.mem_total_bytes = static_cast<std::uint64_t>(sample_.memory_total_bytes);
  fields.mem_free_bytes = static_cast<std::uint64_t>(sample_.memory_free_bytes);
  for (const auto& [id, job] : jobs_->all()) {
    fields.jobs += job.here && job.launched ? 1 : 0;
    fields.parked += job.here && job.parked && !job.wait_status ? 1 : 0;
  }
  if (seat_) {
    gossip::Seat seat;
    seat.triad = seat_->triad;
    seat.role = seat_->seat == balance::Seat::kSource        ? gossip::SeatRole::kSource
                : seat_->seat == balance::Seat::kCoordinator ? gossip::SeatRole::kCoordinator
                                                             : gossip::SeatRole::kSink;
    seat.term = seat_->term;
    fields.seat = seat;
  }
  fields.power = static_cast<gossip::Power>(sample_.owner.power.state);
  fields.capabilities = config_.capabilities | kKnowsPaused;
  // Nobody is offered work before the first sample says what this node has.
  fields.accepts_jobs = accepts() && sampled_;
  fields.addresses = config_.addresses;
  fields.version = config_.version;
  return fields;
}

// ---- out of balance

void Node::take(balance::Action& action) {
  if (auto* message = std::get_if<balance::Send>(&action)) {
    const Agreement agreement{std::move(message->bytes), whereabouts_of(message->meets)};
    for (const Whereabouts& other : agreement.meets) meet(other);
    return send(message->to, agreement);
  }
  if (auto* record = std::get_if<balance::Persist>(&action)) {
    return persist(std::move(record->changes), record->id, kBalance);
  }
  if (const auto* seat = std::get_if<balance::SeatChanged>(&action)) {
    seat_ = seat->seat;
    Happened event;
    event.kind = "seat";
    event.node = self_;
    if (seat_) {
      event.text = (seat_->seat == balance::Seat::kSource        ? "source"
                    : seat_->seat == balance::Seat::kCoordinator ? "coordinator"
                                                                 : "sink") +
                   std::string(" in triad ") + seat_->triad.brief() + ", term " +
                   std::to_string(seat_->term.value) + (seat_->leads ? ", in office" : "");
    } else {
      event.text = "none";
    }
    out(std::move(event));
    return to_gossip(gossip::LocalDigest{digest_fields()});
  }
  if (const auto* owner = std::get_if<balance::OwnerChanged>(&action)) return take_owner(*owner);
  if (const auto* event = std::get_if<balance::HandoverEvent>(&action)) {
    return take_handover(*event);
  }
  if (const auto* person = std::get_if<balance::PersonReply>(&action)) {
    return take_person_reply(*person);
  }
  if (const auto* wake = std::get_if<balance::WakeHere>(&action)) {
    to_jobs(jobs::WakeAsked{wake->job});
    return on_local();  // it counts from now on
  }
  if (std::holds_alternative<balance::Advised>(action)) return;  // shown by later commands
  if (const auto* throttle = std::get_if<balance::SetThrottle>(&action)) {
    return throttle_by_rule(*throttle);
  }
  CHECK(is_host_operation(action));
  if (const auto* freeze = std::get_if<balance::FreezeAndStream>(&action)) {
    timings_.try_emplace(freeze->id, Timing{now_, std::nullopt});
  }
  out(HandoverOrder{action});
}

// ---- out of jobs

void Node::take(const jobs::Action& action) {
  if (const auto* record = std::get_if<jobs::Keep>(&action)) {
    return persist({{record->key, record->value}}, record->id, kJobs);
  }
  if (const auto* announce = std::get_if<jobs::Announce>(&action)) {
    return to_balance(balance::JobStarted{announce->job});
  }
  if (const auto* over = std::get_if<jobs::OverHere>(&action)) {
    return to_balance(balance::JobEnded{over->job});
  }
  if (const auto* stored = std::get_if<jobs::Stored>(&action)) {
    return out(MoveStored{stored->job});
  }
  if (const auto* tell = std::get_if<jobs::Tell>(&action)) return send(tell->to, tell->message);
  if (const auto* changed = std::get_if<jobs::Changed>(&action)) {
    Happened event;
    event.kind = changed->what == "output" ? "output" : "job";
    event.node = self_;
    event.job = changed->job;
    event.text = changed->what;
    out(std::move(event));
    return changed->what == "queued" ? on_queued(changed->job) : void();
  }
  out(JobOrder{action});
  if (const auto* attend = std::get_if<jobs::Attend>(&action)) {
    attended_.insert(attend->spec.id);  // its limit is said again once it is seen
  }
}

void Node::persist(std::vector<balance::RecordChange> changes, std::uint64_t inner, int owner) {
  const std::uint64_t id = next_persist_++;
  persisting_[id] = {owner, inner};
  out(Persist{id, std::move(changes)});
}

void Node::send(NodeId to, const Message& message) {
  if (to == self_) {
    // A job's home and host may be the same node; no wire lies between them.
    return on_message(self_, message);
  }
  out(SendMessage{to, addresses_of(to), encode(message)});
}

}  // namespace node
