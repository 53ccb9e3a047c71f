#include "control/json.h"
#include "control/report.h"

namespace control {
namespace {

constexpr std::int64_t kMicro = 1'000'000;
constexpr std::int64_t kMilli = 1'000;

std::string mesh_json(const MeshName& mesh) {
  return JsonWriter().text("id", mesh.id).text("name", mesh.name).finish();
}

std::string seat_json(const SeatReport& seat) {
  JsonWriter out;
  out.text("triad", seat.triad).text("role", seat.role).natural("term", seat.term);
  return out.finish();
}

std::string job_json(const JobReport& job) {
  JsonWriter out;
  out.text("id", job.id).text("name", job.name).text("command", job.command);
  out.text("state", job.state).text("node", job.node).text("home", job.home);
  out.integer("pid", job.pid).natural("epoch", job.epoch);
  out.decimal("scum", job.scum_micros, kMicro);
  out.decimal("cpu_percent", job.cpu_percent_millis, kMilli);
  out.decimal("mem_percent", job.mem_percent_millis, kMilli);
  out.integer("started_at", job.started_at).natural("moves", job.moves);
  job.exit_code ? out.integer("exit_code", *job.exit_code) : out.null("exit_code");
  job.waits_for.empty() ? out.null("waits_for") : out.text("waits_for", job.waits_for);
  if (!job.missing.empty()) out.text("missing", job.missing);
  if (job.homeward) out.boolean("homeward", true);
  if (!job.beside.empty()) out.byte_list("beside", job.beside);
  if (!job.kept.empty()) out.byte_list("kept", job.kept);
  if (job.beside_more > 0) out.natural("beside_more", job.beside_more);
  if (!job.files_away.empty()) out.text("files_away", job.files_away);
  return out.finish();
}

}  // namespace

std::string to_json(const Ping& ping) {
  JsonWriter out;
  out.integer("pid", ping.pid).text("version", ping.version).text("name", ping.name);
  out.text("id", ping.id).boolean("member", ping.member);
  ping.mesh ? out.raw("mesh", mesh_json(*ping.mesh)) : out.null("mesh");
  if (!ping.no_jobs.empty()) out.text("no_jobs", ping.no_jobs);
  if (!ping.no_criu.empty()) out.text("no_criu", ping.no_criu);
  if (ping.created) out.boolean("created", *ping.created);
  return out.finish();
}

std::string to_json(const InviteReport& invite) {
  JsonWriter out;
  out.text("ticket", invite.ticket).natural("expires_in_seconds", invite.expires_in_seconds);
  return out.text_list("addresses", invite.addresses).finish();
}

std::string to_json(const JoinReport& join) {
  JsonWriter out;
  out.raw("mesh", mesh_json(join.mesh)).text("id", join.id).text("name", join.name);
  join.trusted_uid ? out.integer("trusted_uid", *join.trusted_uid) : out.null("trusted_uid");
  return out.finish();
}

std::string to_json(const NodeReport& node) {
  JsonWriter out;
  out.text("id", node.id).text("name", node.name).text("state", node.state);
  out.decimal("ratio", node.ratio_micros, kMicro);
  out.decimal("effective_ratio", node.effective_ratio_micros, kMicro);
  out.integer("trit", node.trit).decimal("cpus", node.cpus_millis, kMilli);
  out.natural("mem_total_bytes", node.mem_total_bytes);
  out.natural("mem_free_bytes", node.mem_free_bytes);
  out.natural("jobs", node.jobs).natural("parked", node.parked);
  node.seat ? out.raw("seat", seat_json(*node.seat)) : out.null("seat");
  return out.text("address", node.address).text("version", node.version).finish();
}

std::string to_json(const Status& status) {
  JsonWriter mesh;
  mesh.text("id", status.mesh.id).text("name", status.mesh.name).integer("sum", status.sum);
  mesh.text("rule", status.rule).integer("seats_sum_mod_3", status.seats_sum_mod_3);
  std::vector<std::string> nodes;
  for (const NodeReport& node : status.nodes) nodes.push_back(to_json(node));
  JsonWriter out;
  return out.raw("mesh", mesh.finish())
      .text("self", status.self)
      .text("sentence", status.sentence)
      .raw_list("nodes", nodes)
      .finish();
}

std::string to_json(const Jobs& jobs) {
  std::vector<std::string> list;
  for (const JobReport& job : jobs.jobs) list.push_back(job_json(job));
  return JsonWriter().raw_list("jobs", list).text_list("unreachable", jobs.unreachable).finish();
}

std::string to_json(const RunReport& run) {
  JsonWriter out;
  out.text("job", run.job).text("name", run.name);
  if (run.queued) out.boolean("queued", true);
  return out.finish();
}

std::string to_json(const ExitReport& exit) {
  JsonWriter out;
  if (exit.signal) out.integer("signal", *exit.signal);
  out.integer("exit_code", exit.exit_code);
  if (!exit.beside.empty()) out.byte_list("beside", exit.beside);
  if (!exit.kept.empty()) out.byte_list("kept", exit.kept);
  if (exit.beside_more > 0) out.natural("beside_more", exit.beside_more);
  if (!exit.files_away.empty()) out.text("files_away", exit.files_away);
  return out.finish();
}

std::string to_json(const KillReport& kill) {
  JsonWriter out;
  out.text("node", kill.node);
  if (!kill.said.empty()) out.text("said", kill.said);
  return out.finish();
}

std::string to_json(const DrainReport& drain) {
  std::vector<std::string> list;
  for (const DrainReport::Job& job : drain.jobs) {
    JsonWriter one;
    one.text("job", job.job).text("name", job.name).text("to", job.to).text("why", job.why);
    list.push_back(one.finish());
  }
  JsonWriter out;
  out.boolean("draining", drain.draining).raw_list("jobs", list);
  list.clear();
  for (const DrainReport::FilesWait& wait : drain.files_wait) {
    JsonWriter one;
    one.text("job", wait.job).text("name", wait.name).text("home", wait.home).text("why", wait.why);
    list.push_back(one.finish());
  }
  if (!list.empty()) out.raw_list("files_wait", list);
  if (drain.was_draining) out.boolean("was_draining", *drain.was_draining);
  if (!drain.no_guests.empty()) out.text("no_guests", drain.no_guests);
  return out.finish();
}

std::string to_json(const DownReport& down) {
  JsonWriter out;
  out.natural("jobs_left_running", down.jobs_left_running);
  if (down.files_wait > 0) out.natural("files_wait", down.files_wait);
  return out.finish();
}

std::string to_json(const Handover& handover) {
  JsonWriter phases;
  for (std::size_t i = 0; i < kPhaseNames.size(); ++i) {
    const auto& micros = handover.phase_micros[i];
    if (micros) phases.decimal(kPhaseNames[i], *micros, kMicro);
  }
  JsonWriter out;
  out.text("job", handover.job).natural("epoch", handover.epoch);
  out.text("from", handover.from).text("to", handover.to);
  out.text("from_name", handover.from_name).text("to_name", handover.to_name);
  out.text("coordinator", handover.coordinator).natural("term", handover.term);
  out.text("outcome", handover.outcome).text("reason", handover.reason);
  out.natural("bytes", handover.bytes).decimal("frozen_seconds", handover.frozen_micros, kMicro);
  return out.raw("phases", phases.finish()).finish();
}

std::string settings_to_json(const std::vector<Setting>& settings) {
  std::vector<std::string> list;
  for (const Setting& setting : settings) {
    JsonWriter out;
    out.text("name", setting.name).text("value", setting.value).text("from", setting.from);
    list.push_back(out.finish());
  }
  return JsonWriter().raw_list("settings", list).finish();
}

std::string counters_to_json(const std::vector<std::pair<std::string, std::int64_t>>& counters) {
  JsonWriter out;
  for (const auto& [name, value] : counters) out.integer(name, value);
  return JsonWriter().raw("counters", out.finish()).finish();
}

}  // namespace control
