// The log of one group member, in memory: entries 1..last, entry 1 being the form record (term 0).
// Pure bookkeeping; balance/group.h has the rules. Indexes outside 1..last() are our bug: CHECKed.
#pragma once

#include <span>
#include <vector>

#include "balance/group_wire.h"
#include "base/ids.h"

namespace balance {

class GroupLog {
 public:
  // `entries` are those from index 2 on.
  GroupLog(base::Bytes form, std::vector<group::Entry> entries);

  [[nodiscard]] base::LogIndex last() const { return {entries_.size()}; }
  [[nodiscard]] group::LogEnd end() const { return {at(last()).term, last()}; }
  [[nodiscard]] const group::Entry& at(base::LogIndex index) const;
  // §5.3: does this log hold an entry of that term at that index?
  [[nodiscard]] bool holds(const group::LogEnd& position) const;
  // Entries with a payload, the form record not counted.
  [[nodiscard]] std::size_t payloads() const { return payloads_; }
  // From `first` on, as many as fit into one message; at least one if there is any.
  [[nodiscard]] std::vector<group::Entry> batch(base::LogIndex first) const;
  // Entries first..last(), `first` at most last() + 1.
  [[nodiscard]] std::span<const group::Entry> from(base::LogIndex first) const;
  // Where a leader should try next if `position` is not held: after our end, or at the first entry
  // of the term that we hold there (§5.3, "the first index it stores for that term").
  [[nodiscard]] base::LogIndex hint(const group::LogEnd& position) const;

  void append(group::Entry entry);
  void truncate(base::LogIndex first);  // first..last() vanish; first >= 2

 private:
  std::vector<group::Entry> entries_;
  std::size_t payloads_ = 0;
};

}  // namespace balance
