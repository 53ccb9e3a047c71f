#include "cli/input_pump.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kReadMax = 32 * 1024;
constexpr std::chrono::milliseconds kRetry{300};
constexpr std::chrono::milliseconds kKnownWait{1000};
constexpr int kForegroundLookMs = 500;  // nothing tells that we came to the foreground
constexpr std::uint8_t kEscape = 0x1d;  // Ctrl-]
constexpr std::uint8_t kCtrlZ = 0x1a;

}  // namespace

InputPump::InputPump(Context& context, std::string job, bool raw, int fd)
    : context_(context),
      job_(std::move(job)),
      fd_(fd),
      is_terminal_(::isatty(fd) == 1),
      terminal_(fd),
      known_by_(Clock::now() + kKnownWait) {
  if (is_terminal_) (void)::signal(SIGTTIN, SIG_IGN);
  raw_ = raw && is_terminal_;
}

InputPump::~InputPump() = default;

void InputPump::connect() {
  if (over_ || connection_) return;
  retry_at_ = Clock::now() + kRetry;
  auto connection = cli::connect(context_);
  if (!connection) return;
  if (!connection->send(control::InputRequest{job_, session_})) return;
  connection_ = std::move(*connection);
}

// While nobody takes keys, Ctrl-C and the others are the terminal's own again.
void InputPump::disconnect() {
  connection_.reset();
  feeding_ = false;
  terminal_.give_back();
  retry_at_ = Clock::now() + kRetry;
}

bool InputPump::reads() const {
  return feeding_ && !ended_ && kept_.size() + kReadMax <= control::kInputAheadMax;
}

int InputPump::set_up(pollfd out[kPolled]) {
  out[0] = {connection_ ? connection_->fd() : -1, POLLIN, 0};
  out[1] = {-1, POLLIN, 0};
  if (over_) return -1;
  if (!connection_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(retry_at_ - Clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1000));
  }
  if (!reads()) return -1;
  if (is_terminal_ && !in_foreground(fd_)) return kForegroundLookMs;
  if (raw_ && !terminal_.taken()) terminal_.take();
  out[1].fd = fd_;
  return -1;
}

int InputPump::output_waits() const {
  if (!is_terminal_ || over_ || session_ != 0) return 0;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(known_by_ - Clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

InputPump::Wish InputPump::turn(const pollfd polled[kPolled]) {
  if (!over_ && !connection_ && Clock::now() >= retry_at_) connect();
  if (connection_ && polled[0].revents != 0) hear();
  if (over_ || polled[1].revents == 0 || !reads()) return Wish::kNone;
  return read_input();
}

// ---- what the daemon says

void InputPump::hear() {
  const auto filled = connection_->fill();
  while (connection_) {
    auto held = connection_->next();
    if (!held) break;
    const base::Result<control::Response>& response = *held;
    if (!response) return disconnect();
    if (const auto* final = std::get_if<control::Final>(&*response)) return take_final(*final);
    if (const auto* event = std::get_if<control::Event>(&*response)) {
      auto news = control::parse_input_news(event->json);
      if (!news) return disconnect();
      take_news(*news);
    }
  }
  if (!filled) disconnect();
}

void InputPump::take_news(const control::InputNews& news) {
  const bool first = !feeding_;
  if (first && session_ == 0) {
    taken_ = news.taken;
    sent_ = news.taken;
  }
  session_ = news.session;
  feeding_ = true;
  refused_since_.reset();
  const std::uint64_t gone = news.taken > taken_ ? news.taken - taken_ : 0;
  kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(
                                                 std::min<std::uint64_t>(gone, kept_.size())));
  taken_ = std::max(taken_, news.taken);
  sent_ = first ? taken_ : std::max(sent_, taken_);
  if (first) end_sent_ = false;
  if (first && news.terminal && is_terminal_) {
    raw_ = true;
    terminal_.take();
    window_changed();
  }
  send_more();
}

// A daemon that is back does not know yet whose input it took before (cli/session.h).
bool InputPump::is_learning(const control::Final& final) {
  if (!final.unknown_job || feeding_ || session_ == 0) return false;
  if (!refused_since_) refused_since_ = Clock::now();
  return Clock::now() - *refused_since_ < context_.hooks.daemon_learns;
}

void InputPump::take_final(const control::Final& final) {
  if (is_learning(final)) return disconnect();
  over_ = true;
  connection_.reset();
  feeding_ = false;
  terminal_.give_back();
  if (!final.ok) {
    context_.err.notice("standard input is not passed on: " + final.error +
                        (final.next.empty() ? "" : "; " + final.next));
  }
  close_input();
}

// Who writes to us learns that nobody reads. The number stays in use, or the next file would get
// it. A terminal is not ours to close.
void InputPump::close_input() {
  kept_.clear();
  if (is_terminal_) return;
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing < 0) return;
  (void)::dup2(nothing, fd_);
  ::close(nothing);
}

// ---- what we say

InputPump::Wish InputPump::read_input() {
  std::array<std::uint8_t, kReadMax> piece;
  const ssize_t got = ::read(fd_, piece.data(), piece.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return Wish::kNone;
  // In the background since we looked; SIGTTIN would have told.
  if (got < 0 && errno == EIO && is_terminal_ && !in_foreground(fd_)) return Wish::kNone;
  if (got <= 0) {
    ended_ = true;
    send_more();
    return Wish::kNone;
  }
  base::Bytes bytes(piece.begin(), piece.begin() + got);
  const Wish wish = raw_ ? filter_keys(bytes) : Wish::kNone;
  kept_.insert(kept_.end(), bytes.begin(), bytes.end());
  send_more();
  return wish;
}

InputPump::Wish InputPump::filter_keys(base::Bytes& keys) {
  base::Bytes rest;
  Wish wish = Wish::kNone;
  for (const std::uint8_t key : keys) {
    if (!escape_ && key == kEscape) {
      escape_ = true;
      continue;
    }
    if (escape_ && (key == 'q' || key == 'd')) wish = Wish::kDetach;
    if (escape_ && (key == 'z' || key == kCtrlZ)) wish = Wish::kSuspend;
    const bool ours = escape_ && (key == 'q' || key == 'd' || key == 'z' || key == kCtrlZ);
    // Anything else was meant for the job, and so was what precedes it.
    if (escape_ && !ours && key != kEscape) rest.push_back(kEscape);
    escape_ = false;
    if (!ours) rest.push_back(key);
  }
  keys = std::move(rest);
  return wish;
}

void InputPump::send_more() {
  while (connection_ && feeding_ && sent_ < taken_ + kept_.size()) {
    const auto from = static_cast<std::ptrdiff_t>(sent_ - taken_);
    const auto size = std::min<std::size_t>(kept_.size() - (sent_ - taken_), kReadMax);
    control::InputBytes bytes;
    bytes.offset = sent_;
    bytes.data.assign(kept_.begin() + from,
                      kept_.begin() + from + static_cast<std::ptrdiff_t>(size));
    sent_ += size;
    send(bytes);
  }
  // A terminal's end is a key, which the job's terminal sees itself.
  if (!connection_ || !feeding_ || !ended_ || end_sent_ || raw_) return;
  end_sent_ = true;
  send(control::InputEnd{taken_ + kept_.size()});
}

// Who hung up may have said why: hear() reads that, and then the end.
void InputPump::send(const control::InputLine& line) {
  if (connection_ && !connection_->send_line(control::encode(line))) feeding_ = false;
}

void InputPump::window_changed() {
  if (!raw_ || !feeding_) return;
  if (const auto window = window_of(fd_)) send(*window);
}

void InputPump::continued() {
  if (!raw_ || !feeding_) return;
  terminal_.take();
  window_changed();
}

void InputPump::suspend() {
  terminal_.suspend();
  continued();
}

}  // namespace cli
