#include <cmath>
#include <nlohmann/json.hpp>

#include "control/base64.h"
#include "control/json.h"
#include "control/limits.h"

namespace control {
namespace {

using Json = nlohmann::json;  // a tree by name: a list would let a client buy quadratic time

const Json& json(const void* node) { return *static_cast<const Json*>(node); }
const Json& empty_object() {
  static const Json kEmpty = Json::object();
  return kEmpty;
}

// The library writes values by recursion, so nesting is bounded before it parses.
bool too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kJsonDepthMax) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

struct JsonReader::Document {
  Json root = Json::object();
  base::Status status;
};

JsonReader::JsonReader(std::shared_ptr<Document> document, const void* node)
    : document_(std::move(document)), node_(node) {}

JsonReader::JsonReader(std::string_view text)
    : document_(std::make_shared<Document>()), node_(&empty_object()) {
  parse(text);
}

void JsonReader::parse(std::string_view text) {
  if (text.size() > kLineBytesMax) return reject("a message of more than 1 MiB");
  if (too_deep(text)) return reject("JSON nested too deeply");
  Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return reject("not valid JSON");
  if (!root.is_object()) return reject("not a JSON object");
  document_->root = std::move(root);
  node_ = &document_->root;
}

void JsonReader::reject(std::string why) {
  if (document_->status.ok()) {
    document_->status = base::fail(base::Code::kInvalid, std::move(why));
  }
}

void JsonReader::mistake(std::string_view name, std::string_view wanted) {
  reject("\"" + std::string(name) + "\" is not " + std::string(wanted));
}

bool JsonReader::ok() const { return document_->status.ok(); }
base::Status JsonReader::status() const { return document_->status; }

const void* JsonReader::find(std::string_view name) const {
  const Json& object = json(node_);
  const auto at = object.find(std::string(name));
  if (at == object.end() || at->is_null()) return nullptr;
  return &*at;
}

const void* JsonReader::require(std::string_view name) {
  const void* value = find(name);
  if (value == nullptr) reject("\"" + std::string(name) + "\" is missing");
  return value;
}

bool JsonReader::has(std::string_view name) const { return find(name) != nullptr; }

bool JsonReader::has_text(std::string_view name) const {
  const void* value = find(name);
  return value != nullptr && json(value).is_string();
}

std::optional<std::string> JsonReader::text_if(std::string_view name, std::size_t bytes_max) {
  const void* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto* text = json(value).get_ptr<const Json::string_t*>();
  if (text == nullptr) {
    mistake(name, "text");
    return std::nullopt;
  }
  if (text->size() > bytes_max) {
    mistake(name, "within " + std::to_string(bytes_max) + " bytes");
    return std::nullopt;
  }
  return *text;
}

std::string JsonReader::text(std::string_view name, std::size_t bytes_max) {
  if (require(name) == nullptr) return {};
  return text_or(name, bytes_max);
}

std::string JsonReader::text_or(std::string_view name, std::size_t bytes_max,
                                std::string_view otherwise) {
  return text_if(name, bytes_max).value_or(std::string(otherwise));
}

std::string JsonReader::bytes_of(const void* value, std::string_view name, std::size_t bytes_max) {
  std::string out;
  if (const auto* text = json(value).get_ptr<const Json::string_t*>()) {
    out = *text;
  } else {
    const Json& object = json(value);
    const auto at = object.is_object() ? object.find("base64") : object.end();
    const auto* encoded =
        object.is_object() && at != object.end() ? at->get_ptr<const Json::string_t*>() : nullptr;
    auto decoded =
        encoded == nullptr ? base::fail(base::Code::kInvalid, "") : from_base64(*encoded);
    if (!decoded) {
      mistake(name, "text or {\"base64\":...}");
      return {};
    }
    out = base::as_text(*decoded);
  }
  if (out.size() > bytes_max) {
    mistake(name, "within " + std::to_string(bytes_max) + " bytes");
    return {};
  }
  return out;
}

std::string JsonReader::bytes(std::string_view name, std::size_t bytes_max) {
  const void* value = require(name);
  return value == nullptr ? std::string() : bytes_of(value, name, bytes_max);
}

std::int64_t JsonReader::integer_or(std::string_view name, std::int64_t min, std::int64_t max,
                                    std::int64_t otherwise) {
  const void* value = find(name);
  if (value == nullptr) return otherwise;
  const auto* negative = json(value).get_ptr<const Json::number_integer_t*>();
  const auto* natural = json(value).get_ptr<const Json::number_unsigned_t*>();
  // Naturals above the signed range would wrap; they are out of every range asked for here.
  const bool fits =
      natural != nullptr ? *natural <= static_cast<std::uint64_t>(INT64_MAX) : negative != nullptr;
  const std::int64_t number = !fits                ? 0
                              : natural != nullptr ? static_cast<std::int64_t>(*natural)
                                                   : *negative;
  if (!fits || number < min || number > max) {
    mistake(name, "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
    return otherwise;
  }
  return number;
}

std::int64_t JsonReader::integer(std::string_view name, std::int64_t min, std::int64_t max) {
  return require(name) == nullptr ? 0 : integer_or(name, min, max, 0);
}

std::uint64_t JsonReader::natural_or(std::string_view name, std::uint64_t otherwise) {
  return static_cast<std::uint64_t>(
      integer_or(name, 0, INT64_MAX, static_cast<std::int64_t>(otherwise)));
}

std::int64_t JsonReader::decimal_or(std::string_view name, std::int64_t scale,
                                    std::int64_t otherwise) {
  const void* value = find(name);
  if (value == nullptr) return otherwise;
  constexpr double kMax = 9007199254740992.0;  // 2^53: every whole number below has its double
  const double scaled =
      json(value).is_number() ? json(value).get<double>() * static_cast<double>(scale) : NAN;
  if (!(std::fabs(scaled) <= kMax)) {
    mistake(name, "a number in range");
    return otherwise;
  }
  return std::llround(scaled);
}

bool JsonReader::boolean_or(std::string_view name, bool otherwise) {
  const void* value = find(name);
  if (value == nullptr) return otherwise;
  const auto* boolean = json(value).get_ptr<const Json::boolean_t*>();
  if (boolean == nullptr) mistake(name, "true or false");
  return boolean == nullptr ? otherwise : *boolean;
}

std::vector<std::string> JsonReader::byte_list(std::string_view name, std::size_t count_max,
                                               std::size_t bytes_max) {
  const void* value = find(name);
  if (value == nullptr) return {};
  if (!json(value).is_array() || json(value).size() > count_max) {
    mistake(name, "a list of at most " + std::to_string(count_max));
    return {};
  }
  std::vector<std::string> out;
  for (const Json& element : json(value)) out.push_back(bytes_of(&element, name, bytes_max));
  return out;
}

std::vector<std::int64_t> JsonReader::integers(std::string_view name, std::size_t count_max,
                                               std::int64_t min, std::int64_t max) {
  const void* value = find(name);
  if (value == nullptr) return {};
  if (!json(value).is_array() || json(value).size() > count_max) {
    mistake(name, "a list of at most " + std::to_string(count_max));
    return {};
  }
  std::vector<std::int64_t> out;
  for (const Json& element : json(value)) {
    const bool fits = element.is_number_integer() &&
                      (!element.is_number_unsigned() ||
                       element.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX));
    const std::int64_t number = fits ? element.get<std::int64_t>() : 0;
    if (!fits || number < min || number > max) mistake(name, "a list of whole numbers in range");
    out.push_back(number);
  }
  return out;
}

JsonReader JsonReader::object(std::string_view name) {
  const void* value = require(name);
  if (value != nullptr && !json(value).is_object()) {
    mistake(name, "an object");
    value = nullptr;
  }
  return {document_, value == nullptr ? &empty_object() : value};
}

std::vector<JsonReader> JsonReader::objects(std::string_view name, std::size_t count_max) {
  const void* value = find(name);
  if (value == nullptr) return {};
  if (!json(value).is_array() || json(value).size() > count_max) {
    mistake(name, "a list of at most " + std::to_string(count_max));
    return {};
  }
  std::vector<JsonReader> out;
  for (const Json& element : json(value)) {
    if (!element.is_object()) {
      mistake(name, "a list of objects");
      return {};
    }
    out.push_back(JsonReader(document_, &element));
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> JsonReader::members() const {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, value] : json(node_).items()) out.emplace_back(name, value.dump());
  return out;
}

std::string JsonReader::compact() const { return json(node_).dump(); }

}  // namespace control
