// The images of one checkpoint, kept in memory between the transport and CRIU: written in any
// interleaving, read image by image, freed as it is served.
//
// Memory comes in chunks of kChunkSize, mapped and pre-faulted in one go (first touches dominate
// everything else here), and goes back to the kernel chunk by chunk. A bound on the whole is the
// caller's promise to the machine: append() refuses with kFull beyond it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "criu/restore_session.h"

namespace criu {

class MemoryImages : public ImageSource {
 public:
  static constexpr std::size_t kChunkSize = 4 << 20;
  explicit MemoryImages(std::uint64_t size_max) : size_max_(size_max) {}
  ~MemoryImages() override;
  MemoryImages(const MemoryImages&) = delete;
  MemoryImages& operator=(const MemoryImages&) = delete;

  // Maps and touches chunks for `size` bytes ahead of their use, at most size_max in all.
  base::Status reserve(std::uint64_t size);
  // An image without data exists too. kExists, kFull (kImagesMax).
  base::Status add(const std::string& name);
  base::Status append(const std::string& name, base::ByteView data);  // kNotFound, kFull
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  [[nodiscard]] bool exists(std::string_view name) override;
  [[nodiscard]] base::ByteView peek(std::string_view name) override;
  void consume(std::string_view name, std::size_t count) override;

 private:
  struct Chunk {
    std::uint8_t* data = nullptr;
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  using Image = std::deque<Chunk>;
  base::Result<Chunk> fresh_chunk();

  std::uint64_t size_max_;
  std::uint64_t bytes_ = 0;   // written, ever
  std::uint64_t mapped_ = 0;  // by chunks that exist now
  std::map<std::string, Image, std::less<>> images_;
  std::deque<Chunk> spare_;
};

}  // namespace criu
