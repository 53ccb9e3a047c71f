// Anti-entropy: two members compare what they know and pass on what is missing.
//
//   A                                  B
//   | -- sync hash ------------------> |  equal: silence, the common case
//   | <----------------- sync buckets  |  sixteen hashes, by the leading bits of the id
//   | -- sync summaries -------------> |  the entries of those that differ
//   | <------- digests where B's are newer, have (to a sample), want where A's are newer
//   | -- digests, want --------------> |
//
// The same first message compares who is believed dead, so that nobody misses a suspicion for ever.
// Every message stands for itself, so that any may be lost, and no state is kept between them.
#include <algorithm>

#include "gossip/core.h"

namespace gossip {
namespace {

base::NodeId bucket_end(std::size_t bucket, bool high) {
  base::NodeId id;
  if (high) id.bytes.fill(0xff);
  id.bytes[0] = static_cast<std::uint8_t>(bucket << 4 | (high ? 0x0f : 0));
  return id;
}

// The id above `id`, which is not the highest of all.
base::NodeId above(base::NodeId id) {
  for (std::size_t i = id.bytes.size(); i-- > 0;) {
    if (++id.bytes[i] != 0) break;
  }
  return id;
}

}  // namespace

void Core::start_sync() {
  sync_at_ = now_ + kSyncInterval - kSyncInterval / 5 + rng_.between(0ms, kSyncInterval * 2 / 5);
  if (view_.sampled()) {
    tend_sample();
    if (view_.live_others() >= kSampleLow) return;
  }
  const auto peer = view_.pick(rng_, 1);
  if (!peer.empty()) queue(peer.front(), SyncHashMessage{view_.hash(), view_.dead_hash()});
  if (!view_.sampled()) greet_again();
}

// What was said after a handshake may have been lost; the next one may be a minute away.
void Core::greet_again() {
  if (introduced_.empty()) return;
  std::rotate(introduced_.begin(), introduced_.begin() + 1, introduced_.end());
  start_sync_with(introduced_.back().first, true);
}

// A new contact gets our certificate and digest first: it may know neither.
void Core::start_sync_with(const base::NodeId& peer, bool called) {
  const auto endpoint = endpoint_of(peer);
  if (!started_ || !endpoint) return;
  // Who calls speaks first; whether it is new here, and needs anything, is seen from what it says.
  if (view_.sampled() && !called) return;
  const Source to{peer, *endpoint};
  if (view_.sampled()) greet_from_sample(to);
  if (view_.sampled() && view_.live_others() >= kSampleLow) return;
  queue_digest(to, *view_.find(self_), true);
  queue(to, SyncHashMessage{view_.hash(), view_.dead_hash()});
}

void Core::take_sync_hash(const Source& source, const SyncHashMessage& message) {
  if (view_.sampled()) hint_at_sample(source);
  if (message.hash != view_.hash()) queue(source, SyncBucketsMessage{view_.buckets()});
  if (message.dead == view_.dead_hash()) return;
  // Who missed a suspicion looks for himself.
  std::size_t count = 0;
  for (const base::NodeId& id : view_.silent()) {
    const Member& member = *view_.find(id);
    if (member.state != State::kDead || ++count > kEntriesMax) continue;
    queue(source, SuspectMessage{member.entry()});
  }
}

void Core::take_buckets(const Source& source, const SyncBucketsMessage& message) {
  const auto ours = view_.buckets();
  bool differs = false;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (ours[i] == message.buckets[i]) continue;
    differs = true;
    send_summaries(source, i);
  }
  // In a sample the hashes never agree, so hurrying would never end.
  if (differs && !view_.sampled()) sync_at_ = std::min(sync_at_, now_ + kSyncAgain);
}

void Core::send_summaries(const Source& to, std::size_t bucket) {
  SyncSummaryMessage part;
  part.sampled = view_.sampled();
  part.low = bucket_end(bucket, false);
  const base::NodeId high = bucket_end(bucket, true);
  for (const Member& member : view_.members()) {
    if (member.id() < part.low || high < member.id()) continue;
    if (part.entries.size() == kEntriesMax) {
      part.high = part.entries.back().node;
      queue(to, part);
      part.low = above(part.high);
      part.entries.clear();
    }
    part.entries.push_back(member.entry());
  }
  part.high = high;
  queue(to, part);
}

void Core::take_summary(const Source& source, const SyncSummaryMessage& message) {
  if (message.sampled && !view_.sampled()) {
    removed(view_.become_sample());
    turned_into_sample();
  }
  std::map<base::NodeId, Entry32> theirs;
  for (const Entry32& entry : message.entries) theirs.emplace(entry.node, entry);
  std::vector<Wish> wishes;
  for (const auto& [id, entry] : theirs) {
    const Member* member = view_.find(id);
    const bool wanted = member == nullptr ? would_take(id) : entry.age() > member->age();
    if (wanted) wishes.push_back({id, roster_.find(id) == nullptr});
  }
  HaveMessage have;
  for (const Member& member : view_.members()) {
    if (member.id() < message.low || message.high < member.id()) continue;
    const auto found = theirs.find(member.id());
    if (found != theirs.end()) {
      if (member.age() > found->second.age()) queue_digest(source, member, false);
    } else if (!message.sampled) {
      // It knows less than we do, so it may lack the certificate too.
      queue_digest(source, member, true);
    } else if (have.entries.size() < kSampledHavesMax) {
      have.entries.push_back(member.entry());
    }
  }
  if (!have.entries.empty()) queue(source, have);
  if (!wishes.empty()) want(source, std::move(wishes));
}

void Core::take_have(const Source& source, const HaveMessage& message) {
  std::vector<Wish> wishes;
  for (const Entry32& entry : message.entries) {
    if (entry.node == self_) {
      followed_by(source);
      const Member& own = *view_.find(self_);
      if (own.age() > entry.age()) queue_digest(source, own, false);
      continue;
    }
    const Member* member = view_.find(entry.node);
    if (member == nullptr ? would_take(entry.node) : entry.age() > member->age()) {
      wishes.push_back({entry.node, roster_.find(entry.node) == nullptr});
    }
  }
  if (!wishes.empty()) want(source, std::move(wishes));
}

void Core::take_want(const Source& source, const WantMessage& message) {
  for (const Wish& wish : message.wishes) {
    const Member* member = view_.find(wish.node);
    if (member != nullptr) queue_digest(source, *member, wish.chain);
  }
}

void Core::queue_digest(const Source& to, const Member& member, bool chain) {
  Outgoing& outgoing = outbox_[to.id];
  outgoing.to = to.from;
  base::Bytes joined;  // a certificate and its digest share a packet, whatever else is queued
  for (const base::Bytes& message : digest_messages(member, chain)) {
    joined.insert(joined.end(), message.begin(), message.end());
  }
  outgoing.messages.push_back(std::move(joined));
}

void Core::want(const Source& from, std::vector<Wish> wishes) {
  if (wishes.size() > kEntriesMax) wishes.resize(kEntriesMax);
  queue(from, WantMessage{std::move(wishes)});
}

}  // namespace gossip
