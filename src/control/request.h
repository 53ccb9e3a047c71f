// What a client asks of the daemon: one request per connection, one JSON object on one line.
//
//   {"v":1,"command":"kill","job":"3fa9","signal":"TERM"}\n
//
// The daemon learns who asks from the socket (SO_PEERCRED), never from the request. Both sides use
// these structs: encode() writes what parse_request() takes, and parse_request() refuses whatever a
// daemon would have to refuse anyway, so that a daemon handles checked values only. Limits are in
// control/limits.h. Unknown fields are ignored; an unknown command or version is refused.
//
// command   arguments                                             final data (control/report.h)
// ping      -                                                     Ping
// up        name?                                                 Ping with created
// invite    seconds?, inviter?                                    InviteReport
// join      ticket, trust, trust_uid?                             JoinReport
// status    -                                                     Status
// ps        -                                                     Jobs
// run       argv, env, cwd, name?, on?, umask, dry_run, input,
//           tcp_close                                             RunReport; KillReport ({"node"})
// attach    job, from: [stdout offset, stderr offset]             Exit, after output events
// input     job, session?                                         {}, after lines (control/input.h)
// logs      job, follow, from?                                    {}, after output events
// kill      job, signal: "TERM" or a number, dry_run              KillReport
// throttle  job, percent? (0: off; absent: as the rules say), dry_run   KillReport ({"node"})
// migrate   job, to?, dry_run, tcp_close                          Handover, after progress; Trial
// resolve   job                                                   KillReport ({"node"})
// drain     off, wait, dry_run, park                              DrainReport, after progress
// park      job, dry_run                                     Rest, after progress; Trial
// wake      job, on?, dry_run                                Rest; Handover, Trial, KillReport
// adopt     pid, name?, leave_terminal, dry_run        AdoptReport (control/adopt_report.h)
// events    follow                                                {}, after events
// down      -                                                     DownReport
// config    -                                                     Settings
// metrics   -                                                     {"counters":{name: number}}
// share     id, label, tops, entries, bytes, disk_bytes, to?,     {}, after events; see below
//           dry_run                                               ShareTarget
// inbox     -                                                     InboxReport
// inbox_answer  offer, accept                                     InboxItem
// policy    -                                                     Policy
//
// JOB is a full id, a unique prefix of at least 4 hex digits, or a unique name; of migrate also the
// PID of a process of the daemon's machine, which is adopted first; NODE an id, a
// unique prefix, or a name. The daemon resolves both.
//
// After a share's event {"accepted": ShareTarget} the client sends the records of the share's
// sending end (transfer/share_sender.h), each behind its size as u16, and gets the receiver's as
// events {"record": base64}: the daemon passes both on and reads no file for anybody. A connection
// that breaks then fails with exit code 4, and the same request again goes on.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "control/limits.h"

namespace control {

inline constexpr int kProtocolVersion = 1;

// Text that is wiped when it goes, moved but never copied: a ticket.
class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string text) : text_(std::move(text)) {}
  SecretText(SecretText&& other) noexcept;
  SecretText& operator=(SecretText&& other) noexcept;
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText();
  [[nodiscard]] const std::string& reveal() const { return text_; }

 private:
  void wipe();
  std::string text_;
};

struct PingRequest {};
struct UpRequest {
  std::optional<std::string> name;  // of this node; only its first use can set it
};
struct InviteRequest {
  std::uint32_t seconds = kInviteSecondsDefault;  // 1 to kInviteSecondsMax
  bool inviter = false;                           // the new member may itself invite
};
struct JoinRequest {
  SecretText ticket;
  // The caller's uid is the same person on the other nodes (design.md §6): foreign jobs of that uid
  // may run here. Root may name another's, hers who used sudo.
  bool trust = false;
  std::optional<std::uint32_t> trust_uid = std::nullopt;
};
struct StatusRequest {};
struct JobsRequest {};
enum class JobInput { kNothing, kPipe, kTerminal };  // kNothing: /dev/null
struct RunRequest {
  std::vector<std::string> argv;  // at least one; bytes, without zeros
  std::vector<std::string> env;   // K=V; bytes, without zeros
  std::string cwd;                // absolute; bytes
  std::optional<std::string> name;
  std::optional<std::string> on;  // "here", "best" or NODE; absent means here
  std::uint32_t umask = 022;
  bool dry_run = false;
  JobInput input = JobInput::kNothing;  // of a daemon that knows of none: kNothing
  bool tcp_close = false;               // moves may close its connections
  std::string dir;                      // absolute; bytes; travels with the job; empty: none
};
struct InputRequest {
  std::string job;
  std::uint64_t session = 0;  // 0: a new one
};
struct AttachRequest {
  std::string job;
  std::array<std::uint64_t, 2> from{};  // offsets of stdout, stderr: the first byte wanted
};
struct LogsRequest {
  std::string job;
  bool follow = false;
  std::array<std::uint64_t, 2> from{};
};
struct KillRequest {
  std::string job;
  int signal = 15;
  bool dry_run = false;
};
struct ThrottleRequest {
  std::string job;
  std::optional<std::uint32_t> percent;  // of one CPU, at most kThrottlePercentMax; 0: off
  bool dry_run = false;
};
struct MigrateRequest {
  std::string job;
  std::optional<std::string> to;  // NODE, "best" or "home"; absent means best
  bool dry_run = false;
  bool tcp_close = false;  // this move may close its connections
};
struct ParkRequest {
  std::string job;
  bool dry_run = false;
};
struct WakeRequest {
  std::string job;
  std::optional<std::string> on;  // NODE; absent means where it is parked
  bool dry_run = false;
};
struct AdoptRequest {
  std::uint32_t pid = 0;            // of the daemon's machine; 1 to INT32_MAX
  std::optional<std::string> name;  // of the job
  bool leave_terminal = false;      // its input ends, its output goes to the job's log
  bool dry_run = false;
};
struct ResolveRequest {
  std::string job;
};
struct DrainRequest {
  bool off = false;
  bool wait = true;  // for everybody to be gone
  bool dry_run = false;
  bool park = false;  // own jobs that fit nowhere, the last of all
};
struct EventsRequest {
  bool follow = false;
};
struct DownRequest {};
struct ConfigRequest {};
struct MetricsRequest {};
struct ShareRequest {
  std::string id;     // 32 hex digits: the same for the same command of the same person
  std::string label;  // of the first item; bytes
  std::uint64_t tops = 0;
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t disk_bytes = 0;
  std::optional<std::string> to;  // NODE; absent means the least loaded that accepts
  bool dry_run = false;
};
struct InboxRequest {};
struct InboxAnswerRequest {
  std::string offer;  // its id or the first digits of it
  bool accept = false;
};
struct PolicyRequest {};

using Request =
    std::variant<PingRequest, UpRequest, InviteRequest, JoinRequest, StatusRequest, JobsRequest,
                 RunRequest, AttachRequest, LogsRequest, KillRequest, MigrateRequest,
                 ResolveRequest, DrainRequest, EventsRequest, DownRequest, ConfigRequest,
                 MetricsRequest, ShareRequest, InboxRequest, InboxAnswerRequest, PolicyRequest,
                 ThrottleRequest, InputRequest, ParkRequest, WakeRequest, AdoptRequest>;

[[nodiscard]] std::string_view command_of(const Request& request);

// The line, its newline included; wipe it after sending a JoinRequest. kTooLarge over
// kLineBytesMax (a run with a huge environment). Does not check what parse_request() checks.
[[nodiscard]] base::Result<std::string> encode(const Request& request);

// One line without its newline. kInvalid or kUnsupported with a sentence for the person who asked.
[[nodiscard]] base::Result<Request> parse_request(std::string_view line);

// ---- words in arguments

// "TERM", "SIGTERM", "15", in either case; 1..64 without those that the C library keeps (32, 33).
[[nodiscard]] base::Result<int> parse_signal(std::string_view text);
[[nodiscard]] std::string signal_name(int number);  // "TERM"; the number where it has no name
// 1..kNameBytesMax of letters, digits, '.', '_' and '-', the first a letter or digit. No name is
// one of the words that stand where a name may stand (best, home, here).
[[nodiscard]] base::Status check_name(std::string_view name);
// What can be a name, an id or a prefix of one.
[[nodiscard]] base::Status check_reference(std::string_view reference);
// 4..32 hex digits, in lower case.
[[nodiscard]] base::Status check_offer(std::string_view offer);

}  // namespace control
