// `tern status` in one sentence: what this node knows, and what PLUS nodes say when they are asked.
#include <algorithm>

#include "node/node.h"
#include "node/sentence.h"

namespace node {

using base::NodeId;

Picture Node::picture() const {
  Picture picture;
  picture.self = self_;
  picture.now = now_;
  picture.local = local_;
  for (const gossip::NodeView& seen : gossip_->view()) {
    Picture::Node one{name_of(seen.id), load_of(seen), std::nullopt, balance::Seat::kCoordinator};
    if (seen.fields.seat) {
      one.triad = seen.fields.seat->triad;
      one.seat = seen.fields.seat->role == gossip::SeatRole::kSource ? balance::Seat::kSource
                 : seen.fields.seat->role == gossip::SeatRole::kSink ? balance::Seat::kSink
                                                                     : balance::Seat::kCoordinator;
    }
    picture.nodes.push_back(std::move(one));
  }
  for (const balance::JobFacts& job : local_.jobs) {
    if (const jobs::Job* known = jobs_->find(job.id)) picture.names[job.id] = known->spec.name;
    const std::string refused = balance_->why_rests(job.id, now_);
    if (!refused.empty()) picture.refused[job.id] = printable(refused);
  }
  if (under_way_ && seat_ && seat_->triad == under_way_->id.triad) {
    const jobs::Job* job = jobs_->find(under_way_->id.job);
    picture.move = Picture::Move{job == nullptr ? "a job" : job->spec.name,
                                 name_of(under_way_->source), name_of(under_way_->sink)};
  }
  picture.paused = pauses_.count();
  picture.paused_why = stance_.hold_why;
  for (const auto& [id, throttle] : throttles_.all()) {
    const Throttle* const now = throttle_of(id);
    picture.slowed += now != nullptr && now->is_owners && now->limit_micros != 0 ? 1 : 0;
  }
  if (person_drains_) picture.no_guests_why = "it is drained, until: tern drain --off";
  if (!person_drains_ && stance_.yield != Yield::kNothing) picture.no_guests_why = stance_.why;
  if (reach() != Reach::kNobody) {
    picture.leaving_own = reach() == Reach::kAll;
    picture.leaving_why = person_drains_ ? "it is drained" : stance_.why;
    for (const DrainJob& job : drain_jobs()) {
      picture.leaving += picture.leaving_own || job.home != self_ ? 1 : 0;
    }
  }
  return picture;
}

void Node::on(const AskSentence& event) {
  Waiting waiting;
  waiting.request = event.request;
  waiting.deadline = now_ + kQueryPatience;
  waiting.is_sentence = true;
  const Picture now = picture();
  const bool own = !now.move && local_.trit != probe::Trit::kPlus;
  for (const Picture::Node& node : now.nodes) {
    const bool plus = node.load.live && node.load.trit == probe::Trit::kPlus;
    const bool asks = own && plus && node.load.id != self_ && waiting.missing.size() < kWhyAskedMax;
    if (asks) waiting.missing.insert(node.load.id);
  }
  if (waiting.missing.empty() || waiting_.size() >= kQueriesMax) {
    return reply(event.request, 0, mesh_sentence(now));
  }
  const std::uint64_t query = next_query_++;
  ask_peers(std::move(waiting), query, WhyQuery{query});
}

void Node::on_why_query(NodeId from, const WhyQuery& query) {
  send(from, WhyReply{query.query, why_nothing_moves(picture())});
}

void Node::on_why_reply(NodeId from, const WhyReply& answer) {
  const auto it = waiting_.find(answer.query);
  if (it == waiting_.end() || !it->second.is_sentence) return;
  if (it->second.missing.erase(from) == 0) return;
  it->second.told[from] = answer.sentence;
  if (it->second.missing.empty()) answer_sentence(answer.query);
}

void Node::answer_sentence(std::uint64_t query) {
  const auto waiting = waiting_.extract(query);
  if (!waiting) return;
  Picture now = picture();
  now.told = waiting.mapped().told;
  reply(waiting.mapped().request, 0, mesh_sentence(now));
}

}  // namespace node
