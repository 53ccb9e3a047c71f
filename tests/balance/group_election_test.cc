// Elections: Raft §5.1, §5.2, §5.4.1, thesis §9.6 (pre-vote) and §6.2 (check quorum), and who is
// listened to at all.
#include "group_rig.h"

namespace balance {
namespace {

using group::Role;

group::Append heartbeat() { return {log_end(0, 1), base::LogIndex{1}, {}}; }
group::Recovered disk_of(std::uint64_t term, std::vector<group::Entry> entries = {}) {
  return {{base::Term{term}, std::nullopt}, std::move(entries)};
}

// §5.2: "When servers start up, they begin as followers."
TEST(GroupElection, StartsAsFollowerAndSaysNothing) {
  Rig rig(trio(kB));
  EXPECT_EQ(rig.group.role(), Role::kFollower);
  EXPECT_TRUE(rig.sent.empty());
  rig.step(group::Tick{});  // before its deadline
  EXPECT_EQ(rig.group.role(), Role::kFollower);
}

// §5.2: "A server remains in follower state as long as it receives valid RPCs from a leader".
TEST(GroupElection, HeartbeatsKeepItFollower) {
  Rig rig(trio(kB));
  rig.prompt_disk = true;
  for (int i = 0; i < 40; ++i) {
    rig.hear(kA, 1, heartbeat());
    rig.pass(std::chrono::milliseconds(1400));
    EXPECT_EQ(rig.group.role(), Role::kFollower);
  }
  EXPECT_EQ(rig.group.leader(), kA);
}

// §5.2: "If a follower receives no communication over ... the election timeout, it ... begins an
// election": here first a pre-vote, which raises no term and writes nothing (thesis §9.6).
TEST(GroupElection, SilenceLeadsToAPreVoteThatChangesNoTerm) {
  Rig rig(trio(kB), disk_of(4));
  rig.pass(std::chrono::seconds(3));
  EXPECT_EQ(rig.group.role(), Role::kPreCandidate);
  EXPECT_TRUE(rig.last_to<group::PreVote>(kA));
  EXPECT_TRUE(rig.last_to<group::PreVote>(kC));
  rig.pass(std::chrono::seconds(60));
  EXPECT_EQ(rig.group.term(), base::Term{4});
  EXPECT_EQ(rig.written(), 0u);
}

// §5.2: "increments its current term ... votes for itself and issues RequestVote RPCs in parallel".
TEST(GroupElection, MajorityOfPreVotesStartsTheElection) {
  Rig rig(trio(kB), disk_of(4));
  rig.tick();
  rig.hear(kC, 4, group::PreVoteReply{false, base::Term{4}});
  EXPECT_EQ(rig.group.role(), Role::kPreCandidate);
  rig.hear(kC, 4, group::PreVoteReply{true, base::Term{3}});  // an answer to an older question
  EXPECT_EQ(rig.group.role(), Role::kPreCandidate);
  rig.hear(kC, 4, group::PreVoteReply{true, base::Term{4}});
  EXPECT_EQ(rig.group.role(), Role::kCandidate);
  ASSERT_EQ(rig.written(), 1u);
  EXPECT_EQ(rig.writes[0].hard, (group::HardState{base::Term{5}, kB}));
  rig.confirm();
  EXPECT_TRUE(rig.last_to<group::Vote>(kA));
  EXPECT_TRUE(rig.last_to<group::Vote>(kC));
  EXPECT_EQ(rig.sent.back().message.term, base::Term{5});
}

// §5.2: "A candidate wins an election if it receives votes from a majority ... for the same term".
TEST(GroupElection, WinsWithAMajorityOfTheSameTerm) {
  struct Row {
    const char* name;
    std::uint64_t term;
    bool granted, wins;
  };
  for (const Row& row : {Row{"granted", 1, true, true}, Row{"refused", 1, false, false},
                         Row{"of an older term", 0, true, false}}) {
    SCOPED_TRACE(row.name);
    Rig rig(trio(kA));
    rig.prompt_disk = true;
    rig.tick();
    rig.hear(kB, 0, group::PreVoteReply{true, base::Term{0}});
    rig.hear(kB, row.term, group::VoteReply{row.granted});
    EXPECT_EQ(rig.group.is_leader(), row.wins);
    EXPECT_EQ(rig.told<group::BecameLeader>(), row.wins ? 1u : 0u);
  }
}

// §5.2: the winner "sends heartbeat messages to all of the other servers to establish its authority
// and prevent new elections"; §8: "a no-op entry ... at the start of its term".
TEST(GroupElection, WinnerOpensItsTermWithAnEmptyEntry) {
  Rig rig(trio(kA));
  const std::uint64_t term = rig.elect();
  for (const auto& to : {kB, kC}) {
    const auto append = rig.last_to<group::Append>(to);
    ASSERT_TRUE(append);
    EXPECT_EQ(append->entries, std::vector{entry(term)});
  }
  rig.clear();
  rig.tick();
  EXPECT_EQ(rig.count<group::Append>(), 2u);
  EXPECT_FALSE(rig.group.in_office());
  rig.acknowledge(kC, 2);
  EXPECT_TRUE(rig.group.in_office());
}

// §5.2: "Each server will vote for at most one candidate in a given term, on a
// first-come-first-served basis"; the same answer again to a repeated question.
TEST(GroupElection, OneVoteATerm) {
  Rig rig(trio(kA), disk_of(4));
  rig.prompt_disk = true;
  rig.hear(kB, 5, group::Vote{log_end(0, 1)});
  EXPECT_TRUE(rig.last_to<group::VoteReply>(kB)->granted);
  rig.hear(kC, 5, group::Vote{log_end(0, 1)});
  EXPECT_FALSE(rig.last_to<group::VoteReply>(kC)->granted);
  rig.clear();
  rig.hear(kB, 5, group::Vote{log_end(0, 1)});
  EXPECT_TRUE(rig.last_to<group::VoteReply>(kB)->granted);
  rig.hear(kC, 6, group::Vote{log_end(0, 1)});
  EXPECT_TRUE(rig.last_to<group::VoteReply>(kC)->granted);
}

// §5.2 with a crash between: the vote that was written binds the next life.
TEST(GroupElection, VoteBindsAfterRestart) {
  Rig rig(trio(kA, 2), {{base::Term{5}, kB}, {}});
  rig.prompt_disk = true;
  rig.hear(kC, 5, group::Vote{log_end(0, 1)});
  EXPECT_FALSE(rig.last_to<group::VoteReply>(kC)->granted);
  rig.hear(kB, 5, group::Vote{log_end(0, 1)});
  EXPECT_TRUE(rig.last_to<group::VoteReply>(kB)->granted);
}

// §5.2: "If the leader's term ... is at least as large as the candidate's current term, then the
// candidate recognizes the leader as legitimate"; if smaller, "rejects the RPC and continues".
TEST(GroupElection, CandidateYieldsToALeaderOfItsTermOnly) {
  struct Row {
    const char* name;
    std::uint64_t term;
    Role role;
  };
  for (const Row& row : {Row{"same term", 5, Role::kFollower}, Row{"newer", 6, Role::kFollower},
                         Row{"older", 4, Role::kCandidate}}) {
    SCOPED_TRACE(row.name);
    Rig rig(trio(kB), disk_of(4));
    rig.prompt_disk = true;
    rig.tick();
    rig.hear(kC, 4, group::PreVoteReply{true, base::Term{4}});
    rig.hear(kA, row.term, heartbeat());
    EXPECT_EQ(rig.group.role(), row.role);
    EXPECT_EQ(rig.last_to<group::AppendReply>(kA)->ok, row.role == Role::kFollower);
  }
}

// §5.1: "if one server's current term is smaller than the other's, then it updates"; "If a
// candidate or leader discovers that its term is out of date, it immediately reverts to follower
// state."
TEST(GroupElection, EveryKindOfMessageWithAHigherTermDeposesALeader) {
  const std::pair<const char*, group::Body> rows[] = {
      {"PreVote", group::PreVote{log_end(0, 1)}},
      {"PreVoteReply", group::PreVoteReply{}},
      {"Vote", group::Vote{log_end(0, 1)}},
      {"VoteReply", group::VoteReply{}},
      {"Append", heartbeat()},
      {"AppendReply", group::AppendReply{}},
  };
  for (const auto& [name, body] : rows) {
    SCOPED_TRACE(name);
    Rig rig(trio(kA));
    rig.elect();
    rig.hear(kC, 9, body);
    EXPECT_FALSE(rig.group.is_leader());
    EXPECT_EQ(rig.group.term(), base::Term{9});
    EXPECT_EQ(rig.told<group::SteppedDown>(), 1u);
    EXPECT_LT(rig.group.next_deadline(), base::kNever);
  }
}

// §5.4.1: the voter "denies its vote if its own log is more up-to-date than that of the candidate":
// later last term, or same last term and longer. The same for pre-votes.
TEST(GroupElection, VotesOnlyForLogsAtLeastAsUpToDate) {
  struct Row {
    const char* name;
    std::uint64_t term, index;
    bool grant;
  };
  const Row rows[] = {{"same", 3, 3, true},
                      {"longer", 3, 4, true},
                      {"shorter", 3, 2, false},
                      {"later term, shorter", 4, 2, true},
                      {"older term, longer", 2, 9, false}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Rig rig(trio(kB), disk_of(5, {entry(1), entry(3)}));
    rig.prompt_disk = true;
    rig.hear(kA, 5, group::PreVote{log_end(row.term, row.index)});
    EXPECT_EQ(rig.last_to<group::PreVoteReply>(kA)->granted, row.grant);
    rig.hear(kA, 6, group::Vote{log_end(row.term, row.index)});
    EXPECT_EQ(rig.last_to<group::VoteReply>(kA)->granted, row.grant);
  }
}

// §5.2: a voter that granted waits a whole timeout again; one that refused does not.
TEST(GroupElection, OnlyAGrantedVoteRenewsPatience) {
  Rig rig(trio(kB), disk_of(5, {entry(3)}));
  rig.prompt_disk = true;
  rig.now += std::chrono::milliseconds(1400);
  const base::Time before = rig.group.next_deadline();
  rig.hear(kA, 6, group::Vote{log_end(0, 1)});
  EXPECT_EQ(rig.group.next_deadline(), before);
  rig.hear(kA, 6, group::Vote{log_end(3, 2)});
  EXPECT_GE(rig.group.next_deadline(), rig.now +
                                           rig.group.term().value * std::chrono::milliseconds(0) +
                                           std::chrono::milliseconds(1500));
}

// Thesis §9.6: no pre-vote while a leader is heard, so a member that returns deposes nobody.
TEST(GroupElection, PreVoteIsRefusedWhileALeaderIsHeard) {
  Rig rig(trio(kB));
  rig.prompt_disk = true;
  rig.hear(kA, 1, heartbeat());
  rig.now += std::chrono::milliseconds(699);
  rig.hear(kC, 1, group::PreVote{log_end(0, 1)});
  EXPECT_FALSE(rig.last_to<group::PreVoteReply>(kC)->granted);
  rig.now += std::chrono::milliseconds(1);
  rig.hear(kC, 1, group::PreVote{log_end(0, 1)});
  EXPECT_TRUE(rig.last_to<group::PreVoteReply>(kC)->granted);
}

TEST(GroupElection, LeaderRefusesPreVotesAndStaysLeader) {
  Rig rig(trio(kA));
  const std::uint64_t term = rig.elect();
  rig.hear(kC, term, group::PreVote{log_end(term, 9)});
  EXPECT_FALSE(rig.last_to<group::PreVoteReply>(kC)->granted);
  EXPECT_TRUE(rig.group.is_leader());
}

// A pre-candidate of an older term learns the term from the refusal.
TEST(GroupElection, PreVoteOfAnOlderTermIsRefusedWithTheCurrentOne) {
  Rig rig(trio(kB), disk_of(7));
  rig.hear(kC, 6, group::PreVote{log_end(5, 30)});
  EXPECT_FALSE(rig.last_to<group::PreVoteReply>(kC)->granted);
  EXPECT_EQ(rig.sent.back().message.term, base::Term{7});
}

// Thesis §9.6: granting a pre-vote is no vote: it binds nobody and writes nothing.
TEST(GroupElection, PreVotesAreFreeForBoth) {
  Rig rig(trio(kB));
  rig.hear(kA, 0, group::PreVote{log_end(0, 1)});
  rig.hear(kC, 0, group::PreVote{log_end(0, 1)});
  EXPECT_TRUE(rig.last_to<group::PreVoteReply>(kA)->granted);
  EXPECT_TRUE(rig.last_to<group::PreVoteReply>(kC)->granted);
  EXPECT_EQ(rig.written(), 0u);
}

// §5.2: "randomized election timeouts"; design.md §3: the preferred member's are shorter than any.
TEST(GroupElection, TimeoutsAreDrawnFromTheirRanges) {
  const GroupTimings t;
  std::vector<base::Time> others;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Rig preferred(trio(kA), {}, seed);
    EXPECT_LE(preferred.group.next_deadline(), kStart + t.preferred_first_max);
    preferred.prompt_disk = true;
    preferred.hear(kB, 1, heartbeat());
    EXPECT_GE(preferred.group.next_deadline(), kStart + t.preferred_min);
    EXPECT_LE(preferred.group.next_deadline(), kStart + t.preferred_max);
    Rig other(trio(kC), {}, seed);
    EXPECT_GE(other.group.next_deadline(), kStart + t.election_min);
    EXPECT_LE(other.group.next_deadline(), kStart + t.election_max);
    others.push_back(other.group.next_deadline());
  }
  std::sort(others.begin(), others.end());
  EXPECT_GT(std::unique(others.begin(), others.end()) - others.begin(), 45);
}

// §5.1/Fig. 2: lost requests are repeated, to those only who did not answer yes.
TEST(GroupElection, CampaignIsRepeated) {
  Rig rig(trio(kB));
  rig.tick();
  rig.clear();
  rig.tick();
  EXPECT_EQ(rig.count<group::PreVote>(), 2u);
  EXPECT_EQ(rig.group.role(), Role::kPreCandidate);
}

// Thesis §6.2: a leader cut off from the majority steps down, in its term; one voice is enough.
TEST(GroupElection, LeaderWithoutAMajorityStepsDown) {
  Rig rig(trio(kA));
  const std::uint64_t term = rig.elect();
  for (int i = 0; i < 10; ++i) {
    rig.pass(std::chrono::seconds(2));
    rig.acknowledge(kC, 2);
  }
  EXPECT_TRUE(rig.group.is_leader());
  rig.pass(std::chrono::milliseconds(2900));
  EXPECT_TRUE(rig.group.is_leader());
  rig.pass(std::chrono::milliseconds(400));
  EXPECT_FALSE(rig.group.is_leader());
  EXPECT_EQ(rig.told<group::SteppedDown>(), 1u);
  EXPECT_EQ(rig.group.term(), base::Term{term});
  EXPECT_EQ(rig.group.leader(), std::nullopt);
}

// A lid that closed for an hour: the first tick finds nobody heard, so no order is given.
TEST(GroupElection, LeaderThatSleptStepsDownFirst) {
  Rig rig(trio(kA));
  rig.elect();
  rig.clear();
  rig.now += std::chrono::hours(1);
  rig.step(group::Tick{});
  EXPECT_FALSE(rig.group.is_leader());
  EXPECT_TRUE(rig.sent.empty());
}

// Pair (design.md §3): SOURCE alone votes and leads, at once; the learner never campaigns.
TEST(GroupElection, SourceOfAPairLeadsAlone) {
  Rig source(pair_of(kA));
  source.prompt_disk = true;
  source.tick();
  EXPECT_TRUE(source.group.is_leader());
  EXPECT_TRUE(source.group.in_office());
  EXPECT_EQ(source.count<group::Vote>() + source.count<group::PreVote>(), 0u);
  source.pass(std::chrono::minutes(1));
  EXPECT_TRUE(source.group.is_leader());
  Rig sink(pair_of(kB));
  EXPECT_EQ(sink.group.next_deadline(), base::kNever);
}

TEST(GroupElection, SourceOfAPairLeadsOnlyOnceItsVoteIsDurable) {
  Rig rig(pair_of(kA));
  rig.tick();
  EXPECT_FALSE(rig.group.is_leader());
  rig.confirm();
  EXPECT_TRUE(rig.group.is_leader());
  EXPECT_FALSE(rig.group.in_office());
  rig.confirm();
  EXPECT_TRUE(rig.group.in_office());
}

// A slow disk gets no second candidacy on top of the first.
TEST(GroupElection, CandidateWaitsForItsDisk) {
  Rig rig(pair_of(kA));
  rig.pass(std::chrono::minutes(1));
  EXPECT_EQ(rig.written(), 1u);
  EXPECT_EQ(rig.group.term(), base::Term{1});
}

TEST(GroupElection, LearnerGivesNoVotesAndGetsNone) {
  Rig rig(pair_of(kB));
  rig.hear(kA, 3, group::Vote{log_end(0, 1)});
  rig.hear(kA, 3, group::PreVote{log_end(0, 1)});
  EXPECT_TRUE(rig.sent.empty());
  EXPECT_EQ(rig.group.counters().against_rules, 2u);
  Rig source(pair_of(kA));
  source.hear(kB, 3, group::Append{log_end(0, 1), {}, {entry(3)}});
  source.hear(kB, 3, group::Vote{log_end(2, 7)});
  EXPECT_EQ(source.group.counters().against_rules, 2u);
  EXPECT_EQ(source.group.term(), base::Term{0});
}

// design.md §3: "a different store id never votes"; every message is of this triad and this life.
TEST(GroupElection, StrangersAreDroppedAndCounted) {
  const auto vote = [](base::TriadId group, base::StoreId store, std::uint64_t life) {
    return group::encode(
        {group, store, base::Incarnation{life}, base::Term{9}, group::Vote{log_end(0, 1)}});
  };
  Rig rig(trio(kA));
  rig.hear(kB, 0, group::VoteReply{}, 5);  // life 5 was seen
  const base::NodeId stranger{{0xdd}};
  rig.step(group::Received{stranger, vote(kGroupId, store_of(stranger), 1)});
  rig.step(group::Received{kA, vote(kGroupId, store_of(kA), 1)});
  rig.step(group::Received{kB, vote(kGroupId, store_of(kC), 5)});
  rig.step(group::Received{kB, vote(base::TriadId{{1}}, store_of(kB), 5)});
  rig.step(group::Received{kB, vote(kGroupId, store_of(kB), 4)});
  rig.step(group::Received{kB, bytes_of("noise")});
  const group::Counters& counters = rig.group.counters();
  EXPECT_EQ(counters.not_member, 2u);
  EXPECT_EQ(counters.wrong_store, 1u);
  EXPECT_EQ(counters.wrong_group, 1u);
  EXPECT_EQ(counters.stale_life, 1u);
  EXPECT_EQ(counters.undecodable, 1u);
  EXPECT_EQ(rig.group.term(), base::Term{0});
  EXPECT_TRUE(rig.sent.empty());
  rig.step(group::Received{kB, vote(kGroupId, store_of(kB), 5)});
  EXPECT_EQ(rig.group.term(), base::Term{9});
}

// §5.2, election safety: a second leader of a term is impossible, so its words are not followed.
TEST(GroupElection, SecondLeaderOfATermIsNotFollowed) {
  Rig rig(trio(kB));
  rig.prompt_disk = true;
  rig.hear(kA, 3, heartbeat());
  rig.hear(kC, 3, group::Append{log_end(0, 1), {}, {entry(3, "other")}});
  EXPECT_EQ(rig.group.counters().against_rules, 1u);
  EXPECT_EQ(rig.group.leader(), kA);
  EXPECT_EQ(rig.group.last_index(), base::LogIndex{1});
  Rig leader(trio(kA));
  leader.hear(kC, leader.elect(), heartbeat());
  EXPECT_TRUE(leader.group.is_leader());
}

TEST(GroupElection, ContradictoryDiskIsRefused) {
  struct Row {
    const char* name;
    group::Recovered disk;
  };
  const Row rows[] = {
      {"vote for a stranger", {{base::Term{1}, base::NodeId{{9}}}, {}}},
      {"entry of a later term", disk_of(1, {entry(2)})},
      {"terms fall", disk_of(3, {entry(2), entry(1)})},
      {"term zero", disk_of(3, {entry(0)})},
      {"too long", disk_of(3, std::vector(kGroupLogMax, entry(1)))},
      {"entry too large", disk_of(3, {{base::Term{1}, base::Bytes(kGroupPayloadBytesMax + 1)}})},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_FALSE(Group::open(trio(kA), row.disk, base::Rng(1), kStart).ok());
  }
}

// group_limits.h: a full log takes no further term.
TEST(GroupElection, FullLogDoesNotCampaign) {
  Rig rig(trio(kB), disk_of(1, std::vector(kGroupLogMax - 1, entry(1))));
  rig.pass(std::chrono::seconds(10));
  EXPECT_EQ(rig.group.role(), Role::kFollower);
  Rig almost(trio(kA), disk_of(1, std::vector(kGroupLogMax - 2, entry(1))));
  almost.elect();
  EXPECT_EQ(almost.group.last_index().value, kGroupLogMax);
}

}  // namespace
}  // namespace balance
