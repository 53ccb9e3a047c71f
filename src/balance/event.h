// Everything that goes into balance::Balance and comes out of it.
//
// The host (node) calls step(now, event) and performs the returned actions in order, all of them,
// before the next event. Units: loads in micro-tasks, ratios and scores in millionths, CPUs in
// milli-CPUs, memory in bytes (as in probe). A sentence is plain text for a person.
//
// Durable records. Persist{id, changes} is one atomic batch: after a crash either all of its
// changes are there or none, and batches become durable in the order in which they were given (a
// crash keeps a prefix). Persisted{id} is told after the fsync; nothing that depends on the batch
// leaves Balance before. Keys are printable ASCII of at most 120 bytes and begin with one of
// "own/", "end/", "acc/", "tri/", "lin/". At start the host gives all records back (Recovered) and
// has carried out nothing on its own.
//
// Host operations. Each names (job, epoch); `epoch` is the handover's. They are asked again after a
// restart and after silence, so each must be idempotent: an operation that is under way goes on,
// one that is done is reported again. They are slow, may fail and may hang; no decision of Balance
// waits for one longer than its patience (limits.h), except those marked (*), which it asks again
// until they are answered. A report that no longer matters is ignored.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/time.h"
#include "probe/trit.h"

namespace balance {

using base::Epoch;
using base::JobId;
using base::NodeId;
using base::StoreId;
using base::Term;
using base::TriadId;

// ---- words

enum class Seat : std::int8_t { kSource = 1, kCoordinator = 0, kSink = -1 };
// Why a triad was proposed.
enum class Cause : std::uint8_t { kShed, kProcess, kWake, kPerson, kMemory };
enum class JobState : std::uint8_t {
  kQueued,
  kRunning,
  kThrottled,
  kHandover,
  kParked,
  kExited,
  kLost
};
enum class Decision : std::uint8_t { kCommit, kAbort };

struct SeatInfo {
  TriadId triad;
  Seat seat = Seat::kCoordinator;  // fixed by the form record
  Term term;                       // the election's newest known here
  bool leads = false;              // coordinator in office, for this node
  NodeId leader;                   // zero while unknown
  friend bool operator==(const SeatInfo&, const SeatInfo&) = default;
};

// What is known of one node, from its digest; the node itself is one of them.
struct NodeLoad {
  NodeId id;
  bool live = false;  // alive and not suspect
  probe::Trit trit = probe::Trit::kErgodic;
  std::int64_t effective_ratio_micros = 0;
  std::int64_t cpus_millis = 1000;
  std::int64_t memory_total_bytes = 0;
  std::int64_t memory_free_bytes = 0;
  bool accepts_jobs = false;
  bool has_seat = false;
};

// One job on this node.
struct JobFacts {
  JobId id;
  Epoch epoch;  // under which its copy here runs
  JobState state = JobState::kRunning;
  // Its own average of runnable tasks, over what it has lived, as before any throttle.
  std::int64_t load_micros = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t scum_micros = 0;  // as before any throttle
  base::Time arrived{};          // last arrival here: residence counts from it
  base::WallTime since{};        // parked or queued since then; meaningless while it runs
  bool waking = false;           // parked still, and on its way to run here
  base::Time throttle_changed = base::Time::min();  // last throttled or freed
  bool throttled = false;
  bool throttle_is_persons = false;  // a person's word holds here; the rules leave it alone
  bool movable = true;               // false: `why_not` says why no move is possible at all
  std::string why_not;
};

struct LocalPolicy {
  bool accepts_jobs = true;  // may be a SINK
  std::string why_no_jobs;   // else: what holds
  bool moves_jobs = true;    // sheds by rule; a person may always
  bool throttles = true;     // the process rule may: the host has a way to
  bool drains = false;       // nothing that rests here wakes here by itself
};

struct SealHash {
  std::array<std::uint8_t, 32> bytes{};
  friend bool operator==(const SealHash&, const SealHash&) = default;
};

// Output offsets up to which SINK has stored what home has not acknowledged (design.md §4.3).
struct OutputOffsets {
  std::uint64_t stdout_end = 0;
  std::uint64_t stderr_end = 0;
  friend bool operator==(const OutputOffsets&, const OutputOffsets&) = default;
};

// Names one move.
struct HandoverId {
  TriadId triad;
  JobId job;
  Epoch epoch;
  friend auto operator<=>(const HandoverId&, const HandoverId&) = default;
};

// ---- events: the node and its surroundings

struct Received {  // from a certified member over the encrypted transport
  NodeId from;
  base::Bytes bytes;
};
struct Persisted {
  std::uint64_t id = 0;
};
struct Tick {};  // next_deadline() has come; a spurious one does nothing
struct ViewChanged {
  std::vector<NodeLoad> nodes;  // new or changed, this node's own included, any order
  std::vector<NodeId> gone;     // known no more
};
// This node's own state, every sample (5 s) and whenever jobs come or go.
struct LocalState {
  probe::Trit trit = probe::Trit::kErgodic;
  std::int64_t effective_ratio_micros = 0;
  std::int64_t cpus_millis = 1000;
  std::int64_t memory_total_bytes = 0;
  std::int64_t memory_free_bytes = 0;
  LocalPolicy policy;
  std::vector<JobFacts> jobs;
};
// A job was started here. It runs under epoch 1; its ownership record is made durable.
// Telling it again, also after a restart, changes nothing.
struct JobStarted {
  JobId job;
};
// A job that this node owns ended, was lost, or is forgotten: no more moves of it. Also told of
// jobs that moved away when nobody asks for them any more: their ownership record goes.
struct JobEnded {
  JobId job;
};
struct PersonMigrate {  // given to the node that has the job
  std::uint64_t request = 0;
  JobId job;
  std::optional<NodeId> target;  // none: the best one
};
// Whoever asked no longer wants it: what has no triad yet is not tried any more, and is answered.
struct PersonWithdraw {
  std::uint64_t request = 0;
};
// SOURCE: what could be copied before is there, and the job stands still. For whoever waits only.
struct JobFroze {
  JobId job;
};
// The daemon is to end. From the first one on this node begins nothing: no seat, no preparation, no
// handover. With `withdraw` what has begun here is given up as far as it still may be: SOURCE that
// has not stored the seal withdraws and thaws; SINK discards before it has the whole stream, and
// asks for an abort until it has said ready.
struct Stopping {
  bool withdraw = false;
};
struct PersonResolve {  // `tern resolve JOB --run-here`
  std::uint64_t request = 0;
  JobId job;
};

// ---- events: what became of host operations

struct RequirementCollected {  // answers CollectRequirement
  HandoverId id;
  bool ok = false;
  base::Bytes requirement;  // opaque to Balance, at most kRequirementSizeMax
  std::string reason;       // when not ok
};
struct PreflightChecked {  // answers CheckPreflight
  HandoverId id;
  bool ok = false;
  std::string reason;  // when not ok
};
struct StreamProgress {  // either end, at most a few per second: keeps the stall timer quiet
  HandoverId id;
  std::uint64_t bytes = 0;  // so far
};
struct StreamComplete {  // SOURCE: everything but the seal was sent and the original is frozen
  HandoverId id;
  SealHash seal;
  std::uint64_t bytes = 0;
};
struct StreamFailed {  // either end: freezing, dumping or the connection failed
  HandoverId id;
  std::string reason;
};
// How the reason of an end begins whose stream failed.
inline constexpr std::string_view kStreamFailed = "the stream failed: ";
// How one goes on that says no more than that the other end went; that end's own says why.
inline constexpr std::string_view kStreamBrokeOff = "the stream broke off";
struct StreamSealed {  // SINK: the whole stream and its seal arrived and agree
  HandoverId id;
  std::uint64_t bytes = 0;
};
struct Held {  // SINK: restored, stopped and in a frozen cgroup; its output so far is fsynced
  HandoverId id;
  OutputOffsets offsets;
};
struct RestoreFailed {  // SINK; also when what was Held died before ReleaseCopy
  HandoverId id;
  std::string reason;
};
struct CopyState {  // SINK, answers CheckCopy: whether the held copy is whole and could be let go
  HandoverId id;
  bool present = false;
};
struct OriginalState {  // SOURCE, answers CheckOriginal: whether the frozen original could be
                        // thawed
  HandoverId id;
  bool present = false;
};
// SINK, answers ReleaseCopy. `ran` false only when it is certain that the copy was gone before its
// first instruction; a copy that ran and ended meanwhile is `ran`.
struct Released {
  HandoverId id;
  bool ran = true;
};
struct Discarded {  // SINK, answers DiscardCopy: nothing of this attempt is left or can still come
  HandoverId id;
};
// SOURCE, answers Thaw. `ran` false only when it is certain that the original was gone before it
// ran on; one that ran on and ended meanwhile is `ran`.
struct Thawed {
  HandoverId id;
  bool ran = true;
};
struct Killed {  // SOURCE, answers KillOriginal: nothing of the original is left
  HandoverId id;
};

using Event = std::variant<Received, Persisted, Tick, ViewChanged, LocalState, JobStarted, JobEnded,
                           PersonMigrate, PersonWithdraw, PersonResolve, JobFroze, Stopping,
                           RequirementCollected, PreflightChecked, StreamProgress, StreamComplete,
                           StreamFailed, StreamSealed, Held, RestoreFailed, CopyState,
                           OriginalState, Released, Discarded, Thawed, Killed>;

// ---- actions

struct Send {  // may be lost, doubled, delayed, reordered; never to this node itself
  NodeId to;
  base::Bytes bytes;  // at most kMessageSizeMax
  // The others of a triad that it proposes or forms: the receiver may not know where they are, as
  // the views of large meshes are samples. At most two.
  std::vector<NodeId> meets;
};
struct RecordChange {
  std::string key;
  std::optional<base::Bytes> value;  // none: erase
};
struct Persist {
  std::uint64_t id = 0;
  std::vector<RecordChange> changes;
};

// SOURCE. What a sink must have for this job: answers RequirementCollected. Freezes nothing.
struct CollectRequirement {
  HandoverId id;
  NodeId sink;
};
// SINK. Could that job run here? Answers PreflightChecked.
struct CheckPreflight {
  HandoverId id;
  NodeId source;
  base::Bytes requirement;
};
// SOURCE. Freeze the job and stream it to `sink`; answers StreamProgress, StreamComplete or
// StreamFailed. The seal is not sent. The original stays frozen until Thaw or KillOriginal.
struct FreezeAndStream {
  HandoverId id;
  NodeId sink;
};
struct SendSeal {  // SOURCE: the stream's last record may go now; unanswered
  HandoverId id;
  NodeId sink;
  SealHash seal;
};
// SOURCE (*). Whatever runs of this attempt is killed first and seen empty, then the original runs
// on. Of an original that was never frozen: nothing to do, Thawed.
struct Thaw {
  HandoverId id;
};
// (*) The job is elsewhere: kill whatever copy of it that was born at or before `newest` is here,
// frozen or running, and see it empty. On SOURCE the original; on SINK (after a person's resolve
// elsewhere) the copy that was let go. `newest` is above the handover's epoch where the job came
// back since and a person's word elsewhere beats that copy too.
struct KillOriginal {
  HandoverId id;
  Epoch newest;
};
struct CheckOriginal {  // SOURCE (*)
  HandoverId id;
};
// SINK. A stream for this attempt will come from `source`: answers StreamProgress, StreamSealed or
// StreamFailed.
struct ExpectStream {
  HandoverId id;
  NodeId source;
};
struct Restore {  // SINK, after StreamSealed: answers Held or RestoreFailed
  HandoverId id;
};
struct CheckCopy {  // SINK (*)
  HandoverId id;
};
struct ReleaseCopy {  // SINK (*): let the held copy run. Idempotent over restarts of the daemon
  HandoverId id;
  NodeId source;
  OutputOffsets offsets;
};
// SINK (*). Kill whatever there is of this attempt, a restore under way included, see it empty and
// refuse its stream from now on. Never asked for a copy that was let go.
struct DiscardCopy {
  HandoverId id;
};

struct SeatChanged {  // for the digest and `tern status`; told on change only
  std::optional<SeatInfo> seat;
};
// Whose the job is, told when it changes (and once per job at start): for `tern ps` and home.
struct OwnerChanged {
  JobId job;
  Epoch epoch;
  bool here = false;
  NodeId at;  // this node itself when here; zero: the job is lost, gone at both ends of its move
};

enum class Phase : std::uint8_t { kPreflight, kFreezeAndStream, kRestore, kDecide, kResume };
struct PhaseTimes {  // as seen by the node that tells; zero for a phase not reached or not seen
  base::Duration preflight{};
  base::Duration stream{};   // begin to sealed; the host's freeze time is part of it
  base::Duration restore{};  // sealed to ready
  base::Duration decide{};   // ready to outcome
  base::Duration resume{};   // outcome to both ends done
};
// Told by SOURCE, SINK and coordinator when a handover enters a phase, and at its end.
struct HandoverEvent {
  HandoverId id;
  Cause cause = Cause::kShed;
  NodeId source;
  NodeId sink;
  NodeId coordinator;  // in office; zero while unknown
  Term term;
  Seat told_by = Seat::kCoordinator;
  Phase phase = Phase::kPreflight;
  bool over = false;                // the last one from this node for this handover
  std::optional<Decision> outcome;  // none while undecided, and for one refused by preflight
  std::string reason;               // why not, where it failed
  std::uint64_t bytes = 0;
  PhaseTimes times;
};

// Exit codes of cli.md.
enum class ReplyCode : std::uint8_t {
  kDone = 0,
  kError = 1,
  kUnreachable = 4,
  kRefused = 5,
  kNothingFits = 6
};
struct PersonReply {
  std::uint64_t request = 0;
  bool over = false;  // false: progress, more will come
  ReplyCode code = ReplyCode::kDone;
  std::string sentence;
  std::optional<HandoverId> handover;
  NodeId at;  // where the job is now, zero if unknown
};
// S < 0 and this node is MINUS: the job that is parked here shall run (again), here. No agreement
// is needed for that. The host tells what comes of it with the next LocalState.
struct WakeHere {
  JobId job;
};
// What the process rule and the mesh rule say about one job; told when it changes.
enum class Intent : std::uint8_t { kNone, kAllow, kThrottle, kUnthrottle, kMigrate, kWake };
struct Advised {
  JobId job;
  Intent intent = Intent::kNone;
};

// The process rule acts: throttle the job to half of what it used, or lift that. Told again with
// each LocalState until JobFacts::throttled says so; idempotent.
struct SetThrottle {
  JobId job;
  bool on = false;
};

using Action = std::variant<Send, Persist, CollectRequirement, CheckPreflight, FreezeAndStream,
                            SendSeal, Thaw, KillOriginal, CheckOriginal, ExpectStream, Restore,
                            CheckCopy, ReleaseCopy, DiscardCopy, SeatChanged, OwnerChanged,
                            HandoverEvent, PersonReply, WakeHere, Advised, SetThrottle>;
using Actions = std::vector<Action>;

// All durable records, as Persist left them.
using Recovered = std::map<std::string, base::Bytes>;

}  // namespace balance
