// What a job's init, its keeper and the daemon agree on: descriptors, signals, records, messages.
//
//   [keeper]  outside      job's pid, ipc and uts namespace: tern-init (PID 1) -> main -> ...
//      |  opens /proc/<init>/fd/10, 11, 12             |
//      +--- splice pipe -> JOBDIR/stdout.log ----------+  stdout, stderr, status: one pipe each
//
// tern-init holds both ends of every pipe of these, so that (a) a keeper that is killed is replaced
// without the job noticing, and (b) CRIU sees pipes that lie wholly inside the tree it dumps, and
// carries their unread content along. Main inherits only descriptors 0, 1 and 2.
//
// Standard input. A job that was started with one has three pipes more, or two and a terminal:
//
//   daemon --frames--> [feed] --> tern-init --bytes--> [stdin | terminal] --> main
//   daemon <--states-- [news] <------/
//
//   * Offsets count the bytes of the job's stdin since it began, on all nodes and over all who
//     wrote them. What main was given is known to init alone: `taken` is in init's memory, counted
//     with the write(2) that put the bytes into main's pipe, and that memory lives, moves and dies
//     exactly as the job and its pipes do. A SIGKILL of init ends the job, so nothing can fall
//     between the write and the count; a freeze between them keeps both sides of it.
//   * A frame is written with one write(2) of at most PIPE_BUF bytes: it is in the feed as a whole
//     or not at all, whoever is killed when. Init takes of it what continues at `taken` and passes
//     over the rest: frames may be lost (with a daemon, with a source whose copy is not the job any
//     more) and come again as often as one likes. Frames that wait in the feed move with the job.
//   * So whoever feeds keeps bytes until `taken` has passed them, and nobody else stores any: not
//     on a disk, not on another node. `taken` never goes back.
//   * Every frame is answered by a state in the news; the newest counts. A reader who missed some,
//     or comes anew, asks (kAsk).
//   * Who may feed: the newest session that claimed (kClaim; a greater number is newer). Bytes of
//     any other are passed over, so that two terminals never mix; that word, too, moves with init.
//   * Main's stdin is the only read end of its pipe: once the job has closed it, init says so
//     (kInputClosed), and whoever writes to `tern run` gets SIGPIPE.
//   * A full pipe is back pressure: init holds one frame, the feed 64 KiB.
//   * Of a terminal init holds the one end, main, which leads its session, the other; what it shows
//     is passed to stdout.
// The job's own user can write to these pipes too; that concerns nothing but her job's input.
// A job that was started by an older tern, or without input, has none of this: /dev/null is its
// stdin, and descriptor kInitFeedWrite is not there.
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

#include <cstddef>
#include <cstdint>

namespace init {

// ---- descriptors of tern-init (1 and 2 are the write ends of stdout and stderr)
inline constexpr int kInitStdoutRead = 10;
inline constexpr int kInitStderrRead = 11;
inline constexpr int kInitStatusRead = 12;
inline constexpr int kInitStatusWrite = 13;

// Of a job with input only.
inline constexpr int kInitInput = 14;  // write end of main's stdin; the terminal's end that is ours
inline constexpr int kInitFeedRead = 15;
inline constexpr int kInitFeedWrite = 16;
inline constexpr int kInitNewsRead = 17;
inline constexpr int kInitNewsWrite = 18;
inline constexpr int kInitMainInput = 19;  // main's end: its 0, a terminal's also its 1 and 2

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

// ---- standard input
inline constexpr std::uint64_t kInputMagic = 0x7475706e'69326e74;
inline constexpr std::size_t kInputFrameMax = 4096;  // PIPE_BUF

enum class InputKind : std::uint32_t {
  kClaim = 1,
  kBytes = 2,
  kEnd = 3,     // after `offset` bytes: main's stdin is closed; not of a terminal
  kWindow = 4,  // a terminal's: struct winsize
  kAsk = 5,
};

struct InputFrame {  // and `size` bytes
  std::uint64_t magic;
  std::uint64_t session;
  std::uint64_t offset;
  InputKind kind;
  std::uint32_t size;
};
static_assert(sizeof(InputFrame) == 32);
inline constexpr std::size_t kInputPieceMax = kInputFrameMax - sizeof(InputFrame);

inline constexpr std::uint32_t kInputEnded = 1;   // end of file was passed on
inline constexpr std::uint32_t kInputClosed = 2;  // nobody reads it any more
inline constexpr std::uint32_t kInputTerminal = 4;

struct InputState {
  std::uint64_t magic;
  std::uint64_t session;  // whose bytes are taken
  std::uint64_t taken;
  std::uint32_t flags;
  std::uint32_t zero;
};
static_assert(sizeof(InputState) == 32);

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
  kGrew = 2,    // at most one until the client says kMore
  kExited = 3,  // JOBDIR/exit is there; also sent on connecting, if so
  kDiskFull =
      4,  // or any other failure to store; store_errno says which (init/spool.h); tried again
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
