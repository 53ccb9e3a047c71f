// BLAKE2b-256 of a file, in chunks: what both ends of a share compare (design.md §7).
//
//   chain(0) = zeros    chain(n) = H(chain(n-1) | H(chunk n))      chunks of kChunk bytes
//   digest   = H(chain of the whole chunks | H(rest), if there is one | size as 8 bytes)
//
// Since the chain at a chunk's end is all that the rest needs, a transfer that broke off is taken
// up there, and a hole costs one hash a chunk, whose value is known.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/crypto.h"

namespace base {

class FileDigest {
 public:
  static constexpr std::uint64_t kChunk = std::uint64_t{1} << 20;

  FileDigest() = default;
  // Goes on behind `size` bytes, whole chunks (CHECK), that had this chain.
  FileDigest(const crypto::Hash256& chain, std::uint64_t size);

  void add(ByteView bytes);
  void add_zeros(std::uint64_t count);
  [[nodiscard]] std::uint64_t size() const { return size_; }
  // Of the whole chunks so far; legal only where the last one has just ended (CHECK).
  [[nodiscard]] const crypto::Hash256& chain() const;
  [[nodiscard]] crypto::Hash256 finish();  // of all; at most once

 private:
  void end_chunk(const crypto::Hash256& hash);

  crypto::Hash256 chain_{};
  std::uint64_t size_ = 0;
  std::optional<crypto::Hasher> chunk_;  // of the chunk that is not whole yet
};

}  // namespace base
