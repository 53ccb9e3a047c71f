// Files from one node to another: what the two ends of a share say. Since 1.
//
// A connection of purpose "share" (node/greeting.h). Each record of it holds one or more whole
// messages: type 1, size 2, body; integers are little-endian, [...] is MessagePack. Small files go
// many to a record, and nothing waits for an answer while files flow.
//
//   sender -> receiver
//    1 offer     [version = 1, share id 16, uid, user <= 64, label <= 255, tops, entries, bytes,
//                bytes on disk, dry run]       first, alone in its record, from the daemon itself
//    2 entries   [[kind, parent, name, mode, seconds, nanoseconds, size, link]...]   parent 0: top
//    3 sealed    -                             the manifest is whole
//    4 begin     entry 4, offset 8             a file, from there on: 0, or all that was had
//    5 data      bytes 1..
//    6 hole      count 8                       zeros that are not stored
//    7 end       digest 32                     of the whole file (base/file_digest.h)
//    8 drop      entry 4, reason <= 512        it cannot be sent whole: begun, or not yet
//    9 all       -                             every file was ended or dropped
//   10 bye       -                             the results have arrived
//   receiver -> sender
//   32 answer    [verdict, reason <= 512, offer <= 32]              to the offer; wait: later again
//   33 have      [[entry, bytes, digest 32]...]   from an earlier attempt: whole files, and whole
//                                                 chunks of others with their chain
//   34 ready     -                                send
//   35 results   [[entry, arrived, text <= 512]...]   of tops: the name that each got, or why not
//   36 alive     -                                still at work; either way, any time
//   37 stop      [reason <= 512]                  the receiver gives up
//   38 over      kept 1                           0: nothing is kept of this share any more
//
// Names and targets are bytes; texts of the peer's are for people and are escaped where shown.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/ids.h"
#include "base/result.h"
#include "transfer/share_manifest.h"

namespace transfer {

using ShareId = base::Id<struct ShareTag>;  // of one command: who, which paths

enum class ShareType : std::uint8_t {
  kOffer = 1,
  kEntries,
  kSealed,
  kBegin,
  kData,
  kHole,
  kEnd,
  kDrop,
  kAll,
  kBye,
  kAnswer = 32,
  kHave,
  kReady,
  kResults,
  kAlive,
  kStop,
  kOver,
};

struct ShareOffer {
  ShareId id;
  std::uint32_t uid = 0;  // who shares, as the sender's kernel says
  std::string user;       // the name of that uid there
  std::string label;      // the first item's name
  std::uint64_t tops = 0;
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t disk_bytes = 0;  // without holes
  bool dry_run = false;
  friend bool operator==(const ShareOffer&, const ShareOffer&) = default;
};

struct ShareAnswer {
  enum class Verdict : std::uint8_t { kAccept = 0, kWait = 1, kRefuse = 2 };
  Verdict verdict = Verdict::kRefuse;
  std::string reason;
  std::string offer;  // what `tern inbox accept` wants
  friend bool operator==(const ShareAnswer&, const ShareAnswer&) = default;
};

struct ShareHave {
  std::uint32_t entry = 0;
  std::uint64_t bytes = 0;
  base::crypto::Hash256 digest{};
  friend bool operator==(const ShareHave&, const ShareHave&) = default;
};

struct ShareResult {
  std::uint32_t entry = 0;
  bool arrived = false;
  std::string text;
  friend bool operator==(const ShareResult&, const ShareResult&) = default;
};

struct ShareBegin {
  std::uint32_t entry = 0;
  std::uint64_t offset = 0;
};
struct ShareDrop {
  std::uint32_t entry = 0;
  std::string reason;
};

struct ShareMessage {
  ShareType type{};
  base::ByteView body;  // within the record
};

// Calls `take` with each message of a record until it fails. kInvalid: not whole messages.
[[nodiscard]] base::Status each_message(
    base::ByteView record, const std::function<base::Status(const ShareMessage&)>& take);

// ---- one message with its header
void put_header(base::MutableByteView at, ShareType type, std::size_t size);
[[nodiscard]] base::Bytes share_message(ShareType type, base::ByteView body = {});
[[nodiscard]] base::Bytes encode(const ShareOffer& offer);
[[nodiscard]] base::Bytes encode(const ShareAnswer& answer);
[[nodiscard]] base::Bytes encode_stop(std::string_view reason);
[[nodiscard]] base::Bytes encode(const ShareBegin& begin);
[[nodiscard]] base::Bytes encode(const ShareDrop& drop);
[[nodiscard]] base::Bytes encode_hole(std::uint64_t count);
// As many as fit into one message, from `at` on; `at` is moved behind them. At least one is left.
[[nodiscard]] base::Bytes encode_entries(const ShareManifest& manifest, std::uint32_t& at);
[[nodiscard]] base::Bytes encode_have(const std::vector<ShareHave>& all, std::size_t& at);
[[nodiscard]] base::Bytes encode_results(const std::vector<ShareResult>& all, std::size_t& at);

// ---- bodies. kInvalid, kTruncated, kTooLarge.
[[nodiscard]] base::Result<ShareOffer> decode_offer(base::ByteView body);
[[nodiscard]] base::Result<ShareAnswer> decode_answer(base::ByteView body);
[[nodiscard]] base::Result<std::string> decode_stop(base::ByteView body);
[[nodiscard]] base::Result<std::vector<ShareEntry>> decode_entries(base::ByteView body);
[[nodiscard]] base::Result<std::vector<ShareHave>> decode_have(base::ByteView body);
[[nodiscard]] base::Result<std::vector<ShareResult>> decode_results(base::ByteView body);
[[nodiscard]] base::Result<ShareBegin> decode_begin(base::ByteView body);
[[nodiscard]] base::Result<ShareDrop> decode_drop(base::ByteView body);
[[nodiscard]] base::Result<std::uint64_t> decode_hole(base::ByteView body);
[[nodiscard]] base::Result<base::crypto::Hash256> decode_end(base::ByteView body);

}  // namespace transfer
