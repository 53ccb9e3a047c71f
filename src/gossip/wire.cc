#include "gossip/wire.h"

#include <algorithm>
#include <optional>

namespace gossip {
namespace {

using base::Bytes;
using base::ByteView;

constexpr std::size_t kEntrySize = 32;
constexpr std::size_t kWishSize = 17;
constexpr std::size_t kReserved = 320;     // of a message: a digest or a chain fits, as a rule
constexpr std::size_t kMessagesMax = 128;  // in one payload; 3 bytes each would be more
static_assert(kMessageHeaderSize + 1 + 32 + kEntriesMax * kEntrySize <= kPayloadSizeMax);

// A message's body, read front to back; sticky like base::Reader.
class Cursor {
 public:
  explicit Cursor(ByteView in) : rest_(in) {}
  ByteView take(std::size_t size) {
    if (size > rest_.size()) failed_ = true;
    if (failed_) return {};
    const ByteView out = rest_.first(size);
    rest_ = rest_.subspan(size);
    return out;
  }
  std::uint8_t u8() {
    const ByteView bytes = take(1);
    return bytes.empty() ? std::uint8_t{0} : bytes[0];
  }
  std::uint8_t u8_below(std::uint8_t bound) {
    const std::uint8_t value = u8();
    if (value >= bound) failed_ = true;
    return failed_ ? std::uint8_t{0} : value;
  }
  std::uint64_t u64() {
    const ByteView bytes = take(8);
    return bytes.empty() ? 0 : base::get_le64(bytes);
  }
  std::uint32_t u32() {
    const ByteView bytes = take(4);
    return bytes.empty() ? 0 : base::get_le32(bytes);
  }
  std::array<std::uint8_t, 16> block() {
    std::array<std::uint8_t, 16> out{};
    const ByteView bytes = take(16);
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return out;
  }
  Entry32 entry() {
    Entry32 out;
    out.node.bytes = block();
    out.incarnation.value = u64();
    out.sequence.value = u64();
    return out;
  }
  // The rest as `size`-byte items, at most kEntriesMax.
  std::size_t count(std::size_t size) {
    if (rest_.size() % size != 0 || rest_.size() / size > kEntriesMax) failed_ = true;
    return failed_ ? 0 : rest_.size() / size;
  }
  ByteView rest() { return take(rest_.size()); }
  [[nodiscard]] bool done() const { return !failed_ && rest_.empty(); }

 private:
  ByteView rest_;
  bool failed_ = false;
};

class Appender {
 public:
  explicit Appender(Bytes& out) : out_(out) {}
  void u8(std::uint8_t value) { out_.push_back(value); }
  void u64(std::uint64_t value) {
    std::array<std::uint8_t, 8> bytes{};
    base::put_le64(bytes, value);
    view(bytes);
  }
  void u32(std::uint32_t value) {
    std::array<std::uint8_t, 4> bytes{};
    base::put_le32(bytes, value);
    view(bytes);
  }
  void view(ByteView bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void entry(const Entry32& entry) {
    view(entry.node.bytes);
    u64(entry.incarnation.value);
    u64(entry.sequence.value);
  }
  void operator()(const ChallengeMessage& m) {
    view(m.cookie);
    view(m.salt);
  }
  void operator()(const ResponseMessage& m) { view(m.cookie); }
  void operator()(const AcceptedMessage& m) { view(m.salt); }
  void operator()(const PingMessage& m) {
    u64(m.nonce);
    u8(static_cast<std::uint8_t>(m.state));
  }
  void operator()(const PongMessage& m) { u64(m.nonce); }
  void operator()(const DigestMessage& m) {
    u8(static_cast<std::uint8_t>(m.state));
    view(m.digest);
  }
  void operator()(const ChainMessage& m) { view(m.chain); }
  void operator()(const SuspectMessage& m) { entry(m.entry); }
  void operator()(const SyncHashMessage& m) {
    u64(m.hash);
    u64(m.dead);
  }
  void operator()(const SyncBucketsMessage& m) {
    for (const std::uint32_t bucket : m.buckets) u32(bucket);
  }
  void operator()(const SyncSummaryMessage& m) {
    u8(m.sampled ? 1 : 0);
    view(m.low.bytes);
    view(m.high.bytes);
    for (const Entry32& one : m.entries) entry(one);
  }
  void operator()(const HaveMessage& m) {
    for (const Entry32& one : m.entries) entry(one);
  }
  void operator()(const WantMessage& m) {
    for (const Wish& one : m.wishes) {
      view(one.node.bytes);
      u8(one.chain ? 1 : 0);
    }
  }

 private:
  Bytes& out_;
};

std::vector<Entry32> entries(Cursor& in) {
  std::vector<Entry32> out(in.count(kEntrySize));
  for (Entry32& one : out) one = in.entry();
  return out;
}

std::vector<Wish> wishes(Cursor& in) {
  std::vector<Wish> out(in.count(kWishSize));
  for (Wish& one : out) {
    one.node.bytes = in.block();
    one.chain = in.u8_below(2) == 1;
  }
  return out;
}

State state(Cursor& in) { return static_cast<State>(in.u8_below(4)); }

SyncBucketsMessage buckets(Cursor& in) {
  SyncBucketsMessage out;
  for (std::uint32_t& bucket : out.buckets) bucket = in.u32();
  return out;
}

SyncSummaryMessage summary(Cursor& in) {
  SyncSummaryMessage out;
  out.sampled = in.u8_below(2) == 1;
  out.low.bytes = in.block();
  out.high.bytes = in.block();
  out.entries = entries(in);
  return out;
}

// Braced lists are evaluated left to right, which the order of fields needs.
std::optional<Message> decode_one(std::uint8_t type, Cursor& in) {
  switch (type) {
    case 1:
      return ChallengeMessage{in.block(), in.block()};
    case 2:
      return ResponseMessage{in.block()};
    case 3:
      return AcceptedMessage{in.block()};
    case 4:
      return PingMessage{in.u64(), state(in)};
    case 5:
      return PongMessage{in.u64()};
    case 6:
      return DigestMessage{state(in), in.rest()};
    case 7:
      return ChainMessage{in.rest()};
    case 8:
      return SuspectMessage{in.entry()};
    case 9:
      return SyncHashMessage{in.u64(), in.u64()};
    case 10:
      return buckets(in);
    case 11:
      return summary(in);
    case 12:
      return HaveMessage{entries(in)};
    case 13:
      return WantMessage{wishes(in)};
    default:
      return std::nullopt;
  }
}

}  // namespace

Bytes encode_message(const Message& message) {
  Bytes out;
  out.reserve(kReserved);
  out.resize(kMessageHeaderSize);
  out[0] = static_cast<std::uint8_t>(message.index() + 1);
  Appender appender(out);
  std::visit(appender, message);
  const std::size_t size = out.size() - kMessageHeaderSize;
  CHECK(size <= kPayloadSizeMax);
  out[1] = static_cast<std::uint8_t>(size & 0xff);
  out[2] = static_cast<std::uint8_t>(size >> 8);
  return out;
}

base::Result<std::vector<Message>> decode_messages(ByteView payload) {
  const auto malformed = [] { return base::fail(base::Code::kInvalid, "a malformed message"); };
  std::vector<Message> out;
  Cursor in(payload);
  while (!in.done()) {
    if (out.size() == kMessagesMax) return malformed();
    const std::uint8_t type = in.u8();
    const ByteView size = in.take(2);
    if (size.empty()) return malformed();
    const auto body_size = static_cast<std::size_t>(size[0] | size[1] << 8);
    const ByteView body_bytes = in.take(body_size);
    if (body_bytes.size() != body_size) return malformed();
    Cursor body(body_bytes);
    auto message = decode_one(type, body);
    if (!message) continue;
    if (!body.done()) return malformed();
    out.push_back(std::move(*message));
  }
  return out;
}

}  // namespace gossip
