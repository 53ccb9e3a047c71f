#include "sim/report.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace sim {
namespace {

using node::quoted;

std::string number(double value) {
  std::array<char, 40> text{};
  (void)std::snprintf(text.data(), text.size(), "%.6g", value);
  return text.data();
}

std::string seconds(base::Duration time) {
  std::array<char, 40> text{};
  (void)std::snprintf(text.data(), text.size(), "%.6f", static_cast<double>(time.count()) / 1e6);
  return text.data();
}

std::string per_node_second(std::uint64_t count, const Outcome& outcome) {
  const double time = static_cast<double>(outcome.simulated.count()) / 1e6;
  return number(static_cast<double>(count) / std::max(time * outcome.nodes, 1e-9));
}

double events_per_second(const Outcome& outcome) {
  return static_cast<double>(outcome.counts.events) /
         std::max(outcome.wall_seconds - outcome.setup_seconds, 1e-9);
}

double real_time_ratio(const Outcome& outcome) {
  return static_cast<double>(outcome.simulated.count()) / 1e6 /
         std::max(outcome.wall_seconds, 1e-9);
}

}  // namespace

std::string json_of(const Outcome& o) {
  std::string out = "{\"seed\":" + std::to_string(o.seed);
  const auto field = [&out](const char* name, const std::string& value) {
    out += ",\"" + std::string(name) + "\":" + value;
  };
  field("nodes", std::to_string(o.nodes));
  field("events", std::to_string(o.counts.events));
  field("simulated_seconds", seconds(o.simulated));
  field("cut_off", o.cut_off ? "true" : "false");
  field("wall_seconds", number(o.wall_seconds));
  field("setup_seconds", number(o.setup_seconds));
  field("events_per_second", number(events_per_second(o)));
  field("real_time_ratio", number(real_time_ratio(o)));
  field("trace_hash", quoted(o.trace_hash));
  std::string list;
  for (const Violation& v : o.violations) {
    list += std::string(list.empty() ? "" : ",") + "{\"promise\":" + quoted(v.promise) +
            ",\"at_seconds\":" + seconds(v.at) + ",\"node\":" + std::to_string(v.node) +
            ",\"detail\":" + quoted(v.detail) + "}";
  }
  field("violations", "[" + list + "]");
  field("converged_at_seconds", seconds(o.converged));
  field("spread", number(o.spread));
  field("coefficient_of_variation", number(o.coefficient_of_variation));
  field("jain_index", number(o.jain_index));
  field("moves", std::to_string(o.counts.commits));
  field("optimal_moves", std::to_string(o.optimal_moves));
  field("ping_pongs", std::to_string(o.counts.ping_pongs));
  field("looks", std::to_string(o.counts.looks));
  field("downs", std::to_string(o.counts.downs));
  field("resolves", std::to_string(o.counts.resolves));
  field("throttles", std::to_string(o.counts.throttles));
  field("drains", std::to_string(o.counts.drains));
  field("messages_per_node_second", per_node_second(o.counts.datagrams + o.counts.messages, o));
  field("bytes_per_node_second",
        per_node_second(o.counts.datagram_bytes + o.counts.message_bytes, o));
  field("state_bytes_per_node", std::to_string(o.state_bytes_per_node));
  if (o.peak_bytes != 0) field("peak_bytes_per_node", std::to_string(o.peak_bytes / o.nodes));
  list.clear();
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    if (o.faults[kind] == 0) continue;
    list += std::string(list.empty() ? "" : ",") + quoted(fault_name(static_cast<Fault>(kind))) +
            ":" + std::to_string(o.faults[kind]);
  }
  field("faults", "{" + list + "}");
  list.clear();
  for (const std::string& unmet : o.unmet) {
    list += std::string(list.empty() ? "" : ",") + quoted(unmet);
  }
  field("unmet", "[" + list + "]");
  return out + "}";
}

std::string fault_table(const FaultCounts& faults) {
  std::string out;
  std::string line = "faults  ";
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    if (faults[kind] == 0) continue;
    const std::string one =
        std::string(fault_name(static_cast<Fault>(kind))) + " " + std::to_string(faults[kind]);
    if (line.size() + one.size() > 96) {
      out += line + "\n";
      line = "        ";
    }
    line += one + "  ";
  }
  return out + line + "\n";
}

std::string summary_of(const Outcome& o) {
  const double simulated = static_cast<double>(o.simulated.count()) / 1e6;
  std::string out = "world   " + std::to_string(o.nodes) + " nodes, " + number(simulated) +
                    " s in " + number(o.wall_seconds) + " s (" + number(real_time_ratio(o)) +
                    " x real time), " + std::to_string(o.counts.events) + " events (" +
                    number(events_per_second(o)) + "/s)\n";
  if (o.peak_bytes != 0) {
    out += "memory  " + number(static_cast<double>(o.peak_bytes) / 1e6) + " MB at most, " +
           std::to_string(o.peak_bytes / o.nodes) + " bytes a node; it stood after " +
           number(o.setup_seconds) + " s\n";
  }
  out += "jobs    " + std::to_string(o.counts.commits) + " moves (at least " +
         std::to_string(o.optimal_moves) + " were needed), " + std::to_string(o.counts.ping_pongs) +
         " ping-pongs, " + std::to_string(o.counts.jobs_ended) + " ended, " +
         std::to_string(o.counts.jobs_lost) + " lost with their machines\n";
  out += "people  " + std::to_string(o.counts.looks) + " looked, " +
         std::to_string(o.counts.downs) + " stopped a daemon, " +
         std::to_string(o.counts.resolves) + " resolved, " + std::to_string(o.counts.throttles) +
         " throttled a job, " + std::to_string(o.counts.drains) + " drained a node\n";
  out += "load    spread " + number(o.spread) + ", coefficient of variation " +
         number(o.coefficient_of_variation) + ", Jain's index " + number(o.jain_index) + "\n";
  out += "wire    " + per_node_second(o.counts.datagrams + o.counts.messages, o) +
         " messages and " + per_node_second(o.counts.datagram_bytes + o.counts.message_bytes, o) +
         " bytes a node and second; " + std::to_string(o.state_bytes_per_node) +
         " bytes of state a node\n";
  out += fault_table(o.faults);
  return out + "trace   " + o.trace_hash + "\n";
}

std::string failure_of(const Outcome& o, const std::string& commit, const std::string& command) {
  std::string out = "FAILED  seed " + std::to_string(o.seed) + ", commit " + commit + "\n";
  for (const Violation& v : o.violations) {
    out += "  broken: " + v.promise + " at " + seconds(v.at) + " s, n" + std::to_string(v.node) +
           ": " + v.detail + "\n";
  }
  for (const std::string& unmet : o.unmet) out += "  expected: " + unmet + "\n";
  for (const auto& [host, events] : o.history) {
    out += "  the last of n" + std::to_string(host) + ":\n";
    for (const std::string& event : events) out += "    " + event + "\n";
  }
  return out + "  again:  " + command + "\n";
}

}  // namespace sim
