#include "control/request.h"

#include <algorithm>
#include <limits>

#include "base/overloaded.h"
#include "base/secret.h"
#include "control/json.h"

namespace control {
namespace {

using base::Code;
using base::fail;

// The same order as the variant's alternatives.
constexpr std::array<std::string_view, std::variant_size_v<Request>> kCommands = {
    "ping",  "up",           "invite",  "join",     "status", "ps",   "run",    "attach",  "logs",
    "kill",  "migrate",      "resolve", "drain",    "events", "down", "config", "metrics", "share",
    "inbox", "inbox_answer", "policy",  "throttle", "input",  "park", "wake",   "adopt"};

std::string offsets(const std::array<std::uint64_t, 2>& from) {
  return "[" + std::to_string(from[0]) + "," + std::to_string(from[1]) + "]";
}

void write_signal(JsonWriter& out, int signal) {
  const std::string name = signal_name(signal);
  if (name == std::to_string(signal)) {
    out.integer("signal", signal);
  } else {
    out.text("signal", name);
  }
}

void write_run(JsonWriter& out, const RunRequest& run) {
  out.byte_list("argv", run.argv).byte_list("env", run.env).bytes("cwd", run.cwd);
  out.text_if("name", run.name).text_if("on", run.on).integer("umask", run.umask);
  if (run.dry_run) out.boolean("dry_run", true);
  if (!run.dir.empty()) out.bytes("dir", run.dir);
  if (run.input == JobInput::kPipe) out.text("input", "pipe");
  if (run.input == JobInput::kTerminal) out.text("input", "terminal");
  if (run.tcp_close) out.boolean("tcp_close", true);
}

void write_share(JsonWriter& out, const ShareRequest& share) {
  out.text("id", share.id).bytes("label", share.label).natural("tops", share.tops);
  out.natural("entries", share.entries).natural("bytes", share.bytes);
  out.natural("disk_bytes", share.disk_bytes).text_if("to", share.to);
  if (share.dry_run) out.boolean("dry_run", true);
}

void write_arguments(JsonWriter& out, const Request& request) {
  const auto nothing = [](const auto&) {};
  std::visit(base::Overloaded{
                 nothing,
                 [&](const UpRequest& up) { out.text_if("name", up.name); },
                 [&](const InviteRequest& invite) {
                   out.natural("seconds", invite.seconds).boolean("inviter", invite.inviter);
                 },
                 [&](const JoinRequest& join) {
                   out.text("ticket", join.ticket.reveal()).boolean("trust", join.trust);
                   if (join.trust_uid) out.natural("trust_uid", *join.trust_uid);
                 },
                 [&](const RunRequest& run) { write_run(out, run); },
                 [&](const AttachRequest& attach) {
                   out.text("job", attach.job).raw("from", offsets(attach.from));
                 },
                 [&](const LogsRequest& logs) {
                   out.text("job", logs.job).boolean("follow", logs.follow);
                   out.raw("from", offsets(logs.from));
                 },
                 [&](const KillRequest& kill) {
                   out.text("job", kill.job);
                   write_signal(out, kill.signal);
                   if (kill.dry_run) out.boolean("dry_run", true);
                 },
                 [&](const ThrottleRequest& throttle) {
                   out.text("job", throttle.job);
                   if (throttle.percent) out.natural("percent", *throttle.percent);
                   if (throttle.dry_run) out.boolean("dry_run", true);
                 },
                 [&](const MigrateRequest& migrate) {
                   out.text("job", migrate.job).text_if("to", migrate.to);
                   out.boolean("dry_run", migrate.dry_run);
                   if (migrate.tcp_close) out.boolean("tcp_close", true);
                 },
                 [&](const ParkRequest& park) {
                   out.text("job", park.job).boolean("dry_run", park.dry_run);
                 },
                 [&](const WakeRequest& wake) {
                   out.text("job", wake.job).text_if("on", wake.on);
                   out.boolean("dry_run", wake.dry_run);
                 },
                 [&](const AdoptRequest& adopt) {
                   out.natural("pid", adopt.pid).text_if("name", adopt.name);
                   if (adopt.leave_terminal) out.boolean("leave_terminal", true);
                   out.boolean("dry_run", adopt.dry_run);
                 },
                 [&](const ResolveRequest& resolve) { out.text("job", resolve.job); },
                 [&](const DrainRequest& drain) {
                   out.boolean("off", drain.off).boolean("wait", drain.wait);
                   out.boolean("dry_run", drain.dry_run).boolean("park", drain.park);
                 },
                 [&](const InputRequest& input) {
                   out.text("job", input.job);
                   if (input.session != 0) out.natural("session", input.session);
                 },
                 [&](const EventsRequest& events) { out.boolean("follow", events.follow); },
                 [&](const ShareRequest& share) { write_share(out, share); },
                 [&](const InboxAnswerRequest& answer) {
                   out.text("offer", answer.offer).boolean("accept", answer.accept);
                 },
             },
             request);
}

// ---- parsing

void check(JsonReader& in, const base::Status& status) {
  if (!status) in.reject(status.error().detail);
}

std::string read_job(JsonReader& in) {
  std::string job = in.text("job", kReferenceBytesMax);
  if (in.ok()) check(in, check_reference(job));
  return job;
}

std::optional<std::string> read_node(JsonReader& in, std::string_view field) {
  auto node = in.text_if(field, kReferenceBytesMax);
  if (node) check(in, check_reference(*node));
  return node;
}

std::optional<std::string> read_name(JsonReader& in) {
  auto name = in.text_if("name", kNameBytesMax);
  if (name) check(in, check_name(*name));
  return name;
}

std::array<std::uint64_t, 2> read_offsets(JsonReader& in, bool required) {
  if (!required && !in.has("from")) return {};
  const auto list = in.integers("from", 2, 0, std::numeric_limits<std::int64_t>::max());
  if (list.size() != 2) {
    in.reject("\"from\" is not a list of two offsets");
    return {};
  }
  return {static_cast<std::uint64_t>(list[0]), static_cast<std::uint64_t>(list[1])};
}

Request read_invite(JsonReader& in) {
  InviteRequest invite;
  invite.seconds = static_cast<std::uint32_t>(
      in.integer_or("seconds", 1, kInviteSecondsMax, kInviteSecondsDefault));
  invite.inviter = in.boolean_or("inviter", false);
  return invite;
}

Request read_join(JsonReader& in) {
  JoinRequest join;
  join.ticket = SecretText(in.text("ticket", kTicketBytesMax));
  join.trust = in.boolean_or("trust", false);
  if (in.has("trust_uid")) {
    join.trust_uid = static_cast<std::uint32_t>(in.integer("trust_uid", 0, UINT32_MAX - 1));
  }
  if (join.ticket.reveal().empty()) in.reject("the ticket is empty");
  return join;
}

bool has_zero(const std::string& text) { return text.find('\0') != std::string::npos; }

JobInput read_input_kind(JsonReader& in) {
  const std::string kind = in.text_or("input", kNameBytesMax);
  if (kind == "pipe") return JobInput::kPipe;
  if (kind == "terminal") return JobInput::kTerminal;
  if (!kind.empty()) in.reject("an input is a pipe or a terminal");
  return JobInput::kNothing;
}

Request read_run(JsonReader& in) {
  RunRequest run;
  run.argv = in.byte_list("argv", kArgumentsMax, kArgumentBytesMax);
  run.env = in.byte_list("env", kEnvironmentMax, kArgumentBytesMax);
  run.cwd = in.bytes("cwd", kPathBytesMax - 1);
  run.name = read_name(in);
  run.on = read_node(in, "on");
  run.umask = static_cast<std::uint32_t>(in.integer_or("umask", 0, 0777, 022));
  run.dry_run = in.boolean_or("dry_run", false);
  run.input = read_input_kind(in);
  run.tcp_close = in.boolean_or("tcp_close", false);
  if (in.has("dir")) {
    run.dir = in.bytes("dir", kPathBytesMax - 1);
    if (!run.dir.starts_with('/') || has_zero(run.dir)) in.reject("a folder is no absolute path");
  }
  if (run.argv.empty() || run.argv[0].empty()) in.reject("there is no command to run");
  if (!run.cwd.starts_with('/')) in.reject("the working folder is not an absolute path");
  const bool zeros = std::any_of(run.argv.begin(), run.argv.end(), has_zero) ||
                     std::any_of(run.env.begin(), run.env.end(), has_zero) || has_zero(run.cwd);
  if (zeros) in.reject("an argument, variable or path has a zero byte in it");
  const auto no_variable = [](const std::string& text) {
    const std::size_t equals = text.find('=');
    return equals == std::string::npos || equals == 0;
  };
  if (std::any_of(run.env.begin(), run.env.end(), no_variable)) {
    in.reject("an environment variable is not of the form NAME=VALUE");
  }
  return run;
}

int read_signal(JsonReader& in) {
  if (!in.has("signal")) return 15;
  if (!in.has_text("signal")) return static_cast<int>(in.integer("signal", 1, 64));
  auto number = parse_signal(in.text("signal", kNameBytesMax));
  if (!number) in.reject(number.error().detail);
  return number ? *number : 0;
}

Request read_kill(JsonReader& in) {
  KillRequest kill;
  kill.job = read_job(in);
  kill.signal = read_signal(in);
  kill.dry_run = in.boolean_or("dry_run", false);
  if (in.ok())
    check(in, [&]() -> base::Status {
      auto number = parse_signal(std::to_string(kill.signal));
      return number ? base::Status() : base::Status(number.error());
    }());
  return kill;
}

Request read_logs(JsonReader& in) {
  LogsRequest logs;
  logs.job = read_job(in);
  logs.follow = in.boolean_or("follow", false);
  logs.from = read_offsets(in, /*required=*/false);
  return logs;
}

Request read_throttle(JsonReader& in) {
  ThrottleRequest throttle;
  throttle.job = read_job(in);
  if (in.has("percent")) {
    throttle.percent = static_cast<std::uint32_t>(in.integer("percent", 0, kThrottlePercentMax));
  }
  throttle.dry_run = in.boolean_or("dry_run", false);
  return throttle;
}

Request read_migrate(JsonReader& in) {
  MigrateRequest migrate;
  migrate.job = read_job(in);
  migrate.to = read_node(in, "to");
  migrate.dry_run = in.boolean_or("dry_run", false);
  migrate.tcp_close = in.boolean_or("tcp_close", false);
  return migrate;
}

Request read_share(JsonReader& in) {
  const auto count = [&](std::string_view name) {
    return static_cast<std::uint64_t>(in.integer(name, 0, std::int64_t{1} << 50));
  };
  ShareRequest share;
  share.id = in.text("id", kShareIdDigits);
  share.label = in.bytes("label", kFileNameBytesMax);
  share.tops = count("tops");
  share.entries = count("entries");
  share.bytes = count("bytes");
  share.disk_bytes = count("disk_bytes");
  share.to = read_node(in, "to");
  share.dry_run = in.boolean_or("dry_run", false);
  const auto id = base::from_hex(share.id);
  if (in.ok() && (!id || share.id.size() != kShareIdDigits)) in.reject("the share has no id");
  if (in.ok() && (share.tops == 0 || share.entries < share.tops)) in.reject("a share of nothing");
  return share;
}

Request read_inbox_answer(JsonReader& in) {
  InboxAnswerRequest answer;
  answer.offer = in.text("offer", kReferenceBytesMax);
  answer.accept = in.boolean_or("accept", false);
  if (in.ok()) check(in, check_offer(answer.offer));
  return answer;
}

Request read_park(JsonReader& in) {
  ParkRequest park;
  park.job = read_job(in);
  park.dry_run = in.boolean_or("dry_run", false);
  return park;
}

Request read_wake(JsonReader& in) {
  WakeRequest wake;
  wake.job = read_job(in);
  wake.on = read_node(in, "on");
  wake.dry_run = in.boolean_or("dry_run", false);
  return wake;
}

Request read_adopt(JsonReader& in) {
  AdoptRequest adopt;
  adopt.pid = static_cast<std::uint32_t>(in.integer("pid", 1, INT32_MAX));
  adopt.name = read_name(in);
  adopt.leave_terminal = in.boolean_or("leave_terminal", false);
  adopt.dry_run = in.boolean_or("dry_run", false);
  return adopt;
}

Request read_arguments(JsonReader& in, std::string_view command) {
  if (command == "ping") return PingRequest{};
  if (command == "up") return UpRequest{read_name(in)};
  if (command == "invite") return read_invite(in);
  if (command == "join") return read_join(in);
  if (command == "status") return StatusRequest{};
  if (command == "ps") return JobsRequest{};
  if (command == "run") return read_run(in);
  if (command == "attach") {
    std::string job = read_job(in);
    return AttachRequest{std::move(job), read_offsets(in, /*required=*/true)};
  }
  if (command == "input") {
    std::string job = read_job(in);
    return InputRequest{std::move(job),
                        static_cast<std::uint64_t>(in.integer_or("session", 0, INT64_MAX, 0))};
  }
  if (command == "logs") return read_logs(in);
  if (command == "kill") return read_kill(in);
  if (command == "migrate") return read_migrate(in);
  if (command == "throttle") return read_throttle(in);
  if (command == "park") return read_park(in);
  if (command == "wake") return read_wake(in);
  if (command == "adopt") return read_adopt(in);
  if (command == "resolve") return ResolveRequest{read_job(in)};
  if (command == "events") return EventsRequest{in.boolean_or("follow", false)};
  if (command == "drain") {
    return DrainRequest{in.boolean_or("off", false), in.boolean_or("wait", true),
                        in.boolean_or("dry_run", false), in.boolean_or("park", false)};
  }
  if (command == "down") return DownRequest{};
  if (command == "config") return ConfigRequest{};
  if (command == "metrics") return MetricsRequest{};
  if (command == "share") return read_share(in);
  if (command == "inbox") return InboxRequest{};
  if (command == "inbox_answer") return read_inbox_answer(in);
  if (command == "policy") return PolicyRequest{};
  in.reject("this daemon does not know the command it was sent");
  return PingRequest{};
}

}  // namespace

SecretText::SecretText(SecretText&& other) noexcept : text_(other.text_) { other.wipe(); }

SecretText& SecretText::operator=(SecretText&& other) noexcept {
  if (this != &other) {
    wipe();
    // Copied, then wiped: a move of a short string would leave its bytes in the object it left.
    text_ = other.text_;
    other.wipe();
  }
  return *this;
}

SecretText::~SecretText() { wipe(); }

void SecretText::wipe() {
  base::wipe({reinterpret_cast<std::uint8_t*>(text_.data()), text_.size()});
  text_.clear();
}

std::string_view command_of(const Request& request) { return kCommands[request.index()]; }

base::Result<std::string> encode(const Request& request) {
  JsonWriter out;
  out.integer("v", kProtocolVersion).text("command", command_of(request));
  write_arguments(out, request);
  std::string line = out.finish() + "\n";
  if (line.size() > kLineBytesMax) {
    return fail(Code::kTooLarge,
                "the request is larger than 1 MiB; a smaller environment or command line would do");
  }
  return line;
}

base::Result<Request> parse_request(std::string_view line) {
  JsonReader in(line);
  const std::int64_t version = in.integer("v", 0, INT32_MAX);
  if (in.ok() && version != kProtocolVersion) {
    return fail(Code::kUnsupported, "tern and its daemon are of different versions (protocol " +
                                        std::to_string(version) + " and " +
                                        std::to_string(kProtocolVersion) + ")");
  }
  const std::string command = in.text("command", kNameBytesMax);
  if (!in.ok()) return in.status().error();
  Request request = read_arguments(in, command);
  if (!in.ok()) return in.status().error();
  return request;
}

}  // namespace control
