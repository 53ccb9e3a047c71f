// Both ends of a share with files and an inbox in memory, and a pipe between them that may break.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/overloaded.h"
#include "base/rng.h"
#include "transfer/share_receiver.h"
#include "transfer/share_sender.h"
#include "transfer/wire.h"

namespace transfer {

using Files = std::map<std::string, base::Bytes>;  // by path from the top

inline ShareEntry folder_entry(std::string name, std::uint32_t parent = kNoParent) {
  ShareEntry entry;
  entry.kind = EntryKind::kFolder;
  entry.parent = parent;
  entry.name = std::move(name);
  entry.mode = 0755;
  return entry;
}
inline ShareEntry file_entry(std::string name, std::uint64_t size,
                             std::uint32_t parent = kNoParent) {
  ShareEntry entry;
  entry.parent = parent;
  entry.name = std::move(name);
  entry.size = size;
  return entry;
}
inline ShareEntry link_entry(std::string name, std::string target, std::uint32_t parent) {
  ShareEntry entry;
  entry.kind = EntryKind::kLink;
  entry.parent = parent;
  entry.name = std::move(name);
  entry.link = std::move(target);
  return entry;
}

inline std::shared_ptr<const Buffer> buffer_of(base::ByteView bytes) {
  auto buffer = std::make_shared<Buffer>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), buffer->mutable_view().begin());
  return buffer;
}

// What is on the receiver's disk: survives attempts.
struct FakeInbox {
  Files staged;
  Files arrived;
  std::map<std::uint32_t, std::string> delivered;
  bool forgotten = false;
};

// Carries out the receiver's orders, at once.
class FakeWorker {
 public:
  FakeWorker(FakeInbox& inbox, ShareReceiver& receiver) : inbox_(inbox), receiver_(receiver) {}

  void carry_out(ShareOrders orders) {
    for (ShareOrder& order : orders) std::visit([this](auto& o) { on(o); }, order);
  }
  std::deque<base::Bytes> replies;

 private:
  [[nodiscard]] std::string path(std::uint32_t entry) const {
    return receiver_.manifest()->path(entry);
  }
  void on(const SharePrepare&) {
    std::vector<ShareHave> have;
    const ShareManifest& manifest = *receiver_.manifest();
    for (std::uint32_t i = 0; i < manifest.size(); ++i) {
      const auto it = inbox_.staged.find(manifest.path(i));
      if (it == inbox_.staged.end()) continue;
      const std::uint64_t size = it->second.size();
      const bool whole = size == manifest.entry(i).size;
      const std::uint64_t use = whole ? size : size - size % base::FileDigest::kChunk;
      if (use == 0 || size > manifest.entry(i).size) continue;
      base::FileDigest digest;
      digest.add(base::ByteView(it->second).first(use));
      have.push_back({i, use, whole ? digest.finish() : digest.chain()});
      if (!whole) chains_[i] = have.back().digest;
      if (whole) wholes_[i] = have.back().digest;
    }
    carry_out(receiver_.prepared(have, inbox_.delivered));
  }
  void on(const ShareOpen& o) {
    inbox_.staged[path(o.entry)].resize(o.offset);
    at_ = o.entry;
    digest_ = chains_.contains(o.entry) && o.offset > 0
                  ? base::FileDigest(chains_[o.entry], o.offset)
                  : base::FileDigest();
    whole_ = o.offset > 0 && wholes_.contains(o.entry);
  }
  void on(const ShareWrite& o) {
    base::Bytes& file = inbox_.staged[path(at_)];
    ASSERT_EQ(file.size(), o.offset);
    file.insert(file.end(), o.bytes.begin(), o.bytes.end());
    digest_.add(o.bytes);
  }
  void on(const ShareZeros& o) {
    inbox_.staged[path(at_)].resize(o.offset + o.count);
    digest_.add_zeros(o.count);
  }
  void on(const ShareClose& o) {
    EXPECT_EQ(whole_ ? wholes_[o.entry] : digest_.finish(), o.digest);
    ++closed;
  }
  void on(const ShareDiscard& o) { inbox_.staged.erase(path(o.entry)); }
  void on(const ShareDeliver& o) {
    std::vector<ShareResult> results;
    for (const std::uint32_t top : o.tops) {
      const ShareManifest& manifest = *receiver_.manifest();
      for (std::uint32_t i = top; i < manifest.size() && manifest.top_of(i) == top; ++i) {
        if (manifest.entry(i).kind != EntryKind::kFile) continue;
        EXPECT_FALSE(inbox_.arrived.contains(path(i))) << "arrived twice: " << path(i);
        inbox_.arrived[path(i)] = inbox_.staged[path(i)];
        inbox_.staged.erase(path(i));
      }
      inbox_.delivered[top] = manifest.entry(top).name;
      results.push_back({top, true, manifest.entry(top).name});
    }
    carry_out(receiver_.delivered(results));
  }
  void on(const ShareForget&) { inbox_.forgotten = true; }
  void on(const ShareReply& o) { replies.push_back(o.record); }

  FakeInbox& inbox_;
  ShareReceiver& receiver_;
  std::map<std::uint32_t, base::crypto::Hash256> chains_;
  std::map<std::uint32_t, base::crypto::Hash256> wholes_;
  std::uint32_t at_ = 0;
  base::FileDigest digest_;
  bool whole_ = false;

 public:
  int closed = 0;
};

struct AttemptOutcome {
  bool over = false;
  std::string failed;   // the sender's word
  std::string refused;  // the receiver's
  std::map<std::uint32_t, ShareResult> results;
  std::uint64_t read_bytes = 0;  // of files, to be sent
};

struct AttemptOptions {
  std::uint64_t break_after = UINT64_MAX;  // bytes from the sender
  std::string vanishes;                    // this path cannot be opened
  std::string changes;                     // this one is not as it was at its end
};

// One connection: until it is over, broken, or one end gives up.
inline AttemptOutcome attempt(const ShareManifest& manifest, const Files& files, FakeInbox& inbox,
                              base::Rng& rng, const AttemptOptions& options = {}) {
  AttemptOutcome outcome;
  ShareSender sender(manifest);
  ShareOffer offer;
  offer.label = manifest.entry(0).name;
  offer.tops = manifest.tops().size();
  offer.entries = manifest.size();
  offer.bytes = manifest.bytes();
  ShareReceiver receiver(offer);
  FakeWorker worker(inbox, receiver);
  base::Bytes wire;
  std::uint64_t carried = 0;
  const auto answer = [&] {
    while (!worker.replies.empty()) {
      if (!sender.feed(worker.replies.front()).ok()) break;
      worker.replies.pop_front();
    }
  };
  const auto flush = [&] {
    const std::size_t count = 1 + rng.below(sender.output().size());
    carried += count;
    if (carried > options.break_after) return false;
    const base::ByteView some = sender.output().first(count);
    wire.insert(wire.end(), some.begin(), some.end());
    sender.consume(count);
    std::size_t at = 0;
    while (wire.size() - at >= kFrameHeaderSize) {
      const std::size_t size = get_le16(base::ByteView(wire).subspan(at));
      if (wire.size() - at < kFrameHeaderSize + size) break;
      EXPECT_GT(size, 0U);
      auto orders =
          receiver.feed(buffer_of(base::ByteView(wire).subspan(at + kFrameHeaderSize, size)));
      at += kFrameHeaderSize + size;
      if (!orders) {
        outcome.refused = orders.error().detail;
        return false;
      }
      worker.carry_out(std::move(*orders));
    }
    wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(at));
    return true;
  };
  bool go_on = true;
  while (go_on) {
    go_on = std::visit(base::Overloaded{
                           [&](const ShareSender::Flush&) { return flush(); },
                           [&](const ShareSender::Open& step) {
                             const std::string path = manifest.path(step.entry);
                             if (path == options.vanishes) {
                               sender.dropped("it is gone");
                               return true;
                             }
                             std::optional<base::FileDigest> prefix;
                             if (step.check) {
                               prefix.emplace();
                               prefix->add(base::ByteView(files.at(path)).first(step.check->bytes));
                             }
                             sender.opened(std::move(prefix));
                             return true;
                           },
                           [&](const ShareSender::Read& step) {
                             const base::Bytes& file = files.at(manifest.path(step.entry));
                             const base::ByteView rest = base::ByteView(file).subspan(step.offset);
                             EXPECT_EQ(rest.size(), step.left);
                             std::size_t zeros = 0;
                             while (zeros < rest.size() && rest[zeros] == 0) ++zeros;
                             if (zeros > 4096) {
                               sender.hole(zeros);
                               return true;
                             }
                             const base::MutableByteView room = sender.room();
                             const std::size_t count =
                                 1 + rng.below(std::min(room.size(), rest.size()));
                             std::copy_n(rest.begin(), count, room.begin());
                             sender.got(count);
                             outcome.read_bytes += count;
                             return true;
                           },
                           [&](const ShareSender::Close& step) {
                             if (manifest.path(step.entry) == options.changes) {
                               sender.dropped("it changed while it was sent");
                             } else {
                               sender.closed();
                             }
                             return true;
                           },
                           [&](const ShareSender::Wait&) {
                             if (worker.replies.empty()) return false;
                             answer();
                             return true;
                           },
                           [&](const ShareSender::Over&) { return false; },
                       },
                       sender.next());
  }
  outcome.over = receiver.phase() == ShareReceiver::Phase::kOver && sender.failed().empty();
  outcome.failed = sender.failed();
  outcome.results = sender.results();
  return outcome;
}

}  // namespace transfer
