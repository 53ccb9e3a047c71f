// The job's files on their way in (files_in.h), and what becomes of them with the copy.
#include "daemon/files_stream.h"
#include "daemon/files_user.h"
#include "daemon/handover_in_internal.h"
#include "machine/ledger_files.h"

namespace ternd {

using base::Status;

void HandoverIn::on_file_record(const Handle& attempt, const transfer::Buffer& record) {
  if (!attempt->files && !attempt->files_failed) start_files(attempt);
  if (attempt->files) attempt->files->on_record(record.view());
  progress(attempt);
}

// The stream stays until discard(): were it cut now, all that the source could say is that it
// ended, and that could be the first reason that the coordinator hears.
void HandoverIn::tell_source(const Handle& attempt, const std::string& reason) {
  const bool told =
      attempt->stream && !attempt->sealed &&
      attempt->stream->send({transfer::encode_job_refuse(transfer::JobFilesType::kRefuse, reason)});
  if (!told) attempt->stream.reset();
}

void HandoverIn::start_files(const Handle& attempt) {
  FilesIn::Callbacks callbacks;
  std::weak_ptr<Attempt> weak = attempt;
  through_stream(callbacks, weak);
  // The stream stays: the source's word, with this sentence in it, is to be the first reason.
  callbacks.failed = [this, weak](const Status& status) {
    auto strong = weak.lock();
    if (!strong) return;
    strong->files_failed = true;
    log_.warn("files_refused", {{"job", strong->id.job.hex()}, {"why", status.error().detail}});
  };
  callbacks.work = [this, weak](std::function<Status()> what, FilesIn::Done done) {
    if (auto strong = weak.lock()) work(strong, std::move(what), std::move(done));
  };
  callbacks.refusal = callbacks_.refusal;
  machine::PlacerSpec spec;
  spec.ledgers = paths_.files();
  spec.job = attempt->id.job;
  spec.epoch = attempt->id.epoch;
  spec.at_home = callbacks_.home_is_here(attempt->id.job);
  attempt->files = std::make_unique<FilesIn>(loop_, std::move(spec), std::move(callbacks));
}

// Whether the checkpoint is of the job whose files came, and they are where they belong.
Status HandoverIn::check_files(const Attempt& attempt, const node::JobSpec& spec) {
  if (attempt.files_failed) return base::fail(base::Code::kRefused, "the job's files did not come");
  if (!attempt.files) return {};
  const auto& owner = attempt.files->owner();
  const bool same = owner && same_user(*owner, spec) && owner->home == spec.home;
  if (!same || !attempt.files->idle()) {
    return base::fail(base::Code::kInvalid, "the checkpoint does not fit the files that came");
  }
  return {};
}

// At home what came is its owner's from now on; elsewhere the ledger waits for the job to leave.
void HandoverIn::settle_files(const balance::HandoverId& id) {
  if (!callbacks_.home_is_here(id.job)) return;
  if (const Handle attempt = get(id); attempt && attempt->files) {
    callbacks_.files_beside(id.job, attempt->files->laid());
  }
  auto status = std::make_shared<Status>();
  loop::run_blocking(
      loop_,
      [folder = paths_.files(), id, status] {
        *status = machine::settle_ledger(folder, machine::arrival_ledger(id.job, id.epoch));
      },
      [this, id, status, alive = alive_] {
        if (!*alive || *status) return;
        log_.warn("files_left", {{"job", id.job.hex()}, {"why", status->error().detail}});
      });
}

Status undo_files(const std::string& folder, const balance::HandoverId& id) {
  auto undone = machine::undo_ledgers(folder, {machine::arrival_ledger(id.job, id.epoch)});
  return undone ? Status() : Status(undone.error());
}

}  // namespace ternd
