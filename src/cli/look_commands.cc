// tern status, find-minus, probe, events, config, metrics, completion, version: looking.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <iostream>
#include <sstream>

#include "cli/completion.h"
#include "cli/daemon_flags.h"
#include "cli/probe_command.h"
#include "cli/text.h"
#include "control/json.h"
#include "control/limits.h"

namespace cli {
namespace {

constexpr std::int64_t kMicro = 1'000'000;

Cell trit_cell(int trit) {
  if (trit > 0) return {"PLUS", Colour::kRed};
  return trit < 0 ? Cell("MINUS", Colour::kGreen) : Cell("ERGODIC");
}

Cell state_cell(const control::NodeReport& node) {
  if (node.state == "alive") return {"alive", Colour::kGreen};
  // What is not alive now gets no work; "suspect" alone would not say so to a person.
  if (node.state == "suspect") return {"unreachable", Colour::kYellow};
  return {node.state, Colour::kDim};
}

void add_node(Table& table, const control::NodeReport& node, bool self) {
  // Who has just joined has no memory until it says what it has and does.
  const bool known = (node.state == "alive" || node.state == "suspect") && node.mem_total_bytes > 0;
  const auto text = [&](std::string value) { return known ? std::move(value) : std::string("-"); };
  table.row({node.name + (self ? "*" : ""), state_cell(node),
             text(decimal_text(node.effective_ratio_micros, kMicro, 2)),
             text(decimal_text(node.ratio_micros, kMicro, 2)),
             known ? trit_cell(node.trit) : Cell("-"),
             text(decimal_text(node.cpus_millis, 1000, node.cpus_millis % 1000 == 0 ? 0 : 2)),
             text(bytes_text(node.mem_free_bytes)), text(std::to_string(node.jobs)),
             text(std::to_string(node.parked)), node.seat ? node.seat->role : std::string("-"),
             node.address, node.id.substr(0, 8)});
}

Table node_table() {
  return Table({{"NODE"},
                {"STATE"},
                {"EFFECTIVE", Align::kRight},
                {"RATIO", Align::kRight},
                {"TRIT"},
                {"CPUS", Align::kRight},
                {"FREE", Align::kRight},
                {"JOBS", Align::kRight},
                {"PARKED", Align::kRight},
                {"SEAT"},
                {"ADDRESS", Align::kLeft, /*shrinks=*/true},
                {"ID"}});
}

int show_status(Context& context, const std::string& data) {
  const auto status = control::parse_status(data);
  if (!status) return report(context, status.error());
  const bool holds = status->seats_sum_mod_3 == 0;
  context.out.write("mesh " + escape_line(status->mesh.name) +
                    "  S = " + std::to_string(status->sum) + ", " + escape_line(status->rule) +
                    "; seats sum to " + std::to_string(status->seats_sum_mod_3) + " (mod 3)" +
                    (holds ? "" : ", which must not be") + "\n");
  Table table = node_table();
  for (const control::NodeReport& node : status->nodes) {
    add_node(table, node, node.id == status->self);
  }
  context.out.write(table.render(context.out.style()));
  if (!status->sentence.empty()) context.out.write(escape_line(status->sentence) + "\n");
  return 0;
}

int find_minus(Context& context, std::size_t wanted) {
  auto final = ask(context, control::StatusRequest{});
  if (!final) return report(context, final.error());
  if (!final->ok) return report(context, *final);
  auto status = control::parse_status(final->data);
  if (!status) return report(context, status.error());
  auto& nodes = status->nodes;
  std::erase_if(nodes, [](const auto& node) { return node.state != "alive" || node.trit >= 0; });
  std::sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) {
    return a.effective_ratio_micros != b.effective_ratio_micros
               ? a.effective_ratio_micros < b.effective_ratio_micros
               : a.id < b.id;
  });
  if (nodes.size() > wanted) nodes.resize(wanted);
  if (context.json) {
    std::vector<std::string> list;
    for (const auto& node : nodes) list.push_back(control::to_json(node));
    context.out.json(control::JsonWriter().raw_list("nodes", list).finish());
  } else if (!nodes.empty()) {
    Table table = node_table();
    for (const auto& node : nodes) add_node(table, node, node.id == status->self);
    context.out.write(table.render(context.out.style()));
  }
  if (!nodes.empty()) return 0;
  context.err.notice("no node is MINUS now; see all of them: tern status");
  return static_cast<int>(control::Exit::kNothingFits);
}

// ---- events

std::string clock_text(std::int64_t wall_seconds) {
  const std::time_t time = wall_seconds;
  std::tm parts{};
  char text[32] = "?";
  if (::localtime_r(&time, &parts) != nullptr) {
    (void)std::strftime(text, sizeof text, "%F %T", &parts);
  }
  return text;
}

std::string handover_text(const control::Handover& handover) {
  const auto called = [](const std::string& name, const std::string& id) {
    return name.empty() ? id.substr(0, 8) : name;
  };
  std::string text = called(handover.from_name, handover.from) + " -> " +
                     called(handover.to_name, handover.to) + " " + handover.outcome;
  if (!handover.reason.empty()) text += " (" + handover.reason + ")";
  text += ", " + bytes_text(handover.bytes) + ", frozen " + seconds_text(handover.frozen_micros);
  std::string phases;
  for (std::size_t i = 0; i < control::Handover::kPhases; ++i) {
    if (!handover.phase_micros[i]) continue;
    phases += phases.empty() ? ": " : ", ";
    phases += std::string(control::kPhaseNames[i]) + " " + seconds_text(*handover.phase_micros[i]);
  }
  return text + phases;
}

std::string event_text(const control::Event& event) {
  control::JsonReader in(event.json);
  const std::int64_t time = in.decimal_or("time", 1);
  const std::string node = in.text_or("node", control::kSentenceBytesMax);
  const std::string kind = in.text_or("kind", control::kSentenceBytesMax);
  std::string out = clock_text(time) + "  " + node + "  " + kind;
  for (const auto& [name, value] : in.members()) {
    if (name == "time" || name == "node" || name == "kind") continue;
    if (const auto moved = control::parse_handover(value); name == "handover" && moved) {
      out += "  " + handover_text(*moved);
      continue;
    }
    const bool quoted =
        value.size() > 2 && value.front() == '"' && value.find_first_of(" \\") == std::string::npos;
    out += "  " + name + "=" + (quoted ? value.substr(1, value.size() - 2) : value);
  }
  return out;
}

int events(Context& context, bool follow) {
  Ask how;
  if (follow) how.patience = std::nullopt;
  how.on_event = [&](const control::Event& event) -> base::Status {
    if (context.json) {
      context.out.json(event.json);
    } else {
      context.out.write(escape_line(event_text(event)) + "\n");
    }
    return context.out.status();
  };
  auto final = ask(context, control::EventsRequest{follow}, how);
  if (!final) return report(context, final.error());
  return final->ok ? 0 : report(context, *final);
}

int show_settings(Context& context, const std::string& data) {
  const auto settings = control::parse_settings(data);
  if (!settings) return report(context, settings.error());
  Table table({{"SETTING"}, {"VALUE", Align::kLeft, /*shrinks=*/true}, {"FROM"}});
  for (const control::Setting& setting : *settings) {
    table.row({setting.name, setting.value, setting.from});
  }
  context.out.write(table.render(context.out.style()));
  return 0;
}

// What the daemon runs with; without one, what one that is started now would run with.
int config(Context& context) {
  auto final = ask(context, control::ConfigRequest{});
  if (!final && final.error().code != base::Code::kUnreachable) {
    return report(context, final.error());
  }
  if (final && !final->ok) return report(context, *final);
  std::string data = final ? final->data : "";
  if (!final) {
    const auto options = stored_options(context);
    if (!options) return report_options(context, options.error());
    data = control::settings_to_json(control::settings_of(*options));
    context.err.notice("no daemon runs; one that is started now has these settings");
  }
  if (context.json) {
    context.out.json(data);
    return 0;
  }
  const int exit = show_settings(context, data);
  context.err.notice("Change them in " + context.paths.settings_file() +
                     "; a daemon reads it when it starts");
  return exit;
}

int show_metrics(Context& context, const std::string& data) {
  control::JsonReader in(data);
  const control::JsonReader counters = in.object("counters");
  if (!in.ok()) return report(context, in.status().error());
  Table table({{"COUNTER"}, {"VALUE", Align::kRight}});
  for (const auto& [name, value] : counters.members()) table.row({name, value});
  context.out.write(table.render(context.out.style()));
  return 0;
}

int probe(Context& context) {
  ProbeOptions options;
  options.json = context.json;
  std::ostringstream out;
  std::ostringstream err;
  const int exit = run_probe_command(options, out, err);
  // Commands of processes are whatever their owners wrote there.
  if (context.json) {
    std::string json = out.str();
    if (json.ends_with('\n')) json.pop_back();
    if (!json.empty()) context.out.json(json);
  } else {
    context.out.write(escape_block(out.str()));
  }
  context.err.write(escape_block(err.str()));
  return exit;
}

int version(Context& context) {
  if (context.json) {
    control::JsonWriter out;
    out.text("version", TERN_VERSION).integer("control_protocol", control::kProtocolVersion);
    context.out.json(out.finish());
  } else {
    context.out.write("tern " TERN_VERSION "\n");
  }
  return 0;
}

using ShowData = int (*)(Context&, const std::string&);

void add_shown(CLI::App& root, Context& context, Commands& commands, const CommandText& text,
               control::Request (*request)(), ShowData show) {
  commands.push_back({add_command(root, context, text), [&context, request, show] {
                        return ask_and_show(context, request(), [&](const std::string& data) {
                          return show(context, data);
                        });
                      }});
}

}  // namespace

void add_look_commands(CLI::App& root, Context& context, Commands& commands) {
  add_shown(
      root, context, commands, {"status", "Every node and the rule in force", "tern status --json"},
      []() -> control::Request { return control::StatusRequest{}; }, show_status);

  auto* minus = add_command(
      root, context, {"find-minus", "The least loaded nodes, best first", "tern find-minus -n 1"});
  auto wanted = std::make_shared<std::size_t>(3);
  minus->add_option("-n", *wanted, "At most this many (default: 3)")
      ->check(CLI::Range(std::size_t{1}, control::kNodesMax));
  commands.push_back({minus, [wanted, &context] { return find_minus(context, *wanted); }});

  commands.push_back(
      {add_command(root, context,
                   {"probe", "This machine: load and busy processes; needs no daemon",
                    "tern probe --json"}),
       [&context] { return probe(context); }});

  auto* events_app =
      add_command(root, context,
                  {"events", "What happened since this daemon started", "tern events -f --json"});
  auto follow = std::make_shared<bool>(false);
  events_app->add_flag("-f,--follow", *follow, "Go on with what happens from now on");
  commands.push_back({events_app, [follow, &context] { return events(context, *follow); }});

  commands.push_back(
      {add_command(root, context,
                   {"config", "Each setting and where it comes from", "tern config --json"}),
       [&context] { return config(context); }});
  add_shown(
      root, context, commands, {"metrics", "Counters of this node", "tern metrics --json"},
      []() -> control::Request { return control::MetricsRequest{}; }, show_metrics);

  auto* completion_app = add_command(
      root, context,
      {"completion", "Completion for a shell: bash, zsh or fish",
       "tern completion bash > ~/.local/share/bash-completion/completions/tern", false});
  auto shell = std::make_shared<std::string>();
  completion_app->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  commands.push_back({completion_app, [shell, &root, &context] {
                        const std::string script = completion_script(root, *shell);
                        if (script.empty()) {
                          return usage(context, "completion is there for bash, zsh and fish");
                        }
                        context.out.write(script);
                        return 0;
                      }});
  commands.push_back({add_command(root, context, {"version", "Version of tern", "tern version"}),
                      [&context] { return version(context); }});
}

}  // namespace cli
