// Whether a job's files could come here, before anything of a move is begun.
#include <sys/syscall.h>
#include <unistd.h>

#include <set>

#include "machine/job_placer.h"
#include "machine/path.h"

namespace machine {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using transfer::Decision;
using transfer::FoundFile;
using transfer::JobFile;
using transfer::JobFileKind;
using transfer::Verdict;

// By the thread's file system user, which access(2) would not ask about. A folder that is missing
// is to be made, so that one further up counts.
std::string folder_refusal(const std::string& path) {
  std::string at = path;
  Fd folder = open_plainly(at, O_PATH | O_DIRECTORY);
  while (!folder.valid() && errno == ENOENT && at != "/") {
    at = parent_of(at);
    folder = open_plainly(at, O_PATH | O_DIRECTORY);
  }
  if (!folder.valid()) return {};  // what is there instead is judged by itself
  const long may =
      ::syscall(SYS_faccessat2, folder.get(), "", W_OK | X_OK, AT_EACCESS | AT_EMPTY_PATH);
  if (may == 0 || (errno != EACCES && errno != EROFS)) return {};
  const char* why = std::strerror(errno);
  return "the job's user cannot write to " + at + " there, and the job's files belong there (" +
         why + "); make that folder hers, or move the job to another node";
}

}  // namespace

Result<std::string> JobPlacer::trial(const PlacerSpec& spec,
                                     std::shared_ptr<const transfer::JobFileList> list,
                                     const std::atomic<bool>& cancelled) {
  if (cancelled) return fail(Code::kTimeout, "it was stopped");
  if (::geteuid() == 0 && spec.uid != 0 && !spec.groups_known) {
    if (Status member = check_groups(spec.uid, spec.gids); !member) return member.error();
  }
  JobPlacer self(spec);
  self.trial_ = true;
  self.list_ = std::move(list);
  if (Status read = self.read_others(); !read) return read.error();
  return self.judge(cancelled);
}

Result<std::string> JobPlacer::judge(const std::atomic<bool>& cancelled) {
  const FileUser user(spec_.uid, spec_.gids);
  if (!user.good()) return fail(Code::kRefused, "cannot look at files as the job's user");
  std::set<std::string> parents;
  for (std::uint32_t i = 0; i < list_->size(); ++i) {
    if (cancelled) return fail(Code::kTimeout, "it was stopped");
    const JobFile wanted = with_content(list_->at(i));
    auto seen = look(wanted, cancelled);
    if (!seen) return seen.error();
    const Decision decision = transfer::decide(wanted, seen->found, spec_.at_home);
    if (decision.verdict == Verdict::kUse || decision.verdict == Verdict::kMark) continue;
    if (decision.verdict == Verdict::kRefuse) {
      if (spec_.at_home) return decision.why;
      if (wanted.path == spec_.dir) return std::string();  // nor is what is in it looked at
      if ((wanted.flags & transfer::kJobFileNeeded) != 0) continue;
      return decision.why;
    }
    verdicts_[i] = decision.verdict;
    if (!parents.insert(parent_of(wanted.path)).second) continue;
    if (std::string why = folder_refusal(parent_of(wanted.path)); !why.empty()) return why;
  }
  return space_refusal();
}

}  // namespace machine
