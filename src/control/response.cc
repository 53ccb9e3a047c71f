#include "control/response.h"

#include "base/check.h"
#include "control/base64.h"
#include "control/json.h"
#include "control/limits.h"
#include "control/request.h"

namespace control {
namespace {

using base::Code;
using base::fail;

// A daemon that does not mark such an answer says this and the reference.
constexpr std::string_view kUnknownJob = "no job is called ";

// At a boundary of UTF-8 sequences, so that the rest stays text.
std::string_view shortened(std::string_view sentence) {
  if (sentence.size() <= kSentenceBytesMax / 4) return sentence;
  std::size_t size = kSentenceBytesMax / 4;  // each byte that is no UTF-8 becomes three
  while (size > 0 && (static_cast<unsigned char>(sentence[size]) & 0xc0) == 0x80) --size;
  return sentence.substr(0, size);
}

base::Result<std::string> wrapped(std::string_view before, std::string_view json) {
  CHECK(json.starts_with('{'));
  CHECK(json.find('\n') == std::string_view::npos);
  std::string line = std::string(before) + std::string(json) + "}\n";
  if (line.size() > kLineBytesMax) return fail(Code::kTooLarge, "an answer of more than 1 MiB");
  return line;
}

// The text of a member that is an object, exactly as it came; `what` names it where it is none.
std::string exact_object(JsonReader& in, std::string_view line, std::string_view name,
                         std::string_view what) {
  (void)in.object(name);
  std::string text(json_member(line, name));
  if (in.ok() && !text.starts_with('{')) in.reject(std::string(what) + " is written oddly");
  return text;
}

base::Result<Response> parse_final(JsonReader& in, std::string_view line) {
  Final final;
  final.ok = in.boolean_or("ok", false);
  if (final.ok) {
    final.exit = Exit::kDone;
  } else {
    const std::int64_t exit = in.integer("exit", 1, 6);
    if (in.ok() && (exit == 2 || exit == 3)) in.reject("an exit code that no daemon gives");
    final.exit = static_cast<Exit>(exit);
    final.error = in.text("error", kSentenceBytesMax);
    final.next = in.text_or("next", kSentenceBytesMax);
    final.unknown_job =
        in.boolean_or("unknown_job", exit == 1 && final.error.starts_with(kUnknownJob));
  }
  if (final.ok || in.has("data")) final.data = exact_object(in, line, "data", "the answer's data");
  if (!in.ok()) return in.status().error();
  return Response(std::move(final));
}

}  // namespace

Exit exit_of(base::Code code) {
  switch (code) {
    case Code::kUnreachable:
    case Code::kTimeout:
      return Exit::kUnreachable;
    case Code::kRefused:
    case Code::kUnsupported:
      return Exit::kRefused;
    case Code::kInvalid:
    case Code::kTruncated:
    case Code::kTooLarge:
    case Code::kUnauthentic:
    case Code::kStale:
    case Code::kNotFound:
    case Code::kExists:
    case Code::kFull:
    case Code::kIo:
      return Exit::kError;
  }
  return Exit::kError;
}

base::Result<Response> parse_response(std::string_view line) {
  JsonReader in(line);
  if (!in.ok()) return in.status().error();
  if (in.has("progress")) {
    Progress progress{in.text("progress", kSentenceBytesMax)};
    if (!in.ok()) return in.status().error();
    return Response(std::move(progress));
  }
  if (in.has("event")) {
    Event event{exact_object(in, line, "event", "an event")};
    if (!in.ok()) return in.status().error();
    return Response(std::move(event));
  }
  if (in.has("ok")) return parse_final(in, line);
  return fail(Code::kInvalid, "neither progress, nor an event, nor an answer");
}

std::string progress_line(std::string_view sentence) {
  return JsonWriter().text("progress", shortened(sentence)).finish() + "\n";
}

base::Result<std::string> event_line(std::string_view json) { return wrapped("{\"event\":", json); }

base::Result<std::string> done_line(std::string_view json) {
  return wrapped("{\"ok\":true,\"data\":", json);
}

std::string error_line(Exit exit, std::string_view error, std::string_view next,
                       std::string_view data) {
  CHECK(exit != Exit::kDone);
  CHECK(data.empty() || (data.starts_with('{') && data.find('\n') == std::string_view::npos));
  JsonWriter out;
  out.boolean("ok", false).integer("exit", static_cast<int>(exit));
  out.text("error", shortened(error));
  if (!next.empty()) out.text("next", shortened(next));
  if (!data.empty() && data.size() < kLineBytesMax / 2) out.raw("data", data);
  return out.finish() + "\n";
}

std::string error_line(const base::Error& error, std::string_view next) {
  return error_line(exit_of(error.code), error.detail, next);
}

std::string unknown_job_line(std::string_view reference) {
  JsonWriter out;
  out.boolean("ok", false).integer("exit", static_cast<int>(Exit::kError));
  out.text("error", shortened(std::string(kUnknownJob) + std::string(reference)));
  out.text("next", "see: tern ps").boolean("unknown_job", true);
  return out.finish() + "\n";
}

std::string output_line(const Output& output) {
  CHECK(output.data.size() <= kOutputBytesMax);
  JsonWriter event;
  event.integer("stream", output.stream).natural("offset", output.offset);
  event.text("data", to_base64(output.data));
  if (!output.job.empty()) event.text("job", output.job);
  return "{\"event\":" + event.finish() + "}\n";
}

base::Result<Output> parse_output(std::string_view event_json) {
  JsonReader in(event_json);
  Output output;
  output.stream = static_cast<int>(in.integer("stream", 1, 2));
  // Below 2^62, so that adding a size to an offset cannot wrap.
  output.offset = static_cast<std::uint64_t>(in.integer("offset", 0, INT64_MAX / 2));
  const std::string data = in.text("data", (kOutputBytesMax + 2) / 3 * 4);
  if (!in.ok()) return in.status().error();
  auto decoded = from_base64(data);
  if (!decoded) return decoded.error();
  if (decoded->empty()) return fail(Code::kInvalid, "an output event without output");
  output.data = std::move(*decoded);
  output.job = in.text_or("job", kReferenceBytesMax, "");
  if (!in.ok()) return in.status().error();
  if (output.job.empty()) return output;
  if (auto named = check_reference(output.job); !named) return named.error();
  return output;
}

}  // namespace control
