// Everything that a host gives to a node and carries out for it. Both hosts (daemon, sim) see just
// this. Actions are performed in order, all of them, before the next event.
//
// Persisted batches become durable in the order given; each is answered by Persisted{id}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "balance/event.h"
#include "base/endpoint.h"
#include "node/job_wire.h"
#include "node/jobs.h"

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
  std::int64_t load_micros = 0;  // its own average of runnable tasks
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
};

struct Handover {  // what became of a host operation of balance
  balance::Event event;
};
struct JobNews {  // Launched, LaunchFailed, SpoolGrew, SpoolRead, HomeAppended, Ended
  jobs::Event event;
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
};
struct MigrateJob {
  std::uint64_t request = 0;
  std::uint32_t uid = 0;  // of who asks
  base::JobId job;
  base::NodeId host;                   // who has it, by the last AskJobs
  std::optional<base::NodeId> target;  // none: the best one
  bool trial = false;                  // only ask whether it could; nothing is frozen
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
struct AskJobs {
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
struct LogRead {  // answers ReadLog
  std::uint64_t token = 0;
  base::Bytes bytes;
  StreamEnds ends{};
};
struct Signalled {  // answers SignalJob
  std::uint64_t token = 0;
  bool ok = false;
  std::string reason;
};
struct NeedsLooked {  // answers CollectNeeds and CheckNeeds
  std::uint64_t token = 0;
  base::Bytes requirement;             // of CollectNeeds, where there are no obstacles
  std::vector<std::string> obstacles;  // a sentence each
};
// The daemon is to end: nothing new begins, and with `withdraw` what may still be given up is. The
// host goes on with everything until Node::unsettled() is empty, or its patience ends; then Leave.
struct Stopping {
  bool withdraw = false;
};
struct Leave {};  // the last event: others hear that this node leaves

using Event =
    std::variant<Start, Tick, WallClock, DatagramIn, MessageIn, Introduced, SeedPeer, Persisted,
                 Sample, Handover, JobNews, JobFrozen, MoveArrived, RunJob, MigrateJob, ResolveJob,
                 KillJob, AskJobs, AskLog, LogRead, Signalled, NeedsLooked, Stopping, Leave>;

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
struct JobOrder {  // Launch, Attend, ReadSpool, AppendHome, Forget
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
struct SignalJob {  // answered by Signalled
  std::uint64_t token = 0;
  base::JobId job;
  int signal_number = 0;
};
// `tern migrate --dry-run`: what the job needs of a sink, and whether this machine has it. Nothing
// is frozen; both answered by NeedsLooked.
struct CollectNeeds {  // SOURCE
  std::uint64_t token = 0;
  base::JobId job;
};
struct CheckNeeds {  // SINK
  std::uint64_t token = 0;
  base::Bytes requirement;
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
struct Reply {
  std::uint64_t request = 0;
  bool over = true;
  int exit_code = 0;
  std::string sentence;
  std::optional<std::string> handover_json;  // of a trial: {"job","from","to","obstacles":[...]}
  std::optional<JobsAnswer> jobs;
  std::optional<LogReply> log;
};
struct Happened {    // for `tern events`
  std::string kind;  // join, suspect, dead, left, seat, handover, job, trit
  base::NodeId node;
  base::JobId job;
  std::string text;
  std::optional<HandoverSummary> handover;
};
struct Fatal {  // this node must stop: its identity runs elsewhere too
  std::string reason;
};

using Action =
    std::variant<SendDatagram, SendMessage, Contact, Persist, HandoverOrder, JobOrder, MoveStored,
                 ReadLog, SignalJob, CollectNeeds, CheckNeeds, Reply, Happened, Fatal>;
using Actions = std::vector<Action>;

}  // namespace node
