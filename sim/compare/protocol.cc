#include "compare/protocol.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/crypto.h"
#include "probe/trit.h"
#include "sim/world.h"

namespace compare {
namespace {

using base::Duration;
using std::chrono::seconds;

constexpr Duration kLook = seconds(1);

// Counts the triads that each host sat in, from what the nodes say.
class SeatCounter final : public base::Log {
 public:
  explicit SeatCounter(std::uint32_t hosts) : formed_(hosts, 0) {}
  void write(base::LogLevel, std::string_view line,
             std::initializer_list<base::LogField>) override {
    const std::size_t blank = line.find(' ');
    if (blank == std::string_view::npos || line.substr(blank + 1) != "triad_formed") return;
    std::uint32_t host = 0;
    std::from_chars(line.data() + 1, line.data() + blank, host);
    if (host < formed_.size()) rounds_ = std::max(rounds_, ++formed_[host]);
  }
  [[nodiscard]] std::uint32_t rounds() const { return rounds_; }

 private:
  std::vector<std::uint32_t> formed_;
  std::uint32_t rounds_ = 0;
};

sim::Scenario scenario_for(const ProtocolOptions& options, const Loads& loads) {
  sim::Scenario scenario;
  scenario.seed = options.seed;
  scenario.nodes = options.nodes;
  scenario.faulty = options.seconds_max;
  scenario.shape.cpus_millis = kNodeCpus * 1000;
  scenario.shape.memory_bytes = 256LL << 30;
  scenario.rate_ppm[static_cast<std::size_t>(sim::Fault::kLoss)] = options.loss_ppm;
  for (std::uint32_t node = 0; node < loads.size(); ++node) {
    for (std::uint32_t i = 0; i < loads[node]; ++i) {
      sim::JobPlan job;
      job.at = seconds(5);  // the mesh has met
      job.node = node;
      scenario.jobs.push_back(job);
    }
  }
  return scenario;
}

// Where each job ran last: a frozen one still counts at its source.
void find_jobs(const sim::World& world, std::vector<std::uint32_t>& where) {
  for (std::uint32_t host = 0; host < world.hosts(); ++host) {
    for (const sim::Copy& copy : world.machine(host).copies()) {
      if (!copy.frozen) where[copy.job] = host;
    }
  }
}

bool content(const Loads& loads) {
  const auto [least, most] = std::minmax_element(loads.begin(), loads.end());
  const auto trit = [](std::uint32_t load) {
    return probe::classify(static_cast<std::int64_t>(load) * 1'000'000 / kNodeCpus);
  };
  return trit(*most) != probe::Trit::kPlus || trit(*least) != probe::Trit::kMinus;
}

void finish(Outcome& out, const sim::World& world) {
  out.moves = world.counts().commits;
  out.ping_pongs = world.counts().ping_pongs;
  for (const sim::JobTruth& job : world.jobs()) {
    out.jobs_moved += job.moves > 0 ? 1U : 0U;
    out.most_moves = std::max(out.most_moves, job.moves);
  }
}

}  // namespace

Outcome run_protocol(const ProtocolOptions& options) {
  const Loads start = start_loads(options.nodes, options.start, sim::Draws(options.seed));
  Outcome out;
  out.key = "protocol";
  out.title = "the protocol, " + std::to_string(options.nodes) + " nodes";
  out.nodes = options.nodes;
  out.least_moves = least_moves(start, kLevelSpread);
  out.optimal_moves = least_moves(start, 0);
  out.level = level_of(start);
  out.curve.push_back({out.level.spread, out.level.variance, 0});
  out.content = content(start);
  const sim::Scenario scenario = scenario_for(options, start);
  out.jobs = scenario.jobs.size();
  std::vector<std::uint32_t> where;
  for (const sim::JobPlan& job : scenario.jobs) where.push_back(job.node);
  SeatCounter seats(options.nodes);
  sim::World world(scenario, sim::QueueKind::kHeap, &seats);
  std::uint64_t moves = 0;
  Duration moved_at{};
  for (Duration at = kLook; at <= options.seconds_max && at - moved_at <= kQuiet; at += kLook) {
    world.run_until(at, false);
    find_jobs(world, where);
    if (world.counts().commits == moves) continue;
    moves = world.counts().commits;
    moved_at = at;
    Loads loads(options.nodes, 0);
    for (const std::uint32_t host : where) ++loads[host];
    out.level = level_of(loads);
    out.rounds = seats.rounds();
    out.seconds = static_cast<double>(at.count()) / 1e6;
    const Point point{out.level.spread, out.level.variance, moves};
    out.curve.resize(std::max<std::size_t>(out.curve.size(), out.rounds + 1), point);
    out.curve.back() = point;
    out.content = content(loads);
    if (out.level.spread <= kLevelSpread && !out.level_round) out.level_round = out.rounds;
  }
  finish(out, world);
  return out;
}

}  // namespace compare
