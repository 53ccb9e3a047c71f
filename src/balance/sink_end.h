// SINK's end of one handover (design.md §4). What both ends share: balance/end.h.
//
//            begin committed               held, output stored
//   (none) ------------------> Expecting ----------------------> Ready
//      | outcome is known,     | failed, daemon restarted (*)      | commit, copy here -> Released
//      | stale epoch           |                                   | commit, copy gone -> Void
//      +-------> Failed <------+                                   | abort, SOURCE runs ->
//      Discarded
//                              | abort, SOURCE runs -> Discarded   | abort, SOURCE's original gone:
//                                                                  |   copy here -> Released
//                                                                  |   copy gone -> Discarded
//   Released: ReleaseCopy until Released; if the copy was gone before its first instruction: Void
//   (after abort: Discarded). Failed, Void, Discarded: DiscardCopy until Discarded.
//   A higher epoch leads to Discarded, or, for a copy that was let go, to GoneAway; a person's word
//   leads from Ready to ResolvedHere.
//
// (*) Whoever was killed may have held the copy already: CheckCopy first, and what is there is
// Ready.
//
// - ExpectStream only after Expecting is durable, so that whatever a killed daemon left behind is
//   found and discarded. Restore only after StreamSealed: without the seal nothing is ever ready.
// - After abort a restore that is under way goes on until SOURCE has said whether it runs again: if
//   the original is gone, this is the last copy that can run.
// - Ready forbids Failed: who said ready waits for the outcome.
#pragma once

#include "balance/end.h"

namespace balance {

class SinkEnd final : public End {
 public:
  SinkEnd(HandoverId id, NodeId self, NodeId source, OwnTable& own,
          std::optional<EndRecord> recovered);
  // Fails until the stream is whole. From then on this may be the last copy that can run: the
  // reason goes into the record, which asks the coordinator for an abort, and SOURCE's word
  // decides.
  void give_up(Step step, std::string reason) override;
  [[nodiscard]] bool sealed() const { return sealed_; }

 protected:
  void decide(Step step) override;
  void hear(Step step, const Event& event) override;
  [[nodiscard]] bool can_resolve() const override;

 private:
  void decide_expecting(Step step);
  void check_first(Step step);
  void decide_ready(Step step);
  void decide_released(Step step);
  void give_way(Step step);
  [[nodiscard]] bool source_runs() const;
  [[nodiscard]] bool source_gone() const;
  [[nodiscard]] bool may_start() const;

  bool check_first_ = false;  // recovered in Expecting: whether a copy is held is not known yet
  bool expecting_ = false;    // asked for in this life
  bool sealed_ = false;
  bool restoring_ = false;
  std::string wish_;  // why this end would like an abort
  std::optional<OutputOffsets> held_;
};

}  // namespace balance
