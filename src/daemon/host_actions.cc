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
            if (!copies_) return post(node::LogRead{a.token, {}, {}, 0});
            copies_->read(a.job, a.stream, a.offset, node::kOutputChunkMax,
                          [this, token = a.token](std::uint64_t begin, base::Bytes bytes,
                                                  node::StreamEnds ends) {
                            post(node::LogRead{token, std::move(bytes), ends, begin});
                          });
          },
          [&](const node::FeedJob& a) {
            if (inputs_) inputs_->feed(a);
          },
          [&](const node::DeskSaid& a) { desk_said(a.said); },
          [&](const node::SignalJob& a) {
            if (!copies_) return post(node::Signalled{a.token, false, no_jobs_});
            copies_->signal(a.job, a.signal_number, [this, token = a.token](const Status& status) {
              post(node::Signalled{token, status.ok(), status ? "" : status.error().detail});
            });
          },
          [&](const node::LimitCpu& a) {
            if (!copies_) return post(node::CpuLimited{a.token, false, no_jobs_});
            copies_->limit(a.job, a.limit_micros, [this, token = a.token](const Status& status) {
              post(node::CpuLimited{
                  token, status.ok(),
                  status ? machine::limit_means_name(paths_.limits.means) : status.error().detail});
            });
          },
          [&](const node::PauseJob& a) {
            if (!copies_) return post(node::JobPaused{a.token, false, no_jobs_});
            copies_->pause(a.job, a.on, [this, token = a.token](const Status& status) {
              post(node::JobPaused{token, status.ok(), status ? "" : status.error().detail});
            });
          },
          [&](const node::DelaySleep& a) {
            if (services_) services_->delay_sleep(a.on);
          },
          [&](const node::CollectNeeds& a) { look_at_job(a); },
          [&](const node::CheckNeeds& a) { look_at_machine(a); },
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
                 [&](const balance::CollectRequirement& a) { collect(a); },
                 [&](const balance::CheckPreflight& a) { preflight_->check(a); },
                 [&](const balance::FreezeAndStream& a) {
                   inputs_->close(a.id.job);
                   out_->stream(a, node_->may_close_tcp(a.id.job));
                 },
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
  std::visit(base::Overloaded{
                 [&](const node::jobs::Launch& a) { launch(a); },
                 [&](const node::jobs::Attend& a) {
                   if (!adopt_->attend(a.spec, a.epoch)) park_->attend(a.spec, a.epoch);
                 },
                 [&](const node::jobs::Park& a) { park_->park(a); },
                 [&](const node::jobs::Wake& a) { park_->wake(a); },
                 [&](const node::jobs::Remove& a) { park_->remove(a); },
                 [&](const node::jobs::ReadSpool& a) { read_spool(a); },
                 [&](const node::jobs::AppendHome& a) { append_home(a); },
                 [&](const node::jobs::OutputStalls& a) { output_stalls(a); },
                 [&](const node::jobs::Forget& a) {
                   copies_->forget(a.job);
                   output_limit_->forget(a.job);
                   if (files_beside_) files_beside_->forget(a.job);
                   forget_files_away(a.job);
                   tidy_files(a.job, ended_here_.erase(a.job) > 0);
                 },
                 [](const auto&) {},
             },
             action);
}

void Host::launch(const node::jobs::Launch& order) {
  const base::JobId job = order.spec.id;
  const auto launched = [this, job](const base::Result<machine::ProcessName>& init) {
    if (!init) return post(node::JobNews{node::jobs::LaunchFailed{job, init.error().detail}});
    post(node::JobNews{node::jobs::Launched{job, init->pid}});
    if (sampler_) sampler_->soon();
  };
  if (adopt_->has(job)) return adopt_->launch(order.spec, order.epoch, launched);
  PendingRun run;
  const auto it = launching_.find(job);
  if (it != launching_.end()) {
    run = it->second;
    launching_.erase(it);
  }
  const auto input = run.input == control::JobInput::kPipe       ? machine::JobInput::kPipe
                     : run.input == control::JobInput::kTerminal ? machine::JobInput::kTerminal
                                                                 : machine::JobInput::kNothing;
  node::JobSpec spec = order.spec;
  if (!run.argv.empty()) spec.argv = std::move(run.argv);
  copies_->launch(spec, order.epoch, {run.env, run.umask, input}, launched);
}

// ---- preflight: what a job needs, and whether a job may run here

void Host::look_at_job(const node::CollectNeeds& asked) {
  const auto then = [this, asked](PreflightDesk::Looked looked) {
    auto shared = std::make_shared<PreflightDesk::Looked>(std::move(looked));
    const auto tell = [this, token = asked.token, shared](const std::string& why) {
      if (!why.empty()) shared->obstacles.push_back(why);
      post(node::NeedsLooked{token, std::move(shared->requirement), std::move(shared->obstacles)});
    };
    if (!shared->obstacles.empty()) return tell("");
    look_at_files(asked.job, asked.sink, shared->requirement, tell);
  };
  if (!preflight_) return then({{}, {no_jobs_}});
  if (asked.to_park) return park_->look(asked.job, asked.tcp_close, then);
  const node::jobs::Job* known = node_->jobs().find(asked.job);
  if (known != nullptr && known->parked) {
    using Found = base::Result<std::optional<ParkDesk::Parked>>;
    return park_->find(asked.job, known->epoch, [then](const Found& found) {
      if (!found) return then({{}, {found.error().detail}});
      if (!*found) return then({{}, {"the job is not parked any more"}});
      then({(*found)->manifest.requirement, {}});
    });
  }
  preflight_->look_at_job(asked.job, asked.tcp_close, then);
}

void Host::look_at_machine(const node::CheckNeeds& asked) {
  const std::uint64_t token = asked.token;
  if (!preflight_) return post(node::NeedsLooked{token, {}, {no_jobs_}});
  const auto then = [this, token](PreflightDesk::Looked looked) {
    post(node::NeedsLooked{token, std::move(looked.requirement), std::move(looked.obstacles)});
  };
  preflight_->look_at_machine(asked.job, asked.requirement, then);
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
  if (event.kind == "job" || event.kind == "wake") {
    for (const auto& follow : std::vector(follows_)) follow_step(follow);
  }
  control::JsonWriter json;
  json.integer("time", base::wall_seconds(loop::Loop::wall_now()));
  json.text("node", node_->name_of(event.node)).text("kind", event.kind);
  if (!event.job.is_zero()) json.text("job", event.job.hex());
  json.text("text", event.text);
  if (event.handover) json.raw("handover", node::handover_json(*event.handover));
  if (!event.rest.empty()) json.raw("rest", event.rest);
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
