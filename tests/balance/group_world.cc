#include "group_world.h"

#include "group_rig.h"

namespace balance {

using base::Term;
using base::Time;

GroupWorld::GroupWorld(std::uint64_t seed, bool pair)
    : rng_(seed), pair_(pair), now_(kStart), next_cut_(kStart), next_proposal_(kStart) {
  nodes_ = pair ? std::vector{kA, kB} : std::vector{kA, kB, kC};
  members_.resize(nodes_.size());
  for (std::size_t i = 0; i < nodes_.size(); ++i) start(i);
}

void GroupWorld::fail(std::string what) {
  if (violations_.size() < 5) violations_.push_back(std::move(what));
}

std::size_t GroupWorld::position(const base::NodeId& node) const {
  return static_cast<std::size_t>(std::find(nodes_.begin(), nodes_.end(), node) - nodes_.begin());
}

void GroupWorld::set_faults(const Faults& faults) {
  faults_ = faults;
  cut_.clear();
}

void GroupWorld::at(Time when, Happening happening) {
  queue_.emplace(std::pair{when, sequence_++}, std::move(happening));
}

void GroupWorld::start(std::size_t who) {
  Member& member = members_[who];
  member.life = member.life.next();
  member.told = 1;
  member.writes.clear();
  member.disk_free = now_;
  auto config =
      pair_ ? pair_of(nodes_[who], member.life.value) : trio(nodes_[who], member.life.value);
  auto group = Group::open(std::move(config), member.disk, base::Rng(rng_.next()), now_);
  if (!group) return fail("recovery refused: " + group.error().detail);
  member.group.emplace(std::move(*group));
}

// What was asked for but not confirmed may be on the disk or not, in order.
void GroupWorld::crash(std::size_t who) {
  Member& member = members_[who];
  const std::uint64_t kept = rng_.below(member.writes.size() + 1);
  for (std::uint64_t i = 0; i < kept; ++i) {
    Rig::apply(member.writes[static_cast<std::size_t>(i)], member.disk);
  }
  member.writes.clear();
  member.group.reset();
  ++crashes_;
  at(now_ + rng_.between(base::Duration{0}, std::chrono::seconds(4)), Restart{who});
}

void GroupWorld::maybe_crash(std::size_t who) {
  if (members_[who].group && rng_.below(1000) < faults_.crash_permille) crash(who);
}

void GroupWorld::run(base::Duration duration) {
  const Time until = now_ + duration;
  while (violations_.empty()) {
    Time next = std::min(next_proposal_, next_cut_);
    std::size_t timer = members_.size();
    if (!queue_.empty()) next = std::min(next, queue_.begin()->first.first);
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (members_[i].group && members_[i].group->next_deadline() < next) {
        next = members_[i].group->next_deadline();
        timer = i;
      }
    }
    if (next > until) break;
    now_ = std::max(now_, next);
    if (timer < members_.size()) {
      step(timer, group::Tick{});
    } else if (!queue_.empty() && queue_.begin()->first.first <= now_) {
      const Happening happening = std::move(queue_.begin()->second);
      queue_.erase(queue_.begin());
      happen(happening);
    } else if (next_proposal_ <= now_) {
      propose();
    } else {
      next_cut_ = now_ + std::chrono::seconds(2);
      cut_.clear();
      for (std::size_t a = 0; a < members_.size(); ++a) {
        for (std::size_t b = 0; b < members_.size(); ++b) {
          if (rng_.below(100) < faults_.cut_percent) cut_.insert({a, b});
        }
      }
    }
  }
  now_ = std::max(now_, until);
}

void GroupWorld::propose() {
  next_proposal_ =
      now_ + rng_.between(std::chrono::milliseconds(50), std::chrono::milliseconds(600));
  ++proposals_;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (!members_[i].group || !members_[i].group->is_leader()) continue;
    step(i, group::Propose{bytes_of("p" + std::to_string(proposals_) + "@" + std::to_string(i))});
  }
}

bool GroupWorld::decides_within(base::Duration patience) {
  const std::size_t before = decided_.empty() ? 1 : decided_.rbegin()->first;
  const Time until = now_ + patience;
  while (now_ < until && violations_.empty()) {
    run(std::chrono::milliseconds(100));
    bool all = true;
    for (const Member& member : members_) all = all && member.group && member.told > before;
    if (all) return true;
  }
  return false;
}

void GroupWorld::happen(const Happening& happening) {
  if (const auto* delivery = std::get_if<Delivery>(&happening)) {
    if (!members_[delivery->to].group) return;
    step(delivery->to, group::Received{nodes_[delivery->from], delivery->bytes});
  } else if (const auto* done = std::get_if<DiskDone>(&happening)) {
    Member& member = members_[done->member];
    if (!member.group || member.life != done->life) return;
    const group::Persist write = member.writes.front();
    member.writes.pop_front();
    Rig::apply(write, member.disk);
    check_log_matching();
    maybe_crash(done->member);  // on the disk, but never confirmed
    if (member.group) step(done->member, group::Persisted{write.id});
  } else {
    const std::size_t who = std::get<Restart>(happening).member;
    if (!members_[who].group) start(who);
  }
}

void GroupWorld::step(std::size_t who, const group::Event& event) {
  const group::Actions actions = members_[who].group->step(now_, event);
  for (const group::Action& action : actions) {
    perform(who, action);
    if (!members_[who].group) return;  // crashed between two actions
  }
  const group::Counters& counters = members_[who].group->counters();
  if (counters.against_rules != 0) fail("a correct member was accused");
  if (counters.undecodable != 0) fail("a correct member's message did not decode");
  maybe_crash(who);
}

void GroupWorld::perform(std::size_t who, const group::Action& action) {
  trace_ = trace_ * 1099511628211ull + action.index() + 7 * who +
           static_cast<std::uint64_t>(now_.time_since_epoch().count());
  Member& member = members_[who];
  if (const auto* send = std::get_if<group::Send>(&action)) {
    check_durable(who, *send);
    post(who, *send);
  } else if (const auto* write = std::get_if<group::Persist>(&action)) {
    member.writes.push_back(*write);
    member.disk_free =
        std::max(member.disk_free, now_) + rng_.between(base::Duration{0}, faults_.disk_max);
    at(member.disk_free, DiskDone{who, member.life});
    maybe_crash(who);
  } else if (const auto* leader = std::get_if<group::BecameLeader>(&action)) {
    check_leader(who, leader->term);
  } else if (const auto* entry = std::get_if<group::Committed>(&action)) {
    check_committed(who, *entry);
  } else if (std::holds_alternative<group::Forgot>(action)) {
    fail("a member that keeps its disk was said to have forgotten");
  }
}

void GroupWorld::post(std::size_t from, const group::Send& send) {
  const std::size_t to = position(send.to);
  if (cut_.contains({from, to}) || rng_.below(100) < faults_.loss_percent) return;
  const int copies = rng_.below(100) < faults_.double_percent ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    at(now_ + rng_.between(base::Duration{0}, faults_.delay_max), Delivery{from, to, send.bytes});
  }
}

bool GroupWorld::holds(std::size_t who, std::uint64_t index, Term term) const {
  const auto& entries = members_[who].disk.entries;
  if (index == 1) return term.value == 0;
  return index - 2 < entries.size() && entries[static_cast<std::size_t>(index - 2)].term == term;
}

// "Durable before sent": what a message claims must be on its sender's disk.
void GroupWorld::check_durable(std::size_t who, const group::Send& send) {
  const auto message = group::decode(send.bytes);
  if (!message) return fail("an undecodable message was sent");
  const group::Recovered& disk = members_[who].disk;
  if (disk.hard.term < message->term) fail("a term was sent before it was durable");
  const bool current = disk.hard.term == message->term;
  if (const auto* reply = std::get_if<group::VoteReply>(&message->body)) {
    if (current && reply->granted && disk.hard.voted_for != send.to) fail("an undurable vote");
  }
  if (std::holds_alternative<group::Vote>(message->body)) {
    if (current && disk.hard.voted_for != nodes_[who]) fail("a candidate without its own vote");
  }
  if (const auto* reply = std::get_if<group::AppendReply>(&message->body)) {
    if (current && reply->ok && disk.entries.size() + 1 < reply->index.value) {
      fail("an entry was acknowledged before it was durable");
    }
  }
  if (const auto* append = std::get_if<group::Append>(&message->body)) {
    const std::uint64_t end = append->prev.index.value + append->entries.size();
    if (current && disk.entries.size() + 1 < end) fail("an undurable entry was replicated");
  }
}

void GroupWorld::check_leader(std::size_t who, Term term) {
  const auto [it, fresh] = leader_of_.try_emplace(term, who);
  if (!fresh) fail("two elections won in term " + std::to_string(term.value));
  for (const auto& [index, entry] : decided_) {  // leader completeness
    if (!holds(who, index, entry.term)) {
      fail("leader of term " + std::to_string(term.value) + " lacks " + std::to_string(index));
    }
  }
}

void GroupWorld::check_committed(std::size_t who, const group::Committed& entry) {
  const std::uint64_t index = entry.index.value;
  if (index != members_[who].told + 1) fail("a commit out of order, or twice in a life");
  members_[who].told = index;
  const group::Entry same{entry.term, entry.payload};
  const auto [it, fresh] = decided_.try_emplace(index, same);  // state machine safety
  if (it->second != same) fail("two different entries committed at " + std::to_string(index));
  if (!holds(who, index, entry.term)) fail("a commit was told before the entry was durable here");
  std::size_t copies = 0;
  std::size_t voters = pair_ ? 1 : members_.size();
  for (std::size_t i = 0; i < voters; ++i) copies += holds(i, index, entry.term) ? 1 : 0;
  if (copies < voters / 2 + 1) fail("committed without a majority of copies");
}

void GroupWorld::check_log_matching() {
  for (std::size_t a = 0; a < members_.size(); ++a) {
    for (std::size_t b = a + 1; b < members_.size(); ++b) {
      const auto& x = members_[a].disk.entries;
      const auto& y = members_[b].disk.entries;
      bool same_after = false;
      for (std::size_t i = std::min(x.size(), y.size()); i-- > 0;) {
        same_after = same_after || x[i].term == y[i].term;
        if (same_after && x[i] != y[i]) return fail("log matching is broken");
      }
    }
  }
}

}  // namespace balance
