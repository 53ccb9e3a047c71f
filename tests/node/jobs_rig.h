// One node's jobs (node/jobs.h) and a disk, and the job that the tests are about.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "node/jobs.h"

namespace node::jobs {

using base::Epoch;
using base::JobId;
using base::NodeId;

inline const NodeId kHome{{1}};
inline const NodeId kFirst{{2}};
inline const NodeId kSecond{{3}};
inline const JobId kJob{{9}};

inline JobSpec spec() {
  JobSpec spec;
  spec.id = kJob;
  spec.name = "job";
  spec.argv = {"count"};
  spec.home = kHome;
  return spec;
}

// One node's jobs, and a disk that takes everything at once.
class Rig {
 public:
  explicit Rig(NodeId self) : self_(self) { restart(); }
  void restart() { jobs_ = std::make_unique<Jobs>(self_, disk_, std::map<JobId, StreamEnds>()); }
  Actions give(const Event& event) {
    Actions said = jobs_->step(now, event);
    for (std::size_t i = 0; i < said.size(); ++i) {
      const auto* keep = std::get_if<Keep>(&said[i]);
      if (keep == nullptr || !synced) continue;
      if (keep->value) disk_[keep->key] = *keep->value;
      if (!keep->value) disk_.erase(keep->key);
      const Kept kept{keep->id};
      for (Action& more : jobs_->step(now, kept)) said.push_back(std::move(more));
    }
    return said;
  }
  [[nodiscard]] base::Time deadline() const { return jobs_->next_deadline(); }
  [[nodiscard]] const Job& job() const { return *jobs_->find(kJob); }
  [[nodiscard]] bool knows() const { return jobs_->find(kJob) != nullptr; }
  [[nodiscard]] std::map<std::string, base::Bytes>& disk() { return disk_; }
  base::Time now{std::chrono::hours(1)};
  bool synced = true;  // false: the daemon dies before the disk has it

 private:
  NodeId self_;
  std::map<std::string, base::Bytes> disk_;
  std::unique_ptr<Jobs> jobs_;
};

template <typename T>
std::vector<T> all_of(const Actions& actions) {
  std::vector<T> found;
  for (const Action& action : actions) {
    if (const auto* one = std::get_if<T>(&action)) found.push_back(*one);
  }
  return found;
}

// Home of a job that runs on kFirst under epoch 2.
inline Rig home_of_a_guest_elsewhere() {
  Rig rig(kHome);
  (void)rig.give(Begin{spec()});
  (void)rig.give(Owner{kJob, Epoch{1}, true, kHome});
  (void)rig.give(Launched{kJob, 100});
  (void)rig.give(Owner{kJob, Epoch{2}, false, kFirst});
  return rig;
}

}  // namespace node::jobs
