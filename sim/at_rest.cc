#include "sim/at_rest.h"

#include <algorithm>

#include "sim/meeting.h"
#include "sim/settled.h"
#include "sim/world.h"

namespace sim {
namespace {

bool long_ago(const World& world, base::Time then, base::Duration within) {
  return world.now() - then >= within;
}

void check_end_of(World& world, const Meeting& meeting, std::uint32_t index,
                  const JobTruth& truth) {
  const std::uint32_t home = truth.plan.node;
  const node::jobs::Job* job = world.node(home)->jobs().find(truth.id);
  const std::string name = "job " + std::to_string(index);
  if (!truth.begun || truth.lost || truth.ended_on == kNobody ||
      !can_be_asked(world, truth.ended_on) || !meeting.finds(home, truth.ended_on)) {
    return;
  }
  if (job == nullptr) return world.promises().broke("exit-told", home, name + " is forgotten");
  if (!job->wait_status) {
    return world.promises().broke(
        "exit-told", home,
        name + " ended at n" + std::to_string(truth.ended_on) + " at " +
            std::to_string((truth.ended_at - kWorldBegins).count() / 1000) +
            " ms and home does not know");
  }
  if (*job->wait_status != truth.wait_status) {
    return world.promises().broke("exit-told", home,
                                  name + " ended with " + std::to_string(truth.wait_status) +
                                      " at n" + std::to_string(truth.ended_on) + ", home has " +
                                      std::to_string(*job->wait_status));
  }
  const auto spool = world.spools(home).find(index);
  const std::uint64_t has = spool == world.spools(home).end() ? 0 : spool->second.end;
  if (has == truth.output()) return;
  world.promises().broke("exit-told", home,
                         name + " wrote " + std::to_string(truth.output()) + " bytes, home has " +
                             std::to_string(has));
}

void check_jobs(World& world, const Meeting& meeting) {
  for (std::uint32_t index = 0; index < world.jobs().size(); ++index) {
    const JobTruth& truth = world.jobs()[index];
    const std::uint32_t home = truth.plan.node;
    if (!can_be_asked(world, home) || world.promises().excused_job(index)) continue;
    const bool asked = truth.asked_life != 0 && truth.asked_life == world.life(home) &&
                       long_ago(world, truth.asked_at, kToldWithin);
    if (asked && !truth.begun && !truth.ended && world.parked_at(index) == kNobody) {
      world.promises().broke("starts", home, "job " + std::to_string(index) + " never started");
    }
    if (truth.ended && long_ago(world, truth.ended_at, kToldWithin)) {
      check_end_of(world, meeting, index, truth);
    }
    const std::uint32_t at = world.runs_at(index);
    if (!truth.begun || truth.ended || at == kNobody || !can_be_asked(world, at)) continue;
    if (!meeting.finds(home, at)) continue;
    if (!long_ago(world, truth.arrived, kToldWithin)) continue;
    if (world.born(home) >= truth.arrived) continue;  // it asks when a person does
    const node::jobs::Job* job = world.node(home)->jobs().find(truth.id);
    if (job != nullptr && job->at == world.id(at)) continue;
    const std::uint32_t told = job == nullptr ? kNobody : world.host_of(job->at);
    // Home believes the host that it knows before anybody else; that one forgot, or lies.
    if (told != kNobody && world.promises().excused_host(told)) continue;
    world.promises().broke("home-knows", home,
                           "job " + std::to_string(index) + " runs at n" + std::to_string(at) +
                               ", it says n" + std::to_string(told));
  }
}

// Whether `from` finds so many members that the triad can still decide.
bool decides(const World& world, const Meeting& meeting, std::uint32_t from,
             const base::TriadId& triad) {
  const balance::FormRecord* form = world.promises().form(triad);
  if (form == nullptr || world.promises().excused(triad)) return false;
  std::size_t fit = 0;
  for (const balance::Member& member : form->members) {
    const std::uint32_t host = world.host_of(member.node);
    fit += host != kNobody && can_be_asked(world, host) && meeting.finds(from, host) ? 1U : 0U;
  }
  return fit * 2 > form->members.size();
}

// Aborted, but only the source knows whether its original runs, and it is off (design.md §4.6).
bool waits_for_source(const World& world, const Meeting& meeting, std::uint32_t sink,
                      const balance::HandoverId& id) {
  const balance::FormRecord* form = world.promises().form(id.triad);
  if (form == nullptr || world.promises().outcome(id) != balance::Decision::kAbort) return false;
  const std::uint32_t source = world.host_of(form->seat(balance::Seat::kSource)->node);
  return source == kNobody || !can_be_asked(world, source) || !meeting.finds(sink, source);
}

// Rightly: how the job ended is not known here, or there is nobody to tell it to.
bool still_waits(const World& world, const Meeting& meeting, std::uint32_t host,
                 const JobTruth& truth) {
  const node::jobs::Job* job = world.node(host)->jobs().find(truth.id);
  if (job == nullptr) return false;
  const std::uint32_t home = truth.plan.node;
  if ((host == home || job->here) && !job->wait_status) return true;  // exit-told asks for that
  return !can_be_asked(world, home) || !meeting.finds(host, home);
}

// An end of the job there is part of a liar's triad, and may wait for ever for what that one says.
bool is_kept_by_liar(const World& world, std::uint32_t host, const JobTruth& truth) {
  const auto& disk = world.disk(host);
  return std::any_of(disk.begin(), disk.end(), [&](const auto& record) {
    if (!record.first.starts_with("end/")) return false;
    const auto id = balance::parse_end_key(record.first);
    return id && id->job == truth.id && world.promises().excused(id->triad);
  });
}

// A lower copy could still turn up, as far as its host knows (design.md §4).
bool is_kept_by_person(const World& world, std::uint32_t host, const JobTruth& truth) {
  const auto record = world.disk(host).find(balance::own_key(truth.id));
  const auto own = balance::decode_own(record->second);
  return own && own->resolved && world.promises().agreements().lacks_other_end(truth.id);
}

void check_owners(World& world, const Meeting& meeting, std::uint32_t host) {
  if (world.promises().seated(host) != nullptr) return;  // seats-end asks for that
  for (std::uint32_t index = 0; index < world.jobs().size(); ++index) {
    const JobTruth& truth = world.jobs()[index];
    const bool over = truth.ended && !truth.lost && long_ago(world, truth.ended_at, kOutcomes);
    if (!over || world.promises().excused_job(index)) continue;
    if (!world.disk(host).contains(balance::own_key(truth.id))) continue;
    if (still_waits(world, meeting, host, truth) || is_kept_by_liar(world, host, truth)) continue;
    if (is_kept_by_person(world, host, truth)) continue;
    world.promises().broke("forgets", host, "it keeps whose job " + std::to_string(index) + " was");
  }
}

void check_host(World& world, const Meeting& meeting, std::uint32_t host) {
  for (const auto& [id, arrival] : world.incoming(host)) {
    if (arrival.state != Incoming::kHeld || !long_ago(world, arrival.held_at, kOutcomes)) continue;
    if (world.promises().excused_job(world.job_index(id.job))) continue;
    if (!decides(world, meeting, host, id.triad) || waits_for_source(world, meeting, host, id))
      continue;
    world.promises().broke("outcome", host, "a copy of job " + id.job.brief() + " stays held");
  }
  const base::Time accepted = world.promises().agreements().acceptance_since(host);
  if (accepted != base::kNever && long_ago(world, accepted, kAcceptanceMax)) {
    world.promises().broke("acceptance", host, "it accepted a proposal and never gave it up");
  }
  check_owners(world, meeting, host);
}

}  // namespace

void check_at_rest(World& world) {
  const Meeting meeting(world);
  check_jobs(world, meeting);
  world.promises().answers().check_at_rest();
  for (std::uint32_t host = 0; host < world.hosts(); ++host) {
    if (can_be_asked(world, host)) check_host(world, meeting, host);
  }
}

}  // namespace sim
