#include "daemon/image_admission.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "transfer/image_check.h"

namespace ternd {
namespace {

using base::Code;
using base::fail;
using base::Status;

// Opens files as another user, on the calling thread alone: the raw calls, since libc's wrappers
// change every thread. With another file system user than root the kernel takes the thread's
// capabilities over files away until it is set back (capabilities(7)).
class AsUser {
 public:
  explicit AsUser(const node::JobSpec& spec) {
    std::vector<gid_t> groups(spec.groups.begin(), spec.groups.end());
    const int count = ::getgroups(0, nullptr);
    if (count > 0) {
      saved_.resize(static_cast<std::size_t>(count));
      if (::getgroups(count, saved_.data()) < 0) return;
    }
    if (::syscall(SYS_setgroups, groups.size(), groups.data()) != 0) return;
    (void)::syscall(SYS_setfsgid, spec.gid);
    (void)::syscall(SYS_setfsuid, spec.uid);
    ok_ = ::syscall(SYS_setfsuid, -1) == static_cast<long>(spec.uid) &&
          ::syscall(SYS_setfsgid, -1) == static_cast<long>(spec.gid);
  }
  ~AsUser() {
    (void)::syscall(SYS_setfsuid, ::geteuid());
    (void)::syscall(SYS_setfsgid, ::getegid());
    CHECK(::syscall(SYS_setgroups, saved_.size(), saved_.data()) == 0);
    CHECK(::syscall(SYS_setfsuid, -1) == static_cast<long>(::geteuid()));
  }
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  std::vector<gid_t> saved_;
  bool ok_ = false;
};

Status can_open(const transfer::FileFact& file) {
  if (file.unlinked) {
    // CRIU makes it there, so the user must be able to.
    const std::string folder = file.path.substr(0, file.path.rfind('/'));
    if (::syscall(SYS_faccessat2, AT_FDCWD, folder.empty() ? "/" : folder.c_str(), W_OK | X_OK,
                  AT_EACCESS) == 0) {
      return {};
    }
    return fail(Code::kRefused, file.path + " may not be made here by the job's user");
  }
  const int flags = static_cast<int>(file.flags) & (O_ACCMODE | O_PATH);
  const int fd = ::open(file.path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    return fail(Code::kRefused,
                file.path + " cannot be opened here by the job's user: " + std::strerror(errno));
  }
  struct stat info {};
  const bool same_kind = ::fstat(fd, &info) == 0 &&
                         (file.mode == 0 || (info.st_mode & S_IFMT) == (file.mode & S_IFMT));
  ::close(fd);
  if (!same_kind) return fail(Code::kRefused, file.path + " is another kind of file here");
  return {};
}

}  // namespace

Status admit_images(const transfer::ImageSet& images, const node::JobSpec& spec, bool allow_root,
                    const std::string& init_root) {
  transfer::CheckPolicy policy;
  policy.uid = spec.uid;
  policy.gid = spec.gid;
  policy.groups = spec.groups;
  policy.allow_root = allow_root && spec.uid == 0;
  policy.init_root = init_root;
  auto facts = transfer::check_images(images, policy);
  if (!facts) return facts.error();
  if (::geteuid() != 0 || spec.uid == 0) return {};
  const AsUser as_user(spec);
  if (!as_user.ok()) return fail(Code::kIo, "cannot act as the job's user to check its files");
  for (const transfer::FileFact& file : facts->files) {
    if (file.path == init_root && S_ISDIR(file.mode)) continue;  // ours, made when it is restored
    if (Status opened = can_open(file); !opened) return opened;
  }
  for (const std::string& exe : facts->exes) {
    if (::syscall(SYS_faccessat2, AT_FDCWD, exe.c_str(), X_OK, AT_EACCESS) != 0) {
      return fail(Code::kRefused, exe + " may not be run here by the job's user");
    }
  }
  return {};
}

}  // namespace ternd
