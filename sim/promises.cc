#include "sim/promises.h"

#include <algorithm>
#include <tuple>
#include <variant>

#include "balance/group_wire.h"
#include "balance/limits.h"
#include "balance/wire.h"
#include "gossip/limits.h"
#include "node/limits.h"
#include "sim/world.h"

namespace sim {
namespace {

// What a core counts from its own word, the world counts from the deed: it may lag by this.
constexpr base::Duration kResidenceSlack = std::chrono::seconds(12);
constexpr std::uint32_t kEntriesRead = 32;    // of views at a rescan, for each host of the world
constexpr std::uint32_t kWindowRescans = 15;  // a minute
constexpr base::Duration kQuietAfter = std::chrono::seconds(60);
constexpr std::uint32_t kAstrayMax = 2;  // rescans
constexpr base::Duration kDeadUntriedMax = 15 * gossip::kDeadProbe;
constexpr base::Duration kRenewalLate = std::chrono::seconds(10);
constexpr base::Duration kRenewalsSpread = std::chrono::seconds(30);
constexpr base::Duration kJustHeard = std::chrono::seconds(2);  // less than any patience

std::string brief(const balance::HandoverId& id) {
  return "job " + id.job.brief() + " epoch " + std::to_string(id.epoch.value) + " in triad " +
         id.triad.brief();
}

}  // namespace

void Promises::broke(const char* promise, std::uint32_t host, std::string detail) {
  if (violations_.size() >= kViolationsMax) return;
  if (!seen_.insert(std::string(promise) + "/" + std::to_string(host)).second) return;
  violations_.push_back({promise, world_.elapsed(), host, std::move(detail)});
}

void Promises::broke_job(const char* promise, std::uint32_t host, std::uint32_t job,
                         std::string detail) {
  if (!tainted_job(job)) broke(promise, host, "job " + std::to_string(job) + ": " + detail);
}

void Promises::taint(std::uint32_t host) {
  const base::NodeId& node = world_.id(host);
  tainted_nodes_.insert(node);
  for (const auto& [triad, form] : forms_) {
    if (form.member(node) != nullptr) tainted_triads_.insert(triad);
  }
  for (const Copy& copy : world_.machine(host).copies()) {
    tainted_jobs_.insert(world_.jobs()[copy.job].id);
  }
  for (const auto& [job, id] : begun_) {
    if (tainted(id.triad) && is_under_way(job, id)) tainted_jobs_.insert(id.job);
  }
}

// Whether what a member of its triad says can still matter to the job.
bool Promises::is_under_way(std::uint32_t job, const balance::HandoverId& id) const {
  for (const balance::Member& member : forms_.at(id.triad).members) {
    const std::uint32_t host = world_.host_of(member.node);
    if (host == kNobody) continue;
    if (const Seated* seat = seated(host); seat != nullptr && seat->triad == id.triad) return true;
    const Copy* copy = world_.machine(host).find(job);
    if (copy != nullptr && copy->frozen && copy->frozen_for == id) return true;
    const auto arrival = world_.incoming(host).find(id);
    if (arrival != world_.incoming(host).end() && arrival->second.state == Incoming::kHeld) {
      return true;
    }
  }
  return false;
}

bool Promises::tainted(const base::TriadId& triad) const { return tainted_triads_.contains(triad); }

bool Promises::tainted_job(std::uint32_t job) const {
  return job == kNobody || tainted_jobs_.contains(world_.jobs()[job].id);
}

bool Promises::excused_host(std::uint32_t host) const {
  return tainted_nodes_.contains(world_.id(host));
}

const balance::FormRecord* Promises::form(const base::TriadId& triad) const {
  const auto found = forms_.find(triad);
  return found == forms_.end() ? nullptr : &found->second;
}

std::optional<balance::Decision> Promises::outcome(const balance::HandoverId& id) const {
  const auto found = outcomes_.find(id);
  return found == outcomes_.end() ? std::nullopt : std::optional(found->second);
}

const Promises::Seated* Promises::seated(std::uint32_t host) const {
  return host < seated_.size() && seated_[host] ? &*seated_[host] : nullptr;
}

// ---- elections

void Promises::stepped(std::uint32_t host) {
  ++checks_;
  const node::Node* node = world_.node(host);
  if (host >= seated_.size()) seated_.resize(world_.hosts());
  std::optional<Seated>& seated = seated_[host];
  if (node == nullptr || !node->seat()) return seated.reset();
  if (!seated || seated->triad != node->seat()->triad) {
    seated = {node->seat()->triad, world_.now()};
  }
  if (!node->seat()->leads) return;
  const balance::SeatInfo& seat = *node->seat();
  if (tainted(seat.triad)) return;
  const auto [found, fresh] =
      coordinators_.try_emplace(std::make_pair(seat.triad, seat.term), world_.id(host));
  if (fresh) agreements_.leads(host, seat.triad, seat.term);
  agreements_.still_leads(host, seat.triad, seat.term);
  if (!fresh && found->second != world_.id(host)) {
    broke("one-coordinator", host,
          "triad " + seat.triad.brief() + " term " + std::to_string(seat.term.value));
  }
}

void Promises::sends(std::uint32_t host, const node::SendMessage& message) {
  if (message.bytes.size() > node::kMessageSizeMax) {
    broke("limits", host, "a message of " + std::to_string(message.bytes.size()));
  }
  if (message.to == world_.id(host)) broke("limits", host, "a message to itself");
  auto decoded = node::decode_message(message.bytes);
  if (!decoded) return broke("own-records", host, "a message that cannot be read");
  agreements_.says(host, *decoded);
  const auto* agreement = std::get_if<node::Agreement>(&*decoded);
  if (agreement == nullptr) return;
  auto inner = balance::wire::decode(agreement->bytes);
  if (!inner) return broke("own-records", host, "an agreement message that cannot be read");
  agreements_.says(host, *inner);
  const auto* group = std::get_if<balance::wire::GroupMessage>(&inner->body);
  if (group == nullptr) return;
  auto raft = balance::group::decode(group->bytes);
  if (!raft) return broke("own-records", host, "a Raft message that cannot be read");
  agreements_.says_in_group(host, message.to, *raft);
  const auto* vote = std::get_if<balance::group::VoteReply>(&raft->body);
  if (vote == nullptr || !vote->granted || tainted(raft->group)) return;
  Votes& known = votes_[{raft->group, raft->store}];
  if (known.term == raft->term && known.candidate != message.to) {
    broke("one-vote", host,
          "two votes in term " + std::to_string(raft->term.value) + " of triad " +
              raft->group.brief());
  }
  if (known.term < raft->term) known = {raft->term, message.to};
}

void Promises::hears(std::uint32_t host, base::ByteView message) {
  auto decoded = node::decode_message(message);
  if (!decoded) return;
  if (const auto* ack = std::get_if<node::HereAck>(&*decoded)) agreements_.hears(host, *ack);
  const auto* agreement = std::get_if<node::Agreement>(&*decoded);
  if (agreement == nullptr) return;
  if (auto inner = balance::wire::decode(agreement->bytes)) agreements_.hears(host, *inner);
}

// ---- what is durable

void Promises::persists(std::uint32_t host, const node::Persist& batch) {
  agreements_.stores(host, batch);
  for (const balance::RecordChange& change : batch.changes) {
    if (change.key.rfind("lin/", 0) == 0 && change.value) check_linger(host, *change.value);
    if (change.key.rfind("tri/", 0) != 0) continue;
    auto triad = balance::parse_triad_key(change.key);
    if (!triad) continue;
    if (change.key == balance::form_key(*triad)) {
      if (change.value) {
        check_form(host, *triad, *change.value);
      } else {
        holds_[host].erase(*triad);
      }
    }
    if (change.key == balance::hard_key(*triad) && change.value) {
      check_hard_state(host, *triad, *change.value);
    }
  }
}

void Promises::check_form(std::uint32_t host, const base::TriadId& triad, base::ByteView value) {
  auto stored = balance::decode_stored_form(value);
  if (!stored) return broke("own-records", host, "a form record that cannot be read");
  const balance::FormRecord& form = stored->form;
  const auto [found, fresh] = forms_.emplace(triad, form);
  if (!fresh && balance::encode(found->second) != balance::encode(form)) {
    broke("members-agree", host, "two form records of triad " + triad.brief());
  }
  int sum = 0;
  for (const balance::Member& member : form.members) {
    sum += static_cast<int>(member.seat);
    if (tainted_nodes_.contains(member.node)) tainted_triads_.insert(triad);
  }
  if (sum % 3 != 0) broke("seats-sum", host, "triad " + triad.brief());
  holds_[host].insert(triad);
  if (holds_[host].size() > 1 && !tainted(triad)) {
    broke("one-seat", host, "two durable form records, one of triad " + triad.brief());
  }
}

// A dissolved triad holds no seat any more; what it keeps is an outcome.
void Promises::check_linger(std::uint32_t host, base::ByteView value) {
  auto lingers = balance::decode_linger(value);
  if (!lingers) return broke("own-records", host, "an outcome that cannot be read");
  const balance::OutcomeEntry& outcome = lingers->outcome;
  learn_outcome(host, {balance::triad_id_of(lingers->stored.form), outcome.job, outcome.epoch},
                outcome.decision);
}

void Promises::check_hard_state(std::uint32_t host, const base::TriadId& triad,
                                base::ByteView value) {
  auto hard = balance::group::decode_hard_state(value);
  if (!hard) return broke("own-records", host, "a vote that cannot be read");
  if (tainted(triad)) return;
  Votes& known = votes_[{triad, world_.store(host)}];
  if (hard->term < known.term) {
    broke("terms-grow", host,
          "triad " + triad.brief() + " from term " + std::to_string(known.term.value) + " to " +
              std::to_string(hard->term.value));
  }
  if (!hard->voted_for) return;
  if (known.term == hard->term && known.candidate != *hard->voted_for) {
    broke("one-vote", host,
          "two votes in term " + std::to_string(hard->term.value) + " of triad " + triad.brief());
  }
  if (known.term < hard->term) known = {hard->term, *hard->voted_for};
}

// By its own patience, or on another's word: not right after it heard from it.
void Promises::happens(std::uint32_t host, const node::Happened& what) {
  if (what.kind != "death" || excused_host(host)) return;
  const std::uint32_t other = world_.host_of(what.node);
  if (other == kNobody || excused_host(other)) return;
  if (world_.now() - world_.heard(host, other) >= gossip::kRefusedMax) return;
  broke("slander", host, "it takes for dead whom it just heard: n" + std::to_string(other));
}

void Promises::logs(std::uint32_t host, base::LogLevel level, std::string_view event) {
  if (level != base::LogLevel::kError || excused_host(host)) return;
  if (event == "member_forgot" && tainted_nodes_.empty())
    broke("forgot", host, "a member of a triad");
  const bool damage = event.ends_with("_unreadable") || event == "triad_log_damaged";
  if (damage) broke("own-records", host, std::string(event));
}

// ---- jobs

void Promises::runs(std::uint32_t host, std::uint32_t job, base::Epoch epoch, const char* how) {
  answers_.runs(host, job);
  if (tainted_job(job)) return;
  for (const std::uint32_t other : world_.jobs()[job].places) {
    const Copy* copy = world_.machine(other).find(job);
    if (other == host || copy == nullptr || copy->frozen) continue;
    broke("one-runs", host,
          std::string(how) + " of job " + std::to_string(job) + " while it runs at n" +
              std::to_string(other));
  }
  base::Epoch& newest = epochs_[job];
  if (epoch < newest) {
    broke("epochs-grow", host,
          std::string(how) + " of job " + std::to_string(job) + " under epoch " +
              std::to_string(epoch.value) + " after " + std::to_string(newest.value));
  }
  newest = std::max(newest, epoch);
}

void Promises::destroyed(std::uint32_t host, std::uint32_t job, const char* how) {
  const JobTruth& truth = world_.jobs()[job];
  if (truth.ended || tainted_job(job) || world_.copies_of(job) != 0) return;
  broke("last-copy", host, std::string(how) + ": the last one of job " + std::to_string(job));
}

void Promises::begins(std::uint32_t host, const balance::FreezeAndStream& order) {
  const std::uint32_t job = world_.job_index(order.id.job);
  taint_job(order.id);
  if (begun_[job].epoch < order.id.epoch) begun_[job] = order.id;
  const auto form = forms_.find(order.id.triad);
  if (tainted_job(job) || form == forms_.end()) return;
  const JobTruth& truth = world_.jobs()[job];
  if (form->second.cause == balance::Cause::kPerson || truth.moves == 0) return;
  if (world_.now() - truth.arrived + kResidenceSlack < balance::kResidence) {
    broke("residence", host, brief(order.id) + " moves on by rule too soon");
  }
}

base::Epoch Promises::last_begun(std::uint32_t job) const {
  const auto found = begun_.find(job);
  return found == begun_.end() ? base::Epoch{} : found->second.epoch;
}

void Promises::handover(std::uint32_t host, const node::HandoverSummary& summary) {
  tried_to_wake_.insert(world_.job_index(summary.id.job));
  if (summary.outcome) learn_outcome(host, summary.id, *summary.outcome);
}

void Promises::learn_outcome(std::uint32_t host, const balance::HandoverId& id,
                             balance::Decision outcome) {
  if (tainted(id.triad)) return;
  const auto [found, fresh] = outcomes_.emplace(id, outcome);
  if (!fresh && found->second != outcome) broke("one-outcome", host, brief(id));
}

void Promises::limits(std::uint32_t host, const Copy& copy, std::int64_t micros) {
  answers_.limits(host, copy, micros);
  const node::Throttle* throttle = world_.node(host)->throttle_of(world_.jobs()[copy.job].id);
  if (throttle != nullptr && throttle->is_persons) return;
  if (copy.limit_micros == micros || copy.limited == base::Time{}) return;
  if (world_.has_owner(host)) return;  // she comes and goes as she likes
  if (answers_.awaits_limit(host, copy.job, micros) || answers_.takes_back(host, copy.job)) return;
  if (world_.now() - copy.limited + kResidenceSlack >= balance::kThrottleSpacing) return;
  broke_job("throttle-pace", host, copy.job, "its throttle was changed a moment ago");
}

// ---- now and then, everything

void Promises::rescan() {
  copies_now_.assign(world_.jobs().size(), 0);
  running_now_.assign(world_.jobs().size(), 0);
  for (std::uint32_t host = 0; host < world_.hosts(); ++host) {
    for (const Copy& copy : world_.machine(host).copies()) {
      ++copies_now_[copy.job];
      running_now_[copy.job] += copy.frozen ? 0U : 1U;
    }
    for (const auto& [id, arrival] : world_.incoming(host)) {
      const std::uint32_t job = world_.job_index(id.job);
      if (job != kNobody && arrival.state == Incoming::kHeld) ++copies_now_[job];
    }
  }
  for (std::uint32_t job = 0; job < copies_now_.size(); ++job) {
    const JobTruth& truth = world_.jobs()[job];
    if (tainted_job(job) || !truth.begun) continue;
    const std::uint32_t home = truth.plan.node;
    if (running_now_[job] > 1) broke("one-runs", home, "job " + std::to_string(job));
    if (!truth.ended && copies_now_[job] == 0) {
      broke("load-conserved", home, "job " + std::to_string(job) + " is nowhere");
    }
  }
  agreements_.rescan();
  rescan_views();
}

void Promises::move_window() {
  const std::uint32_t hosts = world_.hosts();
  const auto view = static_cast<std::uint32_t>(std::min<std::size_t>(hosts, gossip::kViewMax));
  window_size_ = hosts <= kEntriesRead ? hosts : hosts * kEntriesRead / view;
  made_.resize(window_size_);
  if (window_size_ == hosts || window_left_-- > 0) return;
  window_left_ = kWindowRescans - 1;
  window_at_ = (window_at_ + window_size_) % hosts;
  told_.clear();
  shown_.clear();
  std::fill(made_.begin(), made_.end(), std::nullopt);
}

const std::optional<Promises::Made>* Promises::in_window(
    const std::vector<std::optional<Made>>& made, std::uint32_t host) const {
  const std::uint32_t place = (host + world_.hosts() - window_at_) % world_.hosts();
  return place < made.size() ? &made[place] : nullptr;
}

std::vector<std::uint32_t> Promises::watched() const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t i = 0; i < window_size_; ++i) {
    out.push_back((window_at_ + i) % world_.hosts());
  }
  return out;
}

void Promises::rescan_views() {
  move_window();
  const bool quiet = world_.quiet_since() != base::kNever &&
                     world_.now() - world_.quiet_since() >= kQuietAfter &&
                     world_.hosts() <= gossip::kViewMax;
  if (quiet) meeting_ = Meeting(world_);
  made_now_.assign(window_size_, std::nullopt);
  seen_now_.clear();
  for (std::uint32_t i = 0; i < window_size_; ++i) {
    const std::uint32_t host = (window_at_ + i) % world_.hosts();
    const node::Node* node = world_.node(host);
    if (node == nullptr || world_.is_clone(host)) continue;
    const node::Status status = node->status();
    if (world_.hosts() <= kWatchedHostsMax) check_dead(host, status.nodes);
    for (const node::StatusNode& seen : status.nodes) {
      if (seen.self) {
        const Version version{seen.view.incarnation, seen.view.sequence};
        const bool same = made_[i] && made_[i]->version == version;
        const bool waits = same && !world_.asleep(host);
        made_now_[i] = Made{version, waits ? made_[i]->since : world_.now(), seen.view.fields};
        makes_none_since(host, made_now_[i]->since);
      } else {
        check_view(host, seen.view, quiet);
      }
    }
  }
  // Nobody shows what its origin has not made.
  for (const Seen& seen : seen_now_) {
    const auto* origin = in_window(made_now_, seen.origin);
    if (origin == nullptr || !*origin || !(seen.version > (*origin)->version)) continue;
    if (tainted_nodes_.contains(world_.id(seen.origin))) continue;
    broke("digest", seen.host, "it shows one that n" + std::to_string(seen.origin) + " never made");
  }
  std::swap(made_, made_now_);
}

void Promises::sends_datagram(std::uint32_t host, const base::Endpoint& to) {
  const auto found = dead_.find(host);
  if (found == dead_.end()) return;
  const std::vector<base::Endpoint>& at = found->second.at;
  if (std::find(at.begin(), at.end(), to) != at.end()) found->second.tried = world_.now();
}

void Promises::check_dead(std::uint32_t host, const std::vector<node::StatusNode>& nodes) {
  std::vector<base::Endpoint> at;
  bool known = true;
  for (const node::StatusNode& seen : nodes) {
    if (seen.self || seen.view.state != gossip::State::kDead) continue;
    at.push_back(seen.view.endpoint);
    known = known && seen.view.endpoint.port != 0;
  }
  Dead& dead = dead_[host];
  const bool waits = dead.life == world_.life(host) && !dead.at.empty() && !at.empty() && known;
  if (!waits || world_.asleep(host)) dead.tried = world_.now();
  dead.life = world_.life(host);
  dead.at = std::move(at);
  if (excused_host(host) || world_.now() - dead.tried <= kDeadUntriedMax) return;
  broke("tries-dead", host, "it has looked for none of those whom it takes for dead");
}

void Promises::makes_none_since(std::uint32_t host, base::Time then) {
  if (excused_host(host) || world_.now() - then <= gossip::kRenewInterval + kRenewalLate) return;
  broke("renews", host, "its digest is the one that it made long ago");
}

// Of what its origin has told, or had to tell, by the rescan before. A digest that only renews the
// one before it is left to the next comparison of views.
bool Promises::is_behind(const gossip::NodeView& view, const Made& made) const {
  const Version version{view.incarnation, view.sequence};
  if (version > made.version) return false;
  const auto facts = [](const gossip::DigestFields& f) {
    return std::tie(f.trit, f.seat, f.jobs, f.accepts_jobs, f.left);
  };
  if (view.readable && facts(view.fields) != facts(made.fields)) return true;
  const auto [low, high] = std::minmax(view.fields.mem_free_bytes, made.fields.mem_free_bytes);
  const bool memory = high - low > made.fields.mem_total_bytes / gossip::kMemoryStepPart;
  const bool ratio = std::abs(view.fields.effective_milli - made.fields.effective_milli) >=
                     gossip::kRatioStepMilli;
  if (view.readable && (memory || ratio)) return true;
  return version < made.version && world_.now() - made.since >= kRenewalsSpread;
}

void Promises::check_view(std::uint32_t host, const gossip::NodeView& view, bool quiet) {
  const std::uint32_t origin = world_.host_of(view.id);
  if (origin == kNobody) return broke("stranger", host, "it shows a node without a certificate");
  const Version version{view.incarnation, view.sequence};
  Shown& shown = shown_[(static_cast<std::uint64_t>(host) << 32) | origin];
  const bool same_life = shown.life == world_.life(host);
  if (tainted_nodes_.contains(view.id) || tainted_nodes_.contains(world_.id(host))) return;
  const bool was_let_go =
      world_.hosts() > gossip::kViewMax && view.known_since != shown.known_since;
  if (same_life && !was_let_go && version < shown.version) {
    broke("digest", host, "what it shows of n" + std::to_string(origin) + " went back");
  }
  shown = {world_.life(host), version, same_life ? shown.since : world_.now(), view.known_since,
           same_life ? shown.astray : 0};
  seen_now_.push_back({host, origin, version});
  // Who was not known yet when he was heard may come in as dead, on another's word.
  const base::Time heard = world_.heard(host, origin);
  if (view.state == gossip::State::kDead && heard >= shown.since &&
      world_.now() - heard < kJustHeard) {
    broke("slander", host, "dead here, and just heard: n" + std::to_string(origin));
  }
  // It may try the digest's address, or a packet overtook the newest: not for long.
  const bool astray = view.state == gossip::State::kAlive && view.endpoint.port != 0 &&
                      heard >= shown.since && heard > world_.born(origin) &&
                      view.endpoint != world_.endpoint_of(origin);
  shown.astray = astray ? shown.astray + 1 : 0;
  if (shown.astray > kAstrayMax) {
    broke("address", host, "it answers n" + std::to_string(origin) + " where he was");
  }
  const auto* before = in_window(made_, origin);
  if (quiet && meeting_.finds(host, origin) && before != nullptr && *before &&
      world_.node(origin) != nullptr && is_behind(view, **before)) {
    broke("spreads", host, "it does not show the news of n" + std::to_string(origin));
  }
  if (!view.readable) return;
  Told& told = told_[origin];
  if (version < told.version) return;
  if (version == told.version && !(told.fields == view.fields)) {
    broke("digest", host, "what it shows of n" + std::to_string(origin));
  }
  told.version = version;
  told.fields = view.fields;
}

}  // namespace sim
