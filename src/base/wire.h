// MessagePack, written and read within limits. All encodings of Tern are built from these.
//
// Writer appends; take() hands the bytes over. Reader is *sticky*: after the first mistake every
// read returns a zero value and finish() says what was wrong, so that a decoder is a straight list
// of reads with one check at its end. finish() also refuses trailing bytes. A Reader borrows its
// input, which must outlive it and the views it returned. Integers are taken in any MessagePack
// width; a signed reader takes positive ones too. Nesting is limited to kWireDepthMax.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace base {

inline constexpr std::size_t kWireDepthMax = 8;
inline constexpr std::size_t kWireObjectsMax = 1 << 16;  // objects in one message, all levels

class Writer {
 public:
  Writer() { bytes_.reserve(kReserved); }
  Writer& array(std::size_t size);
  Writer& u64(std::uint64_t value);
  Writer& i64(std::int64_t value);
  Writer& boolean(bool value);
  Writer& text(std::string_view value);
  Writer& bin(ByteView value);
  template <typename Tag>
  Writer& id(const Id<Tag>& value) {
    return bin(value.bytes);
  }
  template <typename Tag>
  Writer& counter(const Counter<Tag>& value) {
    return u64(value.value);
  }
  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  [[nodiscard]] Bytes take() { return std::move(bytes_); }

 private:
  static constexpr std::size_t kReserved = 64;  // most encodings are small
  Bytes bytes_;
};

class Reader {
 public:
  explicit Reader(ByteView input);
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // An array header: the count of elements that follow, at most `max`. 0 after a mistake.
  [[nodiscard]] std::size_t array(std::size_t max);
  void array_of(std::size_t exactly);  // an array header with just this count
  [[nodiscard]] std::uint64_t u64(std::uint64_t max = UINT64_MAX);
  [[nodiscard]] std::int64_t i64();
  [[nodiscard]] bool boolean();
  [[nodiscard]] std::string text(std::size_t size_max);
  [[nodiscard]] ByteView bin(std::size_t size_max);  // borrows from the input
  template <std::size_t N>
  [[nodiscard]] std::array<std::uint8_t, N> fixed() {
    std::array<std::uint8_t, N> out{};
    fixed_into(out);
    return out;
  }
  template <typename T>
  [[nodiscard]] T id() {
    return T{fixed<T::kSize>()};
  }
  template <typename T>
  [[nodiscard]] T counter() {
    return T{u64()};
  }
  // An enum whose values are 0..last.
  template <typename E>
  [[nodiscard]] E enumeration(E last) {
    return static_cast<E>(u64(static_cast<std::uint64_t>(last)));
  }
  void reject(std::string_view why);  // the decoder itself found a mistake
  [[nodiscard]] bool ok() const { return !failed_; }
  [[nodiscard]] Status finish();

 private:
  enum class Kind : std::uint8_t { kArray, kUnsigned, kNegative, kBool, kText, kBin };
  struct Token {
    Kind kind;
    std::uint64_t number;  // value, count of elements, or size
    const std::uint8_t* data;
  };
  class Visitor;
  const Token* next(Kind kind, std::string_view wanted);
  [[nodiscard]] ByteView next_bytes(Kind kind, std::size_t size_max, std::string_view wanted);
  void fixed_into(MutableByteView out);

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  bool failed_ = false;
  Code code_ = Code::kInvalid;
  std::string why_;
};

}  // namespace base
