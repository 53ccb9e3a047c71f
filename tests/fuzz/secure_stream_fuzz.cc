// A SecureStream of either role against whatever a peer sends. Byte 0: bit 0 role, bit 1 mode,
// bit 2 ticket, bits 3.. size of the pieces fed.
//   mode 0: the rest is what the peer sends.
//   mode 1: the rest is damage (u16 offset, u8 xor) done to what a true peer sends, so that records
//           are reached; only undamaged records may be delivered.
#include "base/check.h"
#include "transfer/message_channel.h"
#include "transfer/secure_stream.h"

using base::Bytes;
using base::ByteView;
using base::Secret;
using namespace transfer;

namespace {

SecureStream make(bool initiator, bool ticket) {
  StreamConfig config;
  config.initiator = initiator;
  config.mesh.bytes.fill(1);
  config.static_key = base::crypto::dh_key_from_secret(Secret<32>(Bytes(32, initiator ? 1 : 2)));
  config.ephemeral = Secret<32>(Bytes(32, initiator ? 3 : 4));
  config.payload = Bytes(40, 5);
  if (initiator && ticket) config.ticket = Ticket{.id = {}, .psk = Secret<32>(Bytes(32, 6))};
  config.tickets_allowed = ticket;
  config.rekey_records = 2;
  return SecureStream(std::move(config));
}

struct Host {
  SecureStream stream;
  MessageReader reader;
  std::size_t records = 0;
  bool closed = false;

  void take_events() {
    while (auto event = stream.next_event()) {
      CHECK(!closed);
      if (auto* data = std::get_if<Data>(&*event)) {
        CHECK(!data->bytes.empty());
        ++records;
        if (reader.feed(data->bytes.view()).ok()) {
          while (reader.next()) {
          }
        }
      }
      if (std::holds_alternative<NeedPsk>(*event)) stream.provide_psk(Secret<32>(Bytes(32, 6)));
      if (std::holds_alternative<HandshakeDone>(*event)) stream.accept();
      if (std::holds_alternative<Failed>(*event)) closed = true;
    }
  }
  void feed(ByteView input, std::size_t piece) {
    while (!input.empty()) {
      const std::size_t taken = stream.feed(input.first(std::min(piece, input.size())));
      take_events();
      CHECK(taken > 0);  // this host always answers, so something is always taken
      input = input.subspan(taken);
    }
  }
  Bytes take_output() {
    Bytes out;
    while (stream.pending_size() > 0) {
      const ByteView view = stream.pending_output();
      out.insert(out.end(), view.begin(), view.end());
      stream.consume_output(view.size());
    }
    return out;
  }
};

void run_damaged(Host& target, Host& peer, ByteView damage, std::size_t piece) {
  bool damaged = false;
  std::size_t offset = 0;
  bool sent = false;
  for (int turn = 0; turn < 8; ++turn) {
    if (!sent && peer.stream.phase() == SecureStream::Phase::kOpen) {
      for (std::size_t i = 1; i <= 5; ++i) CHECK(peer.stream.send(Bytes(i * 9, 1)).ok());
      CHECK(peer.stream.finish().ok());
      sent = true;
    }
    Bytes wire = peer.take_output();
    for (std::size_t i = 0; i + 3 <= damage.size(); i += 3) {
      const std::size_t at = damage[i] + 256U * damage[i + 1];
      if (at < offset || at >= offset + wire.size()) continue;
      wire[at - offset] ^= damage[i + 2];
      damaged |= damage[i + 2] != 0;
    }
    offset += wire.size();
    target.feed(wire, piece);
    peer.feed(target.take_output(), piece);
  }
  target.stream.feed_end();
  target.take_events();
  CHECK(target.records <= 5);
  if (!damaged) CHECK(target.records == 5);
  if (!damaged) CHECK(!target.closed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = base::crypto::init().ok();
  CHECK(ready);
  if (size < 1) return 0;
  const bool initiator = (data[0] & 1) != 0;
  const bool ticket = (data[0] & 4) != 0;
  const std::size_t piece = 1 + (data[0] >> 3) * 40U;
  const ByteView rest = ByteView(data, size).subspan(1);
  Host target{make(initiator, ticket), {}};
  if ((data[0] & 2) == 0) {
    target.feed(rest, piece);
    return 0;
  }
  Host peer{make(!initiator, ticket), {}};
  run_damaged(target, peer, rest, piece);
  return 0;
}
