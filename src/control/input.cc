#include "control/input.h"

#include "base/check.h"
#include "base/overloaded.h"
#include "control/base64.h"
#include "control/json.h"

namespace control {
namespace {

// Below 2^62, so that adding a size to an offset cannot wrap.
std::uint64_t read_offset(JsonReader& in, std::string_view name) {
  return static_cast<std::uint64_t>(in.integer(name, 0, INT64_MAX / 2));
}

}  // namespace

std::string encode(const InputLine& line) {
  JsonWriter out;
  std::visit(
      base::Overloaded{
          [&](const InputBytes& bytes) {
            CHECK(bytes.data.size() <= kInputDataMax);
            out.natural("offset", bytes.offset).text("data", to_base64(bytes.data));
          },
          [&](const InputEnd& end) { out.natural("offset", end.offset).boolean("end", true); },
          [&](const InputWindow& window) {
            out.raw("window",
                    "[" + std::to_string(window.rows) + "," + std::to_string(window.columns) + "," +
                        std::to_string(window.width) + "," + std::to_string(window.height) + "]");
          },
      },
      line);
  return out.finish() + "\n";
}

base::Result<InputLine> parse_input(std::string_view line) {
  JsonReader in(line);
  InputLine out;
  if (in.has("window")) {
    const auto sizes = in.integers("window", 4, 0, UINT16_MAX);
    if (sizes.size() != 4) in.reject("\"window\" is not a list of four sizes");
    if (!in.ok()) return in.status().error();
    return InputLine(
        InputWindow{static_cast<std::uint16_t>(sizes[0]), static_cast<std::uint16_t>(sizes[1]),
                    static_cast<std::uint16_t>(sizes[2]), static_cast<std::uint16_t>(sizes[3])});
  }
  const std::uint64_t offset = read_offset(in, "offset");
  if (in.boolean_or("end", false)) {
    if (!in.ok()) return in.status().error();
    return InputLine(InputEnd{offset});
  }
  const std::string data = in.text("data", (kInputDataMax + 2) / 3 * 4);
  if (!in.ok()) return in.status().error();
  auto decoded = from_base64(data);
  if (!decoded) return decoded.error();
  if (decoded->empty()) return base::fail(base::Code::kInvalid, "a line of input without input");
  return InputLine(InputBytes{offset, std::move(*decoded)});
}

std::string input_news_line(const InputNews& news) {
  JsonWriter event;
  event.natural("session", news.session).natural("taken", news.taken);
  event.boolean("terminal", news.terminal);
  return "{\"event\":" + event.finish() + "}\n";
}

base::Result<InputNews> parse_input_news(std::string_view event_json) {
  JsonReader in(event_json);
  InputNews news;
  news.session = static_cast<std::uint64_t>(in.integer("session", 1, INT64_MAX));
  news.taken = read_offset(in, "taken");
  news.terminal = in.boolean_or("terminal", false);
  if (!in.ok()) return in.status().error();
  return news;
}

}  // namespace control
