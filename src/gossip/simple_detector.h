// The detector of small meshes: everybody judges for himself.
//
//   alive --replies missed--> suspect --silent for kSilenceMax--> dead
//     ^------- heard -----------'  ^---- renewed, not heard ----'|
//     '----------------- heard, or renewed ----------------------'
//
// Each node is observed by kObservers others, chosen by rendezvous hashing (Thaler & Ravishankar
// 1998), so that all agree on who observes whom without a word and a change moves few. Whoever
// misses replies reports it, and whoever hears a report looks for himself: no member can make
// others believe in a death, and one bad link makes none, since a node that hears of a suspicion
// about itself answers with a new digest. A suspicion that such digests keep alive is reported
// again ever more rarely.
//
// A reply is missed after 4 smoothed round trips + deviations (RFC 6298's estimator), within
// [kReplyMin, kReplyMax]; two missed in a row make a suspect, up to five while replies are being
// lost (Lifeguard's lesson: patience follows what one measures oneself). One of the dead is probed
// every kDeadProbe, so that partitions heal.
#pragma once

#include <optional>
#include <vector>

#include "base/id_map.h"
#include "base/rng.h"
#include "gossip/detector.h"
#include "gossip/limits.h"

namespace gossip {

class SimpleDetector : public Detector {
 public:
  SimpleDetector(const base::NodeId& self, std::uint64_t seed);
  void add(base::Time now, const base::NodeId& id, Health health) override;
  void remove(const base::NodeId& id) override;
  void heard(base::Time now, const base::NodeId& id) override;
  bool answered(base::Time now, const base::NodeId& id, std::uint64_t nonce) override;
  void contacted(const base::NodeId& id) override;
  void renewed(base::Time now, const base::NodeId& id) override;
  void reported(base::Time now, const base::NodeId& id) override;
  void refused(base::Time now, const base::NodeId& id) override;
  Output poll(base::Time now) override;
  [[nodiscard]] base::Time next_deadline() const override;
  [[nodiscard]] std::size_t observed() const;

 private:
  struct Track {
    Health health = Health::kAlive;
    bool observed = false;
    bool contacted = false;
    bool looking = false;  // after a report or a refusal, until heard
    std::optional<std::uint64_t> nonce;
    base::Time sent_at{};
    base::Time next_probe = base::kNever;
    int misses = 0;
    int refusals = 0;
    base::Time suspected_at{};  // or reported again
    base::Time heard_at{};      // directly
    base::Time evidence_at{};   // directly or by a renewed digest
    base::Duration report_after = kSilenceMax;
    base::Duration round_trip{0};  // 0: not measured
    base::Duration deviation{0};
    int loss_percent = 0;  // smoothed
  };
  struct Watched {
    base::NodeId id;
    base::Time deadline{};
  };
  void changed(const base::NodeId& id, const Track& track);  // its deadline may be another one
  static void begin(Track& track);
  void choose(base::Time now);
  void miss(base::Time now, const base::NodeId& id, Track& track);
  void judge(base::Time now, const base::NodeId& id, Track& track);
  void probe(base::Time now, const base::NodeId& id, Track& track);
  void probe_dead(base::Time now);
  void turn_alive(const base::NodeId& id, Track& track);
  [[nodiscard]] bool is_probed(const Track& track) const;
  [[nodiscard]] base::Time deadline(const Track& track) const;
  [[nodiscard]] base::Duration patience(const Track& track) const;
  [[nodiscard]] base::Duration silence(const Track& track) const;

  base::NodeId self_;
  base::Rng rng_;
  base::NodeMap<Track> tracks_;
  std::vector<Watched> watched_;  // whoever has a deadline, a handful of a large view; by id
  bool choice_due_ =
      false;  // the choice of whom to observe is due, at next_choice_ at the earliest
  base::Time next_choice_{};
  base::Duration interval_ = kHeartbeat;
  base::Time next_dead_probe_{};
  std::size_t dead_ = 0;
  Output output_;  // collected for the next poll()
};

}  // namespace gossip
