// What a node knows of its jobs, event by event (node/jobs.h).
#include "node/jobs.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace node::jobs {
namespace {

using base::Epoch;
using base::JobId;
using base::NodeId;

const NodeId kHome{{1}};
const NodeId kFirst{{2}};
const NodeId kSecond{{3}};
const JobId kJob{{9}};

JobSpec spec() {
  JobSpec spec;
  spec.id = kJob;
  spec.name = "job";
  spec.argv = {"count"};
  spec.home = kHome;
  return spec;
}

// One node's jobs, and a disk that takes everything at once.
class Rig {
 public:
  explicit Rig(NodeId self) : self_(self) { restart(); }
  void restart() { jobs_ = std::make_unique<Jobs>(self_, disk_, std::map<JobId, StreamEnds>()); }
  Actions give(const Event& event) {
    Actions said = jobs_->step(now, event);
    for (std::size_t i = 0; i < said.size(); ++i) {
      const auto* keep = std::get_if<Keep>(&said[i]);
      if (keep == nullptr || !synced) continue;
      if (keep->value) disk_[keep->key] = *keep->value;
      if (!keep->value) disk_.erase(keep->key);
      const Kept kept{keep->id};
      for (Action& more : jobs_->step(now, kept)) said.push_back(std::move(more));
    }
    return said;
  }
  [[nodiscard]] const Job& job() const { return *jobs_->find(kJob); }
  [[nodiscard]] bool knows() const { return jobs_->find(kJob) != nullptr; }
  [[nodiscard]] std::map<std::string, base::Bytes>& disk() { return disk_; }
  base::Time now{std::chrono::hours(1)};
  bool synced = true;  // false: the daemon dies before the disk has it

 private:
  NodeId self_;
  std::map<std::string, base::Bytes> disk_;
  std::unique_ptr<Jobs> jobs_;
};

template <typename T>
std::vector<T> all_of(const Actions& actions) {
  std::vector<T> found;
  for (const Action& action : actions) {
    if (const auto* one = std::get_if<T>(&action)) found.push_back(*one);
  }
  return found;
}

std::vector<StreamEnds> acknowledged(const Actions& actions, NodeId to) {
  std::vector<StreamEnds> found;
  for (const Tell& tell : all_of<Tell>(actions)) {
    const auto* ack = std::get_if<OutputAck>(&tell.message);
    if (ack != nullptr && tell.to == to) found.push_back(ack->have);
  }
  return found;
}

// Home of a job that runs on kFirst under epoch 2.
Rig home_of_a_guest_elsewhere() {
  Rig rig(kHome);
  (void)rig.give(Begin{spec()});
  (void)rig.give(Owner{kJob, Epoch{1}, true, kHome});
  (void)rig.give(Launched{kJob, 100});
  (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst});
  return rig;
}

Peer output(NodeId from, std::uint64_t epoch, int stream, std::uint64_t offset, std::size_t size) {
  return {from, Output{kJob, Epoch{epoch}, stream, offset, base::Bytes(size, 7)}};
}

TEST(Jobs, WhatOneStreamAppendedSaysNothingOfTheOther) {
  Rig rig = home_of_a_guest_elsewhere();
  EXPECT_EQ(all_of<AppendHome>(rig.give(output(kFirst, 2, 0, 0, 10))).size(), 1U);
  EXPECT_EQ(all_of<AppendHome>(rig.give(output(kFirst, 2, 1, 0, 20))).size(), 1U);
  const Actions done = rig.give(HomeAppended{kJob, 0, 10});
  EXPECT_EQ(acknowledged(done, kFirst), (std::vector<StreamEnds>{{10, 0}}));
  // The other is still on its way to the disk: neither acknowledged nor written a second time.
  const Actions again = rig.give(output(kFirst, 2, 1, 0, 20));
  EXPECT_TRUE(all_of<AppendHome>(again).empty());
  EXPECT_TRUE(acknowledged(again, kFirst).empty());
  EXPECT_EQ(acknowledged(rig.give(HomeAppended{kJob, 1, 20}), kFirst),
            (std::vector<StreamEnds>{{10, 20}}));
}

TEST(Jobs, WhatCouldNotBeStoredIsNotAcknowledgedAndTakenLater) {
  Rig rig = home_of_a_guest_elsewhere();
  (void)rig.give(output(kFirst, 2, 0, 0, 10));
  EXPECT_EQ(acknowledged(rig.give(HomeAppended{kJob, 0, std::nullopt}), kFirst),
            (std::vector<StreamEnds>{{0, 0}}));
  EXPECT_EQ(all_of<AppendHome>(rig.give(output(kFirst, 2, 0, 0, 10))).size(), 1U);
}

TEST(Jobs, OutputOfAnOlderEpochIsNeverTaken) {
  Rig rig = home_of_a_guest_elsewhere();
  (void)rig.give(Peer{kFirst, Moved{kJob, Epoch{3}, kSecond}});
  EXPECT_EQ(rig.job().at, kSecond);
  const Actions late = rig.give(output(kFirst, 2, 0, 0, 10));
  EXPECT_TRUE(late.empty());
  EXPECT_EQ(rig.job().at, kSecond);
  EXPECT_EQ(all_of<AppendHome>(rig.give(output(kSecond, 3, 0, 0, 10))).size(), 1U);
  EXPECT_EQ(acknowledged(rig.give(HomeAppended{kJob, 0, 10}), kSecond).size(), 1U);
}

template <typename T>
std::vector<T> told(const Actions& actions, NodeId to) {
  std::vector<T> found;
  for (const Tell& tell : all_of<Tell>(actions)) {
    const auto* one = std::get_if<T>(&tell.message);
    if (one != nullptr && tell.to == to) found.push_back(*one);
  }
  return found;
}

// What anybody could say of any job (job_wire.h, "Who may ask what").
std::vector<Peer> claims_of(NodeId from, Epoch epoch) {
  return {{from, Output{kJob, epoch, 0, 0, base::Bytes(10, 7)}},
          {from, Here{kJob, epoch, 2}},
          {from, Exited{kJob, epoch, 0, {}, 2}}};
}

TEST(Jobs, WhoNobodyNamedIsNotBelievedAndTheHostIsAsked) {
  Rig rig = home_of_a_guest_elsewhere();
  for (const Peer& claim : claims_of(kSecond, Epoch{1ULL << 61})) {
    rig.now += kHereResend;
    const Actions said = rig.give(claim);
    EXPECT_EQ(said.size(), 1U);
    EXPECT_EQ(told<Where>(said, kFirst).size(), 1U);
    EXPECT_EQ(rig.job().at, kFirst);
    EXPECT_EQ(rig.job().epoch, Epoch{2});
  }
  // The host answers, and has the last word.
  rig.now += kClaimPatience / 2;
  (void)rig.give(Peer{kFirst, Here{kJob, Epoch{2}, 1}});
  rig.now += kClaimPatience;
  for (const Peer& claim : claims_of(kSecond, Epoch{3})) (void)rig.give(claim);
  EXPECT_EQ(rig.job().at, kFirst);
  const Actions end = rig.give(Peer{kFirst, Exited{kJob, Epoch{2}, 256, {}, 1}});
  EXPECT_EQ(told<ExitedAck>(end, kFirst).size(), 1U);
  EXPECT_EQ(rig.job().wait_status, 256);
}

// A majority went on without it, and home was none of the three.
TEST(Jobs, WhereTheHostIsLostItsSuccessorIsBelievedInTheEnd) {
  Rig rig = home_of_a_guest_elsewhere();
  const Peer here{kSecond, Here{kJob, Epoch{3}, 2}};
  EXPECT_TRUE(told<HereAck>(rig.give(here), kSecond).empty());
  rig.now += kClaimPatience;
  EXPECT_EQ(told<HereAck>(rig.give(here), kSecond).size(), 1U);
  rig.restart();
  (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst, true});
  EXPECT_EQ(rig.job().at, kSecond);
  EXPECT_EQ(rig.job().epoch, Epoch{3});
}

TEST(Jobs, TheHostNamesTheNextOneAndHomeKeepsThat) {
  Rig rig = home_of_a_guest_elsewhere();
  const Peer moved{kFirst, Moved{kJob, Epoch{3}, kSecond}};
  EXPECT_TRUE(rig.give(Peer{kSecond, Moved{kJob, Epoch{4}, NodeId{{5}}}}).empty());  // too early
  rig.synced = false;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(told<HereAck>(rig.give(moved), kFirst).empty());
  rig.restart();
  rig.synced = true;
  (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst, true});
  EXPECT_EQ(told<HereAck>(rig.give(moved), kFirst).size(), 1U);
  EXPECT_EQ(told<HereAck>(rig.give(moved), kFirst).size(), 1U);  // a double
  rig.restart();
  (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst, true});
  EXPECT_EQ(all_of<AppendHome>(rig.give(output(kSecond, 3, 0, 0, 10))).size(), 1U);
}

TEST(Jobs, AJobThatIsGoneAtBothEndsIsLost) {
  {
    SCOPED_TRACE("home was the source");
    Rig rig(kHome);
    (void)rig.give(Begin{spec()});
    (void)rig.give(Owner{kJob, Epoch{1}, true, kHome});
    (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst});
    EXPECT_FALSE(rig.job().lost);
    EXPECT_EQ(all_of<Changed>(rig.give(Owner{kJob, Epoch{2}, false, NodeId{}})).size(), 1U);
    EXPECT_TRUE(rig.job().lost);
    rig.restart();
    (void)rig.give(Owner{kJob, Epoch{2}, false, NodeId{}, true});
    EXPECT_TRUE(rig.job().lost);
  }
  SCOPED_TRACE("home hears of it");
  Rig guest(kFirst);
  (void)guest.give(Arriving{spec(), Epoch{2}});
  (void)guest.give(Owner{kJob, Epoch{2}, true, kFirst});
  Rig rig = home_of_a_guest_elsewhere();
  for (const NodeId& at : {kSecond, NodeId{}}) {
    const auto moved = told<Moved>(guest.give(Owner{kJob, Epoch{3}, false, at}), kHome);
    ASSERT_EQ(moved.size(), 1U);
    EXPECT_EQ(told<HereAck>(rig.give(Peer{kFirst, moved[0]}), kFirst).size(), 1U);
  }
  EXPECT_TRUE(rig.job().lost);
  rig.restart();
  (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst, true});
  EXPECT_TRUE(rig.job().lost);
}

TEST(Jobs, AGuestThatLeftIsForgottenOnceHomeKnowsWhereItWent) {
  Rig rig(kFirst);
  (void)rig.give(Arriving{spec(), Epoch{2}});
  (void)rig.give(Owner{kJob, Epoch{2}, true, kFirst});
  const Moved moved{kJob, Epoch{3}, kSecond};
  EXPECT_EQ(told<Moved>(rig.give(Owner{kJob, Epoch{3}, false, kSecond}), kHome),
            std::vector<Moved>{moved});
  rig.restart();
  EXPECT_EQ(told<Moved>(rig.give(Owner{kJob, Epoch{3}, false, kSecond, true}), kHome),
            std::vector<Moved>{moved});
  EXPECT_EQ(told<Moved>(rig.give(Peer{kHome, Where{kJob}}), kHome), std::vector<Moved>{moved});
  rig.now += kHereResend;
  EXPECT_EQ(told<Moved>(rig.give(Tick{}), kHome), std::vector<Moved>{moved});
  EXPECT_TRUE(all_of<Forget>(rig.give(Peer{kSecond, HereAck{kJob, Epoch{3}}})).empty());
  EXPECT_EQ(all_of<Forget>(rig.give(Peer{kHome, HereAck{kJob, Epoch{3}}})).size(), 1U);
  EXPECT_FALSE(rig.knows());
}

// The daemon dies when the job is its own already and the count of moves is not on the disk.
TEST(Jobs, AMoveIsCountedOnceWheneverTheDaemonDies) {
  Rig rig(kFirst);
  EXPECT_EQ(all_of<Stored>(rig.give(Arriving{spec(), Epoch{2}})).size(), 1U);
  rig.synced = false;
  (void)rig.give(Owner{kJob, Epoch{2}, true, kFirst});
  rig.restart();
  rig.synced = true;
  const Actions attended = rig.give(Owner{kJob, Epoch{2}, true, kFirst, true});
  EXPECT_EQ(all_of<Attend>(attended).size(), 1U);
  EXPECT_EQ(rig.job().spec.moves, 1U);
  rig.restart();
  (void)rig.give(Owner{kJob, Epoch{2}, true, kFirst, true});
  EXPECT_EQ(rig.job().spec.moves, 1U);
}

TEST(Jobs, HomeAcknowledgesAMoveOnceItIsOnItsDisk) {
  Rig rig = home_of_a_guest_elsewhere();
  const Peer here{kFirst, Here{kJob, Epoch{2}, 1}};
  rig.synced = false;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(all_of<Tell>(rig.give(here)).empty());
  rig.restart();
  rig.synced = true;
  (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst, true});
  EXPECT_EQ(all_of<Tell>(rig.give(here)).size(), 1U);
  rig.restart();
  EXPECT_EQ(rig.job().spec.moves, 1U);
}

// A guest that ends at once: what told of its move may be lost, or come when it is forgotten there.
TEST(Jobs, HomeCountsTheMovesOfAJobThatEndsBeforeItHeardOfThem) {
  Rig guest(kFirst);
  JobSpec moved_before = spec();
  moved_before.moves = 1;
  (void)guest.give(Arriving{moved_before, Epoch{2}});
  (void)guest.give(Owner{kJob, Epoch{2}, true, kFirst});  // tells Here, which is lost
  Rig home = home_of_a_guest_elsewhere();
  for (const Tell& tell : all_of<Tell>(guest.give(Ended{kJob, 0, {}}))) {
    EXPECT_FALSE(std::holds_alternative<Exited>(tell.message)) << "not on its disk yet";
  }
  const auto told = all_of<Tell>(guest.give(Tick{}));
  const auto exited = std::find_if(told.begin(), told.end(), [](const Tell& tell) {
    return std::holds_alternative<Exited>(tell.message);
  });
  ASSERT_NE(exited, told.end());
  (void)home.give(Peer{kFirst, exited->message});
  EXPECT_EQ(home.job().spec.moves, 2U);
  home.restart();
  EXPECT_EQ(home.job().spec.moves, 2U);
  EXPECT_TRUE(home.job().wait_status.has_value());
}

TEST(Jobs, AnArrivalThatCameToNothingIsNotCounted) {
  Rig rig = home_of_a_guest_elsewhere();
  (void)rig.give(Arriving{spec(), Epoch{3}});
  (void)rig.give(DropArrival{kJob});
  rig.restart();
  (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst, true});
  (void)rig.give(Arriving{spec(), Epoch{4}});
  (void)rig.give(Owner{kJob, Epoch{4}, true, kHome});
  EXPECT_EQ(rig.job().spec.moves, 1U);
}

TEST(Jobs, AGuestThatBalanceDoesNotKnowIsForgotten) {
  Rig rig(kFirst);
  (void)rig.give(Arriving{spec(), Epoch{2}});
  rig.restart();
  ASSERT_TRUE(rig.knows());
  EXPECT_EQ(all_of<Forget>(rig.give(Unowned{kJob})).size(), 1U);
  EXPECT_FALSE(rig.knows());
}

// The daemon died between the job's record and balance's.
TEST(Jobs, BalanceForgetsAfterARestartWhatIsOverHere) {
  Rig guest(kFirst);
  const Owner left{kJob, Epoch{3}, false, kSecond, true};
  (void)guest.give(Arriving{spec(), Epoch{2}});
  (void)guest.give(Owner{kJob, Epoch{2}, true, kFirst});
  guest.restart();
  EXPECT_TRUE(all_of<OverHere>(guest.give(left)).empty()) << "home has not heard where it went";
  (void)guest.give(Peer{kHome, HereAck{kJob, Epoch{3}}});
  guest.restart();
  EXPECT_EQ(all_of<OverHere>(guest.give(left)).size(), 1U);
  EXPECT_TRUE(all_of<OverHere>(guest.give(Owner{kJob, Epoch{3}, false, kSecond})).empty());
  guest.disk()["job/" + kJob.hex()] = {1};  // described by a later daemon, or damaged
  guest.restart();
  EXPECT_TRUE(all_of<OverHere>(guest.give(left)).empty());
}

TEST(Jobs, BalanceForgetsAfterARestartWhatEndedElsewhere) {
  Rig home = home_of_a_guest_elsewhere();
  (void)home.give(Peer{kFirst, Moved{kJob, Epoch{3}, kSecond}});
  const Owner before{kJob, Epoch{2}, false, kFirst, true};
  home.restart();
  EXPECT_TRUE(all_of<OverHere>(home.give(before)).empty());
  const Exited exited{kJob, Epoch{3}, 0, {}, 2};
  EXPECT_EQ(all_of<OverHere>(home.give(Peer{kSecond, exited})).size(), 1U);
  home.restart();
  EXPECT_EQ(all_of<OverHere>(home.give(before)).size(), 1U);
}

TEST(Jobs, ALostJobThatIsHeardOfIsNotLost) {
  Rig rig(kHome);
  (void)rig.give(Begin{spec()});
  rig.restart();
  (void)rig.give(Unowned{kJob});
  EXPECT_TRUE(rig.job().lost);
  (void)rig.give(Peer{kSecond, Here{kJob, Epoch{3}, 2}});
  EXPECT_FALSE(rig.job().lost);
  EXPECT_EQ(rig.job().at, kSecond);
}

}  // namespace
}  // namespace node::jobs
