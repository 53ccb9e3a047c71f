// A folder by its path, where nobody else may choose which folder that is.
//
// Whoever owns a folder on the way can put a link, or another folder, in place of what is below it;
// whoever owns a link can, by making it anew. So each folder and link on the way must belong to
// root, to this process's user, or to the owner of the folder at the end. The path is walked name
// by name, by descriptors, so that what was looked at is what was passed.
#pragma once

#include <string>

#include "base/result.h"
#include "machine/fd.h"

namespace machine {

// Made where it is missing: mode 0700, the folders above it by the umask. kRefused: somebody else
// could lead the way elsewhere; the error names what is in the way, and nothing was made.
[[nodiscard]] base::Result<Fd> open_guarded_folder(const std::string& path);

}  // namespace machine
