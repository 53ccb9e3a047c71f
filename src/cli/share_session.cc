#include "cli/share_session.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <utility>

#include "base/overloaded.h"
#include "cli/text.h"
#include "control/json.h"

namespace cli {
namespace {

using control::Exit;
using transfer::ShareSender;

constexpr std::chrono::milliseconds kShowEvery{200};
constexpr std::chrono::seconds kPlainEvery{10};
constexpr std::chrono::milliseconds kRetryDelayMax{2000};
constexpr std::size_t kResultsShown = 10;
constexpr const char* kSameAgain = "The same command again goes on where it was";

std::string rate_text(std::uint64_t bytes, std::chrono::steady_clock::duration time) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  return bytes_text(bytes * 1000 / static_cast<std::uint64_t>(std::max<std::int64_t>(millis, 1))) +
         "/s";
}

}  // namespace

ShareSession::ShareSession(Context& context, const machine::ShareSource& source,
                           control::ShareRequest request)
    : context_(context),
      source_(source),
      request_(std::move(request)),
      began_(Clock::now()),
      went_on_(began_) {}

int ShareSession::run() {
  for (;;) {
    switch (attempt()) {
      case Outcome::kOver:
        return request_.dry_run ? 0 : show_results();
      case Outcome::kStopped:
        return say_stopped();
      case Outcome::kFailed:
        context_.err.notice(trouble_);
        if (!next_.empty()) context_.err.notice(next_);
        return exit_;
      case Outcome::kBroken:
        // Until somebody took it, or was being asked, there is nothing to go on with.
        if ((!target_ && !asked_) || Clock::now() - went_on_ > kSharePatience) {
          context_.err.notice(said_.empty() ? trouble_ : "gave up: " + trouble_);
          if (target_) context_.err.notice(kSameAgain);
          if (!target_ && !next_.empty()) context_.err.notice(next_);
          return exit_;
        }
        say_broken();
        if (!try_again()) return say_stopped();
    }
  }
}

int ShareSession::say_stopped() {
  context_.err.notice(target_ ? std::string("stopped. ") + kSameAgain : "stopped");
  return 128 + signal_;
}

// Once for each trouble, as it is tried again all the time.
void ShareSession::say_broken() {
  if (trouble_ == said_) return;
  said_ = trouble_;
  context_.err.notice(trouble_ +
                      (target_ ? "; what has arrived is kept there, trying to go on for "
                               : "; trying to go on for ") +
                      std::to_string(kSharePatience.count()) + " s");
}

bool ShareSession::take_signal() {
  const auto signal = signals_.take();
  if (signal) signal_ = *signal;
  return signal.has_value();
}

// False: a signal came.
bool ShareSession::try_again() {
  pollfd signal{signals_.fd(), POLLIN, 0};
  const int ready = ::poll(&signal, 1, static_cast<int>(delay_.count()));
  delay_ = std::min(delay_ * 2, kRetryDelayMax);
  return ready <= 0 || !take_signal();
}

ShareSession::Outcome ShareSession::attempt() {
  sender_.reset();
  file_.reset();
  next_.clear();
  auto connection = connect(context_);
  const base::Status sent = connection ? connection->send(request_) : connection.error();
  if (!sent) {
    const bool none = sent.error().code == base::Code::kUnreachable;
    trouble_ = sent.error().detail;
    exit_ = static_cast<int>(none ? Exit::kNoDaemon : Exit::kError);
    return none ? Outcome::kBroken : Outcome::kFailed;
  }
  return offer(*connection);
}

ShareSession::Outcome ShareSession::offer(Connection& connection) {
  for (;;) {
    if (auto outcome = take_lines(connection)) return *outcome;
    if (sender_) return send(connection);
    if (auto outcome = wait(connection, POLLIN)) return *outcome;
  }
}

// ---- what the daemon says

std::optional<ShareSession::Outcome> ShareSession::take_lines(Connection& connection) {
  while (auto response = connection.next()) {
    if (!*response) {
      trouble_ = response->error().detail;
      exit_ = static_cast<int>(Exit::kError);
      return Outcome::kFailed;
    }
    if (const auto* final = std::get_if<control::Final>(&**response)) return take_final(*final);
    if (const auto* progress = std::get_if<control::Progress>(&**response)) {
      // Asking anew is part of trying to go on, which was said.
      if (said_.empty() || progress->sentence != told_) context_.err.progress(progress->sentence);
      told_ = progress->sentence;
      continue;
    }
    auto event = control::parse_share_event(std::get<control::Event>(**response).json);
    if (event && event->accepted) {
      sends_since_ = Clock::now();
      if (!target_) began_ = sends_since_;
      target_ = *event->accepted;
      request_.to = target_->to;
      bytes_before_ = 0;
      sender_.emplace(source_.manifest);
    } else if (event && sender_) {
      if (!sender_->feed(event->record)) continue;  // failed() says so
    }
  }
  return std::nullopt;
}

std::optional<ShareSession::Outcome> ShareSession::take_final(const control::Final& final) {
  if (final.ok) {
    if (request_.dry_run) {
      auto target = control::parse_share_target(final.data);
      if (target) target_ = *target;
      return Outcome::kOver;
    }
  }
  // The results are all that matters: the receiver has them durably.
  if (sender_ && sender_->has_results()) return Outcome::kOver;
  if (sender_ && !sender_->failed().empty()) return gave_up();
  trouble_ = final.ok ? "the share ended before it was done" : final.error;
  next_ = final.next;
  exit_ = static_cast<int>(final.ok ? Exit::kUnreachable : final.exit);
  // A daemon that has just begun knows neither the others' names yet nor who is idle.
  const auto unknown = static_cast<int>(request_.to ? Exit::kError : Exit::kNothingFits);
  const bool young =
      asked_ && !target_ && exit_ == unknown && Clock::now() - went_on_ < kNamesPatience;
  const bool broken = young || exit_ == static_cast<int>(Exit::kUnreachable);
  return broken ? Outcome::kBroken : Outcome::kFailed;
}

std::optional<ShareSession::Outcome> ShareSession::wait(Connection& connection, short events) {
  std::array<pollfd, 2> fds = {pollfd{connection.fd(), events, 0},
                               pollfd{signals_.fd(), POLLIN, 0}};
  const bool sending = sender_ && sender_->sending();
  (void)::poll(fds.data(), fds.size(), sending ? static_cast<int>(kShowEvery.count()) : -1);
  if (fds[1].revents != 0 && take_signal()) return Outcome::kStopped;
  if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) return std::nullopt;
  if (const base::Status filled = connection.fill(); !filled) {
    if (auto outcome = take_lines(connection)) return outcome;
    if (sender_ && sender_->has_results()) return Outcome::kOver;
    if (sender_ && !sender_->failed().empty()) return gave_up();
    trouble_ = filled.error().detail;
    exit_ = static_cast<int>(Exit::kNoDaemon);
    if (!target_) {  // asking may have taken as long as a person does
      asked_ = true;
      went_on_ = Clock::now();
    }
    return Outcome::kBroken;
  }
  return take_lines(connection);
}

// ---- sending

ShareSession::Outcome ShareSession::send(Connection& connection) {
  const int size = 1 << 20;
  (void)::setsockopt(connection.fd(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  for (;;) {
    const ShareSender::Step step = sender_->next();
    std::optional<Outcome> outcome;
    std::visit(base::Overloaded{
                   [&](const ShareSender::Flush&) { outcome = flush(connection); },
                   [&](const ShareSender::Open& s) { open(s); },
                   [&](const ShareSender::Read& s) { read(s); },
                   [&](const ShareSender::Close&) { close(); },
                   [&](const ShareSender::Wait&) { outcome = wait(connection, POLLIN); },
                   [&](const ShareSender::Over&) {
                     outcome = sender_->failed().empty() ? Outcome::kOver : gave_up();
                   },
               },
               step);
    if (outcome) return *outcome;
  }
}

// The receiver's word, which counts more than how the connection ended then.
ShareSession::Outcome ShareSession::gave_up() {
  trouble_ = target_->to_name + ": " + sender_->failed();
  exit_ = static_cast<int>(Exit::kError);
  return Outcome::kFailed;
}

std::optional<ShareSession::Outcome> ShareSession::flush(Connection& connection) {
  show_progress(false);
  const base::ByteView out = sender_->output();
  const ssize_t sent = ::send(connection.fd(), out.data(), out.size(), MSG_NOSIGNAL);
  if (sent > 0) {
    sender_->consume(static_cast<std::size_t>(sent));
    if (sender_->bytes_done() > furthest_) {
      furthest_ = sender_->bytes_done();
      if (!std::exchange(said_, {}).empty()) {
        context_.err.notice("it goes on to " + target_->to_name);
      }
      went_on_ = Clock::now();
      delay_ = std::chrono::milliseconds(200);
    }
    // Its word counts while we send, too: a full disk, say.
    pollfd readable{connection.fd(), POLLIN, 0};
    pollfd signal{signals_.fd(), POLLIN, 0};
    const bool said = ::poll(&readable, 1, 0) > 0 || ::poll(&signal, 1, 0) > 0;
    return said ? wait(connection, POLLIN) : std::nullopt;
  }
  return wait(connection, POLLIN | POLLOUT);
}

void ShareSession::open(const ShareSender::Open& step) {
  auto file = machine::ShareFile::open(source_, step.entry);
  if (!file) return sender_->dropped(file.error().detail);
  file_.emplace(std::move(*file));
  if (!step.check) return sender_->opened();
  if (context_.err.redraws()) {
    context_.err.progress("comparing " + source_.manifest.path(step.entry));
  }
  auto digest = file_->digest(step.check->bytes);
  if (!digest) return sender_->dropped(digest.error().detail);
  sender_->opened(std::move(*digest));
  bytes_before_ = sender_->bytes_had();
  went_on_ = Clock::now();
}

void ShareSession::read(const ShareSender::Read& step) {
  auto piece = file_->read({step.offset, step.left}, sender_->room());
  if (!piece) return sender_->dropped(piece.error().detail);
  piece->hole ? sender_->hole(piece->count) : sender_->got(static_cast<std::size_t>(piece->count));
}

void ShareSession::close() {
  const base::Status same = file_->unchanged();
  file_.reset();
  same ? sender_->closed() : sender_->dropped(same.error().detail);
}

// ---- what a person sees

void ShareSession::show_progress(bool now) {
  const auto time = Clock::now();
  const auto every = context_.err.redraws() ? Clock::duration(kShowEvery) : kPlainEvery;
  if (shown_ == Clock::time_point()) shown_ = time;
  if (!sender_->sending() || (!now && time - shown_ < every)) return;
  shown_ = time;
  const std::uint64_t total = source_.manifest.bytes();
  const std::uint64_t done = sender_->bytes_done();
  const std::uint64_t sent = done - std::min(done, bytes_before_);
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(time - sends_since_).count();
  const std::uint64_t percent = total == 0 ? 100 : done * 100 / total;
  std::string text = std::to_string(percent) + "%, " + bytes_text(done) + " of " +
                     bytes_text(total) + ", " + rate_text(sent, time - sends_since_);
  if (sent > 0 && took > 500) {
    const std::uint64_t left = (total - done) / 1000 * static_cast<std::uint64_t>(took) / sent;
    text += ", " + age_text(static_cast<std::int64_t>(left)) + " left";
  }
  const std::uint32_t entry = std::min(sender_->current(), source_.manifest.size() - 1);
  context_.err.progress(text + ": " + source_.manifest.path(entry));
}

int ShareSession::show_results() {
  context_.err.end_progress();
  if (context_.json) context_.out.json(results_json());
  std::size_t arrived = 0;
  std::size_t failed = 0;
  std::string first;
  for (const auto& [top, result] : sender_->results()) {
    if (result.arrived) {
      if (++arrived == 1) first = result.text;
      continue;
    }
    if (++failed <= kResultsShown) context_.err.notice("did not arrive: " + result.text);
  }
  if (failed > kResultsShown) {
    context_.err.notice("did not arrive either: " + std::to_string(failed - kResultsShown) +
                        " more");
  }
  const auto took = Clock::now() - began_;
  if (arrived > 0) {
    const std::uint64_t bytes = sender_->bytes_done();
    const std::uint64_t sent = bytes - std::min(bytes, sender_->bytes_had());
    const std::string more = arrived > 1 ? " and " + std::to_string(arrived - 1) + " more" : "";
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
    context_.err.notice(first + more + " arrived at " + target_->to_name +
                        ", verified: " + bytes_text(bytes) + " in " + seconds_text(micros) + ", " +
                        rate_text(sent, took));
    context_.err.notice("See it there: tern inbox");
  }
  if (failed == 0) return 0;
  context_.err.notice("The same command again sends what is missing");
  return static_cast<int>(Exit::kError);
}

std::string ShareSession::results_json() const {
  std::vector<std::string> items;
  for (const auto& [top, result] : sender_->results()) {
    control::JsonWriter item;
    item.bytes("path", source_.roots.at(top)).boolean("arrived", result.arrived);
    result.arrived ? item.bytes("name", result.text) : item.bytes("reason", result.text);
    items.push_back(item.finish());
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began_);
  control::JsonWriter out;
  out.text("to", target_->to).text("to_name", target_->to_name);
  out.natural("files", source_.manifest.files()).natural("bytes", sender_->bytes_done());
  out.natural("resumed_bytes", sender_->bytes_had()).decimal("seconds", took.count(), 1000);
  out.raw_list("items", items).text_list("skipped", source_.skipped);
  out.natural("skipped_count", source_.skipped_count);
  return out.finish();
}

}  // namespace cli
