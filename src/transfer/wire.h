// What this module puts on the wire. Integers are little-endian.
//
// Preface, in the clear, from the initiator; its exact bytes are the Noise prologue. Since 1.
//   magic    8   "tern/1" 0 0
//   mesh    16   hash of the mesh root's key; a foreign mesh is refused before any key agreement
//   suite    1   1 ChaChaPoly, 2 AESGCM
//   pattern  1   1 XX, 2 XXpsk3
//   lowest   2   protocol versions that the initiator speaks, lowest >= 1
//   highest  2
//   ticket  16   XXpsk3 only: names the ticket, reveals nothing of its secret
// Then message 1, and from the responder one clear byte:
//   0 goes on (message 2 follows), 1 suite refused, 2 no version in common (the last two end it)
// Handshake messages: u16 length, at most 4096, and the Noise message. Payloads:
//   message 1  empty
//   message 2  u16 chosen version, the responder's application payload (at most 3584)
//   message 3  the initiator's application payload (at most 3584)
// The clear byte is not authenticated: who changes it on the way can end a connection, which is in
// any case in their power, or have ChaChaPoly used instead of AESGCM, which costs no security.
//
// Record: u16 length of what follows | sealed(type, data) | 16-byte tag; the length is the
// additional data; at most 64 KiB altogether. Since 1.
//   type 1  data: 1..65,517 bytes, delivered as one piece
//   type 2  end of stream: no data; nothing follows
//
// Files: share_wire.h.
//
// Control message over data records: u32 length (1..65,536), bytes. Records do not frame them.
//
// Image stream, one per record of type data. Since 1.
//   1 hello     version 1 (=1), kind 1, triad 16, job 16, epoch 8     first, once
//   2 start     index 2, name 1..64 of [a-z0-9._-]                    indexes count up from 0
//   3 data      index 2, bytes 1..
//   4 end       index 2, size 8                                       size of the whole image
//   5 output    stream 1 (1|2), offset 8, bytes 1..                   the job's undelivered output
//   6 metadata  bytes 1..61,440                                       at most once
//   7 seal      images 4, bytes 8, hash 32                            last, once; all images ended
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/ids.h"
#include "base/result.h"

namespace transfer {

struct VersionRange {
  std::uint16_t lowest = 1;
  std::uint16_t highest = 1;
  friend bool operator==(const VersionRange&, const VersionRange&) = default;
};

enum class Suite : std::uint8_t { kChaChaPoly = 1, kAesGcm = 2 };

struct Preface {
  base::MeshId mesh;
  std::uint8_t suite = 1;  // as sent: a suite that we do not know is answered, not an error
  VersionRange versions;
  bool by_ticket = false;
  base::TicketId ticket_id;
};

inline constexpr std::size_t kPrefaceSize = 30;
inline constexpr std::size_t kPrefaceTicketSize = kPrefaceSize + 16;

[[nodiscard]] base::Bytes encode_preface(const Preface& preface);
// Looks at the first kPrefaceSize bytes. kInvalid: not ours, or an unknown pattern. Otherwise the
// size of the whole preface.
[[nodiscard]] base::Result<std::size_t> preface_size(base::ByteView first);
// Of exactly that size. kInvalid: also when lowest is 0 or above highest.
[[nodiscard]] base::Result<Preface> decode_preface(base::ByteView whole);

enum class Reply : std::uint8_t { kGoOn = 0, kSuiteRefused = 1, kNoVersion = 2 };
enum class RecordType : std::uint8_t { kData = 1, kEnd = 2 };

void put_le16(base::MutableByteView at, std::uint16_t value);
[[nodiscard]] std::uint16_t get_le16(base::ByteView at);

}  // namespace transfer
