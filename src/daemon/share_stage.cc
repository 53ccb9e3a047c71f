#include "daemon/share_stage.h"

#include <array>

#include "base/crypto.h"
#include "base/wire.h"

namespace ternd {
namespace {

using base::Code;
using base::fail;
using base::Result;

constexpr std::uint64_t kVersion = 1;
constexpr std::uint64_t kFilesReserve = 64;  // inodes

ShareAdmission refusal(std::string why) { return {nullptr, false, std::move(why)}; }

}  // namespace

std::string size_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  std::uint64_t tenths = bytes * 10;
  while (tenths >= 10000 && unit + 1 < std::size(kUnits)) {
    tenths /= 1000;
    ++unit;
  }
  const std::string part = unit == 0 ? "" : "." + std::to_string(tenths % 10);
  return std::to_string(tenths / 10) + part + " " + kUnits[unit];
}

base::Bytes encode(const StageRecord& record) {
  base::Writer w;
  w.array(5).u64(kVersion).id(record.from);
  w.text(std::string_view(record.from_name).substr(0, transfer::kShareUserMax));
  w.boolean(record.accepted);
  w.bin(base::ByteView(transfer::encode(record.offer)).subspan(transfer::kShareHeaderSize));
  return w.take();
}

Result<StageRecord> decode_stage_record(base::ByteView bytes) {
  base::Reader r(bytes);
  StageRecord record;
  r.array_of(5);
  if (r.u64() != kVersion) r.reject("an unknown version of a kept offer");
  record.from = r.id<base::NodeId>();
  record.from_name = r.text(transfer::kShareUserMax);
  record.accepted = r.boolean();
  const base::ByteView body = r.bin(machine::kOfferRecordMax);
  if (base::Status status = r.finish(); !status) return status.error();
  auto offer = transfer::decode_offer(body);
  if (!offer) return offer.error();
  record.offer = std::move(*offer);
  return record;
}

std::string stage_key(const base::NodeId& from, const transfer::ShareOffer& offer) {
  std::array<std::uint8_t, 4> uid{};
  base::put_le32(uid, offer.uid);
  return base::to_hex(base::crypto::hash128({from.bytes, uid, offer.id.bytes}));
}

std::string offer_id(const std::string& key, transfer::ShareOffer offer) {
  offer.dry_run = false;
  const base::Bytes all = transfer::encode(offer);
  return base::to_hex(base::crypto::hash128({base::as_bytes(key), all})).substr(0, kOfferIdShown);
}

bool covers(const transfer::ShareOffer& known, const transfer::ShareOffer& offer) {
  return offer.label == known.label && offer.tops == known.tops && offer.entries <= known.entries &&
         offer.bytes <= known.bytes;
}

control::InboxItem item_of(const std::string& key, const StageRecord& record) {
  control::InboxItem item;
  item.id = offer_id(key, record.offer);
  item.state = record.accepted ? "incomplete" : "waiting";
  item.name = record.offer.label;
  item.from = record.from_name;
  item.user = record.offer.user;
  item.items = record.offer.tops;
  item.files = record.offer.entries;
  item.bytes = record.offer.bytes;
  return item;
}

ShareAdmission admit_share(const std::string& path, const std::string& key, StageRecord record) {
  const transfer::ShareOffer& offer = record.offer;
  auto inbox = machine::Inbox::open(path);
  if (!inbox) return refusal("its inbox cannot be used: " + inbox.error().detail);
  auto room = (*inbox)->room();
  auto stages = (*inbox)->stages();
  if (!room || !stages) return refusal("its inbox cannot be used");
  const std::uint64_t free = room->bytes + (*inbox)->staged_bytes(key);
  if (offer.disk_bytes > free) {
    return refusal(size_text(offer.disk_bytes) + " are needed and " + size_text(free) +
                   " are free in its inbox");
  }
  if (room->files < offer.entries + kFilesReserve) {
    return refusal("its inbox has no room for so many files");
  }
  std::size_t of_peer = 0;
  bool is_new = true;
  for (const machine::InboxStage& stage : *stages) {
    auto known = decode_stage_record(stage.offer);
    if (known && known->from == record.from) ++of_peer;
    if (stage.key != key) continue;
    record.accepted = record.accepted || (known && known->accepted && covers(known->offer, offer));
    is_new = false;
  }
  if (is_new && (of_peer >= kStagesOfPeerMax || stages->size() >= kStagesMax)) {
    return refusal("too many shares are unfinished there");
  }
  if (!offer.dry_run) {
    const base::Status kept = (*inbox)->keep_stage(key, encode(record));
    if (!kept) return refusal("its inbox cannot be used: " + kept.error().detail);
  }
  return {*inbox, record.accepted, {}};
}

Result<InboxView> view_inbox(const std::string& path) {
  auto inbox = machine::Inbox::open(path);
  if (!inbox) return inbox.error();
  InboxView view;
  view.report.path = path;
  auto room = (*inbox)->room();
  if (!room) return room.error();
  view.report.free_bytes = room->bytes;
  auto stages = (*inbox)->stages();
  if (!stages) return stages.error();
  for (const machine::InboxStage& stage : *stages) {
    auto record = decode_stage_record(stage.offer);
    if (!record) continue;
    control::InboxItem item = item_of(stage.key, *record);
    item.at = stage.tried_at;
    item.received_bytes = (*inbox)->staged_bytes(stage.key);
    if (record->accepted && item.received_bytes == 0) item.state = "accepted";
    view.report.items.push_back(std::move(item));
    view.keys.push_back(stage.key);
  }
  auto arrived = (*inbox)->list();
  if (!arrived) return arrived.error();
  for (const machine::InboxItem& one : *arrived) {
    control::InboxItem item;
    item.state = "arrived";
    item.name = one.name;
    item.folder = one.folder;
    item.bytes = item.received_bytes = one.size;
    item.at = one.changed_at;
    view.report.items.push_back(std::move(item));
  }
  return view;
}

Result<StageAnswer> answer_stage(const std::string& path, const std::string& prefix, bool accept) {
  auto inbox = machine::Inbox::open(path);
  if (!inbox) return inbox.error();
  auto stages = (*inbox)->stages();
  if (!stages) return stages.error();
  std::vector<StageAnswer> found;
  StageRecord record;
  for (const machine::InboxStage& stage : *stages) {
    auto decoded = decode_stage_record(stage.offer);
    if (!decoded || !offer_id(stage.key, decoded->offer).starts_with(prefix)) continue;
    record = std::move(*decoded);
    found.push_back({stage.key, item_of(stage.key, record), record.offer});
  }
  if (found.empty()) return fail(Code::kNotFound, "no offer has the id " + prefix);
  if (found.size() > 1) return fail(Code::kInvalid, "several offers begin with " + prefix);
  StageAnswer& answer = found.front();
  answer.item.state = accept ? "accepted" : "refused";
  record.accepted = accept;
  const base::Status done = accept ? (*inbox)->keep_stage(answer.key, encode(record))
                                   : (*inbox)->remove_stage(answer.key);
  if (!done) return done.error();
  return answer;
}

}  // namespace ternd
