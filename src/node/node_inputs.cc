// Standard input: between the desks here, other nodes, and the jobs here (node/inputs.h).
#include "node/node.h"

namespace node {

using base::NodeId;

void Node::on(const DeskEvent& event) { take(inputs_.step(now_, event.event)); }

void Node::on(const JobFed& event) { send(event.to, event.reply); }

void Node::on_input(NodeId from, const Input& input) {
  const jobs::Job* job = jobs_->find(input.job);
  InputReply reply;
  reply.query = input.query;
  reply.job = input.job;
  if (job == nullptr || !job->here || job->wait_status) {
    reply.word = InputWord::kNotHere;
    return send(from, reply);
  }
  if (!why_not(*job, input.uid, from).empty()) {
    reply.word = InputWord::kRefused;
    return send(from, reply);
  }
  out(FeedJob{from, input});
}

void Node::take(inputs::Actions actions) {
  for (inputs::Action& action : actions) {
    if (auto* said = std::get_if<inputs::Said>(&action)) {
      out(DeskSaid{std::move(*said)});
    } else {
      const auto& message = std::get<inputs::Send>(action);
      send(message.to, message.message);
    }
  }
}

// Home, and the host itself, know where the job is; a desk elsewhere has to ask.
void Node::tend_inputs() {
  if (inputs_.empty()) return;
  for (const base::JobId& id : inputs_.jobs()) {
    const jobs::Job* job = jobs_->find(id);
    if (job == nullptr || job->lost) continue;
    if (job->here) take(inputs_.host_is(now_, id, self_));
    if (!job->here && job->spec.home == self_) take(inputs_.host_is(now_, id, job->at));
  }
  if (inputs_.next_deadline() <= now_) take(inputs_.step(now_, inputs::Tick{}));
}

}  // namespace node
