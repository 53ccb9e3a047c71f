// Who feeds a job's standard input from here: one connection each (control/input.h), a desk of the
// node's (node/inputs.h).
#include "base/overloaded.h"
#include "control/input.h"
#include "daemon/entropy.h"
#include "daemon/host.h"

namespace ternd {
namespace {

using control::Exit;

constexpr base::Duration kSeekAgain = std::chrono::seconds(1);
static_assert(control::kInputAheadMax <= node::kInputWindow);

}  // namespace

struct Host::Desk {
  std::uint64_t id = 0;
  base::JobId job;
  std::shared_ptr<Client> client;
  std::unique_ptr<loop::Timer> seek;
};

void Host::answer(const control::InputRequest& request, const std::shared_ptr<Client>& client) {
  find_job(request.job, client, [this, request, client](const node::JobInfo& info) {
    if (client->closed()) return;  // while others were asked; on_closed() would not be told
    if (info.state == node::JobState::kExited) {
      return client->fail(Exit::kError, "that job has ended already");
    }
    client->endless();
    auto desk = std::make_shared<Desk>();
    desk->id = next_request_++;
    desk->job = info.id;
    desk->client = client;
    desk->seek = std::make_unique<loop::Timer>(loop_, [this, id = desk->id] { seek(id); });
    desks_[desk->id] = desk;
    client->on_line([this, id = desk->id](const std::string& line) { on_input_line(id, line); });
    client->on_closed([this, id = desk->id] {
      if (desks_.erase(id) != 0) post(node::DeskEvent{node::inputs::Close{id}});
    });
    node::inputs::Open open;
    open.desk = desk->id;
    open.job = info.id;
    open.uid = client->uid();
    open.host = info.node;
    open.session = request.session;
    open.salt = static_cast<std::uint32_t>(random_seed());
    post(node::DeskEvent{open});
  });
}

void Host::on_input_line(std::uint64_t desk, const std::string& line) {
  const auto it = desks_.find(desk);
  if (it == desks_.end()) return;
  auto parsed = control::parse_input(line);
  if (!parsed) return it->second->client->fail(parsed.error());
  std::visit(
      base::Overloaded{
          [&](control::InputBytes& bytes) {
            post(node::DeskEvent{node::inputs::Put{desk, bytes.offset, std::move(bytes.data)}});
          },
          [&](const control::InputEnd& end) {
            post(node::DeskEvent{node::inputs::End{desk, end.offset}});
          },
          [&](const control::InputWindow& window) {
            const node::TerminalSize size{window.rows, window.columns, window.width, window.height};
            post(node::DeskEvent{node::inputs::Window{desk, size}});
          },
      },
      *parsed);
}

void Host::desk_said(const node::inputs::Said& said) {
  using node::inputs::Said;
  const auto it = desks_.find(said.desk);
  if (it == desks_.end()) return;
  const std::shared_ptr<Desk> desk = it->second;
  if (said.over()) desks_.erase(it);
  switch (said.what) {
    case Said::kOpen:
    case Said::kTaken:
      return desk->client->line(
          control::input_news_line({said.session, said.taken, said.terminal}));
    case Said::kSought:
      return desk->seek->start(kSeekAgain);
    case Said::kClosed:
      return desk->client->done();
    case Said::kReplaced:
      return desk->client->fail(Exit::kRefused, "somebody else feeds that job now",
                                "to feed it again: tern attach --stdin " + desk->job.brief());
    case Said::kRefused:
      return desk->client->fail(Exit::kRefused, said.sentence);
  }
}

// Of a job that is at home elsewhere: the others are asked where it went.
void Host::seek(std::uint64_t desk) {
  const auto it = desks_.find(desk);
  if (it == desks_.end() || !node_) return;
  ask_jobs([this, desk, job = it->second->job](const node::JobsAnswer& answer) {
    for (const node::JobInfo& info : answer.jobs) {
      if (info.id == job) post(node::DeskEvent{node::inputs::Moved{desk, info.node}});
    }
  });
}

}  // namespace ternd
