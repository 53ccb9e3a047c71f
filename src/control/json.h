// JSON as the control protocol uses it: objects of known fields, read and written within limits.
// The one place that sees the JSON library and its exceptions.
//
// JsonReader is *sticky*, as base::Reader is: after the first mistake every read returns a zero
// value and status() says what was wrong, so that a decoder is a straight list of reads with one
// check at its end. Readers of inner objects share that state with the outer one. Unknown fields
// are ignored, since fields are only ever added. A field that is absent or null has its default
// when the name of the read ends in _or or _if; otherwise its absence is a mistake.
//
// Decimals cross as whole numbers of a fraction (milli, micro), so that both ends hold integers.
// Byte strings that are not UTF-8 (arguments, paths) cross as {"base64":"..."}.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace control {

class JsonReader {
 public:
  // Anything but one JSON object of at most kLineBytesMax and kJsonDepthMax is a mistake.
  explicit JsonReader(std::string_view text);

  [[nodiscard]] bool has(std::string_view name) const;       // present and not null
  [[nodiscard]] bool has_text(std::string_view name) const;  // present and a text
  [[nodiscard]] std::string text(std::string_view name, std::size_t bytes_max);
  [[nodiscard]] std::string text_or(std::string_view name, std::size_t bytes_max,
                                    std::string_view otherwise = {});
  [[nodiscard]] std::optional<std::string> text_if(std::string_view name, std::size_t bytes_max);
  [[nodiscard]] std::string bytes(std::string_view name, std::size_t bytes_max);
  [[nodiscard]] std::int64_t integer(std::string_view name, std::int64_t min, std::int64_t max);
  [[nodiscard]] std::int64_t integer_or(std::string_view name, std::int64_t min, std::int64_t max,
                                        std::int64_t otherwise);
  [[nodiscard]] std::uint64_t natural_or(std::string_view name, std::uint64_t otherwise = 0);
  // A number times `scale` (1000, 1000000), rounded; its magnitude is at most 2^53 after that.
  [[nodiscard]] std::int64_t decimal_or(std::string_view name, std::int64_t scale,
                                        std::int64_t otherwise = 0);
  [[nodiscard]] bool boolean_or(std::string_view name, bool otherwise);
  // Elements of a list; an absent list is an empty one.
  [[nodiscard]] std::vector<std::string> byte_list(std::string_view name, std::size_t count_max,
                                                   std::size_t bytes_max);
  [[nodiscard]] std::vector<std::int64_t> integers(std::string_view name, std::size_t count_max,
                                                   std::int64_t min, std::int64_t max);
  [[nodiscard]] JsonReader object(std::string_view name);  // a mistake when it is absent
  [[nodiscard]] std::vector<JsonReader> objects(std::string_view name, std::size_t count_max);
  // The fields by name, each value as compact JSON text.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> members() const;
  [[nodiscard]] std::string compact() const;  // this object as JSON text

  void reject(std::string why);
  [[nodiscard]] bool ok() const;
  [[nodiscard]] base::Status status() const;

 private:
  struct Document;
  JsonReader(std::shared_ptr<Document> document, const void* node);
  void parse(std::string_view text);
  [[nodiscard]] const void* find(std::string_view name) const;
  const void* require(std::string_view name);
  std::string bytes_of(const void* value, std::string_view name, std::size_t bytes_max);
  void mistake(std::string_view name, std::string_view wanted);

  std::shared_ptr<Document> document_;
  const void* node_;  // into *document_; an empty object after a mistake
};

// One object, its fields in the order of the calls. finish() is called once, last.
class JsonWriter {
 public:
  JsonWriter& text(std::string_view name, std::string_view value);  // not UTF-8: U+FFFD instead
  JsonWriter& text_if(std::string_view name, const std::optional<std::string>& value);
  JsonWriter& bytes(std::string_view name, std::string_view value);
  JsonWriter& integer(std::string_view name, std::int64_t value);
  JsonWriter& natural(std::string_view name, std::uint64_t value);
  // value / scale without trailing zeros; scale is a power of ten up to 10^9.
  JsonWriter& decimal(std::string_view name, std::int64_t value, std::int64_t scale);
  JsonWriter& boolean(std::string_view name, bool value);
  JsonWriter& null(std::string_view name);
  JsonWriter& byte_list(std::string_view name, std::span<const std::string> values);
  JsonWriter& text_list(std::string_view name, std::span<const std::string> values);
  // `json` is JSON text already, without line breaks.
  JsonWriter& raw(std::string_view name, std::string_view json);
  JsonWriter& raw_list(std::string_view name, std::span<const std::string> json);
  [[nodiscard]] std::string finish();

 private:
  void key(std::string_view name);
  std::string out_ = "{";
};

// The exact text of the value of `name` in `object`, which is valid JSON (a JsonReader took it).
// Empty when there is none. The name is compared as written, without resolving escapes.
[[nodiscard]] std::string_view json_member(std::string_view object, std::string_view name);

[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace control
