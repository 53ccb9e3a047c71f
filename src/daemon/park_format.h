// The bytes of a parked job's file. Pure: no file is touched here (park_file.h does that).
//
//   head     "ternpark", version u32 = 1, size of the manifest u32, manifest (node/park_manifest.h)
//   records  one zstd frame; each record: kind u8, image u32, size u32 <= 60 KiB, that many bytes
//              1 begin  its name            images are numbered from 0 in the order of their begins
//              2 data                       several may be open at once
//              3 end
//              4 all    images u32, bytes of data u64; the last one
//   hash     BLAKE2b-256 of everything before it
//
// Integers are little-endian. The file is this machine's own, but disks rot and people edit: what
// is read back has limits, and nothing of it is used before the hash was found right.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/result.h"
#include "node/park_manifest.h"
#include "transfer/limits.h"

namespace ternd {

inline constexpr std::size_t kParkHashSize = 32;
inline constexpr std::size_t kParkRecordMax = 60 * 1024;
inline constexpr int kParkWindowLogMax = 27;  // of the zstd frame: 128 MiB of memory at most

// Whole output so far, to be written in order.
class ParkEncoder {
 public:
  explicit ParkEncoder(const node::ParkManifest& manifest);
  ~ParkEncoder();
  ParkEncoder(const ParkEncoder&) = delete;
  ParkEncoder& operator=(const ParkEncoder&) = delete;
  // kInvalid: a bad name or one used before; kTooLarge: too many images.
  [[nodiscard]] base::Status begin(const std::string& name);
  [[nodiscard]] base::Status data(std::uint32_t image, base::ByteView bytes);  // any size
  [[nodiscard]] base::Status end(std::uint32_t image);
  [[nodiscard]] base::Status finish();  // every image has ended; nothing may follow
  [[nodiscard]] base::Bytes take_output();
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // of data

 private:
  [[nodiscard]] base::Status record(std::uint8_t kind, std::uint32_t image, base::ByteView bytes);
  [[nodiscard]] base::Status compress(base::ByteView bytes, bool last);
  void put(base::ByteView bytes);
  struct Zstd;
  std::unique_ptr<Zstd> zstd_;
  base::crypto::Hasher hasher_;
  base::Bytes output_;
  std::vector<std::string> names_;
  std::vector<bool> ended_;
  std::uint64_t bytes_ = 0;
};

class ParkVisitor {
 public:
  virtual ~ParkVisitor() = default;
  [[nodiscard]] virtual base::Status begin(std::uint32_t image, const std::string& name) = 0;
  [[nodiscard]] virtual base::Status data(std::uint32_t image, base::ByteView bytes) = 0;
  [[nodiscard]] virtual base::Status end(std::uint32_t image) = 0;
};

class ParkDecoder {
 public:
  // `file_size`: of the whole; `data_max`: bytes of data that the visitor will take.
  ParkDecoder(std::uint64_t file_size, std::uint64_t data_max);
  ~ParkDecoder();
  ParkDecoder(const ParkDecoder&) = delete;
  ParkDecoder& operator=(const ParkDecoder&) = delete;
  // The next bytes of the file, in any pieces. An error is final: the file is damaged (kInvalid,
  // kUnauthentic: its hash does not match), of a newer version (kUnsupported) or too large
  // (kTooLarge). What the visitor has seen counts only when done() holds.
  [[nodiscard]] base::Status feed(base::ByteView bytes, ParkVisitor& visitor);
  [[nodiscard]] bool done() const { return state_ == State::kDone; }  // hash and all
  // Once its bytes have been fed; not to be trusted before done().
  [[nodiscard]] const std::optional<node::ParkManifest>& manifest() const { return manifest_; }

 private:
  enum class State { kHead, kRecords, kHash, kDone, kFailed };
  [[nodiscard]] base::Status take(base::ByteView& bytes, ParkVisitor& visitor);
  [[nodiscard]] base::Status take_head(base::ByteView& bytes);
  [[nodiscard]] base::Status decompress(base::ByteView& bytes, ParkVisitor& visitor);
  [[nodiscard]] base::Status records(ParkVisitor& visitor);
  [[nodiscard]] base::Status one(std::uint8_t kind, std::uint32_t image, base::ByteView body,
                                 ParkVisitor& visitor);
  struct Zstd;
  std::unique_ptr<Zstd> zstd_;
  base::crypto::Hasher hasher_;
  State state_ = State::kHead;
  std::uint64_t left_;  // of the file before its hash
  std::uint64_t data_max_;
  std::uint64_t data_ = 0;
  base::Bytes pending_;  // of the head, of a record that is not whole, of the hash
  bool frame_over_ = false;
  bool all_ = false;  // the last record has come
  std::optional<node::ParkManifest> manifest_;
  std::vector<std::string> names_;
  std::vector<bool> ended_;
};

}  // namespace ternd
