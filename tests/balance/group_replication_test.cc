// The log: Raft §5.3, §5.4 (Figure 8), what is told as committed, and members that forgot.
#include "group_rig.h"

namespace balance {
namespace {

using base::LogIndex;

group::Recovered disk_of(std::uint64_t term, std::vector<group::Entry> entries) {
  return {{base::Term{term}, std::nullopt}, std::move(entries)};
}
group::AppendReply refusal(std::uint64_t prev, std::uint64_t hint) {
  return {false, LogIndex{prev}, LogIndex{hint}, LogIndex{1}};
}

// §5.3: "appends the command to its log as a new entry, then issues AppendEntries RPCs in
// parallel".
TEST(GroupReplication, ProposalIsAppendedAndSentToAll) {
  Rig rig(trio(kA));
  const std::uint64_t term = rig.elect();
  rig.acknowledge(kB, 2);
  rig.acknowledge(kC, 2);
  rig.clear();
  rig.propose("begin");
  EXPECT_EQ(rig.told<group::Proposed>(), 1u);
  for (const auto& to : {kB, kC}) {
    const auto append = rig.last_to<group::Append>(to);
    ASSERT_TRUE(append);
    EXPECT_EQ(append->prev, log_end(term, 2));
    EXPECT_EQ(append->entries, std::vector{entry(term, "begin")});
  }
}

// §5.3: "committed once the leader that created the entry has replicated it on a majority"; "it
// also commits all preceding entries"; followers learn the index in later appends, at once.
TEST(GroupReplication, CommitsOnAMajorityInLogOrder) {
  Rig rig(trio(kA));
  const std::uint64_t term = rig.elect();
  rig.propose("one");
  rig.propose("two");
  EXPECT_TRUE(rig.committed.empty());
  rig.clear();
  rig.acknowledge(kC, 4);
  ASSERT_EQ(rig.committed.size(), 3u);
  EXPECT_EQ(rig.committed[0].index, LogIndex{2});
  EXPECT_TRUE(rig.committed[0].payload.empty());
  EXPECT_EQ(rig.committed[1].payload, bytes_of("one"));
  EXPECT_EQ(rig.committed[2].payload, bytes_of("two"));
  EXPECT_EQ(rig.committed[2].term, base::Term{term});
  EXPECT_EQ(rig.last_to<group::Append>(kB)->commit, LogIndex{4});
  rig.acknowledge(kC, 4);
  rig.acknowledge(kB, 4);
  EXPECT_EQ(rig.committed.size(), 3u);
}

// §5.3: "the follower applies the entry ... once it learns that it is committed", not beyond what
// this very message vouches for, and not before it is durable here.
TEST(GroupReplication, FollowerCommitsWhatTheLeaderSaysAndItHolds) {
  Rig rig(trio(kB), disk_of(1, {entry(1, "old")}));
  rig.hear(kA, 2, group::Append{log_end(0, 1), LogIndex{9}, {}});
  EXPECT_EQ(rig.group.commit_index(), LogIndex{1});  // "old" may yet be overwritten
  rig.hear(kA, 2, group::Append{log_end(0, 1), LogIndex{9}, {entry(2, "new")}});
  EXPECT_EQ(rig.group.commit_index(), LogIndex{2});
  EXPECT_TRUE(rig.committed.empty());
  while (rig.confirmed < rig.written()) rig.confirm();
  ASSERT_EQ(rig.committed.size(), 1u);
  EXPECT_EQ(rig.committed[0].payload, bytes_of("new"));
  rig.hear(kA, 2, group::Append{log_end(0, 1), LogIndex{1}, {}});  // an old one, late
  EXPECT_EQ(rig.group.commit_index(), LogIndex{2});
}

// §5.3, consistency check, and Figure 7's followers: missing entries, extra ones, both.
TEST(GroupReplication, FollowerRefusesUnlessItHoldsThePredecessor) {
  struct Row {
    const char* name;
    std::vector<group::Entry> log;
    group::LogEnd prev;
    bool ok;
    std::uint64_t index;  // ok: the end of the append; else the hint
  };
  const Row rows[] = {
      {"empty, at the form", {}, log_end(0, 1), true, 2},
      {"too short", {entry(1)}, log_end(1, 4), false, 3},
      {"other term there", {entry(1), entry(2), entry(2)}, log_end(3, 4), false, 3},
      {"held", {entry(1), entry(1)}, log_end(1, 3), true, 4},
      {"held, more after", {entry(1), entry(1), entry(2)}, log_end(1, 3), true, 4},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Rig rig(trio(kB), disk_of(4, row.log));
    rig.prompt_disk = true;
    rig.hear(kA, 5, group::Append{row.prev, LogIndex{1}, {entry(5, "new")}});
    const auto reply = rig.last_to<group::AppendReply>(kA);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->ok, row.ok);
    EXPECT_EQ(reply->index.value, row.index);
    EXPECT_EQ(reply->prev_index, row.prev.index);
    if (row.ok) {
      EXPECT_EQ(rig.group.last_index().value, row.index);
    }
  }
}

// §5.3: "conflicting entries in follower logs will be overwritten"; what the write says must leave
// the same log on disk (checked by Rig::apply), and nothing of the old tail.
TEST(GroupReplication, ConflictingTailIsReplacedOnDiskToo) {
  Rig rig(trio(kB), disk_of(3, {entry(1, "a"), entry(2, "b"), entry(2, "c")}));
  rig.initial = disk_of(3, {entry(1, "a"), entry(2, "b"), entry(2, "c")});
  rig.hear(kA, 4, group::Append{log_end(1, 2), LogIndex{1}, {entry(4, "x")}});
  ASSERT_EQ(rig.written(), 1u);  // term and log in one write
  const auto disk = rig.disk(1);
  EXPECT_EQ(disk.hard.term, base::Term{4});
  EXPECT_EQ(disk.entries, (std::vector{entry(1, "a"), entry(4, "x")}));
  EXPECT_EQ(rig.group.last_index(), LogIndex{3});
}

// Fig. 2, AppendEntries 3: only a conflict deletes; an old, shorter append leaves what follows.
TEST(GroupReplication, OldAppendDeletesNothing) {
  Rig rig(trio(kB));
  rig.prompt_disk = true;
  rig.hear(kA, 1, group::Append{log_end(0, 1), LogIndex{1}, {entry(1, "a"), entry(1, "b")}});
  const std::uint64_t before = rig.written();
  rig.hear(kA, 1, group::Append{log_end(0, 1), LogIndex{1}, {entry(1, "a")}});
  EXPECT_EQ(rig.group.last_index(), LogIndex{3});
  EXPECT_EQ(rig.written(), before);
  EXPECT_EQ(rig.last_to<group::AppendReply>(kA)->index, LogIndex{2});
}

// §5.4.3: a committed entry never changes; who would change one is not obeyed.
TEST(GroupReplication, CommittedEntriesAreNeverOverwritten) {
  Rig rig(trio(kB));
  rig.prompt_disk = true;
  rig.hear(kA, 1, group::Append{log_end(0, 1), LogIndex{3}, {entry(1, "a"), entry(1, "b")}});
  rig.hear(kC, 2, group::Append{log_end(0, 1), LogIndex{1}, {entry(2, "evil")}});
  rig.hear(kC, 2, group::Append{log_end(2, 2), LogIndex{1}, {}});
  EXPECT_EQ(rig.group.counters().against_rules, 2u);
  EXPECT_EQ(rig.group.last_index(), LogIndex{3});
  EXPECT_EQ(rig.committed.size(), 2u);
}

// §5.3: "nextIndex to the index just after the last one in its log"; after a refusal it tries
// earlier, by the hint; answers that come late or twice move nothing.
TEST(GroupReplication, LeaderFindsWhereAFollowerAgrees) {
  Rig rig(trio(kA), disk_of(3, {entry(1, "a"), entry(3, "b"), entry(3, "c")}));
  const std::uint64_t term = rig.elect();
  EXPECT_EQ(rig.last_to<group::Append>(kB)->prev, log_end(3, 4));
  rig.clear();
  rig.hear(kB, term, refusal(4, 3));
  EXPECT_EQ(rig.last_to<group::Append>(kB)->prev, log_end(1, 2));
  rig.clear();
  rig.hear(kB, term, refusal(4, 3));
  EXPECT_EQ(rig.count<group::Append>(), 0u);
  rig.hear(kB, term, refusal(2, 9));  // a hint that leads nowhere still moves back
  const auto append = rig.last_to<group::Append>(kB);
  EXPECT_EQ(append->prev, log_end(0, 1));
  EXPECT_EQ(append->entries.size(), 4u);
  rig.acknowledge(kB, 5);
  EXPECT_EQ(rig.group.commit_index(), LogIndex{5});
  rig.clear();
  rig.hear(kB, term, refusal(2, 2));  // from before the acknowledgement
  EXPECT_EQ(rig.count<group::Append>(), 0u);
  EXPECT_EQ(rig.group.members()[1].match, LogIndex{5});
}

// §5.4.2, Figure 8 with three: an entry of an older term lies on a majority and is not committed by
// that; once an entry of the leader's own term is, all before it are.
TEST(GroupReplication, Figure8) {
  // (c): A was leader in term 2, crashed, leads again in term 4; C had won term 3 and lost power.
  Rig rig(trio(kA, 2), disk_of(3, {entry(2, "two")}));
  const std::uint64_t term = rig.elect();
  ASSERT_EQ(term, 4u);
  rig.acknowledge(kB, 2);  // "two" is now on A and B, a majority
  EXPECT_EQ(rig.group.commit_index(), LogIndex{1});
  EXPECT_FALSE(rig.group.in_office());
  // (d): C comes back with (3) at index 2 and wins term 5: "two" goes, uncommitted.
  Rig overwritten(trio(kB), disk_of(4, {entry(2, "two")}));
  overwritten.prompt_disk = true;
  overwritten.hear(kC, 5, group::Vote{log_end(3, 2)});
  EXPECT_TRUE(overwritten.last_to<group::VoteReply>(kC)->granted);
  overwritten.hear(kC, 5, group::Append{log_end(0, 1), LogIndex{1}, {entry(3), entry(5)}});
  EXPECT_EQ(overwritten.group.counters().against_rules, 0u);
  // (e): A replicates an entry of its own term first: all is committed, and C cannot win.
  rig.acknowledge(kB, 3);
  EXPECT_EQ(rig.group.commit_index(), LogIndex{3});
  EXPECT_EQ(rig.committed.size(), 2u);
  Rig voter(trio(kB), disk_of(4, {entry(2, "two"), entry(4)}));
  voter.prompt_disk = true;
  voter.hear(kC, 5, group::Vote{log_end(3, 2)});
  EXPECT_FALSE(voter.last_to<group::VoteReply>(kC)->granted);
}

// §5.3: "retries ... indefinitely"; a member that does not answer gets bare heartbeats meanwhile
// and the entries as soon as it does.
TEST(GroupReplication, LostAppendsAreRepeatedAndSilenceGetsHeartbeats) {
  Rig rig(trio(kA));
  rig.elect();
  rig.clear();
  rig.tick();
  EXPECT_EQ(rig.last_to<group::Append>(kC)->entries.size(), 1u);
  rig.pass(std::chrono::seconds(1));
  rig.clear();
  rig.tick();
  EXPECT_TRUE(rig.last_to<group::Append>(kC)->entries.empty());
  rig.acknowledge(kC, 1);
  EXPECT_EQ(rig.last_to<group::Append>(kC)->entries.size(), 1u);
}

// A long log goes in batches, the next with each answer.
TEST(GroupReplication, LaggardGetsTheLogInBatches) {
  const std::vector<group::Entry> log(300, {base::Term{1}, base::Bytes(kGroupPayloadBytesMax)});
  Rig rig(trio(kA), disk_of(1, log));
  const std::uint64_t term = rig.elect();
  rig.clear();
  rig.hear(kC, term, refusal(301, 2));
  std::size_t rounds = 0;
  while (rig.group.members()[2].match < rig.group.last_index()) {
    const auto append = rig.last_to<group::Append>(kC);
    ASSERT_TRUE(append);
    ASSERT_FALSE(append->entries.empty());
    rig.clear();
    rig.acknowledge(kC, append->prev.index.value + append->entries.size());
    ASSERT_LT(++rounds, 100u);
  }
  EXPECT_GT(rounds, 20u);
}

TEST(GroupReplication, ProposalsAreRefusedWithTheirReason) {
  const auto code = [](Rig& rig) {
    return std::get<group::ProposalRefused>(rig.notes.back()).code;
  };
  Rig follower(trio(kB));
  follower.propose("x");
  EXPECT_EQ(code(follower), base::Code::kRefused);
  Rig rig(trio(kA));
  rig.elect();
  rig.propose("");
  EXPECT_EQ(code(rig), base::Code::kInvalid);
  rig.propose(std::string(kGroupPayloadBytesMax + 1, 'x'));
  EXPECT_EQ(code(rig), base::Code::kTooLarge);
  rig.propose(std::string(kGroupPayloadBytesMax, 'x'));
  EXPECT_EQ(rig.told<group::Proposed>(), 1u);
}

// group_limits.h: a full group still takes outcomes and dissolve, up to the second limit.
TEST(GroupReplication, FullLogKeepsRoomForClosingEntries) {
  Rig rig(trio(kA), disk_of(1, std::vector(kGroupOrdinaryMax - 1, entry(1, "x"))));
  rig.elect();
  rig.propose("last ordinary");
  EXPECT_EQ(rig.told<group::Proposed>(), 1u);
  rig.propose("one too many");
  EXPECT_EQ(std::get<group::ProposalRefused>(rig.notes.back()).code, base::Code::kFull);
  for (std::size_t i = kGroupOrdinaryMax; i < kGroupPayloadsMax; ++i) rig.propose("end", true);
  EXPECT_EQ(rig.told<group::Proposed>(), 1 + kGroupPayloadsMax - kGroupOrdinaryMax);
  rig.propose("end", true);
  EXPECT_EQ(std::get<group::ProposalRefused>(rig.notes.back()).code, base::Code::kFull);
}

// What the coordinator asks for: who has stored the form record, who is in contact, who knows what.
TEST(GroupReplication, MembersShowMatchCommitAndContact) {
  Rig rig(trio(kA));
  const std::uint64_t term = rig.elect();
  EXPECT_EQ(rig.group.members()[2].match, LogIndex{0});
  rig.pass(std::chrono::seconds(1));
  rig.hear(kC, term, group::AppendReply{true, LogIndex{1}, LogIndex{1}, LogIndex{1}});
  EXPECT_EQ(rig.group.members()[2].match, LogIndex{1});
  EXPECT_EQ(rig.group.members()[2].last_contact, rig.now);
  rig.hear(kB, term, group::AppendReply{true, LogIndex{1}, LogIndex{2}, LogIndex{1}});
  rig.hear(kB, term, group::AppendReply{true, LogIndex{2}, LogIndex{2}, LogIndex{2}});
  EXPECT_EQ(rig.group.members()[1].commit, LogIndex{2});
  EXPECT_EQ(rig.group.members()[2].commit, LogIndex{1});
  const base::Time contact = rig.group.members()[1].last_contact;
  rig.pass(std::chrono::seconds(1));
  rig.hear(kB, term, group::PreVote{log_end(0, 1)});  // no answer to this leader's appends
  EXPECT_EQ(rig.group.members()[1].last_contact, contact);
}

// Fig. 2: matchIndex is "reinitialized after election": between two reigns others may have
// overwritten what a follower once acknowledged.
TEST(GroupReplication, AcknowledgementsOfAnEarlierReignDoNotCount) {
  Rig rig(trio(kA));
  rig.elect();
  rig.acknowledge(kB, 2);
  rig.acknowledge(kC, 2);
  rig.hear(kC, 5, group::AppendReply{});
  ASSERT_FALSE(rig.group.is_leader());
  rig.elect();
  for (std::size_t i : {1u, 2u}) {
    EXPECT_EQ(rig.group.members()[i].match, LogIndex{0});
    EXPECT_EQ(rig.group.members()[i].commit, LogIndex{0});
  }
}

// Pair: the learner's copy counts for nothing, and it receives everything.
TEST(GroupReplication, LearnerReceivesButIsNotCounted) {
  Rig source(pair_of(kA));
  source.tick();
  source.confirm();
  source.acknowledge(kB, 2);
  EXPECT_EQ(source.group.commit_index(), LogIndex{1});
  source.confirm();
  EXPECT_EQ(source.group.commit_index(), LogIndex{2});
  Rig sink(pair_of(kB));
  sink.prompt_disk = true;
  sink.hear(kA, 1, group::Append{log_end(0, 1), LogIndex{3}, {entry(1), entry(1, "begin")}});
  EXPECT_EQ(sink.committed.size(), 2u);
  EXPECT_TRUE(sink.last_to<group::AppendReply>(kA)->ok);
}

// An acknowledgement of what was never sent proves a bug at the other end, and changes nothing.
TEST(GroupReplication, AcknowledgementBeyondTheLogIsDropped) {
  Rig rig(trio(kA));
  rig.elect();
  rig.acknowledge(kB, 7);
  EXPECT_EQ(rig.group.counters().against_rules, 1u);
  EXPECT_EQ(rig.group.members()[1].match, LogIndex{0});
}

// design.md §3, "a store that forgets what was fsynced": noticed, filled again, reported once.
TEST(GroupReplication, MemberThatForgotIsReportedAndFilledAgain) {
  Rig rig(trio(kA));
  const std::uint64_t term = rig.elect();
  rig.propose("begin");
  rig.acknowledge(kB, 3);
  rig.hear(kB, term, refusal(3, 2));  // same life: an old answer
  EXPECT_FALSE(rig.group.members()[1].forgot);
  rig.clear();
  rig.hear(kB, term, refusal(3, 2), 2);
  EXPECT_TRUE(rig.group.members()[1].forgot);
  EXPECT_EQ(rig.told<group::Forgot>(), 1u);
  EXPECT_EQ(rig.last_to<group::Append>(kB)->prev, log_end(0, 1));
  rig.acknowledge(kB, 3, 2);
  EXPECT_EQ(rig.group.members()[1].match, LogIndex{3});
  EXPECT_TRUE(rig.group.members()[1].forgot);
  rig.hear(kB, term, refusal(3, 2), 3);
  EXPECT_EQ(rig.told<group::Forgot>(), 1u);
}

// A restart that kept its log is none of that; but its knowledge of the commit starts anew.
TEST(GroupReplication, OrdinaryRestartIsNotForgetting) {
  Rig rig(trio(kA));
  const std::uint64_t term = rig.elect();
  rig.hear(kB, term, group::AppendReply{true, LogIndex{1}, LogIndex{2}, LogIndex{1}});
  rig.hear(kB, term, group::AppendReply{true, LogIndex{2}, LogIndex{2}, LogIndex{2}});
  EXPECT_EQ(rig.group.members()[1].commit, LogIndex{2});
  rig.hear(kB, term, group::AppendReply{true, LogIndex{2}, LogIndex{2}, LogIndex{1}}, 2);
  EXPECT_EQ(rig.group.members()[1].commit, LogIndex{1});
  EXPECT_FALSE(rig.group.members()[1].forgot);
}

}  // namespace
}  // namespace balance
