// tern run, attach and logs: every byte once and in order, whatever breaks (cli/session.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "control/input.h"
#include "control/limits.h"
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

// `tern run -- x >&-`: the output goes nowhere, and into no descriptor of ours.
TEST(Session, AClosedOutputIsSaidAndNothingElseGetsItsNumber) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{{output(1, 0, "x") + ended(0)}}});
  How how;
  how.no_out = true;
  const Ran ran = run_in(dir, kRun, how);
  EXPECT_EQ(ran.exit, 125);
  EXPECT_THAT(ran.err, HasSubstr("cannot write the job's output: Bad file descriptor"));
}

// Where a file was changed at home while the job was away: at its end, and later in tern ps.
TEST(Session, WhatLiesBesideAFileIsSaid) {
  const std::string lists = R"("beside":["/d/x.job-1"],"kept":["/d/y.home-1"])";
  const std::string end = "{\"ok\":true,\"data\":{\"exit_code\":3," + lists + "}}\n";
  const std::string jobs = "{\"ok\":true,\"data\":{\"jobs\":[{\"id\":\"3fa9\"," + lists + "}]}}\n";
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{{end}}, Script{{jobs}}});
  const Ran run = run_in(dir, kRun);
  EXPECT_EQ(run.exit, 3);
  for (const std::string& said : {run.err, run_in(dir, {"ps"}).err}) {
    EXPECT_THAT(said, HasSubstr("3fa9: a file was changed here while the job was away"));
    EXPECT_THAT(said, HasSubstr("lies beside it: /d/x.job-1\n"));
    EXPECT_THAT(said, HasSubstr("kept beside it: /d/y.home-1\n"));
  }
}

// Also where home has no room for what a job that ended elsewhere changed of its files.
TEST(Session, FilesThatAreNotHomeAreSaid) {
  const std::string away = R"("files_away":"what it changed of its files waits on b")";
  const std::string end = "{\"ok\":true,\"data\":{\"exit_code\":3," + away + "}}\n";
  const std::string jobs =
      R"({"ok":true,"data":{"jobs":[{"id":"3fa9","node":"b",)" + away + "}]}}\n";
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{{end}}, Script{{jobs}}});
  const Ran run = run_in(dir, kRun);
  EXPECT_EQ(run.exit, 3);
  EXPECT_THAT(run.err, HasSubstr("3fa9: what it changed of its files waits on b\n"));
  EXPECT_THAT(run_in(dir, {"ps"}).err,
              HasSubstr("3fa9 has ended on b; what it changed of its files waits on b\n"));
}

TEST(Session, ADrainSaysWhoseFilesWaitHere) {
  const std::string end =
      R"({"ok":true,"data":{"draining":true,"jobs":[],"files_wait":[{"job":"3fa9aaaabbbb",)"
      R"("name":"enc","home":"a","why":"no space"}]}})"
      "\n";
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{end}}});
  const Ran drain = run_in(dir, {"drain"});
  EXPECT_EQ(drain.exit, 0);
  EXPECT_THAT(drain.err,
              HasSubstr("enc (3fa9aaaa) has ended here, and what it changed of its files is not on "
                        "a yet: no space; this node goes on trying, and a drain does not wait"));
}

// They stay until the person removed them, and each tern ps says so.
TEST(Session, OfWhatLiesBesideManyFilesPsShowsThree) {
  const auto job = [](const char* id, const char* more) {
    return std::string("{\"id\":\"") + id + R"(","beside":["/d/1","/d/2"],"kept":["/d/3","/d/4"])" +
           more + "}";
  };
  const std::string jobs = "{\"ok\":true,\"data\":{\"jobs\":[" + job("3fa9", "") + "," +
                           job("4fa9", ",\"beside_more\":5") + "]}}\n";
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{jobs}}});
  const std::string said = run_in(dir, {"ps"}).err;
  EXPECT_THAT(said, HasSubstr("kept beside it: /d/3\n"));
  EXPECT_THAT(said, Not(HasSubstr("/d/4")));
  EXPECT_THAT(said, HasSubstr("3fa9: and 1 more such files; see: tern ps --json\n"));
  EXPECT_THAT(said, HasSubstr("4fa9: and 6 more such files; see: tern events\n"));
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

// It hears from the others which jobs there are; another job may have the name by then.
TEST(Session, ADaemonThatCameBackIsAskedByTheIdUntilItKnowsTheJob) {
  const std::string first = R"({"event":{"stream":1,"offset":0,"data":"YWI=","job":"3fa9"}})";
  const std::string unknown = control::unknown_job_line("3fa9");
  for (const char* command : {"attach", "logs"}) {
    SCOPED_TRACE(command);
    const TempDir dir;
    FakeDaemon daemon(dir.path(), {Script{{first + "\n"}}, Script{{unknown}}, Script{{unknown}},
                                   Script{{output(1, 2, "cd"), ended(0)}}});
    std::vector<std::string> words = {command, "cnt"};
    if (words[0] == "logs") words.emplace_back("-f");
    const Ran ran = run_in(dir, words);
    EXPECT_EQ(ran.out, "abcd");
    EXPECT_EQ(ran.err, "tern: the daemon went away; waiting for it, cnt goes on\n");
    EXPECT_EQ(ran.exit, 0);
    const auto requests = daemon.stop();
    ASSERT_EQ(requests.size(), 4U);
    EXPECT_THAT(requests[0], HasSubstr("\"job\":\"cnt\""));
    for (const std::size_t later : {1U, 2U, 3U}) {
      EXPECT_THAT(requests[later], HasSubstr("\"job\":\"3fa9\""));
      EXPECT_THAT(requests[later], HasSubstr("\"from\":[2,0]"));
    }
  }
}

TEST(Session, AnInterruptWaitsForADaemonThatDoesNotKnowTheJobYet) {
  const std::string first = R"({"event":{"stream":1,"offset":0,"data":"YWI=","job":"3fa9"}})";
  const std::string unknown = control::unknown_job_line("3fa9");
  const TempDir dir;
  FakeDaemon daemon(dir.path(),
                    {Script{{first + "\n"}}, Script{{"@2", "!next"}}, Script{{unknown}},
                     Script{{"!next", ended(130)}}, Script{{"{\"ok\":true,\"data\":{}}\n"}}});
  const Ran ran = run_in(dir, {"attach", "cnt"});
  EXPECT_EQ(ran.exit, 130);
  EXPECT_EQ(ran.err, "tern: the daemon went away; waiting for it, cnt goes on\n");
  const auto requests = daemon.stop();
  ASSERT_EQ(requests.size(), 5U);
  for (const std::size_t kill : {2U, 4U}) {
    EXPECT_EQ(requests[kill], R"({"v":1,"command":"kill","job":"3fa9","signal":"INT"})");
  }
}

// Only that it knows no such job may a daemon that came back take back.
TEST(Session, AnyOtherFailureAfterABreakIsTheLastWord) {
  for (const char* why : {"the job is lost: /d is not there any more", "several jobs are called x",
                          "that job has ended already"}) {
    SCOPED_TRACE(why);
    const TempDir dir;
    FakeDaemon daemon(dir.path(), {Script{{output(1, 0, "a")}},
                                   Script{{control::error_line(control::Exit::kError, why)}},
                                   Script{{ended(0)}}});
    const Ran ran = run_in(dir, {"attach", "n"});
    EXPECT_EQ(ran.exit, 1);
    EXPECT_THAT(ran.err, HasSubstr(why));
    EXPECT_EQ(daemon.stop().size(), 2U);
  }
}

TEST(Session, AnInterruptThatIsRefusedAfterABreakIsSentOnce) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(),
                    {Script{{output(1, 0, "a")}}, Script{{"@2", "!next", ended(0)}},
                     Script{{control::error_line(control::Exit::kError, "it is parked")}}});
  const Ran ran = run_in(dir, {"attach", "n"});
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.err, HasSubstr("it is parked\ntern: n was not interrupted"));
  EXPECT_EQ(daemon.stop().size(), 3U);
}

// Nothing names its id then; that it was known shows in that nothing was said against it.
TEST(Session, ADaemonThatCameBackIsAskedAgainForASilentJobToo) {
  const std::string unknown = control::error_line(control::Exit::kError, "no job is called cnt");
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{"+1200"}}, Script{{unknown}}, Script{{ended(0)}}});
  const Ran ran = run_in(dir, {"attach", "cnt"});
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(ran.err, "tern: the daemon went away; waiting for it, cnt goes on\n");
}

// It may take its time to learn of the job after each of its deaths.
TEST(Session, ASilentJobSurvivesItsDaemonsSecondDeathToo) {
  const std::string unknown = control::error_line(control::Exit::kError, "no job is called cnt");
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{"+1200"}}, Script{{unknown}}, Script{{"+1200"}},
                                 Script{{unknown}}, Script{{ended(0)}}});
  How how;
  how.environment = {"TERN_TEST_LEARNS=500"};
  const Ran ran = run_in(dir, {"attach", "cnt"}, how);
  EXPECT_EQ(ran.exit, 0) << ran.err;
  const std::string notice = "tern: the daemon went away; waiting for it, cnt goes on\n";
  EXPECT_EQ(ran.err, notice + notice);
}

TEST(Session, ARefusalOfTheOwnersAfterABreakIsTheLastWord) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{output(1, 0, "a")}},
                                 Script{{control::error_line(control::Exit::kRefused, "no")}}});
  EXPECT_EQ(run_in(dir, {"attach", "n"}).exit, 5);
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

// As a parked job's, which hears no signal.
TEST(Session, AnInterruptThatIsRefusedSaysHowToEndTheJobAndIsSaidAgain) {
  const TempDir dir;
  const std::string refusal = control::error_line(control::Exit::kError, "it is parked");
  FakeDaemon daemon(
      dir.path(),
      {Script{{kStarted}}, Script{{output(1, 0, "a"), "@2", "!next", "@2", "!next", ended(0)}},
       Script{{refusal}}, Script{{refusal}}});
  const Ran ran = run_in(dir, kRun);
  EXPECT_EQ(ran.exit, 0);
  const std::string said =
      "tern: it is parked\ntern: 3fa9 was not interrupted; end it with: tern kill 3fa9\n";
  EXPECT_EQ(ran.err, said + said);
  EXPECT_EQ(daemon.stop().size(), 4U);
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
  FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{{output(1, 0, "a"), "!next"}, true},
                                 Script{{"{\"ok\":true,\"data\":{\"node\":\"a\"}}\n"}}});
  How how;
  how.close_out = true;
  EXPECT_EQ(run_in(dir, kRun, how).signal, SIGPIPE);
  const auto requests = daemon.stop();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[2], R"({"v":1,"command":"kill","job":"3fa9","signal":"PIPE"})")
      << "the job gets at its next write what it would have got";
}

std::string taken(std::uint64_t offset) {
  return control::input_news_line({(1ULL << 32) | 5, offset, false});
}

TEST(Session, OurInputIsTheJobs) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{{"!next", ended(0)}},
                                 Script{{taken(7), "!line", "!line", taken(12)}}});
  How how;
  how.input = "hello";
  const Ran ran = run_in(dir, kRun, how);
  EXPECT_EQ(ran.exit, 0) << ran.err;
  const auto requests = daemon.stop();
  ASSERT_EQ(requests.size(), 5U);
  EXPECT_THAT(requests[0], HasSubstr("\"input\":\"pipe\""));
  EXPECT_EQ(requests[2], R"({"v":1,"command":"input","job":"3fa9"})");
  EXPECT_EQ(requests[3], R"({"offset":7,"data":"aGVsbG8="})");
  EXPECT_EQ(requests[4], R"({"offset":12,"end":true})");
}

TEST(Session, WhatTheJobHasNotTakenIsSaidAgainAfterABreak) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(),
                    {Script{{kStarted}}, Script{{"!next", "!next", ended(0)}},
                     Script{{taken(0), "!line", "!line"}}, Script{{taken(2), "!line", "!line"}}});
  How how;
  how.input = "hello";
  EXPECT_EQ(run_in(dir, kRun, how).exit, 0);
  const auto requests = daemon.stop();
  ASSERT_EQ(requests.size(), 8U);
  EXPECT_EQ(requests[5], R"({"v":1,"command":"input","job":"3fa9","session":4294967301})");
  EXPECT_EQ(requests[6], R"({"offset":2,"data":"bGxv"})");
  EXPECT_EQ(requests[7], R"({"offset":5,"end":true})");
}

TEST(Session, InputGoesOnOnceADaemonThatCameBackKnowsTheJob) {
  const std::string first = R"({"event":{"stream":1,"offset":0,"data":"YWI=","job":"3fa9"}})";
  const std::string unknown = control::unknown_job_line("3fa9");
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{first + "\n", "!next", "!next", "!next", ended(0)}},
                                 Script{{taken(0), "!line", "!line"}}, Script{{unknown}},
                                 Script{{taken(2), "!line", "!line"}}});
  How how;
  how.input = "hello";
  const Ran ran = run_in(dir, {"attach", "--stdin", "cnt"}, how);
  EXPECT_EQ(ran.exit, 0);
  EXPECT_EQ(ran.err, "");
  const auto requests = daemon.stop();
  ASSERT_EQ(requests.size(), 8U);
  EXPECT_EQ(requests[5], R"({"v":1,"command":"input","job":"3fa9","session":4294967301})");
  EXPECT_EQ(requests[6], R"({"offset":2,"data":"bGxv"})");
}

TEST(Session, InputThatIsRefusedAfterABreakIsNotSaidAgain) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(),
                    {Script{{kStarted}}, Script{{"!next", "!next", ended(0)}},
                     Script{{taken(0), "!line", "!line"}},
                     Script{{control::error_line(control::Exit::kError, "it is over")}}});
  How how;
  how.input = "hello";
  const Ran ran = run_in(dir, kRun, how);
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.err, HasSubstr("standard input is not passed on: it is over"));
}

TEST(Session, WhoFeedsNoMoreIsTold) {
  const TempDir dir;
  FakeDaemon daemon(
      dir.path(),
      {Script{{kStarted}}, Script{{"!next", ended(0)}},
       Script{{taken(0), control::error_line(control::Exit::kRefused, "somebody else", "do so")}}});
  How how;
  how.input = "hello";
  const Ran ran = run_in(dir, kRun, how);
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.err, HasSubstr("standard input is not passed on: somebody else; do so"));
}

// It is stopped meanwhile, so that it sends to a daemon that has hung up.
TEST(Session, WhyOurInputIsRefusedIsHeardThoughMoreIsBeingSent) {
  const TempDir dir;
  std::string last;
  while (last.size() < 2 * control::kReadBytesMax) last += taken(0);
  last += control::error_line(control::Exit::kRefused, "somebody else", "do so");
  FakeDaemon daemon(dir.path(), {Script{{kStarted}}, Script{{"!next", "!next", ended(0)}},
                                 Script{{taken(0), "!line", "!line"}},
                                 Script{{"@19", "!deaf", last, "@18", "!closed"}}});
  How how;
  how.input = "hello";
  const Ran ran = run_in(dir, kRun, how);
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.err, HasSubstr("standard input is not passed on: somebody else; do so"));
}

TEST(Session, ATerminalForTheJobNeedsOneHere) {
  const TempDir dir;
  const Ran ran = run_in(dir, {"run", "--tty", "--", "x"});
  EXPECT_EQ(ran.exit, 2);
  EXPECT_THAT(ran.err, HasSubstr("needs a terminal as its standard input"));
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
