#include "node/move_metadata.h"

#include "base/wire.h"
#include "node/limits.h"

namespace node {
namespace {
constexpr std::uint64_t kVersion = 2;
}  // namespace

base::Bytes encode(const MoveMetadata& metadata) {
  base::Writer w;
  w.array(8).u64(kVersion).bin(encode(metadata.spec));
  for (const std::uint64_t offset : metadata.acknowledged) w.u64(offset);
  for (const std::uint64_t offset : metadata.ends) w.u64(offset);
  w.array(metadata.stopped.size());
  for (const std::int32_t pid : metadata.stopped) w.i64(pid);
  w.boolean(metadata.queued);
  return w.take();
}

base::Result<MoveMetadata> decode_move_metadata(base::ByteView bytes) {
  base::Reader r(bytes);
  MoveMetadata metadata;
  r.array_of(8);
  if (r.u64() != kVersion) r.reject("an unknown version of a move's metadata");
  const base::ByteView spec_bytes = r.bin(kMessageSizeMax);
  for (std::uint64_t& offset : metadata.acknowledged) offset = r.u64();
  for (std::uint64_t& offset : metadata.ends) offset = r.u64();
  metadata.stopped.resize(r.array(kStoppedMax));
  for (std::int32_t& pid : metadata.stopped) {
    const std::int64_t value = r.i64();
    if (value < 1 || value > INT32_MAX) r.reject("no process id");
    pid = static_cast<std::int32_t>(value);
  }
  metadata.queued = r.boolean();
  for (std::size_t s = 0; s < metadata.ends.size(); ++s) {
    if (metadata.ends[s] < metadata.acknowledged[s]) r.reject("output ends before it was read");
  }
  if (base::Status status = r.finish(); !status) return status.error();
  auto spec = decode_spec(spec_bytes);
  if (!spec) return spec.error();
  metadata.spec = std::move(*spec);
  return metadata;
}

}  // namespace node
