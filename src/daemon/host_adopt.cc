// What people ask about processes that are no job yet.
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "control/adopt_notes.h"
#include "control/adopt_report.h"
#include "control/response.h"
#include "daemon/entropy.h"
#include "daemon/host.h"
#include "daemon/job_name.h"
#include "machine/cgroup.h"

namespace ternd {
namespace {

using base::Code;
using control::Exit;

std::string join(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) text += (text.empty() ? "" : "; ") + sentence;
  return text;
}

std::vector<std::string> first_few(std::vector<std::string> sentences) {
  if (sentences.size() > control::kObstaclesMax) sentences.resize(control::kObstaclesMax);
  return sentences;
}

std::string words(const std::vector<std::string>& argv) {
  std::string text;
  for (const std::string& word : argv) text += (text.empty() ? "" : " ") + word;
  if (text.size() > control::kNameBytesMax) text.resize(control::kNameBytesMax);
  return text;
}

control::AdoptReport report_of(const AdoptDesk::Looked& looked) {
  control::AdoptReport report;
  report.pid = looked.tree.root().pid;
  report.command = words(looked.argv);
  for (const machine::TreeProcess& one : looked.tree.processes) {
    report.processes.emplace_back(one.pid, one.relatives.name);
  }
  report.notes = first_few(looked.look.notes);
  report.obstacles = first_few(looked.look.obstacles);
  report.moving = first_few(looked.look.moving);
  return report;
}

}  // namespace

void Host::start_adopting() {
  AdoptDesk::Callbacks adopt;
  adopt.memory_available = [this] { return sampler_ ? sampler_->memory_available() : 0; };
  adopt.withdrawn = [this](const base::JobId& job, bool lives) {
    post(node::JobNews{node::jobs::LaunchFailed{
        job, std::string("the daemon ended while it was being adopted; ") +
                 (lives ? "the process runs on as before" : "the process has ended meanwhile")}});
  };
  const std::string missing =
      paths_.root ? no_criu_ : "this daemon does not run as root, which adopting takes";
  adopt_ = std::make_unique<AdoptDesk>(loop_, paths_, helpers_, *copies_, log_, missing,
                                       std::move(adopt));
}

std::optional<std::uint32_t> Host::process_meant(const std::string& reference) {
  std::uint32_t pid = 0;
  const char* const end = reference.data() + reference.size();
  const auto [stop, code] = std::from_chars(reference.data(), end, pid);
  if (code != std::errc() || stop != end || pid < 1 || pid > INT32_MAX) return std::nullopt;
  return pid;
}

void Host::answer(const control::AdoptRequest& request, const std::shared_ptr<Client>& client) {
  if (!needs_jobs(client)) return;
  for (const auto& [id, job] : node_->jobs().all()) {
    const bool same = request.name && job.spec.name == *request.name;
    if (same && !job.wait_status && job.spec.uid == client->uid()) {
      return client->fail(Exit::kError, "your job " + id.brief() + " is called that and still runs",
                          "choose another name, or end it: tern kill " + id.brief());
    }
  }
  const auto then = [client](const control::AdoptReport& report) {
    client->done(control::to_json(report));
  };
  adopt(request, client, {}, then);
}

// To a job that runs here; then `then`.
void Host::adopt(const control::AdoptRequest& request, const std::shared_ptr<Client>& client,
                 AdoptHow how, std::function<void(const control::AdoptReport&)> then) {
  const auto pid = static_cast<pid_t>(request.pid);
  const auto looked = [this, request, client, how, then](base::Result<AdoptDesk::Looked> found) {
    if (!found) {
      const bool none = found.error().code == Code::kNotFound;
      return client->fail(none ? Exit::kError : Exit::kRefused, found.error().detail);
    }
    control::AdoptReport report = report_of(*found);
    const bool ended = machine::has_ended(found->tree.root());
    if (ended) return client->fail(Exit::kError, join(report.obstacles));
    if (request.dry_run) return then(report);
    // Adopting cannot be taken back: not for a move that is known to be refused.
    std::vector<std::string> obstacles = report.obstacles;
    if (how.to_move) {
      obstacles.insert(obstacles.end(), report.moving.begin(), report.moving.end());
    }
    if (!obstacles.empty()) {
      const bool says_all =
          machine::tern_group_of(found->tree.root().cgroup).kind != machine::TernGroup::Kind::kNone;
      return client->fail(Exit::kRefused, join(obstacles),
                          says_all ? std::string()
                                   : "it runs on as it does; what else there is to know: tern "
                                     "adopt " +
                                         std::to_string(request.pid) + " --dry-run",
                          control::to_json(report));
    }
    if (const auto notes = control::event_line(control::notes_to_json(report.notes))) {
      client->line(*notes);
    }
    begin_adopting(request, *found, std::move(report), client, then);
  };
  adopt_->look(pid, {client->uid(), client->pid(), request.leave_terminal}, looked);
}

void Host::begin_adopting(const control::AdoptRequest& request, const AdoptDesk::Looked& found,
                          control::AdoptReport report, const std::shared_ptr<Client>& client,
                          std::function<void(const control::AdoptReport&)> then) {
  const machine::TreeProcess& root = found.tree.root();
  node::JobSpec spec;
  spec.id = random_id<base::JobId>();
  spec.name = request.name.value_or(default_name(found.argv));
  spec.argv = found.argv;
  spec.cwd = found.cwd;
  spec.uid = root.uids[0];
  spec.gid = root.gids[0];
  spec.groups = root.groups;
  spec.home = node_->self();
  spec.started_at = loop::Loop::wall_now();
  if (spec.groups.size() > node::kGroupsMax) {
    return client->fail(Exit::kError, "a job's user may be in " + std::to_string(node::kGroupsMax) +
                                          " groups at most");
  }
  report.job = spec.id.hex();
  report.name = spec.name;
  const auto answered = [this, client, then, report, id = spec.id](const node::Reply& reply) {
    if (reply.exit_code == 0) return then(report);
    if (adopt_->has(id)) adopt_->drop(id);  // the node did not take it at all
    client->fail(Exit::kRefused, "not adopted: " + reply.sentence);
  };
  client->line(control::progress_line("adopting " + report.command));
  adopt_->prepare(spec.id, root, {client->uid(), client->pid(), request.leave_terminal},
                  [this, client, spec, answered](const base::Status& status) {
                    if (!status) return client->fail(status.error());
                    post(node::RunJob{ask(answered), spec});
                  });
}

// A number is a process, unless a job is meant by it.
void Host::migrate_process(const control::MigrateRequest& request, std::uint32_t pid,
                           const std::shared_ptr<Client>& client) {
  control::AdoptRequest first;
  first.pid = pid;
  first.dry_run = request.dry_run;
  const std::string to = request.to.value_or("best");
  if (to == "home") {
    return client->fail(Exit::kError, "a process that is no job yet is at home here");
  }
  if (to != "best") {
    auto found = find_node(to);
    if (!found) return client->fail(found.error(), "it runs on as it does; see: tern status");
    if (*found == node_->self()) {
      return client->fail(Exit::kError, "the process is on " + to + " already",
                          "to make a job of it: tern adopt " + std::to_string(pid));
    }
  }
  adopt(first, client, {true}, [this, request, client](const control::AdoptReport& report) {
    if (request.dry_run) return client->done(control::to_json(report));
    client->line(control::progress_line("adopted as the job " + report.name + " (" +
                                        report.job.substr(0, 8) + ")"));
    control::MigrateRequest then = request;
    then.job = report.job;
    migrate_job(then, client);
  });
}

// A job's id may begin with the number too. Neither is taken for the other.
void Host::migrate_number(const control::MigrateRequest& request, std::uint32_t pid,
                          const std::shared_ptr<Client>& client) {
  if (!needs_member(client)) return;
  ask_jobs([this, request, pid, client](const node::JobsAnswer& answer) {
    bool job = false;
    bool ended = false;
    for (const node::JobInfo& info : answer.jobs) {
      const bool by_id = request.job.size() >= 4 && info.id.hex().rfind(request.job, 0) == 0;
      if (!by_id && info.name != request.job) continue;
      (info.state == node::JobState::kExited ? ended : job) = true;
    }
    const bool process = ::access(("/proc/" + request.job).c_str(), F_OK) == 0;
    if (job && process) {
      return client->fail(
          Exit::kError,
          request.job + " means a job, and is the number of a process of this machine",
          "the job: more digits of its id (tern ps); the process: tern adopt " + request.job);
    }
    if (!process && !job && !ended) {
      return client->fail(Exit::kError,
                          "there is no job that " + request.job +
                              " means, and no process of that number on this machine",
                          "the jobs: tern ps; the processes: tern probe");
    }
    if (!process) return migrate_job(request, client);
    if (needs_jobs(client)) migrate_process(request, pid, client);
  });
}

}  // namespace ternd
