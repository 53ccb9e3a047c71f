#include "daemon/files_look.h"

#include <algorithm>
#include <utility>

#include "daemon/files_user.h"
#include "machine/job_placer.h"
#include "transfer/job_files_flow.h"

namespace ternd {
namespace {

using base::Code;
using base::Result;
using base::Status;
using transfer::JobFilesReceiver;
using transfer::JobFilesSender;
using transfer::JobFilesType;

}  // namespace

struct FilesLook::Asking {
  base::NodeId sink;
  node::JobSpec spec;
  Then then;  // none: it was told
  std::shared_ptr<machine::JobTree> tree;
  std::unique_ptr<PeerStream> stream;
  std::optional<JobFilesSender> sender;
  std::optional<base::Bytes> waiting;  // a record that found no room
  bool listed = false;                 // all was sent
  std::unique_ptr<loop::Timer> timer;
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
};

struct FilesLook::Asked {
  base::JobId job;
  base::NodeId peer;
  std::unique_ptr<PeerStream> stream;
  JobFilesReceiver receiver;
  std::optional<node::JobSpec> spec;
  std::unique_ptr<loop::Timer> timer;
  bool looking = false;  // off the loop; it counts until that has returned
  bool closed = false;
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
};

FilesLook::FilesLook(loop::Loop& loop, const Paths& paths, Links& links, Callbacks callbacks)
    : loop_(loop), paths_(paths), links_(links), callbacks_(std::move(callbacks)) {}

FilesLook::~FilesLook() {
  *alive_ = false;
  for (const AskingHandle& asking : asking_) {
    *asking->cancelled = true;
    asking->stream.reset();
    asking->timer.reset();
  }
  for (const AskedHandle& asked : asked_) {
    *asked->cancelled = true;
    asked->stream.reset();
    asked->timer.reset();
  }
}

// ---- source

void FilesLook::ask(const base::NodeId& sink, const node::JobSpec& spec, FilesOut::List list,
                    Then then) {
  if (asking_.size() >= kFilesLooksMax) return then("");
  auto asking = std::make_shared<Asking>();
  asking->sink = sink;
  asking->spec = spec;
  asking->then = std::move(then);
  asking_.push_back(asking);
  std::weak_ptr<Asking> weak = asking;
  asking->timer = std::make_unique<loop::Timer>(loop_, [this, weak] {
    if (auto strong = weak.lock()) told(strong, "");
  });
  asking->timer->start(kFilesLookPatience);
  auto status = std::make_shared<Status>();
  loop::run_blocking(
      loop_,
      [asking, status, list = std::move(list)] {
        auto what = list();
        if (!what) return;  // the preflight, or the move, says so
        what->names_only = true;
        if (asking->sink == asking->spec.home) what->needed_bytes_max = machine::kTrialReadMax;
        auto tree = machine::JobTree::collect(*what, nullptr, *asking->cancelled);
        if (tree) asking->tree = std::move(*tree);
        if (!tree) *status = tree.error();
      },
      [this, asking, status, alive = alive_] {
        if (!*alive || !asking->then) return;
        const bool none = !asking->tree || asking->tree->content()->list.size() == 0;
        if (!*status) return told(asking, "the job's files: " + status->error().detail);
        if (none) return told(asking, "");
        connect(asking);
      });
}

void FilesLook::connect(const AskingHandle& asking) {
  links_.open_bulk(asking->sink, callbacks_.addresses(asking->sink),
                   [this, asking, alive = alive_](Result<BulkStream> bulk) {
                     if (*alive && asking->then) on_connected(asking, std::move(bulk));
                   });
}

void FilesLook::on_connected(const AskingHandle& asking, Result<BulkStream> bulk) {
  if (!bulk) return told(asking, "");
  asking->stream = std::move(bulk->stream);
  std::weak_ptr<Asking> weak = asking;
  PeerStream::Callbacks on;
  on.on_room = [this, weak] {
    if (auto strong = weak.lock()) pump(strong);
  };
  on.on_data = [this, weak](const transfer::Buffer& record) {
    if (auto strong = weak.lock()) on_answer(strong, record.view());
  };
  on.on_end = [this, weak] {
    if (auto strong = weak.lock()) told(strong, "");
  };
  on.on_failed = [this, weak](const base::Error&) {
    if (auto strong = weak.lock()) told(strong, "");
  };
  asking->stream->take_over(std::move(on));
  transfer::ImageSender greeting(bulk->handshake_hash);
  transfer::ImageHello hello;
  hello.kind = transfer::ImageHello::Kind::kFilesLook;
  hello.job = asking->spec.id;
  if (Status sent = greeting.hello(asking->stream->stream(), hello); !sent) {
    return told(asking, "");
  }
  asking->sender.emplace(transfer::JobFilesBegin{false, node::encode(asking->spec)},
                         asking->tree->content());
  pump(asking);
}

void FilesLook::pump(const AskingHandle& asking) {
  while (asking->then && !asking->listed) {
    if (!asking->waiting) {
      JobFilesSender::Step step = asking->sender->next();
      auto* send = std::get_if<JobFilesSender::Send>(&step);
      if (send == nullptr) {
        asking->listed = true;
        break;
      }
      asking->waiting = std::move(send->record);
    }
    const Status sent = asking->stream->send({*asking->waiting});
    if (!sent && sent.error().code != Code::kFull) return told(asking, "");
    if (!sent) break;
    asking->waiting.reset();
  }
  if (asking->then) asking->stream->flush();
}

void FilesLook::on_answer(const AskingHandle& asking, base::ByteView record) {
  if (!asking->then) return;
  const Status fed = asking->sender->feed(record);
  if (!fed) {
    const bool refused = fed.error().code == Code::kRefused;
    return told(asking, refused ? "the job's files: " + fed.error().detail : "");
  }
  if (asking->listed && !std::holds_alternative<JobFilesSender::Wait>(asking->sender->next())) {
    told(asking, "");
  }
}

void FilesLook::told(const AskingHandle& asking, const std::string& obstacle) {
  if (!asking->then) return;
  const AskingHandle kept = asking;
  *kept->cancelled = true;
  forget(asking_, kept);
  std::exchange(kept->then, nullptr)(obstacle);
}

// ---- sink

void FilesLook::take(BulkStream bulk, const transfer::ImageHello& hello) {
  const auto of_peer = std::count_if(asked_.begin(), asked_.end(), [&](const AskedHandle& other) {
    return other->peer == bulk.peer;
  });
  if (asked_.size() >= kFilesLooksMax || of_peer >= kFilesLooksOfPeerMax) return;  // closed
  auto asked = std::make_shared<Asked>();
  asked->job = hello.job;
  asked->peer = bulk.peer;
  asked->stream = std::move(bulk.stream);
  asked_.push_back(asked);
  std::weak_ptr<Asked> weak = asked;
  asked->timer = std::make_unique<loop::Timer>(loop_, [this, weak] {
    if (auto strong = weak.lock()) close(strong);
  });
  asked->timer->start(kFilesLookPatience);
  PeerStream::Callbacks on;
  on.on_data = [this, weak](const transfer::Buffer& record) {
    if (auto strong = weak.lock()) on_record(strong, record.view());
  };
  on.on_end = [this, weak] {
    if (auto strong = weak.lock()) close(strong);
  };
  on.on_failed = [this, weak](const base::Error&) {
    if (auto strong = weak.lock()) close(strong);
  };
  asked->stream->take_over(std::move(on));
  asked->stream->resume();
}

// The node's policy about jobs is asked before anything is looked at. At home only the host of the
// job may ask, for the user whose job it is here.
std::optional<node::JobSpec> FilesLook::welcome(const Asked& asked) const {
  auto spec = node::decode_spec(asked.receiver.begin().who);
  if (!spec || spec->id != asked.job || !callbacks_.refusal(*spec).empty()) return std::nullopt;
  if (!callbacks_.home_is_here(asked.job)) return std::move(*spec);
  auto stored = callbacks_.expected(asked.job, asked.peer);
  return stored && same_user(*stored, *spec) ? stored : std::nullopt;
}

void FilesLook::on_record(const AskedHandle& asked, base::ByteView record) {
  if (asked->closed) return;
  auto orders = asked->receiver.feed(record);
  if (!orders) return close(asked);
  if (asked->receiver.rounds() > 0 && !asked->spec) {
    asked->spec = welcome(*asked);
    if (!asked->spec) return close(asked);
  }
  if (!orders->empty()) look(asked);
}

void FilesLook::look(const AskedHandle& asked) {
  machine::PlacerSpec spec;
  spec.ledgers = paths_.files();
  spec.job = asked->job;
  spec.uid = asked->spec->uid;
  spec.gids = gids_of(*asked->spec);
  spec.at_home = callbacks_.home_is_here(asked->job);
  spec.groups_known = spec.at_home;
  spec.dir = asked->spec->dir;
  asked->looking = true;
  auto outcome = std::make_shared<Result<std::string>>(std::string());
  loop::run_blocking(
      loop_,
      [outcome, spec, list = asked->receiver.list(), cancelled = asked->cancelled] {
        *outcome = machine::JobPlacer::trial(spec, list, *cancelled);
      },
      [this, asked, outcome, alive = alive_] {
        if (!*alive) return;
        asked->looking = false;
        if (asked->closed) return forget(asked_, asked);
        if (!*outcome) return close(asked);
        const std::string& why = **outcome;
        const base::Bytes answer =
            why.empty() ? transfer::job_files_message(JobFilesType::kReady)
                        : transfer::encode_job_refuse(transfer::JobFilesType::kRefuse, why);
        (void)asked->stream->send({answer});  // the other end closes then, or the time is up
        asked->stream->flush();
      });
}

void FilesLook::close(const AskedHandle& asked) {
  const AskedHandle kept = asked;
  if (std::exchange(kept->closed, true)) return;
  *kept->cancelled = true;
  if (!kept->looking) forget(asked_, kept);
}

// Not at once: this may be called from within the stream.
template <typename Handle>
void FilesLook::forget(std::list<Handle>& all, const Handle& one) {
  one->timer = std::make_unique<loop::Timer>(loop_, [&all, last = one]() mutable {
    const Handle gone = std::move(last);
    all.remove(gone);
    gone->stream.reset();
    gone->timer.reset();
  });
  one->timer->start(base::Duration{0});
}

}  // namespace ternd
