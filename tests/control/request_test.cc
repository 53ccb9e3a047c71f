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
  run.tcp_close = true;
  run.dir = "/tmp/\xfe/tree";
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
  EXPECT_TRUE(back.tcp_close);
  EXPECT_EQ(back.dir, run.dir);
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
  const auto input = round_trip<InputRequest>(InputRequest{"3fa9", 1ULL << 40});
  EXPECT_EQ(input.job, "3fa9");
  EXPECT_EQ(input.session, 1ULL << 40);
  const auto attach = round_trip<AttachRequest>(AttachRequest{"3fa9", {7, 1ULL << 40}});
  EXPECT_EQ(attach.job, "3fa9");
  EXPECT_EQ(attach.from, (std::array<std::uint64_t, 2>{7, 1ULL << 40}));
  const auto logs = round_trip<LogsRequest>(LogsRequest{"job", true, {1, 2}});
  EXPECT_TRUE(logs.follow);
  EXPECT_EQ(logs.from, (std::array<std::uint64_t, 2>{1, 2}));
  EXPECT_EQ(round_trip<KillRequest>(KillRequest{"job", 9}).signal, 9);
  EXPECT_EQ(round_trip<KillRequest>(KillRequest{"job", 40}).signal, 40);
  const auto throttle = round_trip<ThrottleRequest>(ThrottleRequest{"job", 50, true});
  EXPECT_EQ(throttle.percent, 50U);
  EXPECT_TRUE(throttle.dry_run);
  EXPECT_FALSE(round_trip<ThrottleRequest>(ThrottleRequest{"job", {}, false}).percent);

  const auto migrate = round_trip<MigrateRequest>(MigrateRequest{"job", "laptop", true, true});
  EXPECT_EQ(migrate.to, "laptop");
  EXPECT_TRUE(migrate.dry_run);
  EXPECT_TRUE(migrate.tcp_close);
  EXPECT_EQ(round_trip<ResolveRequest>(ResolveRequest{"job"}).job, "job");
  const auto drain = round_trip<DrainRequest>(DrainRequest{true, false, true});
  EXPECT_TRUE(drain.off);
  EXPECT_FALSE(drain.wait);
  EXPECT_TRUE(drain.dry_run);
  EXPECT_FALSE(drain.park);
  EXPECT_TRUE(round_trip<DrainRequest>(DrainRequest{false, true, false, true}).park);
  const auto park = round_trip<ParkRequest>(ParkRequest{"job", true});
  EXPECT_EQ(park.job, "job");
  EXPECT_TRUE(park.dry_run);
  EXPECT_FALSE(round_trip<ParkRequest>(ParkRequest{"job", false}).dry_run);
  const auto adopt = round_trip<AdoptRequest>(AdoptRequest{4711, "taken", true, true});
  EXPECT_EQ(adopt.pid, 4711U);
  EXPECT_EQ(adopt.name, "taken");
  EXPECT_TRUE(adopt.leave_terminal);
  EXPECT_TRUE(adopt.dry_run);
  EXPECT_FALSE(round_trip<AdoptRequest>(AdoptRequest{1, {}, false, false}).leave_terminal);
  EXPECT_EQ(round_trip<WakeRequest>(WakeRequest{"job", "laptop", false}).on, "laptop");
  EXPECT_EQ(round_trip<WakeRequest>(WakeRequest{"job", {}, true}).on, std::nullopt);
  EXPECT_TRUE(round_trip<EventsRequest>(EventsRequest{true}).follow);
  round_trip<PingRequest>(PingRequest{});
  round_trip<StatusRequest>(StatusRequest{});
  round_trip<JobsRequest>(JobsRequest{});
  round_trip<DownRequest>(DownRequest{});
  round_trip<ConfigRequest>(ConfigRequest{});
  round_trip<MetricsRequest>(MetricsRequest{});
  round_trip<InboxRequest>(InboxRequest{});
  round_trip<PolicyRequest>(PolicyRequest{});
  const auto answer = round_trip<InboxAnswerRequest>(InboxAnswerRequest{"3fa9", true});
  EXPECT_EQ(answer.offer, "3fa9");
  EXPECT_TRUE(answer.accept);
  const ShareRequest asked{std::string(32, 'a'), "\xff raw", 1, 3, 1ULL << 40, 7, "laptop", true};
  const auto share = round_trip<ShareRequest>(asked);
  EXPECT_EQ(share.id, asked.id);
  EXPECT_EQ(share.label, asked.label);
  EXPECT_EQ(share.entries, 3U);
  EXPECT_EQ(share.bytes, 1ULL << 40);
  EXPECT_EQ(share.disk_bytes, 7U);
  EXPECT_EQ(share.to, "laptop");
  EXPECT_TRUE(share.dry_run);
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
      {"input of a negative session", R"({"v":1,"command":"input","job":"a","session":-1})"},
      {"input of no job", R"({"v":1,"command":"input"})"},
      {"an unknown kind of input", R"({"v":1,"command":"run","argv":["a"],"env":[],"cwd":"/",)"
                                   R"("input":"tape"})"},
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
      {"no process", R"({"v":1,"command":"adopt"})"},
      {"process 0", R"({"v":1,"command":"adopt","pid":0})"},
      {"a process beyond all", R"({"v":1,"command":"adopt","pid":2147483648})"},
      {"a process by name", R"({"v":1,"command":"adopt","pid":"4711"})"},
      {"adopted as here", R"({"v":1,"command":"adopt","pid":4711,"name":"here"})"},
      {"an empty ticket", R"({"v":1,"command":"join","ticket":"","trust":false})"},
      {"nobody to trust",
       R"({"v":1,"command":"join","ticket":"t","trust":true,"trust_uid":4294967295})"},
      {"trust that is no boolean", R"({"v":1,"command":"join","ticket":"t","trust":1})"},
      {"an invitation of no time", R"({"v":1,"command":"invite","seconds":0})"},
      {"a share without an id", R"({"v":1,"command":"share","id":"","label":"x","tops":1,)"
                                R"("entries":1,"bytes":0,"disk_bytes":0})"},
      {"a share of nothing",
       R"({"v":1,"command":"share","id":"00000000000000000000000000000000","label":"x",)"
       R"("tops":0,"entries":0,"bytes":0,"disk_bytes":0})"},
      {"an offer that is no id", R"({"v":1,"command":"inbox_answer","offer":"../x"})"},
      {"an offer of three digits", R"({"v":1,"command":"inbox_answer","offer":"3fa"})"},
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
