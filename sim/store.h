// What a host has on disk. Records about other nodes (their chains and addresses) are the same at
// all who know them: each such record exists once in the world, and a store only points to it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"

namespace sim {

using Records = std::map<std::string, base::Bytes>;

// Records that are shared, each named by a number that a store keeps in its place. Nothing here is
// forgotten: a world has one for each node, and one more for each new address or certificate.
class Shelf {
 public:
  struct Record {
    std::uint32_t key = 0;  // counts keys in the order in which they came
    std::string name;
    base::Bytes value;
  };
  [[nodiscard]] static bool is_for(const std::string& key);
  // The number of the record with just this value.
  [[nodiscard]] std::uint32_t take(const std::string& key, const base::Bytes& value);
  [[nodiscard]] const Record& at(std::uint32_t number) const { return records_[number]; }
  // The newest record of that key, if anybody ever had one.
  [[nodiscard]] std::optional<std::uint32_t> newest(const std::string& key) const;

 private:
  std::deque<Record> records_;
  std::unordered_map<std::string, std::uint32_t> newest_;  // looked up only
};

// Copies of a store belong to the same shelf, which outlives them.
class Store {
 public:
  void put(const std::string& key, const base::Bytes& value, Shelf& shelf);
  void put(std::uint32_t number, const Shelf& shelf);
  void erase(const std::string& key, const Shelf& shelf);
  [[nodiscard]] Records& own() { return own_; }
  [[nodiscard]] const Records& own() const { return own_; }
  [[nodiscard]] Records all(const Shelf& shelf) const;

 private:
  struct Known {
    std::uint32_t key = 0;
    std::uint32_t record = 0;
  };
  [[nodiscard]] std::vector<Known>::iterator place(std::uint32_t key);

  Records own_;               // about the host itself, its jobs and its agreements
  std::vector<Known> known_;  // about others, by key
};

}  // namespace sim
