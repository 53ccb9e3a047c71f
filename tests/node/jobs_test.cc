// What a node knows of its jobs, event by event (node/jobs.h).
#include "node/jobs.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "jobs_rig.h"

namespace node::jobs {
namespace {

std::vector<StreamEnds> acknowledged(const Actions& actions, NodeId to) {
  std::vector<StreamEnds> found;
  for (const Tell& tell : all_of<Tell>(actions)) {
    const auto* ack = std::get_if<OutputAck>(&tell.message);
    if (ack != nullptr && tell.to == to) found.push_back(ack->have);
  }
  return found;
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

// node/jobs.h, the diagram of rest.
TEST(Jobs, AJobIsParkedWhenItsHostSaysSoAndRunsAgainWhenItsHostSaysSo) {
  Rig node(kHome);
  (void)node.give(Begin{spec()});
  (void)node.give(Owner{kJob, Epoch{1}, true, kHome});
  (void)node.give(Launched{kJob, 100});
  auto said = node.give(ParkAsked{kJob});
  ASSERT_EQ(all_of<Park>(said).size(), 1U);
  EXPECT_EQ(all_of<Park>(said)[0].epoch, Epoch{1});
  EXPECT_TRUE(node.give(ParkAsked{kJob}).empty());  // it is at it
  EXPECT_TRUE(node.job().launched);
  (void)node.give(ParkFailed{kJob});
  EXPECT_EQ(node.job().rest, Rest::kNone);
  (void)node.give(ParkAsked{kJob});
  (void)node.give(Parked{kJob, {false, {}, 4096, 500'000, 7'000'000}});
  EXPECT_EQ(node.job().rest, Rest::kParked);
  EXPECT_EQ(node.job().spec.cpu_micros, 7'000'000U);  // the next copy counts from there
  EXPECT_FALSE(node.job().launched);
  EXPECT_EQ(all_of<Wake>(node.give(WakeAsked{kJob})).size(), 1U);
  EXPECT_TRUE(node.give(WakeAsked{kJob}).empty());
  (void)node.give(WakeFailed{kJob});
  EXPECT_EQ(node.job().rest, Rest::kParked);
  (void)node.give(WakeAsked{kJob});
  (void)node.give(Woken{kJob, 200});
  EXPECT_EQ(node.job().rest, Rest::kNone);
  EXPECT_TRUE(node.job().launched);
  EXPECT_FALSE(node.job().parked);
  EXPECT_EQ(node.job().spec.load_micros, 500'000);  // what the node takes in, too
  EXPECT_TRUE(node.give(WakeAsked{kJob}).empty());
}

TEST(Jobs, AfterARestartAParkedJobIsWhatItsFolderSays) {
  Rig node(kHome);
  (void)node.give(Begin{spec()});
  (void)node.give(Owner{kJob, Epoch{1}, true, kHome});
  (void)node.give(Launched{kJob, 100});
  node.restart();
  EXPECT_EQ(all_of<Attend>(node.give(Owner{kJob, Epoch{1}, true, kHome, true})).size(), 1U);
  (void)node.give(Parked{kJob, {}});
  EXPECT_EQ(node.job().rest, Rest::kParked);
  EXPECT_EQ(node.job().arrived, node.now);
  // Else the jobs that were queued meanwhile would wake before it, the oldest.
  (void)node.give(Parked{kJob, {}, std::chrono::seconds(40)});
  EXPECT_EQ(node.job().arrived, node.now - std::chrono::seconds(40));
  auto said = node.give(RemoveAsked{kJob, 15});
  ASSERT_EQ(all_of<Remove>(said).size(), 1U);
  (void)node.give(Ended{kJob, 15, {}});
  EXPECT_EQ(node.job().wait_status, 15);
  EXPECT_EQ(node.job().rest, Rest::kNone);
}

TEST(Jobs, AQueuedJobIsNotLaunchedBeforeItIsWoken) {
  Rig node(kHome);
  (void)node.give(Begin{spec(), ParkedFacts{true, {}, 0, 1'000'000}});
  EXPECT_TRUE(all_of<Launch>(node.give(Owner{kJob, Epoch{1}, true, kHome})).empty());
  EXPECT_EQ(node.job().rest, Rest::kParked);
  EXPECT_EQ(all_of<Wake>(node.give(WakeAsked{kJob})).size(), 1U);
}

// An acknowledgement of what was so before does not silence what is so now.
TEST(Jobs, AGuestsHomeIsToldThatItIsParkedUntilItHasHeard) {
  Rig node(kFirst);
  (void)node.give(Arriving{spec(), Epoch{2}});
  (void)node.give(Owner{kJob, Epoch{2}, true, kFirst});
  (void)node.give(ParkAsked{kJob});
  const Actions said = node.give(Parked{kJob, {}});
  ASSERT_EQ(all_of<Tell>(said).size(), 1U);
  EXPECT_TRUE(std::get<Here>(all_of<Tell>(said)[0].message).parked);
  (void)node.give(Peer{kHome, HereAck{kJob, Epoch{2}, false}});
  EXPECT_FALSE(node.job().here_acked);
  (void)node.give(Peer{kHome, HereAck{kJob, Epoch{2}, true}});
  EXPECT_TRUE(node.job().here_acked);
  (void)node.give(WakeAsked{kJob});
  (void)node.give(Woken{kJob, 1});
  EXPECT_FALSE(node.job().here_acked);

  Rig home(kHome);
  (void)home.give(Begin{spec()});
  (void)home.give(Owner{kJob, Epoch{1}, true, kHome});
  (void)home.give(Owner{kJob, Epoch{2}, false, kFirst});
  (void)home.give(Peer{kFirst, Here{kJob, Epoch{2}, 1, true}});
  EXPECT_TRUE(home.job().parked_there);
  (void)home.give(Peer{kFirst, Here{kJob, Epoch{2}, 1, false}});
  EXPECT_FALSE(home.job().parked_there);
  (void)home.give(Peer{kFirst, Here{kJob, Epoch{2}, 1, true}});
  (void)home.give(Owner{kJob, Epoch{3}, true, kHome});
  EXPECT_FALSE(home.job().parked_there);
}

// A guest on kFirst.
Rig host_of_a_guest() {
  Rig rig(kFirst);
  (void)rig.give(Arriving{spec(), Epoch{2}});
  (void)rig.give(Owner{kJob, Epoch{2}, true, kFirst});
  (void)rig.give(Peer{kHome, HereAck{kJob, Epoch{2}}});
  return rig;
}

TEST(Jobs, WhatAReadSawInTheSpoolIsSentAlsoIfNobodyToldOfIt) {
  Rig rig = host_of_a_guest();
  EXPECT_EQ(all_of<ReadSpool>(rig.give(SpoolGrew{kJob, {}, {10, 0}})).size(), 1U);
  const Actions read = rig.give(SpoolRead{kJob, 0, 0, base::Bytes(15, 7), {25, 0}});
  EXPECT_EQ(told<Output>(read, kHome).size(), 1U);
  const auto more = all_of<ReadSpool>(rig.give(Peer{kHome, OutputAck{kJob, {15, 0}}}));
  ASSERT_EQ(more.size(), 1U);
  EXPECT_EQ(more[0].offset, 15U);
}

TEST(Jobs, AGuestsOutputThatDoesNotMoveIsToldOf) {
  Rig rig = host_of_a_guest();
  (void)rig.give(SpoolGrew{kJob, {}, {10, 0}});
  EXPECT_LE(rig.deadline(), rig.now + kOutputStall) << "also while it is being read";
  (void)rig.give(SpoolRead{kJob, 0, 0, base::Bytes(10, 7)});
  const auto told_after = [&](base::Duration duration) {
    rig.now += duration;
    return all_of<OutputStalls>(rig.give(Tick{}));
  };
  EXPECT_TRUE(told_after(kOutputStall / 2).empty());
  const auto stalls = told_after(kOutputStall / 2);
  ASSERT_EQ(stalls.size(), 1U);
  EXPECT_FALSE(stalls[0].at_home);
  EXPECT_EQ(stalls[0].since, kOutputStall);
  EXPECT_EQ(stalls[0].spool - stalls[0].home, 10U);
  EXPECT_TRUE(stalls[0].reading);
  EXPECT_TRUE(told_after(kOutputStallAgain / 2).empty());
  EXPECT_EQ(told_after(kOutputStallAgain / 2).size(), 1U);
  EXPECT_TRUE(told_after(kOutputStallAgain).empty()) << "more rarely each time";
  EXPECT_EQ(told_after(kOutputStall).size(), 1U);
  // Home has some more: that is progress.
  (void)rig.give(Peer{kHome, OutputAck{kJob, {5, 0}}});
  rig.now += kOutputStallAgain;
  (void)rig.give(Peer{kHome, OutputAck{kJob, {10, 0}}});
  EXPECT_TRUE(told_after({}).empty());
}

TEST(Jobs, HomeTellsOfALogThatTakesNothing) {
  Rig rig = home_of_a_guest_elsewhere();
  (void)rig.give(output(kFirst, 2, 0, 0, 10));
  EXPECT_LE(rig.deadline(), rig.now + kOutputStall);
  rig.now += kOutputStall;
  const auto stalls = all_of<OutputStalls>(rig.give(Tick{}));
  ASSERT_EQ(stalls.size(), 1U);
  EXPECT_TRUE(stalls[0].at_home);
  (void)rig.give(HomeAppended{kJob, 0, 10});
  rig.now += kOutputStallAgain;
  EXPECT_TRUE(all_of<OutputStalls>(rig.give(Tick{})).empty());
}

}  // namespace
}  // namespace node::jobs
