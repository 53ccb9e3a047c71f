#include "transfer/share_receiver.h"

#include <algorithm>

#include "base/check.h"
#include "base/file_digest.h"

namespace transfer {
namespace {

using base::Code;
using base::fail;
using base::Status;

base::Error out_of_turn() { return fail(Code::kInvalid, "the sender said something out of turn"); }

}  // namespace

base::Result<ShareOrders> ShareReceiver::feed(std::shared_ptr<const Buffer> record) {
  ShareOrders orders;
  record_ = std::move(record);
  const Status taken = each_message(
      record_->view(), [&](const ShareMessage& message) { return take(message, orders); });
  record_.reset();
  if (!taken) return taken.error();
  return orders;
}

Status ShareReceiver::take(const ShareMessage& message, ShareOrders& orders) {
  const ShareType type = message.type;
  if (type == ShareType::kAlive) return {};
  if (phase_ == Phase::kManifest) {
    if (type == ShareType::kEntries) return take_entries(message.body);
    if (type == ShareType::kSealed) return take_sealed(orders);
    return out_of_turn();
  }
  if (phase_ == Phase::kDelivered && type == ShareType::kBye) {
    phase_ = Phase::kOver;
    // What did not arrive is gone on with when the same is shared again.
    const bool all = std::all_of(results_.begin(), results_.end(),
                                 [](const auto& one) { return one.second.arrived; });
    if (all) orders.emplace_back(ShareForget{});
    const base::Bytes kept = {static_cast<std::uint8_t>(all ? 0 : 1)};
    orders.emplace_back(ShareReply{share_message(ShareType::kOver, kept)});
    return {};
  }
  if (phase_ != Phase::kFiles) return out_of_turn();
  const bool open = at_ != kNoParent;
  if (open && type == ShareType::kData) return take_data(message.body, orders);
  if (open && type == ShareType::kHole) return take_hole(message.body, orders);
  if (open && type == ShareType::kEnd) return take_end(message.body, orders);
  if (!open && type == ShareType::kBegin) return take_begin(message.body, orders);
  if (type == ShareType::kDrop) return take_drop(message.body, orders);
  if (open || type != ShareType::kAll) return out_of_turn();
  take_all(orders);
  return {};
}

Status ShareReceiver::take_entries(base::ByteView body) {
  auto entries = decode_entries(body);
  if (!entries) return entries.error();
  for (ShareEntry& entry : *entries) {
    if (Status added = manifest_->add(std::move(entry)); !added) return added;
  }
  if (manifest_->size() > offer_.entries || manifest_->bytes() > offer_.bytes) {
    return fail(Code::kTooLarge, "more comes than was offered");
  }
  return {};
}

Status ShareReceiver::take_sealed(ShareOrders& orders) {
  if (Status sealed = manifest_->seal(); !sealed) return sealed;
  // What a person said yes to.
  if (manifest_->entry(0).name != offer_.label || manifest_->tops().size() != offer_.tops) {
    return fail(Code::kInvalid, "something else comes than was offered");
  }
  settled_.resize(manifest_->size());
  for (std::uint32_t i = 0; i < manifest_->size(); ++i) {
    const bool file = manifest_->entry(i).kind == EntryKind::kFile;
    files_left_[manifest_->top_of(i)] += file ? 1 : 0;
  }
  phase_ = Phase::kLooking;
  orders.emplace_back(SharePrepare{});
  return {};
}

ShareOrders ShareReceiver::prepared(const std::vector<ShareHave>& have,
                                    const std::map<std::uint32_t, std::string>& delivered) {
  CHECK(phase_ == Phase::kLooking);
  ShareOrders orders;
  std::vector<ShareResult> early;
  for (const auto& [top, name] : delivered) {
    results_[top] = {top, true, name};
    early.push_back(results_[top]);
  }
  for (std::size_t at = 0; at < early.size();) {
    orders.emplace_back(ShareReply{encode_results(early, at)});
  }
  for (const ShareHave& one : have) have_[one.entry] = one.bytes;
  for (std::size_t at = 0; at < have.size();) {
    orders.emplace_back(ShareReply{encode_have(have, at)});
  }
  orders.emplace_back(ShareReply{share_message(ShareType::kReady)});
  phase_ = Phase::kFiles;
  return orders;
}

Status ShareReceiver::take_begin(base::ByteView body, ShareOrders& orders) {
  auto begin = decode_begin(body);
  if (!begin) return begin.error();
  const std::uint32_t entry = begin->entry;
  const bool file = entry < manifest_->size() && manifest_->entry(entry).kind == EntryKind::kFile;
  if (!file || settled_[entry] || results_.contains(manifest_->top_of(entry))) {
    return fail(Code::kInvalid, "the sender began a file that is not to come");
  }
  const auto have = have_.find(entry);
  if (begin->offset != 0 && (have == have_.end() || have->second != begin->offset)) {
    return fail(Code::kInvalid, "the sender left out what is not here");
  }
  settled_[entry] = true;
  at_ = entry;
  offset_ = begin->offset;
  done_ += offset_;
  orders.emplace_back(ShareOpen{entry, offset_});
  return {};
}

Status ShareReceiver::take_data(base::ByteView body, ShareOrders& orders) {
  if (body.empty() || body.size() > manifest_->entry(at_).size - offset_) {
    return fail(Code::kInvalid, "a file of another size than was said");
  }
  orders.emplace_back(ShareWrite{offset_, record_, body});
  offset_ += body.size();
  done_ += body.size();
  return {};
}

Status ShareReceiver::take_hole(base::ByteView body, ShareOrders& orders) {
  auto count = decode_hole(body);
  if (!count) return count.error();
  if (*count > manifest_->entry(at_).size - offset_) {
    return fail(Code::kInvalid, "a file of another size than was said");
  }
  orders.emplace_back(ShareZeros{offset_, *count});
  offset_ += *count;
  done_ += *count;
  return {};
}

Status ShareReceiver::take_end(base::ByteView body, ShareOrders& orders) {
  auto digest = decode_end(body);
  if (!digest) return digest.error();
  if (offset_ != manifest_->entry(at_).size) {
    return fail(Code::kInvalid, "a file of another size than was said");
  }
  orders.emplace_back(ShareClose{at_, *digest});
  --files_left_[manifest_->top_of(at_)];
  at_ = kNoParent;
  return {};
}

Status ShareReceiver::take_drop(base::ByteView body, ShareOrders& orders) {
  auto drop = decode_drop(body);
  if (!drop) return drop.error();
  const std::uint32_t entry = drop->entry;
  const bool file = entry < manifest_->size() && manifest_->entry(entry).kind == EntryKind::kFile;
  const bool open = at_ != kNoParent;
  if (!file || (open ? at_ != entry : static_cast<bool>(settled_[entry]))) return out_of_turn();
  settled_[entry] = true;
  if (open) {
    orders.emplace_back(ShareDiscard{entry});
    done_ -= offset_;
    at_ = kNoParent;
  }
  const std::uint32_t top = manifest_->top_of(entry);
  results_.emplace(top, ShareResult{top, false, manifest_->path(entry) + ": " + drop->reason});
  return {};
}

void ShareReceiver::take_all(ShareOrders& orders) {
  ShareDeliver deliver;
  for (const auto& [top, left] : files_left_) {
    if (results_.contains(top)) continue;
    if (left == 0) {
      deliver.tops.push_back(top);
    } else {
      results_[top] = {top, false, manifest_->path(top) + ": not all of it came"};
    }
  }
  phase_ = Phase::kDelivering;
  orders.emplace_back(std::move(deliver));
}

ShareOrders ShareReceiver::delivered(const std::vector<ShareResult>& results) {
  CHECK(phase_ == Phase::kDelivering);
  for (const ShareResult& result : results) results_[result.entry] = result;
  std::vector<ShareResult> all;
  for (const auto& [top, result] : results_) all.push_back(result);
  ShareOrders orders;
  for (std::size_t at = 0; at < all.size();) {
    orders.emplace_back(ShareReply{encode_results(all, at)});
  }
  phase_ = Phase::kDelivered;
  return orders;
}

}  // namespace transfer
