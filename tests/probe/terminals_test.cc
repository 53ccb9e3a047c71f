// Who is logged in, from utmp(5).
#include "probe/terminals.h"

#include <gtest/gtest.h>
#include <utmp.h>

#include <cstring>

namespace probe {
namespace {

base::Bytes record(short type, const char* line) {
  utmp one{};
  one.ut_type = type;
  std::strncpy(one.ut_line, line, sizeof one.ut_line);
  base::Bytes bytes(sizeof one);
  std::memcpy(bytes.data(), &one, sizeof one);
  return bytes;
}
void add(base::Bytes& to, const base::Bytes& more) {
  to.insert(to.end(), more.begin(), more.end());
}

TEST(Terminals, AreThoseOfUsersThatAreLoggedIn) {
  base::Bytes all = record(BOOT_TIME, "~");
  add(all, record(USER_PROCESS, "tty1"));
  add(all, record(DEAD_PROCESS, "pts/0"));
  add(all, record(USER_PROCESS, "pts/12"));
  EXPECT_EQ(parse_utmp(all), (std::vector<std::string>{"tty1", "pts/12"}));
}

TEST(Terminals, NamesThatLeadElsewhereAndCutOffRecordsAreLeftOut) {
  base::Bytes all = record(USER_PROCESS, "../etc/shadow");
  add(all, record(USER_PROCESS, "/etc/shadow"));
  add(all, record(USER_PROCESS, ""));
  add(all, record(USER_PROCESS, ":0"));
  add(all, record(USER_PROCESS, "0123456789012345678901234567890123456789"));  // fills its field
  for (std::size_t size = 0; size < all.size(); size += 7) {
    SCOPED_TRACE(size);
    for (const std::string& line : parse_utmp(base::ByteView(all).first(size))) {
      EXPECT_EQ(line.find('.'), std::string::npos);
      EXPECT_NE(line.front(), '/');
    }
  }
  EXPECT_EQ(parse_utmp(all).size(), 1U);
  base::Bytes many;
  for (std::size_t i = 0; i < kTerminalsMax + 9; ++i) add(many, record(USER_PROCESS, "pts/1"));
  EXPECT_EQ(parse_utmp(many).size(), kTerminalsMax);
}

}  // namespace
}  // namespace probe
