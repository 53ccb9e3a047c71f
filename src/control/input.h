// What follows an `input` request on its connection, until either end closes it: lines from the
// client that feed the job's standard input, and events that say how far it was taken.
//
//   client   {"offset":N,"data":"base64"}   continues the input at N; at most kInputAheadMax past
//                                            what was taken
//            {"offset":N,"end":true}         that was all of it
//            {"window":[rows,columns,width,height]}
//   daemon   {"event":{"session":S,"taken":N,"terminal":B}}   first, and whenever N has grown
//            {"ok":true,"data":{}}           the job reads no more
//
// Offsets count since the job began. A client keeps what was not taken: after the connection broke
// it asks again with its session and goes on at the N that it is told.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/result.h"

namespace control {

inline constexpr std::size_t kInputAheadMax = 256 << 10;
inline constexpr std::size_t kInputDataMax = 64 << 10;  // in one line, before base64

struct InputBytes {
  std::uint64_t offset = 0;
  base::Bytes data;  // 1..kInputDataMax
};
struct InputEnd {
  std::uint64_t offset = 0;
};
struct InputWindow {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  std::uint16_t width = 0;
  std::uint16_t height = 0;
};
using InputLine = std::variant<InputBytes, InputEnd, InputWindow>;

[[nodiscard]] std::string encode(const InputLine& line);  // its newline included
[[nodiscard]] base::Result<InputLine> parse_input(std::string_view line);

struct InputNews {
  std::uint64_t session = 0;
  std::uint64_t taken = 0;
  bool terminal = false;
};
[[nodiscard]] std::string input_news_line(const InputNews& news);
[[nodiscard]] base::Result<InputNews> parse_input_news(std::string_view event_json);

}  // namespace control
