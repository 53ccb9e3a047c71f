// Questions and orders between nodes: said again until answered, carried out once.
//
// A message may be lost with its connection, and so may the answer. Who asks says it again under
// the same query; who is ordered remembers what it answered, unless it refused. A daemon that was
// restarted meanwhile remembers nothing: it refuses an order that is older than itself, since it
// may have been carried out before (a message does not outlive the connection to the daemon that it
// was sent to).
#include <algorithm>

#include "node/node.h"

namespace node {

using base::NodeId;
using base::Time;

namespace {

std::uint64_t milliseconds(base::Duration duration) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

// ---- asking

void Node::ask_peers(Waiting waiting, std::uint64_t query, Message question) {
  for (const NodeId& node : waiting.missing) send(node, question);
  waiting.question = std::move(question);
  waiting.asked = now_;
  waiting.again_at = now_ + waiting.again_after;
  waiting_[query] = std::move(waiting);
}

void Node::tend_waiting() {
  std::vector<std::uint64_t> late;
  for (auto& [query, waiting] : waiting_) {
    if (waiting.deadline <= now_) late.push_back(query);
    if (waiting.again_at > now_ || waiting.deadline <= now_ || !waiting.question) continue;
    waiting.again_after = std::min(2 * waiting.again_after, kAskAgainMax);
    waiting.again_at = now_ + waiting.again_after;
    if (auto* order = std::get_if<Order>(&*waiting.question)) {
      order->age_ms = std::max<std::uint64_t>(milliseconds(now_ - waiting.asked), 1);
    }
    for (const NodeId& node : waiting.missing) send(node, *waiting.question);
  }
  for (const std::uint64_t query : late) {
    const auto it = waiting_.find(query);
    if (it->second.is_sentence) {
      answer_sentence(query);
      continue;
    }
    if (it->second.is_jobs) {
      answer_jobs(query);
      continue;
    }
    const std::uint64_t request = it->second.request;
    const std::string name = name_of(*it->second.missing.begin());
    waiting_.erase(it);
    reply(request, 4, name + " does not answer");
  }
}

void Node::forward(std::uint64_t request, NodeId host, Order order) {
  if (host.is_zero() || host == self_) {
    return reply(request, 1, "no node that can be reached has this job");
  }
  if (waiting_.size() >= kQueriesMax) return reply(request, 1, "too many questions at once");
  order.query = next_query_++;
  Waiting waiting;
  waiting.request = request;
  waiting.deadline = now_ + kOrderSilence;
  waiting.news = now_;
  waiting.missing = {host};
  ask_peers(std::move(waiting), order.query, order);
}

// A person on this node: carried out here where the job is here, else by its host.
void Node::give_order(std::uint64_t request, NodeId host, const Order& order) {
  const jobs::Job* job = jobs_->find(order.job);
  if (job == nullptr || !job->here) return forward(request, host, order);
  const std::string why = why_not(*job, order.uid, self_);
  if (!why.empty()) return reply(request, 5, why);
  const std::uint64_t token = next_query_++;
  local_ops_[token] = request;
  carry_out(token, *job, order);
}

void Node::on_order_reply(NodeId from, const OrderReply& answer) {
  const auto it = waiting_.find(answer.query);
  if (it == waiting_.end() || it->second.missing.count(from) == 0) return;
  Waiting& waiting = it->second;
  if (!waiting.question || !std::holds_alternative<Order>(*waiting.question)) return;
  Reply done;
  done.request = waiting.request;
  done.over = answer.over;
  done.exit_code = answer.exit_code;
  done.sentence = answer.sentence;
  if (!answer.handover.empty()) done.handover_json = answer.handover;
  if (answer.over) {
    waiting_.erase(it);
    return out(std::move(done));
  }
  const bool news = !answer.sentence.empty();
  if (news) waiting.news = now_;
  waiting.again_after = kAskAgainMax;
  waiting.again_at = now_ + kAskAgainMax;
  waiting.deadline = std::min(now_ + kOrderSilence, waiting.news + kForwardPatience);
  if (news) out(std::move(done));
}

// ---- being ordered

// A peer passes on what a person said there. Only its daemon saw who that was.
void Node::on_order(NodeId from, const Order& order) {
  const Remote name{from, order.query};
  const auto known = orders_.find(name);
  if (known != orders_.end()) {
    OrderReply under_way;
    under_way.query = order.query;
    return send(from, known->second.value_or(under_way));
  }
  const auto refuse = [&](int exit_code, const std::string& why) {
    OrderReply answer;
    answer.exit_code = static_cast<std::uint8_t>(exit_code);
    answer.sentence = why;
    answer.query = order.query;
    answer.over = true;
    send(from, answer);  // nothing was done, so nothing has to be remembered
  };
  if (order.age_ms > 0 && order.age_ms >= milliseconds(now_ - started_at_)) {
    return refuse(1, "the daemon there was restarted meanwhile; look (tern ps) and say it again");
  }
  const jobs::Job* job = jobs_->find(order.job);
  if (job == nullptr || !job->here) return refuse(1, "the job is not here any more; try again");
  if (const std::string why = why_not(*job, order.uid, from); !why.empty()) return refuse(5, why);
  if (remote_ops_.size() >= kQueriesMax) return refuse(1, "too many orders at once; try again");
  const std::uint64_t token = next_query_++;
  remote_ops_[token] = name;
  orders_[name] = std::nullopt;
  carry_out(token, *job, order);
}

// On a job that is here; the token says who is answered.
void Node::carry_out(std::uint64_t token, const jobs::Job& job, const Order& order) {
  if (ended_.contains(order.job)) {
    const bool killed = order.verb == Verb::kKill;
    return answer_person(token, killed ? 0 : 1,
                         "it has ended, and what it changed of its files is on its way home", "");
  }
  if (order.verb == Verb::kThrottle) return throttle_by_person(token, job, order.number);
  if (order.verb == Verb::kPark || order.verb == Verb::kTryPark) {
    return start_park(token, job, order.verb == Verb::kTryPark);
  }
  if (order.verb == Verb::kWake) return start_wake(token, job);
  if (order.verb == Verb::kKill) {
    if (kill_parked(token, job, static_cast<int>(order.number))) return;
    return out(SignalJob{token, order.job, static_cast<int>(order.number)});
  }
  std::optional<NodeId> target;
  if (!order.target.is_zero()) target = order.target;
  const bool closes = order.number == 1;
  if (order.verb == Verb::kTry) return start_trial(token, order.job, target, closes);
  if (closes) closing_[token] = order.job;
  to_balance(balance::PersonMigrate{token, order.job, target});
}

void Node::order_done(const Remote& order, OrderReply answer) {
  answer.query = order.query;
  answer.over = true;
  orders_[order] = answer;
  orders_done_.push_back(order);
  // Of that peer: nobody makes this node forget what it did for another.
  const auto is_theirs = [&](const Remote& done) { return done.from == order.from; };
  const auto kept = std::count_if(orders_done_.begin(), orders_done_.end(), is_theirs);
  if (static_cast<std::size_t>(kept) > kOrdersKeptMax) {
    const auto oldest = std::find_if(orders_done_.begin(), orders_done_.end(), is_theirs);
    orders_.erase(*oldest);
    orders_done_.erase(oldest);
  }
  send(order.from, answer);
}

}  // namespace node
