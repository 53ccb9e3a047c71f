#include "transfer/wire.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::MutableByteView;

constexpr std::array<std::uint8_t, 8> kMagic{'t', 'e', 'r', 'n', '/', '1', 0, 0};
constexpr std::size_t kMeshAt = 8;
constexpr std::size_t kSuiteAt = 24;
constexpr std::size_t kPatternAt = 25;
constexpr std::size_t kLowestAt = 26;
constexpr std::size_t kHighestAt = 28;
constexpr std::uint8_t kPatternXx = 1;
constexpr std::uint8_t kPatternTicket = 2;

}  // namespace

void put_le16(MutableByteView at, std::uint16_t value) {
  CHECK(at.size() >= 2);
  at[0] = static_cast<std::uint8_t>(value & 0xff);
  at[1] = static_cast<std::uint8_t>(value >> 8);
}

std::uint16_t get_le16(ByteView at) {
  CHECK(at.size() >= 2);
  return static_cast<std::uint16_t>(at[0] | (at[1] << 8));
}

Bytes encode_preface(const Preface& preface) {
  Bytes out(preface.by_ticket ? kPrefaceTicketSize : kPrefaceSize);
  std::ranges::copy(kMagic, out.begin());
  std::ranges::copy(preface.mesh.bytes, out.begin() + kMeshAt);
  out[kSuiteAt] = preface.suite;
  out[kPatternAt] = preface.by_ticket ? kPatternTicket : kPatternXx;
  put_le16(MutableByteView(out).subspan(kLowestAt), preface.versions.lowest);
  put_le16(MutableByteView(out).subspan(kHighestAt), preface.versions.highest);
  if (preface.by_ticket) std::ranges::copy(preface.ticket_id.bytes, out.begin() + kPrefaceSize);
  return out;
}

base::Result<std::size_t> preface_size(ByteView first) {
  CHECK(first.size() >= kPrefaceSize);
  if (!std::ranges::equal(first.first(kMagic.size()), kMagic)) {
    return fail(Code::kInvalid, "the peer does not speak tern's protocol");
  }
  if (first[kPatternAt] == kPatternXx) return kPrefaceSize;
  if (first[kPatternAt] == kPatternTicket) return kPrefaceTicketSize;
  return fail(Code::kInvalid, "the peer asks for an unknown handshake");
}

base::Result<Preface> decode_preface(ByteView whole) {
  if (whole.size() < kPrefaceSize) return fail(Code::kTruncated, "a preface is too short");
  const auto size = preface_size(whole);
  if (!size) return size.error();
  if (whole.size() != *size) return fail(Code::kInvalid, "a preface has the wrong size");
  Preface preface;
  std::ranges::copy(whole.subspan(kMeshAt, base::MeshId::kSize), preface.mesh.bytes.begin());
  preface.suite = whole[kSuiteAt];
  preface.versions.lowest = get_le16(whole.subspan(kLowestAt));
  preface.versions.highest = get_le16(whole.subspan(kHighestAt));
  preface.by_ticket = *size == kPrefaceTicketSize;
  if (preface.by_ticket) {
    std::ranges::copy(whole.subspan(kPrefaceSize), preface.ticket_id.bytes.begin());
  }
  if (preface.versions.lowest == 0 || preface.versions.lowest > preface.versions.highest) {
    return fail(Code::kInvalid, "the peer names no protocol version");
  }
  return preface;
}

}  // namespace transfer
