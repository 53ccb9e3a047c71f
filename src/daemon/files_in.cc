#include "daemon/files_in.h"

#include <utility>

#include "base/overloaded.h"
#include "daemon/files_out.h"
#include "daemon/files_user.h"

namespace ternd {
namespace {

using base::Code;
using base::Status;
using transfer::JobFilesReceiver;
using transfer::JobFilesType;

constexpr std::size_t kBatchMax = 64;  // orders of one piece of work

std::size_t bytes_of(const JobFilesReceiver::Order& order) {
  const auto* chunk = std::get_if<JobFilesReceiver::Chunk>(&order);
  return chunk == nullptr ? 0 : chunk->bytes.size();
}

}  // namespace

struct FilesIn::Shared {
  std::unique_ptr<machine::JobPlacer> placer;
  machine::JobPlacer::Plan plan;
  std::atomic<bool> cancelled{false};
  bool settles = false;
  std::atomic<bool> settling{false};  // home's own goes: it cannot be put back any more

  Status carry_out(const machine::PlacerSpec& spec, const JobFilesReceiver::Order& order,
                   const std::shared_ptr<transfer::JobFileList>& list, bool final) {
    if (!placer) {
      auto opened = machine::JobPlacer::open(spec);
      if (!opened) return opened.error();
      placer = std::move(*opened);
    }
    return std::visit(
        base::Overloaded{
            [&](const JobFilesReceiver::Plan&) -> Status {
              auto made = placer->plan(list, final, cancelled);
              if (!made) return made.error();
              plan = std::move(*made);
              if (plan.refusal.empty()) return {};
              return base::fail(plan.full ? Code::kFull : Code::kRefused, plan.refusal);
            },
            [&](const JobFilesReceiver::Chunk& o) { return placer->chunk(o.at, o.bytes); },
            [&](const JobFilesReceiver::Holes& o) { return placer->holes(o.first, o.count); },
            [&](const JobFilesReceiver::End& o) { return placer->end(o.entry); },
            [&](const JobFilesReceiver::Finish&) -> Status {
              if (Status done = placer->finish(); !done || !settles || !final) return done;
              settling = true;
              return machine::settle_ledger(spec.ledgers,
                                            machine::arrival_ledger(spec.job, spec.epoch));
            },
        },
        order);
  }
};

FilesIn::FilesIn(loop::Loop& loop, machine::PlacerSpec spec, Callbacks callbacks)
    : loop_(loop),
      spec_(std::move(spec)),
      callbacks_(std::move(callbacks)),
      shared_(std::make_shared<Shared>()),
      timer_(loop, [this] { alive(); }) {
  shared_->settles = static_cast<bool>(callbacks_.settled);
}

FilesIn::~FilesIn() {
  *alive_ = false;
  shared_->cancelled = true;
}

machine::LaidBeside FilesIn::laid() const {
  return shared_->placer && idle() ? shared_->placer->laid() : machine::LaidBeside();
}

void FilesIn::on_record(base::ByteView record) {
  if (failed_) return;
  // What it cannot send for good; where a handover follows the checkpoint says that.
  if (auto given_up = callbacks_.settled ? transfer::refusal_in(record) : std::nullopt) {
    return fail(base::fail(Code::kRefused, given_up->detail));
  }
  const std::size_t rounds = receiver_.rounds();
  auto orders = receiver_.feed(record);
  if (!orders) return fail(orders.error());
  if (receiver_.rounds() > rounds && !owner_) {
    auto spec = node::decode_spec(receiver_.begin().who);
    if (!spec) return fail(spec.error());
    if (spec->id != spec_.job) return fail(base::fail(Code::kInvalid, "files of another job"));
    const std::string refusal = callbacks_.refusal(*spec);
    if (!refusal.empty()) return fail(base::fail(Code::kRefused, refusal));
    spec_.uid = spec->uid;
    spec_.gids = gids_of(*spec);
    owner_ = std::move(*spec);
  }
  if (!orders->empty()) add(std::move(*orders));
}

void FilesIn::add(std::vector<Order> orders) {
  for (Order& order : orders) {
    queued_ += bytes_of(order);
    orders_.push_back(std::move(order));
  }
  if (!paused_ && (queued_ > kFilesQueueMax || orders_.size() > kFilesOrdersMax)) {
    paused_ = true;
    callbacks_.pause(true);
  }
  next();
}

void FilesIn::next() {
  if (working_ || orders_.empty() || failed_) return;
  auto batch = std::make_shared<std::vector<Order>>();
  bool planned = false;
  bool finished = false;
  while (!orders_.empty() && batch->size() < kBatchMax) {
    Order order = std::move(orders_.front());
    orders_.pop_front();
    queued_ -= bytes_of(order);
    planned = planned || std::holds_alternative<JobFilesReceiver::Plan>(order);
    finished = finished || std::holds_alternative<JobFilesReceiver::Finish>(order);
    batch->push_back(std::move(order));
  }
  working_ = true;
  // Not anew with each piece of work: of short ones the source would hear nothing.
  if (!std::exchange(ticking_, true)) timer_.start(kFilesAliveEvery);
  callbacks_.work(
      [batch, shared = shared_, spec = spec_, list = receiver_.list(),
       final = receiver_.begin().final]() -> Status {
        for (const Order& order : *batch) {
          if (Status done = shared->carry_out(spec, order, list, final); !done) return done;
        }
        return {};
      },
      [this, planned, finished, alive = alive_](const Status& status) {
        if (*alive) worked(status, planned, finished);
      });
}

void FilesIn::worked(const Status& status, bool planned, bool finished) {
  working_ = false;
  if (failed_ && callbacks_.taken_back) return take_back();
  if (failed_) return;
  if (!status) return fail(status);
  if (planned) {
    machine::JobPlacer::Plan& plan = shared_->plan;
    for (std::size_t at = 0; at < plan.wanted.size();) {
      replies_.push_back(transfer::encode_job_want(plan.wanted, at));
    }
    for (const auto& [entry, hashes] : plan.have) {
      for (std::size_t at = 0; at < hashes.size();) {
        replies_.push_back(transfer::encode_job_have(entry, hashes, at));
      }
    }
    replies_.push_back(transfer::job_files_message(JobFilesType::kReady));
    receiver_.planned(std::move(plan.wanted));
    plan = {};
  }
  if (finished) {
    if (callbacks_.settled) callbacks_.settled(shared_->placer->laid());
    receiver_.finished();
    replies_.push_back(transfer::job_files_message(JobFilesType::kPlaced));
  }
  reply();
  if (paused_ && queued_ < kFilesQueueMax / 2 && orders_.size() < kFilesOrdersMax / 2) {
    paused_ = false;
    callbacks_.pause(false);
  }
  next();
}

void FilesIn::reply() {
  while (!replies_.empty()) {
    const Status sent = callbacks_.send(replies_.front());
    if (!sent) break;  // kFull: later; anything else ends the connection anyway
    replies_.pop_front();
  }
  callbacks_.flush();
}

void FilesIn::alive() {
  if (idle()) {
    ticking_ = false;
    return;
  }
  timer_.start(kFilesAliveEvery);
  if (!replies_.empty()) return;
  replies_.push_back(transfer::job_files_message(JobFilesType::kAlive));
  reply();
}

void FilesIn::fail(const Status& status) {
  if (std::exchange(failed_, true)) return;
  why_ = status;
  shared_->cancelled = true;
  orders_.clear();
  replies_.clear();
  if (!callbacks_.taken_back) return refuse();  // the handover does it
  if (!working_) take_back();
}

// Of somebody else's nothing came.
void FilesIn::take_back() {
  if (!owner_ || shared_->settling) return refuse();
  working_ = true;
  timer_.start(kFilesAliveEvery);
  auto undone = std::make_shared<base::Result<machine::Undone>>(machine::Undone());
  callbacks_.work(
      [undone, spec = spec_]() -> Status {
        *undone = machine::undo_ledgers(
            spec.ledgers, {machine::arrival_ledger(spec.job, spec.epoch)}, machine::was_changed);
        return {};
      },
      [this, undone, alive = alive_](const Status&) {
        if (!*alive) return;
        working_ = false;
        timer_.stop();
        callbacks_.taken_back(*undone);
        refuse();
      });
}

// The source hears why: it ends the attempt with that sentence, and where no handover follows,
// tries again when there may be room.
void FilesIn::refuse() {
  timer_.stop();
  // Nothing is said then: whoever holds the connection closes it.
  if (callbacks_.settled && why_.error().code == Code::kStale) return callbacks_.failed(why_);
  const bool again = callbacks_.settled && why_.error().code == Code::kFull;
  const JobFilesType type = again ? JobFilesType::kFull : JobFilesType::kRefuse;
  replies_.push_back(transfer::encode_job_refuse(type, why_.error().detail));
  reply();
  callbacks_.failed(why_);
}

}  // namespace ternd
