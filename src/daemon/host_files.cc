// What the host does about jobs' files beside their moves (files_out.h, files_in.h).
#include <algorithm>

#include "daemon/handover_out_internal.h"
#include "daemon/host.h"
#include "machine/job_tree.h"
#include "machine/ledger_files.h"
#include "transfer/job_files.h"

namespace ternd {

std::string dir_refusal(const std::string& dir) {
  if (dir.empty()) return {};
  if (!transfer::valid_job_path(dir)) return "--dir: " + dir + " cannot travel with a job";
  if (!transfer::in_system_folder(dir)) return {};
  return "--dir: " + dir + " is a folder of the system, and those do not travel";
}

std::string Host::dir_of(const base::JobId& job) const {
  const node::jobs::Job* known = node_->jobs().find(job);
  return known == nullptr ? std::string() : known->spec.dir;
}

bool Host::home_is_here(const base::JobId& job) const {
  const node::jobs::Job* known = node_->jobs().find(job);
  return known != nullptr && known->spec.home == node_->self();
}

void Host::job_said(const base::JobId& job, const std::string& what) {
  node::Happened event;
  event.kind = "job";
  event.node = node_->self();
  event.job = job;
  event.text = what;
  happened(event);
}

void Host::lie_beside(const base::JobId& job, const machine::LaidBeside& laid) {
  for (const std::string& sentence : beside_sentences(laid)) job_said(job, sentence);
  if (home_is_here(job)) files_beside_->add(job, laid);  // else it is forgotten, its folder too
}

// tern ps, and who waits for the job, hear it; events once, as it is tried again and again.
void Host::files_stay_away(const base::JobId& job, const base::Error& why) {
  const node::jobs::Job* known = node_->jobs().find(job);
  if (known == nullptr || known->here) return;
  const AwayFacts facts{node_->name_of(known->at), node_->name_of(node_->self()), known->spec.dir};
  Away away = away_of(facts, why);
  const std::string sentence = away.sentence;
  if (files_away_->note(job, std::move(away))) job_said(job, sentence);
}

// Nobody sees them in tern ps from now on, and the guest hears at its next attempt that they are
// not expected any more.
void Host::forget_files_away(const base::JobId& job) {
  if (!files_away_ || files_away_->of(job).empty()) return;
  job_said(job,
           "it is forgotten here, as many have ended since; what it changed of its files stays "
           "on the node where it ended");
  files_away_->forget(job);
}

void Host::start_files_home() {
  const auto in_folder = [this](const base::JobId& job, Copies::Work work, Copies::Done done) {
    copies_->in_folder(job, std::move(work), std::move(done));
  };
  files_beside_ = std::make_unique<FilesBeside>(loop_, paths_, in_folder, log_);
  files_away_ = std::make_unique<FilesAway>(paths_, in_folder, log_);
  for (const auto& [job, known] : node_->jobs().all()) {
    if (known.spec.home != node_->self()) continue;
    files_beside_->load(job);
    files_away_->load(job);
  }
  FilesHome::Callbacks callbacks;
  callbacks.addresses = [this](const base::NodeId& node) { return node_->addresses_of(node); };
  callbacks.over = [this](const base::JobId& job) {
    if (node_->jobs().find(job) == nullptr) tidy_files(job, true);
  };
  const auto expected = [this](const base::JobId& job,
                               const base::NodeId& peer) -> std::optional<node::JobSpec> {
    const node::jobs::Job* known = node_->jobs().find(job);
    const bool there =
        known != nullptr && !known->here && known->spec.home == node_->self() && known->at == peer;
    return there ? std::optional<node::JobSpec>(known->spec) : std::nullopt;
  };
  callbacks.expected = expected;
  callbacks.never = [this](const base::JobId& job, base::Epoch epoch) -> std::string {
    const node::jobs::Job* known = node_->jobs().find(job);
    if (known == nullptr) return "the job is not known there any more";
    return known->epoch > epoch ? "that copy of the job is not the job any more" : "";
  };
  callbacks.beside = [this](const base::JobId& job, const machine::LaidBeside& laid) {
    const node::jobs::Job* known = node_->jobs().find(job);
    const bool after_its_end = known != nullptr && known->wait_status.has_value();
    if (after_its_end) job_said(job, "what it changed of its files is home now");
    lie_beside(job, laid);
    files_away_->came(job);
  };
  callbacks.refused = [this](const base::JobId& job, const base::Error& why) {
    files_stay_away(job, why);
  };
  callbacks.said = [this](const base::JobId& job, const std::string& what) { job_said(job, what); };
  files_home_ = std::make_unique<FilesHome>(loop_, paths_, *links_, log_, std::move(callbacks));
  FilesLook::Callbacks look;
  look.addresses = [this](const base::NodeId& node) { return node_->addresses_of(node); };
  look.expected = expected;
  look.refusal = [this](const node::JobSpec& spec) { return refusal(spec); };
  look.home_is_here = [this](const base::JobId& job) { return home_is_here(job); };
  files_look_ = std::make_unique<FilesLook>(loop_, paths_, *links_, std::move(look));
}

// What the sink says about the files of a job's that has no other obstacle.
void Host::look_at_files(const base::JobId& job, const base::NodeId& sink,
                         const base::Bytes& requirement, FilesLook::Then then) {
  const node::jobs::Job* known = node_->jobs().find(job);
  if (known == nullptr || sink.is_zero() || !files_look_) return then("");
  files_look_->ask(sink, known->spec, parked_files(known->spec, requirement, paths_.files()),
                   std::move(then));
}

void Host::collect(const balance::CollectRequirement& order) {
  const auto report = [this, sink = order.sink](const balance::Event& event) {
    auto answer = std::get<balance::RequirementCollected>(event);
    if (!answer.ok) return post(node::Handover{answer});
    const base::JobId job = answer.id.job;
    auto shared = std::make_shared<balance::RequirementCollected>(std::move(answer));
    look_at_files(job, sink, shared->requirement, [this, shared](const std::string& why) {
      shared->ok = why.empty();
      shared->reason = why;
      post(node::Handover{std::move(*shared)});
    });
  };
  const node::jobs::Job* job = node_->jobs().find(order.id.job);
  if (job != nullptr && job->parked) return park_->collect(order, report);
  preflight_->collect(order, node_->may_close_tcp(order.id.job), report);
}

// Nobody hears that it ended before this node has made sure that its files will come home; if they
// are there soon, then not before that.
void Host::job_ended(const base::JobId& job, std::int32_t wait_status, node::StreamEnds ends) {
  const auto tell = [this, job, wait_status, ends] {
    post(node::JobNews{node::jobs::Ended{job, wait_status, ends}});
    if (sampler_) sampler_->soon();
  };
  const node::jobs::Job* known = node_->jobs().find(job);
  if (known == nullptr || known->spec.home == node_->self() || !files_home_) return tell();
  ended_here_.insert(job);
  post(node::FilesGoHome{job, wait_status});
  files_home_->bring(known->spec, known->epoch, tell);
}

// A job is over for this node: what tern put here for it goes. What the job changed and home has
// not stays, and is said.
void Host::tidy_files(const base::JobId& job, bool over) {
  if (files_home_ && files_home_->pending(job)) return;  // it is tidied behind that
  struct Outcome {
    base::Status status;
    std::vector<std::string> kept;
  };
  auto outcome = std::make_shared<Outcome>();
  loop::run_blocking(
      loop_,
      [folder = paths_.files(), job, outcome, over] {
        auto ledgers = machine::read_ledgers(folder);
        if (!ledgers) {
          outcome->status = ledgers.error();
          return;
        }
        std::vector<std::string> names;
        for (const machine::Ledger& ledger : *ledgers) {
          if (ledger.name.starts_with(job.hex() + "-e")) names.push_back(ledger.name);
        }
        const bool home =
            std::any_of(ledgers->begin(), ledgers->end(), [&](const machine::Ledger& ledger) {
              return ledger.name == machine::left_ledger(job);
            });
        if (home) {
          for (const std::string& name : names) {
            if (outcome->status) outcome->status = machine::settle_ledger(folder, name);
          }
        } else if (over && !names.empty()) {
          auto undone = machine::undo_ledgers(folder, names, machine::was_changed);
          if (!undone) outcome->status = undone.error();
          if (undone) outcome->kept = std::move(undone->kept);
        }
        // Without it what lies here would be taken for a guest's.
        if (outcome->status) {
          (void)machine::remove_ledger(folder, machine::left_ledger(job));
        }
      },
      [this, job, outcome, alive = alive_] {
        if (!*alive) return;
        if (!outcome->status) {
          log_.warn("files_left", {{"job", job.hex()}, {"why", outcome->status.error().detail}});
        }
        for (const std::string& path : outcome->kept) {
          log_.warn("file_kept", {{"job", job.hex()}, {"path", path}});
        }
      });
}

// At the start: ledgers of jobs that this node knows nothing of any more.
void Host::sweep_files() {
  auto ledgers = machine::read_ledgers(paths_.files());
  if (!ledgers) return;
  for (const base::JobId& job : files_home_->resume()) ended_here_.insert(job);
  for (const machine::Ledger& ledger : *ledgers) {
    auto bytes = base::from_hex(ledger.name.substr(0, ledger.name.find('-')));
    base::JobId job;
    if (!bytes || bytes->size() != job.bytes.size()) continue;
    std::copy(bytes->begin(), bytes->end(), job.bytes.begin());
    if (records_.count("job/" + job.hex()) == 0) tidy_files(job, true);
  }
}

}  // namespace ternd
