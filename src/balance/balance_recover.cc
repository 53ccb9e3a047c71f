// What an earlier life of this node left on disk.
#include <utility>

#include "balance/balance.h"

namespace balance {

void Balance::damaged(const std::string& key) {
  damaged_ = true;
  log_.error("record_unreadable", {{"key", key}});
}

void Balance::recover(const Recovered& records) {
  std::optional<TriadId> seat;
  std::map<TriadId, Ends> ends;
  for (const auto& [key, value] : records) {
    if (key.starts_with("own/")) {
      auto job = parse_own_key(key);
      auto own = decode_own(value);
      if (!job || !own) {
        damaged(key);
        continue;
      }
      Outbox unheard(config_.self, config_.store);  // told at the first step
      own_.set(*job, *own, unheard);
    } else if (key == kAcceptanceKey) {
      auto acceptance = decode_acceptance(value);
      if (!acceptance) {
        damaged(key);
      } else {
        recovered_acceptance_ = *acceptance;
      }
    } else if (key.starts_with("tri/")) {
      auto id = parse_triad_key(key);
      if (!id || (seat && *seat != *id)) {
        damaged(key);
      } else {
        seat = *id;
      }
    } else if (key.starts_with("end/")) {
      auto handover = parse_end_key(key);
      auto end = decode_end(value);
      if (!handover || !end) {
        damaged(key);
      } else {
        ends[handover->triad][*handover] = *end;
      }
    } else if (auto id = parse_linger_key(key)) {
      recover_lingering(key, value, ends[*id]);  // "end/" comes before "lin/"
      ends.erase(*id);
    } else {
      damaged(key);
    }
  }
  if (seat) {
    recover_triad(*seat, records, ends[*seat]);
    ends.erase(*seat);
  }
  for (const auto& [triad, of_nobody] : ends) damaged(end_key(of_nobody.begin()->first));
}

void Balance::recover_lingering(const std::string& key, base::ByteView value, Ends ends) {
  auto record = decode_linger(value);
  if (!record) return damaged(key);
  const TriadId id = triad_id_of(record->stored.form);
  const Member* me = record->stored.form.member(config_.self);
  if (linger_key(id) != key || me == nullptr || me->store != config_.store) return damaged(key);
  TriadRecords found;
  found.lingers = std::move(record->outcome);
  found.ends = std::move(ends);
  found.keys = {key};
  lingering_[id] = std::make_unique<Triad>(std::move(record->stored), config_.incarnation,
                                           base::Rng(rng_.next()), around(), std::move(found));
}

void Balance::recover_triad(const TriadId& id, const Recovered& records, Ends ends) {
  const auto form = records.find(form_key(id));
  if (form == records.end()) return damaged(form_key(id));
  auto stored = decode_stored_form(form->second);
  if (!stored || triad_id_of(stored->form) != id) return damaged(form_key(id));
  const Member* me = stored->form.member(config_.self);
  if (me == nullptr || me->store != config_.store) return damaged(form_key(id));
  TriadRecords found;
  found.ends = std::move(ends);
  for (const auto& [key, value] : records) {
    if (!key.starts_with(triad_prefix(id))) continue;
    found.keys.push_back(key);
    if (key == hard_key(id)) {
      auto hard = group::decode_hard_state(value);
      if (!hard) return damaged(key);
      found.group.hard = *hard;
    } else if (key != form_key(id)) {  // the log, in the order of its keys
      auto entry = group::decode_entry(value);
      if (!entry || key != log_key(id, base::LogIndex{found.group.entries.size() + 2})) {
        return damaged(key);
      }
      found.group.entries.push_back(*entry);
    }
  }
  triad_ = std::make_unique<Triad>(std::move(*stored), config_.incarnation, base::Rng(rng_.next()),
                                   around(), std::move(found));
}

}  // namespace balance
