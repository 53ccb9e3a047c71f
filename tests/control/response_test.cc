#include "control/response.h"

#include <gtest/gtest.h>

#include "control/json.h"
#include "control/limits.h"
#include "control/report.h"

namespace control {
namespace {

std::string_view without_newline(std::string_view line) { return line.substr(0, line.size() - 1); }

TEST(Response, EachKindReadsBack) {
  auto progress = parse_response(without_newline(progress_line("moving \"x\"\n")));
  ASSERT_TRUE(progress.ok());
  EXPECT_EQ(std::get<Progress>(*progress).sentence, "moving \"x\"\n");

  const std::string event = *event_line(R"({"kind":"join", "n":1.50})");
  auto back = parse_response(without_newline(event));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(std::get<Event>(*back).json, R"({"kind":"join", "n":1.50})") << "the exact text";

  auto done = parse_response(without_newline(*done_line(R"({"z":1,"a":[1,{"b":"}"}]})")));
  ASSERT_TRUE(done.ok());
  EXPECT_TRUE(std::get<Final>(*done).ok);
  EXPECT_EQ(std::get<Final>(*done).data, R"({"z":1,"a":[1,{"b":"}"}]})");

  auto refused = parse_response(without_newline(error_line(Exit::kRefused, "no CRIU", "install")));
  ASSERT_TRUE(refused.ok());
  EXPECT_FALSE(std::get<Final>(*refused).ok);
  EXPECT_EQ(std::get<Final>(*refused).exit, Exit::kRefused);
  EXPECT_EQ(std::get<Final>(*refused).error, "no CRIU");
  EXPECT_EQ(std::get<Final>(*refused).next, "install");
  EXPECT_EQ(std::get<Final>(*refused).data, "");

  auto aborted = parse_response(
      without_newline(error_line(Exit::kError, "no", "", R"({"outcome":"abort","n":1.50})")));
  ASSERT_TRUE(aborted.ok());
  EXPECT_EQ(std::get<Final>(*aborted).data, R"({"outcome":"abort","n":1.50})") << "the exact text";
}

TEST(Response, ThatNoSuchJobIsKnownIsMarked) {
  const auto marked = [](std::string_view line) {
    auto answer = parse_response(line);
    EXPECT_TRUE(answer.ok()) << line;
    return answer.ok() && std::get<Final>(*answer).unknown_job;
  };
  const std::string line = unknown_job_line("3fa9");
  EXPECT_TRUE(marked(without_newline(line)));
  EXPECT_EQ(std::get<Final>(*parse_response(without_newline(line))).error, "no job is called 3fa9");
  EXPECT_TRUE(parse_response(without_newline(unknown_job_line(std::string(100'000, 'x')))).ok());
  EXPECT_TRUE(marked(R"({"ok":false,"exit":1,"error":"other words","unknown_job":true})"));
  EXPECT_TRUE(marked(R"({"ok":false,"exit":1,"error":"no job is called x"})")) << "an old daemon";
  EXPECT_FALSE(marked(R"({"ok":false,"exit":1,"error":"the job is lost"})"));
  EXPECT_FALSE(marked(R"({"ok":false,"exit":5,"error":"no job is called x"})"));
  EXPECT_FALSE(marked(R"({"ok":true,"data":{}})"));
}

TEST(Response, RefusesWhatIsNoAnswer) {
  for (const char* bad :
       {"", "{}", "[]", R"({"ok":true})", R"({"ok":true,"data":1})", R"({"ok":false,"error":"x"})",
        R"({"ok":false,"exit":0,"error":"x"})", R"({"ok":false,"exit":2,"error":"x"})",
        R"({"ok":false,"exit":3,"error":"x"})", R"({"ok":false,"exit":7,"error":"x"})",
        R"({"ok":false,"exit":1})", R"({"ok":1,"data":{}})", R"({"progress":1})", R"({"event":[]})",
        R"({"ok":true,"d\u0061ta":{}})"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_response(bad).ok());
  }
}

TEST(Response, LongOrDamagedSentencesStayWithinWhatTheClientTakes) {
  for (const std::string& text :
       {std::string(100'000, 'x'), std::string(100'000, '\x01'), std::string(100'000, '\xff')}) {
    EXPECT_TRUE(parse_response(without_newline(progress_line(text))).ok());
    EXPECT_TRUE(parse_response(without_newline(error_line(Exit::kError, text, text))).ok());
  }
}

TEST(Response, AnAnswerOverTheLimitIsNotBuilt) {
  EXPECT_FALSE(done_line("{\"x\":\"" + std::string(kLineBytesMax, 'x') + "\"}").ok());
}

TEST(Output, KeepsEveryByteUpToTheLimit) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{3}, kOutputBytesMax}) {
    SCOPED_TRACE(size);
    Output output{2, 1ULL << 40, base::Bytes(size), size == 1 ? "" : "3fa9"};
    for (std::size_t i = 0; i < size; ++i) output.data[i] = static_cast<std::uint8_t>(i * 7);
    auto event = parse_response(without_newline(output_line(output)));
    ASSERT_TRUE(event.ok());
    auto back = parse_output(std::get<Event>(*event).json);
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->stream, 2);
    EXPECT_EQ(back->offset, 1ULL << 40);
    EXPECT_EQ(back->data, output.data);
    EXPECT_EQ(back->job, output.job);
  }
}

TEST(Output, RefusesDamage) {
  for (const char* bad :
       {R"({"stream":0,"offset":0,"data":"AA=="})", R"({"stream":3,"offset":0,"data":"AA=="})",
        R"({"stream":1,"offset":-1,"data":"AA=="})", R"({"stream":1,"data":"AA=="})",
        R"({"stream":1,"offset":9223372036854775807,"data":"AA=="})",
        R"({"stream":1,"offset":0,"data":"AA="})", R"({"stream":1,"offset":0,"data":"AB=="})",
        R"({"stream":1,"offset":0,"data":"AA==","job":"a b"})",
        R"({"stream":1,"offset":0,"data":"A A="})", R"({"stream":1,"offset":0,"data":""})",
        R"({"stream":1,"offset":0,"data":"=A=="})", R"({"stream":1,"offset":0})"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_output(bad).ok());
  }
}

TEST(Json, TheLastOfTwoFieldsCountsForBothReaders) {
  const std::string line = R"({"ok":true,"data":{"a":1},"data" : {"a":2} })";
  auto response = parse_response(line);
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(std::get<Final>(*response).data, R"({"a":2})");
}

TEST(Json, DecimalsAreExact) {
  const auto written = [](std::int64_t value, std::int64_t scale) {
    return JsonWriter().decimal("x", value, scale).finish();
  };
  EXPECT_EQ(written(530'000, 1'000'000), R"({"x":0.53})");
  EXPECT_EQ(written(2'000, 1'000), R"({"x":2})");
  EXPECT_EQ(written(-1, 1'000'000), R"({"x":-0.000001})");
  EXPECT_EQ(written(INT64_MIN, 1'000), R"({"x":-9223372036854775.808})");
  for (const std::int64_t micros : {0L, 1L, 299'999L, 300'000L, 800'001L, 123'456'789'012L}) {
    SCOPED_TRACE(micros);
    JsonReader in(written(micros, 1'000'000));
    EXPECT_EQ(in.decimal_or("x", 1'000'000), micros);
    EXPECT_TRUE(in.ok());
  }
  JsonReader huge(R"({"x":1e300})");
  EXPECT_EQ(huge.decimal_or("x", 1000, 5), 5);
  EXPECT_FALSE(huge.ok());
}

// The writer's own idea of UTF-8 against the reader's: whatever bytes come, the result parses.
TEST(Json, WritesOnlyWhatItReadsBack) {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      const std::string text = {'x', static_cast<char>(a), static_cast<char>(b), '\x80', 'y'};
      JsonReader in(JsonWriter().bytes("b", text).text("t", text).finish());
      EXPECT_EQ(in.bytes("b", 64), text);
      (void)in.text("t", 64);
      EXPECT_TRUE(in.ok()) << a << " " << b;
    }
  }
}

TEST(Report, StatusIsWrittenAsScriptsReadIt) {
  Status status;
  status.mesh = {"aa", "home"};
  status.sum = -1;
  status.rule = "waking";
  status.self = "01";
  NodeReport node;
  node.id = "01";
  node.name = "desk";
  node.state = "alive";
  node.ratio_micros = 250'000;
  node.effective_ratio_micros = 300'001;
  node.trit = -1;
  node.cpus_millis = 3'500;
  node.mem_total_bytes = 8'000'000'000;
  node.jobs = 2;
  node.seat = SeatReport{"tt", "sink", 3};
  node.address = "192.0.2.1:7333";
  node.version = "0.1.0";
  status.nodes = {node};
  status.sentence = "nothing to move";
  const std::string json = to_json(status);
  EXPECT_EQ(
      json,
      R"({"mesh":{"id":"aa","name":"home","sum":-1,"rule":"waking","seats_sum_mod_3":0},)"
      R"("self":"01","sentence":"nothing to move","nodes":[)"
      R"({"id":"01","name":"desk","state":"alive","ratio":0.25,)"
      R"("effective_ratio":0.300001,"trit":-1,"cpus":3.5,"mem_total_bytes":8000000000,)"
      R"("mem_free_bytes":0,"jobs":2,"parked":0,"seat":{"triad":"tt","role":"sink","term":3},)"
      R"("address":"192.0.2.1:7333","version":"0.1.0"}]})");
  auto back = parse_status(json);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(to_json(*back), json);
}

TEST(Report, TheOthersReadBack) {
  Jobs jobs;
  jobs.jobs.push_back({"ab", "n", "sleep 1", "running", "a", "b", 7, 3, 360'000, 99'500, 1'250,
                       1'700'000'000, 2, std::nullopt, ""});
  jobs.jobs.push_back(jobs.jobs[0]);
  jobs.jobs[1].exit_code = 255;
  jobs.jobs[1].homeward = true;
  jobs.jobs.push_back(jobs.jobs[0]);
  jobs.jobs[2].waits_for = "b";
  jobs.jobs[2].beside = {"/home/a/note.job-1", "/home/a/\xff"};
  jobs.jobs[2].kept = {"/home/a/note.home-1"};
  jobs.jobs[2].beside_more = 7;
  jobs.jobs[2].files_away = std::string(kFilesAwayBytesMax, 'x');
  jobs.unreachable = {"c"};
  EXPECT_EQ(to_json(*parse_jobs(to_json(jobs))), to_json(jobs));
  Handover handover;
  handover.job = "ab";
  handover.outcome = "commit";
  handover.frozen_micros = 412'345;
  handover.phase_micros[Handover::kFreeze] = 1'500;
  const std::string json = to_json(handover);
  EXPECT_NE(json.find(R"("frozen_seconds":0.412345,"phases":{"freeze":0.0015})"), json.npos)
      << json;
  EXPECT_EQ(to_json(*parse_handover(json)), json);
  const Ping ping{12,   "0.1.0",      "desk",   "01", true, MeshName{"aa", "home"},
                  true, "no cgroups", "no CRIU"};
  EXPECT_EQ(to_json(*parse_ping(to_json(ping))), to_json(ping));
  const JoinReport join{{"aa", "home"}, "01", "desk", 1000};
  EXPECT_EQ(to_json(*parse_join(to_json(join))), to_json(join));
  const InviteReport invite{"ticket", 900, {"192.0.2.1:7333"}};
  EXPECT_EQ(to_json(*parse_invite(to_json(invite))), to_json(invite));
  EXPECT_EQ(parse_exit(R"({"signal":15,"exit_code":143})")->signal, 15);
  EXPECT_FALSE(parse_exit("{}").ok());
  const ExitReport ended{3, std::nullopt, {"/a"}, {"/b"}, 2};
  EXPECT_EQ(to_json(*parse_exit(to_json(ended))), to_json(ended));
  const ExitReport away{3, std::nullopt, {}, {}, 0, std::string(kFilesAwayBytesMax, 'x')};
  EXPECT_EQ(parse_exit(to_json(away))->files_away, away.files_away);
  EXPECT_FALSE(parse_exit(R"({"exit_code":256})").ok());
  EXPECT_EQ(parse_down(to_json(DownReport{4}))->jobs_left_running, 4U);
  EXPECT_EQ(parse_down(to_json(DownReport{4, 2}))->files_wait, 2U);
  const DrainReport drain{true, {{"ab", "n", "b", ""}}, {{"cd", "m", "a", "no space"}}};
  EXPECT_EQ(to_json(*parse_drain(to_json(drain))), to_json(drain));
  EXPECT_EQ(parse_kill(to_json(KillReport{"desk", ""}))->node, "desk");
  EXPECT_EQ(parse_kill(to_json(KillReport{"desk", "it has ended"}))->said, "it has ended");
  EXPECT_EQ(parse_run(to_json(RunReport{"ab", "n"}))->name, "n");
  EXPECT_EQ(parse_settings(settings_to_json({{"listen", ":7333", "default"}}))->at(0).from,
            "default");
}

}  // namespace
}  // namespace control
