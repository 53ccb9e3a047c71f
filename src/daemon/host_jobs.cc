// What people ask about jobs.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/entropy.h"
#include "daemon/host.h"

namespace ternd {
namespace {

using base::Code;
using control::Exit;

constexpr std::size_t kIdsShownMax = 8;  // where a name means several jobs
constexpr base::Duration kPollRemote = std::chrono::milliseconds(250);

int exit_code_of(std::int32_t wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

Exit exit_of(int code) {
  switch (code) {
    case 4:
      return Exit::kUnreachable;
    case 5:
      return Exit::kRefused;
    case 6:
      return Exit::kNothingFits;
    default:
      return Exit::kError;
  }
}

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

std::string default_name(const std::vector<std::string>& argv) {
  std::string name = argv.front().substr(argv.front().rfind('/') + 1);
  std::string clean;
  for (const char c : name.substr(0, 32)) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      (!clean.empty() && (c == '-' || c == '_' || c == '.'));
    if (fine) clean.push_back(c);
  }
  return control::check_name(clean) ? clean : "job";
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
      if (!info.waits_for.is_zero()) one.waits_for = node_->name_of(info.waits_for);
      if (info.wait_status) one.exit_code = exit_code_of(*info.wait_status);
      report.jobs.push_back(std::move(one));
    }
    for (const base::NodeId& node : answer.unreachable) {
      report.unreachable.push_back(node_->name_of(node));
    }
    client->done(control::to_json(report));
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
    if (found.empty()) {
      return client->fail(Exit::kError, "no job is called " + reference, "see: tern ps");
    }
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
  const std::string on = request.on.value_or("here");
  if (on != "here" && on != "best") {
    auto found = find_node(on);
    if (!found) return client->fail(found.error(), "see: tern status");
    if (*found != node_->self()) target = *found;
  }
  node::JobSpec spec;
  spec.id = random_id<base::JobId>();
  spec.name = request.name.value_or(default_name(request.argv));
  spec.argv = request.argv;
  spec.cwd = request.cwd;
  spec.uid = client->uid();
  spec.gid = client->gid();
  spec.groups = client->groups();
  if (spec.groups.size() > node::kGroupsMax) {
    return client->fail(Exit::kError, "a job's user may be in " + std::to_string(node::kGroupsMax) +
                                          " groups at most");
  }
  if (request.dry_run) {
    const std::string where = on == "best" ? on : node_->name_of(target.value_or(node_->self()));
    return client->done(control::to_json(control::KillReport{where}));
  }
  spec.home = node_->self();
  spec.started_at = loop::Loop::wall_now();
  PendingRun run;
  run.env = request.env;
  run.umask = request.umask;
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
    order.request = ask([client, report](const node::Reply& moved) {
      std::string sentence = moved.sentence;
      if (moved.over && moved.exit_code != 0) sentence += "; the job runs here, where it started";
      if (!sentence.empty()) client->line(control::progress_line(sentence));
      if (moved.over) client->done(report);
    });
    post(std::move(order));
  });
  post(node::RunJob{asked, spec});
}

// ---- kill, migrate, resolve

void Host::answer(const control::KillRequest& request, const std::shared_ptr<Client>& client) {
  find_job(request.job, client, [this, request, client](const node::JobInfo& info) {
    if (info.state == node::JobState::kExited) {
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
      client->done(control::to_json(control::KillReport{node_->name_of(at)}));
    });
    post(std::move(order));
  });
}

void Host::answer(const control::MigrateRequest& request, const std::shared_ptr<Client>& client) {
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
    move(info, target, request.dry_run, client);
  });
}

void Host::move(const node::JobInfo& job, std::optional<base::NodeId> target, bool trial,
                const std::shared_ptr<Client>& client) {
  node::MigrateJob order;
  order.trial = trial;
  order.uid = client->uid();
  order.job = job.id;
  order.host = job.node;
  order.target = target;
  order.request = ask([client](const node::Reply& reply) {
    if (!reply.over) {
      if (!reply.sentence.empty()) client->line(control::progress_line(reply.sentence));
      return;
    }
    if (reply.exit_code != 0)
      return client->fail(exit_of(reply.exit_code), reply.sentence, next_of(reply.exit_code),
                          reply.handover_json.value_or(""));
    client->done(reply.handover_json.value_or("{}"));
  });
  post(std::move(order));
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

// ---- attach and logs

struct Host::Follow {
  node::JobInfo job;
  std::shared_ptr<Client> client;
  std::array<std::uint64_t, 2> at{};
  node::StreamEnds ends{};
  int stream = 0;
  bool until_exit = false;
  bool wait_for_more = false;
  bool busy = false;
  bool over = false;
  bool again = false;
  bool said_unreachable = false;
  int quiet = 0;  // streams in a row that had nothing new
  std::unique_ptr<loop::Timer> poll;
};

void Host::follow(const std::string& job, std::array<std::uint64_t, 2> from, bool until_exit,
                  bool wait_for_more, const std::shared_ptr<Client>& client) {
  find_job(job, client, [=, this](const node::JobInfo& info) {
    const node::jobs::Job* known = node_->jobs().find(info.id);
    if (known != nullptr && client->uid() != 0 && client->uid() != known->spec.uid) {
      return client->fail(Exit::kRefused, "only its owner or root may read what a job writes");
    }
    if (wait_for_more) client->endless();
    auto follow = std::make_shared<Follow>();
    follow->job = info;
    follow->client = client;
    follow->at = from;
    follow->until_exit = until_exit;
    follow->wait_for_more = wait_for_more;
    std::weak_ptr<Follow> weak = follow;
    follow->poll = std::make_unique<loop::Timer>(loop_, [this, weak] {
      if (auto strong = weak.lock()) follow_step(strong);
    });
    client->on_room([this, weak] {
      if (auto strong = weak.lock()) follow_step(strong);
    });
    client->on_closed([this, weak] {
      auto strong = weak.lock();
      if (strong) std::erase(follows_, strong);
    });
    follows_.push_back(follow);
    follow_step(follow);
  });
}

void Host::follow_step(const std::shared_ptr<Follow>& follow) {
  if (follow->over || !node_) return;
  if (follow->busy) {
    follow->again = true;
    return;
  }
  if (follow->client->closed()) {
    std::erase(follows_, follow);
    return;
  }
  if (!follow->client->has_room()) return;
  follow->busy = true;
  follow->again = false;
  node::AskLog question;
  question.uid = follow->client->uid();
  question.job = follow->job.id;
  question.home = follow->job.home;
  question.stream = follow->stream;
  question.offset = follow->at[static_cast<std::size_t>(follow->stream)];
  question.request = ask([this, weak = std::weak_ptr<Follow>(follow)](const node::Reply& reply) {
    if (auto strong = weak.lock()) on_log(strong, reply);
  });
  post(std::move(question));
}

void Host::on_log(const std::shared_ptr<Follow>& follow, const node::Reply& reply) {
  const auto finish = [&](auto&& last) {
    follow->over = true;
    last();
    std::erase(follows_, follow);
  };
  if (!reply.log || !reply.log->known) {
    const bool unreachable = reply.exit_code == 4;
    if (unreachable && follow->wait_for_more) {
      if (!follow->said_unreachable) {
        follow->client->line(control::progress_line("the job's home does not answer; waiting"));
      }
      follow->said_unreachable = true;
      follow->busy = false;
      return follow->poll->start(std::chrono::seconds(1));
    }
    return finish([&] {
      follow->client->fail(
          exit_of(reply.exit_code),
          reply.sentence.empty() ? "the job's home does not know it any more" : reply.sentence);
    });
  }
  follow->said_unreachable = false;
  const node::LogReply& log = *reply.log;
  const auto s = static_cast<std::size_t>(follow->stream);
  follow->ends = log.ends;
  follow->quiet = log.bytes.empty() ? follow->quiet + 1 : 0;
  if (!log.bytes.empty()) {
    follow->at[s] = log.offset + log.bytes.size();
    follow->client->line(control::output_line({follow->stream + 1, log.offset, log.bytes}));
    if (follow->client->closed()) return;
  }
  follow->stream = 1 - follow->stream;
  // Not before: a client that has room again asks for the next piece from within line().
  follow->busy = false;
  const bool all_read = follow->at[0] >= log.ends[0] && follow->at[1] >= log.ends[1];
  if (!all_read || follow->quiet < node::kStreams || follow->again) return follow_step(follow);
  if (log.exited && follow->until_exit) {
    return finish([&] {
      control::ExitReport exit;
      exit.exit_code = exit_code_of(log.wait_status);
      if (WIFSIGNALED(log.wait_status)) exit.signal = WTERMSIG(log.wait_status);
      follow->client->done(control::to_json(exit));
    });
  }
  if (!follow->wait_for_more || log.exited) {
    return finish([&] { follow->client->done(); });
  }
  follow->quiet = 0;
  // At home the next output wakes us; elsewhere home is asked again.
  if (follow->job.home != node_->self()) follow->poll->start(kPollRemote);
}

}  // namespace ternd
