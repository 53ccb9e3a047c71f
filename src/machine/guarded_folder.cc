#include "machine/guarded_folder.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <climits>
#include <optional>
#include <vector>

namespace machine {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;

constexpr std::size_t kLinksMax = 40;  // on the way, as the kernel's own bound
constexpr mode_t kOwnOnly = 0700;
constexpr mode_t kAnybody = 0777;  // without the umask's

class Walk {
 public:
  explicit Walk(const std::string& path) : path_(path) {}

  Result<Fd> to_the_end() {
    const bool absolute = path_.starts_with('/');
    at_ = Fd(::open(absolute ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!at_.valid()) return io_error("open " + path_);
    struct stat info {};
    if (::fstat(at_.get(), &info) != 0) return io_error("look at " + path_);
    shown_ = absolute ? "" : ".";
    see_folder(info);
    put_before(path_);
    while (!names_.empty()) {
      const std::string name = std::move(names_.back());
      names_.pop_back();
      if (Status gone = enter(name); !gone) return gone.error();
    }
    if (Status allowed = check_owners(owner_); !allowed) return allowed.error();
    return std::move(at_);
  }

 private:
  // One name on: into a folder, or on to where a link leads.
  Status enter(const std::string& name) {
    Fd next(::openat(at_.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid() && errno == ENOENT) return make(name);
    struct stat info {};
    if (!next.valid() || ::fstat(next.get(), &info) != 0) return io_error("open " + below(name));
    if (S_ISLNK(info.st_mode)) return follow(next, info, name);
    // Not O_PATH from here: the caller syncs it and reads it.
    Fd folder(::openat(at_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder.valid() && errno == EACCES && !names_.empty()) folder = std::move(next);
    if (!folder.valid() || ::fstat(folder.get(), &info) != 0)
      return io_error("open " + below(name));
    shown_ = below(name);
    at_ = std::move(folder);
    see_folder(info);
    return {};
  }

  Status follow(const Fd& link, const struct stat& info, const std::string& name) {
    std::string target(PATH_MAX, '\0');
    const ssize_t size = ::readlinkat(link.get(), "", target.data(), target.size());
    if (size <= 0) return io_error("read the link " + below(name));
    target.resize(static_cast<std::size_t>(size));
    if (++links_ > kLinksMax) return io_error("open " + path_, ELOOP);
    note_owner(info.st_uid, below(name));
    if (target.front() == '/') {
      at_ = Fd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      struct stat root {};
      if (!at_.valid() || ::fstat(at_.get(), &root) != 0) return io_error("open /");
      shown_.clear();
      see_folder(root);
    }
    put_before(target);
    return {};
  }

  // What is made belongs to this process's user.
  Status make(const std::string& name) {
    if (Status allowed = check_owners(::geteuid()); !allowed) return allowed;
    const bool last = names_.empty();
    if (::mkdirat(at_.get(), name.c_str(), last ? kOwnOnly : kAnybody) != 0 && errno != EEXIST) {
      return io_error("make the folder " + below(name));
    }
    return enter(name);
  }

  void see_folder(const struct stat& info) {
    owner_ = info.st_uid;
    note_owner(info.st_uid, shown_.empty() ? "/" : shown_);
  }

  void note_owner(uid_t uid, const std::string& of) {
    if (uid == 0 || uid == ::geteuid()) return;
    if (!stranger_) stranger_ = {uid, of};
    if (stranger_->uid != uid && !second_) second_ = {uid, of};
  }

  // Where the folder at the end is `end`'s.
  [[nodiscard]] Status check_owners(uid_t end) const {
    const std::optional<Passed>& other = stranger_ && stranger_->uid != end ? stranger_ : second_;
    if (!other) return {};
    return fail(Code::kRefused, other->path + " belongs to the user " + std::to_string(other->uid) +
                                    ", who could lead " + path_ +
                                    " elsewhere; all above a folder must be root's or its owner's");
  }

  // The names of `path` come next.
  void put_before(const std::string& path) {
    std::vector<std::string> parts;
    for (std::size_t at = 0; at < path.size();) {
      const std::size_t end = std::min(path.find('/', at), path.size());
      std::string name = path.substr(at, end - at);
      if (!name.empty() && name != ".") parts.push_back(std::move(name));
      at = end + 1;
    }
    names_.insert(names_.end(), std::make_move_iterator(parts.rbegin()),
                  std::make_move_iterator(parts.rend()));
  }

  [[nodiscard]] std::string below(const std::string& name) const { return shown_ + "/" + name; }

  struct Passed {
    uid_t uid = 0;
    std::string path;
  };
  std::string path_;
  Fd at_;
  std::string shown_;
  std::vector<std::string> names_;  // that are left, the next one last
  std::size_t links_ = 0;
  uid_t owner_ = 0;                 // of at_
  std::optional<Passed> stranger_;  // neither root nor this process's user
  std::optional<Passed> second_;    // another one
};

}  // namespace

Result<Fd> open_guarded_folder(const std::string& path) { return Walk(path).to_the_end(); }

}  // namespace machine
