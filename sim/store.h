// What a host has on disk. Records about other nodes (their chains and addresses) are the same at
// all who know them: each such record exists once in the world, and a store only points to it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"

namespace sim {

using Records = std::map<std::string, base::Bytes>;

// The newest value of each key that is shared. Outlives no store: they hold what they point to.
class Shelf {
 public:
  struct Record {
    std::string key;
    base::Bytes value;
  };
  [[nodiscard]] static bool is_for(const std::string& key);
  [[nodiscard]] std::shared_ptr<const Record> take(const std::string& key,
                                                   const base::Bytes& value);

 private:
  std::unordered_map<std::string, std::shared_ptr<const Record>> newest_;  // looked up only
};

class Store {
 public:
  void put(const std::string& key, const base::Bytes& value, Shelf& shelf);
  void erase(const std::string& key);
  [[nodiscard]] Records& own() { return own_; }
  [[nodiscard]] const Records& own() const { return own_; }
  [[nodiscard]] Records all() const;

 private:
  using Shared = std::shared_ptr<const Shelf::Record>;
  [[nodiscard]] std::vector<Shared>::iterator place(const std::string& key);

  Records own_;                // about the host itself, its jobs and its agreements
  std::vector<Shared> known_;  // about others, by key
};

}  // namespace sim
