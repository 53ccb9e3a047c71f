#include "probe/text_scan.h"

#include <charconv>

namespace probe {

void TextScan::fail() {
  failed_ = true;
  rest_ = {};
}

void TextScan::blanks() {
  while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
}

bool TextScan::take(char c) {
  if (rest_.empty() || rest_.front() != c) return false;
  rest_.remove_prefix(1);
  return true;
}

void TextScan::expect(char c) {
  if (!take(c)) fail();
}

std::string_view TextScan::word() {
  blanks();
  const std::string_view found = rest_.substr(0, rest_.find_first_of(" \t\n"));
  if (found.empty()) {
    fail();
    return {};
  }
  rest_.remove_prefix(found.size());
  return found;
}

std::string_view TextScan::line() {
  const std::size_t size = rest_.find('\n');
  const std::string_view found = rest_.substr(0, size);
  rest_.remove_prefix(size == std::string_view::npos ? rest_.size() : size + 1);
  return found;
}

std::uint64_t TextScan::number(std::uint64_t max) {
  blanks();
  std::uint64_t value = 0;
  const char* const first = rest_.data();
  const auto [end, error] = std::from_chars(first, first + rest_.size(), value);
  if (error != std::errc{} || value > max) {
    fail();
    return 0;
  }
  rest_.remove_prefix(static_cast<std::size_t>(end - first));
  return value;
}

std::int64_t TextScan::signed_number() {
  blanks();
  std::int64_t value = 0;
  const char* const first = rest_.data();
  const auto [end, error] = std::from_chars(first, first + rest_.size(), value);
  if (error != std::errc{}) {
    fail();
    return 0;
  }
  rest_.remove_prefix(static_cast<std::size_t>(end - first));
  return value;
}

std::int64_t TextScan::millionths(std::int64_t whole_max) {
  const auto whole = static_cast<std::int64_t>(number(static_cast<std::uint64_t>(whole_max)));
  expect('.');
  std::int64_t fraction = 0;
  std::int64_t unit = 100'000;
  while (unit > 0 && !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
    fraction += (rest_.front() - '0') * unit;
    unit /= 10;
    rest_.remove_prefix(1);
  }
  if (unit == 100'000) fail();  // a point and no digit
  return failed_ ? 0 : whole * 1'000'000 + fraction;
}

void TextScan::end() {
  if (rest_.find_first_not_of(" \t\n") != std::string_view::npos) fail();
}

base::Status within(std::string_view text, std::size_t size_max) {
  if (text.size() > size_max) return base::fail(base::Code::kTooLarge, "the file is too long");
  return {};
}

}  // namespace probe
