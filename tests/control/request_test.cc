#include "control/request.h"

#include <gtest/gtest.h>

#include "control/json.h"

namespace control {
namespace {

template <typename T>
T round_trip(const Request& request) {
  auto line = encode(request);
  EXPECT_TRUE(line.ok());
  EXPECT_TRUE(line->ends_with('\n'));
  auto back = parse_request(std::string_view(*line).substr(0, line->size() - 1));
  EXPECT_TRUE(back.ok()) << back.error().detail << " in " << *line;
  EXPECT_TRUE(std::holds_alternative<T>(*back)) << *line;
  return std::get<T>(*std::move(back));
}

RunRequest some_run() {
  RunRequest run;
  run.argv = {"sh", "-c", "echo \"\n\x01\xc3\xa4\"", "", "\xff\xfe raw"};
  run.env = {"A=b", "EMPTY=", "RAW=\x80"};
  run.cwd = "/tmp/\xff";
  run.name = "counter";
  run.on = "best";
  run.umask = 027;
  return run;
}

TEST(Request, RunKeepsEveryByteOfItsArguments) {
  const RunRequest run = some_run();
  const auto back = round_trip<RunRequest>(run);
  EXPECT_EQ(back.argv, run.argv);
  EXPECT_EQ(back.env, run.env);
  EXPECT_EQ(back.cwd, run.cwd);
  EXPECT_EQ(back.name, run.name);
  EXPECT_EQ(back.on, run.on);
  EXPECT_EQ(back.umask, run.umask);
}

TEST(Request, EveryCommandReadsBack) {
  EXPECT_EQ(round_trip<UpRequest>(UpRequest{"desk"}).name, "desk");
  EXPECT_EQ(round_trip<UpRequest>(UpRequest{}).name, std::nullopt);
  const auto invite = round_trip<InviteRequest>(InviteRequest{60, true});
  EXPECT_EQ(invite.seconds, 60U);
  EXPECT_TRUE(invite.inviter);
  const auto join = round_trip<JoinRequest>(JoinRequest{SecretText("tern1abc"), true});
  EXPECT_EQ(join.ticket.reveal(), "tern1abc");
  EXPECT_TRUE(join.trust);
  EXPECT_EQ(join.trust_uid, std::nullopt);
  EXPECT_EQ(round_trip<JoinRequest>(JoinRequest{SecretText("t"), true, 1000}).trust_uid, 1000U);
  const auto attach = round_trip<AttachRequest>(AttachRequest{"3fa9", {7, 1ULL << 40}});
  EXPECT_EQ(attach.job, "3fa9");
  EXPECT_EQ(attach.from, (std::array<std::uint64_t, 2>{7, 1ULL << 40}));
  const auto logs = round_trip<LogsRequest>(LogsRequest{"job", true, {1, 2}});
  EXPECT_TRUE(logs.follow);
  EXPECT_EQ(logs.from, (std::array<std::uint64_t, 2>{1, 2}));
  EXPECT_EQ(round_trip<KillRequest>(KillRequest{"job", 9}).signal, 9);
  EXPECT_EQ(round_trip<KillRequest>(KillRequest{"job", 40}).signal, 40);
  const auto migrate = round_trip<MigrateRequest>(MigrateRequest{"job", "laptop", true});
  EXPECT_EQ(migrate.to, "laptop");
  EXPECT_TRUE(migrate.dry_run);
  EXPECT_EQ(round_trip<ResolveRequest>(ResolveRequest{"job"}).job, "job");
  EXPECT_TRUE(round_trip<EventsRequest>(EventsRequest{true}).follow);
  round_trip<PingRequest>(PingRequest{});
  round_trip<StatusRequest>(StatusRequest{});
  round_trip<JobsRequest>(JobsRequest{});
  round_trip<DownRequest>(DownRequest{});
  round_trip<ConfigRequest>(ConfigRequest{});
  round_trip<MetricsRequest>(MetricsRequest{});
}

// The contract as text: other clients and scripts may write it by hand.
TEST(Request, IsWrittenAsTheContractSays) {
  EXPECT_EQ(*encode(PingRequest{}), "{\"v\":1,\"command\":\"ping\"}\n");
  EXPECT_EQ(*encode(JobsRequest{}), "{\"v\":1,\"command\":\"ps\"}\n");
  EXPECT_EQ(*encode(KillRequest{"3fa9", 15}),
            "{\"v\":1,\"command\":\"kill\",\"job\":\"3fa9\",\"signal\":\"TERM\"}\n");
  EXPECT_EQ(*encode(AttachRequest{"3fa9", {1, 2}}),
            "{\"v\":1,\"command\":\"attach\",\"job\":\"3fa9\",\"from\":[1,2]}\n");
}

TEST(Request, RefusesWhatNoDaemonShouldSee) {
  struct Row {
    const char* name;
    const char* line;
  };
  const Row rows[] = {
      {"nothing", ""},
      {"no object", "[1]"},
      {"no JSON", "status"},
      {"two objects", R"({"v":1,"command":"ping"}{})"},
      {"no version", R"({"command":"ping"})"},
      {"another version", R"({"v":2,"command":"ping"})"},
      {"no command", R"({"v":1})"},
      {"an unknown command", R"({"v":1,"command":"reboot"})"},
      {"a command of another type", R"({"v":1,"command":7})"},
      {"no job", R"({"v":1,"command":"kill"})"},
      {"an empty job", R"({"v":1,"command":"kill","job":""})"},
      {"a job with a control character", R"({"v":1,"command":"kill","job":"a\u001b[2J"})"},
      {"a job with a slash", R"({"v":1,"command":"logs","job":"../x"})"},
      {"signal 0", R"({"v":1,"command":"kill","job":"a","signal":0})"},
      {"signal 65", R"({"v":1,"command":"kill","job":"a","signal":65})"},
      {"a signal of the C library", R"({"v":1,"command":"kill","job":"a","signal":32})"},
      {"an unknown signal", R"({"v":1,"command":"kill","job":"a","signal":"NOPE"})"},
      {"a fractional signal", R"({"v":1,"command":"kill","job":"a","signal":9.5})"},
      {"attach without offsets", R"({"v":1,"command":"attach","job":"a"})"},
      {"one offset", R"({"v":1,"command":"attach","job":"a","from":[1]})"},
      {"three offsets", R"({"v":1,"command":"attach","job":"a","from":[1,2,3]})"},
      {"a negative offset", R"({"v":1,"command":"attach","job":"a","from":[-1,0]})"},
      {"an offset that wraps",
       R"({"v":1,"command":"attach","job":"a","from":[9223372036854775808,0]})"},
      {"run nothing", R"({"v":1,"command":"run","argv":[],"env":[],"cwd":"/"})"},
      {"run the empty name", R"({"v":1,"command":"run","argv":[""],"env":[],"cwd":"/"})"},
      {"a relative folder", R"({"v":1,"command":"run","argv":["a"],"env":[],"cwd":"x"})"},
      {"a zero in an argument", R"({"v":1,"command":"run","argv":["a\u0000"],"env":[],"cwd":"/"})"},
      {"a variable without =", R"({"v":1,"command":"run","argv":["a"],"env":["A"],"cwd":"/"})"},
      {"a variable without name", R"({"v":1,"command":"run","argv":["a"],"env":["=A"],"cwd":"/"})"},
      {"an argument that is a number", R"({"v":1,"command":"run","argv":[1],"env":[],"cwd":"/"})"},
      {"damaged base64", R"({"v":1,"command":"run","argv":[{"base64":"A"}],"env":[],"cwd":"/"})"},
      {"umask too wide", R"({"v":1,"command":"run","argv":["a"],"env":[],"cwd":"/","umask":512})"},
      {"a job named best",
       R"({"v":1,"command":"run","argv":["a"],"env":[],"cwd":"/","name":"best"})"},
      {"an empty ticket", R"({"v":1,"command":"join","ticket":"","trust":false})"},
      {"nobody to trust",
       R"({"v":1,"command":"join","ticket":"t","trust":true,"trust_uid":4294967295})"},
      {"trust that is no boolean", R"({"v":1,"command":"join","ticket":"t","trust":1})"},
      {"an invitation of no time", R"({"v":1,"command":"invite","seconds":0})"},
      {"an invitation of two days", R"({"v":1,"command":"invite","seconds":172800})"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_FALSE(parse_request(row.line).ok());
  }
}

TEST(Request, UnknownFieldsAreIgnoredSinceFieldsAreOnlyEverAdded) {
  EXPECT_TRUE(parse_request(R"({"v":1,"command":"ping","later":{"x":[1]}})").ok());
}

TEST(Request, EveryTruncationIsRefused) {
  std::string line = *encode(some_run());
  line.pop_back();
  for (std::size_t size = 0; size < line.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_FALSE(parse_request(std::string_view(line).substr(0, size)).ok());
  }
}

TEST(Request, DeepNestingIsRefusedBeforeAnythingRecurses) {
  const std::string deep = R"({"v":1,"command":"ping","x":)" + std::string(200'000, '[') +
                           std::string(200'000, ']') + "}";
  EXPECT_FALSE(parse_request(deep).ok());
  // Brackets inside text are no nesting.
  EXPECT_TRUE(
      parse_request(R"({"v":1,"command":"ping","x":")" + std::string(1000, '[') + "\"}").ok());
}

TEST(Request, ALineOverTheLimitIsRefusedOnBothSides) {
  RunRequest run = some_run();
  run.env.assign(9, "A=" + std::string(kArgumentBytesMax - 2, 'x'));
  auto line = encode(run);
  ASSERT_FALSE(line.ok());
  EXPECT_EQ(line.error().code, base::Code::kTooLarge);
  EXPECT_FALSE(parse_request(std::string(kLineBytesMax + 1, ' ')).ok());
}

TEST(Words, SignalsAreTakenAsPeopleWriteThem) {
  EXPECT_EQ(*parse_signal("TERM"), 15);
  EXPECT_EQ(*parse_signal("sigterm"), 15);
  EXPECT_EQ(*parse_signal("SIGKILL"), 9);
  EXPECT_EQ(*parse_signal("1"), 1);
  EXPECT_EQ(*parse_signal("64"), 64);
  for (const char* bad : {"", "0", "65", "32", "33", "-1", "999999999999", "SIG", "TERMX", "1x"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_signal(bad).ok());
  }
  EXPECT_EQ(signal_name(2), "INT");
  EXPECT_EQ(signal_name(40), "40");
}

TEST(Words, NamesCannotBeMistakenForOtherThings) {
  EXPECT_TRUE(check_name("a").ok());
  EXPECT_TRUE(check_name(std::string(kNameBytesMax, 'a')).ok());
  for (const std::string& bad :
       {std::string(), std::string(kNameBytesMax + 1, 'a'), std::string("-x"), std::string(".."),
        std::string("a b"), std::string("a/b"), std::string("\xc3\xa4"), std::string("best"),
        std::string("home"), std::string("here")}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(check_name(bad).ok());
  }
}

TEST(SecretText, LeavesNothingBehindWhenMoved) {
  SecretText from("a ticket");
  const SecretText to(std::move(from));
  EXPECT_EQ(to.reveal(), "a ticket");
  EXPECT_TRUE(from.reveal().empty());  // NOLINT(bugprone-use-after-move): what is tested
}

}  // namespace
}  // namespace control
