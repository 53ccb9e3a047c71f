#include "control/adopt_report.h"

#include "control/adopt_notes.h"
#include "control/json.h"
#include "control/limits.h"

namespace control {

std::string to_json(const AdoptReport& report) {
  std::vector<std::string> processes;
  for (const auto& [pid, command] : report.processes) {
    JsonWriter one;
    one.integer("pid", pid).text("command", command);
    processes.push_back(one.finish());
  }
  JsonWriter out;
  out.integer("pid", report.pid).text("command", report.command);
  out.text("job", report.job).text("name", report.name).raw_list("processes", processes);
  out.text_list("notes", report.notes).text_list("obstacles", report.obstacles);
  out.text_list("moving", report.moving);
  return out.finish();
}

base::Result<AdoptReport> parse_adopt(std::string_view json) {
  JsonReader in(json);
  AdoptReport report;
  report.pid = in.integer_or("pid", 0, INT32_MAX, 0);
  report.command = in.text_or("command", kSentenceBytesMax);
  report.job = in.text_or("job", kReferenceBytesMax);
  report.name = in.text_or("name", kNameBytesMax);
  for (JsonReader& one : in.objects("processes", kAdoptedProcessesMax)) {
    report.processes.emplace_back(one.integer_or("pid", 0, INT32_MAX, 0),
                                  one.text_or("command", kSentenceBytesMax));
  }
  report.notes = in.byte_list("notes", kObstaclesMax, kSentenceBytesMax);
  report.obstacles = in.byte_list("obstacles", kObstaclesMax, kSentenceBytesMax);
  report.moving = in.byte_list("moving", kObstaclesMax, kSentenceBytesMax);
  if (!in.ok()) return in.status().error();
  return report;
}

std::string notes_to_json(const std::vector<std::string>& notes) {
  JsonWriter out;
  out.text_list("notes", notes);
  return out.finish();
}

base::Result<std::vector<std::string>> parse_notes(std::string_view json) {
  JsonReader in(json);
  std::vector<std::string> notes = in.byte_list("notes", kObstaclesMax, kSentenceBytesMax);
  if (!in.ok()) return in.status().error();
  return notes;
}

}  // namespace control
