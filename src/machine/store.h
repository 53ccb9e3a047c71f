// The node's durable memory: a map from short keys to small values, kept in one append-only
// journal.
//
// What append() reported as done is there after a crash of the process or of the machine; a batch
// is there whole or not at all. One process at a time may hold a state folder (flock).
//
// Journal, all integers little-endian:
//   header  "ternstor" | u32 version = 1 | 16 bytes store id | u32 zero
//   record  u32 payload size | 4 bytes hash of (position, size) | 8 bytes hash of (position,
//   payload)
//           | payload
//   payload MessagePack [[key, present, value], ...]; present = false erases the key
//
// What open() found is on the disk when it returns: a process that was killed may have left it in
// the page cache alone. It cuts off a torn last record (the write that a crash interrupted, never
// acknowledged). Any
// other damage is refused with a sentence: a store that forgot must not vote (ARCHITECTURE.md,
// "What it survives"). A newer version is refused. When the journal is much larger than what lives
// in it, it is written anew beside itself and renamed into place.
//
// After a failed write the journal is cut back and the store goes on (a full disk is survivable).
// After a failed fsync nothing is known about the disk any more: every later append fails, and the
// daemon must stop.
//
// Blocking; not thread-safe: one caller at a time (the host orders its appends).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace machine {

inline constexpr std::size_t kStoreKeySizeMax = 256;
inline constexpr std::size_t kStoreValueSizeMax = 256 * 1024;
inline constexpr std::size_t kStoreBatchSizeMax = 1024 * 1024;    // bytes of one payload
inline constexpr std::size_t kStoreCompactSizeMin = 1024 * 1024;  // smaller journals are left alone

struct StoreWrite;
// What these writes need of kStoreBatchSizeMax, at most.
[[nodiscard]] std::size_t store_batch_size(const std::vector<StoreWrite>& batch);

struct StoreWrite {
  std::string key;
  std::optional<base::Bytes> value;  // none: erase
};
using StoreMap = std::map<std::string, base::Bytes>;

class Store {
 public:
  // Opens or creates DIR/journal (DIR must exist). `fresh_id` becomes the store id of a new store.
  // kExists: another process holds it. kInvalid: damaged. kUnsupported: written by a newer tern.
  [[nodiscard]] static base::Result<Store> open(const std::string& dir, base::StoreId fresh_id);
  Store(Store&& other) noexcept;
  Store& operator=(Store&& other) noexcept;
  ~Store();

  [[nodiscard]] base::StoreId id() const { return id_; }
  [[nodiscard]] const StoreMap& map() const { return map_; }
  // A sync has failed: nothing can be promised any more.
  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] bool tail_was_torn() const { return tail_was_torn_; }
  // Returns once the batch is on the disk (fdatasync). A key, value or batch over its limit is a
  // mistake of ours (CHECK): it would never fit, however often it was tried.
  [[nodiscard]] base::Status append(const std::vector<StoreWrite>& batch);

 private:
  Store() = default;
  [[nodiscard]] base::Status create(base::StoreId fresh_id);
  [[nodiscard]] base::Status load();
  [[nodiscard]] base::Result<bool> load_record(base::ByteView file, std::size_t& at);
  [[nodiscard]] base::Status compact();
  void apply(const std::vector<StoreWrite>& batch);
  void close_files();

  std::string dir_;
  int lock_fd_ = -1;
  int fd_ = -1;
  std::uint64_t size_ = 0;       // bytes of the journal that count
  std::uint64_t live_size_ = 0;  // about what a fresh journal would need
  base::StoreId id_;
  StoreMap map_;
  bool tail_was_torn_ = false;
  bool broken_ = false;
};

}  // namespace machine
