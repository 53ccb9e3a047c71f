// SOURCE's end of one handover (design.md §4). What both ends share: balance/end.h.
//
//            begin committed               everything but the seal sent
//   (none) ------------------> Begun -----------------------------------> Sealed
//      | outcome is known      | failed, stalled, no contact,               | commit, SINK let go
//      | already, stale epoch  | an outcome, daemon restarted               +------------->
//      GoneAway
//      +------> Withdrawn <----+                                            | commit, SINK void
//                  |                                                        +-------------> Resumed
//                  | thawed                                                 | abort, original here
//                  v                                                        +-------------> Resumed
//               settled                                                     | abort, original gone
//                                                                           +-------------> Gone
//   GoneAway: KillOriginal until Killed. Resumed, Withdrawn: Thaw until Thawed; if the original
//   turns out to be gone before it ran on, and the outcome was abort: Gone. Gone: nothing to do;
//   the job is lost once SINK says that its copy is gone, too. From any unsettled state a higher
//   epoch leads to GoneAway, a person's word to ResolvedHere.
//
// - FreezeAndStream only after Begun is durable, SendSeal only after Sealed is: what might have
//   frozen is thawed after a restart, and who might have sent the seal never withdraws.
// - Begun and Sealed exclude each other with Withdrawn, on disk, so a SINK that is ready proves
// that
//   SOURCE will wait for the outcome.
// - After *void* the original has the handover's epoch, stored with Resumed: SINK owned the job
//   under it for a moment, and whoever heard so believes no lower one any more.
// - A commit can only follow a seal; one that reaches Begun is a lie of another member: withdrawn.
#pragma once

#include "balance/end.h"

namespace balance {

class SourceEnd final : public End {
 public:
  SourceEnd(HandoverId id, NodeId self, NodeId sink, OwnTable& own,
            std::optional<EndRecord> recovered);
  void give_up(Step step, std::string reason) override;  // until Sealed

 protected:
  void decide(Step step) override;
  void hear(Step step, const Event& event) override;
  [[nodiscard]] bool can_resolve() const override;
  [[nodiscard]] base::Time own_deadline() const override;

 private:
  void decide_begun(Step step);
  void decide_sealed(Step step);
  void entered(Step step);
  [[nodiscard]] bool may_start() const;
  [[nodiscard]] bool lost() const;

  std::optional<SealHash> complete_;
  base::Time stalled_at_ = base::kNever;
  bool streaming_ = false;  // asked for in this life
  bool seal_sent_ = false;
};

}  // namespace balance
