#include "init/input.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>

#include "init/sys.h"

namespace init {

void Input::open(const InputEnds& ends, bool terminal) {
  ends_ = ends;
  there_ = true;
  terminal_ = terminal;
  input_open_ = true;
  if (terminal) flags_ |= kInputTerminal;
}

void Input::set_up(struct pollfd out[kPolled]) const {
  const bool pending = end_ > begin_;
  // Without events it is still told that nobody reads any more.
  short events = 0;
  if (pending) events |= POLLOUT;
  if (terminal_ && shown_size_ == 0) events |= POLLIN;
  out[0] = {input_open_ ? ends_.input : -1, events, 0};
  out[1] = {pending ? -1 : ends_.feed, POLLIN, 0};
  out[2] = {shown_size_ > 0 ? ends_.output : -1, POLLOUT, 0};
}

void Input::turn(const struct pollfd polled[kPolled]) {
  if (polled[2].revents != 0) {
    const ssize_t wrote = retry([this] { return ::write(ends_.output, shown_, shown_size_); });
    // A job whose output nobody wants any more goes on, as under a terminal that is a screen.
    if (wrote > 0) {
      shown_size_ -= static_cast<std::size_t>(wrote);
      std::memmove(shown_, shown_ + wrote, shown_size_);
    } else if (errno != EAGAIN) {
      shown_size_ = 0;
    }
  }
  if (input_open_ && polled[0].revents != 0) {
    if (end_ > begin_) {
      write_pending();
    } else if (!terminal_ && (polled[0].revents & POLLERR) != 0) {
      close_input(kInputClosed);
    }
    if (terminal_ && (polled[0].revents & (POLLIN | POLLHUP)) != 0) show();
  }
  if (polled[1].revents != 0 && end_ == begin_) read_frame();
}

// A writer's frame is in the pipe as a whole or not at all (PIPE_BUF). What is not a frame was
// written by somebody else of this user: nothing of it counts.
void Input::read_frame() {
  InputFrame frame = {};
  const ssize_t head = retry([&] { return ::read(ends_.feed, &frame, sizeof frame); });
  if (head < 0 && errno == EAGAIN) return;
  if (head != static_cast<ssize_t>(sizeof frame) || frame.magic != kInputMagic ||
      frame.size > kInputPieceMax) {
    return resynchronize();
  }
  begin_ = 0;
  end_ = 0;
  if (frame.size > 0 && retry([&] { return ::read(ends_.feed, piece_, frame.size); }) !=
                            static_cast<ssize_t>(frame.size)) {
    return resynchronize();
  }
  take_frame(frame);
}

void Input::resynchronize() const {
  unsigned char nothing[512];
  for (int pieces = 0; pieces < 256; ++pieces) {  // 128 KiB: more than the pipe holds
    if (retry([&] { return ::read(ends_.feed, nothing, sizeof nothing); }) <= 0) break;
  }
  tell();
}

void Input::take_frame(const InputFrame& frame) {
  switch (frame.kind) {
    case InputKind::kClaim:
      if (frame.session > session_) session_ = frame.session;
      break;
    case InputKind::kBytes:
      if (frame.session == session_) return take_bytes(frame);
      break;
    case InputKind::kEnd:
      if (frame.session == session_ && frame.offset == taken_ && input_open_ && !terminal_) {
        return close_input(kInputEnded);
      }
      break;
    case InputKind::kWindow:
      if (frame.session == session_ && terminal_ && input_open_ &&
          frame.size == sizeof(struct winsize)) {
        struct winsize window = {};
        std::memcpy(&window, piece_, sizeof window);
        (void)ioctl(ends_.input, TIOCSWINSZ, &window);
      }
      break;
    case InputKind::kAsk:
      break;
  }
  tell();
}

void Input::take_bytes(const InputFrame& frame) {
  const bool continues = frame.offset <= taken_ && frame.size > taken_ - frame.offset;
  if (!continues || !input_open_) return tell();
  begin_ = static_cast<std::size_t>(taken_ - frame.offset);
  end_ = frame.size;
  write_pending();
}

// Written and counted: no SIGKILL falls between, since one would end the job with its init.
void Input::write_pending() {
  const ssize_t wrote =
      retry([this] { return ::write(ends_.input, piece_ + begin_, end_ - begin_); });
  if (wrote < 0 && errno == EAGAIN) return;
  if (wrote < 0) {
    begin_ = end_;
    return close_input(kInputClosed);
  }
  begin_ += static_cast<std::size_t>(wrote);
  taken_ += static_cast<std::uint64_t>(wrote);
  if (begin_ == end_) tell();
}

void Input::show() {
  if (shown_size_ > 0) return;
  const ssize_t got = retry([this] { return ::read(ends_.input, shown_, sizeof shown_); });
  if (got > 0) shown_size_ = static_cast<std::size_t>(got);
  // EIO: nobody has its other end any more.
  if (got == 0 || (got < 0 && errno != EAGAIN)) close_input(kInputClosed);
}

void Input::close_input(std::uint32_t why) {
  ::close(ends_.input);
  input_open_ = false;
  flags_ |= why;
  tell();
}

// Only the newest matters: where nobody has read for long, what is old makes room.
void Input::tell() const {
  const InputState state = {kInputMagic, session_, taken_, flags_, 0};
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (retry([&] { return ::write(ends_.news_write, &state, sizeof state); }) > 0) return;
    if (errno != EAGAIN) return;
    unsigned char old[sizeof state * 64];
    while (retry([&] { return ::read(ends_.news_read, old, sizeof old); }) > 0) {
    }
  }
}

}  // namespace init
