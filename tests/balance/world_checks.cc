// What happens to everybody in a World, and the promises that it checks.
#include <algorithm>

#include "world.h"

namespace balance::testing {

using base::Duration;

namespace {
Duration ms(std::uint64_t n) { return Duration(static_cast<std::int64_t>(n) * 1000); }
}  // namespace

// ---- what happens to everybody

void World::sample() {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    ViewChanged view;
    for (std::size_t j = 0; j < machines_.size(); ++j) {
      NodeLoad n;
      n.id = machines_[j].id;
      n.live = machines_[j].core != nullptr && !cut(i, j);
      n.trit = !faults_ ? probe::Trit::kErgodic
                        : (j == plus_ ? probe::Trit::kPlus : probe::Trit::kMinus);
      n.effective_ratio_micros = j == plus_ ? 2'000'000 : 50'000;
      n.cpus_millis = 4000;
      n.memory_free_bytes = 1 << 30;
      n.accepts_jobs = true;
      view.nodes.push_back(n);
    }
    LocalState local;
    local.trit = view.nodes[i].trit;
    local.effective_ratio_micros = view.nodes[i].effective_ratio_micros;
    local.cpus_millis = 4000;
    local.memory_free_bytes = 1 << 30;
    for (const auto& [id, copy] : machines_[i].local) {
      JobFacts job;
      job.id = id;
      job.state = copy == Copy::kRunning ? JobState::kRunning : JobState::kHandover;
      job.load_micros = 500'000;
      job.scum_micros = 400'000;
      job.arrived = now_ - std::chrono::seconds(100);
      local.jobs.push_back(job);
    }
    give(i, view);
    give(i, local);
  }
  at(ms(1000), [this] { sample(); });
}

void World::weather() {
  if (!faults_) return;
  if (rng_.below(4) == 0) plus_ = rng_.below(machines_.size());
  cut_.clear();
  for (std::size_t a = 0; a < machines_.size(); ++a) {
    for (std::size_t b = a + 1; b < machines_.size(); ++b) {
      if (!chance(options_.partition_permille)) continue;
      cut_.insert({a, b});
      for (auto& [id, life] : machines_[b].expecting) {
        give(b, StreamFailed{id, "cut"});
        break;
      }
    }
  }
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    Machine& m = machines_[i];
    for (auto copy = m.local.begin(); copy != m.local.end();) {
      const bool dies = copy->second == Copy::kFrozen && chance(options_.accident_permille);
      const JobId job = copy->first;
      copy = dies ? m.local.erase(copy) : std::next(copy);
      if (!dies) continue;
      ++jobs_[job].accidents;
      if (can_run(job) == 0) jobs_[job].lost = true;
    }
    for (auto& [id, copy] : m.incoming) {
      if (copy != Incoming::kHeld || !chance(options_.accident_permille)) continue;
      copy = Incoming::kDiscarded;
      ++jobs_[id.job].accidents;
      if (can_run(id.job) == 0) jobs_[id.job].lost = true;
    }
    if (m.core && chance(options_.power_permille)) crash(i, true);
    if (m.core && !was_away_ && chance(options_.gone_permille)) go_away(i);
    if (m.core && rng_.below(10) == 0 && !m.local.empty()) {
      give(i, PersonMigrate{++request_, m.local.begin()->first,
                            machines_[rng_.below(machines_.size())].id});
    }
  }
  at(ms(500 + rng_.below(3000)), [this] { weather(); });
}

// ---- promises

void World::note(std::size_t node, const HandoverEvent& event) {
  if (!event.outcome) return;
  if (begun_[event.id]++ == 0) ++counts_.begun;
  const auto [known, news] = outcomes_.emplace(event.id, *event.outcome);
  if (known->second != *event.outcome) violation("two outcomes for one epoch");
  if (news) ++(*event.outcome == Decision::kCommit ? counts_.commits : counts_.aborts);
  if (!event.over || event.told_by != Seat::kSink) return;
  const auto copy = machines_[node].incoming.find(event.id);
  const bool ran = copy != machines_[node].incoming.end() && copy->second == Incoming::kReleased;
  if (*event.outcome == Decision::kCommit && !ran) ++counts_.voids;
  if (*event.outcome == Decision::kAbort && ran) ++counts_.gone;
}

// A frozen original of an older epoch than ran since is of the past: nobody may let it run again.
std::size_t World::can_run(const JobId& job) const {
  const std::uint64_t newest = jobs_.at(job).run_epoch;
  std::size_t count = 0;
  for (const Machine& m : machines_) {
    const auto epoch = m.local_epoch.find(job);
    count += m.local.contains(job) && epoch->second == newest ? 1 : 0;
    for (const auto& [id, copy] : m.incoming) {
      if (id.job == job && copy == Incoming::kHeld && id.epoch.value > newest) ++count;
    }
  }
  return count;
}

void World::destroyed(const JobId& job, bool was_ready, const char* how) {
  const Job& state = jobs_[job];
  if (can_run(job) > 0 || state.lost) return;
  // Held but never said to be ready, and the original died by accident: two faults.
  if (!was_ready && state.accidents > 0) {
    jobs_[job].lost = true;
    return;
  }
  violation(std::string("the last copy that can run was destroyed by ") + how);
}

void World::check() {
  for (const auto& [job, state] : jobs_) {
    std::size_t running = 0;
    for (const Machine& m : machines_) {
      const auto local = m.local.find(job);
      if (local != m.local.end() && local->second == Copy::kRunning) ++running;
    }
    if (running > 1) violation("two copies run");
  }
  for (std::size_t a = 0; a < machines_.size(); ++a) {
    for (std::size_t b = a + 1; b < machines_.size(); ++b) {
      if (!machines_[a].core || !machines_[b].core) continue;
      const auto x = machines_[a].core->seat();
      const auto y = machines_[b].core->seat();
      if (x && y && x->triad == y->triad && x->seat == y->seat) violation("one seat held twice");
      if (x && y && x->triad == y->triad && x->term == y->term && x->leads && y->leads) {
        violation("two coordinators in one term");
      }
    }
  }
}

void World::check_disks() {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    std::set<std::string> triads;
    bool accepted = false;
    for (const auto& [key, value] : machines_[i].disk) {
      if (key.starts_with("tri/")) triads.insert(key.substr(0, 36));
      if (key == kAcceptanceKey) accepted = true;
      if (!key.starts_with("own/")) continue;
      const OwnRecord own = *decode_own(value);
      OwnRecord& before = epochs_[{i, *parse_own_key(key)}];
      if (own.epoch < before.epoch || own.next < before.next) violation("an epoch went back");
      before = own;
    }
    if (triads.size() + (accepted ? 1 : 0) > 1) violation("two seats or acceptances on one disk");
    for (const std::string& triad : triads) {
      const auto form = machines_[i].disk.find(triad + "/form");
      if (form == machines_[i].disk.end()) {
        violation("a triad without its form record");
        continue;
      }
      int sum = 0;
      const StoredForm stored = *decode_stored_form(form->second);
      for (const Member& m : stored.form.members) {
        sum += static_cast<int>(m.seat);
      }
      if (sum != 0) violation("seats of a formed triad that do not sum to 0");
    }
  }
}

// Whether the triad, dissolved or with its majority lost, has to wait for the machine that is away.
bool World::waits_for_away(std::size_t node, const TriadId& triad) const {
  if (!away_) return false;
  const Recovered& disk = machines_[node].disk;
  const NodeId& away = machines_[*away_].id;
  if (const auto seat = disk.find(form_key(triad)); seat != disk.end()) {
    const FormRecord form = decode_stored_form(seat->second)->form;
    return form.is_pair() && form.member(away) != nullptr;
  }
  const auto lingers = disk.find(linger_key(triad));
  if (lingers == disk.end()) return false;
  const FormRecord form = decode_linger(lingers->second)->stored.form;
  return form.seat(Seat::kSource)->node == away || form.seat(Seat::kSink)->node == away;
}

void World::check_calm() {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (away_ == i) continue;
    const auto seat = machines_[i].core->seat();
    if (seat && !waits_for_away(i, seat->triad)) violation("a seat is never freed");
    check_calm_disk(i);
  }
  check_calm_jobs();
}

void World::check_calm_disk(std::size_t node) {
  for (const auto& [key, value] : machines_[node].disk) {
    if (key.starts_with("own/")) continue;
    TriadId triad;
    if (key.starts_with("tri/")) triad = *parse_triad_key(key);
    if (key.starts_with("lin/")) triad = *parse_linger_key(key);
    if (key.starts_with("end/")) triad = parse_end_key(key)->triad;
    if (waits_for_away(node, triad)) continue;
    std::string what =
        "a record is never erased: node " + std::to_string(node) + " " + key.substr(0, 12);
    if (key.starts_with("end/")) {
      const EndRecord end = *decode_end(value);
      const JobId job = parse_end_key(key)->job;
      what += std::string(" ") + end_state_name(end.state) + (end.acted ? " done" : "") +
              " epoch " + std::to_string(parse_end_key(key)->epoch.value) + ", accidents " +
              std::to_string(jobs_[job].accidents) + (jobs_[job].lost ? ", lost" : "");
    }
    violation(what);
  }
}

void World::check_calm_jobs() {
  for (const auto& [job, state] : jobs_) {
    std::size_t running = 0;
    bool waits = false;
    std::optional<std::size_t> host;
    for (std::size_t i = 0; i < machines_.size(); ++i) {
      const auto local = machines_[i].local.find(job);
      if (local != machines_[i].local.end() && local->second == Copy::kRunning) {
        ++running;
        host = i;
      }
      waits = waits || (away_ && away_ != i && machines_[i].core->in_doubt(job));
    }
    if (state.lost) ++counts_.lost;
    if (waits) ++counts_.waiting;
    if (!state.lost && running != 1 && !(waits && running == 0)) {
      violation("a job does not run in the end");
    }
    if (host && running == 1) check_newest(job, *host);
  }
}

// A home that knows of a higher epoch than the host's believes nothing of what the host tells.
void World::check_newest(const JobId& job, std::size_t host) {
  if (away_ == host) return;
  const OwnRecord* const runs = machines_[host].core->owner(job);
  for (std::size_t i = 0; i < machines_.size() && runs != nullptr; ++i) {
    if (away_ == i) continue;
    const OwnRecord* const known = machines_[i].core->owner(job);
    if (known != nullptr && known->epoch > runs->epoch) {
      violation("a job runs under epoch " + std::to_string(runs->epoch.value) + ", and node " +
                std::to_string(i) + " knows of " + std::to_string(known->epoch.value));
    }
  }
}

void World::violation(std::string what) {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now_.time_since_epoch());
  violations_.push_back(std::to_string(seconds.count()) + " ms: " + std::move(what));
}

std::size_t World::index(const NodeId& id) const {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (machines_[i].id == id) return i;
  }
  CHECK(false);
  return 0;
}

}  // namespace balance::testing
