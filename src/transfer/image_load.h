// Images cut into their entries, each held to its schema: the first half of image_check.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "transfer/image_schema.h"
#include "transfer/image_stream.h"

namespace transfer::criu {

struct LoadedImage {
  std::vector<base::ByteView> entries;  // views of LoadedImages::bytes
  std::uint64_t size = 0;               // of the whole image
};

struct LoadedImages {
  std::map<std::pair<ImageKind, std::uint64_t>, LoadedImage> images;
  std::deque<base::Bytes> bytes;

  [[nodiscard]] const LoadedImage* find(ImageKind kind, std::uint64_t number = 0) const;
};

[[nodiscard]] base::Result<LoadedImages> load_images(const ImageSet& images);

}  // namespace transfer::criu
