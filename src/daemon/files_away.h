// At a job's home: that what it changed of its files is not there although it has ended, and why
// (files_home.h). In its folder until they have come or the job is forgotten, JOB/files-away:
// [version = 1, waits, sentence]. For people alone: on a full disk it may not be written, and the
// guest's next attempt says it again; a crash at the moment when they come may leave it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/log.h"
#include "daemon/paths.h"

namespace ternd {

inline constexpr std::size_t kAwaySentenceMax = 2048;  // longer: cut off

struct Away {
  bool waits = false;  // they come when there is room
  std::string sentence;
  friend bool operator==(const Away&, const Away&) = default;
};
struct AwayFacts {
  std::string node;  // where they are
  std::string home;  // this node
  std::string dir;   // that was named with --dir; empty: none
};
[[nodiscard]] Away away_of(const AwayFacts& facts, const base::Error& why);

class FilesAway {
 public:
  // Copies::in_folder(), as of FilesBeside.
  using InFolder = std::function<void(const base::JobId&, std::function<base::Status()> work,
                                      std::function<void(base::Status)> done)>;
  FilesAway(const Paths& paths, InFolder in_folder, base::Log& log);
  ~FilesAway() { *alive_ = false; }
  void load(const base::JobId& job);  // at the daemon's start; blocking
  // Whether that is news, but for the figures in it.
  bool note(const base::JobId& job, Away away);
  void came(const base::JobId& job);
  void forget(const base::JobId& job) { known_.erase(job); }   // its folder goes by itself
  [[nodiscard]] std::string of(const base::JobId& job) const;  // empty: nothing is away

 private:
  void in_folder(const base::JobId& job, std::function<base::Status()> work);

  const Paths& paths_;
  InFolder in_folder_;
  base::Log& log_;
  std::map<base::JobId, Away> known_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
