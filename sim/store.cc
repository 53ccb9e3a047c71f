#include "sim/store.h"

#include <algorithm>

namespace sim {

bool Shelf::is_for(const std::string& key) {
  return key.starts_with("member/") || key.starts_with("addr/");
}

std::shared_ptr<const Shelf::Record> Shelf::take(const std::string& key, const base::Bytes& value) {
  std::shared_ptr<const Record>& newest = newest_[key];
  if (!newest || newest->value != value) {
    newest = std::make_shared<const Record>(Record{key, value});
  }
  return newest;
}

std::vector<Store::Shared>::iterator Store::place(const std::string& key) {
  return std::lower_bound(known_.begin(), known_.end(), key,
                          [](const Shared& a, const std::string& b) { return a->key < b; });
}

void Store::put(const std::string& key, const base::Bytes& value, Shelf& shelf) {
  if (!Shelf::is_for(key)) {
    own_[key] = value;
    return;
  }
  const auto at = place(key);
  Shared record = shelf.take(key, value);
  if (at != known_.end() && (*at)->key == key) {
    *at = std::move(record);
  } else {
    known_.insert(at, std::move(record));
  }
}

void Store::erase(const std::string& key) {
  own_.erase(key);
  const auto at = place(key);
  if (at != known_.end() && (*at)->key == key) known_.erase(at);
}

Records Store::all() const {
  Records records = own_;
  for (const Shared& record : known_) records.emplace(record->key, record->value);
  return records;
}

}  // namespace sim
