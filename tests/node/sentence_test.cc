// What `tern status` says of the mesh, case by case.
#include "node/sentence.h"

#include <gtest/gtest.h>

#include <functional>

namespace node {
namespace {

using probe::Trit;
using std::chrono::seconds;

const base::Time kNow{std::chrono::hours(3)};
base::NodeId id(std::uint8_t n) { return base::NodeId{{n}}; }

Picture::Node node(std::uint8_t n, const char* name, Trit trit, std::int64_t ratio) {
  Picture::Node one;
  one.name = name;
  one.load.id = id(n);
  one.load.live = true;
  one.load.trit = trit;
  one.load.effective_ratio_micros = ratio;
  one.load.memory_free_bytes = 1000;
  one.load.accepts_jobs = true;
  return one;
}

// bob (this node) is PLUS with the job encode; nas is MINUS.
Picture plus_and_minus() {
  Picture picture;
  picture.self = id(1);
  picture.now = kNow;
  picture.nodes = {node(1, "bob", Trit::kPlus, 1'500'000), node(2, "nas", Trit::kMinus, 100'000)};
  picture.local.trit = Trit::kPlus;
  picture.local.effective_ratio_micros = 1'500'000;
  balance::JobFacts job;
  job.id = base::JobId{{9}};
  job.load_micros = 500'000;
  job.memory_bytes = 100;
  job.scum_micros = 500'000;
  job.arrived = kNow - seconds(100);
  picture.local.jobs = {job};
  picture.names[job.id] = "encode";
  return picture;
}

// The same seen from nas.
Picture seen_by_minus() {
  Picture picture = plus_and_minus();
  picture.self = id(2);
  picture.local = {};
  picture.local.trit = Trit::kMinus;
  return picture;
}

// There a job rests; bob is no more than ERGODIC.
Picture parked_on_minus() {
  Picture picture = seen_by_minus();
  picture.nodes[0].load.trit = Trit::kErgodic;
  balance::JobFacts job;
  job.id = base::JobId{{9}};
  job.state = balance::JobState::kParked;
  job.memory_bytes = 100;
  job.arrived = kNow - seconds(100);
  picture.local.jobs = {job};
  picture.local.memory_free_bytes = 1000;
  return picture;
}

Picture resting_two() {
  Picture picture = parked_on_minus();
  picture.local.jobs.push_back(picture.local.jobs[0]);
  picture.local.jobs[1].id = base::JobId{{8}};
  return picture;
}

struct Row {
  const char* name;
  std::function<Picture()> picture;
  const char* sentence;
};

template <typename Change>
std::function<Picture()> with(Picture (*begin)(), Change change) {
  return [begin, change] {
    Picture picture = begin();
    change(picture);
    return picture;
  };
}

const Row kRows[] = {
    {"about to move", plus_and_minus, "bob is PLUS, and job encode on bob is about to move to nas"},
    {"a move that this node takes part in",
     with(plus_and_minus,
          [](Picture& p) {
            p.move = Picture::Move{"encode", "bob", "nas"};
          }),
     "bob moves encode to nas"},
    {"a move of others",
     with(seen_by_minus,
          [](Picture& p) {
            p.nodes[0].triad = p.nodes[1].triad = base::TriadId{{3}};
            p.nodes[0].seat = balance::Seat::kSource;
            p.nodes[1].seat = balance::Seat::kSink;
          }),
     "bob moves work to nas"},
    {"alone", with(plus_and_minus, [](Picture& p) { p.nodes.pop_back(); }),
     "a mesh of one: nothing can move"},
    {"alone, throttled",
     with(plus_and_minus,
          [](Picture& p) {
            p.nodes.pop_back();
            p.local.jobs[0].throttled = true;
          }),
     "a mesh of one: nothing can move, and a job here is throttled"},
    {"the other one is away",
     with(plus_and_minus, [](Picture& p) { p.nodes[1].load.live = false; }),
     "no other node is alive: nothing can move"},
    {"no MINUS", with(plus_and_minus, [](Picture& p) { p.nodes[1].load.trit = Trit::kErgodic; }),
     "bob is PLUS, but there is no MINUS node"},
    {"no MINUS, throttled",
     with(plus_and_minus,
          [](Picture& p) {
            p.nodes[1].load.trit = Trit::kErgodic;
            p.local.jobs[0].throttled = true;
          }),
     "bob is PLUS, but there is no MINUS node; it is throttled meanwhile"},
    {"MINUS refuses",
     with(plus_and_minus, [](Picture& p) { p.nodes[1].load.accepts_jobs = false; }),
     "bob is PLUS, but no MINUS node accepts jobs: nas refuses by policy"},
    {"two PLUS, MINUS refuses",
     with(seen_by_minus,
          [](Picture& p) {
            p.nodes.push_back(node(3, "x", Trit::kPlus, 2'000'000));
            p.nodes.push_back(node(4, "y", Trit::kMinus, 0));
            p.nodes.push_back(node(5, "z", Trit::kMinus, 0));
            p.self = id(4);
            p.nodes[1].load.accepts_jobs = false;
            p.nodes[3].load.accepts_jobs = false;
            p.nodes[4].load.accepts_jobs = false;
          }),
     "2 nodes are PLUS, but no MINUS node accepts jobs: nas, y and z refuse by policy"},
    {"too large", with(plus_and_minus, [](Picture& p) { p.local.jobs[0].memory_bytes = 2000; }),
     "bob is PLUS, but job encode on bob is too large for every MINUS node"},
    {"too much load",
     with(plus_and_minus, [](Picture& p) { p.local.jobs[0].load_micros = 900'000; }),
     "bob is PLUS, but job encode on bob would bring every MINUS node above 0.8"},
    {"never worse",
     with(plus_and_minus,
          [](Picture& p) {
            p.local.cpus_millis = 100;
            p.local.effective_ratio_micros = 900'000;
            p.local.jobs[0].load_micros = 300'000;
            p.nodes[1].load.cpus_millis = 10'000;
            p.nodes[1].load.effective_ratio_micros = 290'000;
            p.local.jobs[0].load_micros = 0;
          }),
     "bob is PLUS, but job encode on bob would only turn the imbalance round"},
    {"busy", with(plus_and_minus, [](Picture& p) { p.nodes[1].load.has_seat = true; }),
     "bob is PLUS, but every MINUS node with room is busy with a move"},
    {"immovable",
     with(plus_and_minus,
          [](Picture& p) {
            p.local.jobs[0].movable = false;
            p.local.jobs[0].why_not = "it has a device open";
          }),
     "bob is PLUS, but job encode on bob does not move: it has a device open"},
    {"residence",
     with(plus_and_minus, [](Picture& p) { p.local.jobs[0].arrived = kNow - seconds(20); }),
     "bob is PLUS, but job encode on bob arrived 20 s ago and stays until 60 s are over"},
    {"throttled",
     with(plus_and_minus,
          [](Picture& p) {
            p.local.jobs[0].memory_bytes = 2000;
            p.local.jobs[0].throttled = true;
          }),
     "bob is PLUS, but job encode on bob is too large for every MINUS node; it is throttled "
     "meanwhile"},
    {"no jobs", with(plus_and_minus, [](Picture& p) { p.local.jobs.clear(); }),
     "bob is PLUS, but bob has no running job of tern's to move"},
    {"only jobs that rest",
     with(plus_and_minus, [](Picture& p) { p.local.jobs[0].state = balance::JobState::kParked; }),
     "bob is PLUS, but bob has no running job of tern's to move; a job here waits to be woken: "
     "nothing is woken while S is 0"},
    {"beside one that rests",
     with(plus_and_minus,
          [](Picture& p) {
            p.local.jobs[0].movable = false;
            p.local.jobs[0].why_not = "it uses a GPU";
            balance::JobFacts rests;
            rests.id = base::JobId{{8}};
            rests.state = balance::JobState::kParked;
            rests.arrived = kNow;
            p.local.jobs.push_back(rests);
          }),
     "bob is PLUS, but job encode on bob does not move: it uses a GPU; a job here waits to be "
     "woken: nothing is woken while S is 0"},
    {"refused lately",
     with(plus_and_minus,
          [](Picture& p) {
            p.refused[p.local.jobs[0].id] = "nas: jobs of root are not allowed here";
          }),
     "bob is PLUS, but job encode on bob did not move: nas: jobs of root are not allowed here"},
    {"policy", with(plus_and_minus, [](Picture& p) { p.local.policy.moves_jobs = false; }),
     "bob is PLUS, but bob keeps its jobs, by its policy"},
    {"asked, and told",
     with(seen_by_minus, [](Picture& p) { p.told[id(1)] = "job x on bob does not move: tty"; }),
     "bob is PLUS, but job x on bob does not move: tty"},
    {"asked, and it is about to",
     with(seen_by_minus,
          [](Picture& p) { p.told[id(1)] = "job x on bob is about to move to nas"; }),
     "bob is PLUS, and job x on bob is about to move to nas"},
    {"asked in vain", seen_by_minus, "bob is PLUS, and has not said what keeps its jobs"},
    {"all between",
     with(plus_and_minus,
          [](Picture& p) {
            p.nodes[0].load.trit = p.nodes[1].load.trit = Trit::kErgodic;
            p.local.trit = Trit::kErgodic;
          }),
     "all nodes are between 0.3 and 0.8: nothing to move"},
    {"short of memory",
     with(seen_by_minus,
          [](Picture& p) {
            p.nodes[0].load.trit = Trit::kErgodic;
            p.local.memory_total_bytes = 1000;
          }),
     "nas is short of memory, but no MINUS node can take one of its jobs now"},
    {"guests refused by the owner's policy",
     with(seen_by_minus,
          [](Picture& p) {
            p.nodes[0].load.trit = Trit::kErgodic;
            p.no_guests_why = "its owner is at work";
          }),
     "no node is PLUS: nothing to move; this node takes no guests: its owner is at work"},
    {"guests throttled by the owner's policy",
     with(seen_by_minus,
          [](Picture& p) {
            p.nodes[0].load.trit = Trit::kErgodic;
            p.no_guests_why = "its owner is at work";
            p.slowed = 2;
          }),
     "no node is PLUS: nothing to move; 2 guests here get half of the CPU time that they used, and "
     "none is taken in: its owner is at work"},
    {"guests paused, which says why already",
     with(seen_by_minus,
          [](Picture& p) {
            p.nodes[0].load.trit = Trit::kErgodic;
            p.no_guests_why = p.paused_why = "its owner is at work";
            p.paused = 1;
          }),
     "no node is PLUS: nothing to move; a guest here is paused: its owner is at work"},
    {"none PLUS", with(seen_by_minus, [](Picture& p) { p.nodes[0].load.trit = Trit::kErgodic; }),
     "no node is PLUS: nothing to move"},
    {"parked, and the mesh is balanced",
     with(parked_on_minus, [](Picture& p) { p.nodes[0].load.trit = Trit::kPlus; }),
     "bob is PLUS, and has not said what keeps its jobs; a job here waits to be woken: nothing is "
     "woken while S is 0"},
    {"parked, to be woken", parked_on_minus,
     "no node is PLUS: nothing to move; a job here waits to be woken: it is about to be"},
    {"parked a moment ago",
     with(parked_on_minus, [](Picture& p) { p.local.jobs[0].arrived = kNow - seconds(20); }),
     "no node is PLUS: nothing to move; a job here waits to be woken: it was parked a moment ago"},
    {"parked, and too large",
     with(parked_on_minus, [](Picture& p) { p.local.jobs[0].memory_bytes = 5000; }),
     "no node is PLUS: nothing to move; a job here waits to be woken: no MINUS node has room now"},
    {"parked, and drained", with(parked_on_minus, [](Picture& p) { p.local.policy.drains = true; }),
     "no node is PLUS: nothing to move; a job here waits to be woken: this node is drained"},
    {"queued, and the mesh is balanced",
     with(resting_two,
          [](Picture& p) {
            p.local.jobs.pop_back();
            p.local.jobs[0].state = balance::JobState::kQueued;
            p.nodes[0].load.trit = Trit::kPlus;
          }),
     "bob is PLUS, and has not said what keeps its jobs; a job here waits to be started: nothing "
     "queued is started while S is 0"},
    {"two that are queued",
     with(resting_two,
          [](Picture& p) {
            for (auto& job : p.local.jobs) job.state = balance::JobState::kQueued;
          }),
     "no node is PLUS: nothing to move; 2 jobs here wait to be started: they are about to be"},
    {"one parked and one queued",
     with(resting_two,
          [](Picture& p) {
            p.local.jobs[1].state = balance::JobState::kQueued;
            p.nodes[0].load.trit = Trit::kPlus;
          }),
     "bob is PLUS, and has not said what keeps its jobs; 2 jobs here wait to be woken or started: "
     "neither happens while S is 0"},
    {"two parked a moment ago",
     with(resting_two,
          [](Picture& p) {
            for (auto& job : p.local.jobs) job.arrived = kNow - seconds(20);
          }),
     "no node is PLUS: nothing to move; 2 jobs here wait to be woken: they were parked a moment "
     "ago"},
    {"parked a moment ago beside one that is being woken",
     with(resting_two,
          [](Picture& p) {
            p.local.jobs[0].arrived = kNow - seconds(20);
            p.local.jobs[1].waking = true;
          }),
     "no node is PLUS: nothing to move; a job here waits to be woken: it was parked a moment ago"},
    {"one parked a moment ago, one that is queued and too large",
     with(resting_two,
          [](Picture& p) {
            p.local.jobs[0].arrived = kNow - seconds(20);
            p.local.jobs[1].state = balance::JobState::kQueued;
            p.local.jobs[1].memory_bytes = 5000;
          }),
     "no node is PLUS: nothing to move; a job here waits to be started: no MINUS node has room "
     "now"},
    {"two parked, of which one has room",
     with(resting_two, [](Picture& p) { p.local.jobs[1].memory_bytes = 5000; }),
     "no node is PLUS: nothing to move; 2 jobs here wait to be woken: one is about to be"},
    {"the dead do not count",
     with(seen_by_minus,
          [](Picture& p) {
            p.nodes.push_back(node(3, "x", Trit::kErgodic, 0));
            p.nodes[0].load.live = false;
          }),
     "no node is PLUS: nothing to move"},
};

TEST(Sentence, SaysWhatTheMeshDoes) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(mesh_sentence(row.picture()), row.sentence);
  }
}

TEST(Sentence, WhoIsNotPlusHasNothingToSay) { EXPECT_EQ(why_nothing_moves(seen_by_minus()), ""); }

}  // namespace
}  // namespace node
