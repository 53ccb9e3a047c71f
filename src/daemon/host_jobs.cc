// What people ask about jobs.
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "daemon/entropy.h"
#include "daemon/exits.h"
#include "daemon/host.h"
#include "daemon/job_name.h"
#include "daemon/run_outcome.h"

namespace ternd {
namespace {

using base::Code;
using control::Exit;

constexpr std::size_t kIdsShownMax = 8;  // where a name means several jobs

// What a person would do next where a peer or a rule said no.
std::string_view next_of(int code) {
  switch (code) {
    case 4:
      return "who is there: tern status";
    case 6:
      return "the least loaded nodes: tern find-minus; a node that is named is asked all the same: "
             "tern migrate JOB NODE";
    default:
      return {};
  }
}

// It has ended where it was a guest, and home has not heard of it yet.
bool homeward(const node::JobInfo& info) {
  return info.state == node::JobState::kExited && info.here && info.node != info.home;
}

using JobIndexes = std::vector<std::pair<base::JobId, std::size_t>>;  // in a report

// Those that began last have room first.
static_assert(3 * kAwaySentenceMax <= control::kFilesAwayBytesMax, "each byte may become U+FFFD");
void add_files(const FilesBeside& files, const FilesAway& away, JobIndexes jobs,
               control::Jobs& report) {
  std::stable_sort(jobs.begin(), jobs.end(), [&](const auto& a, const auto& b) {
    return report.jobs[a.second].started_at > report.jobs[b.second].started_at;
  });
  BesideRoom room;
  for (const auto& [job, index] : jobs) {
    machine::LaidBeside laid = files.of(job);
    control::JobReport& one = report.jobs[index];
    one.beside_more = fit_beside(laid, room);
    one.beside = std::move(laid.beside);
    one.kept = std::move(laid.kept);
    std::string stay = away.of(job);
    if (stay.size() > room.bytes) continue;
    room.bytes -= stay.size();
    one.files_away = std::move(stay);
  }
}

}  // namespace

bool Host::needs_jobs(const std::shared_ptr<Client>& client) const {
  if (!needs_member(client)) return false;
  if (no_jobs_.empty()) return true;
  client->fail(Exit::kError, no_jobs_);
  return false;
}

// ---- ps, and whom a word means

void Host::ask_jobs(std::function<void(const node::JobsAnswer&)> then) {
  const std::uint64_t request = ask([then = std::move(then)](const node::Reply& reply) {
    then(reply.jobs.value_or(node::JobsAnswer{}));
  });
  post(node::AskJobs{request});
}

void Host::answer_jobs(const std::shared_ptr<Client>& client) {
  if (!needs_member(client)) return;
  ask_jobs([this, client](const node::JobsAnswer& answer) {
    control::Jobs report;
    JobIndexes ours;
    for (const node::JobInfo& info : answer.jobs) {
      control::JobReport one;
      one.id = info.id.hex();
      one.name = info.name;
      one.command = info.command;
      one.state = node::job_state_name(info.state);
      one.node = info.node.is_zero() ? "" : node_->name_of(info.node);
      one.home = node_->name_of(info.home);
      one.pid = info.pid;
      one.epoch = info.epoch;
      one.scum_micros = info.scum_micros;
      one.cpu_percent_millis = info.cpu_micros / 10;
      one.mem_percent_millis = info.memory_micros / 10;
      one.started_at = base::wall_seconds(info.started_at);
      one.moves = info.moves;
      one.homeward = homeward(info);
      if (!info.waits_for.is_zero()) one.waits_for = node_->name_of(info.waits_for);
      if (info.home == node_->self()) ours.emplace_back(info.id, report.jobs.size());
      const node::jobs::Job* known = node_->jobs().find(info.id);
      if (known != nullptr && known->lost) one.missing = known->missing;
      if (info.wait_status) one.exit_code = exit_code_of(*info.wait_status);
      report.jobs.push_back(std::move(one));
    }
    for (const base::NodeId& node : answer.unreachable) {
      report.unreachable.push_back(node_->name_of(node));
    }
    if (!files_beside_) return client->done(control::to_json(report));
    auto shared = std::make_shared<control::Jobs>(std::move(report));
    files_beside_->look([this, client, shared, ours = std::move(ours), alive = alive_] {
      if (!*alive) return;
      if (files_beside_) add_files(*files_beside_, *files_away_, ours, *shared);
      client->done(control::to_json(*shared));
    });
  });
}

void Host::find_job(const std::string& reference, const std::shared_ptr<Client>& client,
                    std::function<void(const node::JobInfo&)> then) {
  if (!needs_member(client)) return;
  ask_jobs([reference, client, then = std::move(then)](const node::JobsAnswer& answer) {
    std::vector<node::JobInfo> found;
    for (const node::JobInfo& info : answer.jobs) {
      const bool by_id = reference.size() >= 4 && info.id.hex().rfind(reference, 0) == 0;
      if (by_id || info.name == reference) found.push_back(info);
    }
    // A name that was used before means the job that still runs.
    if (found.size() > 1) {
      std::vector<node::JobInfo> running;
      for (const node::JobInfo& info : found) {
        if (info.state != node::JobState::kExited) running.push_back(info);
      }
      if (running.size() == 1) found = running;
    }
    if (found.size() == 1) return then(found.front());
    if (found.empty()) return client->fail_unknown_job(reference);
    std::string ids;
    for (std::size_t i = 0; i < found.size() && i < kIdsShownMax; ++i) {
      ids += (ids.empty() ? "" : ", ") + found[i].id.brief() +
             (found[i].state == node::JobState::kExited ? " (ended)" : "");
    }
    client->fail(Exit::kError, "several jobs are called " + reference + ": " + ids,
                 "name one by its id; all of them: tern ps");
  });
}

// ---- run

void Host::answer(const control::RunRequest& request, const std::shared_ptr<Client>& client) {
  if (!needs_jobs(client)) return;
  if (::geteuid() != 0 && client->uid() != ::geteuid()) {
    return client->fail(Exit::kRefused, "this daemon runs jobs of its own user only");
  }
  // What was named on purpose is to be found by its name, by whoever named it.
  for (const auto& [id, job] : node_->jobs().all()) {
    const bool same = request.name && job.spec.name == *request.name;
    if (same && !job.wait_status && job.spec.uid == client->uid()) {
      return client->fail(Exit::kError, "your job " + id.brief() + " is called that and still runs",
                          "choose another name, or end it: tern kill " + id.brief());
    }
  }
  std::optional<base::NodeId> target;
  node::Node::Placement placement;
  if (!request.on) placement = node_->placement();
  const std::string on = request.on.value_or("here");
  if (on != "here" && on != "best") {
    auto found = find_node(on);
    if (!found) return client->fail(found.error(), "see: tern status");
    if (*found != node_->self()) target = *found;
  }
  if (std::string why = dir_refusal(request.dir); !why.empty()) {
    return client->fail(Exit::kRefused, why, "see: tern run --help");
  }
  node::JobSpec spec;
  spec.id = random_id<base::JobId>();
  spec.name = request.name.value_or(default_name(request.argv));
  spec.argv = described_command(request.argv);
  spec.cwd = request.cwd;
  spec.tcp_close = request.tcp_close;
  spec.dir = request.dir;
  spec.uid = client->uid();
  spec.gid = client->gid();
  spec.groups = client->groups();
  if (spec.groups.size() > node::kGroupsMax) {
    return client->fail(Exit::kError, "a job's user may be in " + std::to_string(node::kGroupsMax) +
                                          " groups at most");
  }
  if (request.dry_run) {
    std::string where = on == "best" ? on : node_->name_of(target.value_or(node_->self()));
    if (!placement.here) {
      where = placement.elsewhere ? node_->name_of(*placement.elsewhere) : "the queue";
    }
    return client->done(control::to_json(control::KillReport{where}));
  }
  spec.home = node_->self();
  spec.started_at = loop::Loop::wall_now();
  if (!placement.here) return enqueue(request, std::move(spec), placement, client);
  PendingRun run;
  run.argv = request.argv;
  run.env = request.env;
  run.umask = request.umask;
  run.input = request.input;
  launching_[spec.id] = run;
  const bool moves = on == "best" || target.has_value();
  const std::uint64_t asked = ask([this, client, spec, moves, target](const node::Reply& reply) {
    launching_.erase(spec.id);  // of one that was not launched
    if (reply.exit_code != 0)
      return client->fail(exit_of(reply.exit_code), reply.sentence, next_of(reply.exit_code));
    const std::string report = control::to_json(control::RunReport{spec.id.hex(), spec.name});
    if (!moves) return client->done(report);
    node::MigrateJob order;
    order.uid = client->uid();
    order.job = spec.id;
    order.host = node_->self();
    order.target = target;
    order.request = ask([this, client, report, id = spec.id](const node::Reply& moved) {
      std::string sentence = moved.sentence;
      if (moved.over) {
        const node::jobs::Job* job = node_->jobs().find(id);
        sentence = run_outcome(
            moved, {job, node_->in_doubt(id), job == nullptr ? "" : node_->name_of(job->at)});
      }
      if (!sentence.empty()) client->line(control::progress_line(sentence));
      if (moved.over) client->done(report);
    });
    post(std::move(order));
  });
  post(node::RunJob{asked, spec});
}

// Nobody here has room: it waits, described in its folder, and a MINUS node that has room is asked
// at once.
void Host::enqueue(const control::RunRequest& request, node::JobSpec spec,
                   const node::Node::Placement& placement, const std::shared_ptr<Client>& client) {
  if (spec.argv != request.argv) {
    return client->fail(Exit::kError,
                        "cannot queue it: a command that waits has " +
                            std::to_string(node::kArgumentsMax) + " arguments at most, of " +
                            std::to_string(node::kArgumentsSizeMax >> 10U) + " KiB together",
                        "start it here all the same: tern run --on here; or put it into a script");
  }
  const auto told = [this, client, spec, placement](const node::Reply& reply) {
    if (reply.exit_code != 0) {
      return client->fail(exit_of(reply.exit_code), reply.sentence, next_of(reply.exit_code));
    }
    const std::string report = control::to_json(control::RunReport{spec.id.hex(), spec.name, true});
    const auto waits = [client, report, id = spec.id.brief()](const std::string& why) {
      client->line(control::progress_line("queued: " + why + "; to start it at once: tern wake " +
                                          id + " (another time: tern run --on here)"));
      client->done(report);
    };
    if (!placement.elsewhere) return waits(placement.why);
    node::MigrateJob order;
    order.uid = client->uid();
    order.job = spec.id;
    order.host = node_->self();
    order.target = placement.elsewhere;
    order.request = ask([client, report, waits](const node::Reply& moved) {
      if (!moved.over) {
        if (!moved.sentence.empty()) client->line(control::progress_line(moved.sentence));
        return;
      }
      if (moved.exit_code != 0) return waits(moved.sentence);
      client->done(report);
    });
    post(std::move(order));
  };
  const auto input = request.input == control::JobInput::kPipe       ? node::LaunchInput::kPipe
                     : request.input == control::JobInput::kTerminal ? node::LaunchInput::kTerminal
                                                                     : node::LaunchInput::kNothing;
  park_->queue(spec, {request.umask, request.env, input},
               [this, client, spec, told](const base::Result<node::jobs::ParkedFacts>& facts) {
                 if (!facts) {
                   return client->fail(Exit::kError, "cannot queue it: " + facts.error().detail,
                                       "start it here all the same: tern run --on here");
                 }
                 post(node::RunJob{ask(told), spec, *facts});
               });
}

// ---- kill, migrate, resolve

void Host::answer(const control::KillRequest& request, const std::shared_ptr<Client>& client) {
  find_job(request.job, client, [this, request, client](const node::JobInfo& info) {
    if (info.state == node::JobState::kExited && !homeward(info)) {
      return client->fail(Exit::kError, "that job has ended already");
    }
    if (request.dry_run) {
      const node::jobs::Job* known = node_->jobs().find(info.id);
      if (known != nullptr && client->uid() != 0 && client->uid() != known->spec.uid) {
        return client->fail(Exit::kRefused, "only its owner or root may signal it");
      }
      return client->done(control::to_json(control::KillReport{node_->name_of(info.node)}));
    }
    node::KillJob order;
    order.uid = client->uid();
    order.job = info.id;
    order.host = info.node;
    order.signal_number = request.signal;
    order.request = ask([this, client, at = info.node](const node::Reply& reply) {
      if (reply.exit_code != 0)
        return client->fail(exit_of(reply.exit_code), reply.sentence, next_of(reply.exit_code));
      client->done(control::to_json(control::KillReport{node_->name_of(at), reply.sentence}));
    });
    if (info.state == node::JobState::kPaused && request.signal != SIGKILL) {
      client->line(control::progress_line(
          "the job is paused there and gets the signal when it goes on; at once only: tern kill " +
          request.job + " KILL"));
    }
    post(std::move(order));
  });
}

void Host::answer(const control::MigrateRequest& request, const std::shared_ptr<Client>& client) {
  if (const auto pid = process_meant(request.job)) return migrate_number(request, *pid, client);
  migrate_job(request, client);
}

void Host::migrate_job(const control::MigrateRequest& request,
                       const std::shared_ptr<Client>& client) {
  find_job(request.job, client, [this, request, client](const node::JobInfo& info) {
    if (info.state == node::JobState::kExited) {
      return client->fail(Exit::kError, "that job has ended already");
    }
    const std::string to = request.to.value_or("best");
    std::optional<base::NodeId> target;
    if (to == "home") target = info.home;
    if (to != "home" && to != "best") {
      auto found = find_node(to);
      if (!found) return client->fail(found.error(), "see: tern status");
      target = *found;
    }
    if (target && *target == info.node) {
      return client->fail(Exit::kError, "the job is on " + node_->name_of(info.node) + " already");
    }
    move(info, target, {request.dry_run, request.tcp_close}, client);
  });
}

void Host::move(const node::JobInfo& job, std::optional<base::NodeId> target, MoveHow how,
                const std::shared_ptr<Client>& client) {
  node::MigrateJob order;
  order.trial = how.trial;
  order.tcp_close = how.tcp_close;
  order.uid = client->uid();
  order.job = job.id;
  order.host = job.node;
  order.target = target;
  order.request = ask_and_pass_on(client);
  post(std::move(order));
}

// A question whose answer is the client's.
std::uint64_t Host::ask_and_pass_on(const std::shared_ptr<Client>& client) {
  return ask([client](const node::Reply& reply) {
    if (!reply.over) {
      if (!reply.sentence.empty()) client->line(control::progress_line(reply.sentence));
      return;
    }
    if (reply.exit_code != 0)
      return client->fail(exit_of(reply.exit_code), reply.sentence, next_of(reply.exit_code),
                          reply.handover_json.value_or(""));
    client->done(reply.handover_json.value_or("{}"));
  });
}

void Host::answer(const control::DrainRequest& request, const std::shared_ptr<Client>& client) {
  if (!needs_member(client)) return;
  const auto tell = [this, client, off = request.off,
                     was_on = node_->draining()](const std::vector<node::DrainStep>& steps) {
    control::DrainReport report;
    report.draining = node_->draining();
    if (off) report.was_draining = was_on;
    if (off) report.no_guests = why_no_guests();
    for (const node::DrainStep& step : steps) {
      report.jobs.push_back({step.job.hex(), step.name, step.to, step.why});
    }
    if (files_home_) {
      for (const FilesHome::Waiting& wait : files_home_->waiting()) {
        report.files_wait.push_back(
            {wait.job.hex(), wait.name, node_->name_of(wait.home), wait.why});
      }
    }
    client->done(control::to_json(report));
  };
  if (request.dry_run) {
    return tell(request.off ? std::vector<node::DrainStep>() : node_->drain_plan(request.park));
  }
  const std::uint64_t asked = ask([this, client, tell, request](const node::Reply& reply) {
    if (!reply.over) return client->line(control::progress_line(reply.sentence));
    if (reply.exit_code != 0) return client->fail(exit_of(reply.exit_code), reply.sentence);
    tell(request.off ? reply.withdrawn : node_->drain_plan(request.park));
  });
  post(node::DrainNode{asked, request.off, request.wait, request.park});
}

void Host::answer(const control::ResolveRequest& request, const std::shared_ptr<Client>& client) {
  find_job(request.job, client, [this, client](const node::JobInfo& info) {
    const std::uint64_t asked = ask([this, client](const node::Reply& reply) {
      if (!reply.over) return client->line(control::progress_line(reply.sentence));
      if (reply.exit_code != 0)
        return client->fail(exit_of(reply.exit_code), reply.sentence, next_of(reply.exit_code));
      client->done(control::to_json(control::KillReport{node_->name_of(node_->self())}));
    });
    post(node::ResolveJob{asked, info.id});
  });
}

}  // namespace ternd
