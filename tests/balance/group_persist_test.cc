// Durable before sent (Raft Figure 2: "updated on stable storage before responding to RPCs"), and
// crashes at every write, with and without that write on the disk.
#include "group_rig.h"

namespace balance {
namespace {

using base::LogIndex;

TEST(GroupPersist, VoteIsNotSentBeforeItIsDurable) {
  Rig rig(trio(kA));
  rig.hear(kB, 1, group::Vote{log_end(0, 1)});
  ASSERT_EQ(rig.written(), 1u);
  EXPECT_EQ(rig.writes[0].hard, (group::HardState{base::Term{1}, kB}));
  EXPECT_TRUE(rig.sent.empty());
  rig.hear(kB, 1, group::Vote{log_end(0, 1)});  // asked again: no second write, no early answer
  EXPECT_EQ(rig.written(), 1u);
  EXPECT_TRUE(rig.sent.empty());
  rig.confirm();
  EXPECT_EQ(rig.count<group::VoteReply>(), 2u);
}

// The vote alone is a write too: in a term that is durable already.
TEST(GroupPersist, VoteInAKnownTermIsWritten) {
  Rig rig(trio(kA), {{base::Term{1}, std::nullopt}, {}});
  rig.hear(kB, 1, group::Vote{log_end(0, 1)});
  ASSERT_EQ(rig.written(), 1u);
  EXPECT_EQ(rig.writes[0].hard, (group::HardState{base::Term{1}, kB}));
  EXPECT_TRUE(rig.sent.empty());
}

// Even a refusal carries a term, which must be durable.
TEST(GroupPersist, NewTermIsNotSentBeforeItIsDurable) {
  Rig rig(trio(kA), {{base::Term{1}, std::nullopt}, {entry(1)}});
  rig.hear(kB, 2, group::Vote{log_end(0, 1)});
  EXPECT_TRUE(rig.sent.empty());
  rig.confirm();
  EXPECT_FALSE(rig.last_to<group::VoteReply>(kB)->granted);
}

TEST(GroupPersist, CandidateAsksOnlyOnceItsOwnVoteIsDurable) {
  Rig rig(trio(kA));
  rig.tick();
  rig.hear(kB, 0, group::PreVoteReply{true, base::Term{0}});
  EXPECT_EQ(rig.count<group::Vote>(), 0u);
  rig.confirm();
  EXPECT_EQ(rig.count<group::Vote>(), 2u);
}

TEST(GroupPersist, EntriesAreAcknowledgedOnlyOnceDurable) {
  Rig rig(trio(kB));
  rig.hear(kA, 1, group::Append{log_end(0, 1), LogIndex{1}, {entry(1, "a")}});
  rig.hear(kA, 1, group::Append{log_end(1, 2), LogIndex{1}, {entry(1, "b")}});
  EXPECT_TRUE(rig.sent.empty());
  rig.confirm();
  ASSERT_EQ(rig.count<group::AppendReply>(), 1u);
  EXPECT_EQ(rig.last_to<group::AppendReply>(kA)->index, LogIndex{2});
  rig.confirm();
  EXPECT_EQ(rig.last_to<group::AppendReply>(kA)->index, LogIndex{3});
}

TEST(GroupPersist, LeaderSendsAndCountsItsOwnCopyOnlyOnceDurable) {
  Rig rig(trio(kA));
  rig.elect();
  rig.acknowledge(kB, 2);
  rig.prompt_disk = false;
  rig.clear();
  rig.propose("begin");
  EXPECT_TRUE(rig.sent.empty());
  EXPECT_EQ(rig.group.members()[0].match, LogIndex{2});
  rig.confirm();
  EXPECT_EQ(rig.count<group::Append>(), 2u);
  EXPECT_EQ(rig.group.commit_index(), LogIndex{2});
  rig.acknowledge(kC, 3);
  EXPECT_EQ(rig.group.commit_index(), LogIndex{3});
}

// A write that was asked for before the log was cut does not vouch for what replaced its entries.
TEST(GroupPersist, OldWriteDoesNotVouchForReplacedEntries) {
  Rig rig(trio(kB));
  rig.hear(kA, 1, group::Append{log_end(0, 1), LogIndex{1}, {entry(1, "a"), entry(1, "b")}});
  rig.hear(kC, 2, group::Append{log_end(1, 2), LogIndex{3}, {entry(2, "c")}});
  ASSERT_EQ(rig.written(), 2u);
  EXPECT_EQ(rig.writes[1].log->first, LogIndex{3});
  EXPECT_EQ(rig.writes[1].log->old_last, LogIndex{3});
  rig.confirm();
  ASSERT_EQ(rig.committed.size(), 1u);
  EXPECT_EQ(rig.group.members()[1].match, LogIndex{2});
  rig.confirm();
  ASSERT_EQ(rig.committed.size(), 2u);
  EXPECT_EQ(rig.committed[1].payload, bytes_of("c"));
}

TEST(GroupPersist, ConfirmationCoversAllEarlierWritesAndRepeatsAreHarmless) {
  Rig rig(trio(kB));
  rig.hear(kA, 1, group::Append{log_end(0, 1), LogIndex{1}, {entry(1, "a")}});
  rig.hear(kA, 1, group::Append{log_end(1, 2), LogIndex{3}, {entry(1, "b")}});
  rig.step(group::Persisted{group::PersistId{2}});
  EXPECT_EQ(rig.count<group::AppendReply>(), 2u);
  EXPECT_EQ(rig.committed.size(), 2u);
  rig.step(group::Persisted{group::PersistId{1}});
  EXPECT_EQ(rig.committed.size(), 2u);
}

// kGroupHeldMax: a disk that never answers costs messages, not memory.
TEST(GroupPersist, WaitingMessagesAreBounded) {
  Rig rig(trio(kB));
  for (std::size_t i = 0; i < kGroupHeldMax + 10; ++i) {
    rig.hear(kA, 1, group::Append{log_end(0, 1), LogIndex{1}, {entry(1, "a")}});
  }
  EXPECT_EQ(rig.group.counters().held_dropped, 10u);
  rig.confirm();
  EXPECT_EQ(rig.sent.size(), kGroupHeldMax);
}

// One life of a member that votes, follows, is overwritten, then leads. At each write it dies, with
// the write on the disk and without; the next life must honour every promise the first one sent.
class CrashScript {
 public:
  // Stops right after write `stop` was asked for.
  static void run(Rig& rig, std::uint64_t stop) {
    const auto alive = [&] { return rig.written() < stop; };
    const auto settle = [&] {
      while (alive() && rig.confirmed < rig.written()) rig.confirm();
    };
    const auto hear = [&](base::NodeId from, std::uint64_t term, group::Body body) {
      if (alive()) rig.hear(from, term, std::move(body));
      settle();
    };
    hear(kB, 1, group::Vote{log_end(0, 1)});
    hear(kB, 1, group::Append{log_end(0, 1), LogIndex{2}, {entry(1, "a"), entry(1, "b")}});
    hear(kC, 2, group::Vote{log_end(1, 3)});
    hear(kC, 3, group::Append{log_end(1, 2), LogIndex{2}, {entry(3, "c")}});
    while (alive() && rig.group.role() != group::Role::kPreCandidate) rig.tick();
    hear(kB, 3, group::PreVoteReply{true, base::Term{3}});
    hear(kB, 4, group::VoteReply{true});
    if (alive()) rig.propose("mine");
    settle();
  }
};

TEST(GroupPersist, CrashAtEveryWriteKeepsWhatWasPromised) {
  Rig whole(trio(kA));
  CrashScript::run(whole, 100);
  ASSERT_EQ(whole.written(), 7u);
  for (std::uint64_t stop = 1; stop <= whole.written(); ++stop) {
    for (const bool applied : {false, true}) {
      SCOPED_TRACE("write " + std::to_string(stop) + (applied ? " applied" : " lost"));
      Rig first(trio(kA));
      CrashScript::run(first, stop);
      ASSERT_EQ(first.written(), stop);
      const group::Recovered disk = first.disk(applied ? stop : stop - 1);
      Rig second(trio(kA, 2), disk);
      EXPECT_GE(second.group.term(), disk.hard.term);
      for (const Said& said : first.sent) {
        const group::Message& m = said.message;
        EXPECT_LE(m.term, disk.hard.term);
        const auto* vote = std::get_if<group::VoteReply>(&m.body);
        if (vote != nullptr && vote->granted && m.term == disk.hard.term) {
          EXPECT_EQ(disk.hard.voted_for, said.to);
        }
        const auto* stored = std::get_if<group::AppendReply>(&m.body);
        if (stored != nullptr && stored->ok) {
          EXPECT_LE(stored->index, second.group.last_index());
        }
      }
      // Told as committed in the first life: still there, and told again in the second.
      for (const group::Committed& c : first.committed) {
        ASSERT_LE(c.index, second.group.last_index());
      }
      second.prompt_disk = true;
      second.hear(kC, 9, group::Append{log_end(0, 1), LogIndex{1}, {}});
      const auto reply = second.last_to<group::AppendReply>(kC);
      ASSERT_TRUE(reply);
      EXPECT_TRUE(reply->ok);
      EXPECT_TRUE(second.committed.empty());
    }
  }
}

// group.h: after a restart the commit index is 1, and Committed comes again from 2 once a leader
// confirms.
TEST(GroupPersist, CommittedComesAgainInANewLife) {
  Rig rig(trio(kB, 2), {{base::Term{1}, std::nullopt}, {entry(1, "a"), entry(1, "b")}});
  EXPECT_EQ(rig.group.commit_index(), LogIndex{1});
  EXPECT_TRUE(rig.committed.empty());
  rig.hear(kA, 1, group::Append{log_end(1, 3), LogIndex{3}, {}});
  ASSERT_EQ(rig.committed.size(), 2u);
  EXPECT_EQ(rig.committed[0].index, LogIndex{2});
  EXPECT_EQ(rig.committed[1].payload, bytes_of("b"));
}

}  // namespace
}  // namespace balance
