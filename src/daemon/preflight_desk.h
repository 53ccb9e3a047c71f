// Answers the questions of preflight, off the loop, one after another (machine/preflight.h does the
// looking; files' hashes are kept between questions).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "balance/event.h"
#include "daemon/copies.h"
#include "loop/handles.h"

namespace ternd {

// The groups that these users have on this machine: a guest may have those and no others. Blocking.
[[nodiscard]] std::vector<std::uint32_t> local_groups(const std::vector<std::uint32_t>& uids);

struct PreflightPolicy {
  std::string criu_version;  // empty: none that works here
  std::string criu_missing;  // then: why, and what helps
  bool allow_root = false;
  std::vector<std::uint32_t> uids;  // of others' jobs that may run here
  std::string state_dir;            // where what arrives is kept
};

class PreflightDesk {
 public:
  using Report = std::function<void(const balance::Event&)>;
  struct Facts {
    std::function<std::string(const base::JobId&)> dir;  // named with --dir; empty: none
    std::function<bool(const base::JobId&)> home_is_here;
  };
  PreflightDesk(loop::Loop& loop, const Copies& copies, PreflightPolicy policy, std::string ledgers,
                Facts facts, Report report);
  ~PreflightDesk();
  void collect(const balance::CollectRequirement& order, bool tcp_close, Report report);
  void check(const balance::CheckPreflight& order);

  // The same for `tern migrate --dry-run`; `then` runs on the loop, unless this is gone before.
  struct Looked {
    base::Bytes requirement;             // of look_at_job, where there are no obstacles
    std::vector<std::string> obstacles;  // a sentence each
  };
  using Then = std::function<void(Looked)>;
  void look_at_job(const base::JobId& job, bool tcp_close, Then then);
  void look_at_machine(const base::JobId& job, const base::Bytes& requirement, Then then);

 private:
  struct Shared;
  loop::Loop& loop_;
  const Copies& copies_;
  PreflightPolicy policy_;
  std::string ledgers_;
  Facts facts_;
  Report report_;
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
