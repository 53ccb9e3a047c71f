// When the view is a sample: everyone tells what is new of him to those whose samples hold him.
//
//   A                                 P, which A's sample holds, each in its turn
//   | -- contact over TCP ----------> |  the first time
//   | -- have: P, A, some others ---> |  P notes that A follows it; its digest comes if it is
//   newer; | <------------ digest, wants --- |  a ping if nothing comes | <---------------------
//   digest - |  later, at once, whenever something changes
//
// A rumor would not do: of those whom a node tells, few know whom it is about. Nor would a
// comparison of samples, which are to differ. So what a node sends does not grow with the mesh.
#include <algorithm>
#include <utility>

#include "gossip/core.h"

namespace gossip {

void Core::turned_into_sample() {
  for (const Member& member : view_.members()) rumors_.forget(member.id());
  sync_at_ = std::min(sync_at_, now_ + rng_.between(kSyncAgain, kTendInterval));
}

void Core::tend_sample() {
  sync_at_ = now_ + kTendInterval - kTendInterval / 5 + rng_.between(0ms, kTendInterval * 2 / 5);
  Member* const member = view_.next_in_turn(tended_);
  if (member == nullptr) return;
  const bool is_first = !std::exchange(member->followed, true);
  if (is_first) sync_at_ = now_ + kFollowEvery;
  tended_ = member->id();
  detector_->reported(now_, tended_);
  const base::Endpoint at = *view_.endpoint(*member);
  if (is_first || member->heard == Heard::kRelayed) {
    // It may not know our certificate, any more: it forgets those of whom its sample does not hold
    // and who do not follow it. Its silence would look like its end.
    actions_.emplace_back(Contact{at});
    return;
  }
  queue(Source{tended_, at}, some_haves(member));
}

// Of `of`, if it is in the view, of this node, and of random others.
HaveMessage Core::some_haves(const Member* of) {
  HaveMessage out;
  if (of != nullptr) out.entries.push_back(of->entry());
  out.entries.push_back(view_.find(self_)->entry());
  for (const base::NodeId& id : view_.pick(rng_, kSampledHavesMax)) {
    if (of == nullptr || id != of->id()) out.entries.push_back(view_.find(id)->entry());
  }
  return out;
}

void Core::greet_from_sample(const Source& to) {
  queue_digest(to, *view_.find(self_), false);
  hint_at_sample(to);
  queue(to, some_haves(view_.find(to.id)));
}

// A summary of this node alone says that its view is a sample; a newcomer's will be one, too.
void Core::hint_at_sample(const Source& to) {
  SyncSummaryMessage hint;
  hint.sampled = true;
  hint.low = self_;
  hint.high = self_;
  hint.entries.push_back(view_.find(self_)->entry());
  queue(to, hint);
}

void Core::followed_by(const Source& source) {
  if (!followers_.contains(source.id) && followers_.size() >= kFollowersMax) {
    followers_.erase(std::min_element(
        followers_.begin(), followers_.end(),
        [](const auto& a, const auto& b) { return a.second.since < b.second.since; }));
  }
  followers_[source.id] = {source.from, now_};
}

void Core::tell_followers() {
  for (const auto& [id, follower] : followers_) {
    queue_digest({id, follower.at}, *view_.find(self_), false);
  }
}

void Core::forget_followers() {
  std::erase_if(followers_,
                [this](const auto& item) { return now_ - item.second.since > kFollowedMax; });
}

}  // namespace gossip
