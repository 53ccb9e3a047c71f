// The receiving end of a share, behind the offer's acceptance: a pure machine that checks what a
// sender says, who may be hostile, and orders the work at the inbox (machine/inbox.h).
//
//   kManifest --sealed--> kLooking --prepared()--> kFiles --all--> kDelivering --delivered()-->
//   kDelivered --bye--> kOver;     any mistake of the sender's --> an error, and nothing more is
//   legal
//
// Orders are carried out one after another, in their order; feed() may go on meanwhile. What comes
// back: prepared() after Prepare, delivered() after Deliver. Everything else that fails at the
// inbox (a full disk) ends the share: the host says so with encode_stop().
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "transfer/buffer.h"
#include "transfer/share_wire.h"

namespace transfer {

// ---- orders
struct SharePrepare {};  // of manifest(): make the folders, see what an earlier attempt left
struct ShareOpen {
  std::uint32_t entry = 0;
  std::uint64_t offset = 0;  // 0, or what was there
};
struct ShareWrite {  // to the file that is open
  std::uint64_t offset = 0;
  std::shared_ptr<const Buffer> record;  // that `bytes` lie in
  base::ByteView bytes;
};
struct ShareZeros {
  std::uint64_t offset = 0;
  std::uint64_t count = 0;
};
struct ShareClose {
  std::uint32_t entry = 0;
  base::crypto::Hash256 digest{};  // what it must have
};
struct ShareDiscard {  // what came of this file
  std::uint32_t entry = 0;
};
struct ShareDeliver {
  std::vector<std::uint32_t> tops;  // whole, if all their files had their digests
};
struct ShareForget {};  // the results were heard, and all arrived: nothing need be kept
struct ShareReply {
  base::Bytes record;
};
using ShareOrder = std::variant<SharePrepare, ShareOpen, ShareWrite, ShareZeros, ShareClose,
                                ShareDiscard, ShareDeliver, ShareForget, ShareReply>;
using ShareOrders = std::vector<ShareOrder>;

class ShareReceiver {
 public:
  enum class Phase { kManifest, kLooking, kFiles, kDelivering, kDelivered, kOver };

  explicit ShareReceiver(const ShareOffer& offer) : offer_(offer) {}

  // One record. kInvalid, kTooLarge: the sender is at fault; the share is to be ended.
  [[nodiscard]] base::Result<ShareOrders> feed(std::shared_ptr<const Buffer> record);
  // What is there of files, and tops that an earlier attempt delivered, by their final names.
  [[nodiscard]] ShareOrders prepared(const std::vector<ShareHave>& have,
                                     const std::map<std::uint32_t, std::string>& delivered);
  // Of each top of ShareDeliver.
  [[nodiscard]] ShareOrders delivered(const std::vector<ShareResult>& results);

  [[nodiscard]] Phase phase() const { return phase_; }
  // Shared with work off the loop; unchanged from SharePrepare on.
  [[nodiscard]] const std::shared_ptr<ShareManifest>& manifest() const { return manifest_; }
  [[nodiscard]] std::uint64_t bytes_done() const { return done_; }
  [[nodiscard]] const std::map<std::uint32_t, ShareResult>& results() const { return results_; }

 private:
  [[nodiscard]] base::Status take(const ShareMessage& message, ShareOrders& orders);
  [[nodiscard]] base::Status take_entries(base::ByteView body);
  [[nodiscard]] base::Status take_sealed(ShareOrders& orders);
  [[nodiscard]] base::Status take_begin(base::ByteView body, ShareOrders& orders);
  [[nodiscard]] base::Status take_data(base::ByteView body, ShareOrders& orders);
  [[nodiscard]] base::Status take_hole(base::ByteView body, ShareOrders& orders);
  [[nodiscard]] base::Status take_end(base::ByteView body, ShareOrders& orders);
  [[nodiscard]] base::Status take_drop(base::ByteView body, ShareOrders& orders);
  void take_all(ShareOrders& orders);

  ShareOffer offer_;
  Phase phase_ = Phase::kManifest;
  std::shared_ptr<ShareManifest> manifest_ = std::make_shared<ShareManifest>();
  std::shared_ptr<const Buffer> record_;  // that is being taken
  std::map<std::uint32_t, std::uint64_t> have_;
  std::vector<bool> settled_;                          // by entry: begun or dropped
  std::map<std::uint32_t, std::uint32_t> files_left_;  // by top
  std::map<std::uint32_t, ShareResult> results_;       // known before they are delivered, and then
  std::uint32_t at_ = kNoParent;                       // the file that is open
  std::uint64_t offset_ = 0;
  std::uint64_t done_ = 0;
};

}  // namespace transfer
