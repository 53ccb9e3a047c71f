#include "sim/liar.h"

#include <algorithm>

#include "gossip/digest.h"
#include "gossip/envelope.h"
#include "gossip/wire.h"
#include "identity/certificate.h"

namespace sim {
namespace {

using base::Bytes;
using base::ByteView;

// The datagram's format, gossip/envelope.h.
constexpr std::string_view kDomain = "tern datagram 1";
constexpr std::size_t kSaltAt = 9;
constexpr std::size_t kCounterAt = 25;
constexpr std::size_t kRoom = gossip::kPacketSizeMax - gossip::kHeaderSize - gossip::kSealSize;
constexpr std::size_t kSequenceAt = 41;  // of a digest, gossip/digest.cc
constexpr std::uint64_t kAhead = 1000;   // a sequence that its origin does not reach
constexpr std::uint64_t kStrangerEvery = 16;

base::crypto::SealKey key_of(const base::Secret<32>& shared, const base::NodeId& from,
                             const base::NodeId& to, ByteView salt) {
  auto hash =
      base::crypto::hash256({base::as_bytes(kDomain), from.bytes, to.bytes, salt}, shared.view());
  return {base::crypto::Cipher::kChaChaPoly, base::Secret<32>{ByteView(hash)}};
}

void append(Bytes& to, const Bytes& bytes) {
  if (to.size() + bytes.size() <= kRoom) to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

Bytes make_stranger(const identity::NodeKeys& keys, const base::crypto::SignKey& root,
                    base::WallTime now) {
  identity::CertificateBody body;
  body.mesh = base::crypto::mesh_id_of(root.public_key);
  body.issuer = identity::root_issuer_id(root.public_key);
  body.name = "stranger";
  body.sign_public = keys.sign.public_key;
  body.dh_public = keys.dh.public_key;
  body.not_before = base::WallTime{base::wall_seconds(now) - 86'400};
  body.not_after = base::WallTime{base::wall_seconds(now) + 86'400};
  body.serial = 1;
  Bytes forged = identity::issue(body, root);
  forged[1] ^= 1;  // within the signature: the root never made it
  const Bytes chain = identity::make_chain(body.mesh, {forged});
  Bytes out = gossip::encode_message(gossip::ChainMessage{chain});
  gossip::DigestHead head;
  head.mesh = body.mesh;
  head.node = keys.id();
  head.incarnation = base::Incarnation{1};
  head.sequence = base::Sequence{1};
  const auto digest = gossip::make_digest(head, {}, keys.sign);
  append(out, gossip::encode_message(gossip::DigestMessage{gossip::State::kAlive, *digest}));
  return out;
}

bool Liar::alter_payload(Bytes& payload, const base::NodeId& self, const Lies& lies, Dice& dice) {
  auto messages = gossip::decode_messages(payload);
  if (!messages) return false;
  bool changed = false;
  Bytes out;
  for (const gossip::Message& message : *messages) {
    const auto* told = std::get_if<gossip::DigestMessage>(&message);
    const auto head =
        told == nullptr
            ? base::Result<gossip::DigestHead>(base::fail(base::Code::kInvalid, "no digest"))
            : gossip::peek_digest(told->digest);
    if (!head || head->node == self) {
      append(out, gossip::encode_message(message));
      continue;
    }
    old_.emplace(head->node, base::to_bytes(told->digest));
    Bytes bytes = base::to_bytes(told->digest);
    if (lies.digests) {
      changed = true;
      if (dice.below(2) == 0) {
        base::put_le64(base::MutableByteView(bytes).subspan(kSequenceAt, 8),
                       head->sequence.value + kAhead);
      } else {
        bytes[kSequenceAt + 9 + dice.below(4)] ^= 1;  // what it says of its load
      }
    }
    append(out, gossip::encode_message(gossip::DigestMessage{told->state, bytes}));
  }
  if (!old_.empty() && dice.below(4) == 0) {
    auto one = old_.begin();
    std::advance(one, static_cast<std::ptrdiff_t>(dice.below(old_.size())));
    const auto head = gossip::peek_digest(one->second);
    changed = changed || lies.stale || lies.deaths;
    if (lies.stale) {
      append(out, gossip::encode_message(
                      gossip::DigestMessage{gossip::State::kAlive, ByteView(one->second)}));
    }
    if (lies.deaths && head) {
      const gossip::Entry32 entry{head->node, head->incarnation,
                                  base::Sequence{head->sequence.value + kAhead}};
      append(out, gossip::encode_message(gossip::SuspectMessage{entry}));
    }
  }
  if (lies.strangers && dice.below(kStrangerEvery) == 0) {
    changed = true;
    append(out, stranger_);
  }
  if (changed) payload = std::move(out);
  return changed;
}

std::optional<Bytes> Liar::alter(const identity::NodeKeys& self, const base::NodeId& to,
                                 const base::crypto::DhPublic& to_key, ByteView packet,
                                 const Lies& lies, Dice& dice) {
  const auto shared = base::crypto::dh(self.dh, to_key);
  if (!shared || packet.size() <= gossip::kHeaderSize + gossip::kSealSize) return std::nullopt;
  const auto key = key_of(*shared, self.id(), to, packet.subspan(kSaltAt, 16));
  base::crypto::Nonce nonce{};
  base::put_le64(base::MutableByteView(nonce).subspan(4),
                 base::get_le64(packet.subspan(kCounterAt, 8)));
  const ByteView header = packet.first(gossip::kHeaderSize);
  Bytes payload(packet.size() - gossip::kHeaderSize - gossip::kSealSize);
  if (!key.open(nonce, header, packet.subspan(gossip::kHeaderSize), payload)) return std::nullopt;
  if (!alter_payload(payload, self.id(), lies, dice)) return std::nullopt;
  Bytes out(gossip::kHeaderSize + payload.size() + gossip::kSealSize);
  std::copy(header.begin(), header.end(), out.begin());
  key.seal(nonce, header, payload, base::MutableByteView(out).subspan(gossip::kHeaderSize));
  return out;
}

}  // namespace sim
