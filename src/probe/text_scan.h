// A bounded walk over one small text file, for the parsers of this folder only. It is sticky: after
// the first mistake every read returns a zero value and failed() is true, so that a parser is a
// straight list of reads with one check at its end. Borrows the text.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace probe {

class TextScan {
 public:
  explicit TextScan(std::string_view text) : rest_(text) {}
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }

  void blanks();                          // skips spaces and tabs
  void expect(char c);                    // just this character
  [[nodiscard]] bool take(char c);        // skips it if it is next
  [[nodiscard]] std::string_view word();  // blanks, then up to the next blank or newline; not empty
  [[nodiscard]] std::string_view line();  // up to and without the newline, which is skipped
  // Decimal digits after blanks; more than `max` is a mistake.
  [[nodiscard]] std::uint64_t number(std::uint64_t max = UINT64_MAX);
  [[nodiscard]] std::int64_t signed_number();
  // "12.34": an integer part up to `whole_max` and up to six digits after the point, in millionths.
  [[nodiscard]] std::int64_t millionths(std::int64_t whole_max);
  void end();  // only blanks and newlines may be left

 private:
  void fail();
  std::string_view rest_;
  bool failed_ = false;
};

// kTooLarge if `text` is longer than `size_max`.
[[nodiscard]] base::Status within(std::string_view text, std::size_t size_max);

}  // namespace probe
