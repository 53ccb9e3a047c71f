#include "machine/preflight_own.h"

#include <sys/stat.h>

#include "machine/file_user.h"
#include "machine/inbox.h"
#include "machine/ledger_files.h"

namespace machine {

OwnFiles::OwnFiles(const LocalPolicy& policy) : at_home_(policy.at_home) {
  if (policy.ledgers.empty()) return;
  auto ledgers = read_ledgers(policy.ledgers);
  if (!ledgers) return;
  for (const Ledger& ledger : *ledgers) {
    if (!ledger.name.starts_with(policy.job + "-")) continue;
    for (const transfer::LedgerRecord& record : ledger.records) {
      placed_.insert({record.path, record.device, record.inode});
    }
  }
}

std::optional<std::string> OwnFiles::judge(const RequiredFile& wanted) const {
  const Fd found = open_plainly(wanted.path);
  struct stat info {};
  if (!found.valid()) {
    if (errno == ENOENT) return std::string();
    if (errno == ELOOP) return wanted.path + " is a symbolic link here";
    return wanted.path + " cannot be opened by the job's user here";
  }
  if (::fstat(found.get(), &info) != 0) return wanted.path + " cannot be looked at here";
  if ((info.st_mode & S_IFMT) != (wanted.mode & S_IFMT)) {
    return wanted.path + " is something else here (not a " +
           (S_ISDIR(wanted.mode) ? "folder)" : "regular file)");
  }
  const bool written = (wanted.flags & kRequiredWritten) != 0;
  const Birth born{wanted.born_seconds, wanted.born_nanos};
  const bool shared = written && info.st_ino == wanted.inode && born != Birth{} &&
                      born == birth_of(found.get(), "");
  if (at_home_ || shared || placed_.contains({wanted.path, info.st_dev, info.st_ino})) {
    return std::string();
  }
  if (!written) return S_ISDIR(wanted.mode) ? std::optional<std::string>("") : std::nullopt;
  if (!S_ISDIR(wanted.mode)) {
    return wanted.path +
           " is there already, tern did not put it there, and the job writes to it; "
           "move it away there";
  }
  const Fd folder = open_plainly(wanted.path, O_RDONLY | O_DIRECTORY);
  auto names = folder.valid() ? names_in(folder.get())
                              : base::Result<std::vector<std::string>>(io_error("read it"));
  if (!names) return wanted.path + " cannot be read by the job's user here";
  if (names->empty()) {
    const bool same = (info.st_mode & 0777U) == (wanted.mode & 0777U);
    return same ? std::string() : wanted.path + " differs here (permissions)";
  }
  return wanted.path +
         " is there already and not empty, and would be the job's; move it away there";
}

}  // namespace machine
