#include "transfer/protobuf.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace transfer::protobuf {
namespace {

using base::ByteView;
using base::Code;
using base::fail;
using base::Status;

constexpr std::size_t kTagSizeMax = 5;
constexpr std::size_t kVarintSizeMax = 10;

WireType wire_of(Kind kind) {
  switch (kind) {
    case Kind::kU32:
    case Kind::kU64:
    case Kind::kI32:
    case Kind::kBool:
      return WireType::kVarint;
    case Kind::kFixed64:
      return WireType::kFixed64;
    case Kind::kText:
    case Kind::kBytes:
    case Kind::kMessage:
    case Kind::kOpaque:
      return WireType::kBytes;
  }
  return WireType::kVarint;
}

bool fits(const Field& field, Kind kind) {
  constexpr std::uint64_t kLeastNegative = 0xffffffff80000000;
  switch (kind) {
    case Kind::kU32:
      return field.value <= UINT32_MAX;
    case Kind::kI32:
      return field.value <= UINT32_MAX || field.value >= kLeastNegative;
    case Kind::kBool:
      return field.value <= 1;
    case Kind::kText:
      return field.bytes.size() <= kTextSizeMax &&
             std::ranges::find(field.bytes, 0) == field.bytes.end();
    default:
      return true;
  }
}

base::Error bad(const Schema& schema, std::uint32_t number, const char* what) {
  return fail(Code::kInvalid,
              std::string(what) + " (" + schema.name + ", field " + std::to_string(number) + ")");
}

// Recursion is bounded by kDepthMax, and by the schemas, none of which contains itself.
Status check_at(ByteView message, const Schema& schema, int depth) {  // NOLINT(misc-no-recursion)
  CHECK(depth < kDepthMax);
  std::uint64_t seen = 0;
  Reader reader(message);
  while (const auto field = reader.next()) {
    const auto rule = std::ranges::find(
        schema.fields, field->number, [](const FieldRule& r) -> std::uint32_t { return r.number; });
    if (rule == schema.fields.end()) return bad(schema, field->number, "an unknown field");
    if (field->type != wire_of(rule->kind)) return bad(schema, field->number, "a mistyped field");
    const std::uint64_t bit = std::uint64_t{1} << rule->number;
    if (rule->count != Count::kRepeated && (seen & bit) != 0) {
      return bad(schema, field->number, "a field given twice");
    }
    seen |= bit;
    if (!fits(*field, rule->kind)) return bad(schema, field->number, "a value out of range");
    if (rule->kind != Kind::kMessage) continue;
    if (auto inner = check_at(field->bytes, *rule->message, depth + 1); !inner) return inner;
  }
  if (reader.failed()) return bad(schema, 0, "not a protobuf message");
  for (const FieldRule& rule : schema.fields) {
    if (rule.count == Count::kRequired && (seen & (std::uint64_t{1} << rule.number)) == 0) {
      return bad(schema, rule.number, "a field is missing");
    }
  }
  return {};
}

std::optional<Field> find(ByteView message, std::uint32_t number) {
  Reader reader(message);
  while (auto field = reader.next()) {
    if (field->number == number) return field;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> Reader::varint(std::size_t size_max) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size_max && i < rest_.size(); ++i) {
    const std::uint64_t byte = rest_[i];
    if (i == kVarintSizeMax - 1 && byte > 1) return std::nullopt;  // over 64 bits
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      rest_ = rest_.subspan(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

std::optional<ByteView> Reader::take(std::uint64_t size) {
  if (size > rest_.size()) return std::nullopt;
  const ByteView taken = rest_.first(static_cast<std::size_t>(size));
  rest_ = rest_.subspan(taken.size());
  return taken;
}

std::optional<Field> Reader::next() {
  if (failed_ || rest_.empty()) return std::nullopt;
  failed_ = true;  // until this field is whole
  const auto tag = varint(kTagSizeMax);
  if (!tag || *tag > UINT32_MAX || (*tag >> 3) == 0) return std::nullopt;
  Field field;
  field.number = static_cast<std::uint32_t>(*tag >> 3);
  field.type = WireType{static_cast<std::uint8_t>(*tag & 7)};
  switch (field.type) {
    case WireType::kVarint: {
      const auto value = varint(kVarintSizeMax);
      if (!value) return std::nullopt;
      field.value = *value;
      break;
    }
    case WireType::kFixed64: {
      const auto bytes = take(8);
      if (!bytes) return std::nullopt;
      field.value = base::get_le64(*bytes);
      break;
    }
    case WireType::kFixed32: {
      const auto bytes = take(4);
      if (!bytes) return std::nullopt;
      field.value = base::get_le32(*bytes);
      break;
    }
    case WireType::kBytes: {
      const auto size = varint(kVarintSizeMax);
      if (!size) return std::nullopt;
      const auto bytes = take(*size);
      if (!bytes) return std::nullopt;
      field.bytes = *bytes;
      break;
    }
    default:
      return std::nullopt;  // groups, and what does not exist
  }
  failed_ = false;
  return field;
}

Status check(ByteView message, const Schema& schema) { return check_at(message, schema, 0); }

std::uint64_t number_of(ByteView message, std::uint32_t field, std::uint64_t otherwise) {
  const auto found = find(message, field);
  return found ? found->value : otherwise;
}

bool has_field(ByteView message, std::uint32_t field) { return find(message, field).has_value(); }

ByteView bytes_of(ByteView message, std::uint32_t field) {
  const auto found = find(message, field);
  return found ? found->bytes : ByteView{};
}

}  // namespace transfer::protobuf
