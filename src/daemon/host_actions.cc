// What the node asks for, carried out.
#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/overloaded.h"
#include "control/json.h"
#include "daemon/host.h"

namespace ternd {
namespace {

using base::Status;

std::vector<machine::StoreWrite> to_writes(const std::vector<balance::RecordChange>& changes) {
  std::vector<machine::StoreWrite> writes;
  for (const balance::RecordChange& change : changes) writes.push_back({change.key, change.value});
  return writes;
}

}  // namespace

void Host::perform(const node::Action& action) {
  std::visit(
      base::Overloaded{
          [&](const node::SendDatagram& a) { udp_->send(a.to, a.bytes); },
          [&](const node::SendMessage& a) { links_->send(a.to, a.addresses, a.bytes); },
          [&](const node::Contact& a) { links_->contact(a.endpoint); },
          [&](const node::Persist& a) {
            store(to_writes(a.changes), [this, id = a.id, life = node_life_] {
              if (life == node_life_) post(node::Persisted{id});
            });
          },
          [&](const node::HandoverOrder& a) { perform_handover(a.action); },
          [&](const node::JobOrder& a) { perform_job(a.action); },
          [&](const node::MoveStored& a) {
            if (in_) in_->stored(a.job);
          },
          [&](const node::ReadLog& a) {
            if (!copies_) return post(node::LogRead{a.token, {}, {}});
            copies_->read(a.job, a.stream, a.offset, node::kOutputChunkMax,
                          [this, token = a.token](base::Bytes bytes, node::StreamEnds ends) {
                            post(node::LogRead{token, std::move(bytes), ends});
                          });
          },
          [&](const node::SignalJob& a) {
            if (!copies_) return post(node::Signalled{a.token, false, no_jobs_});
            copies_->signal(a.job, a.signal_number, [this, token = a.token](const Status& status) {
              post(node::Signalled{token, status.ok(), status ? "" : status.error().detail});
            });
          },
          [&](const node::CollectNeeds& a) { look(a.token, &a.job, {}); },
          [&](const node::CheckNeeds& a) { look(a.token, nullptr, a.requirement); },
          [&](const node::Reply& a) {
            const auto it = asked_.find(a.request);
            if (it == asked_.end()) return;
            const Answer answer = it->second;
            if (a.over) asked_.erase(it);
            answer(a);
          },
          [&](const node::Happened& a) { happened(a); },
          [&](const node::Fatal& a) { fatal(a.reason); },
      },
      action);
}

void Host::perform_handover(const balance::Action& action) {
  if (!out_ || !in_) return;  // a sink that accepts no jobs is never asked; silence is a refusal
  std::visit(base::Overloaded{
                 [&](const balance::CollectRequirement& a) { preflight_->collect(a); },
                 [&](const balance::CheckPreflight& a) { preflight_->check(a); },
                 [&](const balance::FreezeAndStream& a) { out_->stream(a); },
                 [&](const balance::SendSeal& a) { out_->send_seal(a); },
                 [&](const balance::Thaw& a) { out_->thaw(a); },
                 [&](const balance::KillOriginal& a) { out_->kill(a); },
                 [&](const balance::CheckOriginal& a) { out_->check(a); },
                 [&](const balance::ExpectStream& a) { in_->expect(a); },
                 [&](const balance::Restore& a) { in_->restore(a); },
                 [&](const balance::CheckCopy& a) { in_->check(a); },
                 [&](const balance::ReleaseCopy& a) { in_->release(a); },
                 [&](const balance::DiscardCopy& a) { in_->discard(a); },
                 [](const auto&) {},
             },
             action);
}

void Host::perform_job(const node::jobs::Action& action) {
  if (!copies_) {
    if (const auto* attend = std::get_if<node::jobs::Attend>(&action)) {
      log_.error("job_cannot_be_attended", {{"job", attend->spec.id.hex()}, {"why", no_jobs_}});
    }
    return;
  }
  std::visit(
      base::Overloaded{
          [&](const node::jobs::Launch& a) { launch(a); },
          [&](const node::jobs::Attend& a) { copies_->attend(a.spec, a.epoch); },
          [&](const node::jobs::ReadSpool& a) {
            copies_->read(
                a.job, a.stream, a.offset, a.size_max,
                [this, job = a.job, stream = a.stream, offset = a.offset](base::Bytes bytes,
                                                                          node::StreamEnds) {
                  post(node::JobNews{node::jobs::SpoolRead{job, stream, offset, std::move(bytes)}});
                });
          },
          [&](const node::jobs::AppendHome& a) {
            const base::JobId job = a.job;
            copies_->append_home(
                job, a.stream, a.offset, a.bytes,
                [this, job, stream = a.stream](const Status& status,
                                               std::optional<std::uint64_t> end) {
                  if (!status) {
                    log_.error("home_log", {{"job", job.hex()}, {"why", status.error().detail}});
                  }
                  post(node::JobNews{node::jobs::HomeAppended{job, stream, end}});
                });
          },
          [&](const node::jobs::Forget& a) { copies_->forget(a.job); },
          [](const auto&) {},
      },
      action);
}

void Host::launch(const node::jobs::Launch& order) {
  const base::JobId job = order.spec.id;
  PendingRun run;
  const auto it = launching_.find(job);
  if (it != launching_.end()) {
    run = it->second;
    launching_.erase(it);
  }
  copies_->launch(order.spec, order.epoch, run.env, run.umask,
                  [this, job](const base::Result<machine::ProcessName>& init) {
                    if (!init) {
                      post(node::JobNews{node::jobs::LaunchFailed{job, init.error().detail}});
                      return;
                    }
                    post(node::JobNews{node::jobs::Launched{job, init->pid}});
                    if (sampler_) sampler_->soon();
                  });
}

// ---- preflight: what a job needs, and whether a job may run here

// For a dry run: at the job, or at this machine for a job of another's.
void Host::look(std::uint64_t token, const base::JobId* job, const base::Bytes& requirement) {
  if (!preflight_) return post(node::NeedsLooked{token, {}, {no_jobs_}});
  const auto then = [this, token](PreflightDesk::Looked looked) {
    post(node::NeedsLooked{token, std::move(looked.requirement), std::move(looked.obstacles)});
  };
  job != nullptr ? preflight_->look_at_job(*job, then)
                 : preflight_->look_at_machine(requirement, then);
}

std::string Host::refusal(const node::JobSpec& spec) const {
  if (spec.uid == 0 && !options_.allow_root_jobs) {
    return "this node takes no jobs of root (its policy; --allow-root-jobs changes it)";
  }
  if (spec.uid == 0) return {};
  if (std::find(trusted_uids_.begin(), trusted_uids_.end(), spec.uid) != trusted_uids_.end()) {
    return {};
  }
  return "this node does not know uid " + std::to_string(spec.uid) +
         " as the same person (`tern join --trust`, or --policy-uids, changes that)";
}

void Host::happened(const node::Happened& event) {
  if (event.kind == "output") {
    for (const auto& follow : std::vector(follows_)) follow_step(follow);
    return;
  }
  if (event.kind == "handover" && event.handover) {
    if (sampler_) sampler_->soon();
    if (out_) out_->over(event.handover->id);
  }
  if (event.kind == "job") {
    for (const auto& follow : std::vector(follows_)) follow_step(follow);
  }
  control::JsonWriter json;
  json.integer("time", base::wall_seconds(loop::Loop::wall_now()));
  json.text("node", node_->name_of(event.node)).text("kind", event.kind);
  if (!event.job.is_zero()) json.text("job", event.job.hex());
  json.text("text", event.text);
  if (event.handover) json.raw("handover", node::handover_json(*event.handover));
  const std::string line = json.finish();
  log_.info(event.kind, {{"about", node_->name_of(event.node)},
                         {"job", event.job.is_zero() ? "" : event.job.brief()},
                         {"what", event.text}});
  history_.push_back(line);
  if (history_.size() > kEventsKept) history_.pop_front();
  auto text = control::event_line(line);
  std::erase_if(watchers_, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : watchers_) {
    if (auto client = weak.lock(); client && text) client->line(*text);
  }
}

}  // namespace ternd
