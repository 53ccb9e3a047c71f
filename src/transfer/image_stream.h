// A checkpoint on its way: CRIU's images, the job's undelivered output and a metadata blob as
// records of one SecureStream (wire.h, "Image stream"), sealed at the end. No disk, no waiting:
// the sender passes images on while CRIU writes them, several at once; the receiver holds them in
// the buffers in which they were opened, since CRIU's restore wants them in another order.
//
//   sender    kStreaming --seal_summary()--> kClosing --seal()--> kSealed
//   receiver  kHello --hello--> kStreaming --seal--> kSealed;  any mistake --> kFailed, for good
//
// The seal (design.md §4.2) is in two steps, so that the sender's host can store that it will seal
// before the peer can have it. Without a seal there is no checkpoint: take_images() is legal only
// when sealed.
//
// What the seal's hash covers, and why not every page: the object must be verified before use, and
// it is: each record is authenticated by the stream's AEAD under keys that only the two ends of
// this handshake have, in order (the nonce counts), and the stream's end is explicit; a damaged,
// missing, doubled or reordered byte closes the stream. Hashing 512 MB again at 1 GB/s would halve
// the speed and add no authenticity. So the hash names the checkpoint: BLAKE2b-256 over a label,
// the handshake hash (Noise §11.2: unique to this connection, hence to these bytes), and every
// record as it was framed: whole for hello, names, ends and metadata, header and length for image
// data and output. Both sides compute it; unequal views of what was sent refuse the seal.
//
// Limits: limits.h, and `total_max` for all that the receiver holds, bookkeeping included.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/ids.h"
#include "base/result.h"
#include "transfer/buffer.h"
#include "transfer/limits.h"
#include "transfer/secure_stream.h"

namespace transfer {

using base::crypto::Hash256;
using base::crypto::Hash512;

inline constexpr std::size_t kImageDataMax = kRecordDataMax - 3;
inline constexpr std::size_t kOutputTailMax = kRecordDataMax - 10;

struct ImageHello {
  // kFilesHome: no checkpoint follows, but a job's files (job_files.h); there is no triad.
  // kFilesLook: nor those, but a list of them, to hear whether they could come; since 2.
  enum class Kind : std::uint8_t { kHandover = 1, kParked = 2, kFilesHome = 3, kFilesLook = 4 };
  Kind kind = Kind::kHandover;
  base::TriadId triad;
  base::JobId job;
  base::Epoch epoch;
  friend bool operator==(const ImageHello&, const ImageHello&) = default;
};

struct SealSummary {
  std::uint32_t images = 0;
  std::uint64_t bytes = 0;  // of image data
  Hash256 hash{};
  friend bool operator==(const SealSummary&, const SealSummary&) = default;
};

[[nodiscard]] bool image_name_valid(std::string_view name);

// The running hash of both ends.
class ImageTranscript {
 public:
  explicit ImageTranscript(const Hash512& handshake_hash);
  void add(base::ByteView framed, std::size_t unhashed_size);  // what is hashed, what follows it
  [[nodiscard]] Hash256 finish() { return hasher_.finish(); }

 private:
  base::crypto::Hasher hasher_;
};

// Writes into a stream that is open and stays the caller's. Every function that sends returns kFull
// when the stream has no room now; then nothing happened and the same call is to be made again.
// Misuse by the caller (an unknown index, data after the end of an image) is a CHECK.
class ImageSender {
 public:
  explicit ImageSender(const Hash512& handshake_hash);

  [[nodiscard]] base::Status hello(SecureStream& stream, const ImageHello& hello);  // first, once
  // The index of the new image. kInvalid: a bad name, or one used before; kTooLarge: kImagesMax.
  [[nodiscard]] base::Result<std::uint16_t> begin(SecureStream& stream, std::string_view name);
  // At most kImageDataMax bytes.
  [[nodiscard]] base::Status data(SecureStream& stream, std::uint16_t image, base::ByteView bytes);
  // The same without a copy: read into what prepare_data() returns, then commit what was read.
  [[nodiscard]] base::Result<base::MutableByteView> prepare_data(SecureStream& stream,
                                                                 std::uint16_t image,
                                                                 std::size_t size);
  void commit_data(SecureStream& stream, std::size_t used);
  [[nodiscard]] base::Status end(SecureStream& stream, std::uint16_t image);
  // `number` is 1 (stdout) or 2 (stderr); at most kOutputTailMax bytes.
  [[nodiscard]] base::Status output(SecureStream& stream, std::uint8_t number, std::uint64_t offset,
                                    base::ByteView bytes);
  [[nodiscard]] base::Status metadata(SecureStream& stream, base::ByteView bytes);  // at most once

  // Legal when every image has ended; nothing but seal() may follow. Store it, then seal().
  [[nodiscard]] SealSummary seal_summary();
  [[nodiscard]] base::Status seal(SecureStream& stream);
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  enum class State { kFresh, kStreaming, kClosing, kSealed };
  struct Image {
    std::uint64_t size = 0;
    bool ended = false;
  };
  [[nodiscard]] Image& open_image(std::uint16_t image);

  State state_ = State::kFresh;
  ImageTranscript transcript_;
  std::vector<Image> images_;
  std::map<std::string, std::uint16_t, std::less<>> names_;
  std::uint64_t bytes_ = 0;
  bool has_metadata_ = false;
  std::uint32_t outputs_ = 0;
  std::uint16_t prepared_image_ = 0;
  std::optional<SealSummary> summary_;
};

struct Image {
  std::deque<Buffer> chunks;  // none is empty; pop_front() frees what was served
  std::uint64_t size = 0;     // as received; popping does not change it
  bool ended = false;
};

struct OutputTail {
  std::uint8_t stream = 0;  // 1 or 2
  std::uint64_t offset = 0;
  Buffer bytes;
};

using ImageSet = std::map<std::string, Image, std::less<>>;

// The first bytes of an image as one piece, at most `size_max`; kTooLarge when it has more.
[[nodiscard]] base::Result<base::Bytes> image_contents(const Image& image, std::size_t size_max);

class ImageReceiver {
 public:
  enum class State { kHello, kStreaming, kSealed, kFailed };

  // `total_max`: bytes of memory that the peer may make this hold, at least one record.
  ImageReceiver(const Hash512& handshake_hash, std::uint64_t total_max);

  // The bytes of one Data event. Any error is final: kInvalid not the protocol, kTooLarge a limit,
  // kUnauthentic the seal does not match what came.
  [[nodiscard]] base::Status feed(Buffer record);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool full() const { return full_; }  // it failed since more than total_max came
  [[nodiscard]] const std::optional<ImageHello>& hello() const { return hello_; }
  [[nodiscard]] const std::optional<SealSummary>& seal() const { return seal_; }
  [[nodiscard]] const base::Bytes& metadata() const { return metadata_; }  // empty: none came
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }             // image data so far
  // Legal when kSealed, once each.
  [[nodiscard]] ImageSet take_images();
  [[nodiscard]] std::vector<OutputTail> take_outputs();

 private:
  [[nodiscard]] base::Status dispatch(Buffer record);
  [[nodiscard]] base::Status on_hello(base::ByteView body);
  [[nodiscard]] base::Status on_start(base::ByteView body);
  [[nodiscard]] base::Status on_data(Buffer record);
  [[nodiscard]] base::Status on_end(base::ByteView body);
  [[nodiscard]] base::Status on_output(Buffer record);
  [[nodiscard]] base::Status on_metadata(base::ByteView body);
  [[nodiscard]] base::Status on_seal(base::ByteView body);
  [[nodiscard]] base::Status charge(std::size_t size);
  [[nodiscard]] base::Result<Image*> open_image(base::ByteView body);

  State state_ = State::kHello;
  ImageTranscript transcript_;
  std::uint64_t total_max_;
  std::uint64_t held_ = 0;
  bool full_ = false;
  std::uint64_t bytes_ = 0;
  std::optional<ImageHello> hello_;
  std::optional<SealSummary> seal_;
  base::Bytes metadata_;
  ImageSet images_;
  std::vector<Image*> by_index_;  // into images_, whose nodes do not move
  std::vector<OutputTail> outputs_;
};

}  // namespace transfer
