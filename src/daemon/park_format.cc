#include "daemon/park_format.h"

#include <zstd.h>

#include <algorithm>
#include <array>

#include "transfer/image_stream.h"

namespace ternd {
namespace {

using base::ByteView;
using base::Code;
using base::fail;
using base::Status;

constexpr std::string_view kMagic = "ternpark";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeadSize = 16;
constexpr std::size_t kRecordHead = 9;
constexpr int kLevel = 1;  // a job is frozen meanwhile
constexpr std::size_t kBlock = 128 * 1024;

enum Kind : std::uint8_t { kBegin = 1, kData = 2, kEnd = 3, kAll = 4 };

base::Error damaged(const std::string& what) {
  return fail(Code::kInvalid, "the parked job's file is damaged: " + what);
}

std::array<std::uint8_t, 12> totals(std::size_t images, std::uint64_t bytes) {
  std::array<std::uint8_t, 12> out{};
  base::put_le32(out, static_cast<std::uint32_t>(images));
  base::put_le64(base::MutableByteView(out).subspan(4), bytes);
  return out;
}

}  // namespace

// ---- writing

struct ParkEncoder::Zstd {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ~Zstd() { ZSTD_freeCCtx(context); }
};

ParkEncoder::ParkEncoder(const node::ParkManifest& manifest) : zstd_(std::make_unique<Zstd>()) {
  CHECK(zstd_->context != nullptr);
  (void)ZSTD_CCtx_setParameter(zstd_->context, ZSTD_c_compressionLevel, kLevel);
  const base::Bytes body = node::encode(manifest);
  base::Bytes head = base::to_bytes(base::as_bytes(kMagic));
  head.resize(kHeadSize);
  base::put_le32(base::MutableByteView(head).subspan(8), kVersion);
  base::put_le32(base::MutableByteView(head).subspan(12), static_cast<std::uint32_t>(body.size()));
  put(head);
  put(body);
}

ParkEncoder::~ParkEncoder() = default;

void ParkEncoder::put(ByteView bytes) {
  hasher_.add(bytes);
  output_.insert(output_.end(), bytes.begin(), bytes.end());
}

Status ParkEncoder::compress(ByteView bytes, bool last) {
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  base::Bytes block(kBlock);
  for (;;) {
    ZSTD_outBuffer out{block.data(), block.size(), 0};
    const std::size_t left =
        ZSTD_compressStream2(zstd_->context, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left) != 0) return fail(Code::kIo, ZSTD_getErrorName(left));
    put(ByteView(block).first(out.pos));
    if (last ? left == 0 : in.pos == in.size) return {};
  }
}

Status ParkEncoder::record(std::uint8_t kind, std::uint32_t image, ByteView bytes) {
  std::array<std::uint8_t, kRecordHead> head{};
  head[0] = kind;
  base::put_le32(base::MutableByteView(head).subspan(1), image);
  base::put_le32(base::MutableByteView(head).subspan(5), static_cast<std::uint32_t>(bytes.size()));
  if (Status done = compress(head, false); !done) return done;
  return compress(bytes, false);
}

Status ParkEncoder::begin(const std::string& name) {
  if (!transfer::image_name_valid(name)) return fail(Code::kInvalid, "an image has a bad name");
  if (std::find(names_.begin(), names_.end(), name) != names_.end()) {
    return fail(Code::kInvalid, "an image is written twice");
  }
  if (names_.size() >= transfer::kImagesMax) return fail(Code::kTooLarge, "too many images");
  names_.push_back(name);
  ended_.push_back(false);
  return record(kBegin, static_cast<std::uint32_t>(names_.size() - 1), base::as_bytes(name));
}

Status ParkEncoder::data(std::uint32_t image, ByteView bytes) {
  CHECK(image < ended_.size());
  CHECK(!ended_[image]);
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    const ByteView part = bytes.first(std::min(bytes.size(), kParkRecordMax));
    bytes = bytes.subspan(part.size());
    if (Status done = record(kData, image, part); !done) return done;
  }
  return {};
}

Status ParkEncoder::end(std::uint32_t image) {
  CHECK(image < ended_.size());
  ended_[image] = true;
  return record(kEnd, image, {});
}

Status ParkEncoder::finish() {
  CHECK(std::find(ended_.begin(), ended_.end(), false) == ended_.end());
  if (Status done = record(kAll, 0, totals(names_.size(), bytes_)); !done) return done;
  if (Status done = compress({}, true); !done) return done;
  const auto hash = hasher_.finish();
  output_.insert(output_.end(), hash.begin(), hash.end());
  return {};
}

base::Bytes ParkEncoder::take_output() { return std::exchange(output_, {}); }

// ---- reading

struct ParkDecoder::Zstd {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ~Zstd() { ZSTD_freeDCtx(context); }
};

ParkDecoder::ParkDecoder(std::uint64_t file_size, std::uint64_t data_max)
    : zstd_(std::make_unique<Zstd>()),
      left_(file_size > kParkHashSize ? file_size - kParkHashSize : 0),
      data_max_(data_max) {
  CHECK(zstd_->context != nullptr);
  (void)ZSTD_DCtx_setParameter(zstd_->context, ZSTD_d_windowLogMax, kParkWindowLogMax);
}

ParkDecoder::~ParkDecoder() = default;

Status ParkDecoder::feed(ByteView bytes, ParkVisitor& visitor) {
  while (!bytes.empty()) {
    if (state_ == State::kFailed) return damaged("it was refused before");
    if (Status taken = take(bytes, visitor); !taken) {
      state_ = State::kFailed;
      return taken;
    }
  }
  return {};
}

Status ParkDecoder::take(ByteView& bytes, ParkVisitor& visitor) {
  if (state_ == State::kDone) return damaged("something stands behind its end");
  if (state_ == State::kHash) {
    const std::size_t count = std::min(bytes.size(), kParkHashSize - pending_.size());
    pending_.insert(pending_.end(), bytes.begin(), bytes.begin() + static_cast<long>(count));
    bytes = bytes.subspan(count);
    if (pending_.size() < kParkHashSize) return {};
    const auto hash = hasher_.finish();
    if (!std::equal(hash.begin(), hash.end(), pending_.begin())) {
      return fail(Code::kUnauthentic,
                  "the parked job's file is damaged: its checksum does not match");
    }
    if (!all_) return damaged("it ends before its last record");
    state_ = State::kDone;
    return {};
  }
  ByteView part = bytes.first(std::min<std::uint64_t>(bytes.size(), left_));
  const std::size_t before = part.size();
  const ByteView whole = part;
  if (!part.empty()) {
    const Status taken = state_ == State::kHead ? take_head(part) : decompress(part, visitor);
    if (!taken) return taken;
  }
  const std::size_t used = before - part.size();
  hasher_.add(whole.first(used));
  left_ -= used;
  bytes = bytes.subspan(used);
  if (left_ > 0) return {};
  if (state_ == State::kHead) return damaged("it is too short");
  if (!frame_over_ || !pending_.empty()) return damaged("it ends in the middle");
  state_ = State::kHash;
  return {};
}

Status ParkDecoder::take_head(ByteView& bytes) {
  const auto want = [&](std::size_t size) {
    const std::size_t count = std::min(bytes.size(), size - std::min(size, pending_.size()));
    pending_.insert(pending_.end(), bytes.begin(), bytes.begin() + static_cast<long>(count));
    bytes = bytes.subspan(count);
    return pending_.size() >= size;
  };
  if (!want(kHeadSize)) return {};
  if (base::as_text(ByteView(pending_).first(kMagic.size())) != kMagic) {
    return damaged("it is no such file");
  }
  if (base::get_le32(ByteView(pending_).subspan(8)) != kVersion) {
    return fail(Code::kUnsupported, "the parked job's file is of another version of tern");
  }
  const std::size_t size = base::get_le32(ByteView(pending_).subspan(12));
  if (size > node::kManifestSizeMax) return damaged("its manifest is too large");
  if (!want(kHeadSize + size)) return {};
  auto manifest = node::decode_park_manifest(ByteView(pending_).subspan(kHeadSize));
  if (!manifest) return damaged(manifest.error().detail);
  manifest_ = std::move(*manifest);
  pending_.clear();
  state_ = State::kRecords;
  return {};
}

Status ParkDecoder::decompress(ByteView& bytes, ParkVisitor& visitor) {
  if (frame_over_) return damaged("something stands behind its records");
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  base::Bytes block(kBlock);
  bool more = true;
  while (more) {
    ZSTD_outBuffer out{block.data(), block.size(), 0};
    const std::size_t before = in.pos;
    const std::size_t hint = ZSTD_decompressStream(zstd_->context, &out, &in);
    if (ZSTD_isError(hint) != 0) return damaged(ZSTD_getErrorName(hint));
    pending_.insert(pending_.end(), block.begin(), block.begin() + static_cast<long>(out.pos));
    if (Status read = records(visitor); !read) return read;
    frame_over_ = hint == 0;
    const bool moved = in.pos > before || out.pos > 0;
    more = !frame_over_ && moved && (in.pos < in.size || out.pos == block.size());
  }
  bytes = bytes.subspan(in.pos);
  if (!bytes.empty() && !frame_over_) return damaged("it cannot be unpacked");
  return {};
}

Status ParkDecoder::records(ParkVisitor& visitor) {
  std::size_t at = 0;
  while (pending_.size() - at >= kRecordHead) {
    const ByteView head = ByteView(pending_).subspan(at);
    const std::size_t size = base::get_le32(head.subspan(5));
    if (size > kParkRecordMax) return damaged("a record is too large");
    if (pending_.size() - at < kRecordHead + size) break;
    const Status read =
        one(head[0], base::get_le32(head.subspan(1)), head.subspan(kRecordHead, size), visitor);
    if (!read) return read;
    at += kRecordHead + size;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<long>(at));
  return {};
}

Status ParkDecoder::one(std::uint8_t kind, std::uint32_t image, ByteView body,
                        ParkVisitor& visitor) {
  if (all_) return damaged("a record behind the last one");
  if (kind == kBegin) {
    std::string name(base::as_text(body));
    const bool known = std::find(names_.begin(), names_.end(), name) != names_.end();
    if (image != names_.size() || known || !transfer::image_name_valid(name) ||
        names_.size() >= transfer::kImagesMax) {
      return damaged("an image begins that cannot");
    }
    names_.push_back(name);
    ended_.push_back(false);
    return visitor.begin(image, name);
  }
  if (kind == kAll) {
    const auto expected = totals(names_.size(), data_);
    const bool open = std::find(ended_.begin(), ended_.end(), false) != ended_.end();
    if (open || image != 0 ||
        !std::equal(body.begin(), body.end(), expected.begin(), expected.end())) {
      return damaged("its records are not complete");
    }
    all_ = true;
    return {};
  }
  if (image >= ended_.size() || ended_[image]) return damaged("data of an image that is not open");
  if (kind == kEnd) {
    if (!body.empty()) return damaged("an end with data");
    ended_[image] = true;
    return visitor.end(image);
  }
  if (kind != kData || body.empty()) return damaged("an unknown record");
  if (body.size() > data_max_ - data_) {
    return fail(Code::kTooLarge, "the parked job is larger than the memory that is free here");
  }
  data_ += body.size();
  return visitor.data(image, body);
}

}  // namespace ternd
