// What nodes tell each other about jobs, beside the agreement (balance) and the checkpoint's
// stream. Delivery may lose, double and reorder; every message is answered and sent again until it
// is.
//
// Envelope of every message between nodes (MessagePack): [version = 1, kind, body]
//   kind 0  agreement   body = bytes of balance, opaque here
//   kind 1  output      [job, epoch, stream 1|2, offset, bytes <= 32 KiB]    host -> home
//   kind 2  output ack  [job, stdout have, stderr have]                      home -> host
//   kind 3  here        [job, epoch, moves, parked]: the job is with the sender   host -> home
//   kind 4  here ack    [job, epoch, parked]                                 home -> host
//   kind 5  exited      [job, epoch, wait status, stdout end, stderr end, moves]   host -> home
//   kind 6  exited ack  [job]                                                home -> host
//   kind 7  jobs query  [query]
//   kind 8  jobs reply  [query, [job info...] <= 256]
//   kind 9  order       [query, verb, job, uid, number, target, age ms]  a person's word on a job,
//                       to its host; said again, under the same query, until it is answered
//   kind 10 order reply [query, over, exit code, sentence, handover or trial json <= 8 KiB]; not
//                       over and without a sentence: it is being carried out
//   kind 11 log query   [query, job, stream, offset, uid]                    anybody -> home
//   kind 12 log reply   [query, known, job, stream, offset, bytes, stdout end, stderr end, exited,
//                        wait status, refused]
//   kind 13 needs query [query, job, requirement <= 48 KiB]     host -> sink: could that run there?
//   kind 14 needs reply [query, [obstacle <= 1 KiB...] <= 8]    none: it could
//   kind 15 moved       [job, epoch, node]: it left the sender for that one; zero: it is lost
//   kind 16 where       [job]: is it still with you?  answered by here or moved      home -> host
//   kind 17 why query   [query]: you are PLUS, what keeps your jobs?         anybody -> a PLUS node
//   kind 18 why reply   [query, sentence <= 1 KiB]: empty where it has nothing to shed
//   kind 19 input       [query, job, uid, session, what, offset, bytes <= 32 KiB, rows, columns,
//                        width, height]     a job's standard input (node/inputs.h)  anybody -> host
//   kind 20 input reply [query, job, word, session, taken, held, ended, closed, terminal]: `taken`
//                       was given to the job, `held` has arrived    host -> who fed it last
//
// Who may ask what. The asking person's uid is what the control socket of the node where she sits
// saw (SO_PEERCRED); the other nodes have only that node's word for it. Who decides is the node
// that has what is asked for, by one rule (Node::why_not): root and the job's owner may. A
// *foreign* word (of a member that is not the job's home) counts only for those who may act here as
// that user anyway: uid 0 where this node's policy lets foreign jobs run as root
// (--allow-root-jobs), another uid where it names that user as the same person (--policy-uids, tern
// join --trust). The word of the job's home always counts: the job came from there, and its root
// made it.
//
//   output, here, exited, moved  taken from whoever the agreement made the job's host: home itself
//                                took part, or the host before named the next one (moved). From
//                                anybody else only once that host was asked (where) and has said
//                                nothing for kClaimPatience: its machine may be lost
//   acks, where                  taken from the job's home
//   why query (tern status)      any member
//   jobs query (tern ps)         anybody; names and command lines, as ps shows them on one machine
//   input, order (kill, migrate, try, throttle, park, wake)   the job's host decides by the rule
//                                above
//   needs query                  any member may ask, as it may propose a move; kTrialsMax bounds it
//   log query (logs, attach)     the job's home decides by the rule above
//   resolve, events, status, metrics, config    never cross: the own daemon answers, resolve for
//                                root and its own user only (daemon/host_people.cc)
//
// JobSpec, durable under "job/<hex>" and sent as the checkpoint's metadata:
//   [version = 1 | 2, id, name, argv, cwd, uid, gid, groups, home, started at, cpu micros, moves,
//    load, home's address; since 2: tcp_close]
// Written as version 1 where that says all.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace node {

inline constexpr int kStreams = 2;  // stdout, stderr
using StreamEnds = std::array<std::uint64_t, kStreams>;

// What a job is, wherever it runs.
struct JobSpec {
  base::JobId id;
  std::string name;
  std::vector<std::string> argv;
  std::string cwd;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;
  base::NodeId home;
  base::WallTime started_at{};
  std::uint64_t cpu_micros = 0;  // used on earlier nodes
  std::uint64_t moves = 0;
  std::int64_t load_micros = 0;  // its own average when it last left a node
  base::Endpoint home_at;  // where home was when it started; for whoever has the job, not home
  bool tcp_close = false;  // moves may close its connections, those by rule too
  std::string dir;         // absolute; travels with it (tern run --dir); empty: none
  friend bool operator==(const JobSpec&, const JobSpec&) = default;
};

enum class JobState : std::uint8_t {
  kQueued,
  kRunning,
  kThrottled,
  kHandover,
  kParked,
  kExited,
  kLost,
  kPaused,  // told only to who says that it knows of it
};
// Among a digest's capabilities: it reads that state.
inline constexpr std::uint64_t kKnowsPaused = 1;
[[nodiscard]] const char* job_state_name(JobState state);

// One line of `tern ps`, as one node knows it.
struct JobInfo {
  base::JobId id;
  std::string name;
  std::string command;
  JobState state = JobState::kRunning;
  base::NodeId node;  // where it is, as far as the teller knows
  base::NodeId home;
  bool here = false;  // the teller owns the running copy
  std::uint64_t epoch = 0;
  std::int64_t pid = 0;
  std::int64_t scum_micros = 0;
  std::int64_t cpu_micros = 0;     // 1'000'000 = one CPU
  std::int64_t memory_micros = 0;  // 1'000'000 = all of the node's memory
  base::WallTime started_at{};
  std::uint64_t moves = 0;
  std::optional<std::int32_t> wait_status;  // once it ended
  base::NodeId waits_for;  // in doubt until this node, or a person, has spoken; zero: no one
  friend bool operator==(const JobInfo&, const JobInfo&) = default;
};

struct Whereabouts {
  base::NodeId node;
  base::Endpoint at;
  friend bool operator==(const Whereabouts&, const Whereabouts&) = default;
};
struct Agreement {
  base::Bytes bytes;
  std::vector<Whereabouts> meets = {};  // where the others of its triad are; at most kMeetsMax
  friend bool operator==(const Agreement&, const Agreement&) = default;
};
struct Output {
  base::JobId job;
  base::Epoch epoch;  // under which the sender has the job; home takes nothing of an older one
  int stream = 0;     // 0 stdout, 1 stderr
  std::uint64_t offset = 0;
  base::Bytes bytes;
  friend bool operator==(const Output&, const Output&) = default;
};
struct OutputAck {
  base::JobId job;
  StreamEnds have{};
  friend bool operator==(const OutputAck&, const OutputAck&) = default;
};
struct Here {
  base::JobId job;
  base::Epoch epoch;
  std::uint64_t moves = 0;
  bool parked = false;  // or queued: it rests on the sender's disk
  friend bool operator==(const Here&, const Here&) = default;
};
struct HereAck {
  base::JobId job;
  base::Epoch epoch;
  bool parked = false;  // as the Here said that this answers
  friend bool operator==(const HereAck&, const HereAck&) = default;
};
struct Exited {
  base::JobId job;
  base::Epoch epoch;
  std::int32_t wait_status = 0;
  StreamEnds ends{};
  std::uint64_t moves = 0;  // as in Here, which may never have arrived
  friend bool operator==(const Exited&, const Exited&) = default;
};
struct ExitedAck {
  base::JobId job;
  friend bool operator==(const ExitedAck&, const ExitedAck&) = default;
};
struct JobsQuery {
  std::uint64_t query = 0;
  friend bool operator==(const JobsQuery&, const JobsQuery&) = default;
};
struct JobsReply {
  std::uint64_t query = 0;
  std::vector<JobInfo> jobs;
  friend bool operator==(const JobsReply&, const JobsReply&) = default;
};
// kTry, kTryPark: the preflight of a migrate or a park alone. kWake wakes where the job is parked;
// elsewhere it is a migrate.
enum class Verb : std::uint8_t { kKill, kMigrate, kTry, kThrottle, kPark, kTryPark, kWake };
inline constexpr std::uint64_t kOrderNumberMax = 100'001;
inline constexpr std::uint64_t kThrottleByRules = kOrderNumberMax;
struct Order {
  std::uint64_t query = 0;
  Verb verb = Verb::kKill;
  base::JobId job;
  std::uint32_t uid = 0;  // who asks, as the asking node's control socket saw it
  // kKill: the signal. kThrottle: percent of one CPU, 0 for off, or kThrottleByRules. kMigrate,
  // kTry: 1 if this move may close its TCP connections (0 to a node that does not know of it).
  std::uint64_t number = 0;
  base::NodeId target;       // kMigrate, kTry: zero for the best one
  std::uint64_t age_ms = 0;  // since it was first said; 0: this is the first time
  friend bool operator==(const Order&, const Order&) = default;
};
struct OrderReply {
  std::uint64_t query = 0;
  bool over = false;
  std::uint8_t exit_code = 0;
  std::string sentence;
  std::string handover;  // cli.md's `tern migrate --json`, or a Trial; empty where there is none
  friend bool operator==(const OrderReply&, const OrderReply&) = default;
};
struct LogQuery {
  std::uint64_t query = 0;
  base::JobId job;
  int stream = 0;
  std::uint64_t offset = 0;
  std::uint32_t uid = 0;  // who asks, as in Order
  friend bool operator==(const LogQuery&, const LogQuery&) = default;
};
struct LogReply {
  std::uint64_t query = 0;
  bool known = false;
  base::JobId job;
  int stream = 0;
  std::uint64_t offset = 0;  // of the bytes; behind what was asked for where that is not kept
  base::Bytes bytes;
  StreamEnds ends{};
  bool exited = false;
  std::int32_t wait_status = 0;
  bool refused = false;  // then nothing else is told
  friend bool operator==(const LogReply&, const LogReply&) = default;
};
// SOURCE asks a sink outside of any triad, for `tern migrate --dry-run`: nothing comes of it.
struct NeedsQuery {
  std::uint64_t query = 0;
  base::JobId job;
  base::Bytes requirement;  // machine/requirement.h; opaque here
  friend bool operator==(const NeedsQuery&, const NeedsQuery&) = default;
};
struct NeedsReply {
  std::uint64_t query = 0;
  std::vector<std::string> obstacles;  // a sentence each
  friend bool operator==(const NeedsReply&, const NeedsReply&) = default;
};
// As init's (init/contract.h).
enum class InputKind : std::uint8_t { kClaim, kBytes, kEnd, kWindow, kAsk };
struct TerminalSize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  std::uint16_t width = 0;  // in pixels, or 0
  std::uint16_t height = 0;
  friend bool operator==(const TerminalSize&, const TerminalSize&) = default;
};
struct Input {
  std::uint64_t query = 0;
  base::JobId job;
  std::uint32_t uid = 0;  // who feeds, as in Order
  std::uint64_t session = 0;
  InputKind kind = InputKind::kAsk;
  std::uint64_t offset = 0;
  base::Bytes bytes = {};
  TerminalSize window = {};
  friend bool operator==(const Input&, const Input&) = default;
};
enum class InputWord : std::uint8_t { kState, kNotHere, kRefused, kNone };
struct InputReply {
  std::uint64_t query = 0;  // the newest that was heard
  base::JobId job;
  InputWord word = InputWord::kState;
  std::uint64_t session = 0;
  std::uint64_t taken = 0;
  std::uint64_t held = 0;
  bool ended = false;
  bool closed = false;
  bool terminal = false;
  friend bool operator==(const InputReply&, const InputReply&) = default;
};
struct Moved {
  base::JobId job;
  base::Epoch epoch;
  base::NodeId to;
  friend bool operator==(const Moved&, const Moved&) = default;
};
struct Where {
  base::JobId job;
  friend bool operator==(const Where&, const Where&) = default;
};
struct WhyQuery {
  std::uint64_t query = 0;
  friend bool operator==(const WhyQuery&, const WhyQuery&) = default;
};
struct WhyReply {
  std::uint64_t query = 0;
  std::string sentence;
  friend bool operator==(const WhyReply&, const WhyReply&) = default;
};

using Message =
    std::variant<Agreement, Output, OutputAck, Here, HereAck, Exited, ExitedAck, JobsQuery,
                 JobsReply, Order, OrderReply, LogQuery, LogReply, NeedsQuery, NeedsReply, Moved,
                 Where, WhyQuery, WhyReply, Input, InputReply>;

[[nodiscard]] base::Bytes encode(const Message& message);
[[nodiscard]] base::Result<Message> decode_message(base::ByteView bytes);
[[nodiscard]] base::Bytes encode(const JobSpec& spec);
[[nodiscard]] base::Result<JobSpec> decode_spec(base::ByteView bytes);

// A sentence from elsewhere, fit to be shown: control characters out, at most kReasonSizeMax bytes.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace node
