// The calling thread as somebody else, as far as files go: what it opens meanwhile, that user may
// open. By raw calls, since libc's wrappers change every thread. With another file system user than
// root the kernel takes the thread's capabilities over files away until it is set back
// (capabilities(7)). Without root, and for root, nothing is changed.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/fd.h"

namespace machine {

class FileUser {
 public:
  FileUser(std::uint32_t uid, std::uint32_t gid, const std::vector<std::uint32_t>& groups);
  // The first of them is the own group; none: the one of the same number.
  FileUser(std::uint32_t uid, const std::vector<std::uint32_t>& groups)
      : FileUser(uid, groups.empty() ? uid : groups.front(), groups) {}
  ~FileUser();
  FileUser(const FileUser&) = delete;
  FileUser& operator=(const FileUser&) = delete;
  [[nodiscard]] bool good() const { return !changed_ || good_; }

 private:
  std::vector<gid_t> saved_;
  bool changed_ = false;
  bool good_ = false;
};

// By an absolute path without links in it; errno ELOOP where there is one. Without `flags` only a
// name for what is there (O_PATH), whatever that is.
[[nodiscard]] Fd open_plainly(const std::string& path, int flags = O_PATH);

// kExists: somebody has that name; kNotFound: there is nothing to be renamed.
struct NameIn {
  int folder = -1;
  std::string name;
};
[[nodiscard]] base::Status rename_new(const NameIn& from, const NameIn& to);
// Within a folder.
[[nodiscard]] base::Status rename_new(int folder, const std::string& from, const std::string& to);

// When it was made, as the file system says; zeros where it does not. Not through a link; with an
// empty name of the descriptor itself.
struct Birth {
  std::int64_t seconds = 0;
  std::uint32_t nanos = 0;
  friend bool operator==(const Birth&, const Birth&) = default;
};
[[nodiscard]] Birth birth_of(int at, const std::string& name);

// The groups that this user has on this machine, its own among them; none: no such user. Blocking.
[[nodiscard]] std::vector<std::uint32_t> groups_of(std::uint32_t uid);
// kRefused: that user is not in one of them on this machine. Blocking.
[[nodiscard]] base::Status check_groups(std::uint32_t uid, const std::vector<std::uint32_t>& gids);

}  // namespace machine
