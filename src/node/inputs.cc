#include "node/inputs.h"

#include <algorithm>
#include <utility>

namespace node::inputs {

using base::JobId;
using base::NodeId;
using base::Time;

namespace {

std::uint32_t low_half(std::uint64_t session) { return static_cast<std::uint32_t>(session); }

}  // namespace

Actions Inputs::step(Time now, const Event& event) {
  std::visit([&](const auto& e) { on(now, e); }, event);
  sweep();
  return std::exchange(actions_, {});
}

Inputs::Desk* Inputs::find(std::uint64_t desk) {
  const auto it = desks_.find(desk);
  return it == desks_.end() ? nullptr : &it->second;
}

void Inputs::sweep() {
  for (const std::uint64_t desk : std::exchange(over_, {})) desks_.erase(desk);
}

std::vector<JobId> Inputs::jobs() const {
  std::vector<JobId> jobs;
  for (const auto& [id, desk] : desks_) jobs.push_back(desk.job);
  return jobs;
}

Actions Inputs::host_is(Time now, JobId job, NodeId host) {
  for (auto& [id, desk] : desks_) {
    if (desk.job == job && !host.is_zero() && desk.host != host) on(now, Moved{id, host});
  }
  sweep();
  return std::exchange(actions_, {});
}

// ---- what the person's program does

void Inputs::on(Time now, const Open& event) {
  Desk desk;
  desk.id = event.desk;
  desk.job = event.job;
  desk.uid = event.uid;
  desk.host = event.host;
  desk.session = event.session;
  desk.salt = event.salt;
  if (desks_.size() >= kDesksMax) {
    return tell(desk, Said::kRefused, "too many people feed jobs from this node");
  }
  Desk& here = desks_.insert_or_assign(event.desk, std::move(desk)).first->second;
  say(now, here, InputKind::kAsk, 0, {});
}

void Inputs::on(Time now, const Put& event) {
  Desk* desk = find(event.desk);
  if (desk == nullptr) return;
  const bool fits = desk->bytes.size() + event.bytes.size() <= kInputWindow;
  if (desk->stage != Stage::kOpen || desk->end || event.offset != desk->filled() || !fits) {
    return finish(*desk, Said::kRefused, "that is no input that continues what came before");
  }
  desk->bytes.insert(desk->bytes.end(), event.bytes.begin(), event.bytes.end());
  pump(now, *desk);
}

void Inputs::on(Time now, const End& event) {
  Desk* desk = find(event.desk);
  if (desk == nullptr || desk->end) return;
  if (desk->stage != Stage::kOpen || event.offset != desk->filled()) {
    return finish(*desk, Said::kRefused, "the input does not end there");
  }
  desk->end = event.offset;
  pump(now, *desk);
}

void Inputs::on(Time now, const Window& event) {
  Desk* desk = find(event.desk);
  if (desk == nullptr) return;
  desk->window = event.size;
  desk->window_query = 0;
  pump(now, *desk);
}

void Inputs::on(Time /*now*/, const Close& event) { desks_.erase(event.desk); }

void Inputs::on(Time now, const Moved& event) {
  Desk* desk = find(event.desk);
  if (desk == nullptr || event.host.is_zero() || desk->host == event.host) return;
  desk->host = event.host;
  desk->patience = kInputAskMin;
  desk->lacked_at = Time{};
  desk->window_query = 0;
  if (desk->waits()) say(now, *desk, InputKind::kAsk, 0, {});
}

// ---- to the job

void Inputs::say(Time now, Desk& desk, InputKind kind, std::uint64_t offset, base::Bytes bytes) {
  desk.query = (std::uint64_t{desk.salt} << 32U) | next_query_++;
  desk.said_at = now;
  Input input;
  input.query = desk.query;
  input.job = desk.job;
  input.uid = desk.uid;
  input.session = desk.session;
  input.kind = kind;
  input.offset = offset;
  if (kind == InputKind::kWindow) input.window = desk.window.value_or(TerminalSize{});
  input.bytes = std::move(bytes);
  actions_.emplace_back(Send{desk.host, std::move(input)});
}

void Inputs::pump(Time now, Desk& desk) {
  if (desk.stage != Stage::kOpen) return;
  if (desk.window && desk.window_query == 0) {
    say(now, desk, InputKind::kWindow, 0, {});
    desk.window_query = desk.query;
  }
  while (desk.sent < desk.filled()) {
    const auto from = static_cast<std::ptrdiff_t>(desk.sent - desk.taken);
    const std::size_t size = std::min<std::size_t>(desk.filled() - desk.sent, kInputPieceMax);
    const auto begin = desk.bytes.begin() + from;
    const std::uint64_t offset = desk.sent;
    desk.sent += size;
    say(now, desk, InputKind::kBytes, offset,
        base::Bytes(begin, begin + static_cast<std::ptrdiff_t>(size)));
  }
  if (desk.end && !desk.end_sent) {
    desk.end_sent = true;
    say(now, desk, InputKind::kEnd, *desk.end, {});
  }
}

// ---- from the job

void Inputs::on(Time now, const Peer& event) {
  for (auto& [id, desk] : desks_) {
    if (desk.job == event.reply.job && desk.host == event.from) hear(now, desk, event.reply);
  }
}

void Inputs::hear(Time now, Desk& desk, const InputReply& reply) {
  switch (reply.word) {
    case InputWord::kNotHere:
      // Where the job is at home this comes by host_is(), too.
      if (now - desk.sought_at < kInputAskMin && desk.sought_at != Time{}) return;
      desk.sought_at = now;
      return tell(desk, Said::kSought);
    case InputWord::kRefused:
      if (reply.query != desk.query) return;  // another desk's, of somebody else
      return finish(desk, Said::kRefused, "only its owner or root may feed a job");
    case InputWord::kNone:
      return finish(desk, Said::kRefused,
                    "that job has no standard input: it was started without one");
    case InputWord::kState:
      break;
  }
  if (reply.session > desk.session && desk.stage != Stage::kAsking) {
    return finish(desk, Said::kReplaced);
  }
  if (desk.stage != Stage::kOpen) return hear_session(now, desk, reply);
  if (reply.session == desk.session) hear_taken(now, desk, reply);
  if (std::find(over_.begin(), over_.end(), desk.id) == over_.end()) pump(now, desk);
}

void Inputs::hear_session(Time now, Desk& desk, const InputReply& reply) {
  if (reply.query >> 32U != desk.salt) return;  // to a desk of before: what it says is old
  if (desk.stage == Stage::kAsking) {
    const std::uint64_t before = desk.session;
    const std::uint32_t program = before != 0 ? low_half(before) : desk.salt;
    // A newer one of its own was claimed, but a restart came before it was told.
    const bool own = low_half(reply.session) == program;
    if (before != 0 && reply.session > before && !own) return finish(desk, Said::kReplaced);
    desk.stage = Stage::kClaiming;
    desk.session = (((std::max(reply.session, before) >> 32U) + 1) << 32U) | program;
    return say(now, desk, InputKind::kClaim, 0, {});
  }
  if (reply.session < desk.session) {
    if (reply.query == desk.query && now - desk.said_at >= kInputAskMin) {
      say(now, desk, InputKind::kClaim, 0, {});
    }
    return;
  }
  desk.stage = Stage::kOpen;
  desk.taken = reply.taken;
  desk.sent = reply.taken;
  Said open{desk.id, desk.job, Said::kOpen, desk.session, desk.taken, reply.terminal, {}};
  actions_.emplace_back(std::move(open));
  if (reply.closed || reply.ended) return finish(desk, Said::kClosed);
  pump(now, desk);
}

void Inputs::hear_taken(Time now, Desk& desk, const InputReply& reply) {
  if (reply.taken > desk.filled()) {
    return finish(desk, Said::kRefused, "the job took input that nobody gave to it");
  }
  if (reply.taken > desk.taken) {
    const auto gone = static_cast<std::ptrdiff_t>(reply.taken - desk.taken);
    desk.bytes.erase(desk.bytes.begin(), desk.bytes.begin() + gone);
    desk.taken = reply.taken;
    desk.sent = std::max(desk.sent, desk.taken);
    desk.patience = kInputAskMin;
    tell(desk, Said::kTaken);
  }
  if (reply.query == desk.query) {
    // Nothing of ours is on its way any more: what is not held there is lost, or had no room. Of
    // what came no further than the last time no more is made of one answer after another.
    const bool lacks = reply.held < desk.sent;
    if (lacks && (reply.held > desk.lacked || now - desk.lacked_at >= kInputAskMin)) {
      desk.lacked = reply.held;
      desk.lacked_at = now;
      desk.sent = std::max(reply.held, desk.taken);
    }
    if (!reply.ended && desk.sent < desk.filled()) desk.end_sent = false;
  }
  if (desk.window && desk.window_query != 0 && reply.query >= desk.window_query) {
    desk.window.reset();
  }
  desk.ended = reply.ended;
  if (reply.closed || (reply.ended && desk.end)) finish(desk, Said::kClosed);
}

void Inputs::tell(const Desk& desk, Said::What what, std::string sentence) {
  actions_.emplace_back(
      Said{desk.id, desk.job, what, desk.session, desk.taken, false, std::move(sentence)});
}

void Inputs::finish(Desk& desk, Said::What what, std::string sentence) {
  tell(desk, what, std::move(sentence));
  over_.push_back(desk.id);
}

// ---- time

void Inputs::on(Time now, const Tick& /*event*/) {
  for (auto& [id, desk] : desks_) {
    if (!desk.waits() || now - desk.said_at < desk.patience) continue;
    desk.patience = std::min(2 * desk.patience, kInputAskMax);
    if (desk.stage == Stage::kClaiming) {
      say(now, desk, InputKind::kClaim, 0, {});
    } else if (desk.end_sent && desk.sent == desk.filled()) {
      say(now, desk, InputKind::kEnd, *desk.end, {});  // asks as well
    } else if (desk.window) {
      say(now, desk, InputKind::kWindow, 0, {});
      desk.window_query = desk.query;
    } else {
      say(now, desk, InputKind::kAsk, 0, {});
    }
  }
}

Time Inputs::next_deadline() const {
  Time next = base::kNever;
  for (const auto& [id, desk] : desks_) {
    if (desk.waits()) next = std::min(next, desk.said_at + desk.patience);
  }
  return next;
}

}  // namespace node::inputs
