// Both ends of a share, fed with records of u16 size and bytes; the first byte picks the end. What
// the receiver orders stays within the entries and sizes of its manifest.
#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/overloaded.h"
#include "transfer/share_receiver.h"
#include "transfer/share_sender.h"

using base::ByteView;
using namespace transfer;

namespace {

struct Records {
  ByteView rest;
  std::shared_ptr<Buffer> next() {
    if (rest.size() < 2) return nullptr;
    const std::size_t wanted = rest[0] + 256U * rest[1];
    rest = rest.subspan(2);
    auto record = std::make_shared<Buffer>(std::min(wanted, rest.size()));
    std::copy_n(rest.begin(), record->size(), record->mutable_view().begin());
    rest = rest.subspan(record->size());
    return record;
  }
};

struct Work {
  ShareReceiver& receiver;
  std::uint32_t open = kNoParent;

  void carry_out(const ShareOrders& orders) {
    const ShareManifest& manifest = *receiver.manifest();
    bool looks = false;
    bool delivers = false;
    for (const ShareOrder& order : orders) {
      std::visit(
          base::Overloaded{
              [&](const SharePrepare&) { looks = true; },
              [&](const ShareOpen& o) {
                CHECK(manifest.entry(o.entry).kind == EntryKind::kFile);
                open = o.entry;
              },
              [&](const ShareWrite& o) {
                CHECK(o.offset + o.bytes.size() <= manifest.entry(open).size);
              },
              [&](const ShareZeros& o) { CHECK(o.offset + o.count <= manifest.entry(open).size); },
              [&](const ShareClose& o) { CHECK(o.entry == open); },
              [&](const ShareDeliver&) { delivers = true; },
              [](const auto&) {},
          },
          order);
    }
    if (looks) (void)receiver.prepared({}, {});
    if (delivers) (void)receiver.delivered({});
  }
};

// One that what comes keeps to, as far as its names can be read.
ShareOffer offer_of(Records records) {
  ShareOffer offer;
  while (auto record = records.next()) {
    (void)each_message(record->view(), [&](const ShareMessage& message) -> base::Status {
      if (message.type != ShareType::kEntries) return {};
      auto entries = decode_entries(message.body);
      if (!entries) return entries.error();
      for (const ShareEntry& entry : *entries) {
        if (entry.parent != kNoParent) continue;
        if (offer.tops++ == 0) offer.label = entry.name;
      }
      return {};
    });
  }
  return offer;
}

void feed_receiver(Records records) {
  ShareOffer offer = offer_of(records);
  offer.entries = 64;
  offer.bytes = 1 << 20;
  ShareReceiver receiver(offer);
  Work work{receiver};
  while (auto record = records.next()) {
    auto orders = receiver.feed(record);
    if (!orders) return;
    work.carry_out(*orders);
  }
}

void feed_sender(Records records) {
  ShareManifest manifest;
  ShareEntry entry;
  entry.name = "f";
  entry.size = 3 << 20;
  CHECK(manifest.add(entry).ok());
  CHECK(manifest.seal().ok());
  ShareSender sender(std::move(manifest));
  while (auto record = records.next()) {
    for (int steps = 0; steps < 8; ++steps) {
      const ShareSender::Step step = sender.next();
      if (std::holds_alternative<ShareSender::Flush>(step)) sender.consume(sender.output().size());
      if (std::holds_alternative<ShareSender::Open>(step)) sender.opened();
      if (std::holds_alternative<ShareSender::Read>(step)) {
        sender.hole(std::get<ShareSender::Read>(step).left);
      }
      if (std::holds_alternative<ShareSender::Close>(step)) sender.closed();
    }
    if (!sender.feed(record->view())) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = base::crypto::init().ok();
  CHECK(ready);
  if (size == 0) return 0;
  const ByteView rest(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      feed_receiver({rest});
      break;
    case 1:
      feed_sender({rest});
      break;
    case 2:
      if (auto offer = decode_offer(rest)) {
        auto again = decode_offer(ByteView(encode(*offer)).subspan(kShareHeaderSize));
        CHECK(again.ok());
        CHECK(*again == *offer);
      }
      break;
    default:
      (void)decode_answer(rest);
      break;
  }
  return 0;
}
