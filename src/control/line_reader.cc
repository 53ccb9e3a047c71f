#include "control/line_reader.h"

namespace control {

LineReader::LineReader(std::size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

base::Status LineReader::feed(base::ByteView bytes) {
  const auto too_large = [] {
    return base::fail(base::Code::kTooLarge, "a line of more bytes than the protocol allows");
  };
  if (failed_) return too_large();
  std::string_view rest = base::as_text(bytes);
  while (!rest.empty()) {
    const std::size_t newline = rest.find('\n');
    const std::size_t size = newline == std::string_view::npos ? rest.size() : newline + 1;
    if (buffer_.size() - line_start_ + size > line_bytes_max_) {
      failed_ = true;
      buffer_.resize(line_start_);
      return too_large();
    }
    buffer_ += rest.substr(0, size);
    if (newline != std::string_view::npos) line_start_ = buffer_.size();
    rest.remove_prefix(size);
  }
  return {};
}

std::optional<std::string> LineReader::next() {
  if (taken_ == line_start_) {
    // Only the unfinished line is left: make room once per batch, not once per line.
    buffer_.erase(0, taken_);
    taken_ = 0;
    line_start_ = 0;
    return std::nullopt;
  }
  const std::size_t end = buffer_.find('\n', taken_);
  std::string line = buffer_.substr(taken_, end - taken_);
  taken_ = end + 1;
  return line;
}

}  // namespace control
