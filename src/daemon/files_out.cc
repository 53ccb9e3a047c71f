#include "daemon/files_out.h"

#include <utility>

namespace ternd {
namespace {

using base::Code;
using base::Result;
using base::Status;
using transfer::JobFilesSender;

}  // namespace

FilesOut::FilesOut(loop::Loop& loop, Callbacks callbacks, std::shared_ptr<machine::JobTree> before)
    : loop_(loop),
      callbacks_(std::move(callbacks)),
      tree_(std::move(before)),
      timer_(loop, [this] { alive(); }) {}

FilesOut::~FilesOut() {
  *alive_ = false;
  *cancelled_ = true;
}

void FilesOut::start(bool final, base::Bytes who, List list) {
  CHECK(!busy_);
  busy_ = true;
  said_ = Said::kNobody;
  asked_ = loop::Loop::now();
  timer_.start(kFilesAliveEvery);
  struct Outcome {
    Status status;
    std::shared_ptr<machine::JobTree> tree;
  };
  auto outcome = std::make_shared<Outcome>();
  working_ = true;
  loop::run_blocking(
      loop_,
      [outcome, list = std::move(list), before = tree_, cancelled = cancelled_] {
        auto spec = list();
        if (!spec) {
          outcome->status = spec.error();
          return;
        }
        auto tree = machine::JobTree::collect(*spec, before.get(), *cancelled);
        if (tree) outcome->tree = std::move(*tree);
        if (!tree) outcome->status = tree.error();
      },
      [this, outcome, final, who = std::move(who), alive = alive_]() mutable {
        if (!*alive) return;
        working_ = false;
        if (outcome->tree) tree_ = std::move(outcome->tree);
        listed(outcome->status, final, std::move(who));
      });
}

void FilesOut::listed(const Status& status, bool final, base::Bytes who) {
  if (!status) {
    said_ = Said::kHere;
    return end(status);
  }
  // Nothing to say to a sink that was told of nothing.
  if (tree_->content()->list.size() == 0 && !sent_any_) return end({});
  sent_any_ = true;
  sender_.emplace(transfer::JobFilesBegin{final, std::move(who)}, tree_->content());
  pump();
}

void FilesOut::pump() {
  while (busy_ && sender_ && !working_) {
    if (!waiting_) {
      JobFilesSender::Step step = sender_->next();
      if (std::holds_alternative<JobFilesSender::Wait>(step)) return callbacks_.flush();
      if (std::holds_alternative<JobFilesSender::Over>(step)) return end({});
      if (const auto* what = std::get_if<JobFilesSender::Read>(&step)) return read(*what);
      waiting_ = std::move(std::get<JobFilesSender::Send>(step).record);
    }
    const Status sent = callbacks_.send(*waiting_);
    if (!sent) {
      if (sent.error().code != Code::kFull) return end(sent);
      return callbacks_.flush();
    }
    bytes_ += waiting_->size();
    asked_ = loop::Loop::now();
    waiting_.reset();
    callbacks_.progress();
  }
}

void FilesOut::read(const JobFilesSender::Read& what) {
  callbacks_.flush();
  auto bytes = std::make_shared<Result<base::Bytes>>(base::Bytes());
  working_ = true;
  loop::run_blocking(
      loop_, [tree = tree_, what, bytes] { *bytes = tree->read(what); },
      [this, bytes, alive = alive_] {
        if (!*alive) return;
        working_ = false;
        if (!busy_ || !sender_) return;
        if (!*bytes) {
          said_ = Said::kHere;
          return end(bytes->error());
        }
        if (Status got = sender_->got(std::move(**bytes)); !got) return end(got);
        pump();
      });
}

void FilesOut::on_record(base::ByteView record) {
  if (auto refusal = busy_ ? transfer::refusal_in(record) : std::nullopt) {
    said_ = Said::kSink;
    return end(*refusal);
  }
  if (!busy_ || !sender_) {
    return end(base::fail(Code::kInvalid, "the sink speaks of files unasked"));
  }
  if (Status fed = sender_->feed(record); !fed) return end(fed);
  ++bytes_;
  callbacks_.progress();
  pump();
}

// Looking and placing take their time, in which nothing else shows that this goes on.
void FilesOut::alive() {
  if (!busy_) return;
  if (loop::Loop::now() - asked_ > kFilesPatience) {
    return end(base::fail(Code::kTimeout, "the sink did not take the job's files in time"));
  }
  timer_.start(kFilesAliveEvery);
  if (!working_) return;
  ++bytes_;
  callbacks_.progress();
}

void FilesOut::end(const Status& status) {
  if (!std::exchange(busy_, false)) return;
  timer_.stop();
  sender_.reset();
  waiting_.reset();
  callbacks_.done(status);
}

}  // namespace ternd
