#include <limits>

#include "control/json.h"
#include "control/limits.h"
#include "control/report.h"

namespace control {
namespace {

constexpr std::int64_t kMicro = 1'000'000;
constexpr std::int64_t kMilli = 1'000;
constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kWordBytesMax = 256;  // names, ids, states, addresses
constexpr std::size_t kCommandBytesMax = kSentenceBytesMax;

template <typename T>
base::Result<T> finished(const JsonReader& in, T value) {
  if (!in.ok()) return in.status().error();
  return value;
}

std::string word(JsonReader& in, std::string_view name) { return in.text_or(name, kWordBytesMax); }

MeshName read_mesh(JsonReader in) { return {word(in, "id"), word(in, "name")}; }

NodeReport read_node(JsonReader& in) {
  NodeReport node;
  node.id = in.text("id", kWordBytesMax);
  node.name = word(in, "name");
  node.state = word(in, "state");
  node.ratio_micros = in.decimal_or("ratio", kMicro);
  node.effective_ratio_micros = in.decimal_or("effective_ratio", kMicro);
  node.trit = static_cast<int>(in.integer_or("trit", -1, 1, 0));
  node.cpus_millis = in.decimal_or("cpus", kMilli);
  node.mem_total_bytes = in.natural_or("mem_total_bytes");
  node.mem_free_bytes = in.natural_or("mem_free_bytes");
  node.jobs = in.natural_or("jobs");
  node.parked = in.natural_or("parked");
  if (in.has("seat")) {
    JsonReader seat = in.object("seat");
    node.seat = SeatReport{word(seat, "triad"), word(seat, "role"), seat.natural_or("term")};
  }
  node.address = word(in, "address");
  node.version = word(in, "version");
  return node;
}

JobReport read_job(JsonReader& in) {
  JobReport job;
  job.id = in.text("id", kWordBytesMax);
  job.name = word(in, "name");
  job.command = in.text_or("command", kCommandBytesMax);
  job.state = word(in, "state");
  job.node = word(in, "node");
  job.home = word(in, "home");
  job.pid = in.integer_or("pid", 0, kAny, 0);
  job.epoch = in.natural_or("epoch");
  job.scum_micros = in.decimal_or("scum", kMicro);
  job.cpu_percent_millis = in.decimal_or("cpu_percent", kMilli);
  job.mem_percent_millis = in.decimal_or("mem_percent", kMilli);
  job.started_at = in.decimal_or("started_at", 1);
  job.moves = in.natural_or("moves");
  if (in.has("exit_code")) job.exit_code = in.integer("exit_code", 0, 255);
  if (in.has("waits_for")) job.waits_for = word(in, "waits_for");
  job.missing = in.text_or("missing", kPathBytesMax);
  job.homeward = in.boolean_or("homeward", false);
  job.beside = in.byte_list("beside", kBesidePathsMax, kPathBytesMax);
  job.kept = in.byte_list("kept", kBesidePathsMax, kPathBytesMax);
  job.beside_more = in.natural_or("beside_more");
  job.files_away = in.text_or("files_away", kFilesAwayBytesMax);
  return job;
}

}  // namespace

base::Result<Ping> parse_ping(std::string_view json) {
  JsonReader in(json);
  Ping ping;
  ping.pid = in.integer_or("pid", 0, kAny, 0);
  ping.version = word(in, "version");
  ping.name = word(in, "name");
  ping.id = word(in, "id");
  ping.member = in.boolean_or("member", false);
  if (in.has("mesh")) ping.mesh = read_mesh(in.object("mesh"));
  ping.no_jobs = in.text_or("no_jobs", kSentenceBytesMax);
  ping.no_criu = in.text_or("no_criu", kSentenceBytesMax);
  if (in.has("created")) ping.created = in.boolean_or("created", false);
  return finished(in, std::move(ping));
}

base::Result<InviteReport> parse_invite(std::string_view json) {
  JsonReader in(json);
  InviteReport invite;
  invite.ticket = in.text("ticket", kTicketBytesMax);
  invite.expires_in_seconds = in.natural_or("expires_in_seconds");
  invite.addresses = in.byte_list("addresses", kNodesMax, kWordBytesMax);
  return finished(in, std::move(invite));
}

base::Result<JoinReport> parse_join(std::string_view json) {
  JsonReader in(json);
  JoinReport join;
  join.mesh = read_mesh(in.object("mesh"));
  join.id = word(in, "id");
  join.name = word(in, "name");
  if (in.has("trusted_uid")) join.trusted_uid = in.integer("trusted_uid", 0, UINT32_MAX);
  return finished(in, std::move(join));
}

base::Result<Status> parse_status(std::string_view json) {
  JsonReader in(json);
  Status status;
  JsonReader mesh = in.object("mesh");
  status.mesh = read_mesh(mesh);
  status.sum = mesh.integer_or("sum", -kAny, kAny, 0);
  status.rule = word(mesh, "rule");
  status.seats_sum_mod_3 = static_cast<int>(mesh.integer_or("seats_sum_mod_3", -2, 2, 0));
  status.self = word(in, "self");
  status.sentence = in.text_or("sentence", kSentenceBytesMax);
  for (JsonReader& node : in.objects("nodes", kNodesMax)) status.nodes.push_back(read_node(node));
  return finished(in, std::move(status));
}

base::Result<Jobs> parse_jobs(std::string_view json) {
  JsonReader in(json);
  Jobs jobs;
  for (JsonReader& job : in.objects("jobs", kJobsMax)) jobs.jobs.push_back(read_job(job));
  jobs.unreachable = in.byte_list("unreachable", kNodesMax, kWordBytesMax);
  return finished(in, std::move(jobs));
}

base::Result<RunReport> parse_run(std::string_view json) {
  JsonReader in(json);
  RunReport run;
  run.job = in.text("job", kWordBytesMax);
  run.queued = in.boolean_or("queued", false);
  run.name = word(in, "name");
  return finished(in, std::move(run));
}

base::Result<ExitReport> parse_exit(std::string_view json) {
  JsonReader in(json);
  ExitReport exit;
  exit.exit_code = static_cast<int>(in.integer("exit_code", 0, 255));
  if (in.has("signal")) exit.signal = static_cast<int>(in.integer("signal", 1, 64));
  exit.beside = in.byte_list("beside", kBesidePathsMax, kPathBytesMax);
  exit.kept = in.byte_list("kept", kBesidePathsMax, kPathBytesMax);
  exit.beside_more = in.natural_or("beside_more");
  exit.files_away = in.text_or("files_away", kFilesAwayBytesMax);
  return finished(in, exit);
}

base::Result<KillReport> parse_kill(std::string_view json) {
  JsonReader in(json);
  KillReport kill{word(in, "node"), in.text_or("said", kSentenceBytesMax)};
  return finished(in, std::move(kill));
}

base::Result<DrainReport> parse_drain(std::string_view json) {
  JsonReader in(json);
  DrainReport drain;
  drain.draining = in.boolean_or("draining", false);
  if (in.has("was_draining")) drain.was_draining = in.boolean_or("was_draining", false);
  drain.no_guests = in.text_or("no_guests", kSentenceBytesMax);
  for (JsonReader& one : in.objects("jobs", kJobsMax)) {
    drain.jobs.push_back({word(one, "job"), word(one, "name"), word(one, "to"),
                          one.text_or("why", kSentenceBytesMax)});
  }
  for (JsonReader& one : in.objects("files_wait", kJobsMax)) {
    drain.files_wait.push_back({word(one, "job"), word(one, "name"), word(one, "home"),
                                one.text_or("why", kSentenceBytesMax)});
  }
  return finished(in, std::move(drain));
}

base::Result<DownReport> parse_down(std::string_view json) {
  JsonReader in(json);
  return finished(in, DownReport{in.natural_or("jobs_left_running"), in.natural_or("files_wait")});
}

base::Result<Handover> parse_handover(std::string_view json) {
  JsonReader in(json);
  Handover handover;
  handover.job = word(in, "job");
  handover.epoch = in.natural_or("epoch");
  handover.from = word(in, "from");
  handover.to = word(in, "to");
  handover.from_name = word(in, "from_name");
  handover.to_name = word(in, "to_name");
  handover.coordinator = word(in, "coordinator");
  handover.term = in.natural_or("term");
  handover.outcome = word(in, "outcome");
  handover.reason = in.text_or("reason", kSentenceBytesMax);
  handover.bytes = in.natural_or("bytes");
  handover.frozen_micros = in.decimal_or("frozen_seconds", kMicro);
  if (in.has("phases")) {
    JsonReader phases = in.object("phases");
    for (std::size_t i = 0; i < kPhaseNames.size(); ++i) {
      if (phases.has(kPhaseNames[i]))
        handover.phase_micros[i] = phases.decimal_or(kPhaseNames[i], kMicro);
    }
  }
  return finished(in, std::move(handover));
}

base::Result<Rest> parse_rest(std::string_view json) {
  JsonReader in(json);
  Rest rest;
  rest.job = word(in, "job");
  rest.node = word(in, "node");
  rest.node_name = word(in, "node_name");
  rest.what = word(in, "what");
  rest.outcome = word(in, "outcome");
  rest.reason = in.text_or("reason", kSentenceBytesMax);
  rest.bytes = in.natural_or("bytes");
  rest.stored_bytes = in.natural_or("stored_bytes");
  rest.frozen_micros = in.decimal_or("frozen_seconds", kMicro);
  return finished(in, std::move(rest));
}

base::Result<Trial> parse_trial(std::string_view json) {
  JsonReader in(json);
  Trial trial;
  trial.job = in.text("job", kWordBytesMax);
  trial.from = word(in, "from");
  trial.to = word(in, "to");
  trial.from_name = word(in, "from_name");
  trial.to_name = word(in, "to_name");
  if (!in.has("obstacles")) in.reject("\"obstacles\" is missing");
  trial.obstacles = in.byte_list("obstacles", kObstaclesMax, kSentenceBytesMax);
  return finished(in, std::move(trial));
}

base::Result<std::vector<Setting>> parse_settings(std::string_view json) {
  JsonReader in(json);
  std::vector<Setting> settings;
  for (JsonReader& setting : in.objects("settings", kSettingsMax)) {
    Setting out;
    out.name = word(setting, "name");
    out.value = setting.text_or("value", kSentenceBytesMax);
    out.from = word(setting, "from");
    settings.push_back(std::move(out));
  }
  return finished(in, std::move(settings));
}

}  // namespace control
