// What somebody shares, read with her own rights: `tern share` runs as her, so the kernel decides
// what she may read, and the daemon, which may be root, opens nothing for her. Blocking.
//
// Files and folders go, links within what is shared stay links; a path that is named is followed if
// it is a link. Sockets, pipes and devices are left out, and links that lead out; each is said.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file_digest.h"
#include "machine/fd.h"
#include "transfer/share_manifest.h"

namespace machine {

struct ShareSource {
  transfer::ShareManifest manifest;            // sealed
  std::map<std::uint32_t, std::string> roots;  // absolute path of each top
  std::vector<std::string> skipped;            // sentences; at most kSkippedMax
  std::size_t skipped_count = 0;
  std::uint64_t disk_bytes = 0;  // without holes

  static constexpr std::size_t kSkippedMax = 20;
  // Of a file, to open it: by its top's root.
  [[nodiscard]] std::string path(std::uint32_t entry) const;
};

// kNotFound, kRefused (not readable: nothing is sent then), kInvalid, kTooLarge; each with the
// path.
[[nodiscard]] base::Result<ShareSource> find_share(const std::vector<std::string>& paths);

// One file while it is sent. Its errors are sentences without its name.
class ShareFile {
 public:
  // kStale: not as it was found; kNotFound, kRefused, kIo.
  [[nodiscard]] static base::Result<ShareFile> open(const ShareSource& source, std::uint32_t entry);
  struct Piece {
    std::uint64_t count = 0;  // at least 1
    bool hole = false;        // so many zeros; nothing was put into the buffer
  };
  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t left = 0;  // at least 1
  };
  // From its beginning on, as much as `into` holds. kStale: the file ends early.
  [[nodiscard]] base::Result<Piece> read(const Range& range, base::MutableByteView into);
  // Of its first `size` bytes.
  [[nodiscard]] base::Result<base::FileDigest> digest(std::uint64_t size);
  [[nodiscard]] base::Status unchanged() const;  // kStale

 private:
  Fd fd_;
  struct stat as_opened_ {};
  bool sparse_ = false;
  std::uint64_t data_end_ = 0;  // where the data around the last offset ends, if sparse
};

}  // namespace machine
