// A bounded reader of protobuf's wire format (protobuf.dev, "Encoding"), and schemas to hold a
// message to. For CRIU's images from a peer: what passes here must mean the same to CRIU's own
// reader (protobuf-c), so whatever two readers could take differently is refused: unknown fields,
// fields of another wire type (packed ones too), a singular field twice, groups, numbers too wide
// for their type, tags over 5 bytes, texts with a zero byte.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/result.h"

namespace transfer::protobuf {

inline constexpr int kDepthMax = 8;
inline constexpr std::size_t kTextSizeMax = 4096;  // PATH_MAX

enum class WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  std::uint32_t number = 0;
  WireType type = WireType::kVarint;
  std::uint64_t value = 0;  // of a number
  base::ByteView bytes;     // of kBytes; borrowed from the input
};

class Reader {
 public:
  explicit Reader(base::ByteView input) : rest_(input) {}
  // The next field; nothing at the end or after a mistake, which failed() tells apart.
  [[nodiscard]] std::optional<Field> next();
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  [[nodiscard]] std::optional<std::uint64_t> varint(std::size_t size_max);
  [[nodiscard]] std::optional<base::ByteView> take(std::uint64_t size);

  base::ByteView rest_;
  bool failed_ = false;
};

enum class Kind : std::uint8_t {
  kU32,   // at most 2^32-1
  kU64,   // and int64, sint64
  kI32,   // as kU32, or a sign-extended negative number
  kBool,  // 0 or 1
  kFixed64,
  kText,  // at most kTextSizeMax, no zero byte
  kBytes,
  kMessage,  // held to `message`
  kOpaque,   // a message that is not looked into: registers
};
enum class Count : std::uint8_t { kRequired, kOptional, kRepeated };

struct Schema;
struct FieldRule {
  std::uint8_t number;  // 1..63
  Kind kind;
  Count count;
  const Schema* message = nullptr;
};
struct Schema {
  const char* name;
  std::span<const FieldRule> fields;
};

// Every byte of `message` is explained by the schema.
[[nodiscard]] base::Status check(base::ByteView message, const Schema& schema);

// Of a checked message: the field's value, the default if absent.
[[nodiscard]] std::uint64_t number_of(base::ByteView message, std::uint32_t field,
                                      std::uint64_t otherwise = 0);
[[nodiscard]] bool has_field(base::ByteView message, std::uint32_t field);
[[nodiscard]] base::ByteView bytes_of(base::ByteView message, std::uint32_t field);

}  // namespace transfer::protobuf
