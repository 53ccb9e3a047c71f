#include "daemon/image_admission.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <set>

#include "daemon/entropy.h"
#include "daemon/held_launch.h"
#include "machine/fd.h"
#include "machine/file_user.h"
#include "machine/job_process.h"
#include "transfer/expired_timers.h"
#include "transfer/image_check.h"
#include "transfer/interrupted_calls.h"
#include "transfer/stopped_children.h"
#include "transfer/terminal_numbers.h"
#include "transfer/terminal_output.h"

namespace ternd {
namespace {

using base::Code;
using base::fail;
using base::Status;

// The sender's word about the groups of its user is none.
Status check_groups(const node::JobSpec& spec) {
  std::vector<std::uint32_t> wanted(spec.groups.begin(), spec.groups.end());
  wanted.push_back(spec.gid);
  return machine::check_groups(spec.uid, wanted);
}

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

// CRIU would wait for whoever holds a lock against one of the job's. What that is on a disk that
// both machines share may be the job itself, where it still is.
Status can_lock(const transfer::FileFact& file, const transfer::LockFact& lock) {
  if (file.unlinked || !S_ISREG(file.mode)) return {};
  const machine::Fd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) return {};  // can_open() and CRIU say why
  bool taken = false;
  if (lock.kind == transfer::LockFact::Kind::kFlock) {
    taken =
        ::flock(fd.get(), (lock.write ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  } else {
    struct flock wanted {};
    wanted.l_type = lock.write ? F_WRLCK : F_RDLCK;
    wanted.l_whence = SEEK_SET;
    wanted.l_start = static_cast<off_t>(lock.start);
    wanted.l_len = static_cast<off_t>(lock.length);
    taken = ::fcntl(fd.get(), F_OFD_GETLK, &wanted) == 0 && wanted.l_type != F_UNLCK;
  }
  if (!taken) return {};
  return fail(Code::kRefused, file.path +
                                  ", which the job has locked, is locked here by another program "
                                  "(on a shared disk: by the job itself)");
}

Status can_lock_all(const transfer::ImageFacts& facts) {
  for (const transfer::LockFact& lock : facts.locks) {
    if (Status free = can_lock(facts.files[lock.file], lock); !free) return free;
  }
  return {};
}

// Somebody may take such a number before the restore, which then fails.
void place_terminals(transfer::ImageSet& images) {
  const std::set<std::uint32_t> numbers = transfer::terminal_numbers(images);
  std::set<std::uint32_t> free;
  for (std::uint32_t number = 0; number < machine::kTerminalsMax; ++number) {
    const std::string path = "/dev/pts/" + std::to_string(number);
    if (::access(path.c_str(), F_OK) != 0) free.insert(number);
  }
  std::map<std::uint32_t, std::uint32_t> placed;
  for (const std::uint32_t number : numbers) {
    if (free.erase(number) != 0 || free.empty()) continue;
    // Not the lowest, which the next terminal that anybody opens would take.
    auto pick =
        free.lower_bound(machine::kTerminalsLow + static_cast<std::uint32_t>(random_seed() % 16));
    if (pick == free.end()) pick = std::prev(free.end());
    placed[number] = *pick;
    free.erase(pick);
  }
  if (!placed.empty()) transfer::renumber_terminals(images, placed);
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
  if (::geteuid() != 0 || spec.uid == 0) return can_lock_all(*facts);
  const machine::FileUser user(spec.uid, spec.gid, {spec.groups.begin(), spec.groups.end()});
  if (!user.good()) return fail(Code::kIo, "cannot act as the job's user to check its files");
  for (const transfer::FileFact& file : facts->files) {
    if (file.path == init_root && S_ISDIR(file.mode)) continue;  // ours, made when it is restored
    if (Status opened = can_open(file); !opened) return opened;
  }
  for (const std::string& exe : facts->exes) {
    if (::syscall(SYS_faccessat2, AT_FDCWD, exe.c_str(), X_OK, AT_EACCESS) != 0) {
      return fail(Code::kRefused, exe + " may not be run here by the job's user");
    }
  }
  return can_lock_all(*facts);
}

base::Bytes part_of(const std::string& path, std::uint64_t offset, std::size_t size) {
  // What is no file, such as a device, may act on being opened.
  const machine::Fd found(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat info {};
  if (!found.valid() || ::fstat(found.get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  const std::string same = "/proc/self/fd/" + std::to_string(found.get());
  // Not to wait for whoever has a lease on it.
  const machine::Fd fd(::open(same.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  base::Bytes bytes(size);
  const ssize_t got = ::pread(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

void go_on(transfer::ImageSet& images) {
  transfer::rearm_expired_timers(images);
  transfer::repeat_interrupted_calls(images, part_of);
  transfer::foretell_continued_children(images);
  transfer::unprocess_terminal_output(images);
}

void fit_here(transfer::ImageSet& images) {
  place_terminals(images);
  go_on(images);
}

base::Status admit(transfer::ImageSet& images, const node::MoveMetadata& metadata, bool allow_root,
                   const std::string& init_root) {
  const bool root = allow_root && metadata.spec.uid == 0;
  if (::geteuid() == 0 && !root) {
    if (Status fine = check_groups(metadata.spec); !fine) return fine;
  }
  if (metadata.queued) {
    const auto plan = plan_of(images);
    return plan ? base::Status() : base::Status(plan.error());
  }
  base::Status admitted = admit_images(images, metadata.spec, allow_root, init_root);
  if (admitted) fit_here(images);
  return admitted;
}

}  // namespace ternd
