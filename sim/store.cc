#include "sim/store.h"

#include <algorithm>

namespace sim {

bool Shelf::is_for(const std::string& key) {
  return key.starts_with("member/") || key.starts_with("addr/");
}

std::optional<std::uint32_t> Shelf::newest(const std::string& key) const {
  const auto found = newest_.find(key);
  return found == newest_.end() ? std::nullopt : std::optional(found->second);
}

std::uint32_t Shelf::take(const std::string& key, const base::Bytes& value) {
  const auto number = static_cast<std::uint32_t>(records_.size());
  const auto keys = static_cast<std::uint32_t>(newest_.size());
  const auto [newest, fresh] = newest_.try_emplace(key, number);
  if (!fresh && at(newest->second).value == value) return newest->second;
  records_.push_back({fresh ? keys : at(newest->second).key, key, value});
  newest->second = number;
  return number;
}

std::vector<Store::Known>::iterator Store::place(std::uint32_t key) {
  return std::lower_bound(known_.begin(), known_.end(), key,
                          [](const Known& a, std::uint32_t wanted) { return a.key < wanted; });
}

void Store::put(const std::string& key, const base::Bytes& value, Shelf& shelf) {
  if (!Shelf::is_for(key)) {
    own_[key] = value;
    return;
  }
  put(shelf.take(key, value), shelf);
}

void Store::put(std::uint32_t number, const Shelf& shelf) {
  const Known known{shelf.at(number).key, number};
  const auto at = place(known.key);
  if (at != known_.end() && at->key == known.key) {
    *at = known;
  } else {
    known_.insert(at, known);
  }
}

void Store::erase(const std::string& key, const Shelf& shelf) {
  own_.erase(key);
  const auto number = shelf.newest(key);
  if (!number) return;
  const auto at = place(shelf.at(*number).key);
  if (at != known_.end() && at->key == shelf.at(*number).key) known_.erase(at);
}

Records Store::all(const Shelf& shelf) const {
  Records records = own_;
  for (const Known& known : known_) {
    const Shelf::Record& record = shelf.at(known.record);
    records.emplace(record.name, record.value);
  }
  return records;
}

}  // namespace sim
