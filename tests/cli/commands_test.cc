// Requests, rendering and exit codes of each command, against a scripted daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cli/text.h"
#include "fake_daemon.h"
#include "run_tern.h"

namespace cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Row {
  const char* name;
  std::vector<std::string> arguments;
  const char* answer;
  const char* request;
  const char* out;  // part of it; "" for none at all
  const char* err;
  int exit = 0;
};

constexpr char kPing[] =
    R"({"ok":true,"data":{"pid":1,"name":"desk","mesh":{"id":"aa","name":"home"}}})";
constexpr char kStatus[] =
    R"({"ok":true,"data":{"mesh":{"id":"aa","name":"home","sum":-1,"rule":"waking",)"
    R"("seats_sum_mod_3":0},"self":"01","sentence":"nas moves encode to bob","nodes":[)"
    R"({"id":"0123456789","name":"desk","state":"alive","ratio":0.25,"effective_ratio":0.2,)"
    R"("trit":-1,"cpus":2,"mem_total_bytes":4000000000,"mem_free_bytes":1500000000,"seat":null},)"
    R"({"id":"02","name":"old","state":"suspect","trit":1,"mem_total_bytes":1},)"
    R"({"id":"03","name":"new","state":"alive","trit":0,"cpus":1}]}})";
constexpr char kHandover[] =
    R"({"ok":true,"data":{"job":"3fa90000","from":"a","to":"b","outcome":"commit",)"
    R"("bytes":1500000,"frozen_seconds":0.412}})";

const Row kRows[] = {
    {"status", {"status"}, kStatus, R"({"v":1,"command":"status"})", "S = -1, waking", ""},
    {"throttle",
     {"throttle", "enc", "50%"},
     R"({"ok":true,"data":{"node":"b"}})",
     R"({"v":1,"command":"throttle","job":"enc","percent":50})",
     "",
     "enc on b gets 50% of one CPU until it moves"},
    {"throttle off",
     {"throttle", "enc", "off"},
     R"({"ok":true,"data":{"node":"b"}})",
     R"({"v":1,"command":"throttle","job":"enc","percent":0})",
     "",
     "tern throttle enc auto"},
    {"throttle auto",
     {"throttle", "enc", "auto"},
     R"({"ok":true,"data":{"node":"b"}})",
     R"({"v":1,"command":"throttle","job":"enc"})",
     "",
     "the rules decide again"},
    {"status shows the unreachable, nothing of who has said nothing yet, and what goes on",
     {"status"},
     kStatus,
     R"({"v":1,"command":"status"})",
     "  unreachable       0.00   0.00  PLUS      0     0 B     0       0  -              02\n"
     "new   alive                -      -  -         -       -     -       -  -              03\n"
     "nas moves encode to bob\n",
     ""},
    {"status --json is verbatim",
     {"status", "--json"},
     R"({"ok":true,"data":{"z":1.50, "a":[]}})",
     R"({"v":1,"command":"status"})",
     "{\"z\":1.50, \"a\":[]}\n",
     ""},
    {"find-minus", {"find-minus", "-n", "1"}, kStatus, R"({"v":1,"command":"status"})", "desk", ""},
    {"nothing is MINUS",
     {"find-minus"},
     R"({"ok":true,"data":{"mesh":{},"nodes":[]}})",
     R"({"v":1,"command":"status"})",
     "",
     "no node is MINUS",
     6},
    {"ps",
     {"ps"},
     R"({"ok":true,"data":{"jobs":[{"id":"3fa9aaaabbbb","name":"enc",)"
     R"("state":"exited","exit_code":7,"command":"x y"}],"unreachable":["gone"]}})",
     R"({"v":1,"command":"ps"})",
     "exited 7",
     "unreachable: gone"},
    {"ps says what is on its way home",
     {"ps"},
     R"({"ok":true,"data":{"jobs":[{"id":"3fa9aaaa","name":"e","node":"b","homeward":true}]}})",
     R"({"v":1,"command":"ps"})",
     "3fa9aaaa",
     "3fa9aaaa has ended on b; its output, and what it changed"},
    {"ps names whom a job in doubt waits for",
     {"ps"},
     R"({"ok":true,"data":{"jobs":[{"id":"3fa9aaaa","state":"handover","waits_for":"b"}]}})",
     R"({"v":1,"command":"ps"})",
     "handover",
     "3fa9aaaa is held until b says what became of its move; if that copy is gone for good: tern "
     "resolve 3fa9aaaa --run-here"},
    {"invite",
     {"invite", "--minutes", "2"},
     R"({"ok":true,"data":{"ticket":"tern-ticket","expires_in_seconds":120}})",
     R"({"v":1,"command":"invite","seconds":120,"inviter":false})",
     "tern-ticket\n",
     "2 min"},
    {"kill",
     {"kill", "enc", "int"},
     R"({"ok":true,"data":{"node":"b"}})",
     R"({"v":1,"command":"kill","job":"enc","signal":"INT"})",
     "",
     "sent INT to enc on b"},
    {"kill --dry-run",
     {"kill", "enc", "--dry-run"},
     R"({"ok":true,"data":{"node":"b"}})",
     R"({"v":1,"command":"kill","job":"enc","signal":"TERM","dry_run":true})",
     "",
     "tern: would send TERM to enc on b\n"},
    {"migrate --json of a move that came to nothing",
     {"migrate", "enc", "b", "--json"},
     R"({"ok":false,"exit":1,"error":"CRIU: no","data":{"outcome":"abort","reason":"CRIU: no"}})",
     R"({"v":1,"command":"migrate","job":"enc","to":"b","dry_run":false})",
     "{\"outcome\":\"abort\",\"reason\":\"CRIU: no\"}\n",
     "tern: CRIU: no\n",
     1},
    {"migrate",
     {"migrate", "enc", "b"},
     kHandover,
     R"({"v":1,"command":"migrate","job":"enc","to":"b","dry_run":false})",
     "",
     "tern: moved enc from a to b: 1.5 MB, frozen for 412 ms\n"
     "tern: Its output goes on where it was; move it back: tern migrate enc a\n"},
    {"migrate --dry-run",
     {"migrate", "enc", "--dry-run"},
     R"({"ok":true,"data":{"job":"3fa9","from_name":"a","to_name":"b","obstacles":[]}})",
     R"({"v":1,"command":"migrate","job":"enc","dry_run":true})",
     "",
     "tern: would move enc from a to b; do it: tern migrate enc b\n"},
    {"migrate --dry-run of what would be refused",
     {"migrate", "enc", "b", "--dry-run"},
     R"({"ok":true,"data":{"job":"3fa9","from_name":"a","to_name":"b",)"
     R"("obstacles":["b has no CRIU","no /x"]}})",
     R"({"v":1,"command":"migrate","job":"enc","to":"b","dry_run":true})",
     "b has no CRIU\nno /x\n",
     "tern: would not move enc from a to b; it runs on where it is\n",
     5},
    {"migrate --dry-run --json",
     {"migrate", "enc", "--dry-run", "--json"},
     R"({"ok":true,"data":{"job":"3fa9","obstacles":["x"]}})",
     R"({"v":1,"command":"migrate","job":"enc","dry_run":true})",
     "{\"job\":\"3fa9\",\"obstacles\":[\"x\"]}\n",
     "would not move",
     5},
    {"a dry run that tells nothing is no yes",
     {"migrate", "enc", "--dry-run"},
     R"({"ok":true,"data":{"job":"3fa9"}})",
     R"({"v":1,"command":"migrate","job":"enc","dry_run":true})",
     "",
     "obstacles",
     1},
    {"refused by preflight",
     {"migrate", "enc"},
     R"({"ok":false,"exit":5,"error":"b has no CRIU","next":"install it"})",
     R"({"v":1,"command":"migrate","job":"enc","dry_run":false})",
     "",
     "tern: b has no CRIU\ntern: install it\n",
     5},
    {"nothing fits",
     {"migrate", "enc"},
     R"({"ok":false,"exit":6,"error":"no idle peer"})",
     R"({"v":1,"command":"migrate","job":"enc","dry_run":false})",
     "",
     "no idle peer",
     6},
    {"peer unreachable",
     {"kill", "enc"},
     R"({"ok":false,"exit":4,"error":"b does not answer"})",
     R"({"v":1,"command":"kill","job":"enc","signal":"TERM"})",
     "",
     "b does not answer",
     4},
    {"resolve",
     {"resolve", "enc", "--run-here"},
     R"({"ok":true,"data":{"node":"a"}})",
     R"({"v":1,"command":"resolve","job":"enc"})",
     "",
     "runs on a again"},
    {"park",
     {"park", "enc"},
     R"({"ok":true,"data":{"job":"3fa9","node":"07","node_name":"a","what":"park",)"
     R"("outcome":"done","bytes":2097152,"stored_bytes":1048576,"frozen_seconds":0.5}})",
     R"({"v":1,"command":"park","job":"enc","dry_run":false})",
     "",
     "parked enc on a: 2.0 MB, 1.0 MB on its disk, in 500 ms"},
    {"park has nowhere to write",
     {"park", "enc", "--dry-run"},
     R"({"ok":true,"data":{"job":"3fa9","from_name":"a","to_name":"","obstacles":["no room"]}})",
     R"({"v":1,"command":"park","job":"enc","dry_run":true})",
     "no room\n",
     "would not park enc",
     5},
    {"wake elsewhere",
     {"wake", "enc", "b"},
     R"({"ok":true,"data":{"job":"3fa9","from":"07","to":"08","to_name":"b"}})",
     R"({"v":1,"command":"wake","job":"enc","on":"b","dry_run":false})",
     "",
     "enc runs on b now"},
    {"config",
     {"config"},
     R"({"ok":true,"data":{"settings":[{"name":"listen","value":":1","from":"default"}]}})",
     R"({"v":1,"command":"config"})",
     "listen",
     ""},
    {"metrics",
     {"metrics"},
     R"({"ok":true,"data":{"counters":{"moves":12}}})",
     R"({"v":1,"command":"metrics"})",
     "moves",
     ""},
    {"run --detach",
     {"run", "-d", "--name", "enc", "--on", "best", "--", "sleep", "--x"},
     R"({"ok":true,"data":{"job":"3fa90000aa","name":"enc"}})",
     nullptr,
     "3fa90000aa enc\n",
     "tern logs 3fa90000"},
    {"rubbish", {"status"}, "no json", R"({"v":1,"command":"status"})", "", "makes no sense", 1},
    {"an error of no known kind",
     {"status"},
     R"({"ok":false,"exit":99,"error":"x"})",
     R"({"v":1,"command":"status"})",
     "",
     "makes no sense",
     1},
    {"up",
     {"up", "--name", "desk"},
     kPing,
     R"({"v":1,"command":"ping"})",
     "",
     "Invite another machine: tern invite"},
};

void run_row(const Row& row, std::size_t piece) {
  SCOPED_TRACE(std::string(row.name) + ", pieces of " + std::to_string(piece));
  const TempDir dir;
  const Script script{in_pieces(row.answer + std::string("\n"), piece)};
  FakeDaemon daemon(dir.path(), {script, script});
  std::vector<std::string> arguments = {"--state", dir.path()};
  arguments.insert(arguments.end(), row.arguments.begin(), row.arguments.end());
  const Ran ran = run_tern(arguments);
  const auto requests = daemon.stop();
  ASSERT_FALSE(requests.empty());
  if (row.request != nullptr) {
    EXPECT_EQ(requests[0], row.request);
  }
  EXPECT_THAT(ran.out, *row.out == '\0' ? ::testing::Matcher<std::string>("") : HasSubstr(row.out));
  EXPECT_THAT(ran.err, HasSubstr(row.err));
  EXPECT_EQ(ran.exit, row.exit);
}

TEST(Commands, SayAndShowWhatTheyShould) {
  for (const Row& row : kRows) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100'000}}) {
      run_row(row, piece);
    }
  }
}

TEST(Commands, DownWaitsForTheEndAndTellsWhatGoesOn) {
  const TempDir dir;
  ASSERT_EQ(run_tern({"up", "--state", dir.path(), "--name", "stays"}).exit, 0);
  const Ran ran = run_tern({"down", "--state", dir.path()});
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.err, HasSubstr("jobs that go on without it: 2"));
  EXPECT_EQ(run_tern({"status", "--state", dir.path()}).exit, 3) << "it was gone when down ended";
}

TEST(Commands, WithoutADaemonSaySoAndExitWith3) {
  const TempDir dir;
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"status"},
                                             {"ps"},
                                             {"invite"},
                                             {"logs", "x"},
                                             {"attach", "x"},
                                             {"kill", "x"},
                                             {"migrate", "x"},
                                             {"events"},
                                             {"metrics"},
                                             {"down"},
                                             {"find-minus"},
                                             {"resolve", "x", "--run-here"}}) {
    SCOPED_TRACE(arguments[0]);
    std::vector<std::string> words = arguments;
    words.insert(words.end(), {"--state", dir.path()});
    const Ran ran = run_tern(words);
    EXPECT_EQ(ran.exit, 3);
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(ran.err, "tern: no tern daemon answers at " + dir.path() +
                           "/control.sock; start one with: tern up\n");
  }
  EXPECT_EQ(run_tern({"run", "--state", dir.path(), "--", "x"}).exit, 125);
}

TEST(Commands, EventsTellEachPhaseOfAHandoverWithItsDuration) {
  const TempDir dir;
  FakeDaemon daemon(
      dir.path(),
      {Script{{R"({"event":{"time":1700000000,"node":"a","kind":"handover","handover":{"job":"ab",)"
               R"("from":"a1","to":"b1","from_name":"a","to_name":"b","outcome":"commit",)"
               R"("bytes":1500000,"frozen_seconds":0.412,"phases":{"preflight":0.02,)"
               R"("stream":0.3}}}})"
               "\n",
               "{\"ok\":true,\"data\":{}}\n"}}});
  const Ran ran = run_tern({"events", "--state", dir.path()});
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.out, testing::HasSubstr("a -> b commit, 1.5 MB, frozen 412 ms: preflight 20 ms, "
                                          "stream 300 ms\n"));
}

TEST(Commands, ADaemonThatHangsUpIsNoAnswer) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{"{\"ok\":true,\"da"}}});
  const Ran ran = run_tern({"status", "--state", dir.path()});
  EXPECT_EQ(ran.exit, 3);
  EXPECT_THAT(ran.err, HasSubstr("went away before it answered"));
}

TEST(Commands, ALineWithoutEndIsCutOff) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{std::vector<std::string>(40, std::string(65536, 'x'))}});
  EXPECT_EQ(run_tern({"status", "--state", dir.path()}).exit, 1);
}

TEST(Commands, PathsBeyondASocketAddressAreReached) {
  const TempDir dir;
  const std::string deep = dir.path() + "/" + std::string(200, 'd');
  std::filesystem::create_directory(deep);
  FakeDaemon daemon(dir.path(), {Script{{"{\"ok\":true,\"data\":{\"a\":1}}\n"}}});
  std::filesystem::rename(dir.path() + "/control.sock", deep + "/control.sock");
  const Ran ran = run_tern({"status", "--json", "--state", deep});
  EXPECT_EQ(ran.out, "{\"a\":1}\n") << ran.err;
}

TEST(Commands, NothingFromADaemonActsOnATerminal) {
  const TempDir dir;
  const std::string answer =
      "{\"ok\":true,\"data\":{\"jobs\":[{\"id\":\"aa\",\"name\":\"\\u001b[2J\\u009b31m\",\"state\":"
      "\"running\","
      "\"command\":\"a\\nb\\u202e\"}]}}\n";
  for (const bool json : {false, true}) {
    FakeDaemon daemon(dir.path(), {Script{{answer}}});
    How how;
    how.terminal = true;
    how.environment = {"NO_COLOR=1"};
    std::vector<std::string> words = {"ps", "--state", dir.path()};
    if (json) words.emplace_back("--json");
    const Ran ran = run_tern(words, how);
    EXPECT_EQ(ran.exit, 0);
    EXPECT_THAT(ran.out, HasSubstr(json ? "\\u001b[2J" : "\\x1b[2J"));
    EXPECT_THAT(ran.out, Not(HasSubstr("\x1b")));
    EXPECT_THAT(ran.out, Not(HasSubstr("\u009b")));
    daemon.stop();
    std::filesystem::remove(dir.path() + "/control.sock");
  }
}

TEST(Commands, ColoursOnlyOnATerminalThatWantsThem) {
  const TempDir dir;
  const auto status = [&](bool terminal, std::vector<std::string> environment) {
    std::filesystem::remove(dir.path() + "/control.sock");
    FakeDaemon daemon(dir.path(), {Script{{std::string(kStatus) + "\n"}}});
    How how;
    how.terminal = terminal;
    how.environment = std::move(environment);
    return run_tern({"status", "--state", dir.path()}, how).out;
  };
  EXPECT_THAT(status(true, {}), HasSubstr("\x1b[32m"));
  EXPECT_THAT(status(true, {"NO_COLOR=1"}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(status(false, {}), Not(HasSubstr("\x1b")));
}

TEST(Commands, UpSaysWhatThisMachineCannotDo) {
  const TempDir dir;
  const auto up = [&](const std::string& more) {
    std::filesystem::remove(dir.path() + "/control.sock");
    const std::string ping =
        R"({"ok":true,"data":{"pid":1,"name":"desk","mesh":{"id":"aa","name":"home"})" + more +
        "}}\n";
    FakeDaemon daemon(dir.path(), {Script{{ping}}, Script{{ping}}});
    const Ran ran = run_tern({"up", "--name", "lap", "--state", dir.path()});
    EXPECT_EQ(ran.exit, 0);
    return ran.err;
  };
  const std::string fine = up("");
  EXPECT_THAT(fine, Not(HasSubstr("jobs")));
  EXPECT_THAT(fine, HasSubstr("its name stays desk"));
  EXPECT_THAT(up(R"(,"no_criu":"there is none")"),
              HasSubstr("move neither away nor to here: there is none"));
  EXPECT_THAT(up(R"(,"no_jobs":"no cgroups","no_criu":"there is none")"),
              HasSubstr("no jobs run here: no cgroups\n"));
}

// ---- tickets

TEST(Join, ReadsTheTicketFromStandardInputOnly) {
  const TempDir dir;
  FakeDaemon daemon(
      dir.path(),
      {Script{{std::string(kPing) + "\n"}},
       Script{{"{\"ok\":true,\"data\":{\"mesh\":{\"name\":\"home\"},\"name\":\"b\"}}\n"}}});
  How how;
  how.input = "\n  tern-secret \nmore";
  const Ran ran = run_tern({"join", "--trust", "-", "--state", dir.path()}, how);
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("joined the mesh home"));
  EXPECT_EQ(daemon.stop().at(1), R"({"v":1,"command":"join","ticket":"tern-secret","trust":true})");
}

TEST(Join, TrustMeansThePersonWhoUsedSudo) {
  if (::geteuid() != 0) GTEST_SKIP() << "sudo makes root";
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{std::string(kPing) + "\n"}},
                                 Script{{"{\"ok\":true,\"data\":{\"mesh\":{\"name\":\"home\"},"
                                         "\"trusted_uid\":1000}}\n"}}});
  How how;
  how.input = "t\n";
  how.environment = {"SUDO_UID=1000"};
  const Ran ran = run_tern({"join", "--trust", "-", "--state", dir.path()}, how);
  EXPECT_THAT(ran.err, HasSubstr("jobs of uid 1000 on the other nodes may run here"));
  EXPECT_THAT(daemon.stop().at(1), HasSubstr(R"("trust":true,"trust_uid":1000)"));
}

TEST(Join, RefusesATicketInItsArgumentsAndDoesNotRepeatIt) {
  const TempDir dir;
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"join", "tern-secret"},
                                             {"join", "-", "tern-secret"},
                                             {"join", "--ticket=tern-secret"}}) {
    std::vector<std::string> words = {"--state", dir.path()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Ran ran = run_tern(words);
    EXPECT_EQ(ran.exit, 2);
    EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("tern-secret")));
  }
  EXPECT_EQ(run_tern({"join", "--state", dir.path()}).exit, 2) << "nothing to read";
}

// ---- up and daemon

TEST(Up, StartsADaemonAndSaysWhatNext) {
  const TempDir dir;
  const Ran ran =
      run_tern({"up", "--state", dir.path() + "/new", "--name", "desk", "--listen", ":0"});
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("started the daemon"));
  EXPECT_THAT(ran.err, HasSubstr("made the mesh home"));
  EXPECT_THAT(ran.err, HasSubstr("Invite another machine: tern invite"));
}

TEST(Up, TellsWhyTheDaemonEnded) {
  const TempDir dir;
  const Ran ran = run_tern({"up", "--state", dir.path(), "--name", "broken"});
  EXPECT_EQ(ran.exit, 1);
  EXPECT_THAT(ran.err, HasSubstr("the port is taken"));
}

TEST(Daemon, TakesItsOptionsAndReturnsTheHostsExitCode) {
  const Ran ran =
      run_tern({"daemon", "--state", "/s", "--peer", "192.0.2.1:1", "--peer", "192.0.2.2", "--cpus",
                "1.5", "--policy-uids", "1000,1001", "--criu", "/c", "--allow-root-jobs"});
  EXPECT_EQ(ran.exit, 42);
  EXPECT_THAT(
      ran.err,
      HasSubstr("[daemon][--state][/s][--peer=192.0.2.1:1][--peer=192.0.2.2:7333][--criu=/c]"
                "[--policy-uids=1000][--policy-uids=1001][--cpus=1.500][--allow-root-jobs]"));
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{{"--peer", "desk"},
                                             {"--listen", ":99999"},
                                             {"--cpus", "0"},
                                             {"--load-source", "x"},
                                             {"--load-window", "0"},
                                             {"--policy-uids", "-1"},
                                             {"--name", "a b"},
                                             {"extra"}}) {
    SCOPED_TRACE(bad[0]);
    std::vector<std::string> words = {"daemon"};
    words.insert(words.end(), bad.begin(), bad.end());
    EXPECT_EQ(run_tern(words).exit, 2);
  }
}

// ---- usage

}  // namespace
}  // namespace cli
