// The static programs that jobs and their dumps need, carried inside tern and written out at start.
//
// Their file names hold their hash, and files are never changed: a checkpoint names its init by
// path, so a job started under an older tern finds its own init on every node that has ever had
// it. The folder must be the same absolute path on all nodes (CRIU compares paths).
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace machine {

struct Helpers {
  std::string init_path;
  std::string keeper_path;
  std::string guard_path;
  std::string gentle_path;  // a library
  std::string enter_path;
  std::string procview_path;  // a library
};

// Makes `dir` and what is missing in it (0755), each file whole and on disk before it has its
// name. A file that is there with other content is replaced. Safe when several start at once.
[[nodiscard]] base::Result<Helpers> install_helpers(const std::string& dir);

// root: /var/lib/tern/helpers; others: $XDG_DATA_HOME or ~/.local/share, tern/helpers. The caller
// reads the environment and passes what it found; empty texts are absent variables.
[[nodiscard]] base::Result<std::string> default_helpers_dir(bool root, const std::string& home,
                                                            const std::string& xdg_data_home);

// PREFIX-<first 16 hexadecimal digits of the content's BLAKE2b-256>.
[[nodiscard]] std::string helper_file_name(const std::string& prefix, base::ByteView content);
[[nodiscard]] base::ByteView embedded_init();
[[nodiscard]] base::ByteView embedded_keeper();
[[nodiscard]] base::ByteView embedded_guard();
[[nodiscard]] base::ByteView embedded_gentle();
[[nodiscard]] base::ByteView embedded_enter();
[[nodiscard]] base::ByteView embedded_procview();

}  // namespace machine
