#include "daemon/adopt_journal.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "base/wire.h"

namespace ternd {
namespace {

AdoptJournal usual() {
  AdoptJournal journal;
  journal.root = 4711;
  journal.start_ticks = 99;
  journal.origins = {{4711, "/user.slice/a"}, {4712, "/"}};
  journal.stopped = {4712};
  return journal;
}

TEST(AdoptJournal, ComesBackAsItWas) {
  AdoptJournal journal = usual();
  auto back = decode_adopt_journal(encode(journal));
  ASSERT_TRUE(back.ok()) << back.error().detail;
  EXPECT_EQ(*back, journal);
  journal.committed = true;
  back = decode_adopt_journal(encode(journal));
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(back->committed);
}

// A line that is none of the process's any more: "it runs on" would be untrue.
TEST(AdoptJournal, WhatBecameOfWhatIsNotAdopted) {
  AdoptJournal journal = usual();
  journal.root = ::getpid();
  const auto own = machine::read_tree("/proc", journal.root);
  ASSERT_TRUE(own.ok());
  journal.start_ticks = own->root().relatives.start_ticks;
  EXPECT_EQ(adoption::what_became(journal, "no room"), "; it runs on as before");
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto zombie = machine::read_tree("/proc", child);
  ASSERT_TRUE(zombie.ok());
  journal.root = child;
  journal.start_ticks = zombie->root().relatives.start_ticks;
  EXPECT_EQ(adoption::what_became(journal, "no room"), "; it has ended meanwhile");
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(adoption::what_became(journal, "no room"), "; it has ended meanwhile");
  EXPECT_EQ(adoption::what_became(journal, "process 7 has ended"), "");
}

// As one that has too many descendants to be adopted.
TEST(AdoptJournal, WhatCannotBeReadHasNotEnded) {
  AdoptJournal journal = usual();
  journal.root = ::getpid();
  const auto own = machine::read_tree("/proc", journal.root);
  ASSERT_TRUE(own.ok());
  journal.start_ticks = own->root().relatives.start_ticks;
  std::vector<pid_t> children;
  for (std::size_t i = 0; i < machine::kAdoptedMax; ++i) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ASSERT_GT(child, 0);
    children.push_back(child);  // not reaped yet, so it is one
  }
  EXPECT_FALSE(machine::read_tree("/proc", journal.root).ok());
  EXPECT_EQ(adoption::what_became(journal, "no room"), "; it runs on as before");
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
}

// What is damaged must never read as committed, or an original would be killed for a copy that is
// not there.
TEST(AdoptJournal, DamagedIsRefused) {
  const base::Bytes whole = encode(usual());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_adopt_journal(base::ByteView(whole).first(size)).ok()) << size;
  }
  base::Bytes longer = whole;
  longer.push_back(0);
  EXPECT_FALSE(decode_adopt_journal(longer).ok());
  AdoptJournal init = usual();
  init.root = 1;
  EXPECT_FALSE(decode_adopt_journal(encode(init)).ok());
  AdoptJournal stopped = usual();
  stopped.stopped = {0};
  EXPECT_FALSE(decode_adopt_journal(encode(stopped)).ok());
  AdoptJournal many = usual();
  for (pid_t pid = 2; pid < 700; ++pid) many.origins[pid] = "/";
  EXPECT_FALSE(decode_adopt_journal(encode(many)).ok());
  base::Writer newer;
  newer.array(6).u64(2).boolean(true).u64(4711).u64(99).array(0).array(0);
  EXPECT_EQ(decode_adopt_journal(newer.bytes()).error().code, base::Code::kUnsupported);
}

}  // namespace
}  // namespace ternd
