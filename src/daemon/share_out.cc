#include "daemon/share_out.h"

#include <algorithm>
#include <utility>

#include "control/response.h"
#include "transfer/share_sender.h"
#include "transfer/wire.h"

namespace ternd {
namespace {

using base::Code;
using base::Result;
using control::Exit;
using transfer::ShareAnswer;
using transfer::ShareType;

constexpr std::size_t kRefusalsShown = 4;
constexpr const char* kSameAgain = "the same command again goes on where it was";

}  // namespace

struct ShareOut::Relay {
  Order order;
  std::shared_ptr<Client> client;
  std::size_t at = 0;        // of order.peers, the one that is asked
  std::vector<Peer> asking;  // those that would have to ask somebody first
  bool may_wait = false;     // for that
  bool waits = false;        // somebody there was told of it
  std::vector<std::string> refusals;
  bool answered = false;  // somebody refused; not only silence
  std::unique_ptr<PeerStream> stream;
  bool behind = false;  // an earlier one of the same share
  bool connecting = false;
  bool passing = false;
  bool over = false;
  bool ended = false;
  bool stream_paused = false;
  base::Time heard{};
  base::Bytes rest;  // of the client's frames: what the stream has no room for yet
  [[nodiscard]] const Peer& peer() const { return order.peers[at]; }
};

ShareOut::ShareOut(loop::Loop& loop, Links& links, base::Log& log)
    : links_(links), log_(log), timer_(loop, [this] { look(); }) {}

ShareOut::~ShareOut() {
  *alive_ = false;
  for (const Handle& relay : relays_) {
    relay->ended = true;
    relay->stream.reset();
    relay->client->on_input(nullptr);
    relay->client->on_room(nullptr);
    relay->client->on_closed(nullptr);
  }
}

void ShareOut::start(Order order, const std::shared_ptr<Client>& client) {
  auto relay = std::make_shared<Relay>();
  relay->order = std::move(order);
  relay->client = client;
  relay->may_wait = relay->order.named;
  put_unfinished_first(relay->order);
  relays_.push_back(relay);
  if (relays_.size() == 1) timer_.start(kShareAliveEvery);
  std::weak_ptr<Relay> weak = relay;
  client->on_closed([this, weak] {
    if (auto strong = weak.lock(); strong && !strong->ended) end(strong);
  });
  if (client->closed()) return end(relay);
  if (relay->order.peers.empty()) return nobody(relay);
  if (!goes_elsewhere(relay)) {
    relay->behind = true;
    return client->line(control::progress_line("the same is being shared already; waiting for it"));
  }
  ask(relay, relay->peer());
}

// The peer that has a part of it goes on with that.
void ShareOut::put_unfinished_first(Order& order) const {
  const auto before = unfinished_.find({order.offer.uid, order.offer.id});
  if (before == unfinished_.end()) return;
  std::stable_partition(order.peers.begin(), order.peers.end(),
                        [&](const Peer& peer) { return peer.id == before->second; });
}

// Whether no earlier program is at the same share with one of its peers. Two at once would take the
// peer's part of it from each other for ever.
bool ShareOut::goes_elsewhere(const Handle& relay) const {
  const auto& [offer, peers, named, not_asked] = relay->order;
  if (offer.dry_run) return true;
  for (const Handle& other : relays_) {
    if (other == relay) break;
    const transfer::ShareOffer& before = other->order.offer;
    if (before.dry_run || before.uid != offer.uid || before.id != offer.id) continue;
    const auto same = [&](const Peer& peer) { return peer.id == other->peer().id; };
    if (std::any_of(peers.begin(), peers.end(), same)) return false;
  }
  return true;
}

void ShareOut::start_next() {
  for (const Handle& relay : std::list(relays_)) {
    if (relay->ended || !relay->behind || !goes_elsewhere(relay)) continue;
    relay->behind = false;
    put_unfinished_first(relay->order);
    ask(relay, relay->peer());
  }
}

void ShareOut::ask(const Handle& relay, const Peer& peer) {
  relay->connecting = true;
  relay->waits = false;
  relay->heard = loop::Loop::now();
  relay->client->line(control::progress_line("asking " + peer.name));
  links_.open_bulk(
      peer.id, peer.at,
      [this, relay, at = relay->at, alive = alive_](Result<BulkStream> bulk) {
        if (*alive && !relay->ended && relay->connecting && relay->at == at) {
          on_connected(relay, std::move(bulk));
        }
      },
      node::Purpose::kShare);
}

void ShareOut::on_connected(const Handle& relay, Result<BulkStream> bulk) {
  relay->connecting = false;
  if (!bulk) return refused(relay, "does not answer (" + bulk.error().detail + ")", true);
  relay->stream = std::move(bulk->stream);
  relay->heard = loop::Loop::now();
  PeerStream::Callbacks callbacks;
  std::weak_ptr<Relay> weak = relay;
  callbacks.on_data = [this, weak](transfer::Buffer record) {
    if (auto strong = weak.lock(); strong && !strong->ended) on_record(strong, std::move(record));
  };
  callbacks.on_room = [this, weak] {
    if (auto strong = weak.lock(); strong && !strong->ended) on_room(strong);
  };
  callbacks.on_end = [weak] {
    auto strong = weak.lock();
    if (strong && strong->stream) strong->stream->finish();
  };
  callbacks.on_failed = [this, weak](const base::Error& error) {
    if (auto strong = weak.lock(); strong && !strong->ended) on_failed(strong, error);
  };
  relay->stream->take_over(std::move(callbacks));
  if (!relay->stream) return;
  if (base::Status sent = relay->stream->send({encode(relay->order.offer)}); !sent) {
    return refused(relay, "cannot be asked: " + sent.error().detail, true);
  }
  relay->stream->flush();
}

void ShareOut::on_record(const Handle& relay, transfer::Buffer record) {
  relay->heard = loop::Loop::now();
  if (!relay->passing) {
    std::optional<ShareAnswer> answer;
    const base::Status read =
        transfer::each_message(record.view(), [&](const transfer::ShareMessage& message) {
          if (message.type == ShareType::kAlive) return base::Status();
          auto decoded = message.type == ShareType::kAnswer
                             ? transfer::decode_answer(message.body)
                             : base::fail(Code::kInvalid, "it said something out of turn");
          if (!decoded) return base::Status(decoded.error());
          answer = std::move(*decoded);
          return base::Status();
        });
    if (!read) return refused(relay, "gave no sensible answer: " + read.error().detail, true);
    if (answer) on_answer(relay, *answer);
    return;
  }
  (void)transfer::each_message(record.view(), [&](const transfer::ShareMessage& message) {
    if (message.type != ShareType::kOver || message.body.size() != 1) return base::Status();
    relay->over = true;
    const bool kept = message.body[0] != 0;
    if (!kept) unfinished_.erase({relay->order.offer.uid, relay->order.offer.id});
    return base::Status();
  });
  relay->client->line(control::record_line(record.view()));
  if (relay->ended || relay->client->has_room() || !relay->stream) return;
  relay->stream->pause();
  relay->stream_paused = true;
}

void ShareOut::on_answer(const Handle& relay, const ShareAnswer& answer) {
  const Peer& peer = relay->peer();
  switch (answer.verdict) {
    case ShareAnswer::Verdict::kAccept:
      return accepted(relay);
    case ShareAnswer::Verdict::kRefuse:
      return refused(relay, answer.reason, false);
    case ShareAnswer::Verdict::kWait:
      break;
  }
  if (relay->order.offer.dry_run) {
    relay->client->done(control::to_json(control::ShareTarget{peer.id.hex(), peer.name, true}));
    return end(relay);
  }
  if (!relay->may_wait) {
    relay->asking.push_back(peer);
    relay->stream.reset();
    return ask_next(relay);
  }
  relay->waits = true;
  relay->client->line(control::progress_line("waiting until somebody at " + peer.name +
                                             " says: tern inbox accept " + answer.offer));
}

void ShareOut::accepted(const Handle& relay) {
  const control::ShareTarget target{relay->peer().id.hex(), relay->peer().name, relay->waits};
  if (relay->order.offer.dry_run) {
    relay->client->done(control::to_json(target));
    return end(relay);
  }
  relay->passing = true;
  const Unfinished key{relay->order.offer.uid, relay->order.offer.id};
  if (unfinished_.size() >= kUnfinishedKept) unfinished_.erase(unfinished_.begin());
  unfinished_[key] = relay->peer().id;
  log_.info("share_begins", {{"to", relay->peer().name}, {"bytes", relay->order.offer.bytes}});
  std::weak_ptr<Relay> weak = relay;
  relay->client->on_input([this, weak](base::ByteView bytes) {
    if (auto strong = weak.lock(); strong && !strong->ended) on_input(strong, bytes);
  });
  relay->client->line(control::accepted_line(target));
  relay->client->on_room([weak] {
    auto strong = weak.lock();
    if (!strong || strong->ended || !std::exchange(strong->stream_paused, false)) return;
    strong->heard = loop::Loop::now();
    if (strong->stream) strong->stream->resume();
  });
}

void ShareOut::refused(const Handle& relay, const std::string& why, bool unreachable) {
  relay->stream.reset();
  relay->connecting = false;
  const std::string& name = relay->peer().name;
  if (relay->order.named) {
    return unreachable ? fail(relay, Exit::kUnreachable, name + " " + why)
                       : fail(relay, Exit::kRefused, name + " does not take it: " + why);
  }
  relay->answered = relay->answered || !unreachable;
  relay->refusals.push_back(name + (unreachable ? " " : ": ") + why);
  ask_next(relay);
}

void ShareOut::ask_next(const Handle& relay) {
  if (++relay->at < relay->order.peers.size()) return ask(relay, relay->peer());
  if (relay->asking.empty()) return nobody(relay);
  relay->order.peers = std::exchange(relay->asking, {});
  relay->at = 0;
  relay->may_wait = true;
  ask(relay, relay->peer());
}

void ShareOut::nobody(const Handle& relay) {
  std::string why;
  for (std::size_t i = 0; i < relay->refusals.size() && i < kRefusalsShown; ++i) {
    why += (i == 0 ? ": " : "; ") + relay->refusals[i];
  }
  const std::string& others = relay->order.not_asked;
  if (!others.empty()) why += (why.empty() ? ": " : "; ") + others;
  if (why.empty()) why = ": nobody else is in this mesh";
  fail(relay, Exit::kNothingFits, "No idle peers available" + why,
       "name one, busy or not: tern share --to NODE; who is there: tern status");
}

// ---- passing on

void ShareOut::on_input(const Handle& relay, base::ByteView bytes) {
  if (relay->rest.empty()) bytes = bytes.subspan(forward(relay, bytes));
  if (relay->ended) return;
  relay->rest.insert(relay->rest.end(), bytes.begin(), bytes.end());
  if (relay->rest.size() >= control::kShareRecordMax) relay->client->pause_input();
  // Less waits here than a frame's rest, unless the stream is full.
  if (!relay->rest.empty()) on_room(relay);
}

// Whole frames, as many as there is room for; how many bytes of them.
std::size_t ShareOut::forward(const Handle& relay, base::ByteView bytes) {
  std::size_t at = 0;
  while (relay->stream && bytes.size() - at >= transfer::kFrameHeaderSize) {
    const std::size_t size = transfer::get_le16(bytes.subspan(at));
    const std::size_t whole = transfer::kFrameHeaderSize + size;
    if (bytes.size() - at < whole) break;
    const base::Status sent =
        relay->stream->send({bytes.subspan(at + transfer::kFrameHeaderSize, size)});
    if (!sent && sent.error().code == Code::kFull) {
      relay->stream->flush();  // which may make room; where it does not, on_room will be called
      if (!relay->stream || relay->stream->room() < size) return at;
      continue;
    }
    if (!sent) {
      fail(relay, Exit::kError, "a record that is none: " + sent.error().detail);
      return bytes.size();
    }
    at += whole;
  }
  if (relay->stream) relay->stream->flush();
  return at;
}

void ShareOut::on_room(const Handle& relay) {
  if (!relay->passing || relay->rest.empty()) return;
  base::Bytes rest = std::exchange(relay->rest, {});
  const std::size_t at = forward(relay, rest);
  if (relay->ended) return;
  rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(at));
  relay->rest = std::move(rest);
  if (relay->rest.size() < control::kShareRecordMax) relay->client->resume_input();
}

void ShareOut::on_failed(const Handle& relay, const base::Error& error) {
  if (relay->over) {
    relay->client->done();
    return end(relay);
  }
  if (!relay->passing) {
    return refused(relay, "does not answer (" + error.detail + ")", true);
  }
  const std::string why = error.detail.empty() ? "it was closed there" : error.detail;
  fail(relay, Exit::kUnreachable, "the connection to " + relay->peer().name + " ended: " + why,
       kSameAgain);
}

void ShareOut::fail(const Handle& relay, Exit exit, const std::string& why,
                    const std::string& next) {
  log_.info("share_failed", {{"why", why}});
  relay->client->fail(exit, why, next);
  end(relay);
}

void ShareOut::end(const Handle& relay) {
  if (relay->ended) return;
  relay->ended = true;
  relay->stream.reset();
  relay->client->on_input(nullptr);
  relay->client->on_room(nullptr);
  relay->client->on_closed(nullptr);
  const Handle keep = relay;
  relays_.remove(keep);
  start_next();
}

void ShareOut::stop() {
  for (const Handle& relay : std::list(relays_)) {
    fail(relay, Exit::kUnreachable, "the daemon is stopping", kSameAgain);
  }
}

// Who says nothing is given up.
void ShareOut::look() {
  const base::Time now = loop::Loop::now();
  for (const Handle& relay : std::list(relays_)) {
    if (relay->passing && !relay->over && relay->stream) {
      // Not while it is full: then there is enough to hear.
      (void)relay->stream->send({transfer::share_message(ShareType::kAlive)});
      relay->stream->flush();
    }
    if (relay->ended || relay->behind) continue;
    const base::Duration silent = now - relay->heard;
    if (relay->passing || relay->waits) {
      if (relay->over || relay->stream_paused || silent < kShareSilence) continue;
      fail(relay, Exit::kUnreachable, relay->peer().name + " says nothing any more", kSameAgain);
    } else if (silent >= kOfferPatience) {
      refused(relay, "does not answer", true);
    }
  }
  if (!relays_.empty()) timer_.start(kShareAliveEvery);
}

}  // namespace ternd
