#include "daemon/share_in.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/overloaded.h"
#include "node/job_wire.h"
namespace ternd {
namespace {

using base::Code;
using base::Result;
using base::Status;
using control::SharePolicy;
using transfer::ShareAnswer;
using transfer::ShareType;

std::size_t cost_of(const transfer::ShareOrder& order) {
  const auto* write = std::get_if<transfer::ShareWrite>(&order);
  return write != nullptr ? write->bytes.size() : 0;
}

}  // namespace

struct ShareIn::Guest {
  enum class State { kGreeting, kAdmission, kAsking, kTaking, kEnding };
  State state = State::kGreeting;
  base::NodeId peer;
  std::unique_ptr<PeerStream> stream;
  transfer::ShareOffer offer;
  std::string key;
  bool consented = false;  // a person did, while it was asked
  std::shared_ptr<machine::Inbox> inbox;
  std::optional<transfer::ShareReceiver> receiver;
  std::unique_ptr<machine::Arrival> arrival;  // the work's, while `working`
  transfer::ShareOrders todo;
  std::size_t todo_bytes = 0;
  std::deque<base::Bytes> replies;
  bool working = false;
  bool paused = false;
  bool closed = false;
  std::atomic<bool> cancelled = false;
  base::Time heard{};
  Handle successor;  // of the same share: waits until the work here is done
};

struct ShareIn::Batch {
  transfer::ShareOrders orders;
  std::shared_ptr<const transfer::ShareManifest> manifest;
  std::optional<machine::Arrival::Prepared> prepared;
  std::optional<std::vector<transfer::ShareResult>> delivered;
  std::vector<base::Bytes> replies;
  Status status;
};

ShareIn::ShareIn(loop::Loop& loop, SharePolicy policy, std::string inbox, base::Log& log,
                 Callbacks callbacks)
    : loop_(loop),
      policy_(policy),
      path_(std::move(inbox)),
      log_(log),
      callbacks_(std::move(callbacks)),
      timer_(loop, [this] { look(); }),
      sweeper_(loop, [this] { sweep(/*first=*/false); }) {
  sweep(/*first=*/true);
}

ShareIn::~ShareIn() {
  *alive_ = false;
  for (const Handle& guest : guests_) {
    guest->closed = true;
    guest->cancelled = true;
    guest->stream.reset();
    guest->successor.reset();
  }
}

ShareIn::Handle ShareIn::find(const std::string& key) const {
  const auto it = std::find_if(guests_.begin(), guests_.end(), [&](const Handle& guest) {
    return guest->key == key && !guest->closed && !guest->offer.dry_run;
  });
  return it == guests_.end() ? nullptr : *it;
}

// An ended attempt at this share whose work is under way.
ShareIn::Handle ShareIn::find_working(const std::string& key) const {
  const auto it = std::find_if(guests_.begin(), guests_.end(), [&](const Handle& guest) {
    return guest->key == key && guest->closed && guest->working && !guest->offer.dry_run;
  });
  return it == guests_.end() ? nullptr : *it;
}

void ShareIn::off_loop(std::function<void()> work, std::function<void()> done) {
  work_.push_back({std::move(work), std::move(done)});
  start_work();
}

void ShareIn::start_work() {
  if (!swept_ || workers_ >= kShareWorkersMax || work_.empty()) return;
  ++workers_;
  Work next = std::move(work_.front());
  work_.pop_front();
  loop::run_blocking(loop_, std::move(next.work),
                     [this, done = std::move(next.done), alive = alive_] {
                       if (!*alive) return;
                       --workers_;
                       done();
                       if (*alive) start_work();
                     });
}

// ---- who comes

void ShareIn::take(BulkStream bulk) {
  auto guest = std::make_shared<Guest>();
  guest->peer = bulk.peer;
  guest->stream = std::move(bulk.stream);
  guest->heard = loop::Loop::now();
  guests_.push_back(guest);
  if (guests_.size() == 1) timer_.start(kGuestAliveEvery);
  PeerStream::Callbacks callbacks;
  std::weak_ptr<Guest> weak = guest;
  callbacks.on_data = [this, weak](transfer::Buffer record) {
    if (auto strong = weak.lock(); strong && !strong->closed) on_record(strong, std::move(record));
  };
  callbacks.on_room = [this, weak] {
    if (auto strong = weak.lock(); strong && !strong->closed) flush(strong);
  };
  callbacks.on_failed = [this, weak](const base::Error&) {
    if (auto strong = weak.lock(); strong && !strong->closed) close(strong);
  };
  guest->stream->take_over(std::move(callbacks));
  if (guest->closed) return;
  const auto of_peer = static_cast<std::size_t>(std::count_if(
      guests_.begin(), guests_.end(),
      [&](const Handle& other) { return other->peer == guest->peer && !other->closed; }));
  if (of_peer > 2 * kGuestSharesOfPeerMax) return close(guest);  // it hears no refusal either
  if (guests_.size() > kGuestSharesMax || of_peer > kGuestSharesOfPeerMax) {
    refuse(guest, "too many shares come in at once; try again later");
  }
}

void ShareIn::on_record(const Handle& guest, transfer::Buffer record) {
  if (guest->state == Guest::State::kEnding) return;  // it has not heard so yet
  guest->heard = loop::Loop::now();
  if (guest->state == Guest::State::kGreeting) return greet(guest, record);
  if (guest->state != Guest::State::kTaking || guest->offer.dry_run) return close(guest);
  auto orders = guest->receiver->feed(std::make_shared<const transfer::Buffer>(std::move(record)));
  if (!orders) {
    log_.warn("share_refused",
              {{"from", callbacks_.name_of(guest->peer)}, {"why", orders.error().detail}});
    return stop(guest, "it does not keep to the protocol: " + orders.error().detail, false);
  }
  add(guest, std::move(*orders));
}

void ShareIn::greet(const Handle& guest, const transfer::Buffer& record) {
  std::optional<transfer::ShareOffer> offer;
  const Status read =
      transfer::each_message(record.view(), [&](const transfer::ShareMessage& message) -> Status {
        if (message.type != ShareType::kOffer || offer) {
          return base::fail(Code::kInvalid, "no offer comes first");
        }
        auto decoded = transfer::decode_offer(message.body);
        if (!decoded) return decoded.error();
        offer = std::move(*decoded);
        return {};
      });
  if (!read || !offer) return close(guest);
  guest->offer = std::move(*offer);
  if (policy_ == SharePolicy::kNo) return refuse(guest, "it takes no files (its policy)");
  const std::string key = stage_key(guest->peer, guest->offer);
  const bool trial = guest->offer.dry_run;
  const Handle before = trial ? nullptr : find(key);
  guest->key = key;
  guest->state = Guest::State::kAdmission;
  if (before) close(before);
  const Handle working = trial ? nullptr : find_working(key);
  if (!working) return admit(guest);
  working->successor = guest;  // instead of one that was closed just now
}

void ShareIn::admit(const Handle& guest) {
  auto admission = std::make_shared<ShareAdmission>();
  StageRecord record{guest->peer, callbacks_.name_of(guest->peer), policy_ == SharePolicy::kYes,
                     guest->offer};
  guest->working = true;
  off_loop([admission, record, path = path_,
            key = guest->key] { *admission = admit_share(path, key, record); },
           [this, guest, admission] {
             guest->working = false;
             if (guest->closed) return close(guest);
             on_admission(guest, *admission);
           });
}

void ShareIn::on_admission(const Handle& guest, const ShareAdmission& admission) {
  if (!admission.refusal.empty()) return refuse(guest, admission.refusal);
  guest->inbox = admission.inbox;
  if (admission.consented || guest->consented) return accept(guest);
  guest->state = Guest::State::kAsking;
  const std::string id = offer_id(guest->key, guest->offer);
  reply(guest, encode(ShareAnswer{ShareAnswer::Verdict::kWait, "its owner is asked first", id}));
  if (guest->offer.dry_run) return;
  callbacks_.happened(guest->peer, "offers " + node::printable(guest->offer.label) + " (" +
                                       size_text(guest->offer.bytes) + "): tern inbox accept " +
                                       id);
}

void ShareIn::accept(const Handle& guest) {
  guest->state = Guest::State::kTaking;
  guest->heard = loop::Loop::now();
  guest->receiver.emplace(guest->offer);
  log_.info("share_comes", {{"from", callbacks_.name_of(guest->peer)},
                            {"what", node::printable(guest->offer.label)},
                            {"bytes", guest->offer.bytes}});
  reply(guest, encode(ShareAnswer{ShareAnswer::Verdict::kAccept, "", ""}));
}

// ---- the work at the inbox, one batch after another

void ShareIn::add(const Handle& guest, transfer::ShareOrders orders) {
  for (transfer::ShareOrder& order : orders) {
    guest->todo_bytes += cost_of(order);
    guest->todo.push_back(std::move(order));
  }
  const bool full = guest->todo_bytes >= kShareQueueMax || guest->todo.size() >= kShareOrdersMax;
  if (full && !guest->paused && guest->stream) {
    guest->paused = true;
    guest->stream->pause();
  }
  work(guest);
}

void ShareIn::work(const Handle& guest) {
  if (guest->working || guest->closed || guest->todo.empty()) return;
  auto batch = std::make_shared<Batch>();
  batch->orders = std::exchange(guest->todo, {});
  batch->manifest = guest->receiver->manifest();
  guest->todo_bytes = 0;
  guest->working = true;
  off_loop([guest, batch] { carry_out(*guest, *batch); },
           [this, guest, batch] {
             guest->working = false;
             if (guest->closed) return close(guest);
             worked(guest, batch);
           });
  if (std::exchange(guest->paused, false) && guest->stream) guest->stream->resume();
}

void ShareIn::carry_out(Guest& guest, Batch& batch) {
  for (transfer::ShareOrder& order : batch.orders) {
    if (guest.cancelled) batch.status = base::fail(Code::kTimeout, "it was stopped");
    if (!batch.status) return;
    batch.status = std::visit(
        base::Overloaded{
            [&](const transfer::SharePrepare&) -> Status {
              auto arrival = machine::Arrival::open(guest.inbox, guest.key, batch.manifest);
              if (!arrival) return arrival.error();
              guest.arrival = std::move(*arrival);
              auto prepared = guest.arrival->prepare(guest.cancelled);
              if (!prepared) return prepared.error();
              batch.prepared = std::move(*prepared);
              return {};
            },
            [&](const transfer::ShareOpen& o) { return guest.arrival->begin(o.entry, o.offset); },
            [&](const transfer::ShareWrite& o) { return guest.arrival->write(o.offset, o.bytes); },
            [&](const transfer::ShareZeros& o) { return guest.arrival->zeros(o.offset, o.count); },
            [&](const transfer::ShareClose& o) { return guest.arrival->end(o.entry, o.digest); },
            [&](const transfer::ShareDiscard& o) { return guest.arrival->discard(o.entry); },
            [&](const transfer::ShareDeliver& o) -> Status {
              auto results = guest.arrival->deliver(o.tops);
              if (!results) return results.error();
              batch.delivered = std::move(*results);
              return {};
            },
            [&](const transfer::ShareForget&) {
              guest.arrival.reset();
              return guest.inbox->remove_stage(guest.key);
            },
            [&](transfer::ShareReply& o) -> Status {
              batch.replies.push_back(std::move(o.record));
              return {};
            },
        },
        order);
  }
}

void ShareIn::worked(const Handle& guest, const std::shared_ptr<Batch>& batch) {
  if (guest->state == Guest::State::kEnding) return;  // it was stopped meanwhile
  if (!batch->status) {
    const bool full = batch->status.error().code == Code::kFull;
    const std::string why = full ? "its disk is full; what had not yet arrived was removed there"
                                 : batch->status.error().detail;
    log_.warn("share_stopped", {{"from", callbacks_.name_of(guest->peer)}, {"why", why}});
    return stop(guest, why, full);
  }
  for (base::Bytes& record : batch->replies) reply(guest, std::move(record));
  if (guest->closed) return;
  if (batch->prepared) {
    add(guest, guest->receiver->prepared(batch->prepared->have, batch->prepared->delivered));
  }
  if (batch->delivered) {
    report_results(guest, *batch->delivered);
    add(guest, guest->receiver->delivered(*batch->delivered));
  }
  work(guest);
  if (guest->receiver->phase() == transfer::ShareReceiver::Phase::kOver && guest->todo.empty() &&
      !guest->working) {
    guest->state = Guest::State::kEnding;
    flush(guest);
  }
}

void ShareIn::report_results(const Handle& guest,
                             const std::vector<transfer::ShareResult>& results) {
  std::string first;
  std::size_t arrived = 0;
  for (const transfer::ShareResult& result : results) {
    if (!result.arrived) continue;
    if (first.empty()) first = result.text;
    ++arrived;
  }
  if (arrived == 0) return;
  const std::string more =
      arrived > 1 ? " and " + std::to_string(arrived - 1) + " more" : std::string();
  callbacks_.happened(
      guest->peer, first + more + " arrived (" + size_text(guest->offer.bytes) + ") in " + path_);
}

// ---- what is said to it

void ShareIn::reply(const Handle& guest, base::Bytes record) {
  guest->replies.push_back(std::move(record));
  flush(guest);
}

void ShareIn::flush(const Handle& guest) {
  if (!guest->stream) return;
  while (!guest->replies.empty()) {
    const Status sent = guest->stream->send({guest->replies.front()});
    if (!sent && sent.error().code == Code::kFull) break;
    if (!sent) return close(guest);
    guest->replies.pop_front();
  }
  guest->stream->flush();
  const bool over = guest->state == Guest::State::kEnding && guest->replies.empty();
  if (over && guest->stream) guest->stream->finish();
}

void ShareIn::refuse(const Handle& guest, const std::string& why) {
  guest->state = Guest::State::kEnding;
  reply(guest, encode(ShareAnswer{ShareAnswer::Verdict::kRefuse, why, ""}));
}

void ShareIn::stop(const Handle& guest, const std::string& why, bool forget) {
  guest->state = Guest::State::kEnding;
  guest->todo.clear();
  if (std::exchange(guest->paused, false) && guest->stream) guest->stream->resume();
  if (guest->closed) return;
  if (forget && guest->inbox) {
    off_loop([inbox = guest->inbox, key = guest->key] { (void)inbox->empty_stage(key); }, [] {});
  }
  reply(guest, transfer::encode_stop(why));
}

// Its stage stays, to be gone on with. Called again when work that was under way is done.
void ShareIn::close(const Handle& guest) {
  guest->closed = true;
  guest->cancelled = true;
  guest->stream.reset();
  if (guest->working) return;
  const Handle keep = guest;
  guests_.remove(keep);
  if (const Handle next = std::exchange(keep->successor, nullptr)) {
    next->closed ? close(next) : admit(next);
  }
}

void ShareIn::look() {
  const base::Time now = loop::Loop::now();
  for (const Handle& guest : std::list(guests_)) {
    if (guest->closed) continue;
    const bool idle = !guest->working && guest->todo.empty() && !guest->paused;
    const bool owes =
        guest->state != Guest::State::kAsking && guest->state != Guest::State::kAdmission;
    if (owes && idle && now - guest->heard > kGuestSilence) {
      close(guest);
      continue;
    }
    const bool told =
        guest->state == Guest::State::kAsking || guest->state == Guest::State::kTaking;
    if (told && guest->replies.empty()) reply(guest, transfer::share_message(ShareType::kAlive));
  }
  if (!guests_.empty()) timer_.start(kGuestAliveEvery);
}

// ---- people

void ShareIn::list(std::function<void(Result<control::InboxReport>)> done) {
  auto view = std::make_shared<Result<InboxView>>(base::fail(Code::kIo, "not looked"));
  loop::run_blocking(
      loop_, [view, path = path_] { *view = view_inbox(path); },
      [this, view, done = std::move(done), alive = alive_] {
        if (!*alive) return;
        if (!*view) return done(view->error());
        control::InboxReport report = std::move((*view)->report);
        report.share = control::share_policy_text(policy_);
        for (std::size_t i = 0; i < (*view)->keys.size(); ++i) {
          const Handle guest = find((*view)->keys[i]);
          if (!guest || guest->state != Guest::State::kTaking) continue;
          report.items[i].state = "arriving";
          report.items[i].received_bytes = guest->receiver->bytes_done();
        }
        done(std::move(report));
      });
}

void ShareIn::answer(const std::string& offer, bool accept,
                     std::function<void(Result<control::InboxItem>)> done) {
  auto answered = std::make_shared<Result<StageAnswer>>(base::fail(Code::kIo, "not looked"));
  loop::run_blocking(
      loop_,
      [answered, path = path_, offer, accept] { *answered = answer_stage(path, offer, accept); },
      [this, answered, accept, done = std::move(done), alive = alive_] {
        if (!*alive) return;
        if (!*answered) return done(answered->error());
        said(**answered, accept);
        done(std::move((*answered)->item));
      });
}

void ShareIn::said(const StageAnswer& answer, bool accept) {
  const Handle guest = find(answer.key);
  if (!guest || (accept && !covers(answer.offer, guest->offer))) return;
  if (!accept && guest->state == Guest::State::kTaking) {
    return stop(guest, "somebody there refused it", true);
  }
  if (guest->state == Guest::State::kAdmission) guest->consented = accept;
  if (guest->state != Guest::State::kAsking) return;
  if (!accept) return refuse(guest, "somebody there refused it");
  guest->consented = true;
  guest->state = Guest::State::kAdmission;  // there may be less room by now
  admit(guest);
}

// Offers that nobody answered and parts that nobody completed.
void ShareIn::sweep(bool first) {
  std::vector<std::string> busy;
  for (const Handle& guest : guests_) busy.push_back(guest->key);
  const std::int64_t before = base::wall_seconds(loop::Loop::wall_now()) - kStageKeptSeconds;
  auto looked = std::make_shared<Status>();
  loop::run_blocking(
      loop_,
      [path = path_, busy, before, looked, first] {
        std::error_code error;
        if (!std::filesystem::exists(path, error)) return;
        auto inbox = machine::Inbox::open(path);
        if (inbox && first) *looked = (*inbox)->remove_remains();
        auto stages =
            inbox ? (*inbox)->stages() : Result<std::vector<machine::InboxStage>>(inbox.error());
        if (!stages) {
          *looked = stages.error();
          return;
        }
        for (const machine::InboxStage& stage : *stages) {
          const bool used = std::find(busy.begin(), busy.end(), stage.key) != busy.end();
          if (!used && stage.tried_at < before) (void)(*inbox)->remove_stage(stage.key);
        }
      },
      [this, looked, alive = alive_] {
        if (!*alive) return;
        if (!*looked) log_.warn("inbox_unusable", {{"why", looked->error().detail}});
        sweeper_.start(kSweepStagesEvery);
        swept_ = true;
        for (std::size_t i = 0; i < kShareWorkersMax; ++i) start_work();
      });
}

}  // namespace ternd
