#include "daemon/init_roots.h"

#include "machine/init_root.h"

namespace ternd {

base::Status InitRoots::claim(const base::JobId& job, base::Epoch epoch, const std::string& root) {
  if (root.empty()) return {};
  const std::lock_guard alone(alone_);
  claims_.insert({job, epoch});
  return machine::make_init_root(root);
}

void InitRoots::drop(const base::JobId& job, base::Epoch epoch, const std::string& root) {
  if (root.empty()) return;
  const std::lock_guard alone(alone_);
  claims_.erase({job, epoch});
  remove_if_unclaimed(job, root);
}

void InitRoots::drop_through(const base::JobId& job, base::Epoch newest, const std::string& root) {
  if (root.empty()) return;
  const std::lock_guard alone(alone_);
  claims_.erase(claims_.lower_bound({job, base::Epoch{}}), claims_.upper_bound({job, newest}));
  remove_if_unclaimed(job, root);
}

void InitRoots::remove_if_unclaimed(const base::JobId& job, const std::string& root) {
  const auto other = claims_.lower_bound({job, base::Epoch{}});
  if (other != claims_.end() && other->first == job) return;
  (void)machine::remove_init_root(root).ok();
}

}  // namespace ternd
