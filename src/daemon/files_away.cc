#include "daemon/files_away.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/wire.h"
#include "daemon/job_folder.h"
#include "machine/fd.h"

namespace ternd {
namespace {

using base::Status;

constexpr std::uint64_t kVersion = 1;
constexpr const char* kName = "files-away";
constexpr std::size_t kFileMax = kAwaySentenceMax + 16;

}  // namespace

Away away_of(const AwayFacts& facts, const base::Error& why) {
  if (why.code == base::Code::kFull) {
    return {true, "what it changed of its files waits on " + facts.node +
                      " for room here, and comes when there is: " + why.detail};
  }
  const std::string next = facts.dir.empty()
                               ? "; they lie there under their own names"
                               : "; to have them, on " + facts.node + ": tern share " + facts.dir +
                                     " --to " + facts.home;
  return {false, "what it changed of its files was not taken here, and stays on " + facts.node +
                     ", where it ended: " + why.detail + next};
}

FilesAway::FilesAway(const Paths& paths, InFolder in_folder, base::Log& log)
    : paths_(paths), in_folder_(std::move(in_folder)), log_(log) {}

void FilesAway::load(const base::JobId& job) {
  auto text = machine::read_small_file(paths_.job(job) + "/" + kName, kFileMax);
  if (!text) return;  // of most jobs there is none
  base::Reader r(base::as_bytes(*text));
  r.array_of(3);
  if (r.u64() != kVersion) r.reject("made by a newer tern");
  Away away;
  away.waits = r.boolean();
  away.sentence = r.text(kAwaySentenceMax);
  const Status finished = r.finish();
  if (finished) known_[job] = std::move(away);
  if (!finished) {
    log_.warn("files_away", {{"job", job.hex()}, {"why", finished.error().detail}});
  }
}

bool FilesAway::note(const base::JobId& job, Away away) {
  if (away.sentence.size() > kAwaySentenceMax) away.sentence.resize(kAwaySentenceMax);
  const auto known = known_.find(job);
  if (known != known_.end() && known->second == away) return false;
  const bool news = known == known_.end() || known->second.waits != away.waits;
  base::Writer w;
  w.array(3).u64(kVersion).boolean(away.waits).text(away.sentence);
  known_[job] = std::move(away);
  in_folder(job, [folder = paths_.job(job), bytes = w.take()] {
    return job_folder::write_file(folder, kName, bytes);
  });
  return news;
}

void FilesAway::came(const base::JobId& job) {
  if (known_.erase(job) == 0) return;
  in_folder(job, [path = paths_.job(job) + "/" + kName]() -> Status {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return machine::io_error("remove " + path);
  });
}

std::string FilesAway::of(const base::JobId& job) const {
  const auto it = known_.find(job);
  return it == known_.end() ? std::string() : it->second.sentence;
}

void FilesAway::in_folder(const base::JobId& job, std::function<Status()> work) {
  in_folder_(job, std::move(work), [this, job, alive = alive_](const Status& status) {
    if (!*alive || status) return;
    log_.warn("files_away", {{"job", job.hex()}, {"why", status.error().detail}});
  });
}

}  // namespace ternd
