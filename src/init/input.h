// Main's standard input, as tern-init holds it (the rules are in init/contract.h).
//
// Nothing here blocks: init polls, with its signals, what set_up() names, and calls turn(). At most
// one piece of input and one of a terminal's output are held, in init's own memory, which moves
// with the job.
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>

#include "init/contract.h"

namespace init {

// Descriptors, contract.h's numbers in init itself; a test has others. `input`: the write end of
// main's stdin, or the terminal's end that is ours.
struct InputEnds {
  int input = kInitInput;
  int feed = kInitFeedRead;
  int news_read = kInitNewsRead;
  int news_write = kInitNewsWrite;
  int output = -1;  // of a terminal: where goes what it shows
};

class Input {
 public:
  static constexpr unsigned kPolled = 3;
  void open(const InputEnds& ends, bool terminal);
  [[nodiscard]] bool there() const { return there_; }
  void set_up(struct pollfd out[kPolled]) const;
  void turn(const struct pollfd polled[kPolled]);
  // Everybody who had the terminal is gone. False once all that it showed has been passed on.
  [[nodiscard]] bool shows_more() const { return terminal_ && (input_open_ || shown_size_ > 0); }

  [[nodiscard]] std::uint64_t taken() const { return taken_; }
  [[nodiscard]] std::uint64_t session() const { return session_; }

 private:
  void read_frame();
  void take_frame(const InputFrame& frame);
  void take_bytes(const InputFrame& frame);
  void resynchronize() const;
  void write_pending();
  void show();
  void close_input(std::uint32_t why);
  void tell() const;

  InputEnds ends_;
  bool there_ = false;
  bool terminal_ = false;
  bool input_open_ = false;
  std::uint64_t session_ = 0;
  std::uint64_t taken_ = 0;
  std::uint32_t flags_ = 0;
  unsigned char piece_[kInputPieceMax] = {};  // of which [begin, end) is to be written
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  unsigned char shown_[kInputPieceMax] = {};
  std::size_t shown_size_ = 0;
};

}  // namespace init
