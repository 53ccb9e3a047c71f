// At a job's home: where two versions of a file of its lie side by side, since it came home and a
// file had been changed there meanwhile. In its folder until the job is forgotten (tern ps, the end
// of tern run), JOB/beside: [version = 1, [path...], [path...]], of the job's versions and of
// home's own. For people alone: a crash at the moment of the return may lose it. What a person has
// removed or named anew since is not spoken of.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "daemon/paths.h"
#include "loop/handles.h"
#include "machine/job_placer.h"

namespace ternd {

inline constexpr std::size_t kBesideMax = 64;  // of one job and each kind; events tell of more
inline constexpr base::Duration kBesideLook = std::chrono::seconds(1);

// What one answer to a client lists, of all jobs: it is a line (control/limits.h).
struct BesideRoom {
  std::size_t paths = 256;
  std::size_t bytes = 64 << 10;  // of them; a byte may take six in JSON
};
// Takes out what has no room; how many that were.
[[nodiscard]] std::size_t fit_beside(machine::LaidBeside& laid, BesideRoom& room);

// The sentences of those paths.
[[nodiscard]] std::vector<std::string> beside_sentences(const machine::LaidBeside& laid);

[[nodiscard]] base::Bytes encode_beside(const machine::LaidBeside& laid);
[[nodiscard]] base::Result<machine::LaidBeside> decode_beside(base::ByteView bytes);

class FilesBeside {
 public:
  // Copies::in_folder(), so that nothing is written while the folder goes.
  using InFolder = std::function<void(const base::JobId&, std::function<base::Status()> work,
                                      std::function<void(base::Status)> done)>;
  FilesBeside(loop::Loop& loop, const Paths& paths, InFolder in_folder, base::Log& log);
  ~FilesBeside();
  void load(const base::JobId& job);  // at the daemon's start; blocking
  void add(const base::JobId& job, const machine::LaidBeside& laid);
  void forget(const base::JobId& job) { known_.erase(job); }  // its folder goes by itself
  // Looks what is there still, for of(), then calls `then`: also from within the call, after
  // kBesideLook where a disk does not answer, and when this goes.
  void look(std::function<void()> then);
  [[nodiscard]] machine::LaidBeside of(const base::JobId& job) const;

 private:
  void looked();
  void merge(std::vector<std::string>& known, const std::vector<std::string>& more);
  loop::Loop& loop_;
  const Paths& paths_;
  InFolder in_folder_;
  base::Log& log_;
  std::map<base::JobId, machine::LaidBeside> known_;
  std::set<std::string> gone_;  // by the last look
  bool looks_ = false;          // off the loop
  std::vector<std::function<void()>> waiting_;
  loop::Timer patience_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
