// The log's half of balance/group.h: §5.3, §5.4.2.
#include <algorithm>

#include "balance/group.h"

namespace balance {

using base::LogIndex;
using base::Time;
using group::Role;

// ---- follower

void Group::receive(Time now, std::size_t from, const group::Append& body, base::Term term) {
  group::AppendReply reply;
  reply.prev_index = body.prev.index;
  if (term < hard_.term) {  // "if a server receives a request with a stale term, it rejects it"
    reply.commit = commit_;
    send(from, reply);
    return;
  }
  const bool second_leader = is_leader() || (leader_ != kNobody && leader_ != from);
  if (second_leader || contradicts_commit(body)) {
    ++counters_.against_rules;
    return;
  }
  follow(now, term, from);
  reply.ok = log_.holds(body.prev);
  if (reply.ok) {
    const LogIndex end{body.prev.index.value + body.entries.size()};
    store(body);
    commit_ = std::max(commit_, std::min(body.commit, end));
    reply.index = end;
  } else {
    reply.index = log_.hint(body.prev);
  }
  reply.commit = commit_;
  send(from, reply);
}

// Committed entries never change (§5.4.3), so a leader that would change one is none.
bool Group::contradicts_commit(const group::Append& body) const {
  if (body.prev.index <= commit_ && !log_.holds(body.prev)) return true;
  group::LogEnd at = body.prev;
  for (const group::Entry& entry : body.entries) {
    at = {entry.term, at.index.next()};
    if (at.index > commit_) return false;
    if (!log_.holds(at)) return true;
  }
  return false;
}

// Entries that are held already stay, with all that follows them: the message may be an old one
// (§5.3: "if an existing entry conflicts with a new one, delete it and all that follow").
void Group::store(const group::Append& body) {
  LogIndex index = body.prev.index;
  for (const group::Entry& entry : body.entries) {
    index = index.next();
    if (log_.holds({entry.term, index})) continue;
    if (index <= log_.last()) {
      const LogIndex kept{index.value - 1};
      log_.truncate(index);
      durable_ = std::min(durable_, kept);
      for (Write& write : writes_) write.last = std::min(write.last, kept);
    }
    rewrite_from_ = std::min(rewrite_from_.value_or(index), index);
    log_.append(entry);
  }
}

void Group::deliver() {
  const LogIndex until = std::min(commit_, durable_);
  while (delivered_ < until) {
    delivered_ = delivered_.next();
    const group::Entry& entry = log_.at(delivered_);
    out_.push_back(group::Committed{delivered_, entry.term, entry.payload});
  }
}

// ---- leader

void Group::append_own(group::Entry entry) {
  log_.append(std::move(entry));
  rewrite_from_ = std::min(rewrite_from_.value_or(log_.last()), log_.last());
}

void Group::replicate(std::size_t to, bool with_entries) {
  const Peer& peer = peers_[to];
  group::Append body;
  body.prev.index = LogIndex{peer.next.value - 1};
  body.prev.term = log_.at(body.prev.index).term;
  body.commit = commit_;
  if (with_entries) body.entries = log_.batch(peer.next);
  send(to, std::move(body));
}

void Group::replicate_all() {
  for (std::size_t i = 0; i < config_.members.size(); ++i) {
    if (i != self_) replicate(i, true);
  }
}

bool Group::quiet(Time now, const Peer& peer) const {
  return now - peer.last_contact > 2 * config_.timings.heartbeat;
}

// Who does not answer is sent bare heartbeats, not the same entries four times a second.
void Group::beat(Time now) {
  if (!held_.empty()) return;  // something to everyone waits already
  for (std::size_t i = 0; i < config_.members.size(); ++i) {
    if (i != self_) replicate(i, !quiet(now, peers_[i]));
  }
}

void Group::receive(Time now, std::size_t from, const group::AppendReply& body, base::Term term) {
  if (!is_leader() || term != hard_.term) return;
  Peer& peer = peers_[from];
  const bool was_quiet = quiet(now, peer);
  peer.last_contact = now;
  if (!body.ok) {
    refused(from, body);
    return;
  }
  if (body.index > log_.last()) {
    ++counters_.against_rules;
    return;
  }
  const bool advanced = body.index > peer.match;
  if (body.index >= peer.match) {
    if (peer.life > peer.match_life) peer.commit = LogIndex{0};  // a new life knows less
    peer.match = body.index;
    peer.match_life = peer.life;
    peer.next = std::max(peer.next, peer.match.next());
  }
  peer.commit = std::max(peer.commit, std::min(body.commit, commit_));
  if (advanced) count_copies();
  if ((advanced || was_quiet) && peer.match < log_.last()) replicate(from, true);
}

// "After a rejection, the leader decrements nextIndex and retries" (§5.3), by the follower's hint.
void Group::refused(std::size_t from, const group::AppendReply& body) {
  Peer& peer = peers_[from];
  if (body.prev_index <= peer.match) {
    // What it had acknowledged it no longer holds. In the same life that is an old answer come
    // late; in a new one, its store forgot.
    if (peer.life <= peer.match_life) return;
    if (!peer.forgot) out_.push_back(group::Forgot{config_.members[from].node});
    peer.forgot = true;
    peer.match = LogIndex{0};
    peer.commit = LogIndex{0};
    peer.match_life = peer.life;
    peer.next = body.prev_index.next();
  }
  if (body.prev_index.next() != peer.next) return;  // an old answer
  const LogIndex lowest = std::max(peer.match.next(), LogIndex{2});
  const LogIndex before = std::max(LogIndex{peer.next.value - 1}, LogIndex{2});
  const LogIndex next = std::max(lowest, std::min(body.index, before));
  if (next == peer.next) return;
  peer.next = next;
  replicate(from, true);
}

void Group::count_copies() {
  std::vector<LogIndex> copies;
  for (std::size_t i = 0; i < config_.members.size(); ++i) {
    if (votes(i)) copies.push_back(i == self_ ? durable_ : peers_[i].match);
  }
  std::sort(copies.rbegin(), copies.rend());
  const LogIndex stored = copies[majority() - 1];
  if (stored <= commit_) return;
  if (log_.at(stored).term != hard_.term) return;  // §5.4.2: never an older term's by counting
  commit_ = stored;
  replicate_all();  // tells the new commit index without waiting for a heartbeat
}

bool Group::quorum_heard(Time now) const {
  std::size_t heard = 0;
  for (std::size_t i = 0; i < config_.members.size(); ++i) {
    const bool recent = now - peers_[i].last_contact <= config_.timings.quorum;
    heard += votes(i) && (i == self_ || recent) ? 1 : 0;
  }
  return heard >= majority();
}

}  // namespace balance
