// Identities and counters as strong types: no two kinds compare or convert by accident.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "base/bytes.h"

namespace base {

// 128 bits: hashes of keys or records, or random. Ordered by bytes, printed as hex.
template <typename Tag>
struct Id {
  static constexpr std::size_t kSize = 16;
  std::array<std::uint8_t, kSize> bytes{};

  // By bytes, two words at a time: they are compared more than anything else is.
  friend bool operator==(const Id& a, const Id& b) {
    return a.word(0) == b.word(0) && a.word(8) == b.word(8);
  }
  friend std::strong_ordering operator<=>(const Id& a, const Id& b) {
    const std::uint64_t first = a.word(0);
    const std::uint64_t other = b.word(0);
    return first != other ? first <=> other : a.word(8) <=> b.word(8);
  }
  [[nodiscard]] std::uint64_t leading() const { return word(0); }  // the first half, big-endian
  [[nodiscard]] bool is_zero() const { return *this == Id{}; }
  [[nodiscard]] std::string hex() const { return to_hex(bytes); }
  // The first four bytes: enough for a person to tell a handful apart.
  [[nodiscard]] std::string brief() const { return to_hex(ByteView(bytes).first(4)); }
  [[nodiscard]] static Result<Id> from(ByteView view) {
    if (view.size() != kSize) return fail(Code::kInvalid, "an id has 16 bytes");
    Id id;
    std::copy(view.begin(), view.end(), id.bytes.begin());
    return id;
  }
  [[nodiscard]] static Result<Id> from_hex_text(std::string_view text) {
    auto raw = from_hex(text);
    if (!raw) return raw.error();
    return from(*raw);
  }

 private:
  [[nodiscard]] std::uint64_t word(std::size_t at) const {  // big-endian
    std::uint64_t out = 0;
    std::memcpy(&out, bytes.data() + at, sizeof out);
    if constexpr (std::endian::native == std::endian::little) out = __builtin_bswap64(out);
    return out;
  }
};

using NodeId = Id<struct NodeTag>;          // BLAKE2b-128 of the node's Ed25519 public key
using MeshId = Id<struct MeshTag>;          // BLAKE2b-128 of the mesh root's public key
using StoreId = Id<struct StoreTag>;        // random, one per state folder
using TriadId = Id<struct TriadTag>;        // BLAKE2b-128 of the form record
using ProposalId = Id<struct ProposalTag>;  // random
using JobId = Id<struct JobTag>;            // random
using TicketId = Id<struct TicketTag>;      // BLAKE2b-128 keyed with a ticket's secret
using BootId = Id<struct BootTag>;          // /proc/sys/kernel/random/boot_id

template <typename Tag>
struct Counter {
  std::uint64_t value = 0;
  friend auto operator<=>(const Counter&, const Counter&) = default;
  [[nodiscard]] Counter next() const { return Counter{value + 1}; }
};

using Term = Counter<struct TermTag>;                // Raft term
using LogIndex = Counter<struct LogIndexTag>;        // Raft log position; the form record is 1
using Epoch = Counter<struct EpochTag>;              // ownership epoch of a job
using Incarnation = Counter<struct IncarnationTag>;  // starts of a node, counted by its store
using Sequence = Counter<struct SequenceTag>;        // digests of one incarnation

}  // namespace base

template <typename Tag>
struct std::hash<base::Id<Tag>> {
  std::size_t operator()(const base::Id<Tag>& id) const noexcept {
    return static_cast<std::size_t>(base::get_le64(id.bytes));
  }
};
