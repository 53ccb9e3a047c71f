// Makes jobs of processes that tern did not start: on this machine, exactly once, whatever is
// killed when (daemon/adopt_journal.h has what a job's folder says meanwhile).
//
//   look     the tree, from /proc alone: what stands in the way, and what adopting changes
//   prepare  journal on the disk, before the node hears of the job
//   launch   [the node has stored the job] tree into a cgroup of its own -> frozen -> looked at
//            again -> dumped into memory -> restored beside a tern-init in the job's own namespaces
//            (criu::Capsule), held -> committed: journal on the disk
//            [from here on the copy is the job] -> original killed -> copy let go -> keeper
//            \__ any failure before: copy killed, original thawed and back in its cgroups, as if
//                nothing had been; the node forgets the job
//
// The two copies are never awake together, and one of them exists at any time. What follows is an
// ordinary job: its processes are children of its init, with the PIDs that they had.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "daemon/adopt_journal.h"
#include "daemon/copies.h"
#include "daemon/paths.h"
#include "loop/handles.h"
#include "machine/adopt_look.h"
#include "machine/helpers.h"

namespace ternd {

class AdoptDesk {
 public:
  using Launched = std::function<void(base::Result<machine::ProcessName>)>;
  struct Callbacks {
    std::function<std::uint64_t()> memory_available;  // bytes
    // After a restart: the job that was not committed is none; its processes run on as they did.
    std::function<void(const base::JobId&, bool original_lives)> withdrawn;
  };
  AdoptDesk(loop::Loop& loop, const Paths& paths, const machine::Helpers& helpers, Copies& copies,
            base::Log& log, std::string criu_missing, Callbacks callbacks);
  ~AdoptDesk();

  struct Looked {
    machine::ProcessTree tree;  // empty when there is an error
    machine::AdoptLook look;
    std::vector<std::string> argv;
    std::string cwd;
  };
  struct Asker {
    uid_t uid = 0;
    pid_t program = 0;
    bool leave_terminal = false;
  };
  using Then = std::function<void(base::Result<Looked>)>;
  // kNotFound: no such process; kTooLarge: too many descendants.
  void look(pid_t pid, const Asker& asker, Then then);
  // Of a tree that was looked at and has no obstacle.
  void prepare(const base::JobId& job, const machine::TreeProcess& root, const Asker& asker,
               std::function<void(base::Status)> then);
  // It was prepared, or is under way.
  [[nodiscard]] bool has(const base::JobId& job) const { return tasks_.count(job) != 0; }
  // One that was prepared will not be launched.
  void drop(const base::JobId& job);
  void launch(const node::JobSpec& spec, base::Epoch epoch, Launched done);
  // After a restart. False: nothing of an adoption is there, the job is to be attended as others
  // are.
  [[nodiscard]] bool attend(const node::JobSpec& spec, base::Epoch epoch);
  // The daemon is told to stop, and has waited: dumps that still go on are given up.
  void withdraw();
  [[nodiscard]] std::size_t busy() const { return tasks_.size(); }

 private:
  struct Task;
  struct Hashes;
  using Handle = std::shared_ptr<Task>;
  void off_loop(const Handle& task, std::function<base::Status()> work,
                std::function<void(const base::Status&)> done);
  void again(const Handle& task, std::function<void()> what);  // a second later
  [[nodiscard]] machine::AdoptView view(const Asker& asker) const;
  [[nodiscard]] static base::Status gather(Task& task, const machine::AdoptView& view,
                                           const std::shared_ptr<Hashes>& hashes);
  void collect(const Handle& task);
  void dump(const Handle& task);
  void fit(const Handle& task);
  void restore(const Handle& task);
  void commit(const Handle& task);
  void end_original(const Handle& task);
  void let_go(const Handle& task);
  void finish(const Handle& task);
  void give_up(const Handle& task, const std::string& reason);
  void put_back(const Handle& task);

  loop::Loop& loop_;
  const Paths& paths_;
  const machine::Helpers& helpers_;
  Copies& copies_;
  base::Log& log_;
  std::string criu_missing_;
  Callbacks callbacks_;
  std::map<base::JobId, Handle> tasks_;
  std::uint64_t runs_ = 0;
  std::shared_ptr<Hashes> hashes_;  // work off the loop has them too
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
