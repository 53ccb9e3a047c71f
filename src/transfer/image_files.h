// The open files of a checkpoint: the part of image_check.h that concerns files.img, unlinked
// files, memfds and terminals.
//
// Terminals are pseudo terminals of the job's own: whoever has a slave end open has its master in
// the same checkpoint, so that restoring makes a new pair and touches none that is here. CRIU makes
// them with the numbers that they had and tries 32 of them, so a number is below kTerminalsMax.
// Their files in /dev are named by terminals only, never opened as such.
#pragma once

#include <cstdint>
#include <map>

#include "base/result.h"
#include "transfer/image_check.h"
#include "transfer/image_load.h"
#include "transfer/image_schema.h"

namespace transfer::criu {

inline constexpr std::uint32_t kTerminalsMax = 32;

struct FileTable {
  std::map<std::uint32_t, FileType> types;     // by file id
  std::map<std::uint32_t, std::size_t> paths;  // id of a regular file to its index in facts.files
};

// Adds files and ports to `facts`.
[[nodiscard]] base::Result<FileTable> check_files(const LoadedImages& images,
                                                  const CheckPolicy& policy, ImageFacts& facts);

}  // namespace transfer::criu
