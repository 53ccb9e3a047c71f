// What is kept of an offer in its stage (machine/inbox.h): whose it is, and whether a person, or
// this node's policy, said yes. It is read again after a restart, and by `tern inbox`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "control/share_report.h"
#include "machine/inbox.h"
#include "transfer/share_wire.h"

namespace ternd {

struct StageRecord {
  base::NodeId from;
  std::string from_name;  // at most kShareUserMax
  bool accepted = false;
  transfer::ShareOffer offer;
};

[[nodiscard]] base::Bytes encode(const StageRecord& record);
[[nodiscard]] base::Result<StageRecord> decode_stage_record(base::ByteView bytes);

// The stage's name: one per node, user there, and share.
[[nodiscard]] std::string stage_key(const base::NodeId& from, const transfer::ShareOffer& offer);
// What people call an offer, in hex digits. Of all that it says: what was listed and what is
// accepted by its id are the same.
[[nodiscard]] std::string offer_id(const std::string& key, transfer::ShareOffer offer);
inline constexpr std::size_t kOfferIdShown = 8;
// Whether a yes to `known` is one to `offer`: by the same name, and no more of it.
[[nodiscard]] bool covers(const transfer::ShareOffer& known, const transfer::ShareOffer& offer);

inline constexpr std::size_t kStagesMax = 256;  // unfinished ones and offers; more are refused
inline constexpr std::size_t kStagesOfPeerMax = 64;

[[nodiscard]] std::string size_text(std::uint64_t bytes);  // "1.5 GB", decimal

// ---- blocking, off the loop
struct ShareAdmission {
  std::shared_ptr<machine::Inbox> inbox;
  bool consented = false;  // now, or before, to no less
  std::string refusal;     // empty: there is room
};
// Whether it fits, and whether anybody has said yes; keeps the offer, unless it is a dry run.
[[nodiscard]] ShareAdmission admit_share(const std::string& path, const std::string& key,
                                         StageRecord record);
struct InboxView {
  control::InboxReport report;    // without what is under way just now
  std::vector<std::string> keys;  // of its unfinished items, which come first
};
[[nodiscard]] base::Result<InboxView> view_inbox(const std::string& path);
struct StageAnswer {
  std::string key;
  control::InboxItem item;
  transfer::ShareOffer offer;
};
// Notes a person's word; a refused stage goes. kNotFound, kInvalid: none, or several, are meant.
[[nodiscard]] base::Result<StageAnswer> answer_stage(const std::string& path,
                                                     const std::string& prefix, bool accept);
[[nodiscard]] control::InboxItem item_of(const std::string& key, const StageRecord& record);

}  // namespace ternd
