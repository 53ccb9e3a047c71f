#include "machine/helpers.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <system_error>

#include "base/crypto.h"
#include "machine/fd.h"

namespace machine {
namespace {

constexpr std::size_t kHelperSizeMax = 16 << 20;
constexpr std::size_t kHashDigits = 16;
constexpr mode_t kMode = 0755;

bool is_there(const std::string& path, base::ByteView content) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  if ((info.st_mode & 07777) != kMode) return false;
  auto text = read_small_file(path, kHelperSizeMax);
  return text && *text == base::as_text(content);
}

base::Status sync_folder(const std::string& dir) {
  const Fd folder(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || retry([&] { return ::fsync(folder.get()); }) != 0) {
    return io_error("write to " + dir);
  }
  return {};
}

base::Status write_content(int fd, base::ByteView content) {
  while (!content.empty()) {
    const ssize_t wrote = retry([&] { return ::write(fd, content.data(), content.size()); });
    if (wrote < 0) return io_error("write a helper program");
    content = content.subspan(static_cast<std::size_t>(wrote));
  }
  if (::fchmod(fd, kMode) != 0) return io_error("make a helper program executable");
  if (retry([&] { return ::fsync(fd); }) != 0) return io_error("write a helper program");
  return {};
}

base::Result<std::string> install(const std::string& dir, const std::string& prefix,
                                  base::ByteView content) {
  const std::string path = dir + "/" + helper_file_name(prefix, content);
  if (is_there(path, content)) return path;
  std::string temporary = dir + "/." + prefix + "-XXXXXX";
  Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) return io_error("write to " + dir);
  auto written = write_content(fd.get(), content);
  fd.reset();  // a program that is open for writing cannot be run
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = io_error("write " + path);
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written.error();
  }
  if (auto synced = sync_folder(dir); !synced) return synced.error();
  return path;
}

// Read once at start, then never again: 2.1 MB that need not stay mapped in. Whole pages within the
// content only; should they be wanted, the kernel reads them from the program's file.
void forget_pages(base::ByteView content) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(content.data());
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = (begin + content.size()) / page * page;
  if (first < last) (void)::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

std::string helper_file_name(const std::string& prefix, base::ByteView content) {
  const auto hash = base::crypto::hash256({content});
  return prefix + "-" + base::to_hex(hash).substr(0, kHashDigits);
}

base::Result<Helpers> install_helpers(const std::string& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return base::fail(base::Code::kIo, "cannot make " + dir + ": " + error.message());
  auto init = install(dir, "tern-init", embedded_init());
  if (!init) return init.error();
  auto keeper = install(dir, "tern-keeper", embedded_keeper());
  if (!keeper) return keeper.error();
  auto guard = install(dir, "tern-guard", embedded_guard());
  if (!guard) return guard.error();
  auto gentle = install(dir, "tern-gentle", embedded_gentle());
  if (!gentle) return gentle.error();
  auto enter = install(dir, "tern-enter", embedded_enter());
  if (!enter) return enter.error();
  auto procview = install(dir, "tern-procview", embedded_procview());
  if (!procview) return procview.error();
  forget_pages(embedded_init());
  forget_pages(embedded_keeper());
  forget_pages(embedded_guard());
  forget_pages(embedded_gentle());
  forget_pages(embedded_enter());
  forget_pages(embedded_procview());
  return Helpers{*init, *keeper, *guard, *gentle, *enter, *procview};
}

base::Result<std::string> default_helpers_dir(bool root, const std::string& home,
                                              const std::string& xdg_data_home) {
  if (root) return std::string("/var/lib/tern/helpers");
  if (xdg_data_home.starts_with('/')) return xdg_data_home + "/tern/helpers";
  if (home.starts_with('/')) return home + "/.local/share/tern/helpers";
  return base::fail(base::Code::kInvalid, "HOME is not set");
}

}  // namespace machine
