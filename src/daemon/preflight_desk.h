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

struct PreflightPolicy {
  std::string criu_version;  // empty: none that works here
  std::string criu_missing;  // then: why, and what helps
  bool allow_root = false;
  std::vector<std::uint32_t> uids;  // of others' jobs that may run here
};

class PreflightDesk {
 public:
  using Report = std::function<void(const balance::Event&)>;
  PreflightDesk(loop::Loop& loop, const Copies& copies, PreflightPolicy policy, Report report);
  ~PreflightDesk();
  void collect(const balance::CollectRequirement& order);
  void check(const balance::CheckPreflight& order);

 private:
  struct Shared;
  loop::Loop& loop_;
  const Copies& copies_;
  PreflightPolicy policy_;
  Report report_;
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
