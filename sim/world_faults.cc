// Scheduled faults: what begins at a time and ends after a length.
#include <algorithm>
#include <utility>

#include "sim/world.h"

namespace sim {
namespace {

using std::chrono::seconds;

}  // namespace

void World::fault_begins(std::uint32_t index) {
  if (faults_over_) return;
  const FaultPlan& plan = scenario_.faults[index];
  const Fault fault = plan.fault;
  const bool of_links = fault >= Fault::kPartition && fault <= Fault::kIsolate;
  if (!of_links && plan.node >= hosts_.size()) return;
  if (plan.length.count() > 0) put(now_ + plan.length, kNobody, 0, FaultEnds{index});
  if (of_links) {
    cuts_.push_back({plan.salt, plan.part_ppm, fault == Fault::kOneWay,
                     fault == Fault::kIsolate ? plan.node : kNobody, index});
    return;
  }
  Host& host = *hosts_[plan.node];
  const base::Time end = now_ + plan.length;
  note(plan.node, "fault " + std::string(fault_name(fault)));
  switch (fault) {
    case Fault::kClog:
      clogged_[plan.node] = end;
      return;
    case Fault::kSlowLink:
      slow_links_[plan.node] = index;
      return;
    case Fault::kMtuHole:
      holes_[plan.node] = index;
      return;
    case Fault::kUdpBlocked:
      udp_blocked_[plan.node] = index;
      return;
    case Fault::kDiskFull:
      host.disk.full_until = end;
      return;
    case Fault::kSlowCpu:
      host.slow_until = end;
      break;
    case Fault::kOwner:
      owner_comes(plan.node, index);
      break;
    case Fault::kPause:
      host.frozen_until = std::max(host.frozen_until, end);
      break;
    case Fault::kLid:
      host.frozen_until = std::max(host.frozen_until, end);
      host.machine.sleep(now_, jobs_, true);
      break;
    case Fault::kWallJump:
      host.wall_offset += static_cast<std::int64_t>(plan.salt % 7200) - 3600;
      break;
    case Fault::kCrash:
    case Fault::kTornCrash:
      if (!host.node) return;
      if (fault == Fault::kTornCrash && host.disk.pending.empty()) return;
      stop(plan.node, false);
      break;
    case Fault::kPowerLoss:
      power_loss(plan.node);
      break;
    case Fault::kRestart:
    case Fault::kMove:
      if (!host.node) return;
      give(plan.node, node::Leave{});
      stop(plan.node, true);
      if (fault == Fault::kMove) ++host.port;
      break;
    case Fault::kSnapshot:
      // The first strike takes the snapshot, the end of the fault sets the store back to it.
      host.disk.snapshot = host.disk.synced;
      host.disk.has_snapshot = true;
      return;
    case Fault::kClone:
      clone(plan.node);
      break;
    case Fault::kLieVotes:
    case Fault::kLieOutcomes:
    case Fault::kLieLoad:
    case Fault::kLieReports:
      host.lies |= 1ULL << static_cast<unsigned>(fault);
      promises_.taint(plan.node);
      return;  // counted when told
    case Fault::kLieDigests:
    case Fault::kLieStale:
    case Fault::kLieStrangers:
    case Fault::kLieDeaths:
      host.lies |= 1ULL << static_cast<unsigned>(fault);
      if (!host.liar) host.liar.emplace(make_stranger(stranger_keys(), root_, kWallBegins));
      return;
    default:
      return;
  }
  count(fault);
}

void World::fault_ends(std::uint32_t index) {
  const FaultPlan& plan = scenario_.faults[index];
  std::erase_if(cuts_, [&](const Cut& cut) { return cut.plan == index; });
  if (plan.node >= hosts_.size()) return;
  Host& host = *hosts_[plan.node];
  switch (plan.fault) {
    case Fault::kClog:
      clogged_.erase(plan.node);
      return;
    case Fault::kSlowLink:
      slow_links_.erase(plan.node);
      return;
    case Fault::kMtuHole:
      holes_.erase(plan.node);
      return;
    case Fault::kUdpBlocked:
      udp_blocked_.erase(plan.node);
      return;
    case Fault::kOwner:
      return owner_goes(plan.node, index);
    case Fault::kPause:
      return wake(plan.node);
    case Fault::kLid:
      host.machine.sleep(now_, jobs_, false);
      schedule_end(plan.node);
      return wake(plan.node);
    case Fault::kSnapshot:
      if (!host.disk.has_snapshot || !host.node) return;
      promises_.taint(plan.node);
      count(Fault::kSnapshot);
      stop(plan.node, true);
      host.disk.synced = host.disk.snapshot;
      host.disk.has_snapshot = false;
      promises_.set_back(plan.node);
      return;
    default:
      return;
  }
}

// Unless it is to sleep on.
void World::wake(std::uint32_t index) {
  Host& host = *hosts_[index];
  if (host.frozen_until > now_) return;
  for (Event& event : std::exchange(host.waiting, {})) {
    put(now_, event.host, event.life, std::move(event.payload));
  }
}

void World::power_loss(std::uint32_t index) {
  Host& host = *hosts_[index];
  stop(index, false);
  std::vector<std::uint32_t> gone;
  host.machine.settle(now_, jobs_);
  for (const Copy& copy : host.machine.copies()) {
    gone.push_back(copy.job);
    // With the running copy the job is lost; a frozen original elsewhere is of the past.
    if (!copy.frozen) lose(copy.job);
  }
  host.machine.power_off(now_);
  ++host.machine.end_version;
  for (auto& [id, arrival] : host.incoming) {
    if (arrival.state == Incoming::kHeld) gone.push_back(job_index(id.job));
    if (arrival.state != Incoming::kReleased) arrival.state = Incoming::kGone;
  }
  for (const std::uint32_t job : gone) {
    if (job != kNobody) lose_if_last(job);
  }
}

// The same state folder starts on a second machine.
void World::clone(std::uint32_t index) {
  const auto copy = static_cast<std::uint32_t>(hosts_.size());
  make_host(copy, hosts_[index]->identity);
  hosts_[copy]->disk.synced = hosts_[index]->disk.synced;
  promises_.taint(index);
  put(now_ + seconds(1), copy, 0, StartDue{});
  put(now_ + seconds(2), copy, 0, SampleDue{});
}

void World::end_faults(const std::vector<std::uint32_t>& outsiders) {
  for (const std::uint32_t host : outsiders) {
    power_loss(host);
    hosts_[host]->stopped = true;
  }
  faults_over_ = true;
  quiet_since_ = now_;
  cuts_.clear();
  clogged_.clear();
  slow_links_.clear();
  holes_.clear();
  udp_blocked_.clear();
  for (std::uint32_t i = 0; i < hosts_.size(); ++i) {
    Host& host = *hosts_[i];
    if (host.frozen_until > now_) host.machine.sleep(now_, jobs_, false);
    host.frozen_until = std::min(host.frozen_until, now_);
    host.slow_until = std::min(host.slow_until, now_);
    host.disk.full_until = std::min(host.disk.full_until, now_);
    wake(i);
    host.lies = 0;
    host.owner = {};
    schedule_end(i);
  }
}

}  // namespace sim
