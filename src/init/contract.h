// What a job's init, its keeper and the daemon agree on: descriptors, signals, records, messages.
//
//   [keeper]  outside      job's pid, ipc and uts namespace: tern-init (PID 1) -> main -> ...
//      |  opens /proc/<init>/fd/10, 11, 12             |
//      +--- splice pipe -> JOBDIR/stdout.log ----------+  stdout, stderr, status: one pipe each
//
// tern-init holds both ends of every pipe, so that (a) a keeper that is killed is replaced without
// the job noticing, and (b) CRIU sees pipes that lie wholly inside the tree it dumps, and carries
// their unread content along. Main inherits only descriptors 0, 1 and 2.
//
// Files of a job folder (JOBDIR), which belongs to one stay of a job on a node:
//   stdout.log, stderr.log   raw bytes; the file's size is the only record of how far it got
//   bases                    Bases; the streams' offsets at which these files begin
//   order                    OrderRecord...; advisory, how the two streams interleaved
//   keeper.lock              POSIX lock held by the living keeper (F_GETLK names it)
//   keeper.sock              the keeper's control socket
//   exit                     ExitRecord; durable, and only there once all output is
//
// Everything here is read by programs of one machine, so integers are in its byte order.
#pragma once

#include <cstdint>

namespace init {

// ---- descriptors of tern-init (1 and 2 are the write ends of stdout and stderr)
inline constexpr int kInitStdoutRead = 10;
inline constexpr int kInitStderrRead = 11;
inline constexpr int kInitStatusRead = 12;
inline constexpr int kInitStatusWrite = 13;

// ---- signals that tern-init takes for itself: the first three that C libraries leave free
inline constexpr int kSignalAcknowledge = 34;  // the exit status is stored: exit
inline constexpr int kSignalDropStdout = 35;   // close the spare read end of stdout
inline constexpr int kSignalDropStderr = 36;

// ---- exit statuses of a main that could not be started, as shells give them
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;

inline constexpr unsigned kGroupsMax = 1024;  // supplementary groups of a job

// What init writes to the status pipe. It is looked at with tee(2), never consumed, so that it is
// still there for the next keeper, and after a move.
struct StatusRecord {
  std::uint64_t magic;
  std::int32_t wait_status;  // as waitpid gives it
  std::uint32_t zero;
};
static_assert(sizeof(StatusRecord) == 16);
inline constexpr std::uint64_t kStatusMagic = 0x737574617473'6e74;

struct Bases {
  std::uint64_t magic;
  std::uint64_t stdout_base;
  std::uint64_t stderr_base;
};
static_assert(sizeof(Bases) == 24);
inline constexpr std::uint64_t kBasesMagic = 0x7365736162'6e7274;

enum class ExitSource : std::uint32_t {
  kInit = 0,      // init told the status
  kVanished = 1,  // init was killed: wait_status is that of SIGKILL
};

struct ExitRecord {
  std::uint64_t magic;
  std::int32_t wait_status;
  ExitSource source;
  std::uint64_t stdout_end;  // offsets of the whole stream, not of the file
  std::uint64_t stderr_end;
};
static_assert(sizeof(ExitRecord) == 32);
inline constexpr std::uint64_t kExitMagic = 0x74697865'6e726574;

struct OrderRecord {
  std::uint64_t stream;  // 0 stdout, 1 stderr
  std::uint64_t end;     // what precedes this offset of the stream came before the next record
};
static_assert(sizeof(OrderRecord) == 16);
inline constexpr std::uint64_t kOrderRecordsMax = 1 << 20;  // 16 MiB; later ones are not recorded

// ---- the keeper's socket. One client at a time: a new connection ends the one before.
inline constexpr std::uint32_t kControlMagic = 0x316b7274;

enum class Op : std::uint32_t {
  kStatus = 1,  // answered by kReply, as all of these are
  kPause = 2,   // once answered, nothing is read from the job until kResume
  kResume = 3,
  kCloseReader = 4,      // `stream`: nobody wants it any more, the job shall get SIGPIPE
  kRetire = 5,           // exit, leave everything as it is
  kAcknowledgeExit = 6,  // exit, if the job's exit is stored; refused otherwise
  kMore = 7,             // may send one more kGrew; not answered
};

struct Request {
  std::uint32_t magic;
  Op op;
  std::uint32_t id;      // comes back in the reply
  std::uint32_t stream;  // kCloseReader: 0 or 1; else 0
};
static_assert(sizeof(Request) == 16);

enum class MessageKind : std::uint32_t {
  kReply = 1,
  kGrew = 2,      // at most one until the client says kMore
  kExited = 3,    // JOBDIR/exit is there; also sent on connecting, if so
  kDiskFull = 4,  // or any other failure to store; store_errno says which; retried every second
};

inline constexpr std::uint32_t kFlagPaused = 1;
inline constexpr std::uint32_t kFlagExited = 2;
inline constexpr std::uint32_t kFlagStoreFailed = 4;
inline constexpr std::uint32_t kFlagStdoutClosed = 8;  // nobody reads this stream any more
inline constexpr std::uint32_t kFlagStderrClosed = 16;
inline constexpr std::uint32_t kFlagInitGone = 32;
inline constexpr std::uint32_t kFlagRefused = 64;  // the request was not legal now

struct Message {
  std::uint32_t magic;
  MessageKind kind;
  std::uint32_t id;
  std::uint32_t flags;
  std::uint64_t stdout_end;
  std::uint64_t stderr_end;
  std::int32_t wait_status;  // with kFlagExited
  std::int32_t store_errno;  // with kFlagStoreFailed
};
static_assert(sizeof(Message) == 40);

// ---- how the keeper says on kKeeperReport that it is up (kReportOk) or why not (a sentence)
inline constexpr int kKeeperReport = 3;
inline constexpr char kReportOk = '\n';

// ---- how tern-guard tells what became of CRIU and of the job: its exit status is CRIU's, or
inline constexpr int kExitGuardFailed = 127;  // CRIU did not run
inline constexpr int kExitSignalled = 128;    // and the signal that killed CRIU
// Its file `recorded` is there before CRIU does anything; as long as it is not, the guard may be
// killed after CRIU's cgroup was. And lines in its note file, which begin with one of these.
inline constexpr char kNoteUnguarded[] = "unguarded: ";  // CRIU ran as if there was no guard
inline constexpr char kNoteRepaired[] = "repaired: ";
inline constexpr char kNoteDamaged[] = "damaged: ";  // CRIU failed, and so did the repair

}  // namespace init
