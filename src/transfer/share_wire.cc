#include "transfer/share_wire.h"

#include <algorithm>

#include "base/wire.h"
#include "transfer/wire.h"

namespace transfer {
namespace {

using base::Code;
using base::fail;
using base::Reader;
using base::Result;
using base::Status;
using base::Writer;

constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kOfferIdMax = 32;
// Of one message that lists things: below what a record holds and a reader takes as objects.
constexpr std::size_t kListBytesMax = std::size_t{56} << 10;
constexpr std::size_t kListMax = 4096;
constexpr std::size_t kEntryFields = 8;
static_assert(kListMax * (kEntryFields + 1) < base::kWireObjectsMax);
static_assert(kListBytesMax + kShareNameMax + kShareLinkMax + 128 < kShareDataMax);

std::string shortened(std::string_view text) {
  return std::string(text.substr(0, kShareReasonMax));
}

std::string text_of(base::ByteView bytes) { return std::string(base::as_text(bytes)); }

void put_entry(Writer& w, const ShareEntry& entry) {
  w.array(kEntryFields).u64(static_cast<std::uint64_t>(entry.kind));
  w.u64(entry.parent == kNoParent ? 0 : std::uint64_t{entry.parent} + 1);
  w.bin(base::as_bytes(entry.name)).u64(entry.mode).i64(entry.mtime_seconds);
  w.u64(entry.mtime_nanos).u64(entry.size).bin(base::as_bytes(entry.link));
}

ShareEntry get_entry(Reader& r) {
  ShareEntry entry;
  r.array_of(kEntryFields);
  entry.kind = r.enumeration(EntryKind::kLink);
  const std::uint64_t parent = r.u64(kShareEntriesMax);
  entry.parent = parent == 0 ? kNoParent : static_cast<std::uint32_t>(parent - 1);
  entry.name = text_of(r.bin(kShareNameMax));
  entry.mode = static_cast<std::uint32_t>(r.u64(kShareModeBits));
  entry.mtime_seconds = r.i64();
  entry.mtime_nanos = static_cast<std::uint32_t>(r.u64(999999999));
  entry.size = r.u64(kShareBytesMax);
  entry.link = text_of(r.bin(kShareLinkMax));
  return entry;
}

// A list message: items are written until one more might not fit.
template <typename Index, typename Put>
base::Bytes encode_list(ShareType type, std::size_t total, Index& at, Put put) {
  Writer items;
  std::size_t count = 0;
  while (at < total && count < kListMax && items.bytes().size() < kListBytesMax) {
    put(items, at);
    ++at;
    ++count;
  }
  Writer whole;
  whole.array(count);
  base::Bytes body = whole.take();
  body.insert(body.end(), items.bytes().begin(), items.bytes().end());
  return share_message(type, body);
}

template <typename T, typename Get>
Result<std::vector<T>> decode_list(base::ByteView body, Get get) {
  Reader r(body);
  const std::size_t count = r.array(kListMax);
  std::vector<T> out;
  out.reserve(count);
  for (std::size_t i = 0; i < count && r.ok(); ++i) out.push_back(get(r));
  if (Status status = r.finish(); !status) return status.error();
  return out;
}

base::Error not_this() { return fail(Code::kInvalid, "a message of another size than its type's"); }

}  // namespace

Status each_message(base::ByteView record, const std::function<Status(const ShareMessage&)>& take) {
  while (!record.empty()) {
    if (record.size() < kShareHeaderSize) return fail(Code::kInvalid, "half a message");
    const std::size_t size = get_le16(record.subspan(1));
    if (record.size() - kShareHeaderSize < size) return fail(Code::kInvalid, "half a message");
    const ShareMessage message{static_cast<ShareType>(record[0]),
                               record.subspan(kShareHeaderSize, size)};
    if (Status taken = take(message); !taken) return taken;
    record = record.subspan(kShareHeaderSize + size);
  }
  return {};
}

void put_header(base::MutableByteView at, ShareType type, std::size_t size) {
  at[0] = static_cast<std::uint8_t>(type);
  put_le16(at.subspan(1), static_cast<std::uint16_t>(size));
}

base::Bytes share_message(ShareType type, base::ByteView body) {
  CHECK(body.size() <= kShareDataMax);
  base::Bytes out(kShareHeaderSize + body.size());
  put_header(out, type, body.size());
  std::copy(body.begin(), body.end(), out.begin() + kShareHeaderSize);
  return out;
}

base::Bytes encode(const ShareOffer& offer) {
  Writer w;
  w.array(10).u64(kVersion).id(offer.id).u64(offer.uid);
  w.text(std::string_view(offer.user).substr(0, kShareUserMax));
  w.bin(base::as_bytes(offer.label).first(std::min(offer.label.size(), kShareNameMax)));
  w.u64(offer.tops).u64(offer.entries).u64(offer.bytes).u64(offer.disk_bytes);
  w.boolean(offer.dry_run);
  return share_message(ShareType::kOffer, w.bytes());
}

Result<ShareOffer> decode_offer(base::ByteView body) {
  Reader r(body);
  ShareOffer offer;
  r.array_of(10);
  if (r.u64() != kVersion) r.reject("an unknown version of an offer of files");
  offer.id = r.id<ShareId>();
  offer.uid = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  offer.user = r.text(kShareUserMax);
  offer.label = text_of(r.bin(kShareNameMax));
  offer.tops = r.u64(kShareEntriesMax);
  offer.entries = r.u64(kShareEntriesMax);
  offer.bytes = r.u64(kShareBytesMax);
  offer.disk_bytes = r.u64(kShareBytesMax);
  offer.dry_run = r.boolean();
  if (r.ok() && (offer.tops == 0 || offer.entries < offer.tops)) r.reject("an offer of nothing");
  if (Status status = r.finish(); !status) return status.error();
  return offer;
}

base::Bytes encode(const ShareAnswer& answer) {
  Writer w;
  w.array(3).u64(static_cast<std::uint64_t>(answer.verdict));
  w.text(shortened(answer.reason)).text(answer.offer);
  return share_message(ShareType::kAnswer, w.bytes());
}

Result<ShareAnswer> decode_answer(base::ByteView body) {
  Reader r(body);
  ShareAnswer answer;
  r.array_of(3);
  answer.verdict = r.enumeration(ShareAnswer::Verdict::kRefuse);
  answer.reason = r.text(kShareReasonMax);
  answer.offer = r.text(kOfferIdMax);
  if (Status status = r.finish(); !status) return status.error();
  return answer;
}

base::Bytes encode_stop(std::string_view reason) {
  Writer w;
  w.array(1).text(shortened(reason));
  return share_message(ShareType::kStop, w.bytes());
}

Result<std::string> decode_stop(base::ByteView body) {
  Reader r(body);
  r.array_of(1);
  std::string reason = r.text(kShareReasonMax);
  if (Status status = r.finish(); !status) return status.error();
  return reason;
}

base::Bytes encode_entries(const ShareManifest& manifest, std::uint32_t& at) {
  return encode_list(ShareType::kEntries, manifest.size(), at,
                     [&](Writer& w, std::uint32_t index) { put_entry(w, manifest.entry(index)); });
}

Result<std::vector<ShareEntry>> decode_entries(base::ByteView body) {
  return decode_list<ShareEntry>(body, get_entry);
}

base::Bytes encode_have(const std::vector<ShareHave>& all, std::size_t& at) {
  return encode_list(ShareType::kHave, all.size(), at, [&](Writer& w, std::size_t index) {
    w.array(3).u64(all[index].entry).u64(all[index].bytes).bin(all[index].digest);
  });
}

Result<std::vector<ShareHave>> decode_have(base::ByteView body) {
  return decode_list<ShareHave>(body, [](Reader& r) {
    ShareHave have;
    r.array_of(3);
    have.entry = static_cast<std::uint32_t>(r.u64(kShareEntriesMax - 1));
    have.bytes = r.u64(kShareBytesMax);
    have.digest = r.fixed<32>();
    return have;
  });
}

base::Bytes encode_results(const std::vector<ShareResult>& all, std::size_t& at) {
  return encode_list(ShareType::kResults, all.size(), at, [&](Writer& w, std::size_t index) {
    w.array(3).u64(all[index].entry).boolean(all[index].arrived);
    w.bin(base::as_bytes(shortened(all[index].text)));
  });
}

Result<std::vector<ShareResult>> decode_results(base::ByteView body) {
  return decode_list<ShareResult>(body, [](Reader& r) {
    ShareResult result;
    r.array_of(3);
    result.entry = static_cast<std::uint32_t>(r.u64(kShareEntriesMax - 1));
    result.arrived = r.boolean();
    result.text = text_of(r.bin(kShareReasonMax));
    return result;
  });
}

base::Bytes encode(const ShareBegin& begin) {
  std::array<std::uint8_t, 12> body{};
  base::put_le32(body, begin.entry);
  base::put_le64(base::MutableByteView(body).subspan(4), begin.offset);
  return share_message(ShareType::kBegin, body);
}

Result<ShareBegin> decode_begin(base::ByteView body) {
  if (body.size() != 12) return not_this();
  return ShareBegin{base::get_le32(body), base::get_le64(body.subspan(4))};
}

base::Bytes encode(const ShareDrop& drop) {
  base::Bytes body(4);
  base::put_le32(body, drop.entry);
  const std::string reason = shortened(drop.reason);
  body.insert(body.end(), reason.begin(), reason.end());
  return share_message(ShareType::kDrop, body);
}

Result<ShareDrop> decode_drop(base::ByteView body) {
  if (body.size() < 4 || body.size() > 4 + kShareReasonMax) return not_this();
  return ShareDrop{base::get_le32(body), text_of(body.subspan(4))};
}

base::Bytes encode_hole(std::uint64_t count) {
  std::array<std::uint8_t, 8> body{};
  base::put_le64(body, count);
  return share_message(ShareType::kHole, body);
}

Result<std::uint64_t> decode_hole(base::ByteView body) {
  if (body.size() != 8) return not_this();
  const std::uint64_t count = base::get_le64(body);
  if (count == 0 || count > kShareBytesMax) return fail(Code::kInvalid, "a hole of no size");
  return count;
}

Result<base::crypto::Hash256> decode_end(base::ByteView body) {
  base::crypto::Hash256 digest{};
  if (body.size() != digest.size()) return not_this();
  std::copy(body.begin(), body.end(), digest.begin());
  return digest;
}

}  // namespace transfer
