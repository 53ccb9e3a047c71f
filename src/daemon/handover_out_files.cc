// The job's files on their way out (files_out.h): before the freeze and after it.
#include "daemon/files_stream.h"
#include "daemon/files_user.h"
#include "daemon/handover_out_internal.h"
#include "machine/cgroup.h"
#include "machine/ledger_files.h"
#include "machine/preflight.h"

namespace ternd {

using base::Status;

FilesOut::List parked_files(const node::JobSpec& spec, const base::Bytes& requirement,
                            const std::string& ledgers) {
  return [tree = tree_of(spec), requirement, ledgers,
          job = spec.id]() -> base::Result<machine::JobTreeSpec> {
    auto needs = machine::decode_requirement(requirement);
    if (!needs) return needs.error();
    machine::JobTreeSpec out = tree;
    out.files = std::move(needs->files);
    auto placed = machine::placed_files(ledgers, job);  // none at home
    if (!placed) return placed.error();
    out.placed = std::move(*placed);
    return out;
  };
}

FilesOut::List HandoverOut::live_files(const Handle& attempt) const {
  const CopyView* copy = copies_.find(attempt->id.job);
  const auto metadata = callbacks_.describe(attempt->id.job);
  if (copy == nullptr || !metadata) {
    return [] { return base::fail(base::Code::kNotFound, "the job has ended"); };
  }
  const bool guest = !callbacks_.home_is_here(attempt->id.job);
  machine::InspectOptions options;
  options.init_root = copy->init_root;
  options.own_files_only = true;
  return [tree = tree_of(metadata->spec), options, guest, folder = paths_.files(),
          job = attempt->id.job, cgroup = copy->cgroup]() -> base::Result<machine::JobTreeSpec> {
    auto group = machine::Cgroup::open(cgroup);
    if (!group) return group.error();
    machine::FileHashes none;
    auto seen = machine::inspect_job(*group, options, none);
    if (!seen) return seen.error();
    machine::JobTreeSpec out = tree;
    out.files = std::move(seen->requirement.files);
    if (!guest) return out;
    auto placed = machine::placed_files(folder, job);
    if (!placed) return placed.error();
    out.placed = std::move(*placed);
    return out;
  };
}

// `then` runs unless the attempt failed or ended meanwhile.
void HandoverOut::send_files(const Handle& attempt, bool final, FilesOut::List list,
                             std::function<void()> then) {
  const auto metadata = callbacks_.describe(attempt->id.job);
  if (!metadata) return fail(attempt, "the job has ended");
  if (!attempt->files) {
    FilesOut::Callbacks callbacks;
    std::weak_ptr<Attempt> weak = attempt;
    through_stream(callbacks, weak);
    callbacks.progress = [this, weak] {
      if (auto strong = weak.lock(); strong && !strong->failed) progress(strong);
    };
    callbacks.done = [this, weak](const Status& status) {
      auto strong = weak.lock();
      if (!strong || strong->failed || strong->ended) return;
      if (!status) return fail(strong, "the job's files: " + status.error().detail);
      if (auto next = std::exchange(strong->after_files, nullptr)) next();
    };
    attempt->files = std::make_unique<FilesOut>(loop_, std::move(callbacks));
  }
  attempt->after_files = std::move(then);
  if (final) {
    attempt->after_files = [this, attempt, then = std::move(attempt->after_files)] {
      note_files(attempt, then);
    };
  }
  attempt->files->start(final, node::encode(metadata->spec), std::move(list));
}

// What left, so that home knows it again, or that a node that was a guest's can be tidied.
void HandoverOut::note_files(const Handle& attempt, std::function<void()> then) {
  const auto metadata = callbacks_.describe(attempt->id.job);
  if (!metadata) return fail(attempt, "the job has ended");
  const bool home = callbacks_.home_is_here(attempt->id.job);
  auto status = std::make_shared<Status>();
  loop::run_blocking(
      loop_,
      [status, tree = attempt->files->tree(), home, folder = paths_.files(), job = attempt->id.job,
       user = tree_of(metadata->spec)] {
        const std::vector<machine::LeftFile> left = left_of(*tree);
        *status = home ? machine::note_left_home(folder, job, {user.uid, user.gids}, left)
                       : machine::note_guest_leaves(folder, job, left);
      },
      [this, attempt, status, then = std::move(then), alive = alive_] {
        if (!*alive || attempt->failed || attempt->ended) return;
        if (!*status) return fail(attempt, "the job's files: " + status->error().detail);
        then();
      });
}

void HandoverOut::on_file_record(const Handle& attempt, const transfer::Buffer& record) {
  if (attempt->failed || attempt->sealed) return;
  if (!attempt->files || !transfer::is_job_files_record(record.view())) {
    return fail(attempt, "the sink speaks out of turn");
  }
  const auto refusal = transfer::refusal_in(record.view());
  if (refusal && !attempt->files->busy()) return fail(attempt, refusal->detail);  // the checkpoint
  attempt->files->on_record(record.view());
}

}  // namespace ternd
