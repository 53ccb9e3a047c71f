// tern share, inbox and policy as processes, with a daemon that says what a test tells it to; whole
// shares: tests/e2e.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/crypto.h"
#include "control/share_report.h"
#include "fake_daemon.h"
#include "run_tern.h"
#include "transfer/share_wire.h"

namespace cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string file_in(const TempDir& dir) {
  const std::string path = dir.path() + "/report.txt";
  std::ofstream(path) << "hello";
  return path;
}

const std::string kAccepted = control::accepted_line({"00ff00ff", "laptop", false});

TEST(ShareCommand, AsksWithWhatItFoundAndSaysWhoWouldTakeIt) {
  const TempDir dir;
  const std::string path = file_in(dir);
  FakeDaemon daemon(dir.path(),
                    {Script{{R"({"progress":"asking laptop"})"
                             "\n"
                             R"({"ok":true,"data":{"to":"00ff","to_name":"laptop","waits":true}})"
                             "\n"}}});
  const Ran ran = run_tern({"share", path, "--dry-run", "--to", "laptop", "--state", dir.path()});
  EXPECT_EQ(ran.exit, 0);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("would send 1 file (5 B) to laptop, once somebody there"));
  const std::string request = daemon.stop().at(0);
  EXPECT_THAT(request, HasSubstr(R"("command":"share")"));
  EXPECT_THAT(request, HasSubstr(R"("label":"report.txt","tops":1,"entries":1,"bytes":5)"));
  EXPECT_THAT(request, HasSubstr(R"("to":"laptop","dry_run":true)"));
}

TEST(ShareCommand, TheSamePathsHaveTheSameId) {
  const TempDir dir;
  const std::string path = file_in(dir);
  const std::string none = R"({"ok":false,"exit":6,"error":"No idle peers available"})"
                           "\n";
  FakeDaemon daemon(dir.path(), {Script{{none}}, Script{{none}}, Script{{none}}});
  const std::string folder = dir.path();
  EXPECT_EQ(run_tern({"share", path, "--state", folder}).exit, 6);
  EXPECT_EQ(run_tern({"share", folder + "/../" + folder.substr(folder.rfind('/')) + "/report.txt",
                      "--state", folder})
                .exit,
            6);
  const Ran other = run_tern({"share", path, path, "--state", folder});
  EXPECT_EQ(other.exit, 6);
  EXPECT_THAT(other.err, HasSubstr("No idle peers available"));
  const std::vector<std::string> asked = daemon.stop();
  const auto id = [](const std::string& text) { return text.substr(text.find("\"id\""), 40); };
  EXPECT_EQ(id(asked.at(0)), id(asked.at(1)));
  EXPECT_NE(id(asked.at(0)), id(asked.at(2)));
}

TEST(ShareCommand, WhatCannotBeReadIsSaidBeforeAnybodyIsAsked) {
  const TempDir dir;
  const Ran none = run_tern({"share", dir.path() + "/none", "--state", dir.path()});
  EXPECT_EQ(none.exit, 1);
  EXPECT_THAT(none.err, HasSubstr("/none: cannot find it: No such file"));
  EXPECT_EQ(run_tern({"share", "--state", dir.path()}).exit, 2);
  const Ran empty = run_tern({"share", "", "--state", dir.path()});
  EXPECT_EQ(empty.exit, 2);
  EXPECT_THAT(empty.err, HasSubstr("an empty word names no file"));
  EXPECT_EQ(run_tern({"share", file_in(dir), "--to", "a/b", "--state", dir.path()}).exit, 2);
  const Ran alone = run_tern({"share", file_in(dir), "--state", dir.path()});
  EXPECT_EQ(alone.exit, 3) << "no daemon";
}

TEST(ShareCommand, ARefusalOfTheReceiversIsTheEnd) {
  const TempDir dir;
  FakeDaemon daemon(
      dir.path(),
      {Script{{kAccepted + control::record_line(transfer::encode_stop("its disk is full"))},
              true}});
  const Ran ran = run_tern({"share", file_in(dir), "--state", dir.path()});
  EXPECT_EQ(ran.exit, 1);
  EXPECT_THAT(ran.err, HasSubstr("laptop: its disk is full"));
}

TEST(ShareCommand, TriesAgainWhereItWasWhenItBreaksOff) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(),
                    {Script{{kAccepted}},
                     Script{{R"({"ok":false,"exit":4,"error":"it is away"})"
                             "\n"}},
                     Script{{R"({"ok":false,"exit":5,"error":"laptop takes nothing now"})"
                             "\n"}}});
  const Ran ran = run_tern({"share", file_in(dir), "--state", dir.path()});
  EXPECT_EQ(ran.exit, 5);
  EXPECT_THAT(ran.err, HasSubstr("what has arrived is kept there, trying to go on for 60 s"));
  EXPECT_THAT(ran.err, HasSubstr("laptop takes nothing now"));
  const std::vector<std::string> asked = daemon.stop();
  EXPECT_THAT(asked.at(0), Not(HasSubstr("\"to\"")));
  EXPECT_THAT(asked.at(1), HasSubstr(R"("to":"00ff00ff")"));
}

TEST(ShareCommand, EachTroubleIsSaidOnceAndASignalEndsItAsItsNumberSays) {
  const std::string away = R"({"progress":"asking laptop"})"
                           "\n"
                           R"({"ok":false,"exit":4,"error":"laptop is away"})"
                           "\n";
  for (const int signal : {SIGTERM, SIGINT}) {
    SCOPED_TRACE(signal);
    const TempDir dir;
    FakeDaemon daemon(dir.path(), {Script{{kAccepted}}, Script{{away}}, Script{{away}},
                                   Script{{away}}, Script{{"@" + std::to_string(signal)}, true}});
    const Ran ran = run_tern({"share", file_in(dir), "--state", dir.path()});
    EXPECT_EQ(ran.exit, 128 + signal);
    EXPECT_THAT(ran.err, HasSubstr("stopped. The same command again goes on"));
    for (const char* sentence : {"asking laptop\n", "laptop is away"}) {
      const std::size_t first = ran.err.find(sentence);
      ASSERT_NE(first, std::string::npos);
      EXPECT_EQ(ran.err.find(sentence, first + 1), std::string::npos) << ran.err;
    }
  }
}

TEST(InboxCommand, ListsWhatWaitsAndWhatArrived) {
  const TempDir dir;
  control::InboxReport inbox;
  inbox.path = "/in";
  inbox.share = "ask";
  inbox.items.push_back(
      {"3fa9bc12", "waiting", "photos\x1b[2J", "desk", "anna", 2, 9, 1500, 0, true, 1});
  inbox.items.push_back({"", "arrived", "report.pdf", "", "", 1, 0, 2000, 2000, false, 1});
  FakeDaemon daemon(dir.path(),
                    {Script{{"{\"ok\":true,\"data\":" + control::to_json(inbox) + "}\n"}}});
  const Ran ran = run_tern({"inbox", "--state", dir.path()});
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.out, HasSubstr("3fa9bc12"));
  EXPECT_THAT(ran.out, HasSubstr("photos\\x1b[2J/ and 1 more"));
  EXPECT_THAT(ran.out, HasSubstr("anna@desk"));
  EXPECT_THAT(ran.out, HasSubstr("report.pdf"));
  EXPECT_THAT(ran.err, HasSubstr("tern inbox accept ID"));
}

// As of a script whose variable is not set: what is meant for one node does not go to another.
TEST(ShareCommand, ANodeWithoutANameIsNobody) {
  const TempDir dir;
  const Ran ran = run_tern({"share", file_in(dir), "--to", "", "--state", dir.path()});
  EXPECT_EQ(ran.exit, 2);
  EXPECT_THAT(ran.err, HasSubstr("neither a name nor an id"));
}

TEST(InboxCommand, AnswersAnOffer) {
  const TempDir dir;
  const std::string done =
      R"({"ok":true,"data":{"id":"3fa9bc12","state":"accepted","name":"photos","from":"desk"}})"
      "\n";
  FakeDaemon daemon(dir.path(), {Script{{done}}, Script{{done}}});
  const Ran accepted = run_tern({"inbox", "accept", "3fa9", "--state", dir.path()});
  EXPECT_EQ(accepted.exit, 0);
  EXPECT_THAT(accepted.err, HasSubstr("accepted photos from desk"));
  EXPECT_EQ(run_tern({"inbox", "refuse", "3fa9", "--state", dir.path()}).exit, 0);
  const std::vector<std::string> asked = daemon.stop();
  EXPECT_THAT(asked.at(0), HasSubstr(R"("offer":"3fa9","accept":true)"));
  EXPECT_THAT(asked.at(1), HasSubstr(R"("accept":false)"));
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"inbox", "accept"}, {"inbox", "take", "3fa9"}, {"inbox", "accept", "../x"}}) {
    EXPECT_EQ(run_tern(words).exit, 2) << words.back();
  }
}

TEST(PolicyCommand, SaysWhatThisNodeDoesForOthers) {
  const TempDir dir;
  const control::PolicyReport policy{"ask",   "/in",    false,   "no CRIU",  false,      {1000},
                                     "pause", "refuse", "drain", "throttle", "send-home"};
  FakeDaemon daemon(dir.path(),
                    {Script{{"{\"ok\":true,\"data\":" + control::to_json(policy) + "}\n"}}});
  const Ran ran = run_tern({"policy", "--state", dir.path()});
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.out, HasSubstr("once you said yes (tern inbox), into /in"));
  EXPECT_THAT(ran.out, HasSubstr("none: no CRIU"));
  EXPECT_THAT(ran.out, HasSubstr("of uid 1000"));
  for (const char* setting :
       {"stand still, and no more come +owner-active", "stay, and no more come +on-battery",
        "leave, as do the jobs at home here, and no more come +battery-low",
        "get half of what they used, and no more come +on-metered",
        "leave, and no more come +on-sleep"}) {
    EXPECT_THAT(ran.out, ::testing::ContainsRegex(setting));
  }
}

}  // namespace
}  // namespace cli
