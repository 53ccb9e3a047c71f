// The open files of a checkpoint: the part of image_check.h that concerns files.img, unlinked files
// and memfds.
#pragma once

#include <cstdint>
#include <map>

#include "base/result.h"
#include "transfer/image_check.h"
#include "transfer/image_load.h"
#include "transfer/image_schema.h"

namespace transfer::criu {

struct FileTable {
  std::map<std::uint32_t, FileType> types;     // by file id
  std::map<std::uint32_t, std::size_t> paths;  // id of a regular file to its index in facts.files
};

// Adds files and ports to `facts`.
[[nodiscard]] base::Result<FileTable> check_files(const LoadedImages& images,
                                                  const CheckPolicy& policy, ImageFacts& facts);

}  // namespace transfer::criu
