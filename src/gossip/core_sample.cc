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

#include "gossip/core.h"

namespace gossip {

// A place that somebody live has is given away only now and then: each newcomer costs a contact,
// and a sample that has just begun would change all the time.
bool Core::would_take(const base::NodeId& id) const {
  return view_.would_take(id) && (!view_.is_full_sample() || now_ >= refresh_at_);
}

void Core::turned_into_sample() {
  rumors_.forget_all();
  contacts_changed_ = true;
  sync_at_ = std::min(sync_at_, now_ + rng_.between(kSyncAgain, kTendInterval));
}

void Core::tend_sample() {
  sync_at_ = now_ + kTendInterval - kTendInterval / 5 + rng_.between(0ms, kTendInterval * 2 / 5);
  Member* const member = view_.next_in_turn(tended_);
  if (member == nullptr) return;
  const bool is_first = !member->followed;
  member->followed = true;
  const base::NodeId id = member->id();
  if (is_first) {
    sync_at_ = now_ + kFollowEvery;  // the turn of the others goes on where it was
  } else {
    tended_ = id;
  }
  detector_->reported(now_, id);
  const base::Endpoint at = *view_.endpoint(*member);
  if (is_first || member->heard == Heard::kRelayed) {
    // It may not know our certificate, any more: it forgets those of whom its sample does not hold
    // and who do not follow it. Its silence would look like its end.
    actions_.emplace_back(Contact{at});
    return;
  }
  queue(Source{id, at}, some_haves(member));
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
    std::size_t oldest = 0;
    for (std::size_t i = 1; i < followers_.size(); ++i) {
      if (followers_.value(i).since < followers_.value(oldest).since) oldest = i;
    }
    followers_.erase_place(oldest);
  }
  followers_[source.id] = {source.from, now_};
}

void Core::tell_followers() {
  for (std::size_t i = 0; i < followers_.size(); ++i) {
    queue_digest({followers_.ids()[i], followers_.value(i).at}, *view_.find(self_), false);
  }
}

void Core::forget_followers() {
  followers_.erase_if([this](const base::NodeId& /*id*/, const Follower& one) {
    return now_ - one.since > kFollowedMax;
  });
}

}  // namespace gossip
