#include "criu/work_dir.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace criu {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kOwnerSizeMax = 48;
constexpr std::size_t kRandomSize = 6;
constexpr const char* kParents[] = {"/dev/shm", "/run"};

bool plain(std::string_view name) {
  return !name.empty() && name.size() <= kOwnerSizeMax && name[0] != '.' &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

bool alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

base::Result<WorkDir> WorkDir::create(std::string_view owner) {
  if (!plain(owner)) return base::fail(base::Code::kInvalid, "a work folder's owner needs a name");
  std::string why;
  for (const char* parent : kParents) {
    struct statfs info {};
    if (::statfs(parent, &info) != 0 || info.f_type != TMPFS_MAGIC) {
      why += std::string(why.empty() ? "" : ", ") + parent + " is no tmpfs";
      continue;
    }
    std::string path = std::string(parent) + "/" + std::string(owner) + "-criu-XXXXXX";
    if (::mkdtemp(path.data()) != nullptr) {  // 0700
      WorkDir dir;
      dir.path_ = std::move(path);
      return dir;
    }
    why += std::string(why.empty() ? "" : ", ") + parent + ": " + std::strerror(errno);
  }
  return base::fail(base::Code::kUnsupported,
                    "there is no folder in memory for CRIU (" + why + ")");
}

std::string WorkDir::tail(std::string_view file, std::size_t size_max) const {
  const std::string path = path_ + "/" + std::string(file);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return {};
  std::string out;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
    const auto size = static_cast<std::size_t>(info.st_size);
    out.resize(std::min(size, size_max));
    const ssize_t got = ::pread(fd, out.data(), out.size(), static_cast<off_t>(size - out.size()));
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  }
  ::close(fd);
  return out;
}

void WorkDir::remove() {
  if (!path_.empty()) remove_work_dir(path_);
  path_.clear();
}

void remove_work_dir(const std::string& path) {
  std::error_code ignored;  // what stays is found again at the next start
  fs::remove_all(path, ignored);
}

std::vector<std::string> stale_work_dirs(std::string_view owner) {
  std::vector<std::string> found;
  if (!plain(owner)) return found;
  const std::string prefix = std::string(owner) + "-criu-";
  for (const char* parent : kParents) {
    std::error_code error;
    for (fs::directory_iterator at(parent, error), end; !error && at != end; at.increment(error)) {
      const std::string name = at->path().filename().string();
      if (name.size() != prefix.size() + kRandomSize || !name.starts_with(prefix)) continue;
      if (!std::all_of(name.end() - kRandomSize, name.end(), alphanumeric)) continue;
      struct stat info {};
      if (::lstat(at->path().c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) continue;
      if (info.st_uid == ::geteuid()) found.push_back(at->path().string());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace criu
