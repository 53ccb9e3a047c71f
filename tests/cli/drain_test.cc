// tern drain --off: what is now, and what of the plan is not to be any more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_daemon.h"
#include "run_tern.h"

namespace cli {
namespace {

using ::testing::HasSubstr;

Ran off_with(const std::string& data, const std::vector<std::string>& more = {}) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{"{\"ok\":true,\"data\":" + data + "}\n"}}});
  std::vector<std::string> words = {"drain", "--off", "--state", dir.path()};
  words.insert(words.end(), more.begin(), more.end());
  return run_tern(words);
}

std::string job(const std::string& to, const std::string& why) {
  return R"([{"job":"3fa90000","name":"enc","to":")" + to + R"(","why":")" + why + "\"}]";
}

TEST(DrainOff, SaysWhatIsWithdrawn) {
  const Ran ran = off_with(R"({"draining":false,"was_draining":true,"jobs":)" +
                           job("", "its move to b is withdrawn") + "}");
  EXPECT_EQ(ran.out, "enc (3fa90000) stays: its move to b is withdrawn\n");
  EXPECT_EQ(ran.err,
            "tern: the drain is off; this node takes guests, and nothing sends away the jobs "
            "here\n");
  EXPECT_EQ(ran.exit, 0);
}

TEST(DrainOff, SaysWhatGoesOnAndWhyGuestsStayOut) {
  const Ran ran =
      off_with(R"({"draining":false,"was_draining":true,"no_guests":"it runs on battery","jobs":)" +
               job("b", "") + "}");
  EXPECT_EQ(ran.out, "enc (3fa90000) goes on to b: its move has begun already\n");
  EXPECT_EQ(ran.err,
            "tern: the drain is off; this node takes no guests all the same: it runs on "
            "battery\n");
}

TEST(DrainOff, WhereNoneWasOnAndDry) {
  EXPECT_THAT(off_with(R"({"draining":false,"was_draining":false,"jobs":[]})").err,
              HasSubstr("no drain was on; this node takes guests"));
  const std::string on = R"({"draining":true,"was_draining":true,"no_guests":"x","jobs":[]})";
  EXPECT_EQ(off_with(on, {"--dry-run"}).err,
            "tern: would end the drain; do it: tern drain --off\n");
}

}  // namespace
}  // namespace cli
