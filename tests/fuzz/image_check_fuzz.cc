// check_images. The input is a set of images: u8 name size, name, u16 size, bytes. Its first byte:
// bit 0 allows root, bits 1.. the size of the chunks. Pages come as a size only (u16, in units of
// 4096), so that small inputs describe whole sets.
#include <algorithm>
#include <string>

#include "base/check.h"
#include "transfer/image_check.h"

using base::ByteView;
using namespace transfer;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  CheckPolicy policy;
  policy.allow_root = (data[0] & 1) != 0;
  policy.uid = policy.allow_root ? 0 : 1000;
  policy.gid = policy.uid;
  const std::size_t chunk = 1 + (data[0] >> 1) * 8U;
  ByteView rest = ByteView(data, size).subspan(1);
  ImageSet set;
  while (!rest.empty()) {
    const std::size_t name_size = std::min<std::size_t>(rest[0], rest.size() - 1);
    const std::string name(base::as_text(rest.subspan(1, name_size)));
    rest = rest.subspan(1 + name_size);
    if (rest.size() < 2) break;
    const std::size_t wanted = rest[0] + 256U * rest[1];
    rest = rest.subspan(2);
    Image& image = set[name];
    image.ended = true;
    if (name.starts_with("pages-")) {
      image.size = wanted * 4096;  // the contents of pages are never looked at
      continue;
    }
    ByteView bytes = rest.first(std::min(wanted, rest.size()));
    rest = rest.subspan(bytes.size());
    while (!bytes.empty()) {
      Buffer piece(std::min(chunk, bytes.size()));
      std::copy_n(bytes.begin(), piece.size(), piece.mutable_view().begin());
      bytes = bytes.subspan(piece.size());
      image.size += piece.size();
      image.chunks.push_back(std::move(piece));
    }
  }
  const auto facts = check_images(set, policy);
  if (!facts.ok()) return 0;
  CHECK(!facts->pids.empty());
  CHECK(!facts->exes.empty());
  for (const FileFact& file : facts->files) CHECK(file.path.front() == '/');
  return 0;
}
