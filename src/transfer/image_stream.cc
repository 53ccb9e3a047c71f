#include "transfer/image_stream.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "transfer/wire.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::MutableByteView;
using base::Result;
using base::Status;

enum class Tag : std::uint8_t {
  kHello = 1,
  kStart = 2,
  kData = 3,
  kEnd = 4,
  kOutput = 5,
  kMetadata = 6,
  kSeal = 7,
};

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHelloSize = 1 + 1 + 1 + 16 + 16 + 8;
constexpr std::size_t kIndexSize = 2;
constexpr std::size_t kDataHeaderSize = 1 + kIndexSize;
constexpr std::size_t kEndSize = 1 + kIndexSize + 8;
constexpr std::size_t kOutputHeaderSize = 1 + 1 + 8;
constexpr std::size_t kSealSize = 1 + 4 + 8 + 32;
static_assert(kImageDataMax + kDataHeaderSize == kRecordDataMax);
static_assert(kOutputTailMax + kOutputHeaderSize == kRecordDataMax);

template <std::size_t N>
std::array<std::uint8_t, N> tagged(Tag tag) {
  std::array<std::uint8_t, N> frame{};
  frame[0] = static_cast<std::uint8_t>(tag);
  return frame;
}

std::array<std::uint8_t, kHelloSize> encode(const ImageHello& hello) {
  auto frame = tagged<kHelloSize>(Tag::kHello);
  frame[1] = kVersion;
  frame[2] = static_cast<std::uint8_t>(hello.kind);
  std::ranges::copy(hello.triad.bytes, frame.begin() + 3);
  std::ranges::copy(hello.job.bytes, frame.begin() + 19);
  base::put_le64(MutableByteView(frame).subspan(35), hello.epoch.value);
  return frame;
}

std::array<std::uint8_t, kDataHeaderSize> data_header(std::uint16_t image) {
  auto frame = tagged<kDataHeaderSize>(Tag::kData);
  put_le16(MutableByteView(frame).subspan(1), image);
  return frame;
}

}  // namespace

bool image_name_valid(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  };
  return !name.empty() && name.size() <= kImageNameMax && name.front() != '.' &&
         std::ranges::all_of(name, allowed);
}

ImageTranscript::ImageTranscript(const Hash512& handshake_hash) {
  hasher_.add(base::as_bytes("tern image stream 1"));
  hasher_.add(handshake_hash);
}

void ImageTranscript::add(ByteView framed, std::size_t unhashed_size) {
  // Sizes first, so that no two sequences of records give the same input.
  std::array<std::uint8_t, 8> sizes{};
  base::put_le32(sizes, static_cast<std::uint32_t>(framed.size()));
  base::put_le32(MutableByteView(sizes).subspan(4), static_cast<std::uint32_t>(unhashed_size));
  hasher_.add(sizes);
  hasher_.add(framed);
}

// ---- sender

ImageSender::ImageSender(const Hash512& handshake_hash) : transcript_(handshake_hash) {}

ImageSender::Image& ImageSender::open_image(std::uint16_t image) {
  CHECK(state_ == State::kStreaming);
  CHECK(image < images_.size());
  CHECK(!images_[image].ended);
  return images_[image];
}

Status ImageSender::hello(SecureStream& stream, const ImageHello& hello) {
  CHECK(state_ == State::kFresh);
  const auto frame = encode(hello);
  if (auto sent = stream.send(frame); !sent) return sent;
  transcript_.add(frame, 0);
  state_ = State::kStreaming;
  return {};
}

Result<std::uint16_t> ImageSender::begin(SecureStream& stream, std::string_view name) {
  CHECK(state_ == State::kStreaming);
  if (!image_name_valid(name)) return fail(Code::kInvalid, "an image has an unusable name");
  if (names_.contains(name)) return fail(Code::kInvalid, "an image is written twice");
  if (images_.size() >= kImagesMax) return fail(Code::kTooLarge, "too many images");
  const std::uint16_t index = static_cast<std::uint16_t>(images_.size());
  Bytes frame(1 + kIndexSize);
  frame[0] = static_cast<std::uint8_t>(Tag::kStart);
  put_le16(MutableByteView(frame).subspan(1), index);
  frame.insert(frame.end(), name.begin(), name.end());
  if (auto sent = stream.send(frame); !sent) return sent.error();
  transcript_.add(frame, 0);
  images_.emplace_back();
  names_.emplace(name, index);
  return index;
}

Status ImageSender::data(SecureStream& stream, std::uint16_t image, ByteView bytes) {
  Image& target = open_image(image);
  CHECK(!bytes.empty());
  const auto header = data_header(image);
  if (auto sent = stream.send({header, bytes}); !sent) return sent;
  transcript_.add(header, bytes.size());
  target.size += bytes.size();
  bytes_ += bytes.size();
  return {};
}

Result<MutableByteView> ImageSender::prepare_data(SecureStream& stream, std::uint16_t image,
                                                  std::size_t size) {
  (void)open_image(image);
  const auto space = stream.prepare(kDataHeaderSize + size);
  if (!space) return space.error();
  std::ranges::copy(data_header(image), space->begin());
  prepared_image_ = image;
  return space->subspan(kDataHeaderSize);
}

void ImageSender::commit_data(SecureStream& stream, std::size_t used) {
  Image& target = open_image(prepared_image_);
  CHECK(used > 0);
  stream.commit(kDataHeaderSize + used);
  transcript_.add(data_header(prepared_image_), used);
  target.size += used;
  bytes_ += used;
}

Status ImageSender::end(SecureStream& stream, std::uint16_t image) {
  Image& target = open_image(image);
  auto frame = tagged<kEndSize>(Tag::kEnd);
  put_le16(MutableByteView(frame).subspan(1), image);
  base::put_le64(MutableByteView(frame).subspan(3), target.size);
  if (auto sent = stream.send(frame); !sent) return sent;
  transcript_.add(frame, 0);
  target.ended = true;
  return {};
}

Status ImageSender::output(SecureStream& stream, std::uint8_t number, std::uint64_t offset,
                           ByteView bytes) {
  CHECK(state_ == State::kStreaming);
  CHECK(number == 1 || number == 2);
  CHECK(!bytes.empty());
  if (outputs_ >= kOutputTailsMax) return fail(Code::kTooLarge, "too much undelivered output");
  auto frame = tagged<kOutputHeaderSize>(Tag::kOutput);
  frame[1] = number;
  base::put_le64(MutableByteView(frame).subspan(2), offset);
  if (auto sent = stream.send({frame, bytes}); !sent) return sent;
  transcript_.add(frame, bytes.size());
  ++outputs_;
  return {};
}

Status ImageSender::metadata(SecureStream& stream, ByteView bytes) {
  CHECK(state_ == State::kStreaming);
  CHECK(!has_metadata_);
  CHECK(!bytes.empty());
  if (bytes.size() > kMetadataMax) return fail(Code::kTooLarge, "the metadata are too large");
  Bytes frame{static_cast<std::uint8_t>(Tag::kMetadata)};
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  if (auto sent = stream.send(frame); !sent) return sent;
  transcript_.add(frame, 0);
  has_metadata_ = true;
  return {};
}

SealSummary ImageSender::seal_summary() {
  if (summary_) return *summary_;
  CHECK(state_ == State::kStreaming);
  for (const Image& image : images_) CHECK(image.ended);
  state_ = State::kClosing;
  summary_ = SealSummary{static_cast<std::uint32_t>(images_.size()), bytes_, transcript_.finish()};
  return *summary_;
}

Status ImageSender::seal(SecureStream& stream) {
  CHECK(state_ == State::kClosing);
  auto frame = tagged<kSealSize>(Tag::kSeal);
  base::put_le32(MutableByteView(frame).subspan(1), summary_->images);
  base::put_le64(MutableByteView(frame).subspan(5), summary_->bytes);
  std::ranges::copy(summary_->hash, frame.begin() + 13);
  if (auto sent = stream.send(frame); !sent) return sent;
  state_ = State::kSealed;
  return {};
}

// ---- receiver

Result<Bytes> image_contents(const Image& image, std::size_t size_max) {
  Bytes out;
  for (const Buffer& chunk : image.chunks) {
    if (chunk.size() > size_max - out.size()) {
      return fail(Code::kTooLarge, "an image is too large to be checked");
    }
    const ByteView bytes = chunk.view();
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

ImageReceiver::ImageReceiver(const Hash512& handshake_hash, std::uint64_t total_max)
    : transcript_(handshake_hash), total_max_(total_max) {}

Status ImageReceiver::feed(Buffer record) {
  if (state_ == State::kFailed) return fail(Code::kInvalid, "the checkpoint was refused before");
  auto status = dispatch(std::move(record));
  if (!status) {
    state_ = State::kFailed;
    images_.clear();
    by_index_.clear();
    outputs_.clear();
    metadata_.clear();
  }
  return status;
}

Status ImageReceiver::dispatch(Buffer record) {
  if (record.empty()) return fail(Code::kInvalid, "an empty record in a checkpoint");
  if (state_ == State::kSealed) return fail(Code::kInvalid, "a record after the seal");
  const ByteView body = record.view().subspan(1);
  const Tag tag{record.view()[0]};
  if ((tag == Tag::kHello) != (state_ == State::kHello)) {
    return fail(Code::kInvalid, "a checkpoint does not begin with its hello");
  }
  const bool whole = tag != Tag::kData && tag != Tag::kOutput && tag != Tag::kSeal;
  if (whole) transcript_.add(record.view(), 0);
  switch (tag) {
    case Tag::kHello:
      return on_hello(body);
    case Tag::kStart:
      return on_start(body);
    case Tag::kData:
      return on_data(std::move(record));
    case Tag::kEnd:
      return on_end(body);
    case Tag::kOutput:
      return on_output(std::move(record));
    case Tag::kMetadata:
      return on_metadata(body);
    case Tag::kSeal:
      return on_seal(body);
  }
  return fail(Code::kInvalid, "a record of an unknown kind in a checkpoint");
}

Status ImageReceiver::charge(std::size_t size) {
  const std::uint64_t cost = std::uint64_t{size} + kImageRecordCost;
  full_ = cost > total_max_ - held_;
  if (full_) return fail(Code::kTooLarge, "the checkpoint is too large");
  held_ += cost;
  return {};
}

Status ImageReceiver::on_hello(ByteView body) {
  if (body.size() != kHelloSize - 1 || body[0] != kVersion) {
    return fail(Code::kInvalid, "a checkpoint's hello is not understood");
  }
  ImageHello hello;
  hello.kind = ImageHello::Kind{body[1]};
  if (hello.kind < ImageHello::Kind::kHandover || hello.kind > ImageHello::Kind::kFilesLook) {
    return fail(Code::kInvalid, "a checkpoint of an unknown kind");
  }
  std::ranges::copy(body.subspan(2, 16), hello.triad.bytes.begin());
  std::ranges::copy(body.subspan(18, 16), hello.job.bytes.begin());
  hello.epoch = base::Epoch{base::get_le64(body.subspan(34))};
  hello_ = hello;
  state_ = State::kStreaming;
  return {};
}

Status ImageReceiver::on_start(ByteView body) {
  if (body.size() < kIndexSize) return fail(Code::kInvalid, "an image without an index");
  const std::string_view name = base::as_text(body.subspan(kIndexSize));
  if (get_le16(body) != by_index_.size()) return fail(Code::kInvalid, "an image out of order");
  if (by_index_.size() >= kImagesMax) return fail(Code::kTooLarge, "too many images");
  if (!image_name_valid(name)) return fail(Code::kInvalid, "an image has an unusable name");
  if (auto charged = charge(name.size()); !charged) return charged;
  const auto [at, fresh] = images_.try_emplace(std::string(name));
  if (!fresh) return fail(Code::kInvalid, "an image comes twice");
  by_index_.push_back(&at->second);
  return {};
}

Result<Image*> ImageReceiver::open_image(ByteView body) {
  if (body.size() < kIndexSize) return fail(Code::kInvalid, "a record without an image");
  const std::size_t index = get_le16(body);
  if (index >= by_index_.size()) return fail(Code::kInvalid, "data of an unknown image");
  if (by_index_[index]->ended) return fail(Code::kInvalid, "data of an image that has ended");
  return by_index_[index];
}

Status ImageReceiver::on_data(Buffer record) {
  auto image = open_image(record.view().subspan(1));
  if (!image) return image.error();
  if (record.size() == kDataHeaderSize) return fail(Code::kInvalid, "an empty piece of an image");
  const std::size_t size = record.size() - kDataHeaderSize;
  if (auto charged = charge(record.size()); !charged) return charged;
  transcript_.add(record.view().first(kDataHeaderSize), size);
  record.drop_front(kDataHeaderSize);
  (*image)->size += size;
  bytes_ += size;
  (*image)->chunks.push_back(std::move(record));
  return {};
}

Status ImageReceiver::on_end(ByteView body) {
  auto image = open_image(body);
  if (!image) return image.error();
  if (body.size() != kEndSize - 1 || base::get_le64(body.subspan(kIndexSize)) != (*image)->size) {
    return fail(Code::kInvalid, "an image is not as long as its end says");
  }
  (*image)->ended = true;
  return {};
}

Status ImageReceiver::on_output(Buffer record) {
  const ByteView frame = record.view();
  if (frame.size() <= kOutputHeaderSize) return fail(Code::kInvalid, "empty output of a job");
  OutputTail tail;
  tail.stream = frame[1];
  tail.offset = base::get_le64(frame.subspan(2));
  const std::size_t size = frame.size() - kOutputHeaderSize;
  if (tail.stream != 1 && tail.stream != 2) return fail(Code::kInvalid, "output of no stream");
  if (tail.offset > UINT64_MAX - size) return fail(Code::kInvalid, "output beyond any offset");
  if (outputs_.size() >= kOutputTailsMax) return fail(Code::kTooLarge, "too much output");
  if (auto charged = charge(frame.size()); !charged) return charged;
  transcript_.add(frame.first(kOutputHeaderSize), size);
  record.drop_front(kOutputHeaderSize);
  tail.bytes = std::move(record);
  outputs_.push_back(std::move(tail));
  return {};
}

Status ImageReceiver::on_metadata(ByteView body) {
  if (!metadata_.empty()) return fail(Code::kInvalid, "metadata come twice");
  if (body.empty()) return fail(Code::kInvalid, "empty metadata");
  if (body.size() > kMetadataMax) return fail(Code::kTooLarge, "the metadata are too large");
  if (auto charged = charge(body.size()); !charged) return charged;
  metadata_ = base::to_bytes(body);
  return {};
}

Status ImageReceiver::on_seal(ByteView body) {
  if (body.size() != kSealSize - 1) return fail(Code::kInvalid, "a seal of the wrong size");
  for (const Image* image : by_index_) {
    if (!image->ended) return fail(Code::kInvalid, "a seal before the end of an image");
  }
  SealSummary told;
  told.images = base::get_le32(body);
  told.bytes = base::get_le64(body.subspan(4));
  std::ranges::copy(body.subspan(12), told.hash.begin());
  const SealSummary seen{static_cast<std::uint32_t>(by_index_.size()), bytes_,
                         transcript_.finish()};
  if (told != seen) return fail(Code::kUnauthentic, "the seal is not of what was received");
  seal_ = told;
  state_ = State::kSealed;
  return {};
}

ImageSet ImageReceiver::take_images() {
  CHECK(state_ == State::kSealed);
  by_index_.clear();
  return std::exchange(images_, {});
}

std::vector<OutputTail> ImageReceiver::take_outputs() {
  CHECK(state_ == State::kSealed);
  return std::exchange(outputs_, {});
}

}  // namespace transfer
