// A map from ids that is small and read far more often than changed: a sorted array of ids beside
// the values in any order, so that a lookup touches two or three cache lines where a tree's node
// after node would miss. (std::flat_map of C++23 moves values on each insertion.)
//
// Ids are hashes, so a place is guessed from the id's first bits and found by galloping from there:
// O(1) for ids as they come, O(log n) if somebody chose them. Order of iteration: by id. What
// find() returns is valid until the next try_emplace() or erase of anything. What is erased down to
// a quarter gives memory back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace base {

// The first of `count` items, sorted by id, that is not below `id`; `is_below(i)`: the i-th is.
template <typename IdType, typename IsBelow>
[[nodiscard]] std::size_t lower_place(const IdType& id, std::size_t count,
                                      const IsBelow& is_below) {
  std::size_t low = 0;
  std::size_t high = count;
  std::size_t at = static_cast<std::size_t>((id.leading() >> 32) * count >> 32);
  for (std::size_t stride = 1; low < high; stride *= 2) {  // until both sides are near
    if (is_below(at)) {
      low = at + 1;
      if (high - low <= stride) break;
      at += stride;
    } else {
      high = at;
      if (high - low <= stride) break;
      at -= stride;
    }
  }
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (is_below(middle)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

template <typename IdType, typename T>
class IdMap {
 public:
  [[nodiscard]] std::size_t size() const { return ids_.size(); }
  [[nodiscard]] bool empty() const { return ids_.empty(); }
  [[nodiscard]] std::size_t capacity() const { return values_.capacity(); }
  [[nodiscard]] const std::vector<IdType>& ids() const { return ids_; }         // sorted
  [[nodiscard]] T& value(std::size_t place) { return values_[slots_[place]]; }  // of ids()[place]
  [[nodiscard]] const T& value(std::size_t place) const { return values_[slots_[place]]; }

  [[nodiscard]] T* find(const IdType& id) {
    const std::size_t at = lower_bound(id);
    return is_at(at, id) ? &value(at) : nullptr;
  }
  [[nodiscard]] const T* find(const IdType& id) const {
    const std::size_t at = lower_bound(id);
    return is_at(at, id) ? &value(at) : nullptr;
  }
  [[nodiscard]] bool contains(const IdType& id) const { return find(id) != nullptr; }
  [[nodiscard]] std::size_t lower_bound(const IdType& id) const {
    return lower_place(id, ids_.size(), [&](std::size_t i) { return ids_[i] < id; });
  }

  std::pair<T*, bool> try_emplace(const IdType& id) {
    const std::size_t at = lower_bound(id);
    if (is_at(at, id)) return {&value(at), false};
    grow(ids_);
    grow(slots_);
    grow(values_);
    ids_.insert(ids_.begin() + static_cast<std::ptrdiff_t>(at), id);
    slots_.insert(slots_.begin() + static_cast<std::ptrdiff_t>(at),
                  static_cast<std::uint32_t>(values_.size()));
    return {&values_.emplace_back(), true};
  }
  T& operator[](const IdType& id) { return *try_emplace(id).first; }

  bool erase(const IdType& id) {
    const std::size_t at = lower_bound(id);
    if (!is_at(at, id)) return false;
    erase_place(at);
    return true;
  }
  void erase_place(std::size_t place) {
    const std::uint32_t slot = slots_[place];
    const auto last = static_cast<std::uint32_t>(values_.size() - 1);
    if (slot != last) {
      values_[slot] = std::move(values_.back());
      *std::find(slots_.begin(), slots_.end(), last) = slot;
    }
    values_.pop_back();
    ids_.erase(ids_.begin() + static_cast<std::ptrdiff_t>(place));
    slots_.erase(slots_.begin() + static_cast<std::ptrdiff_t>(place));
    if (values_.capacity() < kShrunkMin || values_.size() >= values_.capacity() / 4) return;
    ids_.shrink_to_fit();
    slots_.shrink_to_fit();
    values_.shrink_to_fit();
  }
  template <typename Condition>  // (id, value)
  void erase_if(const Condition& condition) {
    for (std::size_t i = ids_.size(); i-- > 0;) {
      if (condition(std::as_const(ids_[i]), value(i))) erase_place(i);
    }
  }

 private:
  static constexpr std::size_t kShrunkMin = 64;  // below it is not worth it
  [[nodiscard]] bool is_at(std::size_t at, const IdType& id) const {
    return at < ids_.size() && ids_[at] == id;
  }
  // By a quarter, not by half: there is one in each node of a large simulated mesh.
  template <typename Item>
  static void grow(std::vector<Item>& items) {
    if (items.size() == items.capacity()) items.reserve(items.size() + items.size() / 4 + 4);
  }

  std::vector<IdType> ids_;
  std::vector<std::uint32_t> slots_;  // of ids_[i]'s value
  std::vector<T> values_;
};

template <typename T>
using NodeMap = IdMap<NodeId, T>;

}  // namespace base
