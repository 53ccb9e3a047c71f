#include "gossip/envelope.h"

#include <algorithm>

namespace gossip {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;

constexpr std::string_view kDomain = "tern datagram 1";
constexpr std::string_view kCookieDomain = "tern challenge 1";
constexpr std::uint8_t kKind = 1;
constexpr std::size_t kSenderAt = 1;
constexpr std::size_t kSaltAt = 9;
constexpr std::size_t kCounterAt = 25;
static_assert(kCounterAt + 8 == kHeaderSize);
static_assert(kSealSize == base::crypto::kTagSize);

base::crypto::Nonce nonce_of(std::uint64_t counter) {
  base::crypto::Nonce nonce{};
  base::put_le64(base::MutableByteView(nonce).subspan(4), counter);
  return nonce;
}

std::uint64_t period_of(base::Time now) {
  return static_cast<std::uint64_t>(now.time_since_epoch() / kCookieAge);
}

}  // namespace

bool ReplayWindow::take(std::uint64_t counter) {
  if (counter + (kSpan - 64) < highest_ || counter > UINT64_MAX - kSpan) return false;
  if (counter > highest_) {
    const std::uint64_t from = highest_ / 64;
    const std::uint64_t steps = std::min(counter / 64 - from, kWords);
    for (std::uint64_t i = 1; i <= steps; ++i) bits_[(from + i) % kWords] = 0;
    highest_ = counter;
  }
  std::uint64_t& word = bits_[counter / 64 % kWords];
  const std::uint64_t bit = std::uint64_t{1} << (counter % 64);
  if ((word & bit) != 0) return false;
  word |= bit;
  return true;
}

void ReplayWindow::start(std::uint64_t counter) {
  bits_.fill(~std::uint64_t{0});
  bits_[counter / 64 % kWords] = ~std::uint64_t{0} >> (63 - counter % 64);
  highest_ = counter;
}

base::Result<PacketHeader> parse_header(ByteView packet) {
  const bool fits = packet.size() > kHeaderSize + kSealSize && packet.size() <= kPacketSizeMax;
  if (!fits || packet[0] != kKind) return base::fail(Code::kInvalid, "not a datagram of tern");
  PacketHeader header;
  std::copy_n(packet.begin() + kSenderAt, header.sender.size(), header.sender.begin());
  std::copy_n(packet.begin() + kSaltAt, header.salt.size(), header.salt.begin());
  header.counter = base::get_le64(packet.subspan(kCounterAt, 8));
  return header;
}

Envelope::Envelope(const base::NodeId& self, base::crypto::DhKey key, const Salt& salt,
                   base::Secret<32> secret)
    : self_(self), key_(std::move(key)), salt_(salt), secret_(std::move(secret)) {}

base::Secret<32> Envelope::derive(const base::Secret<32>& shared, const base::NodeId& from,
                                  const base::NodeId& to, const Salt& salt) const {
  auto hash =
      base::crypto::hash256({base::as_bytes(kDomain), from.bytes, to.bytes, salt}, shared.view());
  base::Secret<32> key{ByteView(hash)};
  base::wipe(hash);
  return key;
}

void Envelope::make_room() {
  if (peers_.size() < kSessionsMax) return;
  std::size_t oldest = 0;
  for (std::size_t i = 1; i < peers_.size(); ++i) {
    if (peers_.value(i).used_at < peers_.value(oldest).used_at) oldest = i;
  }
  forget(base::NodeId(peers_.ids()[oldest]));
}

Envelope::Peer& Envelope::peer(base::Time now, const base::NodeId& id,
                               const base::crypto::DhPublic& key) {
  if (Peer* const found = peers_.find(id)) return *found;
  make_room();
  Peer& added = peers_[id];
  added.next_counter = counter_floor_;
  added.used_at = now;
  if (auto shared = base::crypto::dh(key_, key)) {
    added.can_seal = true;
    added.shared = std::move(shared).value();
  }
  return added;
}

Bytes Envelope::seal(base::Time now, const base::NodeId& id, const base::crypto::DhPublic& key,
                     ByteView payload, bool again) {
  CHECK(payload.size() <= kPacketSizeMax - kHeaderSize - kSealSize);
  Peer& to = peer(now, id, key);
  if (!to.can_seal) return {};
  to.used_at = now;
  Bytes packet(kHeaderSize + payload.size() + kSealSize);
  packet[0] = kKind;
  std::copy_n(self_.bytes.begin(), kSenderTagSize, packet.begin() + kSenderAt);
  std::copy(salt_.begin(), salt_.end(), packet.begin() + kSaltAt);
  const base::MutableByteView all(packet);
  base::put_le64(all.subspan(kCounterAt, 8), to.next_counter);
  base::crypto::seal(derive(to.shared, self_, id, salt_), nonce_of(to.next_counter),
                     all.first(kHeaderSize), payload, all.subspan(kHeaderSize));
  ++to.next_counter;
  if (again && !to.is_confirmed && payload.size() <= kPayloadSizeMax) keep(now, id, payload);
  return packet;
}

void Envelope::keep(base::Time now, const base::NodeId& to, ByteView payload) {
  forget_unconfirmed(now);
  const auto is_for = [&to](const Unconfirmed& one) { return one.to == to; };
  const auto count = std::count_if(unconfirmed_.begin(), unconfirmed_.end(), is_for);
  if (static_cast<std::size_t>(count) >= kUnconfirmedMax) {
    unconfirmed_.erase(std::find_if(unconfirmed_.begin(), unconfirmed_.end(), is_for));
  } else if (unconfirmed_.size() >= kUnconfirmedAllMax) {
    unconfirmed_.pop_front();
  }
  unconfirmed_.push_back({to, now, base::to_bytes(payload)});
}

base::Result<Opened> Envelope::open(base::Time now, const base::NodeId& id,
                                    const base::crypto::DhPublic& key, ByteView packet) {
  const auto header = parse_header(packet);
  if (!header) return header.error();
  Peer& from = peer(now, id, key);
  if (!from.can_seal) return base::fail(Code::kUnauthentic, "the sender's key has low order");
  Opened opened;
  opened.salt = header->salt;
  opened.counter = header->counter;
  opened.proven = from.has_salt && from.in_salt == header->salt;
  opened.payload.resize(packet.size() - kHeaderSize - kSealSize);
  if (!base::crypto::open(derive(from.shared, id, self_, header->salt), nonce_of(header->counter),
                          packet.first(kHeaderSize), packet.subspan(kHeaderSize), opened.payload)) {
    return base::fail(Code::kUnauthentic, "a datagram's seal does not hold");
  }
  if (!opened.proven) return opened;
  if (!from.window.take(header->counter)) {
    return base::fail(Code::kStale, "a datagram that was taken before");
  }
  from.used_at = now;
  opened.newest = from.window.highest() == header->counter;
  return opened;
}

Cookie Envelope::cookie_of(std::uint64_t period, const base::NodeId& id, const Salt& salt) const {
  std::array<std::uint8_t, 8> period_bytes{};
  base::put_le64(period_bytes, period);
  const Peer* const found = peers_.find(id);
  const Salt in_use = found != nullptr ? found->in_salt : Salt{};  // zero as long as it has none
  return base::crypto::hash128(
      {base::as_bytes(kCookieDomain), id.bytes, salt, in_use, period_bytes}, secret_.view());
}

Cookie Envelope::cookie(base::Time now, const base::NodeId& id, const Salt& salt) const {
  return cookie_of(period_of(now), id, salt);
}

bool Envelope::accept(base::Time now, const base::NodeId& id, const Opened& opened,
                      const Cookie& cookie) {
  Peer* const from = peers_.find(id);
  if (from == nullptr || !from->can_seal) return false;
  if (from->has_salt && now - from->accepted_at < kSaltChangeMin) return false;
  const std::uint64_t period = period_of(now);
  const bool holds =
      base::crypto::equal_constant_time(cookie, cookie_of(period, id, opened.salt)) ||
      (period > 0 &&
       base::crypto::equal_constant_time(cookie, cookie_of(period - 1, id, opened.salt)));
  if (!holds) return false;
  from->in_salt = opened.salt;
  from->has_salt = true;
  from->window.start(opened.counter);
  from->accepted_at = now;
  from->used_at = now;
  return true;
}

std::vector<Bytes> Envelope::take_unconfirmed(const base::NodeId& id) {
  Peer* const found = peers_.find(id);
  if (found == nullptr) return {};
  found->is_confirmed = false;
  std::vector<Bytes> out;
  for (Unconfirmed& one : unconfirmed_) {
    if (one.to == id) out.push_back(std::move(one.payload));
  }
  drop_unconfirmed(id);
  return out;
}

void Envelope::confirmed(const base::NodeId& id) {
  Peer* const found = peers_.find(id);
  if (found == nullptr || found->is_confirmed) return;
  found->is_confirmed = true;
  drop_unconfirmed(id);
}

void Envelope::drop_unconfirmed(const base::NodeId& id) {
  std::erase_if(unconfirmed_, [&id](const Unconfirmed& one) { return one.to == id; });
}

void Envelope::forget_unconfirmed(base::Time now) {
  while (!unconfirmed_.empty() && now - unconfirmed_.front().at > 2 * kCookieAge) {
    unconfirmed_.pop_front();
  }
}

void Envelope::forget(const base::NodeId& id) {
  const Peer* const found = peers_.find(id);
  if (found == nullptr) return;
  counter_floor_ = std::max(counter_floor_, found->next_counter);
  drop_unconfirmed(id);
  peers_.erase(id);
}

}  // namespace gossip
