// What a node shows of itself: status, jobs, handovers.
#include <algorithm>
#include <array>

#include "node/node.h"

namespace node {
namespace {

using base::NodeId;

std::string seconds(base::Duration duration) {
  const std::int64_t micros = std::max<std::int64_t>(duration.count(), 0);
  std::string fraction = std::to_string(micros % 1000000);
  fraction.insert(0, 6 - fraction.size(), '0');
  return std::to_string(micros / 1000000) + "." + fraction;
}

std::string command_line(const std::vector<std::string>& argv) {
  std::string text;
  for (const std::string& argument : argv) {
    if (!text.empty()) text += ' ';
    text += argument;
    if (text.size() > kReasonSizeMax) break;
  }
  return printable(text);
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  }
  return out + "\"";
}

std::string handover_json(const HandoverSummary& s) {
  const bool committed = s.outcome == balance::Decision::kCommit;
  const base::Duration stream = std::max(s.times.stream - s.freeze, base::Duration(0));
  std::string json = "{\"job\":" + quoted(s.id.job.hex());
  json += ",\"epoch\":" + std::to_string(s.id.epoch.value);
  json += ",\"from\":" + quoted(s.source.hex()) + ",\"to\":" + quoted(s.sink.hex());
  json += ",\"from_name\":" + quoted(s.source_name);
  json += ",\"to_name\":" + quoted(s.sink_name);
  json += ",\"coordinator\":" + quoted(s.coordinator.hex());
  json += ",\"term\":" + std::to_string(s.term.value);
  json += ",\"outcome\":" + quoted(committed ? "commit" : "abort");
  json += ",\"reason\":" + quoted(s.reason) + ",\"bytes\":" + std::to_string(s.bytes);
  json += ",\"frozen_seconds\":" + seconds(s.frozen);
  json += ",\"phases\":{\"preflight\":" + seconds(s.times.preflight);
  json += ",\"freeze\":" + seconds(s.freeze) + ",\"stream\":" + seconds(stream);
  json += ",\"restore\":" + seconds(s.times.restore) + ",\"decide\":" + seconds(s.times.decide);
  return json + ",\"resume\":" + seconds(s.times.resume) + "}}";
}

std::string trial_json(const TrialSummary& trial) {
  // Bounded, so that it crosses nodes: half of each sentence's share may be escapes.
  constexpr std::size_t kSentenceMax = (kHandoverJsonSizeMax - 1024) / kObstaclesMax / 2 - 8;
  std::string json = "{\"job\":" + quoted(trial.job.hex());
  json += ",\"from\":" + quoted(trial.source.hex()) + ",\"to\":";
  json += quoted(trial.sink.is_zero() ? "" : trial.sink.hex());
  json += ",\"from_name\":" + quoted(trial.source_name);
  json += ",\"to_name\":" + quoted(trial.sink_name) + ",\"obstacles\":[";
  for (std::size_t i = 0; i < trial.obstacles.size() && i < kObstaclesMax; ++i) {
    json += (i == 0 ? "" : ",") + quoted(trial.obstacles[i].substr(0, kSentenceMax));
  }
  return json + "]}";
}

void Node::on(const JobFrozen& event) {
  for (auto& [id, timing] : timings_) {
    if (id.job == event.job && !timing.frozen) timing.frozen = now_;
  }
  to_balance(balance::JobFroze{event.job});
}

void Node::take_handover(const balance::HandoverEvent& event) {
  HandoverSummary summary;
  summary.id = event.id;
  summary.source = event.source;
  summary.sink = event.sink;
  summary.source_name = name_of(event.source);
  summary.sink_name = name_of(event.sink);
  summary.coordinator = event.coordinator;
  summary.term = event.term;
  summary.outcome = event.outcome;
  summary.reason = event.reason;
  summary.bytes = event.bytes;
  summary.times = event.times;
  const auto timing = timings_.find(event.id);
  if (timing != timings_.end() && timing->second.frozen) {
    summary.freeze = *timing->second.frozen - timing->second.ordered;
    summary.frozen = now_ - *timing->second.frozen;
  }
  under_way_ = event;
  if (event.over) {
    under_way_.reset();
    if (event.told_by == balance::Seat::kSource) last_handover_[event.id.job] = summary;
    timings_.erase(event.id);
    while (last_handover_.size() > kJobsMax) last_handover_.erase(last_handover_.begin());
  }
  Happened happened;
  happened.kind = "handover";
  happened.node = self_;
  happened.job = event.id.job;
  static constexpr std::array<const char*, 5> kPhases = {"preflight", "stream", "restore", "decide",
                                                         "resume"};
  if (event.over) {
    happened.text = event.outcome == balance::Decision::kCommit  ? "committed"
                    : event.outcome == balance::Decision::kAbort ? "aborted"
                                                                 : "refused";
    happened.handover = summary;
  } else {
    happened.text = kPhases[static_cast<std::size_t>(event.phase)];
  }
  if (!event.reason.empty()) happened.text += ": " + event.reason;
  out(std::move(happened));
}

int seats_sum_mod_3(const std::vector<gossip::NodeView>& nodes) {
  struct Ends {
    int sources = 0;
    int sinks = 0;
  };
  std::map<base::TriadId, Ends> triads;
  for (const gossip::NodeView& view : nodes) {
    if (!view.fields.seat) continue;
    Ends& ends = triads[view.fields.seat->triad];
    ends.sources += view.fields.seat->role == gossip::SeatRole::kSource ? 1 : 0;
    ends.sinks += view.fields.seat->role == gossip::SeatRole::kSink ? 1 : 0;
  }
  int sum = 0;
  for (const auto& [triad, ends] : triads) {
    if (ends.sources > 0 && ends.sinks > 0) sum += ends.sources - ends.sinks;
  }
  return ((sum % 3) + 3) % 3;
}

Status Node::status() const {
  Status status;
  std::vector<gossip::NodeView> nodes = gossip_->view();
  status.seats_sum_mod_3 = seats_sum_mod_3(nodes);
  for (gossip::NodeView& view : nodes) {
    if (view.state == gossip::State::kAlive) status.sum += view.fields.trit;
    const bool self = view.id == self_;
    status.nodes.push_back({std::move(view), self});
  }
  status.seat = seat_;
  status.ratio_micros =
      probe::ratio_micros(sample_.load_micros, std::max<std::int64_t>(sample_.cpus_millis, 1));
  status.effective_ratio_micros = effective_micros_;
  status.trit = trit_.trit();
  return status;
}

std::string Node::name_of(const NodeId& node) const {
  const identity::Certificate* certificate = gossip_->roster().find(node);
  if (certificate != nullptr) return certificate->body.name;
  const auto view = gossip_->find(node);
  return view ? view->name : node.brief();
}

std::optional<MoveMetadata> Node::describe(const base::JobId& job) const {
  const jobs::Job* known = jobs_->find(job);
  if (known == nullptr || !known->here || known->wait_status) return std::nullopt;
  MoveMetadata metadata;
  metadata.spec = known->spec;
  for (const JobSample& seen : sample_.jobs) {
    if (seen.job != job) continue;
    metadata.spec.load_micros = counted(seen).load_micros;
    metadata.spec.cpu_micros = seen.cpu_time_micros;
  }
  if (known->parked) metadata.spec.load_micros = known->parked->load_micros;
  // At home the log has everything; the host cuts this to where the output ends.
  metadata.acknowledged = known->home_has;
  if (known->spec.home == self_) metadata.acknowledged.fill(UINT64_MAX);
  return metadata;
}

bool Node::may_close_tcp(const base::JobId& job) const {
  const jobs::Job* known = jobs_->find(job);
  if (known != nullptr && known->spec.tcp_close) return true;
  return std::any_of(closing_.begin(), closing_.end(),
                     [&](const auto& move) { return move.second == job; });
}

JobInfo Node::info_of(const jobs::Job& job) const {
  JobInfo info;
  info.id = job.spec.id;
  info.name = job.spec.name;
  info.command = command_line(job.spec.argv);
  info.node = job.here ? self_ : job.at;
  info.home = job.spec.home;
  info.here = job.here;
  info.epoch = job.epoch.value;
  info.started_at = job.spec.started_at;
  info.moves = job.spec.moves;
  info.wait_status = job.wait_status;
  const auto ended = ended_.find(job.spec.id);
  if (ended != ended_.end() && job.here && !balance_->in_doubt(job.spec.id)) {
    info.wait_status = ended->second;
  }
  if (info.wait_status) {
    info.state = JobState::kExited;
    return info;
  }
  if (job.parked_there && !job.here) info.state = JobState::kParked;
  if (job.lost) info.state = JobState::kLost;
  if (!job.here) return info;
  info.pid = job.pid;
  const Throttle* throttle = throttle_of(job.spec.id);
  if (throttle != nullptr && throttle->limit_micros != 0) info.state = JobState::kThrottled;
  if (pauses_.is_paused(job.spec.id)) info.state = JobState::kPaused;
  if (!job.launched) info.state = JobState::kQueued;
  if (job.parked && !job.parked->queued) info.state = JobState::kParked;
  for (const auto& [id, timing] : timings_) {
    if (id.job == job.spec.id) info.state = JobState::kHandover;
  }
  // Also after a restart: it is frozen until the other end, or a person, has spoken.
  if (balance_->in_doubt(job.spec.id)) info.state = JobState::kHandover;
  info.waits_for = balance_->waits_for(job.spec.id).value_or(NodeId{});
  for (const JobSample& seen : sample_.jobs) {
    if (seen.job != job.spec.id) continue;
    info.pid = seen.pid;
    info.scum_micros = throttles_.counted(now_, seen).scum_micros;
    info.cpu_micros = seen.cpu_micros;
    info.memory_micros = seen.memory_micros;
  }
  return info;
}

// As many as one message holds: those that run first, and with shorter commands where all would not
// fit.
JobsReply Node::jobs_reply(std::uint64_t query, const NodeId& asker) const {
  constexpr std::size_t kInfoSizeMax = 178;  // without name and command
  JobsReply answer{query, job_infos()};
  std::stable_partition(answer.jobs.begin(), answer.jobs.end(),
                        [](const JobInfo& info) { return info.state != JobState::kExited; });
  const auto asks = gossip_->find(asker);
  const bool knows = asks && (asks->fields.capabilities & kKnowsPaused) != 0;
  for (JobInfo& info : answer.jobs) {
    if (!knows && info.state == JobState::kPaused) info.state = JobState::kThrottled;
  }
  if (answer.jobs.size() > kJobsInReplyMax) answer.jobs.resize(kJobsInReplyMax);
  if (answer.jobs.empty()) return answer;
  static_assert((kMessageSizeMax - 64) / kJobsInReplyMax > kInfoSizeMax + kNameSizeMax);
  const std::size_t each = (kMessageSizeMax - 64) / answer.jobs.size();
  for (JobInfo& info : answer.jobs) {
    const std::size_t rest = each - kInfoSizeMax - info.name.size();
    if (info.command.size() > rest) info.command.resize(rest);
  }
  return answer;
}

JobSample Node::counted(const JobSample& job) const {
  JobSample out = throttles_.counted(now_, job);
  pauses_.count_as_before(out);
  return out;
}

std::vector<JobInfo> Node::job_infos() const {
  std::vector<JobInfo> infos;
  for (const auto& [id, job] : jobs_->all()) {
    if (!job.here && job.spec.home != self_) continue;
    infos.push_back(info_of(job));
  }
  return infos;
}

}  // namespace node
