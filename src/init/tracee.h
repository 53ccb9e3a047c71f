// One thread of the job under the guard's ptrace(2): stopped, read, written, let go.
//
// Register sets are bytes to the guard: whatever the kernel gives is what it gets back. Only the
// injected system call knows registers by name, once for each architecture (tracee.cc).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace init {

inline constexpr std::size_t kGeneralSizeMax = 512;         // NT_PRSTATUS: 216 or 272 bytes
inline constexpr std::size_t kExtendedSizeMax = 64 * 1024;  // NT_X86_XSTATE: 11 KiB with AMX

struct ThreadState {
  std::uint8_t general[kGeneralSizeMax];
  std::size_t general_size;
  std::uint8_t* extended;  // allocated, never freed: a guard lives for one dump
  std::size_t extended_size;
  std::uint64_t signal_mask;
  std::uint64_t rseq_cs_at;  // where the thread's restartable sequence is announced; 0: nowhere
  std::uint64_t rseq_cs;
};

// SEIZE, INTERRUPT and the stop itself. False (errno) if the thread is gone, a zombie, another's
// tracee, or does not stop before the alarm that the caller has set (EINTR): then it stays ours
// until let_go() finds it stopped.
[[nodiscard]] bool stop_thread(pid_t tid);
void let_go(pid_t tid);  // it goes on from what its state says; errors mean that it is gone

// Both only while stopped.
[[nodiscard]] bool read_state(pid_t tid, ThreadState* out);
// Also clears what hardware breakpoints a dead tracer left.
[[nodiscard]] bool write_state(pid_t tid, const ThreadState& state);

// Words of its process's memory, whatever its protection and whatever /proc/PID/mem refuses (the
// kernel's proc_mem.force_override). `size`: a multiple of sizeof(long).
[[nodiscard]] bool peek(pid_t tid, std::uint64_t at, void* out, std::size_t size);
[[nodiscard]] bool poke(pid_t tid, std::uint64_t at, const void* data, std::size_t size);

struct SystemCall {
  long number;
  unsigned long arguments[3];
};
// The bytes to be put at `at` of stop_thread()'s process before run_call(), restored by the caller.
inline constexpr std::size_t kCallCodeSize = 8;
extern const std::uint8_t kCallCode[kCallCodeSize];
// Has a stopped thread, in a cgroup that is thawed, make a system call with `state`'s registers and
// all signals blocked; it is stopped again afterwards, its registers changed. The only stops are
// those at system calls, which do the thread no harm should the guard die there (a breakpoint's
// would be its death).
[[nodiscard]] bool run_call(pid_t tid, const ThreadState& state, std::uint64_t at,
                            const SystemCall& call);

}  // namespace init
