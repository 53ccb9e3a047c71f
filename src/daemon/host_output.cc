// Jobs' output: home's copy of it, what is kept of it, and those who read it.
#include <algorithm>

#include "daemon/exits.h"
#include "daemon/host.h"

namespace ternd {
namespace {
constexpr base::Duration kPollRemote = std::chrono::milliseconds(250);
// What a client was sent and has not read: it asks for that again when the daemon dies.
constexpr std::uint64_t kOnItsWayMax = 1 << 20;
}  // namespace

using control::Exit;

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
  bool named = false;  // the client knows the job's id
  int quiet = 0;       // streams in a row that had nothing new
  std::unique_ptr<loop::Timer> poll;
};

// `order.offset` is where home's copy ends.
void Host::read_spool(const node::jobs::ReadSpool& order) {
  copies_->read(
      order.job, order.stream, order.offset, order.size_max,
      [this, job = order.job, stream = order.stream, has = order.offset](
          std::uint64_t begin, base::Bytes bytes, node::StreamEnds ends) {
        output_limit_->spool_grew(job, stream, ends[static_cast<std::size_t>(stream)], has);
        post(node::JobNews{node::jobs::SpoolRead{job, stream, begin, std::move(bytes), ends}});
      });
}

void Host::append_home(const node::jobs::AppendHome& order) {
  copies_->append_home(
      order.job, order.stream, order.offset, order.bytes,
      [this, job = order.job, stream = order.stream](const base::Status& status,
                                                     std::optional<std::uint64_t> end) {
        if (!status && status.error().code != base::Code::kFull) {
          log_.error("home_log", {{"job", job.hex()}, {"why", status.error().detail}});
        }
        if (end) log_grew(job, stream, *end);
        post(node::JobNews{node::jobs::HomeAppended{job, stream, end}});
      });
}

void Host::output_stalls(const node::jobs::OutputStalls& stall) {
  ++output_stalls_;
  const auto seconds = [](base::Duration duration) {
    return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  };
  const node::jobs::Job* const job = node_->jobs().find(stall.job);
  const std::string link = job == nullptr ? "" : links_->describe(job->spec.home);
  log_.warn(stall.at_home ? "home_log_stalls" : "output_stalls",
            {{"job", stall.job.hex()},
             {"stream", stall.stream + 1},
             {"seconds", seconds(stall.since)},
             {"home", stall.home},
             {"spool", stall.spool},
             {"reading", stall.reading ? 1 : 0},
             {"in_flight", stall.in_flight ? 1 : 0},
             {"sent_seconds_ago", seconds(stall.sent_ago)},
             {"copy", copies_->describe(stall.job)},
             {"link", link}});
}

// What those who are attached here have not read stays.
void Host::log_grew(const base::JobId& job, int stream, std::uint64_t end) {
  std::uint64_t floor = end;
  for (const auto& follow : follows_) {
    if (follow->until_exit && follow->job.id == job) {
      const std::uint64_t at = follow->at[static_cast<std::size_t>(stream)];
      floor = std::min(floor, at - std::min(at, kOnItsWayMax));
    }
  }
  output_limit_->log_grew(job, stream, end, floor);
}

// ---- attach and logs

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
    const std::string job = follow->named ? "" : follow->job.id.hex();
    follow->named = true;
    follow->client->line(control::output_line({follow->stream + 1, log.offset, log.bytes, job}));
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
      if (files_beside_ && follow->job.home == node_->self()) {
        machine::LaidBeside laid = files_beside_->of(follow->job.id);
        BesideRoom room;
        exit.beside_more = fit_beside(laid, room);
        exit.beside = std::move(laid.beside);
        exit.kept = std::move(laid.kept);
        exit.files_away = files_away_->of(follow->job.id);
      }
      follow->client->done(control::to_json(exit));
    });
  }
  const node::jobs::Job* known = node_->jobs().find(follow->job.id);
  const bool waits = follow->wait_for_more && !log.exited;
  // Nothing will come. Who was attached before it was lost elsewhere waits: it may turn up again.
  const bool vanished = known != nullptr && known->lost && !known->missing.empty();
  if (waits && (vanished || follow->job.state == node::JobState::kLost)) {
    const std::string why = vanished ? known->missing + " is not there any more"
                                     : "nothing of it is left where it was last";
    return finish([&] {
      follow->client->fail(Exit::kError, "the job is lost: " + why,
                           "give it up: tern kill " + follow->job.id.brief());
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
