// What final answers carry: the objects that scripts read with --json.
//
// The daemon fills a struct and sends to_json(); the client reads it back with parse_...() to show
// it, and passes the exact text on for --json. Fields are only ever added: a reader ignores what it
// does not know and gives absent fields their defaults, so that neighbouring versions understand
// each other. Ratios, loads and SCUM scores are millionths, CPUs thousandths, times microseconds
// where named so; in JSON they are decimals (0.53, 2, seconds).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace control {

struct MeshName {
  std::string id;
  std::string name;
};

// {"pid","version","name","id","member","mesh":{"id","name"}|null,"no_jobs","no_criu"}, of up with
// "created"
struct Ping {
  std::int64_t pid = 0;
  std::string version;
  std::string name;
  std::string id;  // empty before the first up or join
  bool member = false;
  std::optional<MeshName> mesh;
  std::optional<bool> created = std::nullopt;  // up only: this call made the mesh
  std::string no_jobs = {};                    // why this machine runs no jobs; empty: it does
  std::string no_criu = {};                    // why none can move; empty: they can
};

// {"ticket","expires_in_seconds","addresses"}
struct InviteReport {
  std::string ticket;
  std::uint64_t expires_in_seconds = 0;
  std::vector<std::string> addresses;
};

// {"mesh":{"id","name"},"id","name","trusted_uid":N|null}
struct JoinReport {
  MeshName mesh;
  std::string id;
  std::string name;
  std::optional<std::int64_t> trusted_uid;
};

struct SeatReport {
  std::string triad;
  std::string role;  // source, coordinator, sink
  std::uint64_t term = 0;
};

struct NodeReport {
  std::string id;
  std::string name;
  std::string state;  // alive, suspect, dead, left, revoked
  std::int64_t ratio_micros = 0;
  std::int64_t effective_ratio_micros = 0;
  int trit = 0;
  std::int64_t cpus_millis = 0;
  std::uint64_t mem_total_bytes = 0;
  std::uint64_t mem_free_bytes = 0;
  std::uint64_t jobs = 0;
  std::uint64_t parked = 0;
  std::optional<SeatReport> seat;
  std::string address;
  std::string version;
};

// {"mesh":{"id","name","sum","rule","seats_sum_mod_3"},"self":ID,"sentence","nodes":[...]}
struct Status {
  MeshName mesh;
  std::int64_t sum = 0;  // S
  std::string rule;      // shedding, waking, balanced
  int seats_sum_mod_3 = 0;
  std::string self;
  std::string sentence;  // what the mesh is doing, and why nothing moves
  std::vector<NodeReport> nodes;
};

inline constexpr std::size_t kBesidePathsMax = 64;
inline constexpr std::size_t kFilesAwayBytesMax = 8 << 10;

struct JobReport {
  std::string id;
  std::string name;
  std::string command;
  std::string state;  // queued, running, throttled, handover, parked, exited, lost, paused
  std::string node;   // names, ids where a name is not known
  std::string home;
  std::int64_t pid = 0;
  std::uint64_t epoch = 0;
  std::int64_t scum_micros = 0;
  std::int64_t cpu_percent_millis = 0;
  std::int64_t mem_percent_millis = 0;
  std::int64_t started_at = 0;  // wall seconds
  std::uint64_t moves = 0;
  std::optional<std::int64_t> exit_code;
  std::string waits_for;     // in doubt until this node, or a person, has spoken; empty: none
  std::string missing = {};  // of a lost one, asked at its home: what of it is not there any more
  bool homeward = false;     // it has ended elsewhere; home has not all of its output and files yet
  // Asked at the job's home: where two versions of a file lie side by side since it came home; the
  // job's, of a file that was changed there meanwhile, and home's own, of what became a folder or
  // was one. At most kBesidePathsMax each.
  std::vector<std::string> beside = {};
  std::vector<std::string> kept = {};
  std::uint64_t beside_more = 0;  // of both, that are not listed: an answer has room for so many
  // Likewise, of one that has ended: why what it changed of its files is not there; empty: it is.
  std::string files_away = {};
};

// {"jobs":[...],"unreachable":[names]}
struct Jobs {
  std::vector<JobReport> jobs;
  std::vector<std::string> unreachable;
};

struct RunReport {  // {"job","name","queued"}
  std::string job;
  std::string name;
  bool queued = false;  // it waited when this was said, or was started elsewhere
};

// {"exit_code"}, or {"signal","exit_code"} with 128 + signal, as shells count
struct ExitReport {
  int exit_code = 0;
  std::optional<int> signal;
  std::vector<std::string> beside = {};  // as of JobReport
  std::vector<std::string> kept = {};
  std::uint64_t beside_more = 0;
  std::string files_away = {};
};

struct KillReport {  // {"node","said"}
  std::string node;
  // Instead of what was asked for, as that was not needed any more; mostly empty.
  std::string said{};
};

// Of `tern drain`: {"draining","jobs":[{"job","name","to","why"}],"files_wait":[{"job","name",
// "home","why"}]}: who is still here, where each would go (a name), or why it stays; and jobs that
// ended here whose files wait here for their home, which no drain waits for. Of --off: whose move
// is withdrawn, or goes on, and also "was_draining", and "no_guests": why it takes none all the
// same.
struct DrainReport {
  struct Job {
    std::string job;
    std::string name;
    std::string to;
    std::string why;
  };
  struct FilesWait {
    std::string job;
    std::string name;
    std::string home;  // name
    std::string why;
  };
  bool draining = false;
  std::vector<Job> jobs;
  std::vector<FilesWait> files_wait;
  std::optional<bool> was_draining{};
  std::string no_guests{};
};

struct DownReport {  // {"jobs_left_running","files_wait"}
  std::uint64_t jobs_left_running = 0;
  std::uint64_t files_wait = 0;  // jobs whose files wait here for their home
};

// The object of `tern migrate --json`, and of each handover among the events.
struct Handover {
  enum Phase { kPreflight, kFreeze, kStream, kRestore, kDecide, kResume, kPhases };
  std::string job;
  std::uint64_t epoch = 0;
  std::string from;
  std::string to;
  std::string from_name;  // empty: told by an older daemon
  std::string to_name;
  std::string coordinator;
  std::uint64_t term = 0;
  std::string outcome;  // commit, abort
  std::string reason;   // of an abort, or of the move
  std::uint64_t bytes = 0;
  std::int64_t frozen_micros = 0;
  std::array<std::optional<std::int64_t>, kPhases> phase_micros;  // those that were reached
};

inline constexpr std::array<std::string_view, Handover::kPhases> kPhaseNames = {
    "preflight", "freeze", "stream", "restore", "decide", "resume"};

// Of `tern park --json`, `tern wake --json` and the events of both:
// {"job","node","node_name","what":
// "park|wake","outcome":"done|failed","reason","bytes","stored_bytes","frozen_seconds",
// "phases":{name: seconds}}
struct Rest {
  std::string job;
  std::string node;  // id
  std::string node_name;
  std::string what;
  std::string outcome;
  std::string reason;
  std::uint64_t bytes = 0;
  std::uint64_t stored_bytes = 0;
  std::int64_t frozen_micros = 0;
};

// Of `tern migrate --dry-run`: {"job","from","to","from_name","to_name","obstacles":[sentence...]}.
// No obstacles: it would move. `to` is empty where it was not even decided whom to ask.
struct Trial {
  std::string job;
  std::string from;
  std::string to;
  std::string from_name;
  std::string to_name;
  std::vector<std::string> obstacles;
};

struct Setting {
  std::string name;
  std::string value;
  std::string from;  // command line, tern.toml, default
};

[[nodiscard]] std::string to_json(const Ping& ping);
[[nodiscard]] std::string to_json(const InviteReport& invite);
[[nodiscard]] std::string to_json(const JoinReport& join);
[[nodiscard]] std::string to_json(const NodeReport& node);
[[nodiscard]] std::string to_json(const Status& status);
[[nodiscard]] std::string to_json(const Jobs& jobs);
[[nodiscard]] std::string to_json(const RunReport& run);
[[nodiscard]] std::string to_json(const ExitReport& exit);
[[nodiscard]] std::string to_json(const KillReport& kill);
[[nodiscard]] std::string to_json(const DrainReport& drain);
[[nodiscard]] std::string to_json(const DownReport& down);
[[nodiscard]] std::string to_json(const Handover& handover);
[[nodiscard]] std::string settings_to_json(const std::vector<Setting>& settings);
[[nodiscard]] std::string counters_to_json(
    const std::vector<std::pair<std::string, std::int64_t>>& counters);

[[nodiscard]] base::Result<Ping> parse_ping(std::string_view json);
[[nodiscard]] base::Result<InviteReport> parse_invite(std::string_view json);
[[nodiscard]] base::Result<JoinReport> parse_join(std::string_view json);
[[nodiscard]] base::Result<Status> parse_status(std::string_view json);
[[nodiscard]] base::Result<Jobs> parse_jobs(std::string_view json);
[[nodiscard]] base::Result<RunReport> parse_run(std::string_view json);
[[nodiscard]] base::Result<ExitReport> parse_exit(std::string_view json);
[[nodiscard]] base::Result<KillReport> parse_kill(std::string_view json);
[[nodiscard]] base::Result<DrainReport> parse_drain(std::string_view json);
[[nodiscard]] base::Result<DownReport> parse_down(std::string_view json);
[[nodiscard]] base::Result<Handover> parse_handover(std::string_view json);
[[nodiscard]] base::Result<Rest> parse_rest(std::string_view json);
[[nodiscard]] base::Result<Trial> parse_trial(std::string_view json);
[[nodiscard]] base::Result<std::vector<Setting>> parse_settings(std::string_view json);

}  // namespace control
