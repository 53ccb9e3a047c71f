#include "balance/group.h"

#include <algorithm>

namespace balance {

using base::Time;
using group::Role;

namespace {

void check_config(const group::Config& config) {
  CHECK(config.members.size() >= 2);
  CHECK(config.members.size() <= kGroupMembersMax);
  for (std::size_t i = 0; i < config.members.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(config.members[i].node != config.members[j].node);
  }
  CHECK(config.timings.heartbeat < config.timings.sticky);
  CHECK(config.timings.sticky < config.timings.preferred_min);
  CHECK(config.timings.preferred_min <= config.timings.preferred_max);
  CHECK(config.timings.preferred_max < config.timings.election_min);
  CHECK(config.timings.election_min <= config.timings.election_max);
}

base::Status check_recovered(const group::Config& config, const group::Recovered& recovered) {
  if (recovered.hard.term.value > group::kTermMax) {
    return base::fail(base::Code::kInvalid, "the stored term is out of range");
  }
  if (recovered.entries.size() >= kGroupLogMax) {
    return base::fail(base::Code::kInvalid, "the stored log is longer than any log gets");
  }
  base::Term before{1};
  for (const group::Entry& entry : recovered.entries) {
    if (entry.term < before || entry.term > recovered.hard.term) {
      return base::fail(base::Code::kInvalid, "the terms of the stored log are out of order");
    }
    if (entry.payload.size() > kGroupPayloadBytesMax) {
      return base::fail(base::Code::kInvalid, "an entry of the stored log is too large");
    }
    before = entry.term;
  }
  if (!recovered.hard.voted_for) return {};
  for (const group::MemberConfig& member : config.members) {
    if (member.voter && member.node == *recovered.hard.voted_for) return {};
  }
  return base::fail(base::Code::kInvalid, "the stored vote is for no voter of this group");
}

}  // namespace

base::Result<Group> Group::open(group::Config config, group::Recovered recovered, base::Rng rng,
                                Time now) {
  check_config(config);
  if (auto status = check_recovered(config, recovered); !status) return status.error();
  return Group(std::move(config), std::move(recovered), rng, now);
}

Group::Group(group::Config config, group::Recovered recovered, base::Rng rng, Time now)
    : config_(std::move(config)),
      self_(position(config_.self)),
      preferred_(position(config_.preferred)),
      rng_(rng),
      hard_(recovered.hard),
      log_(config_.form, std::move(recovered.entries)),
      stored_last_(log_.last()),
      durable_(log_.last()) {
  CHECK(self_ != kNobody);
  CHECK(preferred_ != kNobody);
  CHECK(votes(preferred_));
  for (Peer& peer : peers_) peer.last_contact = now;
  draw_deadline(now);
  if (self_ == preferred_) {
    election_at_ = now + rng_.between(base::Duration{0}, config_.timings.preferred_first_max);
  }
}

group::Actions Group::step(Time now, const group::Event& event) {
  std::visit([&](const auto& e) { on(now, e); }, event);
  finish_step();
  return std::exchange(out_, {});
}

Time Group::next_deadline() const { return std::min(election_at_, resend_at_); }

bool Group::in_office() const {
  return is_leader() && log_.at(std::min(commit_, durable_)).term == hard_.term;
}

std::optional<base::NodeId> Group::leader() const {
  if (leader_ == kNobody) return std::nullopt;
  return config_.members[leader_].node;
}

std::vector<group::MemberView> Group::members() const {
  std::vector<group::MemberView> out;
  for (std::size_t i = 0; i < config_.members.size(); ++i) {
    const Peer& peer = peers_[i];
    group::MemberView view{config_.members[i].node, votes(i),   peer.match, peer.commit,
                           peer.last_contact,       peer.forgot};
    if (i == self_) {
      view.match = durable_;
      view.commit = commit_;
      view.last_contact = base::kNever;
    }
    out.push_back(view);
  }
  return out;
}

// ---- events

void Group::on(Time now, const group::Received& event) {
  const std::size_t from = position(event.from);
  if (from == kNobody || from == self_) {
    ++counters_.not_member;
    return;
  }
  const auto decoded = group::decode(event.bytes);
  if (!decoded) {
    ++counters_.undecodable;
    return;
  }
  const group::Message& message = *decoded;
  if (!heard(from, message)) return;
  if (message.term > hard_.term) follow(now, message.term, kNobody);  // §5.1
  std::visit([&](const auto& body) { receive(now, from, body, message.term); }, message.body);
}

void Group::on(Time now, const group::Persisted& event) {
  CHECK(event.id <= last_write_);
  if (event.id <= done_write_) return;
  done_write_ = event.id;
  while (!writes_.empty() && writes_.front().id <= done_write_) {
    durable_ = writes_.front().last;
    writes_.pop_front();
  }
  if (role_ == Role::kCandidate && done_write_ >= stand_write_) {
    peers_[self_].granted = true;
    if (majority_granted()) take_office(now);
  } else if (is_leader()) {
    count_copies();
  }
}

void Group::on(Time /*now*/, const group::Propose& event) {
  const auto refuse = [&](base::Code code) { out_.push_back(group::ProposalRefused{code}); };
  const std::size_t room = event.closing ? kGroupPayloadsMax : kGroupOrdinaryMax;
  if (!is_leader()) return refuse(base::Code::kRefused);
  if (event.payload.empty()) return refuse(base::Code::kInvalid);
  if (event.payload.size() > kGroupPayloadBytesMax) return refuse(base::Code::kTooLarge);
  if (log_.payloads() >= room) return refuse(base::Code::kFull);
  if (log_.last().value >= kGroupLogMax) return refuse(base::Code::kFull);
  append_own({hard_.term, event.payload});
  out_.push_back(group::Proposed{log_.last(), hard_.term});
  replicate_all();
}

void Group::on(Time now, const group::Tick& /*event*/) {
  if (now >= election_at_) {
    campaign(now);
  } else if (now >= resend_at_ && !is_leader()) {
    ask_for_votes(now);
  } else if (now >= resend_at_ && !quorum_heard(now)) {
    follow(now, hard_.term, kNobody);
  } else if (now >= resend_at_) {
    resend_at_ = now + config_.timings.heartbeat;
    beat(now);
  }
}

// ---- elections (§5.2, §5.4.1; thesis §9.6)

void Group::receive(Time now, std::size_t from, const group::PreVote& body, base::Term term) {
  const bool has_leader =
      is_leader() || (leader_ != kNobody && now - heard_leader_ < config_.timings.sticky);
  const bool grant = term == hard_.term && body.end >= log_.end() && !has_leader;
  send(from, group::PreVoteReply{grant, term});
}

void Group::receive(Time now, std::size_t from, const group::PreVoteReply& body,
                    base::Term /*term*/) {
  if (role_ != Role::kPreCandidate || body.asked_term != hard_.term || !body.granted) return;
  peers_[from].granted = true;
  if (majority_granted()) stand(now);
}

void Group::receive(Time now, std::size_t from, const group::Vote& body, base::Term term) {
  const base::NodeId& candidate = config_.members[from].node;
  const bool free = !hard_.voted_for || *hard_.voted_for == candidate;
  const bool grant = term == hard_.term && free && body.end >= log_.end();
  if (grant) {
    set_hard({hard_.term, candidate});
    role_ = Role::kFollower;  // a pre-candidate gives up its own attempt
    resend_at_ = base::kNever;
    draw_deadline(now);
  }
  send(from, group::VoteReply{grant});
}

void Group::receive(Time now, std::size_t from, const group::VoteReply& body, base::Term term) {
  if (role_ != Role::kCandidate || term != hard_.term || !body.granted) return;
  peers_[from].granted = true;
  if (majority_granted()) take_office(now);
}

std::size_t Group::position(const base::NodeId& node) const {
  for (std::size_t i = 0; i < config_.members.size(); ++i) {
    if (config_.members[i].node == node) return i;
  }
  return kNobody;
}

// Whether a decoded message may be listened to at all. Before this nothing changes.
bool Group::heard(std::size_t from, const group::Message& message) {
  if (message.group != config_.id) {
    ++counters_.wrong_group;
    return false;
  }
  if (message.store != config_.members[from].store) {
    ++counters_.wrong_store;
    return false;
  }
  if (message.incarnation < peers_[from].life) {
    ++counters_.stale_life;
    return false;
  }
  const auto& body = message.body;
  const bool to_voters = !std::holds_alternative<group::Append>(body) &&
                         !std::holds_alternative<group::AppendReply>(body);
  const bool from_voters = !std::holds_alternative<group::AppendReply>(body);
  if ((to_voters && !votes(self_)) || (from_voters && !votes(from))) {
    ++counters_.against_rules;
    return false;
  }
  peers_[from].life = message.incarnation;
  return true;
}

std::size_t Group::majority() const {
  std::size_t voters = 0;
  for (const group::MemberConfig& member : config_.members) voters += member.voter ? 1 : 0;
  return voters / 2 + 1;
}

bool Group::majority_granted() const {
  std::size_t granted = 0;
  for (std::size_t i = 0; i < config_.members.size(); ++i) {
    granted += votes(i) && peers_[i].granted ? 1 : 0;
  }
  return granted >= majority();
}

void Group::draw_deadline(Time now) {
  if (!votes(self_)) return;
  const GroupTimings& t = config_.timings;
  election_at_ = now + (self_ == preferred_ ? rng_.between(t.preferred_min, t.preferred_max)
                                            : rng_.between(t.election_min, t.election_max));
}

void Group::set_hard(const group::HardState& hard) {
  if (hard == hard_) return;
  hard_ = hard;
  hard_dirty_ = true;
}

// To follower of `term`, which is at least the current one; kNobody if its leader is not known.
void Group::follow(Time now, base::Term term, std::size_t leader) {
  const bool led = is_leader();
  if (led) out_.push_back(group::SteppedDown{hard_.term});
  if (term > hard_.term) set_hard({term, std::nullopt});
  role_ = Role::kFollower;
  leader_ = leader;
  resend_at_ = base::kNever;
  if (leader != kNobody) heard_leader_ = now;
  // A higher term alone does not renew patience, else a member that cannot win could keep the
  // others from trying.
  if (led || leader != kNobody) draw_deadline(now);
}

void Group::campaign(Time now) {
  draw_deadline(now);
  // A slow disk gets no second candidacy on top of the first, else its queue would only grow.
  if (!writes_.empty()) return;
  leader_ = kNobody;
  role_ = Role::kFollower;
  resend_at_ = base::kNever;
  // No room for the entry that would open the term, or no term left.
  if (log_.last().value >= kGroupLogMax || hard_.term.value >= group::kTermMax) return;
  role_ = Role::kPreCandidate;
  for (Peer& peer : peers_) peer.granted = false;
  peers_[self_].granted = true;
  if (majority_granted()) {
    stand(now);
  } else {
    ask_for_votes(now);
  }
}

void Group::stand(Time now) {
  role_ = Role::kCandidate;
  set_hard({hard_.term.next(), config_.self});
  stand_write_ = last_write_.next();  // this step's: its own vote counts when that is done
  for (Peer& peer : peers_) peer.granted = false;
  draw_deadline(now);
  ask_for_votes(now);
}

void Group::ask_for_votes(Time now) {
  resend_at_ = now + config_.timings.heartbeat;
  const bool repeats_what_waits = !hard_dirty_ && !held_.empty();
  if (repeats_what_waits) return;
  for (std::size_t i = 0; i < config_.members.size(); ++i) {
    if (i == self_ || !votes(i) || peers_[i].granted) continue;
    if (role_ == Role::kPreCandidate) send(i, group::PreVote{log_.end()});
    if (role_ == Role::kCandidate) send(i, group::Vote{log_.end()});
  }
}

void Group::take_office(Time now) {
  role_ = Role::kLeader;
  leader_ = self_;
  election_at_ = base::kNever;
  resend_at_ = now + config_.timings.heartbeat;
  for (Peer& peer : peers_) {
    peer.next = log_.last().next();
    peer.match = base::LogIndex{0};
    peer.commit = base::LogIndex{0};
    peer.match_life = peer.life;
    peer.last_contact = now;
  }
  out_.push_back(group::BecameLeader{hard_.term});
  append_own({hard_.term, {}});
  replicate_all();
}

// ---- writes, and what waits for them

void Group::send(std::size_t to, group::Body body) {
  if (held_.size() >= kGroupHeldMax) {
    ++counters_.held_dropped;
    return;
  }
  const bool dirty = hard_dirty_ || rewrite_from_.has_value();
  const group::Message message{config_.id, config_.members[self_].store, config_.incarnation,
                               hard_.term, std::move(body)};
  held_.push_back({dirty ? last_write_.next() : last_write_,
                   {config_.members[to].node, group::encode(message)}});
}

void Group::finish_step() {
  if (hard_dirty_ || rewrite_from_) {
    last_write_ = last_write_.next();
    group::Persist write{last_write_, std::nullopt, std::nullopt};
    if (hard_dirty_) write.hard = hard_;
    if (rewrite_from_) {
      const auto tail = log_.from(*rewrite_from_);
      write.log = group::Persist::Rewrite{*rewrite_from_, stored_last_, {tail.begin(), tail.end()}};
      stored_last_ = log_.last();
    }
    writes_.push_back({last_write_, log_.last()});
    out_.push_back(std::move(write));
    hard_dirty_ = false;
    rewrite_from_.reset();
  }
  while (!held_.empty() && held_.front().after <= done_write_) {
    out_.push_back(std::move(held_.front().send));
    held_.pop_front();
  }
  deliver();
}

}  // namespace balance
