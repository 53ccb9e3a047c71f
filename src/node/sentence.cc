#include "node/sentence.h"

#include <algorithm>

#include "balance/limits.h"
#include "balance/rules.h"

namespace node {
namespace {

using balance::JobFacts;
using balance::NodeLoad;

constexpr std::size_t kNamesMax = 3;  // then "and 4 more"
constexpr char kAboutToMove[] = " is about to move to ";

const Picture::Node* find(const Picture& picture, const base::NodeId& id) {
  for (const Picture::Node& node : picture.nodes) {
    if (node.load.id == id) return &node;
  }
  return nullptr;
}

std::string name_of(const Picture& picture, const base::NodeId& id) {
  const Picture::Node* node = find(picture, id);
  return node == nullptr ? id.brief() : node->name;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kNamesMax; ++i) {
    const bool last = i + 1 == names.size();
    text += (i == 0 ? "" : last ? " and " : ", ") + names[i];
  }
  if (names.size() > kNamesMax)
    text += " and " + std::to_string(names.size() - kNamesMax) + " more";
  return text;
}

// The MINUS nodes other than that one.
std::vector<Picture::Node> sinks(const Picture& picture, const base::NodeId& source) {
  std::vector<Picture::Node> found;
  for (const Picture::Node& node : picture.nodes) {
    const bool minus = node.load.live && node.load.trit == probe::Trit::kMinus;
    if (minus && node.load.id != source) found.push_back(node);
  }
  return found;
}

// Why no MINUS node can take any job at all; empty where one might.
std::string no_sink(const Picture& picture, const base::NodeId& source) {
  const std::vector<Picture::Node> minus = sinks(picture, source);
  if (minus.empty()) return "there is no MINUS node";
  std::vector<std::string> refuse;
  for (const Picture::Node& node : minus) {
    if (!node.load.accepts_jobs) refuse.push_back(node.name);
  }
  if (refuse.size() < minus.size()) return {};
  return "no MINUS node accepts jobs: " + list_of(refuse) +
         (refuse.size() == 1 ? " refuses" : " refuse") + " by policy";
}

// Of one job that may leave: what is wrong with all sinks.
std::string why_no_room(const Picture& picture, const JobFacts& job, const std::string& called) {
  const balance::Level here{picture.local.effective_ratio_micros,
                            std::max<std::int64_t>(picture.local.cpus_millis, 1)};
  bool free_seat = false;
  bool memory = false;
  bool load = false;
  for (const Picture::Node& node : sinks(picture, picture.self)) {
    if (!node.load.accepts_jobs) continue;
    const balance::Level there{node.load.effective_ratio_micros,
                               std::max<std::int64_t>(node.load.cpus_millis, 1)};
    const std::int64_t room =
        balance::memory_room(node.load.memory_free_bytes, node.load.memory_total_bytes);
    const bool has_memory = balance::has_room(there, room, 0, job.memory_bytes);
    const bool has_room = balance::has_room(there, room, job.load_micros, job.memory_bytes);
    memory = memory || has_memory;
    load = load || has_room;
    const bool fits = has_room && balance::never_worse(here, there, job.load_micros);
    free_seat = free_seat || (fits && !node.load.has_seat);
    if (fits && node.load.has_seat) return "every MINUS node with room is busy with a move";
  }
  if (free_seat) return {};
  if (!memory) return called + " is too large for every MINUS node";
  if (!load) return called + " would bring every MINUS node above 0.8";
  return called + " would only turn the imbalance round";
}

std::string held_guests(const Picture& picture) {
  if (picture.paused == 0) return {};
  const std::string guests =
      picture.paused == 1 ? "; a guest here is paused"
                          : "; " + std::to_string(picture.paused) + " guests here are paused";
  return guests + (picture.paused_why.empty() ? "" : ": " + picture.paused_why);
}

// What the owner's policy does with guests, where no sentence about those here says it.
std::string refused_guests(const Picture& picture) {
  const std::string why = picture.no_guests_why.empty() ? "" : ": " + picture.no_guests_why;
  if (picture.slowed != 0) {
    const std::string guests = picture.slowed == 1
                                   ? "; a guest here gets"
                                   : "; " + std::to_string(picture.slowed) + " guests here get";
    return guests + " half of the CPU time that " + (picture.slowed == 1 ? "it" : "they") +
           " used, and none is taken in" + why;
  }
  if (why.empty() || picture.paused != 0 || picture.leaving != 0) return {};
  return "; this node takes no guests" + why;
}

std::string leaving_jobs(const Picture& picture) {
  if (picture.leaving == 0) return {};
  const std::string kind = picture.leaving_own ? "job" : "guest";
  const std::string jobs = picture.leaving == 1
                               ? "; a " + kind + " here is"
                               : "; " + std::to_string(picture.leaving) + " " + kind + "s here are";
  return jobs + " to leave: " + picture.leaving_why;
}

// What happens to jobs that rest, in words: those that are parked are woken, queued ones started.
struct Waking {
  std::string subject;
  std::string none;  // of them now
};

Waking waking_of(const std::vector<JobFacts>& resting) {
  const auto queued = static_cast<std::size_t>(
      std::ranges::count(resting, balance::JobState::kQueued, &JobFacts::state));
  std::string what = "woken or started: ";
  Waking words{"; ", "neither happens"};
  if (queued == 0) {
    what = "woken: ";
    words.none = "nothing is woken";
  } else if (queued == resting.size()) {
    what = "started: ";
    words.none = "nothing queued is started";
  }
  words.subject += resting.size() == 1 ? std::string("a job here waits to be ")
                                       : std::to_string(resting.size()) + " jobs here wait to be ";
  words.subject += what;
  return words;
}

// Of the jobs that rest here, and what their waking waits for (balance/rules.h, wake_rule).
std::string resting_jobs(const Picture& picture) {
  std::vector<JobFacts> resting = balance::by_age(picture.local.jobs);
  std::erase_if(resting, [](const JobFacts& job) { return job.waking; });
  if (resting.empty()) return {};
  std::vector<NodeLoad> view;
  for (const Picture::Node& node : picture.nodes) view.push_back(node.load);
  const std::int64_t sum = balance::trit_sum(view);
  const Waking all = waking_of(resting);
  if (picture.local.policy.drains) return all.subject + "this node is drained";
  if (balance::mesh_rule(sum) != balance::MeshRule::kWaking) {
    return all.subject + all.none + " while S is " + std::to_string(sum);
  }
  const bool one = resting.size() == 1;
  const auto young = [&](const JobFacts& job) { return balance::rests_yet(job, picture.now); };
  std::erase_if(resting, young);
  if (resting.empty()) {
    return all.subject + (one ? "it was" : "they were") + " parked a moment ago";
  }
  balance::LocalState local = picture.local;
  std::erase_if(local.jobs, young);
  const std::string subject = waking_of(resting).subject;
  std::vector<base::JobId> soon = balance::wake_rule(local, sum);
  const auto sent = balance::wake_wish(local, view, picture.self);
  if (sent && std::ranges::find(soon, sent->job) == soon.end()) soon.push_back(sent->job);
  if (soon.empty()) return subject + "no MINUS node has room now";
  if (resting.size() == 1) return subject + "it is about to be";
  if (soon.size() == resting.size()) return subject + "they are about to be";
  return subject + (soon.size() == 1 ? "one is" : std::to_string(soon.size()) + " are") +
         " about to be";
}

// What a PLUS node says of itself goes with that, or against it.
std::string said_of(const std::string& plus, const std::string& why) {
  return plus + (why.find(kAboutToMove) == std::string::npos ? ", but " : ", and ") + why;
}

std::string moves_sentence(const Picture& picture);

}  // namespace

std::string why_nothing_moves(const Picture& picture) {
  balance::LocalState local = picture.local;
  if (local.trit != probe::Trit::kPlus) return {};
  const std::string here = name_of(picture, picture.self);
  std::erase_if(local.jobs, [](const JobFacts& job) {  // no load of its own
    return job.state == balance::JobState::kParked || job.state == balance::JobState::kQueued;
  });
  if (local.jobs.empty()) return here + " has no running job of tern's to move";
  if (!local.policy.moves_jobs) return here + " keeps its jobs, by its policy";
  const auto called = [&](const JobFacts& job) {
    const auto name = picture.names.find(job.id);
    return "job " + (name == picture.names.end() ? job.id.brief() : name->second) + " on " + here;
  };
  const std::vector<JobFacts> jobs = balance::by_scum(local.jobs);
  std::vector<NodeLoad> view;
  for (const Picture::Node& node : picture.nodes) view.push_back(node.load);
  for (const JobFacts& job : jobs) {
    if (!balance::why_stays(job, picture.now, false).empty()) continue;
    if (picture.refused.contains(job.id)) continue;
    const auto to = balance::sinks_for(job, local, view, picture.self);
    if (to.empty()) continue;
    return called(job) + kAboutToMove + name_of(picture, to.front().id);
  }
  const bool throttled =
      std::any_of(jobs.begin(), jobs.end(), [](const JobFacts& job) { return job.throttled; });
  const std::string slower = throttled ? "; it is throttled meanwhile" : "";
  if (const std::string none = no_sink(picture, picture.self); !none.empty()) {
    return none + slower;
  }
  // Of the one that would go first.
  for (const JobFacts& job : jobs) {
    if (!job.movable) continue;
    const auto stayed = std::chrono::duration_cast<std::chrono::seconds>(picture.now - job.arrived);
    if (picture.now - job.arrived < balance::kResidence) {
      return called(job) + " arrived " + std::to_string(std::max<std::int64_t>(stayed.count(), 0)) +
             " s ago and stays until " +
             std::to_string(
                 std::chrono::duration_cast<std::chrono::seconds>(balance::kResidence).count()) +
             " s are over";
    }
    if (const auto refused = picture.refused.find(job.id); refused != picture.refused.end()) {
      return called(job) + " did not move: " + refused->second +
             (job.throttled ? "; it is throttled meanwhile" : "");
    }
    const std::string why = why_no_room(picture, job, called(job));
    if (!why.empty()) return why + (job.throttled ? "; it is throttled meanwhile" : "");
  }
  const JobFacts& first = jobs.front();
  if (first.movable)
    return called(first) + " stays: " + balance::why_stays(first, picture.now, false);
  return called(first) +
         " does not move: " + (first.why_not.empty() ? "it cannot be moved" : first.why_not);
}

std::string mesh_sentence(const Picture& picture) {
  return moves_sentence(picture) + resting_jobs(picture) + held_guests(picture) +
         refused_guests(picture) + leaving_jobs(picture);
}

namespace {

std::string moves_sentence(const Picture& picture) {
  if (picture.move) {
    return picture.move->from + " moves " + picture.move->job + " to " + picture.move->to;
  }
  std::vector<const Picture::Node*> live;
  std::vector<const Picture::Node*> plus;
  for (const Picture::Node& node : picture.nodes) {
    if (!node.load.live) continue;
    live.push_back(&node);
    if (node.load.trit == probe::Trit::kPlus) plus.push_back(&node);
  }
  for (const Picture::Node* source : live) {
    if (!source->triad || source->seat != balance::Seat::kSource) continue;
    for (const Picture::Node* sink : live) {
      if (sink->triad == source->triad && sink->seat == balance::Seat::kSink) {
        return source->name + " moves work to " + sink->name;
      }
    }
  }
  const auto throttled = std::count_if(picture.local.jobs.begin(), picture.local.jobs.end(),
                                       [](const JobFacts& job) { return job.throttled; });
  const std::string slower =
      throttled == 0   ? ""
      : throttled == 1 ? ", and a job here is throttled"
                       : ", and " + std::to_string(throttled) + " jobs here are throttled";
  const std::string self = name_of(picture, picture.self);
  if (live.size() > 1 && plus.empty() && balance::is_short_of_memory(picture.local)) {
    std::vector<NodeLoad> view;
    for (const Picture::Node& node : picture.nodes) view.push_back(node.load);
    const auto wished = balance::wish(picture.now, picture.local, view, picture.self);
    return self + " is short of memory, " +
           (wished ? "and gives a job to " + name_of(picture, wished->sinks.front())
                   : "but no MINUS node can take one of its jobs now");
  }
  if (live.size() <= 1) {
    return (picture.nodes.size() <= 1 ? "a mesh of one" : "no other node is alive") +
           std::string(": nothing can move") + slower;
  }
  if (!plus.empty()) {
    const std::string count = plus.size() == 1 ? plus.front()->name + " is PLUS"
                                               : std::to_string(plus.size()) + " nodes are PLUS";
    // This node's own reason is the freshest.
    for (const Picture::Node* node : plus) {
      if (node->load.id != picture.self) continue;
      const std::string why = why_nothing_moves(picture);
      if (!why.empty()) return said_of(count, why);
    }
    if (const std::string none = no_sink(picture, plus.front()->load.id); !none.empty()) {
      return count + ", but " + none;
    }
    for (const Picture::Node* node : plus) {
      const auto told = picture.told.find(node->load.id);
      if (told != picture.told.end() && !told->second.empty()) return said_of(count, told->second);
    }
    return count + (plus.size() == 1 ? ", and has not said what keeps its jobs"
                                     : ", and have not said what keeps their jobs");
  }
  const bool all_between = std::all_of(live.begin(), live.end(), [](const Picture::Node* node) {
    return node->load.trit == probe::Trit::kErgodic;
  });
  if (all_between) return "all nodes are between 0.3 and 0.8: nothing to move" + slower;
  return "no node is PLUS: nothing to move" + slower;
}

}  // namespace

}  // namespace node
