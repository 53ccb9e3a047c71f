// tern run, attach and logs: every byte once and in order, whatever breaks (cli/session.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "control/response.h"
#include "fake_daemon.h"
#include "run_tern.h"

namespace cli {
namespace {

using ::testing::HasSubstr;

std::string output(int stream, std::uint64_t offset, std::string_view text) {
  return control::output_line({stream, offset, base::to_bytes(base::as_bytes(text))});
}
constexpr char kStarted[] = "{\"ok\":true,\"data\":{\"job\":\"3fa9\",\"name\":\"n\"}}\n";
std::string ended(int code) {
  return "{\"ok\":true,\"data\":{\"exit_code\":" + std::to_string(code) + "}}\n";
}
const std::vector<std::string> kRun = {"run", "--", "x"};

Ran run_in(const TempDir& dir, std::vector<std::string> words, const How& how = {}) {
  words.insert(words.begin(), {"--state", dir.path()});
  return run_tern(words, how);
}

TEST(Session, OutputIsExactAndTheJobsExitCodeIsOurs) {
  const std::string raw("a\0\x1b[2J\xff\n", 8);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{5}, std::size_t{100'000}}) {
    SCOPED_TRACE(piece);
    const TempDir dir;
    const std::string all =
        output(1, 0, raw) + output(2, 0, "err") + output(1, 8, "more") + ended(9);
    FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{in_pieces(all, piece)}});
    const Ran ran = run_in(dir, kRun);
    EXPECT_EQ(ran.out, raw + "more");
    EXPECT_EQ(ran.err, "err");
    EXPECT_EQ(ran.exit, 9);
    const auto requests = daemon.stop();
    EXPECT_EQ(requests.at(1), R"({"v":1,"command":"attach","job":"3fa9","from":[0,0]})");
  }
}

TEST(Session, AfterABreakNothingIsMissingAndNothingComesTwice) {
  const TempDir dir;
  const std::string second = output(1, 3, "def");
  FakeDaemon daemon(
      dir.path(),
      {Script{{kStarted}}, Script{{output(1, 0, "abc"), output(2, 0, "e"), second.substr(0, 20)}},
       Script{},  // hangs up at once
       // An overlap, as a daemon that rounds offsets down would send.
       Script{{output(1, 1, "bcdef"), output(1, 1, "bc"), ended(143)}}});
  const Ran ran = run_in(dir, kRun);
  EXPECT_EQ(ran.out, "abcdef");
  EXPECT_EQ(ran.err, "etern: the daemon went away; waiting for it, 3fa9 goes on\n") << "one notice";
  EXPECT_EQ(ran.exit, 143);
  const auto requests = daemon.stop();
  ASSERT_EQ(requests.size(), 4U);
  EXPECT_EQ(requests[2], R"({"v":1,"command":"attach","job":"3fa9","from":[3,1]})");
  EXPECT_EQ(requests[3], requests[2]);
}

TEST(Session, ADaemonThatComesBackLaterIsFoundAgain) {
  const TempDir dir;
  auto first = std::make_unique<FakeDaemon>(
      dir.path(), std::deque<Script>{Script{{kStarted}}, Script{{output(1, 0, "ab")}}});
  std::thread restart([&] {
    first->finish();  // only when both connections were served is there nobody to answer
    std::filesystem::remove(dir.path() + "/control.sock");
    first = std::make_unique<FakeDaemon>(
        dir.path(), std::deque<Script>{Script{{output(1, 2, "cd"), ended(0)}}});
  });
  const Ran ran = run_in(dir, kRun);
  restart.join();
  EXPECT_EQ(ran.out, "abcd");
  EXPECT_EQ(ran.exit, 0);
}

TEST(Session, AGapIsToldNotHidden) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{output(1, 5, "x"), ended(0)}}});
  const Ran ran = run_in(dir, {"attach", "n"});
  EXPECT_EQ(ran.out, "x");
  EXPECT_THAT(ran.err, HasSubstr("5 bytes of output are missing"));
}

TEST(Session, FailuresOfTernItselfAre125) {
  struct Row {
    const char* name;
    std::deque<Script> scripts;
  };
  const std::vector<Row> rows = {
      {"refused", {Script{{"{\"ok\":false,\"exit\":5,\"error\":\"no\"}\n"}}}},
      {"hung up before it answered", {Script{}}},
      {"rubbish while attached", {Script{{kStarted}}, Script{{"rubbish\n"}}}},
      {"output of no stream", {Script{{kStarted}}, Script{{"{\"event\":{\"stream\":3}}\n"}}}},
      {"the job is lost",
       {Script{{kStarted}}, Script{{"{\"ok\":false,\"exit\":1,\"error\":\"lost\"}\n"}}}},
      {"a job id that is none", {Script{{"{\"ok\":true,\"data\":{\"job\":\"\\u001b[2J\"}}\n"}}}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const TempDir dir;
    FakeDaemon daemon(dir.path(), row.scripts);
    EXPECT_EQ(run_in(dir, kRun).exit, 125);
  }
}

TEST(Session, TheFirstInterruptIsTheJobsTheSecondSaysHowToEndIt) {
  const TempDir dir;
  FakeDaemon daemon(
      dir.path(), {Script{{kStarted}},
                   Script{{output(1, 0, "a"), "@2", "!next", "@2", output(1, 1, "b"), ended(130)}},
                   Script{{"{\"ok\":true,\"data\":{\"node\":\"a\"}}\n"}}});
  const Ran ran = run_in(dir, kRun);
  EXPECT_EQ(ran.exit, 130);
  EXPECT_EQ(ran.out, "ab");
  EXPECT_EQ(ran.err,
            "tern: 3fa9 was interrupted but still runs; end it with: tern kill 3fa9 KILL\n");
  const auto requests = daemon.stop();
  ASSERT_EQ(requests.size(), 3U) << "one kill for two interrupts";
  EXPECT_EQ(requests[2], R"({"v":1,"command":"kill","job":"3fa9","signal":"INT"})");
}

TEST(Session, AnInterruptWhileTheDaemonIsAwayDetaches) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{{output(1, 0, "a"), "!close"}}});
  How how;
  how.signal_when = "went away";
  how.signal = SIGINT;
  const Ran ran = run_in(dir, kRun, how);
  EXPECT_EQ(ran.exit, 130);
  EXPECT_EQ(ran.out, "a");
  EXPECT_THAT(ran.err, HasSubstr("detached; 3fa9 goes on"));
}

TEST(Session, TermAndHangupDetach) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    SCOPED_TRACE(signal);
    const TempDir dir;
    FakeDaemon daemon(dir.path(),
                      {Script{{kStarted}}, Script{{"@" + std::to_string(signal)}, true}});
    const Ran ran = run_in(dir, kRun);
    EXPECT_EQ(ran.exit, 128 + signal);
    EXPECT_THAT(ran.err, HasSubstr("detached; 3fa9 goes on. Back to it: tern attach 3fa9"));
    EXPECT_EQ(daemon.stop().size(), 2U) << "the job is told nothing";
  }
}

TEST(Session, WithoutAReaderItEndsAsSigpipeDoes) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{{output(1, 0, "a")}, true}});
  How how;
  how.close_out = true;
  EXPECT_EQ(run_in(dir, kRun, how).signal, SIGPIPE);
}

TEST(Session, LogsEndWithTheirOutput) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{output(1, 0, "a"), "{\"ok\":true,\"data\":{}}\n"}}});
  const Ran ran = run_in(dir, {"logs", "n"});
  EXPECT_EQ(ran.out, "a");
  EXPECT_EQ(ran.exit, 0);
  EXPECT_EQ(daemon.stop().at(0),
            R"({"v":1,"command":"logs","job":"n","follow":false,"from":[0,0]})");
}

TEST(Session, LogsAsJsonAreTheEventsThemselves) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{output(1, 0, "a"), "{\"ok\":true,\"data\":{}}\n"}}});
  EXPECT_EQ(run_in(dir, {"logs", "n", "--json"}).out,
            "{\"stream\":1,\"offset\":0,\"data\":\"YQ==\"}\n");
}

}  // namespace
}  // namespace cli
