#include "gossip/simple_detector.h"

#include <algorithm>
#include <array>

namespace gossip {
namespace {

// splitmix64's finisher over both ids: cheap enough for all pairs of a full view, and nothing is
// won by steering it but the choice of one's own observers among members.
std::uint64_t score(const base::NodeId& observer, const base::NodeId& target) {
  std::uint64_t x =
      base::get_le64(observer.bytes) ^ (base::get_le64(target.bytes) * 0x9e3779b97f4a7c15ULL);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

constexpr base::Duration kUnhealthyProbe = 300ms;
constexpr base::Duration kSuspectProbe = 1s;
constexpr base::Duration kChoiceInterval = 200ms;  // it costs all pairs of a view

}  // namespace

SimpleDetector::SimpleDetector(const base::NodeId& self, std::uint64_t seed)
    : self_(self), rng_(seed) {}

void SimpleDetector::changed(const base::NodeId& id, const Track& track) {
  const base::Time at = deadline(track);
  const auto place = std::lower_bound(
      watched_.begin(), watched_.end(), id,
      [](const Watched& one, const base::NodeId& wanted) { return one.id < wanted; });
  const bool is_there = place != watched_.end() && place->id == id;
  if (at == base::kNever) {
    if (is_there) watched_.erase(place);
  } else if (is_there) {
    place->deadline = at;
  } else {
    watched_.insert(place, {id, at});
  }
}

void SimpleDetector::add(base::Time now, const base::NodeId& id, Health health) {
  Track& track = tracks_[id];
  if (track.health == Health::kDead) --dead_;
  track = Track{};
  track.health = health;
  track.heard_at = now;
  track.evidence_at = now;
  changed(id, track);
  if (health == Health::kDead && ++dead_ == 1) next_dead_probe_ = now + kDeadProbe;
  choice_due_ = true;
}

void SimpleDetector::remove(const base::NodeId& id) {
  const Track* const track = tracks_.find(id);
  if (track == nullptr) return;
  if (track->health == Health::kDead) --dead_;
  tracks_.erase(id);
  std::erase_if(watched_, [&id](const Watched& one) { return one.id == id; });
  choice_due_ = true;
}

void SimpleDetector::turn_alive(const base::NodeId& id, Track& track) {
  if (track.health == Health::kAlive) return;
  if (track.health == Health::kDead) {
    --dead_;
    choice_due_ = true;
  }
  track.health = Health::kAlive;
  track.report_after = kSilenceMax;
  output_.verdicts.push_back({id, Health::kAlive, false});
}

void SimpleDetector::heard(base::Time now, const base::NodeId& id) {
  Track* const track = tracks_.find(id);
  if (track == nullptr) return;
  const bool is_well = track->health == Health::kAlive && !track->looking;
  track->looking = false;
  track->heard_at = now;
  track->evidence_at = now;
  track->misses = 0;
  track->refusals = 0;
  track->contacted = false;
  if (is_well) return;  // its deadline stays
  turn_alive(id, *track);
  changed(id, *track);
}

bool SimpleDetector::answered(base::Time now, const base::NodeId& id, std::uint64_t nonce) {
  Track* const track = tracks_.find(id);
  if (track == nullptr || track->nonce != nonce) return false;
  track->nonce.reset();
  track->loss_percent = track->loss_percent * 7 / 8;
  const base::Duration sample = now - track->sent_at;
  if (track->round_trip == base::Duration{0}) {
    track->round_trip = sample;
    track->deviation = sample / 2;
  } else {
    const base::Duration error =
        sample > track->round_trip ? sample - track->round_trip : track->round_trip - sample;
    track->deviation += (error - track->deviation) / 4;
    track->round_trip += (sample - track->round_trip) / 8;
  }
  changed(id, *track);
  return true;
}

void SimpleDetector::contacted(const base::NodeId& id) {
  if (Track* const track = tracks_.find(id)) track->contacted = true;
}

void SimpleDetector::renewed(base::Time now, const base::NodeId& id) {
  Track* const track = tracks_.find(id);
  if (track == nullptr) return;
  track->evidence_at = now;
  if (track->health == Health::kDead) {
    turn_alive(id, *track);
    track->misses = 0;
    track->looking = true;  // believed, and looked after
    track->next_probe = now + kUnhealthyProbe;
  }
  if (track->health != Health::kAlive || track->looking) changed(id, *track);
}

void SimpleDetector::reported(base::Time now, const base::NodeId& id) {
  Track* const track = tracks_.find(id);
  if (track == nullptr || track->health != Health::kAlive) return;
  if (!is_probed(*track)) begin(*track);
  // Who was heard a moment ago is looked for a moment later: the report may be the newer word.
  track->looking = true;
  const base::Time at = std::max(now, track->heard_at + kHeartbeat) + rng_.between(0ms, kReplyMin);
  track->next_probe = std::min(track->next_probe, at);
  changed(id, *track);
}

void SimpleDetector::refused(base::Time now, const base::NodeId& id) {
  Track* const track = tracks_.find(id);
  if (track == nullptr || track->health == Health::kDead) return;
  ++track->refusals;
  track->looking = true;
  track->next_probe = std::min(track->next_probe, now + kUnhealthyProbe);
  if (track->nonce) {
    track->nonce.reset();
    miss(now, id, *track);
    judge(now, id, *track);
  }
  changed(id, *track);
}

// Nobody probed it for a while: what was missed then says nothing now.
void SimpleDetector::begin(Track& track) {
  track.misses = 0;
  track.contacted = false;
}

bool SimpleDetector::is_probed(const Track& track) const {
  if (track.health == Health::kDead) return false;  // by probe_dead()
  return track.observed || track.looking || track.health == Health::kSuspect;
}

base::Duration SimpleDetector::patience(const Track& track) const {
  if (track.round_trip == base::Duration{0}) return kReplyFirst;
  return std::clamp<base::Duration>(4 * (track.round_trip + track.deviation), kReplyMin, kReplyMax);
}

base::Duration SimpleDetector::silence(const Track& track) const {
  return track.refusals >= 2 ? kRefusedMax : kSilenceMax;
}

base::Time SimpleDetector::deadline(const Track& track) const {
  base::Time out = base::kNever;
  if (track.nonce) out = track.sent_at + patience(track);
  if (!is_probed(track)) return out;
  if (!track.nonce) out = track.next_probe;
  if (track.health != Health::kSuspect) return out;
  const bool refuted = track.evidence_at > track.suspected_at;
  return std::min(out, track.suspected_at + (refuted ? track.report_after : silence(track)));
}

void SimpleDetector::miss(base::Time now, const base::NodeId& id, Track& track) {
  if (++track.misses == 1 && track.health == Health::kAlive) output_.missed.push_back(id);
  track.loss_percent += (100 - track.loss_percent) / 8;
  track.next_probe = now + (track.health == Health::kSuspect ? kSuspectProbe
                                                             : rng_.between(50ms, kUnhealthyProbe));
}

void SimpleDetector::judge(base::Time now, const base::NodeId& id, Track& track) {
  if (track.health == Health::kAlive) {
    const int allowed = 2 + (track.contacted ? 1 : 0) + (track.loss_percent > 20 ? 1 : 0) +
                        (track.loss_percent > 35 ? 2 : 0);
    if (track.misses < allowed) return;
    track.health = Health::kSuspect;
    track.suspected_at = now;
    output_.verdicts.push_back({id, Health::kSuspect, true});
    return;
  }
  if (track.health != Health::kSuspect) return;
  if (track.evidence_at > track.suspected_at) {
    if (now - track.suspected_at < track.report_after) return;
    track.report_after = std::min(track.report_after * 2, kReportMax);
    track.suspected_at = now;
    track.refusals = 0;
    output_.verdicts.push_back({id, Health::kSuspect, true});
    return;
  }
  if (now - track.suspected_at < silence(track)) return;
  track.health = Health::kDead;
  track.nonce.reset();
  track.looking = false;
  track.report_after = kSilenceMax;
  if (++dead_ == 1) next_dead_probe_ = now + kDeadProbe;
  choice_due_ = true;
  output_.verdicts.push_back({id, Health::kDead, true});  // who missed the suspicion looks now
}

void SimpleDetector::probe(base::Time now, const base::NodeId& id, Track& track) {
  track.nonce = rng_.next();
  track.sent_at = now;
  const bool healthy = track.health == Health::kAlive && track.misses == 0 && !track.looking;
  const base::Duration wait = healthy ? interval_ : kUnhealthyProbe;
  track.next_probe = now + wait - wait / 10 + rng_.between(0ms, wait / 5);
  output_.probes.push_back({id, *track.nonce});
}

void SimpleDetector::probe_dead(base::Time now) {
  if (dead_ == 0 || now < next_dead_probe_) return;
  next_dead_probe_ = now + kDeadProbe - kDeadProbe / 4 + rng_.between(0ms, kDeadProbe / 2);
  std::uint64_t pick = rng_.below(dead_);
  for (std::size_t i = 0; i < tracks_.size(); ++i) {
    Track& track = tracks_.value(i);
    if (track.health != Health::kDead || pick-- != 0) continue;
    track.nonce = rng_.next();
    track.sent_at = now;
    changed(tracks_.ids()[i], track);
    output_.probes.push_back({tracks_.ids()[i], *track.nonce});
    return;
  }
}

// Whom this node observes: those of which it is among the kObservers best-scored others.
void SimpleDetector::choose(base::Time now) {
  choice_due_ = false;
  next_choice_ = now + kChoiceInterval;
  std::vector<base::NodeId> living;
  for (std::size_t i = 0; i < tracks_.size(); ++i) {
    if (tracks_.value(i).health != Health::kDead) living.push_back(tracks_.ids()[i]);
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < tracks_.size(); ++i) {
    const base::NodeId& id = tracks_.ids()[i];
    Track& track = tracks_.value(i);
    const std::uint64_t mine = score(self_, id);
    std::size_t better = 0;
    for (const base::NodeId& other : living) {
      if (other != id && score(other, id) > mine && ++better == kObservers) break;
    }
    const bool observe = track.health != Health::kDead && better < kObservers;
    if (observe) ++count;
    if (observe == track.observed) continue;
    if (!is_probed(track)) begin(track);
    if (observe) track.next_probe = std::min(track.next_probe, now);
    track.observed = observe;
    changed(id, track);
  }
  interval_ = std::max<base::Duration>(kHeartbeat, kHeartbeat * static_cast<int>(count) * 3 / 5);
  for (Watched& one : watched_) {
    Track& track = *tracks_.find(one.id);
    if (!track.observed || track.next_probe > now) continue;
    track.next_probe = now + rng_.between(0ms, interval_);
    one.deadline = deadline(track);
  }
}

Detector::Output SimpleDetector::poll(base::Time now) {
  if (choice_due_ && now >= next_choice_) choose(now);
  std::vector<base::NodeId> due;
  for (const Watched& one : watched_) {
    if (one.deadline <= now) due.push_back(one.id);
  }
  for (const base::NodeId& id : due) {
    Track& track = *tracks_.find(id);
    if (track.nonce && track.sent_at + patience(track) <= now) {
      track.nonce.reset();
      if (track.health != Health::kDead) miss(now, id, track);
    }
    judge(now, id, track);
    if (!track.nonce && is_probed(track) && track.next_probe <= now) probe(now, id, track);
    changed(id, track);
  }
  if (choice_due_ && now >= next_choice_) choose(now);
  probe_dead(now);
  return std::exchange(output_, {});
}

base::Time SimpleDetector::next_deadline() const {
  if (!output_.verdicts.empty()) return base::Time{};
  base::Time out = dead_ > 0 ? next_dead_probe_ : base::kNever;
  if (choice_due_) out = std::min(out, next_choice_);
  for (const Watched& one : watched_) out = std::min(out, one.deadline);
  return out;
}

std::size_t SimpleDetector::observed() const {
  std::size_t count = 0;
  for (std::size_t i = 0; i < tracks_.size(); ++i) count += tracks_.value(i).observed ? 1 : 0;
  return count;
}

}  // namespace gossip
