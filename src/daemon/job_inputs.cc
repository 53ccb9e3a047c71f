#include "daemon/job_inputs.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ternd {
namespace {

constexpr std::size_t kFramesMax = 1024;  // that wait; what is more is not taken, and comes again

base::Bytes window_bytes(const node::TerminalSize& size) {
  struct winsize window = {};
  window.ws_row = size.rows;
  window.ws_col = size.columns;
  window.ws_xpixel = size.width;
  window.ws_ypixel = size.height;
  base::Bytes bytes(sizeof window);
  std::memcpy(bytes.data(), &window, sizeof window);
  return bytes;
}

}  // namespace

JobInputs::JobInputs(loop::Loop& loop, Find find, Tell tell)
    : loop_(loop), find_(std::move(find)), tell_(std::move(tell)) {}

void JobInputs::feed(const node::FeedJob& order) {
  const node::Input& input = order.input;
  const CopyView* copy = find_(input.job);
  if (copy == nullptr || copy->ended || copy->frozen || copy->init.pid == 0) return;
  Open* one = open(*copy, order);
  if (one == nullptr) return;
  if (one->from != order.from) one->before = std::exchange(one->from, order.from);
  one->query = input.query;
  switch (input.kind) {
    case node::InputKind::kAsk:
      if (!one->state) push(*one, init::InputKind::kAsk, input, {});
      break;
    case node::InputKind::kClaim:
      push(*one, init::InputKind::kClaim, input, {});
      break;
    case node::InputKind::kEnd:
      push(*one, init::InputKind::kEnd, input, {});
      break;
    case node::InputKind::kWindow:
      push(*one, init::InputKind::kWindow, input, window_bytes(input.window));
      break;
    case node::InputKind::kBytes:
      // Without an answer, which would bring the same again at once: who feeds will ask.
      if (!take_bytes(*one, input)) return flush(input.job, *one);
  }
  flush(input.job, *one);
  // Of what init will answer the newest state tells nothing yet; of bytes it tells how far they
  // are held.
  const bool asked = input.kind == node::InputKind::kAsk || input.kind == node::InputKind::kBytes;
  if (asked && open_.count(input.job) != 0 && one->state) tell(input.job, *one);
}

JobInputs::Open* JobInputs::open(const CopyView& copy, const node::FeedJob& order) {
  const auto known = open_.find(copy.job);
  if (known != open_.end() && known->second->init == copy.init) return known->second.get();
  if (known != open_.end()) open_.erase(known);
  auto client = machine::InputClient::open(copy.init);
  if (!client) {
    if (client.error().code == base::Code::kUnsupported) {
      node::InputReply none;
      none.query = order.input.query;
      none.job = copy.job;
      none.word = node::InputWord::kNone;
      tell_({order.from, none});
    }
    return nullptr;
  }
  auto one = std::make_unique<Open>(copy.init, std::move(*client));
  one->news = std::make_unique<loop::Poll>(loop_, one->client.news_fd(),
                                           [this, job = copy.job](int) { on_news(job); });
  one->news->set(loop::Poll::kReadable);
  one->room =
      std::make_unique<loop::Poll>(loop_, one->client.feed_fd(), [this, job = copy.job](int) {
        const auto it = open_.find(job);
        if (it != open_.end()) flush(job, *it->second);
      });
  return open_.emplace(copy.job, std::move(one)).first->second.get();
}

// Said again while it waits, it waits once.
void JobInputs::push(Open& one, init::InputKind kind, const node::Input& input,
                     base::ByteView bytes) {
  if (!one.waiting.empty()) {
    Frame& last = one.waiting.back();
    if (last.kind == kind && last.session == input.session && last.offset == input.offset) {
      one.waiting_bytes = one.waiting_bytes - last.bytes.size() + bytes.size();
      last.bytes = base::to_bytes(bytes);
      return;
    }
  }
  if (one.waiting.size() >= kFramesMax) return;
  one.waiting.push_back({kind, input.session, input.offset, base::to_bytes(bytes)});
  one.waiting_bytes += bytes.size();
}

// What continues the input that is held already; anything else is what its sender will send again.
// False: it would have been taken, had there been room.
bool JobInputs::take_bytes(Open& one, const node::Input& input) {
  if (!one.state) {
    push(one, init::InputKind::kAsk, input, {});
    return true;
  }
  const std::uint64_t end = input.offset + input.bytes.size();
  if (input.session != one.state->session || input.offset > one.held || end <= one.held) {
    return true;
  }
  base::ByteView rest(input.bytes);
  rest = rest.subspan(static_cast<std::size_t>(one.held - input.offset));
  if (one.waiting_bytes + rest.size() > node::kInputWindow ||
      one.waiting.size() + rest.size() / init::kInputPieceMax >= kFramesMax) {
    return false;
  }
  one.waiting_bytes += rest.size();
  while (!rest.empty()) {
    Frame* last = one.waiting.empty() ? nullptr : &one.waiting.back();
    const bool joins = last != nullptr && last->kind == init::InputKind::kBytes &&
                       last->session == input.session &&
                       last->offset + last->bytes.size() == one.held &&
                       last->bytes.size() < init::kInputPieceMax;
    if (!joins) {
      last = &one.waiting.emplace_back(Frame{init::InputKind::kBytes, input.session, one.held, {}});
    }
    const std::size_t size = std::min(rest.size(), init::kInputPieceMax - last->bytes.size());
    const base::ByteView piece = rest.first(size);
    last->bytes.insert(last->bytes.end(), piece.begin(), piece.end());
    one.held += size;
    rest = rest.subspan(size);
  }
  return true;
}

void JobInputs::flush(const base::JobId& job, Open& one) {
  while (!one.waiting.empty()) {
    const Frame& frame = one.waiting.front();
    auto put = one.client.put(frame.kind, frame.session, frame.offset, frame.bytes);
    if (!put) return close(job);
    if (!*put) return one.room->set(loop::Poll::kWritable);
    one.waiting_bytes -= frame.bytes.size();
    one.waiting.pop_front();
  }
  one.room->set(0);
}

void JobInputs::on_news(const base::JobId& job) {
  const auto it = open_.find(job);
  if (it == open_.end()) return;
  Open& one = *it->second;
  const auto news = one.client.news();
  // Readable without a word is the end: init is gone.
  if (!news) return close(job);
  const bool replaced = !one.state || one.state->session != news->session;
  if (replaced) one.held = news->taken;
  one.state = *news;
  one.held = std::max(one.held, news->taken);
  const base::NodeId before = replaced ? one.before : base::NodeId{};
  node::InputReply last = reply_of(job, one);
  last.query = 0;  // not an answer
  tell(job, one);  // which may feed us at once, and find that init is gone: and so is `one`
  if (!before.is_zero()) tell_({before, last});
}

void JobInputs::tell(const base::JobId& job, const Open& one) {
  tell_({one.from, reply_of(job, one)});
}

node::InputReply JobInputs::reply_of(const base::JobId& job, const Open& one) {
  node::InputReply reply;
  reply.query = one.query;
  reply.job = job;
  reply.session = one.state->session;
  reply.taken = one.state->taken;
  reply.held = one.held;
  reply.ended = (one.state->flags & init::kInputEnded) != 0;
  reply.closed = (one.state->flags & init::kInputClosed) != 0;
  reply.terminal = (one.state->flags & init::kInputTerminal) != 0;
  return reply;
}

}  // namespace ternd
