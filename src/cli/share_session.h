// `tern share` at work: offers, reads the files as whoever called it, sends, and goes on after a
// break: of the connection, of a daemon here or there.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "cli/context.h"
#include "cli/waiting.h"
#include "control/share_report.h"
#include "machine/share_source.h"
#include "transfer/share_sender.h"

namespace cli {

// How long it tries to go on after a break, since something last went on.
inline constexpr std::chrono::seconds kSharePatience{60};
// How long a daemon that took another's place may know nobody of the name.
inline constexpr std::chrono::seconds kNamesPatience{15};

class ShareSession {
 public:
  ShareSession(Context& context, const machine::ShareSource& source, control::ShareRequest request);
  // The exit code; everything was said.
  [[nodiscard]] int run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Outcome { kOver, kBroken, kFailed, kStopped };
  [[nodiscard]] Outcome attempt();
  [[nodiscard]] Outcome offer(Connection& connection);
  [[nodiscard]] Outcome send(Connection& connection);
  [[nodiscard]] Outcome gave_up();
  [[nodiscard]] std::optional<Outcome> take_lines(Connection& connection);
  [[nodiscard]] std::optional<Outcome> take_final(const control::Final& final);
  // Waits for the connection, and whether a signal came.
  [[nodiscard]] std::optional<Outcome> wait(Connection& connection, short events);
  [[nodiscard]] std::optional<Outcome> flush(Connection& connection);
  void open(const transfer::ShareSender::Open& step);
  void read(const transfer::ShareSender::Read& step);
  void close();
  [[nodiscard]] bool try_again();
  [[nodiscard]] bool take_signal();  // one came, which stops it
  [[nodiscard]] int say_stopped();   // the exit code
  void say_broken();
  void show_progress(bool now);
  [[nodiscard]] int show_results();
  [[nodiscard]] std::string results_json() const;

  Context& context_;
  const machine::ShareSource& source_;
  control::ShareRequest request_;
  SignalWatch signals_;
  std::optional<control::ShareTarget> target_;
  std::optional<transfer::ShareSender> sender_;  // of the attempt
  std::optional<machine::ShareFile> file_;
  std::string trouble_;  // why the last attempt ended
  std::string said_;     // of that, since something last went on
  std::string told_;     // the last progress of the daemon's
  std::string next_;
  int signal_ = 0;      // that stopped it
  bool asked_ = false;  // a daemon went away while peers were being asked
  int exit_ = 0;
  Clock::time_point began_;  // the first attempt that somebody took; a person's yes takes its time
  Clock::time_point sends_since_;  // this attempt
  Clock::time_point went_on_;
  Clock::time_point shown_;
  std::chrono::milliseconds delay_{200};
  std::uint64_t bytes_before_ = 0;  // that were there when this attempt began to send
  std::uint64_t furthest_ = 0;
};

}  // namespace cli
