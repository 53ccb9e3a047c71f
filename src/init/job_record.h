// The job as it stood frozen before CRIU touched it, and its way back there.
//
// CRIU runs code inside the job's processes: it writes a system call over the first bytes of an
// executable mapping, sets registers and signal masks, maps its code, opens descriptors. Nothing of
// the job's own runs meanwhile, so whatever CRIU's end leaves, the job is whole again with what was
// recorded here: registers, masks and bytes are written back; by system calls that the job's own
// processes make, mappings and descriptors that were not there are taken away, and protections and
// umasks are set as they were. CRIU reads the queues of local sockets by an offset of theirs, which
// is put back as well.
//
// The job must be frozen, by its cgroup, from before take() to after put_back(); what else it must
// be is in the functions.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "init/array.h"
#include "init/job_files.h"
#include "init/tracee.h"

namespace init {

// What CRIU overwrites: a system call, a breakpoint and a name, 16 bytes at the beginning of an
// executable mapping.
inline constexpr std::size_t kCodeSize = 64;

class JobRecord {
 public:
  // `cgroup`: a version 2 folder. False: it cannot be opened (errno).
  [[nodiscard]] bool open(const char* cgroup);
  // For all of take() or put_back(), from now on. An alarm of the caller's ends single waits.
  void set_deadline(int seconds);
  // Reads all of a frozen job that nobody traces, and lets it go, still frozen. A sentence of what
  // failed (errno with it), or nullptr.
  [[nodiscard]] const char* take();
  // Freezes the job and waits for that a moment: what is not frozen yet runs CRIU's code.
  void stop();
  // With CRIU dead: freezes the job and puts everything back. Processes that are gone are passed
  // over. As take(); then as much was put back as could be, and the job is frozen.
  [[nodiscard]] const char* put_back();
  // put_back() found something of CRIU's, beyond registers.
  [[nodiscard]] bool mended() const { return mended_; }
  // While CRIU stands still: something of the job is neither frozen nor traced, so it may have run
  // since take(), and what was recorded is not what it should go back to.
  [[nodiscard]] bool runs();

 private:
  struct Thread {
    pid_t tid;
    std::uint64_t start;  // 0: it is gone
    ThreadState state;
    bool seized;  // by us
    bool held;    // and stopped
  };
  struct Code {
    std::uint64_t at;
    bool known;
    std::uint8_t bytes[kCodeSize];
  };
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
    int rights;
    bool shared;
  };
  struct PeekOffset {  // SO_PEEK_OFF of a local socket, socket(7)
    int descriptor;
    int offset;
  };
  struct Process {
    pid_t pid;
    int memory;  // /proc/PID/mem: of this process for ever, whatever becomes of its number
    Array<Thread>* threads;
    Array<Code>* code;
    Array<Range>* mappings;   // ascending
    Array<int>* descriptors;  // ascending
    Array<PeekOffset>* peeks;
    int umask;
  };
  [[nodiscard]] const char* add_processes();
  [[nodiscard]] const char* add_processes_of(const char* folder);
  [[nodiscard]] static const char* read_process(Process& process);
  [[nodiscard]] const char* read_threads(Process& process);
  [[nodiscard]] static bool add_threads(Process& process);
  [[nodiscard]] static bool read_mappings(Process& process);
  [[nodiscard]] static bool read_peeks(Process& process);
  void release();
  [[nodiscard]] const char* hold(Process& process);
  [[nodiscard]] static Thread* spokesman(const Process& process);
  [[nodiscard]] static bool write_states(const Process& process);
  [[nodiscard]] bool write_code(const Process& process);
  [[nodiscard]] bool write_peeks(const Process& process);
  [[nodiscard]] static bool get(const Process& process, std::uint64_t at, void* out,
                                std::size_t size);
  [[nodiscard]] static bool put(const Process& process, std::uint64_t at, const void* data,
                                std::size_t size);
  // What CRIU left in a process; false: it has not been looked at.
  struct Remains {
    Array<Range> mappings;
    Array<int> descriptors;
    Array<Range> protections;  // as they were, where they differ
    int umask = -1;            // as it was, if it differs
    [[nodiscard]] bool none() const {
      return mappings.size() + descriptors.size() + protections.size() == 0 && umask < 0;
    }
  };
  [[nodiscard]] static bool compare_mappings(const Process& process, Remains& out);
  [[nodiscard]] static bool compare_descriptors(const Process& process, Remains& out);
  [[nodiscard]] static bool find_remains(const Process& process, Remains& out);
  [[nodiscard]] bool clear_remains(Process& process, Remains& remains);
  [[nodiscard]] const char* tidy();
  void freeze();
  void thaw();
  [[nodiscard]] bool late() const;
  [[nodiscard]] bool await_frozen(int patience_ms);

  Array<Process> processes_;
  char cgroup_[kPathMax] = {};
  int freezer_ = -1;
  int events_ = -1;
  bool mended_ = false;
  time_t deadline_ = 0;
};

}  // namespace init
