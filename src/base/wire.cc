#include "base/wire.h"

#include <algorithm>
#include <msgpack.hpp>

namespace base {
namespace {

// msgpack-c writes into anything with write(); this one is our vector.
struct Sink {
  Bytes& out;
  void write(const char* data, std::size_t size) {
    const auto* first = reinterpret_cast<const std::uint8_t*>(data);
    out.insert(out.end(), first, first + size);
  }
};

constexpr std::size_t kSizeMax = UINT32_MAX;
constexpr std::size_t kTokensReserved = 32;  // as many as most messages have

}  // namespace

Writer& Writer::array(std::size_t size) {
  CHECK(size <= kSizeMax);
  Sink sink{bytes_};
  msgpack::packer<Sink>(sink).pack_array(static_cast<std::uint32_t>(size));
  return *this;
}

Writer& Writer::u64(std::uint64_t value) {
  Sink sink{bytes_};
  msgpack::packer<Sink>(sink).pack_uint64(value);
  return *this;
}

Writer& Writer::i64(std::int64_t value) {
  Sink sink{bytes_};
  msgpack::packer<Sink>(sink).pack_int64(value);
  return *this;
}

Writer& Writer::boolean(bool value) {
  Sink sink{bytes_};
  msgpack::packer<Sink> packer(sink);
  value ? packer.pack_true() : packer.pack_false();
  return *this;
}

Writer& Writer::text(std::string_view value) {
  CHECK(value.size() <= kSizeMax);
  Sink sink{bytes_};
  msgpack::packer<Sink> packer(sink);
  packer.pack_str(static_cast<std::uint32_t>(value.size()));
  packer.pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
  return *this;
}

Writer& Writer::bin(ByteView value) {
  CHECK(value.size() <= kSizeMax);
  Sink sink{bytes_};
  msgpack::packer<Sink> packer(sink);
  packer.pack_bin(static_cast<std::uint32_t>(value.size()));
  packer.pack_bin_body(as_text(value).data(), static_cast<std::uint32_t>(value.size()));
  return *this;
}

// Turns the input into a flat list of tokens; everything that our encodings never use is refused.
class Reader::Visitor : public msgpack::null_visitor {
 public:
  explicit Visitor(Reader& reader) : reader_(reader) {}
  bool visit_nil() { return refuse("nil"); }
  bool visit_float32(float /*v*/) { return refuse("a float"); }
  bool visit_float64(double /*v*/) { return refuse("a float"); }
  bool visit_ext(const char* /*v*/, std::uint32_t /*size*/) { return refuse("an extension"); }
  bool start_map(std::uint32_t /*size*/) { return refuse("a map"); }
  bool visit_boolean(bool v) { return add(Kind::kBool, v ? 1 : 0, nullptr); }
  bool visit_positive_integer(std::uint64_t v) { return add(Kind::kUnsigned, v, nullptr); }
  bool visit_negative_integer(std::int64_t v) {
    return add(Kind::kNegative, static_cast<std::uint64_t>(v), nullptr);
  }
  bool visit_str(const char* v, std::uint32_t size) { return add(Kind::kText, size, v); }
  bool visit_bin(const char* v, std::uint32_t size) { return add(Kind::kBin, size, v); }
  bool start_array(std::uint32_t size) {
    if (++depth_ > kWireDepthMax) return refuse("more nesting than allowed");
    return add(Kind::kArray, size, nullptr);
  }
  bool end_array() {
    --depth_;
    return true;
  }
  void parse_error(std::size_t /*parsed*/, std::size_t /*error*/) {
    reader_.reject("not MessagePack");
  }
  void insufficient_bytes(std::size_t /*parsed*/, std::size_t /*error*/) {
    if (reader_.ok()) reader_.code_ = Code::kTruncated;
    reader_.reject("the message ends early");
  }

 private:
  bool refuse(const char* what) {
    reader_.reject(std::string("the message holds ") + what);
    return false;
  }
  bool add(Kind kind, std::uint64_t number, const char* data) {
    if (reader_.tokens_.size() >= kWireObjectsMax) return refuse("too many objects");
    reader_.tokens_.push_back({kind, number, reinterpret_cast<const std::uint8_t*>(data)});
    return true;
  }

  Reader& reader_;
  std::size_t depth_ = 0;
};

Reader::Reader(ByteView input) {
  tokens_.reserve(std::min(input.size(), kTokensReserved));
  Visitor visitor(*this);
  std::size_t offset = 0;
  try {
    const bool whole = msgpack::parse(as_text(input).data(), input.size(), offset, visitor);
    if (!whole) reject("not MessagePack");
  } catch (const std::exception& error) {  // limits inside msgpack-c
    reject(error.what());
  }
  if (offset < input.size()) reject("bytes after the end of the message");
}

void Reader::reject(std::string_view why) {
  if (failed_) return;
  failed_ = true;
  why_ = why;
}

Status Reader::finish() {
  if (!failed_ && at_ != tokens_.size()) reject("more fields than expected");
  if (failed_) return fail(code_, why_);
  return {};
}

const Reader::Token* Reader::next(Kind kind, std::string_view wanted) {
  if (failed_) return nullptr;
  if (at_ == tokens_.size() || tokens_[at_].kind != kind) {
    reject("expected " + std::string(wanted));
    return nullptr;
  }
  return &tokens_[at_++];
}

ByteView Reader::next_bytes(Kind kind, std::size_t size_max, std::string_view wanted) {
  const Token* token = next(kind, wanted);
  if (token == nullptr) return {};
  if (token->number > size_max) {
    reject(std::string(wanted) + " is too long");
    return {};
  }
  return {token->data, static_cast<std::size_t>(token->number)};
}

std::size_t Reader::array(std::size_t max) {
  const Token* token = next(Kind::kArray, "an array");
  if (token == nullptr) return 0;
  if (token->number > max) {
    reject("an array is too long");
    return 0;
  }
  return static_cast<std::size_t>(token->number);
}

void Reader::array_of(std::size_t exactly) {
  const std::size_t size = array(SIZE_MAX);
  if (!failed_ && size != exactly) reject("an array has the wrong number of fields");
}

std::uint64_t Reader::u64(std::uint64_t max) {
  const Token* token = next(Kind::kUnsigned, "an unsigned integer");
  if (token == nullptr) return 0;
  if (token->number > max) {
    reject("an integer is too large");
    return 0;
  }
  return token->number;
}

std::int64_t Reader::i64() {
  if (!failed_ && at_ < tokens_.size() && tokens_[at_].kind == Kind::kNegative) {
    return static_cast<std::int64_t>(tokens_[at_++].number);
  }
  return static_cast<std::int64_t>(u64(INT64_MAX));
}

bool Reader::boolean() {
  const Token* token = next(Kind::kBool, "a boolean");
  return token != nullptr && token->number != 0;
}

std::string Reader::text(std::size_t size_max) {
  return std::string(as_text(next_bytes(Kind::kText, size_max, "a text")));
}

ByteView Reader::bin(std::size_t size_max) {
  return next_bytes(Kind::kBin, size_max, "a byte string");
}

void Reader::fixed_into(MutableByteView out) {
  const ByteView view = next_bytes(Kind::kBin, out.size(), "a byte string");
  if (failed_) return;
  if (view.size() != out.size()) {
    reject("a byte string has the wrong size");
    return;
  }
  std::copy(view.begin(), view.end(), out.begin());
}

}  // namespace base
