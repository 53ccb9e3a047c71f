// What a share consists of: a flat list of files, folders and symbolic links. An entry names its
// parent by number, so that no path is ever taken apart: a name is one component, checked alone.
//
// Rules, held by both ends (add() and seal() are the only way in):
//  - Parents come before their children and are folders; an item that was named on the command line
//    has none (a *top*); the entries of one top stand together.
//  - A name is 1..255 bytes without '/' and zeros, and neither "." nor "..". Other bytes are free:
//    control characters are a person's affair, and are escaped where they are shown.
//  - A link's target is relative and stays within its top: ".." only at its beginning, at most as
//    often as there are folders between the link and its top. Behind a name no ".." may follow, as
//    that name may be a link itself. A top is no link.
//  - No two entries of one parent share a name.
//  - Modes are the permission bits; no set-user-ID, set-group-ID or sticky bit travels.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "base/result.h"
#include "transfer/share_limits.h"

namespace transfer {

enum class EntryKind : std::uint8_t { kFolder = 0, kFile = 1, kLink = 2 };

inline constexpr std::uint32_t kNoParent = UINT32_MAX;
inline constexpr std::uint32_t kShareModeBits = 0777;

struct ShareEntry {
  EntryKind kind = EntryKind::kFile;
  std::uint32_t parent = kNoParent;  // index of a folder
  std::string name;                  // bytes
  std::uint32_t mode = 0644;
  std::int64_t mtime_seconds = 0;
  std::uint32_t mtime_nanos = 0;
  std::uint64_t size = 0;  // of a file, in bytes
  std::string link;        // where a link leads
  friend bool operator==(const ShareEntry&, const ShareEntry&) = default;
};

// kInvalid, with a sentence that goes on behind the name: "has a slash in it".
[[nodiscard]] base::Status check_share_name(std::string_view name);
// `folders`: how many there are between the link and its top, the top not counted.
[[nodiscard]] bool link_stays_inside(std::string_view target, std::size_t folders);
// The `number`th name to try when `name`, the first, is taken: "photo (2).jpg", "tree (2)"; behind
// a name that has such a number itself the next ones: "photo (3).jpg". At most 255 bytes.
[[nodiscard]] std::string numbered_name(std::string_view name, unsigned number, bool folder);

class ShareManifest {
 public:
  // kInvalid, kTooLarge: nothing was added.
  [[nodiscard]] base::Status add(ShareEntry entry);
  // No entry follows. kInvalid: two of one name, or nothing at all.
  [[nodiscard]] base::Status seal();

  [[nodiscard]] const std::vector<ShareEntry>& entries() const { return entries_; }
  [[nodiscard]] const ShareEntry& entry(std::uint32_t index) const { return entries_[index]; }
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(entries_.size()); }
  [[nodiscard]] std::uint32_t top_of(std::uint32_t index) const { return tops_[index]; }
  [[nodiscard]] std::vector<std::uint32_t> tops() const;
  [[nodiscard]] std::uint32_t depth_of(std::uint32_t index) const { return depths_[index]; }
  // From the top's own name on: "tree/sub/file".
  [[nodiscard]] std::string path(std::uint32_t index) const;
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // of all files
  [[nodiscard]] std::uint32_t files() const { return files_; }
  // What a top looks like: names, kinds, sizes, times. The same again means unchanged.
  [[nodiscard]] base::crypto::Hash256 digest_of_top(std::uint32_t top) const;

 private:
  std::vector<ShareEntry> entries_;
  std::vector<std::uint32_t> tops_;
  std::vector<std::uint32_t> depths_;  // folders above it, its top included
  std::vector<std::uint32_t> path_sizes_;
  std::size_t names_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint32_t files_ = 0;
};

}  // namespace transfer
