#include "criu/memory_images.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "criu/limits.h"

namespace criu {

MemoryImages::~MemoryImages() {
  for (auto& [name, image] : images_) {
    for (const Chunk& chunk : image) ::munmap(chunk.data, kChunkSize);
  }
  for (const Chunk& chunk : spare_) ::munmap(chunk.data, kChunkSize);
}

base::Result<MemoryImages::Chunk> MemoryImages::fresh_chunk() {
  if (!spare_.empty()) {
    const Chunk chunk = spare_.front();
    spare_.pop_front();
    return chunk;
  }
  void* data = ::mmap(nullptr, kChunkSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (data == MAP_FAILED) {
    return base::fail(base::Code::kFull,
                      std::string("no memory for the checkpoint: ") + std::strerror(errno));
  }
  mapped_ += kChunkSize;
  return Chunk{static_cast<std::uint8_t*>(data), 0, 0};
}

base::Status MemoryImages::reserve(std::uint64_t size) {
  const std::uint64_t wanted = std::min(size, size_max_);
  while (spare_.size() * kChunkSize < wanted) {
    // Not from the spare ones: that would go in circles.
    std::deque<Chunk> kept = std::move(spare_);
    spare_.clear();
    auto chunk = fresh_chunk();
    spare_ = std::move(kept);
    if (!chunk) return chunk.error();
    spare_.push_back(*chunk);
  }
  return {};
}

base::Status MemoryImages::add(const std::string& name) {
  if (images_.size() >= kImagesMax) return base::fail(base::Code::kFull, "too many images");
  if (!images_.try_emplace(name).second) {
    return base::fail(base::Code::kExists, "image " + name + " comes twice");
  }
  return {};
}

base::Status MemoryImages::append(const std::string& name, base::ByteView data) {
  const auto at = images_.find(name);
  if (at == images_.end()) return base::fail(base::Code::kNotFound, "no image " + name);
  if (data.size() > size_max_ - bytes_) {
    return base::fail(base::Code::kFull, "the checkpoint is larger than was announced");
  }
  while (!data.empty()) {
    if (at->second.empty() || at->second.back().end == kChunkSize) {
      auto chunk = fresh_chunk();
      if (!chunk) return chunk.error();
      at->second.push_back(*chunk);
    }
    Chunk& chunk = at->second.back();
    const std::size_t count = std::min(data.size(), kChunkSize - chunk.end);
    std::memcpy(chunk.data + chunk.end, data.data(), count);
    chunk.end += count;
    bytes_ += count;
    data = data.subspan(count);
  }
  return {};
}

bool MemoryImages::exists(std::string_view name) { return images_.find(name) != images_.end(); }

base::ByteView MemoryImages::peek(std::string_view name) {
  const auto at = images_.find(name);
  if (at == images_.end() || at->second.empty()) return {};
  const Chunk& chunk = at->second.front();
  return {chunk.data + chunk.begin, chunk.end - chunk.begin};
}

void MemoryImages::consume(std::string_view name, std::size_t count) {
  const auto at = images_.find(name);
  CHECK(at != images_.end());
  CHECK(!at->second.empty());
  Chunk& chunk = at->second.front();
  CHECK(count <= chunk.end - chunk.begin);
  chunk.begin += count;
  if (chunk.begin < chunk.end) return;
  ::munmap(chunk.data, kChunkSize);
  mapped_ -= kChunkSize;
  at->second.pop_front();
}

}  // namespace criu
