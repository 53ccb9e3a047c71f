// How much of everything identity keeps and takes. Sizes in bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace identity {

inline constexpr std::size_t kNameSizeMax = 63;
// Body of the longest name (about 200) and a signature; room for fields of later versions.
inline constexpr std::size_t kSignedSizeMax = 296;
inline constexpr std::size_t kChainLengthMax = 2;  // inviter -> member below the root
inline constexpr std::size_t kChainSizeMax = 640;
static_assert(kChainLengthMax * (kSignedSizeMax + 3) + 24 <= kChainSizeMax);

// A clock that is late by up to a day (a board without a battery, a wrong time zone) still takes a
// fresh certificate. The end of validity has no such grace: members renew long before it.
inline constexpr std::chrono::seconds kNotBeforeGrace{24 * 3600};

inline constexpr std::size_t kTicketAddressesMax = 8;
inline constexpr std::size_t kTicketTextSizeMax = 512;
inline constexpr std::chrono::seconds kTicketLife{15 * 60};
// Tickets known to an issuer. When full, the oldest that is redeemed or expired goes; when all are
// open, no more are made.
inline constexpr std::size_t kTicketsMax = 64;

inline constexpr std::size_t kJoinMessageSizeMax = 2048;
inline constexpr std::size_t kReasonSizeMax = 200;
// For people only. A mesh is named after its first node, which may use up a name's whole length.
inline constexpr std::size_t kMeshNameSizeMax = 80;

// Members known to a node, with their certificates: 2.6 MB at worst. When full, new members are
// refused until somebody is forgotten (gossip forgets those that left its sample).
inline constexpr std::size_t kRosterMax = 4096;

}  // namespace identity
