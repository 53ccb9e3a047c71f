#include "cli/session.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "cli/text.h"

namespace cli {
namespace {

using base::Code;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kKillPatience{5};
// A daemon that took the question and says nothing for so long knows the job, which is silent.
constexpr std::chrono::seconds kSilentYes{1};
// Linux takes this much of a pipe that polls as writable without blocking (pipe(7), PIPE_BUF).
constexpr std::size_t kWriteBytesMax = 4096;

class Session {
 public:
  Session(Context& context, const SessionPlan& plan)
      : context_(context), plan_(plan), job_(plan.job), was_connected_(plan.known_to_run) {
    // Told by write(2) instead, so that the job can be told first.
    if (plan.ends_with_reader) (void)std::signal(SIGPIPE, SIG_IGN);
  }

  int run() {
    while (!exit_) {
      if (!connection_ && !connect()) continue;
      step();
    }
    return *exit_;
  }

 private:
  [[nodiscard]] int signal_fd() const { return plan_.signals ? plan_.signals->fd() : -1; }

  void fail_with(int code) { exit_ = plan_.failure != 0 ? plan_.failure : code; }

  // Tries once, waiting first unless this is the first try after progress.
  bool connect() {
    if (retry_ && retry_->wait(signal_fd())) {
      handle_signal();
      if (exit_) return false;
    }
    auto connection = cli::connect(context_);
    base::Status status;
    if (connection) {
      status = connection->send(plan_.request(job_, offsets_));
    } else {
      status = connection.error();
    }
    if (status.ok()) {
      connection_ = *std::move(connection);
      connected_at_ = Clock::now();
      if (plan_.input != nullptr) plan_.input->connect();
      if (!interrupt_owed_ || interrupt_job()) return true;
      hang_up();
      return false;
    }
    const bool away = status.error().code == Code::kUnreachable;
    if (!away || !was_connected_ || !plan_.reconnects) {
      fail_with(report(context_, status.error()));
      return false;
    }
    if (!retry_) retry_.emplace(context_.paths.socket);
    return false;
  }

  void step() {
    pollfd fds[2 + InputPump::kPolled] = {{connection_->fd(), POLLIN, 0}, {signal_fd(), POLLIN, 0}};
    const nfds_t count = plan_.input != nullptr ? 2 + InputPump::kPolled : 2;
    int timeout = plan_.input != nullptr ? plan_.input->set_up(fds + 2) : -1;
    if (const int wait = plan_.input != nullptr ? plan_.input->output_waits() : 0; wait > 0) {
      fds[0].fd = -1;
      timeout = timeout < 0 ? wait : std::min(timeout, wait);
    }
    if (::poll(fds, count, timeout) < 0) return;
    if (fds[1].revents != 0) handle_signal();
    if (!connection_) return;
    if (!exit_ && plan_.input != nullptr) obey(plan_.input->turn(fds + 2));
    if (exit_ || fds[0].revents == 0) return;
    const auto filled = connection_->fill();
    take_responses();
    if (exit_ || !connection_ || filled.ok()) return;
    if (filled.error().code != Code::kUnreachable || !plan_.reconnects) {
      return fail_with(report(context_, filled.error()));
    }
    if (Clock::now() - connected_at_ >= kSilentYes) known_there();
    hang_up();
    came_back_ = was_connected_;
    if (!notice_given_) {
      context_.err.notice("the daemon went away; waiting for it, " + plan_.job + " goes on");
      notice_given_ = true;
    }
  }

  void hang_up() {
    connection_.reset();
    if (plan_.input != nullptr) plan_.input->disconnect();
    // Wait before every try, so that a daemon that hangs up at once is not asked without pause.
    if (!retry_) retry_.emplace(context_.paths.socket);
  }

  // The daemon has the job: what is said of a break, and how long it may learn, begins anew.
  void known_there() {
    was_connected_ = true;
    retry_.reset();
    notice_given_ = false;
    refused_since_.reset();
  }

  void take_responses() {
    while (!exit_ && connection_) {
      auto held = connection_->next();
      if (!held) return;
      const base::Result<control::Response>& response = *held;
      if (!response) return fail_with(report(context_, response.error()));
      take(*response);
      was_connected_ = true;
    }
  }

  void take(const control::Response& response) {
    if (const auto* final = std::get_if<control::Final>(&response)) return take_final(*final);
    const auto* event = std::get_if<control::Event>(&response);
    if (event == nullptr)
      return context_.err.notice(std::get<control::Progress>(response).sentence);
    auto output = control::parse_output(event->json);
    if (!output) {
      const std::string why = output.error().detail;
      return fail_with(report(
          context_,
          base::fail(Code::kInvalid, "the tern daemon's answer makes no sense (" + why + ")")));
    }
    take_output(*output, event->json);
  }

  void take_output(const control::Output& output, const std::string& json) {
    if (!output.job.empty()) {
      job_ = output.job;
      if (plan_.input != nullptr) plan_.input->meant(job_);
    }
    std::uint64_t& expected = offsets_[static_cast<std::size_t>(output.stream - 1)];
    base::ByteView data(output.data);
    if (output.offset > expected) {
      context_.err.notice(std::to_string(output.offset - expected) +
                          " bytes of output are missing here: only the newest are kept where the "
                          "job is at home (its output-limit, see: tern config)");
    } else {
      const std::uint64_t known = std::min<std::uint64_t>(expected - output.offset, data.size());
      data = data.subspan(known);
    }
    if (data.empty()) return;
    expected = output.offset + output.data.size();
    known_there();
    came_back_ = false;
    if (context_.json) {
      context_.out.json(json);
    } else {
      write_bytes(output.stream, base::as_text(data));
    }
  }

  // What it told before it went away it does not know yet, unless the job is its own.
  bool is_learning(const control::Final& final) {
    if (!final.unknown_job || !came_back_ || plan_.known_to_run) return false;
    if (!refused_since_) refused_since_ = Clock::now();
    return Clock::now() - *refused_since_ < context_.hooks.daemon_learns;
  }

  void take_final(const control::Final& final) {
    if (is_learning(final)) return hang_up();
    if (!final.ok) return fail_with(report(context_, final));
    if (!plan_.exits_as_job) {
      exit_ = 0;
      return;
    }
    auto ended = control::parse_exit(final.data);
    if (!ended) return fail_with(report(context_, ended.error()));
    if (context_.json) context_.out.json(final.data);
    tell_beside(context_, plan_.job, {ended->beside, ended->kept, ended->beside_more}, SIZE_MAX);
    if (!ended->files_away.empty()) {
      context_.err.notice(plan_.job + ": " + escape_line(ended->files_away));
    }
    exit_ = ended->exit_code;
  }

  // Never blocks where a signal could not reach us.
  void write_bytes(int fd, std::string_view rest) {
    while (!rest.empty() && !exit_) {
      pollfd fds[2] = {{fd, POLLOUT, 0}, {signal_fd(), POLLIN, 0}};
      if (::poll(fds, 2, -1) < 0) continue;
      if (fds[1].revents != 0) handle_signal();
      if (exit_ || fds[0].revents == 0) continue;
      const ssize_t written = ::write(fd, rest.data(), std::min(rest.size(), kWriteBytesMax));
      if (written >= 0) {
        rest.remove_prefix(static_cast<std::size_t>(written));
      } else if (errno == EPIPE) {
        if (plan_.ends_with_reader) (void)tell_job(SIGPIPE).ok();
        die_of_broken_pipe();
      } else if (errno != EINTR && errno != EAGAIN) {
        context_.err.notice(std::string("cannot write the job's output: ") + strerror(errno) +
                            "; " + plan_.job + " goes on");
        fail_with(static_cast<int>(control::Exit::kError));
      }
    }
  }

  void handle_signal() {
    const auto signal = plan_.signals->take();
    if (!signal) return;
    InputPump* const input = plan_.input;
    if (*signal == SIGWINCH || *signal == SIGCONT || *signal == SIGTSTP) {
      if (input == nullptr) return;
      if (*signal == SIGTSTP) return input->suspend();
      return *signal == SIGWINCH ? input->window_changed() : input->continued();
    }
    if (*signal != SIGINT || !connection_) {
      detach(128 + *signal);
    } else if (!interrupted_) {
      interrupted_ = true;
      if (!interrupt_job()) hang_up();
    } else {
      context_.err.notice(plan_.job + " was interrupted but still runs; end it with: tern kill " +
                          plan_.job + " KILL");
    }
  }

  void obey(InputPump::Wish wish) {
    if (wish == InputPump::Wish::kDetach) detach(0);
    if (wish == InputPump::Wish::kSuspend) plan_.input->suspend();
  }

  void detach(int code) {
    if (plan_.input != nullptr) plan_.input->give_terminal_back();
    context_.err.notice("detached; " + plan_.job + " goes on. Back to it: tern attach " +
                        (plan_.input != nullptr ? "--stdin " : "") + plan_.job +
                        "; end it: tern kill " + plan_.job);
    exit_ = code;
  }

  base::Result<control::Final> tell_job(int signal) {
    Ask how;
    how.patience = kKillPatience;
    return ask(context_, control::KillRequest{job_, signal}, how);
  }

  // False: the daemon does not know the job yet, and is to be asked anew.
  bool interrupt_job() {
    auto final = tell_job(SIGINT);
    // Without an answer it is sent again once the daemon is back; the job takes two as one.
    interrupt_owed_ = !final || is_learning(*final);
    if (final && interrupt_owed_) return false;
    if (final && !final->ok) {
      (void)report(context_, *final);
      interrupted_ = false;
      context_.err.notice(plan_.job + " was not interrupted; end it with: tern kill " + plan_.job);
    }
    if (!final) {
      context_.err.notice("the daemon does not answer; " + plan_.job +
                          " is interrupted as soon as it does");
    }
    return true;
  }

  Context& context_;
  const SessionPlan& plan_;
  std::string job_;  // as the daemon is asked for it
  std::optional<Connection> connection_;
  Clock::time_point connected_at_;
  std::optional<SocketRetry> retry_;
  std::array<std::uint64_t, 2> offsets_{};
  std::optional<int> exit_;
  bool was_connected_;
  bool notice_given_ = false;
  bool came_back_ = false;  // the daemon, and nothing was heard from the job since
  std::optional<Clock::time_point> refused_since_;
  bool interrupted_ = false;
  bool interrupt_owed_ = false;
};

}  // namespace

void tell_beside(Context& context, const std::string& job, const BesideLists& lists,
                 std::size_t shown_max) {
  std::size_t shown = 0;
  for (const std::string& path : lists.beside) {
    if (shown == shown_max) break;
    ++shown;
    context.err.notice(job + ": a file was changed here while the job was away, and is kept; the " +
                       "job's version lies beside it: " + escape_line(path));
  }
  for (const std::string& path : lists.kept) {
    if (shown == shown_max) break;
    ++shown;
    context.err.notice(job +
                       ": what was a file and is a folder now, or the other way, came home; " +
                       "what was here is kept beside it: " + escape_line(path));
  }
  const std::uint64_t hidden = lists.beside.size() + lists.kept.size() + lists.more - shown;
  if (hidden == 0) return;
  context.err.notice(job + ": and " + std::to_string(hidden) + " more such files; see: " +
                     (lists.more == 0 ? "tern ps --json" : "tern events"));
}

int follow_output(Context& context, const SessionPlan& plan) {
  return Session(context, plan).run();
}

}  // namespace cli
