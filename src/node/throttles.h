// What is throttled here, by whom, and what it would count without that (design.md §2, process
// rule). Pure; balance says when a rule wants a change, a person's word comes from people.
//
// A throttled job counts, in its node's load and in its score, as before the throttle; else it
// would be throttled and freed for ever:
//   CPU use, score  what the throttle took from it is added to its CPU time: for each interval the
//                   use before, as far as the job still wants to run, less what it really had. The
//                   sum stays while the job stays here, so that a lift does not change its score.
//   load            as measured, but at most what it was before: a job that slept half of the time
//                   waits for its CPU all of the time when it has half of it. (Not where its
//                   average was young and showed less than the job is.)
//   node's load     what a quota holds back and the node's average does not show
//                   (JobSample::hidden_load_micros) is added.
//
// Limits are of CPU time, 1'000'000 = one CPU; a rule's is half of what the job used over the last
// window, at least kThrottleLeast. What a job used shows after its second sample.
//
// Whose word holds, by job:
//   rules  --a person's limit, or "off"--> person's: the rules leave it alone, also where it is off
//          <--"auto", or the job moves--
//   rules  --the owner's policy (node/owner.h)--> owner's: to half of what it used, or what the
//   rule
//          <--its cause is gone, which lifts it--  had set; what a person said of this job stays
// Durable under "throttle/<job>" before the host acts, with the epoch of the job's stay here: a
// record of another stay is dropped. After a restart the host is told every limit again.
//
// "auto" while a person's limit is in force makes it the rule's: half of what the job used before
// it. Where that was not known, under a limit nothing shows it: then the limit is lifted, what was
// seen of the job is forgotten, and a rule that still wants one sets it at its own pace. Should the
// rule's cause be gone, it lifts its limit at that pace, too.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace node {

struct JobSample;  // node/event.h

inline constexpr std::int64_t kThrottleLeast = 50'000;         // so that nothing is starved
inline constexpr std::uint32_t kThrottlePercentMax = 100'000;  // of one CPU
inline constexpr base::Duration kThrottleRetry = std::chrono::minutes(10);  // after a failure

struct Throttle {
  base::Epoch epoch;                       // of the stay here
  bool is_settled = false;                 // load_micros shows what the job was
  bool is_persons = false;                 // whose word holds
  bool is_owners = false;                  // her policy's; never both
  std::int64_t limit_micros = 0;           // 0: none
  base::Time changed = base::Time::min();  // throttled or lifted
  std::int64_t used_micros = 0;            // CPU, before the last throttle
  std::int64_t load_micros = 0;            // its own average, before the last throttle
  std::int64_t taken_micros = 0;           // CPU time that throttles took from it, at `changed`
  friend bool operator==(const Throttle&, const Throttle&) = default;
};
// [version = 1 | 2, epoch, is_persons, is_settled, limit, changed, used, load, taken;
//  since 2: is_owners]; written as version 1 where that says all
[[nodiscard]] base::Bytes encode(const Throttle& throttle);
[[nodiscard]] base::Result<Throttle> decode_throttle(base::ByteView bytes);
[[nodiscard]] std::string throttle_key(const base::JobId& job);

class Throttles {
 public:
  using Records = std::map<std::string, base::Bytes>;
  Throttles(const Records& records, base::Duration window);

  // A sample of the jobs here. `stays`: the epoch of each job that is here and runs; what is kept
  // of others is dropped, and the keys of their records are returned.
  [[nodiscard]] std::vector<std::string> sampled(base::Time now, const std::vector<JobSample>& jobs,
                                                 const std::map<base::JobId, base::Epoch>& stays);

  // It is paused (node/pauses.h): what it uses now says nothing of what it would. Before sampled().
  void stood(base::Time now, const base::JobId& job);
  // A person resolved it where it stands, or it runs on after *void*: the same stay, under another
  // epoch. True: the record is to be stored anew.
  [[nodiscard]] bool stays_on(const base::JobId& job, base::Epoch epoch);

  // It stood still for a move that came to nothing, and runs on: what was seen of it meanwhile says
  // nothing of what it uses.
  void thawed(base::Time now, const base::JobId& job);

  // It is parked: that ends its limit, too. True: there is a record of it to be dropped.
  [[nodiscard]] bool forget(const base::JobId& job);

  // Whose record is to be stored now, as find() has it; none: nothing changes.
  // By rule: to half of what it used, or lifted. Not while a person's word holds.
  [[nodiscard]] bool by_rule(base::Time now, const base::JobId& job, base::Epoch epoch, bool on);
  // A person's limit (0: off); none ("auto"): the rules decide again.
  void by_person(base::Time now, const base::JobId& job, base::Epoch epoch,
                 std::optional<std::int64_t> limit_micros);
  // The owner's policy: as by_rule, and the rules leave it alone until it is off.
  [[nodiscard]] bool by_owner(base::Time now, const base::JobId& job, base::Epoch epoch, bool on);
  // The host has done what was asked last: the pace counts from here.
  void in_force(base::Time now, const base::JobId& job);
  // The host could not: there is no limit. The rules leave the job alone for kThrottleRetry.
  void failed(base::Time now, const base::JobId& job);

  [[nodiscard]] const Throttle* find(const base::JobId& job) const;
  [[nodiscard]] const std::map<base::JobId, Throttle>& all() const { return throttles_; }
  [[nodiscard]] bool fails(base::Time now, const base::JobId& job) const;

  // The sample as it would be without the throttle.
  [[nodiscard]] JobSample counted(base::Time now, const JobSample& job) const;
  // To be added to the node's load for this job; may be below 0.
  [[nodiscard]] std::int64_t load_correction(base::Time now, const JobSample& job) const;
  // What it used over the last window; none: not known yet.
  [[nodiscard]] std::optional<std::int64_t> used(const base::JobId& job) const;

 private:
  struct Use {
    base::Epoch epoch;
    base::Time at{};
    std::uint64_t cpu_time_micros = 0;
    std::optional<std::int64_t> average_micros;
    std::int64_t load_micros = 0;
    base::Time since{};  // first seen, or seen again after it stood still
    bool begins_anew = false;
    std::int64_t taken_micros = 0;
  };
  void observe(base::Time now, const JobSample& job, base::Epoch epoch);
  [[nodiscard]] std::int64_t load_bound(base::Time now, const base::JobId& job) const;
  Throttle& stay(const base::JobId& job, base::Epoch epoch);
  void set_limit(base::Time now, const base::JobId& job, Throttle& throttle, std::int64_t limit);

  base::Duration window_;
  std::map<base::JobId, Throttle> throttles_;
  std::map<base::JobId, Use> uses_;
  std::map<base::JobId, base::Time> failed_;
};

}  // namespace node
