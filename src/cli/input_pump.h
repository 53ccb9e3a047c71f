// Our standard input, passed on to a job (tern run, tern attach --stdin), on a connection of its
// own (control/input.h).
//
//   away ──connect──> claiming ──first news──> feeding ──closed, replaced, refused──> over
//     ^────────────── broke off ───────────────┘
//
// What the job has not taken is kept, at most control::kInputAheadMax, and said again after a
// break: nothing is missing, nothing comes twice. More is not read, so who writes to us waits for
// the job. When the job reads no more our standard input is closed, so that who writes to it gets
// SIGPIPE. From a terminal nothing is read in the background; SIGTTIN never stops us.
//
// Of a job with a terminal ours becomes its: raw, with its size. Ctrl-] then q detaches, then z
// suspends us, then Ctrl-] sends one.
#pragma once

#include <poll.h>

#include <chrono>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "cli/context.h"
#include "cli/own_terminal.h"
#include "cli/waiting.h"

namespace cli {

class InputPump {
 public:
  enum class Wish { kNone, kDetach, kSuspend };
  static constexpr std::size_t kPolled = 2;

  // `fd`: what is passed on. Sentences name the job as `job`. `raw`: it has a terminal, as is
  // known.
  InputPump(Context& context, std::string job, bool raw = false, int fd = 0);
  ~InputPump();
  InputPump(const InputPump&) = delete;
  InputPump& operator=(const InputPump&) = delete;

  // Tries once; called when the daemon is there (again). Failing is no error.
  void connect();
  void disconnect();
  void meant(const std::string& id) { job_ = id; }  // the daemon is asked by it from now on
  // Fills two; returns after how many milliseconds to call turn() anyway, -1: never.
  [[nodiscard]] int set_up(pollfd out[kPolled]);
  [[nodiscard]] Wish turn(const pollfd polled[kPolled]);
  // For how many milliseconds the job's output had better wait: until it is known whether it comes
  // from a terminal, whose bytes ours must not change. 0: it is known, or took too long.
  [[nodiscard]] int output_waits() const;
  void window_changed();
  void continued();  // after a stop
  void suspend();
  // Before anything is said to the person: her terminal as it was.
  void give_terminal_back() { terminal_.give_back(); }

 private:
  [[nodiscard]] bool reads() const;
  void hear();
  void take_news(const control::InputNews& news);
  void take_final(const control::Final& final);
  [[nodiscard]] bool is_learning(const control::Final& final);
  [[nodiscard]] Wish read_input();
  [[nodiscard]] Wish filter_keys(base::Bytes& keys);
  void send_more();
  void send(const control::InputLine& line);
  void close_input();

  Context& context_;
  std::string job_;
  std::optional<std::chrono::steady_clock::time_point> refused_since_;
  int fd_;
  bool is_terminal_;
  OwnTerminal terminal_;
  std::optional<Connection> connection_;
  std::chrono::steady_clock::time_point retry_at_{};
  std::chrono::steady_clock::time_point known_by_;
  std::uint64_t session_ = 0;
  bool feeding_ = false;
  bool over_ = false;
  bool raw_ = false;    // the job has a terminal, and this is one
  bool ended_ = false;  // we have read the end
  bool end_sent_ = false;
  bool escape_ = false;  // Ctrl-] was typed
  std::uint64_t taken_ = 0;
  base::Bytes kept_;  // from taken_ on
  std::uint64_t sent_ = 0;
};

}  // namespace cli
