// A few Balance cores in one quiet room: messages take 1 ms, writes and host operations succeed at
// once unless a test says otherwise. Tests name the nodes by index; 0 has the job.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "balance/balance.h"

namespace balance::testing {

class Rig {
 public:
  explicit Rig(std::size_t nodes) : cores_(nodes), disks_(nodes), live_(nodes, true) {
    for (std::size_t i = 0; i < nodes; ++i) {
      lives_.push_back(0);
      start(i);
    }
    give(0, JobStarted{job()});
    run(base::Duration(10'000));  // its ownership record is durable
    tell_all();
  }
  [[nodiscard]] static JobId job() { return JobId{{42}}; }
  [[nodiscard]] static NodeId node(std::size_t i) {
    return NodeId{{static_cast<std::uint8_t>(i + 1)}};
  }
  [[nodiscard]] static StoreId store(std::size_t i) {
    return StoreId{{static_cast<std::uint8_t>(i + 101)}};
  }

  void start(std::size_t i) {
    ++lives_[i];
    cores_[i] = std::make_unique<Balance>(Config{node(i), store(i), base::Incarnation{lives_[i]}},
                                          base::Rng(i + 1), disks_[i]);
    live_[i] = true;
    give(i, Tick{});
  }
  void kill(std::size_t i) {
    cores_[i].reset();
    live_[i] = false;
  }
  [[nodiscard]] Balance& core(std::size_t i) { return *cores_[i]; }
  [[nodiscard]] Recovered& disk(std::size_t i) { return disks_[i]; }

  // Who is PLUS; the others are MINUS. By default nobody is (ERGODIC), so that nothing moves
  // unasked.
  void tell_all(std::optional<std::size_t> plus = std::nullopt) {
    for (std::size_t i = 0; i < cores_.size(); ++i) {
      ViewChanged view;
      for (std::size_t j = 0; j < cores_.size(); ++j) {
        NodeLoad n;
        n.id = node(j);
        n.live = live_[j] && !hidden.contains(j);
        if (plus) n.trit = *plus == j ? probe::Trit::kPlus : probe::Trit::kMinus;
        n.effective_ratio_micros = plus == j ? 1'500'000 : 100'000;
        n.memory_free_bytes = 1000;
        n.accepts_jobs = true;
        view.nodes.push_back(n);
      }
      LocalState local;
      local.trit = view.nodes[i].trit;
      local.effective_ratio_micros = view.nodes[i].effective_ratio_micros;
      local.memory_free_bytes = 1000;
      local.policy = policy;
      if (cores_[i] && cores_[i]->owner(job()) != nullptr &&
          cores_[i]->owner(job())->at == node(i)) {
        JobFacts facts;
        facts.id = job();
        facts.load_micros = 500'000;
        facts.scum_micros = 400'000;
        facts.arrived = now - std::chrono::seconds(100);
        local.jobs.push_back(facts);
      }
      give(i, view);
      give(i, local);
    }
  }

  // That job runs there and nothing else does, as far as the node sees.
  void show_only(std::size_t i, const JobId& job) {
    LocalState local;
    JobFacts facts;
    facts.id = job;
    local.jobs.push_back(facts);
    give(i, local);
  }

  void give(std::size_t i, const Event& event) {
    if (!cores_[i]) return;
    for (const Action& action : cores_[i]->step(now, event)) {
      perform(i, action);
      if (!cores_[i]) return;
    }
  }
  void run(base::Duration time) {
    const base::Time end = now + time;
    while (true) {
      base::Time next = queue_.empty() ? base::kNever : queue_.begin()->first;
      for (const auto& core : cores_) {
        if (core) next = std::min(next, std::max(core->next_deadline(), now));
      }
      if (next > end) break;
      now = next;
      if (!queue_.empty() && queue_.begin()->first <= now) {
        auto what = std::move(queue_.begin()->second);
        queue_.erase(queue_.begin());
        what();
        continue;
      }
      for (std::size_t i = 0; i < cores_.size(); ++i) {
        if (cores_[i] && cores_[i]->next_deadline() <= now) give(i, Tick{});
      }
      now += base::Duration(1);
    }
    now = std::max(now, end);
  }
  // Until `done`, or 5 minutes.
  bool run_until(const std::function<bool()>& holds) {
    for (int i = 0; i < 30'000 && !holds(); ++i) run(base::Duration(10'000));
    return holds();
  }
  [[nodiscard]] bool did(const std::string& what) const { return count(what) > 0; }
  [[nodiscard]] long count(const std::string& what) const {
    return std::count(done.begin(), done.end(), what);
  }
  [[nodiscard]] long position(const std::string& what) const {
    return std::find(done.begin(), done.end(), what) - done.begin();
  }
  // No seat is held, and nothing is owed either.
  [[nodiscard]] bool all_free() const {
    return no_seats() && std::all_of(cores_.begin(), cores_.end(),
                                     [](const auto& c) { return !c || c->lingering() == 0; });
  }
  [[nodiscard]] bool no_seats() const {
    return std::all_of(cores_.begin(), cores_.end(),
                       [](const auto& c) { return !c || c->triad() == nullptr; });
  }
  // One that `from` might say, by itself or late.
  void say(std::size_t from, std::size_t to, wire::Body body) {
    give(to, Received{node(from), wire::encode({store(from), std::move(body)})});
  }
  void migrate(std::optional<std::size_t> to) {
    give(0, PersonMigrate{1, job(), to ? std::optional(node(*to)) : std::nullopt});
  }

  base::Time now{std::chrono::hours(1)};
  std::vector<std::string> done;  // host operations as "0 thaw"
  std::vector<KillOriginal> kills;
  std::vector<PersonReply> replies;
  std::vector<HandoverEvent> events;
  struct Sent {
    std::size_t from;
    std::size_t to;
    base::Bytes bytes;
  };
  std::vector<Sent> sent;  // also what was cut
  LocalPolicy policy;
  std::set<std::size_t> hidden;                                     // seen as suspect
  std::set<std::pair<std::size_t, std::size_t>> cut;                // from, to
  std::set<std::string> silent;                                     // operations that hang
  std::map<std::string, std::function<Event(HandoverId)>> answers;  // instead of success
  std::function<void(std::size_t, const std::string&)> on_operation;

 private:
  void later(base::Duration in, std::function<void()> what) {
    queue_.emplace(now + in, std::move(what));
  }
  void operation(std::size_t i, const std::string& name, HandoverId id,
                 std::optional<Event> success) {
    const std::string what = std::to_string(i) + " " + name;
    done.push_back(what);
    if (on_operation) on_operation(i, name);
    if (silent.contains(what)) return;
    const auto other = answers.find(what);
    if (other != answers.end()) success = other->second(id);
    if (!success) return;
    const std::uint64_t life = lives_[i];
    later(base::Duration(2000), [this, i, life, event = *success] {
      if (lives_[i] == life) give(i, event);
    });
  }
  void perform(std::size_t i, const Action& action) {
    if (const auto* send = std::get_if<Send>(&action)) {
      for (std::size_t j = 0; j < cores_.size(); ++j) {
        if (node(j) != send->to) continue;
        sent.push_back({i, j, send->bytes});
        if (cut.contains({i, j})) continue;
        later(base::Duration(1000), [this, i, j, bytes = send->bytes] {
          give(j, Received{node(i), bytes});
        });
      }
    } else if (const auto* persist = std::get_if<Persist>(&action)) {
      later(base::Duration(500), [this, i, life = lives_[i], write = *persist] {
        if (lives_[i] != life || !cores_[i]) return;
        for (const RecordChange& c : write.changes) {
          if (c.value) disks_[i][c.key] = *c.value;
          if (!c.value) disks_[i].erase(c.key);
        }
        give(i, Persisted{write.id});
      });
    } else if (const auto* reply = std::get_if<PersonReply>(&action)) {
      replies.push_back(*reply);
    } else if (const auto* event = std::get_if<HandoverEvent>(&action)) {
      events.push_back(*event);
    } else {
      host(i, action);
    }
  }
  void host(std::size_t i, const Action& action) {
    if (const auto* a = std::get_if<CollectRequirement>(&action)) {
      operation(i, "collect", a->id, RequirementCollected{a->id, true, {1}, {}});
    } else if (const auto* b = std::get_if<CheckPreflight>(&action)) {
      operation(i, "preflight", b->id, PreflightChecked{b->id, true, {}});
    } else if (const auto* c = std::get_if<FreezeAndStream>(&action)) {
      operation(i, "freeze", c->id, StreamComplete{c->id, SealHash{{5}}, 77});
    } else if (const auto* d = std::get_if<SendSeal>(&action)) {
      operation(i, "seal", d->id, std::nullopt);
      for (std::size_t j = 0; j < cores_.size() && !silent.contains("the seal arrives"); ++j) {
        if (node(j) == d->sink)
          later(base::Duration(3000), [this, j, id = d->id] { give(j, StreamSealed{id, 77}); });
      }
    } else if (const auto* e = std::get_if<ExpectStream>(&action)) {
      operation(i, "expect", e->id, std::nullopt);
    } else if (const auto* f = std::get_if<Restore>(&action)) {
      operation(i, "restore", f->id, Held{f->id, {3, 4}});
    } else if (const auto* g = std::get_if<CheckCopy>(&action)) {
      operation(i, "check-copy", g->id, CopyState{g->id, true});
    } else if (const auto* h = std::get_if<CheckOriginal>(&action)) {
      operation(i, "check-original", h->id, OriginalState{h->id, true});
    } else if (const auto* k = std::get_if<ReleaseCopy>(&action)) {
      operation(i, "release", k->id, Released{k->id, true});
    } else if (const auto* l = std::get_if<DiscardCopy>(&action)) {
      operation(i, "discard", l->id, Discarded{l->id});
    } else if (const auto* m = std::get_if<Thaw>(&action)) {
      operation(i, "thaw", m->id, Thawed{m->id, true});
    } else if (const auto* n = std::get_if<KillOriginal>(&action)) {
      kills.push_back(*n);
      operation(i, "kill", n->id, Killed{n->id});
    }
  }

  std::vector<std::unique_ptr<Balance>> cores_;
  std::vector<Recovered> disks_;
  std::vector<bool> live_;
  std::vector<std::uint64_t> lives_;
  std::multimap<base::Time, std::function<void()>> queue_;
};

// Cuts a node off from all.
inline void isolate(Rig& rig, std::size_t node, std::size_t nodes) {
  for (std::size_t i = 0; i < nodes; ++i) {
    rig.cut.insert({i, node});
    rig.cut.insert({node, i});
  }
}

}  // namespace balance::testing
