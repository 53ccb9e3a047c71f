#include "daemon/adopt_journal.h"

#include <gtest/gtest.h>

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
