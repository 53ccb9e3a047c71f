// What the daemon answers: lines of JSON, the last of them final.
//
//   {"progress":"sentence"}*   {"event":{...}}*   then exactly one of
//   {"ok":true,"data":{...}}
//   {"ok":false,"exit":1,"error":"plain sentence","next":"what to do next","unknown_job":true}
//
// A connection that ends without a final line was broken off: nothing is known about the outcome.
// Builders return the line with its newline. Sentences are shortened to kSentenceBytesMax.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/result.h"

namespace control {

// Exit codes of the program (README). A final error carries 1, 4, 5 or 6.
enum class Exit : int {
  kDone = 0,
  kError = 1,
  kUsage = 2,
  kNoDaemon = 3,
  kUnreachable = 4,  // a peer does not answer
  kRefused = 5,      // policy or preflight
  kNothingFits = 6,  // no idle peer
};
inline constexpr int kExitRunFailed = 125;  // `tern run` itself failed, not its job

// The exit code that a daemon's error becomes.
[[nodiscard]] Exit exit_of(base::Code code);

struct Progress {
  std::string sentence;
};
struct Event {
  std::string json;  // the object's exact text
};
struct Final {
  bool ok = false;
  std::string data;  // the object's exact text; of a failure, which few have any of, maybe empty
  Exit exit = Exit::kError;
  std::string error;
  std::string next;          // may be empty
  bool unknown_job = false;  // a failure because no such job is known
};
using Response = std::variant<Progress, Event, Final>;

[[nodiscard]] base::Result<Response> parse_response(std::string_view line);

// `json` is one object on one line. kTooLarge, instead of a line that the client must refuse.
[[nodiscard]] std::string progress_line(std::string_view sentence);
[[nodiscard]] base::Result<std::string> event_line(std::string_view json);
[[nodiscard]] base::Result<std::string> done_line(std::string_view json = "{}");
// `data`: one object on one line, or empty; what is too large is left out.
[[nodiscard]] std::string error_line(Exit exit, std::string_view error, std::string_view next = {},
                                     std::string_view data = {});
[[nodiscard]] std::string error_line(const base::Error& error, std::string_view next = {});
[[nodiscard]] std::string unknown_job_line(std::string_view reference);

// ---- job output, as an event of attach and logs
struct Output {
  int stream = 1;            // 1 stdout, 2 stderr
  std::uint64_t offset = 0;  // of the first byte, in that stream, since the job began
  base::Bytes data;          // 1..kOutputBytesMax
  std::string job = {};      // its id, with the first piece that a client gets; else empty
};
[[nodiscard]] std::string output_line(const Output& output);
[[nodiscard]] base::Result<Output> parse_output(std::string_view event_json);

}  // namespace control
