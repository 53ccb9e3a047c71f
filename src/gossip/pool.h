// What many views have alike, kept once: digests by their bytes, certificates by their chains.
//
// A daemon has one node and one pool; a host of many nodes hands the same one to all of them. It
// owns nothing: what the last view or roster drops is gone. It spares memory and decoding, never a
// check: who takes something has verified it himself. Not for nodes on different threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "gossip/digest.h"
#include "identity/certificate.h"

namespace gossip {

using ContentHash = std::array<std::uint8_t, 16>;  // BLAKE2b-128 of the bytes

struct HashOfContent {  // it is one already
  [[nodiscard]] std::size_t operator()(const ContentHash& hash) const {
    return static_cast<std::size_t>(base::get_le64(hash));
  }
};

template <typename T>
class Shared {
 public:
  // Null: nobody has it (any more).
  [[nodiscard]] std::shared_ptr<const T> find(const ContentHash& hash) const {
    const auto found = kept_.find(hash);
    return found == kept_.end() ? nullptr : found->second.lock();
  }
  [[nodiscard]] std::shared_ptr<const T> add(const ContentHash& hash, T content) {
    if (kept_.size() >= sweep_at_) {
      std::erase_if(kept_, [](const auto& item) { return item.second.expired(); });
      sweep_at_ = std::max(kSweepMin, 2 * kept_.size());
    }
    // Not std::make_shared: its one block would stay as long as it is listed here.
    std::shared_ptr<const T> out(new T(std::move(content)));
    kept_[hash] = out;
    return out;
  }

  // How many are there now; counts in a copy, so not for every step.
  [[nodiscard]] std::size_t held() const {
    auto kept = kept_;
    std::erase_if(kept, [](const auto& item) { return item.second.expired(); });
    return kept.size();
  }

 private:
  static constexpr std::size_t kSweepMin = 64;
  std::unordered_map<ContentHash, std::weak_ptr<const T>, HashOfContent>
      kept_;  // its order shows nowhere
  std::size_t sweep_at_ = kSweepMin;
};

struct Pool {
  Shared<Digest> digests;
  Shared<identity::Certificate> certificates;
};

}  // namespace gossip
