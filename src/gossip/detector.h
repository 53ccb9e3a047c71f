// Who is reachable: the interface of the failure detector (design.md §5).
//
// A detector is told who is there and what was heard, and says whom to ping and what it makes of
// the silence. It sends nothing itself. `kSuspect` holds for this node alone, at once; what becomes
// of it (`kDead`) is for the detector to judge. Times are microseconds; all calls take the time of
// the step they belong to.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace gossip {

class Detector {
 public:
  enum class Health : std::uint8_t { kAlive, kSuspect, kDead };
  struct Probe {
    base::NodeId to;
    std::uint64_t nonce = 0;
  };
  struct Verdict {
    base::NodeId id;
    Health health = Health::kAlive;
    bool report = false;  // others should hear of it
  };
  struct Output {
    std::vector<Probe> probes;
    std::vector<Verdict> verdicts;
    std::vector<base::NodeId> missed;  // a first answer, and not suspected for it
  };

  Detector() = default;
  Detector(const Detector&) = delete;
  Detector& operator=(const Detector&) = delete;
  virtual ~Detector() = default;

  virtual void add(base::Time now, const base::NodeId& id, Health health) = 0;
  virtual void remove(const base::NodeId& id) = 0;
  // A fresh authentic datagram of that node came.
  virtual void heard(base::Time now, const base::NodeId& id) = 0;
  // Its answer to a probe; false when no such probe is open.
  [[nodiscard]] virtual bool answered(base::Time now, const base::NodeId& id,
                                      std::uint64_t nonce) = 0;
  // It is contacted otherwise, since it may not know us: one more answer may be missed until heard.
  virtual void contacted(const base::NodeId& id) = 0;
  // A newer digest of it came by whatever way: it lived a moment ago.
  virtual void renewed(base::Time now, const base::NodeId& id) = 0;
  // Another member cannot reach it: look for oneself.
  virtual void reported(base::Time now, const base::NodeId& id) = 0;
  // A hint only (anybody on the path can fake it): its host says that the port is closed.
  virtual void refused(base::Time now, const base::NodeId& id) = 0;
  [[nodiscard]] virtual Output poll(base::Time now) = 0;
  [[nodiscard]] virtual base::Time next_deadline() const = 0;
};

}  // namespace gossip
