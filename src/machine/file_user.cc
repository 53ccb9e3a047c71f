#include "machine/file_user.h"

#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"

namespace machine {

FileUser::FileUser(std::uint32_t uid, std::uint32_t gid, const std::vector<std::uint32_t>& groups) {
  if (::geteuid() != 0 || uid == 0) return;
  changed_ = true;  // as far as it comes; not good() until it is whole
  const int count = ::getgroups(0, nullptr);
  saved_.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  if (::getgroups(count, saved_.data()) != count) {
    saved_.clear();
    return;
  }
  if (::syscall(SYS_setgroups, groups.size(), groups.data()) != 0) return;
  (void)::syscall(SYS_setfsgid, gid);
  (void)::syscall(SYS_setfsuid, uid);
  // Each returns the previous id.
  good_ = ::syscall(SYS_setfsuid, -1) == static_cast<long>(uid) &&
          ::syscall(SYS_setfsgid, -1) == static_cast<long>(gid);
}

FileUser::~FileUser() {
  if (!changed_) return;
  (void)::syscall(SYS_setfsuid, ::geteuid());
  (void)::syscall(SYS_setfsgid, ::getegid());
  // Staying another user would be a hole in everything that this thread does next.
  CHECK(::syscall(SYS_setgroups, saved_.size(), saved_.data()) == 0);
  CHECK(::syscall(SYS_setfsuid, -1) == static_cast<long>(::geteuid()));
}

Fd open_plainly(const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(
      retry([&] { return ::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how); })));
}

Birth birth_of(int at, const std::string& name) {
  struct statx info {};
  if (::statx(at, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, STATX_BTIME, &info) != 0 ||
      (info.stx_mask & STATX_BTIME) == 0) {
    return {};
  }
  return {info.stx_btime.tv_sec, info.stx_btime.tv_nsec};
}

std::vector<std::uint32_t> groups_of(std::uint32_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16 * 1024);
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return {};
  }
  std::vector<gid_t> gids(256);
  int count = static_cast<int>(gids.size());
  if (::getgrouplist(found->pw_name, found->pw_gid, gids.data(), &count) < 0) return {};
  return {gids.begin(), gids.begin() + count};
}

base::Status rename_new(const NameIn& from, const NameIn& to) {
  const int renamed = static_cast<int>(::syscall(SYS_renameat2, from.folder, from.name.c_str(),
                                                 to.folder, to.name.c_str(), 1U /* NOREPLACE */));
  if (renamed == 0) return {};
  if (errno != EINVAL) return write_error("give it its name");
  // A file system that cannot: a link never replaces.
  if (::linkat(from.folder, from.name.c_str(), to.folder, to.name.c_str(), 0) != 0) {
    return write_error("name it");
  }
  (void)::unlinkat(from.folder, from.name.c_str(), 0);
  return {};
}

base::Status rename_new(int folder, const std::string& from, const std::string& to) {
  return rename_new({folder, from}, {folder, to});
}

base::Status check_groups(std::uint32_t uid, const std::vector<std::uint32_t>& gids) {
  const std::vector<std::uint32_t> own = groups_of(uid);
  for (const std::uint32_t gid : gids) {
    if (std::find(own.begin(), own.end(), gid) != own.end()) continue;
    return base::fail(base::Code::kRefused, "uid " + std::to_string(uid) + " is not in group " +
                                                std::to_string(gid) + " here");
  }
  return {};
}

}  // namespace machine
