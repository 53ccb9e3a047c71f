#include "transfer/share_sender.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "transfer/wire.h"

namespace transfer {
namespace {

using base::Code;
using base::fail;
using base::Status;

constexpr std::size_t kOutFull = std::size_t{1} << 20;
// Beyond it one more record may have been begun.
constexpr std::size_t kOutSize = kOutFull + 2 * (kFrameHeaderSize + kRecordDataMax);
constexpr std::size_t kDataWorthIt = 4096;  // less room than this: the next record

}  // namespace

ShareSender::ShareSender(ShareManifest manifest)
    : manifest_(std::move(manifest)), out_(std::make_unique<std::uint8_t[]>(kOutSize)) {}

bool ShareSender::full() const { return out_end_ - out_at_ >= kOutFull; }

void ShareSender::consume(std::size_t count) {
  CHECK(count <= out_end_ - out_at_);
  out_at_ += count;
  record_.reset();  // its beginning may have gone
  if (out_at_ == out_end_) out_at_ = out_end_ = 0;
}

std::size_t ShareSender::used() const { return out_end_ - *record_ - kFrameHeaderSize; }

// A record with room for `size` bytes: the one that is being filled, or a new one.
void ShareSender::make_record(std::size_t size) {
  if (record_ && used() + size <= kRecordDataMax) return;
  if (out_at_ > 0 && !record_) {
    std::memmove(out_.get(), out_.get() + out_at_, out_end_ - out_at_);
    out_end_ -= out_at_;
    out_at_ = 0;
  }
  record_ = out_end_;
  out_end_ += kFrameHeaderSize;
  CHECK(out_end_ + kRecordDataMax <= kOutSize);
}

void ShareSender::grow_record(std::size_t size) {
  out_end_ += size;
  put_le16({out_.get() + *record_, kFrameHeaderSize}, static_cast<std::uint16_t>(used()));
}

void ShareSender::put(const base::Bytes& message) {
  make_record(message.size());
  std::memcpy(out_.get() + out_end_, message.data(), message.size());
  grow_record(message.size());
}

base::MutableByteView ShareSender::room() {
  CHECK(file_ == File::kReading);
  // A small file goes whole into what is left of a record.
  const std::uint64_t left = manifest_.entry(at_).size - offset_;
  const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, kDataWorthIt));
  make_record(kShareHeaderSize + wanted);
  return {out_.get() + out_end_ + kShareHeaderSize, kRecordDataMax - used() - kShareHeaderSize};
}

void ShareSender::got(std::size_t count) {
  CHECK(count > 0 && file_ == File::kReading);
  const base::MutableByteView at = room();
  CHECK(count <= at.size());
  digest_.add(at.first(count));
  put_header({out_.get() + out_end_, kShareHeaderSize}, ShareType::kData, count);
  grow_record(kShareHeaderSize + count);
  offset_ += count;
  counted_ += count;
  done_ += count;
}

void ShareSender::hole(std::uint64_t count) {
  CHECK(count > 0 && file_ == File::kReading);
  digest_.add_zeros(count);
  put(encode_hole(count));
  offset_ += count;
  counted_ += count;
  done_ += count;
}

// Moves to the next file that is to be sent.
void ShareSender::next_file() {
  file_ = File::kNone;
  for (; at_ < manifest_.size(); ++at_) {
    const auto known = results_.find(manifest_.top_of(at_));
    const bool settled = known != results_.end();
    if (settled && known->second.arrived) done_ += manifest_.entry(at_).size;
    if (manifest_.entry(at_).kind != EntryKind::kFile || settled) continue;
    file_ = File::kOpening;
    return;
  }
}

void ShareSender::opened(std::optional<base::FileDigest> prefix) {
  CHECK(file_ == File::kOpening);
  offset_ = counted_ = 0;
  digest_ = base::FileDigest();
  whole_.reset();
  const auto have = have_.find(at_);
  if (have != have_.end() && prefix && prefix->size() == have->second.bytes) {
    const ShareHave& there = have->second;
    const bool whole = there.bytes == manifest_.entry(at_).size;
    const base::crypto::Hash256 digest = whole ? prefix->finish() : prefix->chain();
    if (digest == there.digest) {
      offset_ = counted_ = there.bytes;
      done_ += there.bytes;
      had_ += there.bytes;
      if (whole) whole_ = digest;
      if (!whole) digest_ = base::FileDigest(digest, there.bytes);
    }
  }
  put(encode(ShareBegin{at_, offset_}));
  file_ = offset_ < manifest_.entry(at_).size ? File::kReading : File::kClosing;
}

void ShareSender::closed() {
  CHECK(file_ == File::kClosing);
  put(share_message(ShareType::kEnd, whole_ ? *whole_ : digest_.finish()));
  ++at_;
  next_file();
}

void ShareSender::dropped(const std::string& reason) {
  CHECK(file_ != File::kNone);
  put(encode(ShareDrop{at_, reason}));
  const std::uint32_t top = manifest_.top_of(at_);
  results_.emplace(top, ShareResult{top, false, manifest_.path(at_) + ": " + reason});
  done_ -= counted_;
  counted_ = 0;
  ++at_;
  next_file();  // the rest of this top is not sent either
}

ShareSender::Step ShareSender::next_of_file() {
  const auto have = have_.find(at_);
  if (file_ == File::kOpening) {
    return have == have_.end() ? Open{at_, std::nullopt} : Open{at_, have->second};
  }
  const std::uint64_t size = manifest_.entry(at_).size;
  if (file_ == File::kReading && offset_ < size) return Read{at_, offset_, size - offset_};
  file_ = File::kClosing;
  return Close{at_};
}

ShareSender::Step ShareSender::next() {
  if (!failed_.empty() || phase_ == Phase::kOver) return Over{};
  while (phase_ == Phase::kManifest && at_ < manifest_.size() && !full()) {
    put(encode_entries(manifest_, at_));
  }
  if (full()) return Flush{};
  if (phase_ == Phase::kManifest) {
    put(share_message(ShareType::kSealed));
    phase_ = Phase::kAwaitReady;
  }
  if (phase_ == Phase::kFiles) {
    if (file_ != File::kNone) return next_of_file();
    put(share_message(ShareType::kAll));
    phase_ = Phase::kAwaitResults;
  }
  if (!output().empty()) return Flush{};
  return Wait{};
}

Status ShareSender::feed(base::ByteView record) {
  if (phase_ == Phase::kOver) return {};
  Status status = each_message(record, [this](const ShareMessage& m) { return take(m); });
  if (!status && failed_.empty()) failed_ = "the receiver: " + status.error().detail;
  return status;
}

Status ShareSender::take(const ShareMessage& message) {
  switch (message.type) {
    case ShareType::kAlive:
      return {};
    case ShareType::kStop: {
      auto reason = decode_stop(message.body);
      if (!reason) return reason.error();
      failed_ = reason->empty() ? "the receiver stopped" : *reason;
      return {};
    }
    case ShareType::kHave:
      return take_have(message.body);
    case ShareType::kResults:
      return take_results(message.body);
    case ShareType::kReady:
      if (phase_ != Phase::kAwaitReady) break;
      phase_ = Phase::kFiles;
      at_ = 0;
      next_file();
      return {};
    case ShareType::kOver:
      if (phase_ != Phase::kAwaitOver || message.body.size() != 1) break;
      phase_ = Phase::kOver;
      return {};
    default:
      break;
  }
  return fail(Code::kInvalid, "said something out of turn");
}

Status ShareSender::take_have(base::ByteView body) {
  if (phase_ != Phase::kAwaitReady) return fail(Code::kInvalid, "said something out of turn");
  auto all = decode_have(body);
  if (!all) return all.error();
  for (const ShareHave& have : *all) {
    const bool file =
        have.entry < manifest_.size() && manifest_.entry(have.entry).kind == EntryKind::kFile;
    const std::uint64_t size = file ? manifest_.entry(have.entry).size : 0;
    const bool fits = have.bytes > 0 && have.bytes <= size &&
                      (have.bytes == size || have.bytes % base::FileDigest::kChunk == 0);
    if (!fits) return fail(Code::kInvalid, "has what was never offered");
    have_[have.entry] = have;
  }
  return {};
}

Status ShareSender::take_results(base::ByteView body) {
  const bool early = phase_ == Phase::kAwaitReady;  // delivered by an earlier attempt
  if (!early && phase_ != Phase::kAwaitResults) {
    return fail(Code::kInvalid, "said something out of turn");
  }
  auto all = decode_results(body);
  if (!all) return all.error();
  for (const ShareResult& result : *all) {
    const bool top =
        result.entry < manifest_.size() && manifest_.entry(result.entry).parent == kNoParent;
    if (!top || (early && !result.arrived)) return fail(Code::kInvalid, "told an odd result");
    results_.emplace(result.entry, result);
  }
  if (early) return {};
  told_ += all->size();
  if (told_ < manifest_.tops().size()) return {};  // more is to come
  if (results_.size() < manifest_.tops().size()) {
    return fail(Code::kInvalid, "told too few results");
  }
  has_results_ = true;
  put(share_message(ShareType::kBye));
  phase_ = Phase::kAwaitOver;
  return {};
}

}  // namespace transfer
