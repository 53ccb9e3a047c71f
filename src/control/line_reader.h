// Lines out of a stream of bytes, whatever pieces it arrives in.
//
// A byte-stream core: feed() what was read, at most kReadBytesMax at a time, then take lines with
// next() until there is none. Holds at most the unfinished line and what was fed since the last
// next(). After a line that is too long it is failed and takes nothing more, since what follows
// cannot be told from the rest of that line.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "control/limits.h"

namespace control {

class LineReader {
 public:
  explicit LineReader(std::size_t line_bytes_max = kLineBytesMax);
  // kTooLarge once a line, its newline included, passes the limit; lines before it can be taken.
  [[nodiscard]] base::Status feed(base::ByteView bytes);
  [[nodiscard]] std::optional<std::string> next();  // without its newline
  // An unfinished line is held: at the end of the stream something was cut off.
  [[nodiscard]] bool mid_line() const { return failed_ || line_start_ < buffer_.size(); }

 private:
  std::size_t line_bytes_max_;
  std::string buffer_;
  std::size_t taken_ = 0;       // bytes of lines that next() returned
  std::size_t line_start_ = 0;  // where the unfinished line starts
  bool failed_ = false;
};

}  // namespace control
