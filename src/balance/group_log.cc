#include "balance/group_log.h"

#include <algorithm>

namespace balance {

using base::LogIndex;
using group::Entry;
using group::LogEnd;

GroupLog::GroupLog(base::Bytes form, std::vector<Entry> entries) {
  entries_.push_back({base::Term{0}, std::move(form)});
  for (Entry& entry : entries) append(std::move(entry));
}

const Entry& GroupLog::at(LogIndex index) const {
  CHECK(index.value >= 1);
  CHECK(index <= last());
  return entries_[static_cast<std::size_t>(index.value - 1)];
}

bool GroupLog::holds(const LogEnd& position) const {
  return position.index.value >= 1 && position.index <= last() &&
         at(position.index).term == position.term;
}

std::span<const Entry> GroupLog::from(LogIndex first) const {
  CHECK(first.value >= 1);
  CHECK(first <= last().next());
  return std::span(entries_).subspan(static_cast<std::size_t>(first.value - 1));
}

std::vector<Entry> GroupLog::batch(LogIndex first) const {
  std::vector<Entry> out;
  std::size_t bytes = 0;
  for (const Entry& entry : from(first)) {
    bytes += entry.payload.size() + kGroupEntryOverhead;
    if (bytes > kGroupBatchBytesMax || out.size() == kGroupBatchEntriesMax) break;
    out.push_back(entry);
  }
  return out;
}

LogIndex GroupLog::hint(const LogEnd& position) const {
  if (position.index > last()) return last().next();
  LogIndex index = position.index;
  const base::Term term = at(index).term;
  while (index.value > 2 && at(LogIndex{index.value - 1}).term == term) --index.value;
  return std::max(index, LogIndex{2});
}

void GroupLog::append(Entry entry) {
  CHECK(entry.term >= at(last()).term);
  CHECK(entries_.size() < kGroupLogMax);
  if (!entry.payload.empty()) ++payloads_;
  entries_.push_back(std::move(entry));
}

void GroupLog::truncate(LogIndex first) {
  CHECK(first.value >= 2);
  while (last() >= first) {
    if (!entries_.back().payload.empty()) --payloads_;
    entries_.pop_back();
  }
}

}  // namespace balance
