#include "compare/compare.h"

#include <array>
#include <cstdio>
#include <ostream>

#include "compare/protocol.h"
#include "compare/rounds.h"

namespace compare {
namespace {

constexpr int kWrongUsage = 2;
constexpr std::array<std::string_view, 3> kStartNames = {"random", "half", "one"};

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return {text.data(), static_cast<std::size_t>(size)};
}

std::string rounds_text(const Outcome& outcome) {
  if (outcome.level_round) return std::to_string(*outcome.level_round);
  if (outcome.content || outcome.seconds) return std::to_string(outcome.rounds) + "*";
  return ">" + std::to_string(outcome.rounds);
}

double per_job(const Outcome& o) {
  return static_cast<double>(o.moves) / static_cast<double>(o.jobs);
}

struct Column {
  std::string_view head;
  std::size_t width;
  std::string (*text)(const Outcome&);
};

const std::array<Column, 11> kColumns = {{
    {"rounds", 7, rounds_text},
    {"spread", 8, [](const Outcome& o) { return std::to_string(o.level.spread); }},
    {"makespan", 10, [](const Outcome& o) { return fixed(o.level.makespan_ratio, 2); }},
    {"cv", 8, [](const Outcome& o) { return fixed(o.level.coefficient_of_variation, 3); }},
    {"jain", 8, [](const Outcome& o) { return fixed(o.level.jain_index, 4); }},
    {"moves", 10, [](const Outcome& o) { return std::to_string(o.moves); }},
    {"/optimum", 10, [](const Outcome& o) { return fixed(o.moves_by_optimum(), 2); }},
    {"per job", 9, [](const Outcome& o) { return fixed(per_job(o), 2); }},
    {"most", 6, [](const Outcome& o) { return std::to_string(o.most_moves); }},
    {"ping-pong", 11, [](const Outcome& o) { return std::to_string(o.ping_pongs); }},
    {"seconds", 9, [](const Outcome& o) { return o.seconds ? fixed(*o.seconds, 0) : ""; }},
}};
constexpr std::size_t kTitleWidth = 37;

void print_head(const CompareOptions& options, std::ostream& out) {
  out << "seed " << options.seed << ", " << options.nodes << " nodes, "
      << std::uint64_t{options.nodes} * kJobsPerNode << " unit jobs, start "
      << start_name(options.start) << ", level at a spread of " << kLevelSpread << " or less\n\n";
  out << "policy" << std::string(kTitleWidth - 6, ' ');
  for (const Column& column : kColumns) {
    out << std::string(column.width - column.head.size(), ' ') << column.head;
  }
  out << "\n";
}

void print_row(const Outcome& outcome, std::ostream& out) {
  const std::size_t size = outcome.title.size();
  out << outcome.title << std::string(size < kTitleWidth ? kTitleWidth - size : 1, ' ');
  for (const Column& column : kColumns) {
    const std::string text = column.text(outcome);
    out << std::string(column.width > text.size() ? column.width - text.size() : 1, ' ') << text;
  }
  out << "\n" << std::flush;
}

void print_json(const CompareOptions& options, const Outcome& o, std::ostream& out) {
  out << "{\"policy\":\"" << o.key << "\",\"seed\":" << options.seed << ",\"start\":\""
      << start_name(options.start) << "\",\"nodes\":" << o.nodes << ",\"jobs\":" << o.jobs
      << ",\"level_round\":" << (o.level_round ? std::to_string(*o.level_round) : "null")
      << ",\"rounds\":" << o.rounds << ",\"content\":" << (o.content ? "true" : "false")
      << ",\"spread\":" << o.level.spread
      << ",\"makespan_ratio\":" << fixed(o.level.makespan_ratio, 6)
      << ",\"coefficient_of_variation\":" << fixed(o.level.coefficient_of_variation, 6)
      << ",\"jain_index\":" << fixed(o.level.jain_index, 6) << ",\"moves\":" << o.moves
      << ",\"least_moves\":" << o.least_moves << ",\"optimal_moves\":" << o.optimal_moves
      << ",\"moves_by_optimum\":" << fixed(o.moves_by_optimum(), 6)
      << ",\"moves_per_job\":" << fixed(per_job(o), 6) << ",\"jobs_moved\":" << o.jobs_moved
      << ",\"most_moves_of_a_job\":" << o.most_moves << ",\"ping_pongs\":" << o.ping_pongs
      << ",\"seconds\":" << (o.seconds ? fixed(*o.seconds, 3) : "null") << "}\n"
      << std::flush;
}

std::string why_not(const CompareOptions& options) {
  if (options.nodes < kNodesMin || options.nodes > kNodesMax) {
    return "nodes: " + std::to_string(kNodesMin) + " to " + std::to_string(kNodesMax);
  }
  if (options.rounds == 0) return "rounds: at least 1";
  if (options.protocol_nodes == 1 || options.protocol_nodes > kProtocolNodesMax) {
    return "nodes of the protocol: 0 for none, or 2 to " + std::to_string(kProtocolNodesMax);
  }
  if (options.loss_ppm > 1'000'000) return "loss: at most all of them";
  for (const std::string& key : options.policies) {
    if (find_policy(key) == nullptr && key != "protocol") return "no policy is called " + key;
  }
  return {};
}

bool wanted(const CompareOptions& options, std::string_view key) {
  if (options.policies.empty()) return true;
  for (const std::string& one : options.policies) {
    if (one == key) return true;
  }
  return false;
}

// The protocol, after what the models of threes make of as small a mesh.
template <typename Show>
void run_beside_protocol(const CompareOptions& options, const Show& show) {
  const sim::Draws draws(options.seed);
  const Loads start = start_loads(options.protocol_nodes, options.start, draws);
  for (const char* key : {"triads", "triads-rules"}) {
    if (options.protocol_nodes == options.nodes && wanted(options, key)) continue;  // shown above
    Outcome model = run_rounds(*find_policy(key), start, options.rounds, draws);
    model.title += ", " + std::to_string(options.protocol_nodes) + " nodes";
    show(model);
  }
  ProtocolOptions protocol;
  protocol.nodes = options.protocol_nodes;
  protocol.seed = options.seed;
  protocol.start = options.start;
  protocol.loss_ppm = options.loss_ppm;
  show(run_protocol(protocol));
}

}  // namespace

std::string_view start_name(Start start) { return kStartNames[static_cast<std::size_t>(start)]; }

std::optional<Start> start_from(std::string_view name) {
  for (std::size_t i = 0; i < kStartNames.size(); ++i) {
    if (kStartNames[i] == name) return static_cast<Start>(i);
  }
  return std::nullopt;
}

int run_compare(const CompareOptions& options, std::ostream& out, std::ostream& errors) {
  const std::string bad = why_not(options);
  if (!bad.empty()) {
    errors << bad << "\n";
    return kWrongUsage;
  }
  const sim::Draws draws(options.seed);
  const Loads start = start_loads(options.nodes, options.start, draws);
  if (!options.json) print_head(options, out);
  const auto show = [&](const Outcome& outcome) {
    options.json ? print_json(options, outcome, out) : print_row(outcome, out);
  };
  for (const PolicyKind& kind : policies()) {
    if (wanted(options, kind.key)) show(run_rounds(kind, start, options.rounds, draws));
  }
  if (options.protocol_nodes > 0 && wanted(options, "protocol")) {
    run_beside_protocol(options, show);
  }
  if (!options.json) {
    out << "\n* at rest by its own rules, which relieve (nobody above 0.8 while somebody below 0.3 "
           "has room)\n  and do not level; > not level after so many rounds. /optimum: moves over "
           "the fewest that level.\n";
  }
  return 0;
}

}  // namespace compare
