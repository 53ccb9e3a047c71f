#include "base/file_digest.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace base {
namespace {

constexpr std::array<std::uint8_t, 65536> kZeros{};

const crypto::Hash256& hash_of_zero_chunk() {
  static const crypto::Hash256 kHash = [] {
    crypto::Hasher hasher;
    for (std::uint64_t at = 0; at < FileDigest::kChunk; at += kZeros.size()) hasher.add(kZeros);
    return hasher.finish();
  }();
  return kHash;
}

}  // namespace

FileDigest::FileDigest(const crypto::Hash256& chain, std::uint64_t size)
    : chain_(chain), size_(size) {
  CHECK(size % kChunk == 0);
}

void FileDigest::end_chunk(const crypto::Hash256& hash) {
  chain_ = crypto::hash256({chain_, hash});
  chunk_.reset();
}

void FileDigest::add(ByteView bytes) {
  while (!bytes.empty()) {
    const std::uint64_t left = kChunk - size_ % kChunk;
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size()));
    if (piece == kChunk) {
      end_chunk(crypto::hash256({bytes.first(piece)}));
    } else {
      if (!chunk_) chunk_.emplace();
      chunk_->add(bytes.first(piece));
      if (piece == left) end_chunk(chunk_->finish());
    }
    size_ += piece;
    bytes = bytes.subspan(piece);
  }
}

void FileDigest::add_zeros(std::uint64_t count) {
  while (count > 0) {
    if (size_ % kChunk == 0 && count >= kChunk) {
      end_chunk(hash_of_zero_chunk());
      size_ += kChunk;
      count -= kChunk;
      continue;
    }
    const std::uint64_t left = std::min(count, kChunk - size_ % kChunk);
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(left, kZeros.size()));
    add(ByteView(kZeros).first(piece));
    count -= piece;
  }
}

const crypto::Hash256& FileDigest::chain() const {
  CHECK(!chunk_.has_value());
  return chain_;
}

crypto::Hash256 FileDigest::finish() {
  std::array<std::uint8_t, 8> size{};
  put_le64(size, size_);
  if (!chunk_) return crypto::hash256({chain_, size});
  const crypto::Hash256 rest = chunk_->finish();
  return crypto::hash256({chain_, rest, size});
}

}  // namespace base
