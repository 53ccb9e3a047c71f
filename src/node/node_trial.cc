// `tern migrate --dry-run`: the preflight of a move alone. Nothing is agreed and nothing is frozen;
// the answer is what it was at that moment.
//
//   person -> SOURCE: CollectNeeds -> NeedsLooked -> NeedsQuery -> SINK: CheckNeeds -> NeedsLooked
//          <- end_trial <------------------------- NeedsReply <-
#include <algorithm>

#include "node/node.h"

namespace node {

using base::NodeId;

void Node::start_trial(std::uint64_t token, const base::JobId& job,
                       const std::optional<NodeId>& target, bool tcp_close) {
  if (trials_.size() >= kTrialsMax) return end_trial(token, 1, "too many dry runs at once");
  const balance::Balance::Outlook outlook = balance_->outlook(now_, job, target);
  trials_[token] = {job, outlook.sink, now_ + kTrialPatience, false};
  if (!outlook.why.empty()) {
    // What a rule forbids is an obstacle like any other; the rest could not even be tried.
    if (outlook.code == balance::ReplyCode::kRefused) return end_trial(token, 0, "", {outlook.why});
    return end_trial(token, static_cast<int>(outlook.code), outlook.why);
  }
  out(CollectNeeds{token, job, false, tcp_close || may_close_tcp(job), outlook.sink});
}

void Node::on(const NeedsLooked& event) {
  const auto trial = trials_.find(event.token);
  if (trial != trials_.end()) {
    if (trial->second.asked) return;
    const bool done = trial->second.parks || !event.obstacles.empty();
    if (done) return end_trial(event.token, 0, "", event.obstacles);
    trial->second.asked = true;
    Waiting waiting;  // said again like every question, until end_trial
    waiting.deadline = trial->second.deadline;
    waiting.missing = {trial->second.sink};
    return ask_peers(std::move(waiting), event.token,
                     NeedsQuery{event.token, trial->second.job, event.requirement});
  }
  const auto asked = needs_asked_.extract(event.token);
  if (!asked) return;
  NeedsReply answer{asked.mapped().query, event.obstacles};
  if (answer.obstacles.size() > kObstaclesMax) answer.obstacles.resize(kObstaclesMax);
  send(asked.mapped().from, answer);
}

void Node::on_needs_query(NodeId from, const NeedsQuery& query) {
  const bool known = std::any_of(needs_asked_.begin(), needs_asked_.end(), [&](const auto& entry) {
    return entry.second.from == from && entry.second.query == query.query;
  });
  if (known) return;
  if (needs_asked_.size() >= kTrialsMax) {
    return send(from, NeedsReply{query.query, {"it answers too many such questions just now"}});
  }
  if (!accepts()) {
    return send(from, NeedsReply{query.query, {"takes no jobs of others: " + why_no_guests()}});
  }
  const std::uint64_t token = next_query_++;
  needs_asked_[token] = {from, query.query};
  out(CheckNeeds{token, query.requirement, query.job});
}

void Node::on_needs_reply(NodeId from, const NeedsReply& reply) {
  const auto trial = trials_.find(reply.query);
  if (trial == trials_.end() || !trial->second.asked || trial->second.sink != from) return;
  std::vector<std::string> obstacles;  // "here" in them is there
  for (const std::string& obstacle : reply.obstacles) {
    obstacles.push_back(name_of(from) + ": " + obstacle);
  }
  end_trial(reply.query, 0, "", obstacles);
}

void Node::end_late_trials() {
  std::vector<std::uint64_t> late;
  for (const auto& [token, trial] : trials_) {
    if (trial.deadline <= now_) late.push_back(token);
  }
  for (const std::uint64_t token : late) {
    const bool asked = trials_.at(token).asked;
    end_trial(token, asked ? 4 : 1,
              asked ? name_of(trials_.at(token).sink) + " does not answer"
                    : "the job could not be looked at in time");
  }
}

void Node::end_trial(std::uint64_t token, int exit_code, const std::string& sentence,
                     const std::vector<std::string>& obstacles) {
  std::string json;
  const auto trial = trials_.find(token);
  if (trial != trials_.end()) {
    if (exit_code == 0) {
      json =
          trial_json({trial->second.job, self_, trial->second.sink, name_of(self_),
                      trial->second.sink.is_zero() ? "" : name_of(trial->second.sink), obstacles});
    }
    trials_.erase(trial);
    waiting_.erase(token);
  }
  answer_person(token, exit_code, sentence, json);
}

// To whoever gave the order that `token` stands for, here or on another node.
void Node::answer_person(std::uint64_t token, int exit_code, const std::string& sentence,
                         const std::string& json) {
  resolving_.erase(token);
  if (take_drain_answer(token, exit_code, sentence)) return;
  const auto local = local_ops_.extract(token);
  if (local) {
    Reply done;
    done.request = local.mapped();
    done.exit_code = exit_code;
    done.sentence = sentence;
    if (!json.empty()) done.handover_json = json;
    return out(std::move(done));
  }
  const auto remote = remote_ops_.extract(token);
  if (!remote) return;
  OrderReply answer;
  answer.exit_code = static_cast<std::uint8_t>(exit_code);
  answer.sentence = printable(sentence);
  answer.handover = json;
  order_done(remote.mapped(), std::move(answer));
}

}  // namespace node
