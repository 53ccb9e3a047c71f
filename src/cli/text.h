// Text made safe and fit for a terminal. Pure.
//
// Names, sentences and commands come from peers: a control character in one could move the cursor,
// set the title or hide a line. Nothing reaches a person without escape_line(); job output is the
// exception, as it is what the person asked to see.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// Control characters, what is no UTF-8, and the marks that reorder text (Unicode TR36 §3.3: bidi
// controls) as \n, \x1b, \u{202e}.
[[nodiscard]] std::string escape_line(std::string_view text);
// The same, but line breaks stay.
[[nodiscard]] std::string escape_block(std::string_view text);
// JSON on a terminal: what escape_line() escapes becomes \uXXXX inside the strings, where alone it
// can stand. The same values.
[[nodiscard]] std::string escape_json(std::string_view json);

// Columns that escaped UTF-8 text takes: wide East Asian characters two, combining marks none.
[[nodiscard]] std::size_t display_width(std::string_view text);
// At most `width` columns; what is cut off shows as "…".
[[nodiscard]] std::string clip(std::string_view text, std::size_t width);

[[nodiscard]] std::string bytes_text(std::uint64_t bytes);    // "1.5 GB", decimal
[[nodiscard]] std::string seconds_text(std::int64_t micros);  // "0.41 s", "12 ms"
[[nodiscard]] std::string age_text(std::int64_t seconds);     // "5s", "12m", "3h", "2d"
[[nodiscard]] std::string decimal_text(std::int64_t value, std::int64_t scale, int digits);

// The candidate that `word` was probably meant to be; empty when none is near (Levenshtein
// distance of at most 2, and less than half of the word).
[[nodiscard]] std::string nearest(std::string_view word,
                                  const std::vector<std::string>& candidates);

}  // namespace cli
