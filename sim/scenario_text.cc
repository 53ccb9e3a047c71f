#include "sim/scenario_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "node/throttles.h"

namespace sim {
namespace {

using base::Code;
using base::Duration;
using base::fail;

constexpr double kSecondsMax = 30.0 * 86'400;

// One line's words, taken from the front. The first thing that does not fit is kept as `wrong`.
class Words {
 public:
  explicit Words(std::string_view line) {
    line = line.substr(0, line.find('#'));
    while (!line.empty()) {
      const std::size_t from = line.find_first_not_of(" \t\r");
      if (from == std::string_view::npos) break;
      line.remove_prefix(from);
      const std::size_t size = std::min(line.find_first_of(" \t\r"), line.size());
      words_.push_back(line.substr(0, size));
      line.remove_prefix(size);
    }
  }
  [[nodiscard]] bool over() const { return at_ >= words_.size(); }
  [[nodiscard]] std::string_view next(const char* what) {
    if (over()) {
      note(std::string(what) + " is missing");
      return {};
    }
    return words_[at_++];
  }
  bool take(std::string_view word) {
    if (over() || words_[at_] != word) return false;
    ++at_;
    return true;
  }
  void expect(std::string_view word) {
    if (!take(word)) note("\"" + std::string(word) + "\" is expected");
  }
  void note(std::string what) {
    if (wrong.empty()) wrong = std::move(what);
  }

  // A number with one of the suffixes; each is worth a factor.
  struct Unit {
    std::string_view suffix;
    double factor;
  };
  double number(const char* what, std::initializer_list<Unit> units, double low, double high) {
    const std::string_view word = next(what);
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    const std::string_view suffix = word.substr(static_cast<std::size_t>(end - word.data()));
    double factor = suffix.empty() ? 1 : 0;
    for (const Unit& unit : units) {
      if (unit.suffix == suffix) factor = unit.factor;
    }
    if (error != std::errc{} || factor == 0 || !std::isfinite(value)) {
      note(std::string(what) + " \"" + std::string(word) + "\" is no number with a known unit");
      return low;
    }
    value *= factor;
    if (value < low || value > high) {
      note(std::string(what) + " \"" + std::string(word) + "\" is out of range");
      return low;
    }
    return value;
  }
  std::uint64_t natural(const char* what, std::uint64_t high) {
    const std::string_view word = next(what);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size() || value > high) {
      note(std::string(what) + " \"" + std::string(word) + "\" is no number up to " +
           std::to_string(high));
      return 0;
    }
    return value;
  }
  Duration time(const char* what) {
    const double seconds = number(
        what, {{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"min", 60}, {"h", 3600}}, 0, kSecondsMax);
    return Duration(std::llround(seconds * 1e6));
  }
  std::int64_t bytes(const char* what) {
    constexpr double kKilo = 1024;
    return std::llround(
        number(what, {{"K", kKilo}, {"M", kKilo * kKilo}, {"G", kKilo * kKilo * kKilo}}, 0, 1e15));
  }

  std::string wrong;

 private:
  std::vector<std::string_view> words_;
  std::size_t at_ = 0;
};

void read_shape(Words& in, NodeShape& shape) {
  while (!in.over() && in.wrong.empty()) {
    if (in.take("cpus")) {
      shape.cpus_millis = std::llround(in.number("cpus", {}, 0.001, 100'000) * 1000);
    } else if (in.take("memory")) {
      shape.memory_bytes = in.bytes("memory");
    } else if (in.take("load")) {
      shape.other_load_micros = std::llround(in.number("load", {}, 0, 100'000) * 1e6);
    } else {
      in.note("cpus, memory or load is expected");
    }
  }
}

std::uint32_t node_number(Words& in, const Scenario& world) {
  return static_cast<std::uint32_t>(in.natural("node", world.nodes - 1));
}

void read_job(Words& in, Scenario& world) {
  JobPlan job;
  in.expect("at");
  job.at = in.time("time");
  in.expect("on");
  job.node = node_number(in, world);
  while (!in.over() && in.wrong.empty()) {
    if (in.take("threads")) {
      job.threads = static_cast<std::int64_t>(in.natural("threads", 10'000));
    } else if (in.take("work")) {
      job.work = in.time("work");
    } else if (in.take("memory")) {
      job.memory_bytes = in.bytes("memory");
    } else if (in.take("output")) {
      job.output_per_second = static_cast<std::int64_t>(in.natural("output", 1'000'000'000));
    } else {
      in.note("threads, work, memory or output is expected");
    }
  }
  world.jobs.push_back(job);
}

void read_fault(Words& in, Scenario& world) {
  FaultPlan plan;
  in.expect("at");
  plan.at = in.time("time");
  const std::string_view name = in.next("fault");
  const auto fault = fault_from(name);
  if (!fault || fault_sort(*fault) != FaultSort::kScheduled) {
    return in.note("\"" + std::string(name) + "\" is no fault that can be scheduled");
  }
  plan.fault = *fault;
  while (!in.over() && in.wrong.empty()) {
    if (in.take("node")) {
      plan.node = node_number(in, world);
    } else if (in.take("for")) {
      plan.length = in.time("length");
    } else if (in.take("part")) {
      plan.part_ppm = static_cast<std::uint32_t>(std::llround(in.number("part", {}, 0, 1) * 1e6));
    } else if (in.take("salt")) {
      plan.salt = in.natural("salt", UINT64_MAX);
    } else {
      in.note("node, for, part or salt is expected");
    }
  }
  world.faults.push_back(plan);
}

const char* verb_name(PersonPlan::Verb verb) {
  switch (verb) {
    case PersonPlan::Verb::kKill:
      return "kill";
    case PersonPlan::Verb::kResolve:
      return "resolve";
    case PersonPlan::Verb::kPs:
      return "ps";
    case PersonPlan::Verb::kLogs:
      return "logs";
    case PersonPlan::Verb::kDown:
      return "down";
    case PersonPlan::Verb::kPark:
      return "park";
    case PersonPlan::Verb::kWake:
      return "wake";
    case PersonPlan::Verb::kThrottle:
      return "throttle";
    case PersonPlan::Verb::kDrain:
      return "drain";
    case PersonPlan::Verb::kMigrate:
      break;
  }
  return "migrate";
}

void read_person(Words& in, Scenario& world) {
  PersonPlan person;
  in.expect("at");
  person.at = in.time("time");
  using Verb = PersonPlan::Verb;
  for (const Verb verb : {Verb::kKill, Verb::kResolve, Verb::kPs, Verb::kLogs, Verb::kDown,
                          Verb::kPark, Verb::kWake, Verb::kThrottle, Verb::kDrain}) {
    if (person.verb == Verb::kMigrate && in.take(verb_name(verb))) person.verb = verb;
  }
  if (person.verb == Verb::kMigrate) in.expect("migrate");
  if (names_job(person.verb)) {
    person.job = static_cast<std::uint32_t>(in.natural("job", 10'000'000));
  }
  if (names_node(person.verb)) {
    in.expect("on");
    person.to = node_number(in, world);
  } else if (in.take("to")) {
    person.to = node_number(in, world);
  }
  if (person.verb == Verb::kThrottle && in.take("percent")) {
    person.percent = static_cast<std::uint32_t>(in.natural("percent", node::kThrottlePercentMax));
  }
  if (in.take("for")) person.length = in.time("length");
  world.people.push_back(person);
}

void read_rate(Words& in, Scenario& world) {
  const std::string_view name = in.next("fault");
  const auto fault = fault_from(name);
  if (!fault || fault_sort(*fault) == FaultSort::kScheduled) {
    return in.note("\"" + std::string(name) + "\" is no fault that has a rate");
  }
  world.rate_ppm[static_cast<std::size_t>(*fault)] =
      static_cast<std::uint32_t>(std::llround(in.number("rate", {}, 0, 1) * 1e6));
}

void read_line(Words& in, Scenario& world) {
  const std::string_view word = in.next("a word");
  if (word == "seed") {
    world.seed = in.natural("seed", UINT64_MAX);
  } else if (word == "nodes") {
    world.nodes = static_cast<std::uint32_t>(in.natural("nodes", kNodesMax));
    if (world.nodes == 0) in.note("there is at least one node");
  } else if (word == "seconds") {
    world.faulty = in.time("seconds");
  } else if (word == "starts") {
    world.starts = in.time("starts");
  } else if (word == "settle") {
    world.settle = in.time("settle");
  } else if (word == "crypto") {
    world.real_crypto = in.take("real");
    if (!world.real_crypto) in.expect("fast");
  } else if (word == "all") {
    read_shape(in, world.shape);
  } else if (word == "node") {
    const std::uint32_t node = node_number(in, world);
    world.shapes[node] = world.shape;
    read_shape(in, world.shapes[node]);
  } else if (word == "latency") {
    world.latency_min = in.time("least latency");
    world.latency_typical = in.time("typical latency");
  } else if (word == "bandwidth") {
    world.bandwidth_bytes_per_second = std::max<std::int64_t>(in.bytes("bandwidth"), 1);
  } else if (word == "rate") {
    read_rate(in, world);
  } else if (word == "job") {
    read_job(in, world);
  } else if (word == "fault") {
    read_fault(in, world);
  } else if (word == "person") {
    read_person(in, world);
  } else if (word == "expect") {
    Expectation one;
    one.what = in.next("a figure");
    one.relation = in.next("a relation");
    one.value = in.number("value", {}, -1e15, 1e15);
    const bool known = one.relation == ">=" || one.relation == "<=" || one.relation == "==";
    if (!known) in.note(">=, <= or == is expected");
    world.expectations.push_back(one);
  } else {
    in.note("\"" + std::string(word) + "\" is no word of a scenario");
  }
  if (!in.over()) in.note("there is more in this line than fits");
}

// The shortest text that reads back as the same number of millionths.
std::string decimal(std::int64_t micros) {
  std::string text = std::to_string(micros / 1'000'000);
  std::string fraction = std::to_string(micros % 1'000'000);
  fraction.insert(0, 6 - fraction.size(), '0');
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  return fraction.empty() ? text : text + "." + fraction;
}

std::string seconds(Duration time) { return decimal(time.count()) + "s"; }

std::string shape_text(const NodeShape& shape) {
  return " cpus " + decimal(shape.cpus_millis * 1000) + " memory " +
         std::to_string(shape.memory_bytes) + " load " + decimal(shape.other_load_micros);
}

}  // namespace

base::Result<Scenario> parse_scenario(std::string_view text) {
  if (text.size() > kScenarioSizeMax) return fail(Code::kInvalid, "the scenario is too long");
  Scenario world;
  world.faulty = std::chrono::seconds(120);
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t size = std::min(text.find('\n'), text.size());
    Words words(text.substr(0, size));
    text.remove_prefix(std::min(size + 1, text.size()));
    if (++number > kScenarioLinesMax) return fail(Code::kInvalid, "the scenario is too long");
    if (words.over()) continue;
    read_line(words, world);
    if (words.wrong.empty()) continue;
    return fail(Code::kInvalid, "line " + std::to_string(number) + ": " + words.wrong);
  }
  const auto by_time = [](const auto& a, const auto& b) { return a.at < b.at; };
  std::stable_sort(world.faults.begin(), world.faults.end(), by_time);
  for (const PersonPlan& person : world.people) {
    if (names_job(person.verb) && person.job >= world.jobs.size())
      return fail(Code::kInvalid, "a person names no job");
  }
  // `nodes` may come after what names one.
  const auto beyond = [&](std::uint32_t node) { return node != kNobody && node >= world.nodes; };
  bool fits = world.shapes.empty() || world.shapes.rbegin()->first < world.nodes;
  for (const JobPlan& job : world.jobs) fits = fits && !beyond(job.node);
  for (const FaultPlan& fault : world.faults) fits = fits && !beyond(fault.node);
  for (const PersonPlan& person : world.people) fits = fits && !beyond(person.to);
  if (!fits) return fail(Code::kInvalid, "something is on a node that there is not");
  return world;
}

std::string write_scenario(const Scenario& world) {
  std::string out = "seed " + std::to_string(world.seed) + "\nnodes " +
                    std::to_string(world.nodes) + "\nstarts " + seconds(world.starts) +
                    "\nseconds " + seconds(world.faulty) + "\nsettle " + seconds(world.settle) +
                    "\ncrypto " + (world.real_crypto ? "real" : "fast") + "\n";
  out += "latency " + seconds(world.latency_min) + " " + seconds(world.latency_typical) +
         "\nbandwidth " + std::to_string(world.bandwidth_bytes_per_second) + "\nall" +
         shape_text(world.shape) + "\n";
  for (const auto& [node, shape] : world.shapes) {
    out += "node " + std::to_string(node) + shape_text(shape) + "\n";
  }
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    if (world.rate_ppm[kind] == 0) continue;
    out += "rate " + std::string(fault_name(static_cast<Fault>(kind))) + " " +
           decimal(world.rate_ppm[kind]) + "\n";
  }
  for (const JobPlan& job : world.jobs) {
    out += "job at " + seconds(job.at) + " on " + std::to_string(job.node) + " threads " +
           std::to_string(job.threads) + " work " + seconds(job.work) + " memory " +
           std::to_string(job.memory_bytes) + " output " + std::to_string(job.output_per_second) +
           "\n";
  }
  for (const FaultPlan& fault : world.faults) {
    out += "fault at " + seconds(fault.at) + " " + std::string(fault_name(fault.fault));
    if (fault.node != kNobody) out += " node " + std::to_string(fault.node);
    out += " for " + seconds(fault.length) + " part " + decimal(fault.part_ppm) + " salt " +
           std::to_string(fault.salt) + "\n";
  }
  for (const PersonPlan& person : world.people) {
    out += "person at " + seconds(person.at) + " " + verb_name(person.verb);
    if (names_job(person.verb)) out += " " + std::to_string(person.job);
    const char* const before = names_node(person.verb) ? " on " : " to ";
    if (person.to != kNobody) out += before + std::to_string(person.to);
    if (person.percent) out += " percent " + std::to_string(*person.percent);
    if (person.length.count() != 0) out += " for " + seconds(person.length);
    out += "\n";
  }
  for (const Expectation& one : world.expectations) {
    out += "expect " + one.what + " " + one.relation + " " +
           decimal(std::llround(one.value * 1e6)) + "\n";
  }
  return out;
}

}  // namespace sim
