#include "base/check.h"
#include "control/base64.h"
#include "control/json.h"

namespace control {
namespace {

// The size of the UTF-8 sequence at the start of `text`, 0 if there is none. RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF.
std::size_t sequence_size(std::string_view text) {
  const auto at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xc0U) == 0x80U; };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    const bool overlong = lead == 0xe0 && at(1) < 0xa0;
    const bool surrogate = lead == 0xed && at(1) >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    const bool overlong = lead == 0xf0 && at(1) < 0x90;
    const bool above = lead == 0xf4 && at(1) >= 0x90;
    return overlong || above ? 0 : 4;
  }
  return 0;
}

void append_quoted(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    const std::size_t size = sequence_size(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (size == 0) {
      out += "\xef\xbf\xbd";  // U+FFFD
      text.remove_prefix(1);
      continue;
    }
    if (c == '"' || c == '\\') {
      out += '\\';
      out += text[0];
    } else if (c == '\n') {
      out += "\\n";
    } else if (c < 0x20 || c == 0x7f) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size);
  }
  out += '"';
}

void append_bytes(std::string& out, std::string_view value) {
  if (is_utf8(value)) {
    append_quoted(out, value);
  } else {
    out += "{\"base64\":\"" + to_base64(base::as_bytes(value)) + "\"}";
  }
}

std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size() && std::string_view(" \t\r\n").find(text[at]) != std::string_view::npos) {
    ++at;
  }
  return at;
}

// Just past the string that starts at `at`.
std::size_t skip_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

// Just past the value that starts at `at`.
std::size_t skip_value(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = skip_string(text, at);
      if (depth == 0) return at;
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') {
      if (depth == 0) return at;
      if (--depth == 0) return at + 1;
    }
    if (depth == 0 && (c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n')) return at;
    ++at;
  }
  return at;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = sequence_size(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

std::string_view json_member(std::string_view object, std::string_view name) {
  std::string_view found;
  std::size_t at = skip_space(object, 0) + 1;  // past '{'
  while (at < object.size()) {
    at = skip_space(object, at);
    if (at >= object.size() || object[at] != '"') break;
    const std::size_t key_end = skip_string(object, at);
    const std::string_view key = object.substr(at + 1, key_end - at - 2);
    at = skip_space(object, skip_space(object, key_end) + 1);  // past ':'
    const std::size_t end = skip_value(object, at);
    // Of two fields with one name JSON parsers take the last.
    if (key == name && at <= object.size()) found = object.substr(at, end - at);
    at = skip_space(object, end);
    if (at >= object.size() || object[at] != ',') break;
    ++at;
  }
  return found;
}

void JsonWriter::key(std::string_view name) {
  if (out_.size() > 1) out_ += ',';
  append_quoted(out_, name);
  out_ += ':';
}

JsonWriter& JsonWriter::text(std::string_view name, std::string_view value) {
  key(name);
  append_quoted(out_, value);
  return *this;
}

JsonWriter& JsonWriter::text_if(std::string_view name, const std::optional<std::string>& value) {
  return value ? text(name, *value) : *this;
}

JsonWriter& JsonWriter::bytes(std::string_view name, std::string_view value) {
  key(name);
  append_bytes(out_, value);
  return *this;
}

JsonWriter& JsonWriter::integer(std::string_view name, std::int64_t value) {
  key(name);
  out_ += std::to_string(value);
  return *this;
}

JsonWriter& JsonWriter::natural(std::string_view name, std::uint64_t value) {
  key(name);
  out_ += std::to_string(value);
  return *this;
}

JsonWriter& JsonWriter::decimal(std::string_view name, std::int64_t value, std::int64_t scale) {
  CHECK(scale >= 1);
  key(name);
  const bool negative = value < 0;
  // Unsigned, so that the most negative value has a magnitude.
  const std::uint64_t size =
      negative ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
  const auto unit = static_cast<std::uint64_t>(scale);
  if (negative) out_ += '-';
  out_ += std::to_string(size / unit);
  std::string digits = std::to_string(size % unit + unit).substr(1);  // keeps leading zeros
  while (!digits.empty() && digits.back() == '0') digits.pop_back();
  if (!digits.empty()) out_ += "." + digits;
  return *this;
}

JsonWriter& JsonWriter::boolean(std::string_view name, bool value) {
  key(name);
  out_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::null(std::string_view name) { return raw(name, "null"); }

JsonWriter& JsonWriter::byte_list(std::string_view name, std::span<const std::string> values) {
  key(name);
  out_ += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out_ += ',';
    append_bytes(out_, values[i]);
  }
  out_ += ']';
  return *this;
}

JsonWriter& JsonWriter::text_list(std::string_view name, std::span<const std::string> values) {
  key(name);
  out_ += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out_ += ',';
    append_quoted(out_, values[i]);
  }
  out_ += ']';
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view name, std::string_view json) {
  key(name);
  out_ += json;
  return *this;
}

JsonWriter& JsonWriter::raw_list(std::string_view name, std::span<const std::string> json) {
  key(name);
  out_ += '[';
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (i > 0) out_ += ',';
    out_ += json[i];
  }
  out_ += ']';
  return *this;
}

std::string JsonWriter::finish() { return std::move(out_.append("}")); }

}  // namespace control
