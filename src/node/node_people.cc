// What people ask of a node, here or through another node.
#include <algorithm>

#include "node/node.h"

namespace node {

using base::NodeId;

void Node::reply(std::uint64_t request, int exit_code, std::string sentence) {
  Reply done;
  done.request = request;
  done.exit_code = exit_code;
  done.sentence = std::move(sentence);
  out(std::move(done));
}

// The rule of job_wire.h, "Who may ask what".
std::string Node::why_not(const jobs::Job& job, std::uint32_t uid, const NodeId& asker) const {
  if (uid != 0 && uid != job.spec.uid) return "only its owner or root may do that";
  if (asker == self_ || asker == job.spec.home) return {};
  if (uid == 0) {
    if (config_.people.root) return {};
    return "root of another node may do that only where the job is at home, or on a node that runs "
           "root's foreign jobs (allow-root-jobs)";
  }
  const auto& known = config_.people.uids;
  if (std::find(known.begin(), known.end(), uid) != known.end()) return {};
  return name_of(self_) + " does not know uid " + std::to_string(uid) +
         " of other nodes as the same person (policy-uids in its tern.toml changes that); ask "
         "where the job is at home";
}

void Node::on(const RunJob& event) {
  if (jobs_->full()) return reply(event.request, 1, "this node knows too many jobs already");
  running_[event.spec.id] = event.request;
  JobSpec spec = event.spec;
  if (!config_.addresses.empty()) spec.home_at = config_.addresses.front();
  to_jobs(jobs::Begin{std::move(spec), event.queued});
}

void Node::on(const MigrateJob& event) {
  Order order;
  order.verb = event.trial ? Verb::kTry : Verb::kMigrate;
  order.job = event.job;
  order.uid = event.uid;
  order.target = event.target.value_or(NodeId{});
  order.number = event.tcp_close ? 1 : 0;
  give_order(event.request, event.host, order);
}

void Node::on(const ResolveJob& event) {
  const std::uint64_t token = next_query_++;
  local_ops_[token] = event.request;
  resolving_.insert(token);
  to_balance(balance::PersonResolve{token, event.job});
}

void Node::on(const KillJob& event) {
  const jobs::Job* job = jobs_->find(event.job);
  if (job != nullptr && !job->here && job->lost && event.host == self_) {
    const std::string why = why_not(*job, event.uid, self_);
    if (!why.empty()) return reply(event.request, 5, why);
    to_jobs(jobs::Drop{event.job});
    return reply(event.request, 0, "");
  }
  Order order;
  order.verb = Verb::kKill;
  order.job = event.job;
  order.uid = event.uid;
  order.number = static_cast<std::uint64_t>(event.signal_number);
  give_order(event.request, event.host, order);
}

void Node::on(const Signalled& event) {
  const auto local = local_ops_.find(event.token);
  if (local != local_ops_.end()) {
    reply(local->second, event.ok ? 0 : 1, event.reason);
    local_ops_.erase(local);
    return;
  }
  const auto remote = remote_ops_.find(event.token);
  if (remote == remote_ops_.end()) return;
  OrderReply answer;
  answer.exit_code = event.ok ? 0 : 1;
  answer.sentence = printable(event.reason);
  const Remote order = remote->second;
  remote_ops_.erase(remote);
  order_done(order, std::move(answer));
}

void Node::take_person_reply(const balance::PersonReply& said) {
  if (said.over) closing_.erase(said.request);
  if (take_drain_reply(said) || wake_resolved(said)) return;
  std::optional<std::string> json;
  if (said.over && said.handover) {
    const auto last = last_handover_.find(said.handover->job);
    if (last != last_handover_.end() && last->second.id == *said.handover) {
      json = handover_json(last->second);
    }
  }
  const auto local = local_ops_.find(said.request);
  if (local != local_ops_.end()) {
    Reply done;
    done.request = local->second;
    done.over = said.over;
    done.exit_code = static_cast<int>(said.code);
    done.sentence = said.sentence;
    done.handover_json = json;
    if (said.over) local_ops_.erase(local);
    return out(std::move(done));
  }
  const auto remote = remote_ops_.find(said.request);
  if (remote == remote_ops_.end()) return;
  OrderReply answer;
  answer.query = remote->second.query;
  answer.over = said.over;
  answer.exit_code = static_cast<std::uint8_t>(said.code);
  answer.sentence = printable(said.sentence);
  answer.handover = json.value_or("");
  const Remote order = remote->second;
  if (!said.over) return send(order.from, answer);
  remote_ops_.erase(remote);
  order_done(order, std::move(answer));
}

// ---- jobs of the whole mesh

void Node::on(const AskJobs& event) {
  if (waiting_.size() >= kQueriesMax) return reply(event.request, 1, "too many questions at once");
  const std::uint64_t query = next_query_++;
  Waiting waiting;
  waiting.request = event.request;
  waiting.deadline = now_ + kQueryPatience;
  waiting.is_jobs = true;
  for (const gossip::NodeView& view : gossip_->view()) {
    if (view.id == self_) continue;
    if (view.state == gossip::State::kAlive || view.state == gossip::State::kSuspect) {
      waiting.missing.insert(view.id);
    }
  }
  for (const JobInfo& info : job_infos()) merge(waiting, info);
  if (!waiting.missing.empty()) return ask_peers(std::move(waiting), query, JobsQuery{query});
  waiting_[query] = std::move(waiting);
  answer_jobs(query);
}

// Of two tellers the one with the newer epoch knows better; of equal ones the one that owns it.
void Node::merge(Waiting& waiting, const JobInfo& info) {
  const auto known = waiting.jobs.find(info.id);
  if (known == waiting.jobs.end()) {
    waiting.jobs.emplace(info.id, info);
    return;
  }
  const auto rank = [](const JobInfo& i) {
    return std::tuple(i.state == JobState::kExited && !i.here, i.epoch, i.here);
  };
  if (rank(info) > rank(known->second)) known->second = info;
}

void Node::answer_jobs(std::uint64_t query) {
  const auto it = waiting_.find(query);
  if (it == waiting_.end()) return;
  JobsAnswer answer;
  for (auto& [id, info] : it->second.jobs) answer.jobs.push_back(info);
  answer.unreachable.assign(it->second.missing.begin(), it->second.missing.end());
  Reply done;
  done.request = it->second.request;
  done.jobs = std::move(answer);
  waiting_.erase(it);
  out(std::move(done));
}

// ---- logs

void Node::on(const AskLog& event) {
  const jobs::Job* job = jobs_->find(event.job);
  const std::uint64_t token = next_query_++;
  if (job != nullptr && job->spec.home == self_) {
    const std::string why = why_not(*job, event.uid, self_);
    if (!why.empty()) return reply(event.request, 5, why);
    LogQuery query;
    query.job = event.job;
    query.stream = event.stream;
    query.offset = event.offset;
    log_reads_[token] = query;
    local_ops_[token] = event.request;
    return out(ReadLog{token, event.job, event.stream, event.offset});
  }
  if (event.home.is_zero() || event.home == self_) {
    return reply(event.request, 1, "the log of that job is not here");
  }
  if (waiting_.size() >= kQueriesMax) return reply(event.request, 1, "too many questions at once");
  Waiting waiting;
  waiting.request = event.request;
  waiting.deadline = now_ + 2 * kQueryPatience;
  waiting.missing = {event.home};
  LogQuery query;
  query.query = token;
  query.job = event.job;
  query.stream = event.stream;
  query.offset = event.offset;
  query.uid = event.uid;
  ask_peers(std::move(waiting), token, query);
}

void Node::on_log_query(NodeId from, const LogQuery& query) {
  const jobs::Job* job = jobs_->find(query.job);
  const bool known = job != nullptr && job->spec.home == self_;
  if (!known || !why_not(*job, query.uid, from).empty()) {
    LogReply nothing;
    nothing.query = query.query;
    nothing.job = query.job;
    nothing.refused = known;
    return send(from, nothing);
  }
  const bool asked = std::any_of(remote_ops_.begin(), remote_ops_.end(), [&](const auto& op) {
    return op.second.from == from && op.second.query == query.query;
  });
  if (asked || log_reads_.size() >= kQueriesMax) return;
  const std::uint64_t token = next_query_++;
  log_reads_[token] = query;
  remote_ops_[token] = {from, query.query};
  out(ReadLog{token, query.job, query.stream, query.offset});
}

void Node::on_log_reply(NodeId from, const LogReply& log) {
  const auto it = waiting_.find(log.query);
  if (it == waiting_.end() || it->second.missing.count(from) == 0) return;
  if (!it->second.question || !std::holds_alternative<LogQuery>(*it->second.question)) return;
  const std::uint64_t request = it->second.request;
  waiting_.erase(it);
  if (log.refused) {
    return reply(request, 5,
                 name_of(from) +
                     ", where the job is at home, shows its output only to its owner "
                     "and root there, and to those whom its policy names as the same person");
  }
  Reply done;
  done.request = request;
  done.log = log;
  out(std::move(done));
}

void Node::on(const LogRead& event) {
  const auto asked = log_reads_.find(event.token);
  if (asked == log_reads_.end()) return;
  LogReply answer;
  answer.known = true;
  answer.job = asked->second.job;
  answer.stream = asked->second.stream;
  answer.offset = std::max(asked->second.offset, event.begin);
  answer.bytes = event.bytes;
  answer.ends = event.ends;
  const jobs::Job* job = jobs_->find(answer.job);
  if (job != nullptr && job->wait_status) {
    answer.exited = true;
    answer.wait_status = *job->wait_status;
  }
  log_reads_.erase(asked);
  const auto local = local_ops_.find(event.token);
  if (local != local_ops_.end()) {
    Reply done;
    done.request = local->second;
    done.log = std::move(answer);
    local_ops_.erase(local);
    return out(std::move(done));
  }
  const auto remote = remote_ops_.find(event.token);
  if (remote == remote_ops_.end()) return;
  answer.query = remote->second.query;
  const NodeId to = remote->second.from;
  remote_ops_.erase(remote);
  send(to, answer);
}

}  // namespace node
