#include "sim/shrink.h"

#include <algorithm>

namespace sim {
namespace {

class Shrinker {
 public:
  Shrinker(Scenario scenario, const StillFails& still_fails)
      : best_(std::move(scenario)), still_fails_(still_fails) {}

  bool pass() {
    const std::uint64_t kept = progress_.kept;
    take_away(&Scenario::faults);
    take_rates();
    take_jobs();
    take_away(&Scenario::people);
    shorten();
    take_nodes();
    simplify();
    return progress_.kept != kept;
  }
  [[nodiscard]] const Scenario& best() const { return best_; }
  [[nodiscard]] const ShrinkProgress& progress() const { return progress_; }

 private:
  bool attempt(Scenario candidate) {
    if (candidate == best_) return false;
    ++progress_.runs;
    if (!still_fails_(candidate)) return false;
    ++progress_.kept;
    best_ = std::move(candidate);
    return true;
  }

  // Halves, quarters ... single items of a list.
  template <typename List>
  void take_away(List Scenario::*list) {
    for (std::size_t piece = std::max<std::size_t>((best_.*list).size(), 1); piece > 0;
         piece /= 2) {
      for (std::size_t from = 0; from < (best_.*list).size();) {
        Scenario candidate = best_;
        auto& items = candidate.*list;
        const std::size_t to = std::min(from + piece, items.size());
        items.erase(items.begin() + static_cast<std::ptrdiff_t>(from),
                    items.begin() + static_cast<std::ptrdiff_t>(to));
        if (!attempt(std::move(candidate))) from += piece;
      }
    }
  }

  void take_rates() {
    for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
      if (best_.rate_ppm[kind] == 0) continue;
      Scenario candidate = best_;
      candidate.rate_ppm[kind] = 0;
      (void)attempt(std::move(candidate));
    }
  }

  // What people say of a job goes with it; the numbers of those behind it change.
  void take_jobs() {
    for (std::size_t job = best_.jobs.size(); job-- > 0;) {
      Scenario candidate = best_;
      candidate.jobs.erase(candidate.jobs.begin() + static_cast<std::ptrdiff_t>(job));
      std::erase_if(candidate.people, [&](const PersonPlan& person) {
        return names_job(person.verb) && person.job == job;
      });
      for (PersonPlan& person : candidate.people) person.job -= person.job > job ? 1 : 0;
      (void)attempt(std::move(candidate));
    }
  }

  void shorten() {
    for (const int eighths : {4, 6, 7}) {
      Scenario candidate = best_;
      candidate.faulty = best_.faulty * eighths / 8;
      const auto late = [&](const auto& item) { return item.at >= candidate.faulty; };
      std::erase_if(candidate.faults, late);
      if (std::any_of(candidate.jobs.begin(), candidate.jobs.end(), late)) continue;
      // Who comes when the faults are over still does.
      const bool spoken = std::any_of(
          candidate.people.begin(), candidate.people.end(),
          [&](const PersonPlan& person) { return late(person) && person.at < best_.faulty; });
      if (spoken) continue;
      (void)attempt(std::move(candidate));
    }
  }

  // The last node goes if nothing is on it.
  void take_nodes() {
    while (best_.nodes > 1) {
      Scenario candidate = best_;
      const std::uint32_t last = --candidate.nodes;
      candidate.shapes.erase(last);
      const auto on_it = [&](const auto& item) { return item.node == last; };
      if (std::any_of(candidate.jobs.begin(), candidate.jobs.end(), on_it)) return;
      std::erase_if(candidate.faults, on_it);
      std::erase_if(candidate.people, [&](const PersonPlan& person) {
        return names_node(person.verb) && person.to == last;
      });
      for (PersonPlan& person : candidate.people) {
        if (person.to == last) person.to = kNobody;
      }
      if (!attempt(std::move(candidate))) return;
    }
  }

  void simplify() {
    Scenario candidate = best_;
    candidate.shapes.clear();
    (void)attempt(candidate);
    for (std::size_t job = 0; job < best_.jobs.size(); ++job) {
      candidate = best_;
      candidate.jobs[job].output_per_second = 0;
      candidate.jobs[job].memory_bytes = 64 << 20;
      (void)attempt(candidate);
    }
  }

  Scenario best_;
  const StillFails& still_fails_;
  ShrinkProgress progress_;
};

}  // namespace

Scenario shrink(Scenario scenario, const StillFails& still_fails,
                const std::function<void(const ShrinkProgress&)>& told) {
  Shrinker shrinker(std::move(scenario), still_fails);
  bool again = true;
  while (again) {
    again = shrinker.pass();
    if (told) told(shrinker.progress());
  }
  return shrinker.best();
}

}  // namespace sim
