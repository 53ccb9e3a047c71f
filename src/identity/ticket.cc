#include "identity/ticket.h"

#include <algorithm>

#include "base/wire.h"

namespace identity {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;

constexpr std::string_view kPrefix = "tern-ticket-";
constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kSecretAt = 1;
constexpr std::size_t kMeshAt = 33;
constexpr std::size_t kExpiresAt = 49;
constexpr std::size_t kCountAt = 57;
constexpr std::size_t kAddressesAt = 58;
constexpr std::size_t kCheckSize = 4;
constexpr std::uint64_t kBookVersion = 1;

std::string base32(ByteView bytes) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const std::uint8_t b : bytes) {
    bits = (bits << 8 | b) & 0xfff;
    count += 8;
    while (count >= 5) {
      count -= 5;
      out += kAlphabet[(bits >> count) & 31];
    }
  }
  if (count > 0) out += kAlphabet[(bits << (5 - count)) & 31];
  return out;
}

// Empty for a character outside the alphabet or for bits left over that are not zero: one text
// form for one ticket.
Bytes from_base32(std::string_view text) {
  Bytes out;
  std::uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return {};
    bits = (bits << 5 | static_cast<std::uint32_t>(value)) & 0xfff;
    count += 5;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<std::uint8_t>(bits >> count));
    }
  }
  if (count >= 5 || (bits & ((1U << count) - 1)) != 0) return {};
  return out;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool has_prefix(std::string_view word) {
  if (word.size() < kPrefix.size()) return false;
  return std::equal(kPrefix.begin(), kPrefix.end(), word.begin(), [](char a, char b) {
    return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
  });
}

base::Result<Ticket> decode(ByteView raw) {
  const auto mistyped = [] {
    return fail(Code::kInvalid, "the ticket is mistyped or not complete: copy it once more");
  };
  if (raw.size() < kAddressesAt + kCheckSize) return mistyped();
  const ByteView content = raw.first(raw.size() - kCheckSize);
  const auto check = base::crypto::hash128({content});
  if (!std::equal(raw.end() - kCheckSize, raw.end(), check.begin())) return mistyped();
  if (raw[0] != kVersion) {
    return fail(Code::kUnsupported, "the ticket was made by another version of tern");
  }
  const std::size_t count = raw[kCountAt];
  if (count > kTicketAddressesMax ||
      content.size() != kAddressesAt + count * base::Endpoint::kPackedSize) {
    return mistyped();
  }
  Ticket ticket;
  ticket.secret = base::Secret<32>(raw.subspan(kSecretAt, 32));
  std::copy_n(raw.begin() + kMeshAt, ticket.mesh.bytes.size(), ticket.mesh.bytes.begin());
  ticket.expires =
      base::WallTime{static_cast<std::int64_t>(base::get_le64(raw.subspan(kExpiresAt, 8)))};
  for (std::size_t i = 0; i < count; ++i) {
    auto address = base::Endpoint::unpack(
        raw.subspan(kAddressesAt + i * base::Endpoint::kPackedSize, base::Endpoint::kPackedSize));
    if (!address) return address.error();
    ticket.addresses.push_back(*address);
  }
  return ticket;
}

}  // namespace

TicketId Ticket::id() const {
  return TicketId{base::crypto::hash128({base::as_bytes("id")}, secret.view())};
}

base::Secret<32> Ticket::psk() const {
  auto hash = base::crypto::hash256({base::as_bytes("psk")}, secret.view());
  base::Secret<32> out{ByteView(hash)};
  base::wipe(hash);
  return out;
}

std::string Ticket::text() const {
  CHECK(addresses.size() <= kTicketAddressesMax);
  Bytes raw(kAddressesAt + addresses.size() * base::Endpoint::kPackedSize + kCheckSize);
  raw[0] = kVersion;
  std::copy(secret.view().begin(), secret.view().end(), raw.begin() + kSecretAt);
  std::copy(mesh.bytes.begin(), mesh.bytes.end(), raw.begin() + kMeshAt);
  base::put_le64(base::MutableByteView(raw).subspan(kExpiresAt, 8),
                 static_cast<std::uint64_t>(base::wall_seconds(expires)));
  raw[kCountAt] = static_cast<std::uint8_t>(addresses.size());
  auto at = raw.begin() + kAddressesAt;
  for (const base::Endpoint& address : addresses) {
    const auto packed = address.packed();
    at = std::copy(packed.begin(), packed.end(), at);
  }
  const auto check = base::crypto::hash128({ByteView(raw).first(raw.size() - kCheckSize)});
  std::copy_n(check.begin(), kCheckSize, at);
  std::string out = std::string(kPrefix) + base32(raw);
  base::wipe(raw);
  CHECK(out.size() <= kTicketTextSizeMax);
  return out;
}

base::Result<Ticket> Ticket::parse(std::string_view text) {
  const std::string_view word = trim(text);
  if (!has_prefix(word)) {
    return fail(Code::kInvalid, "this is no ticket: one begins with tern-ticket-");
  }
  if (word.size() > kTicketTextSizeMax) return fail(Code::kInvalid, "the ticket is too long");
  Bytes raw = from_base32(word.substr(kPrefix.size()));
  auto ticket = decode(raw);
  base::wipe(raw);
  return ticket;
}

bool TicketBook::make_room(base::WallTime now) {
  if (entries_.size() < kTicketsMax) return true;
  const auto spent = std::find_if(entries_.begin(), entries_.end(), [now](const Entry& entry) {
    return entry.redeemed || entry.expires < now;
  });
  if (spent == entries_.end()) return false;
  entries_.erase(spent);
  return true;
}

base::Status TicketBook::open(const Ticket& ticket, base::WallTime now) {
  const TicketId id = ticket.id();
  const auto same = [&id](const Entry& entry) { return entry.id == id; };
  if (std::any_of(entries_.begin(), entries_.end(), same)) {
    return fail(Code::kExists, "this ticket was made before");
  }
  if (base::wall_seconds(ticket.expires) - base::wall_seconds(now) > kTicketLife.count()) {
    return fail(Code::kInvalid, "a ticket lives 15 minutes at most");
  }
  if (!make_room(now)) {
    return fail(Code::kFull, "too many tickets are open: wait until some are used or expire");
  }
  Entry entry;
  entry.id = id;
  entry.psk = ticket.psk();
  entry.expires = ticket.expires;
  entries_.push_back(std::move(entry));
  return {};
}

base::Result<const TicketBook::Entry*> TicketBook::find(const TicketId& id,
                                                        base::WallTime now) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&id](const Entry& entry) { return entry.id == id; });
  if (found == entries_.end()) {
    return fail(Code::kNotFound, "this ticket is not known here: only its issuer redeems it");
  }
  if (found->expires < now) return fail(Code::kStale, "the ticket has expired: ask for a new one");
  return &*found;
}

base::Result<base::Secret<32>> TicketBook::psk(const TicketId& id, base::WallTime now) const {
  const auto entry = find(id, now);
  if (!entry) return entry.error();
  return (*entry)->psk.clone();
}

base::Status TicketBook::redeem(const TicketId& id, const base::crypto::SignPublic& sign,
                                const base::crypto::DhPublic& dh, base::WallTime now) {
  const auto found = find(id, now);
  if (!found) return found.error();
  Entry& entry = entries_[static_cast<std::size_t>(*found - entries_.data())];
  if (!entry.redeemed) {
    entry.redeemed = true;
    entry.sign = sign;
    entry.dh = dh;
    return {};
  }
  if (entry.sign == sign && entry.dh == dh) return {};
  return fail(Code::kRefused, "the ticket was already used: ask for a new one");
}

std::size_t TicketBook::open_count(base::WallTime now) const {
  return static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [now](const Entry& entry) { return !entry.redeemed && entry.expires >= now; }));
}

Bytes TicketBook::encode() const {
  base::Writer writer;
  writer.array(2).u64(kBookVersion).array(entries_.size());
  for (const Entry& entry : entries_) {
    writer.array(6).id(entry.id).bin(entry.psk.view()).i64(base::wall_seconds(entry.expires));
    writer.boolean(entry.redeemed).bin(entry.sign).bin(entry.dh);
  }
  return writer.take();
}

base::Result<TicketBook> TicketBook::decode(ByteView stored) {
  base::Reader reader(stored);
  reader.array_of(2);
  const std::uint64_t version = reader.u64();
  if (reader.ok() && version != kBookVersion) {
    return fail(Code::kUnsupported, "the ticket book was written by another version of tern");
  }
  TicketBook book;
  const std::size_t count = reader.array(kTicketsMax);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) {
    reader.array_of(6);
    Entry entry;
    entry.id = reader.id<TicketId>();
    auto psk = reader.fixed<32>();
    entry.psk = base::Secret<32>(ByteView(psk));
    base::wipe(psk);
    entry.expires = base::WallTime{reader.i64()};
    entry.redeemed = reader.boolean();
    entry.sign = reader.fixed<32>();
    entry.dh = reader.fixed<32>();
    book.entries_.push_back(std::move(entry));
  }
  if (const auto status = reader.finish(); !status) return status.error();
  return book;
}

}  // namespace identity
