// Everything that a host gives to a node and carries out for it. Both hosts (daemon, sim) see just
// this. Actions are performed in order, all of them, before the next event.
//
// Persisted batches become durable in the order given; each is answered by Persisted{id}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "balance/event.h"
#include "base/endpoint.h"
#include "node/inputs.h"
#include "node/job_wire.h"
#include "node/jobs.h"
#include "node/owner.h"

namespace node {

// ---- events

struct Start {  // first and once
  base::WallTime wall{};
};
struct Tick {};  // next_deadline() has come
struct WallClock {
  base::WallTime wall{};
};
struct DatagramIn {
  base::Endpoint from;
  base::ByteView bytes;  // borrowed for the step
};
struct MessageIn {  // from a certified member over an encrypted connection
  base::NodeId from;
  base::Bytes bytes;
  base::Endpoint at = {};  // where it takes connections; port 0: it did not say
};
struct Introduced {  // a handshake with a certified member, either way
  base::Bytes chain;
  base::Endpoint endpoint;
  bool called = true;  // by this node
};
struct SeedPeer {
  base::Endpoint endpoint;
};
struct Persisted {
  std::uint64_t id = 0;
};

struct JobSample {
  base::JobId job;
  std::int64_t load_micros = 0;  // its own average of runnable tasks, over what it has lived
  // Of that, what the node's average does not show: a quota holds it back; the job is too young.
  std::int64_t hidden_load_micros = 0;
  std::int64_t young_load_micros = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t scum_micros = 0;
  std::int64_t cpu_micros = 0;        // 1'000'000 = one CPU, as ps counts
  std::int64_t memory_micros = 0;     // 1'000'000 = all memory
  std::uint64_t cpu_time_micros = 0;  // on all machines so far
  std::int64_t pid = 0;               // of its init
  bool movable = true;
  std::string why_not;
};
struct Sample {                  // every 5 s, and sooner after jobs came or went
  std::int64_t load_micros = 0;  // the node's average, as measured
  std::int64_t cpus_millis = 1000;
  std::int64_t memory_total_bytes = 0;
  std::int64_t memory_free_bytes = 0;
  std::vector<JobSample> jobs;
  OwnerSample owner = {};
};

struct Handover {  // what became of a host operation of balance
  balance::Event event;
};
struct JobNews {  // Launched, LaunchFailed, SpoolGrew, SpoolRead, HomeAppended, Ended
  jobs::Event event;
};
// What became of a Park or a Wake; and, with nothing of how it went, of a job that is found parked
// after a restart.
struct Rested {
  base::JobId job;
  bool wakes = false;    // else parks
  bool ok = false;       // else the job is as it was before
  bool refused = false;  // not ok: by its preflight, nothing was touched
  std::string reason;    // why not
  bool found = false;    // after a restart
  jobs::ParkedFacts facts;
  std::int64_t pid = 0;            // of its init, woken
  std::uint64_t bytes = 0;         // of its images
  std::uint64_t stored_bytes = 0;  // of its file
  base::Duration frozen{};         // until it was parked; 0: woken
  std::vector<std::pair<std::string, base::Duration>> phases;
};
struct JobFrozen {  // SOURCE: the job stands still from now on
  base::JobId job;
};
struct MoveArrived {  // SINK: a whole checkpoint; answered by MoveStored, then report StreamSealed
  balance::HandoverId id;
  JobSpec spec;
};

// A person's words, each answered by Reply{request}.
struct RunJob {
  std::uint64_t request = 0;
  JobSpec spec;
  // It waits to be started; how is in its folder already. Answered when it is the mesh's.
  std::optional<jobs::ParkedFacts> queued = std::nullopt;
};
struct MigrateJob {
  std::uint64_t request = 0;
  std::uint32_t uid = 0;  // of who asks
  base::JobId job;
  base::NodeId host;                   // who has it, by the last AskJobs
  std::optional<base::NodeId> target;  // none: the best one
  bool trial = false;                  // only ask whether it could; nothing is frozen
  bool tcp_close = false;              // it may close the job's TCP connections
};
struct ParkJob {
  std::uint64_t request = 0;
  std::uint32_t uid = 0;
  base::JobId job;
  base::NodeId host;
  bool trial = false;  // only ask whether it could
};
struct WakeJob {  // where it is parked
  std::uint64_t request = 0;
  std::uint32_t uid = 0;
  base::JobId job;
  base::NodeId host;
};
struct ResolveJob {
  std::uint64_t request = 0;
  base::JobId job;
};
struct KillJob {
  std::uint64_t request = 0;
  std::uint32_t uid = 0;
  base::JobId job;
  base::NodeId host;
  int signal_number = 15;
};
// This node takes no guests from now on, also after a restart, and sends away those that it has.
struct DrainNode {
  std::uint64_t request = 0;
  bool off = false;   // takes them again
  bool wait = true;   // the reply comes when nobody is left; progress meanwhile
  bool park = false;  // jobs at home here that fit nowhere are parked, the last of all
};
struct ThrottleJob {
  std::uint64_t request = 0;
  std::uint32_t uid = 0;
  base::JobId job;
  base::NodeId host;
  std::optional<std::uint32_t> percent;  // of one CPU, 0: off; none: as the rules say
};
struct AskJobs {
  std::uint64_t request = 0;
};
struct AskSentence {  // what the mesh is doing; answered by Reply with the sentence
  std::uint64_t request = 0;
};
struct AskLog {
  std::uint64_t request = 0;
  std::uint32_t uid = 0;
  base::JobId job;
  base::NodeId home;
  int stream = 0;
  std::uint64_t offset = 0;
};
struct DeskEvent {  // of who feeds a job from here
  inputs::Event event;
};
struct JobFed {  // answers FeedJob; comes by itself when the job has taken more
  base::NodeId to;
  InputReply reply;
};
struct LogRead {  // answers ReadLog
  std::uint64_t token = 0;
  base::Bytes bytes;
  StreamEnds ends{};
  std::uint64_t begin = 0;  // of the bytes; what lies between the offset asked for and it is gone
};
struct Signalled {  // answers SignalJob
  std::uint64_t token = 0;
  bool ok = false;
  std::string reason;
};
struct CpuLimited {  // answers LimitCpu
  std::uint64_t token = 0;
  bool ok = false;
  std::string text;  // ok: by which means; else why not
};
struct JobPaused {  // answers PauseJob
  std::uint64_t token = 0;
  bool ok = false;
  std::string text;  // why not
};
struct NeedsLooked {  // answers CollectNeeds and CheckNeeds
  std::uint64_t token = 0;
  base::Bytes requirement;             // of CollectNeeds, where there are no obstacles
  std::vector<std::string> obstacles;  // a sentence each
};
// The machine is about to sleep, or to shut down, and would wait for `patience`, as asked for by
// DelaySleep; or it is awake again, or does not shut down after all.
struct SleepNews {
  bool begins = true;
  base::Duration patience{};
  bool shutdown = false;
};
// A job of another home has ended here, and what it changed of its files is on its way there; home
// hears of the end (jobs::Ended) once they are, or it could not have them in time.
struct FilesGoHome {
  base::JobId job;
  std::int32_t wait_status = 0;
};
// The daemon is to end: nothing new begins, and with `withdraw` what may still be given up is. The
// host goes on with everything until Node::unsettled() is empty, or its patience ends; then Leave.
struct Stopping {
  bool withdraw = false;
};
struct Leave {};  // the last event: others hear that this node leaves

using Event =
    std::variant<Start, Tick, WallClock, DatagramIn, MessageIn, Introduced, SeedPeer, Persisted,
                 Sample, Handover, JobNews, Rested, JobFrozen, MoveArrived, RunJob, MigrateJob,
                 ParkJob, WakeJob, ResolveJob, KillJob, DrainNode, ThrottleJob, AskJobs,
                 AskSentence, AskLog, DeskEvent, JobFed, LogRead, Signalled, CpuLimited, JobPaused,
                 NeedsLooked, SleepNews, FilesGoHome, Stopping, Leave>;

// ---- actions

struct SendDatagram {
  base::Endpoint to;
  base::Bytes bytes;
};
struct SendMessage {  // best effort; the host finds or makes a connection
  base::NodeId to;
  std::vector<base::Endpoint> addresses;
  base::Bytes bytes;
};
struct Contact {
  base::Endpoint endpoint;
};
struct Persist {
  std::uint64_t id = 0;
  std::vector<balance::RecordChange> changes;
};
struct HandoverOrder {  // one of balance's host operations
  balance::Action action;
};
struct JobOrder {  // Launch, Attend, Park, Wake, Remove, ReadSpool, AppendHome, Forget
  jobs::Action action;
};
struct MoveStored {
  base::JobId job;
};
struct ReadLog {  // of a job whose log is here; answered by LogRead
  std::uint64_t token = 0;
  base::JobId job;
  int stream = 0;
  std::uint64_t offset = 0;
};
struct FeedJob {  // into its standard input; answered by JobFed, if at all
  base::NodeId from;
  Input input;
};
struct DeskSaid {
  inputs::Said said;
};
struct SignalJob {  // answered by Signalled
  std::uint64_t token = 0;
  base::JobId job;
  int signal_number = 0;
};
// The job, all of its processes together, gets no more CPU time than that; 1'000'000 = one CPU, 0:
// no limit. Answered by CpuLimited. Idempotent. Of a job that stands still for a handover: taken
// note of, and in force if it runs on here. A copy that goes takes its limit with it; one that
// arrives has none.
struct LimitCpu {
  std::uint64_t token = 0;
  base::JobId job;
  std::int64_t limit_micros = 0;
};
// The job stands still until it is let go on, also over a restart of the daemon; its processes
// cannot tell. Answered by JobPaused. Idempotent, and besides what a handover or a park does: of a
// job that stands still for one of those it is taken note of, and it runs again once neither holds
// it. A copy that goes takes its pause with it; one that arrives has none.
struct PauseJob {
  std::uint64_t token = 0;
  base::JobId job;
  bool on = false;
};
// From now on the machine's sleep, or shutdown, waits for this node, at least for a while; or it
// does not.
struct DelaySleep {
  bool on = false;
};
// `tern migrate --dry-run`: what the job needs of a sink, and whether this machine has it. Nothing
// is frozen; both answered by NeedsLooked.
struct CollectNeeds {  // SOURCE
  std::uint64_t token = 0;
  base::JobId job;
  bool to_park = false;  // what parking it would need here
  bool tcp_close = false;
  base::NodeId sink = {};  // whose say on the job's files is wanted too; zero: nobody's
};
struct CheckNeeds {  // SINK
  std::uint64_t token = 0;
  base::Bytes requirement;
  base::JobId job;  // whose files, if they are there, are its own
};
// A finished (or failed) handover, for people: cli.md's `tern migrate --json`.
struct HandoverSummary {
  balance::HandoverId id;
  base::NodeId source;
  base::NodeId sink;
  std::string source_name;
  std::string sink_name;
  base::NodeId coordinator;
  base::Term term;
  std::optional<balance::Decision> outcome;
  std::string reason;
  std::uint64_t bytes = 0;
  base::Duration frozen{};
  base::Duration freeze{};
  balance::PhaseTimes times;
};
struct JobsAnswer {
  std::vector<JobInfo> jobs;
  std::vector<base::NodeId> unreachable;
};
struct DrainStep {  // of `tern drain --dry-run` and `--off`
  base::JobId job;
  std::string name;
  std::string to;   // a node's name; empty: it stays
  std::string why;  // it stays
};
struct Reply {
  std::uint64_t request = 0;
  bool over = true;
  int exit_code = 0;
  std::string sentence;
  // Of a trial: {"job","from","to","obstacles":[...]}; of a park or a wake: rest_json()
  std::optional<std::string> handover_json;
  std::optional<JobsAnswer> jobs;
  std::optional<LogReply> log;
  std::vector<DrainStep> withdrawn;  // of a drain's end: what of it was, or goes on as it has begun
};
struct Happened {  // for `tern events`
  // join, suspect, dead, left, seat, handover, park, wake, job, trit, throttle, pause, owner, sleep
  std::string kind;
  base::NodeId node;
  base::JobId job;
  std::string text;
  std::optional<HandoverSummary> handover;
  std::string rest;  // of park and wake: rest_json(), or empty
};
struct Fatal {  // this node must stop: its identity runs elsewhere too
  std::string reason;
};

using Action = std::variant<SendDatagram, SendMessage, Contact, Persist, HandoverOrder, JobOrder,
                            MoveStored, ReadLog, FeedJob, DeskSaid, SignalJob, LimitCpu, PauseJob,
                            DelaySleep, CollectNeeds, CheckNeeds, Reply, Happened, Fatal>;
using Actions = std::vector<Action>;

}  // namespace node
