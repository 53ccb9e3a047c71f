// What is loaded into a guarded CRIU: its injected code stops where a death of CRIU does no harm.
//
// CRIU has a task of the job run a piece of code and end it with a breakpoint. A task that reaches
// one after CRIU was killed, or before CRIU has waited for it, dies of SIGTRAP: no guard can be
// fast enough. Stops at system calls have no such effect. So the library stands before two
// functions of libc, and only for a task of the job that is to run one of these two pieces:
//
//   system call, breakpoint    the task is led over the system call (PTRACE_SYSCALL twice) and
//   stays
//                              behind it; CRIU is told of the breakpoint that it expects
//   CRIU's code in a thread    which ends with "result <= 0: breakpoint": its jump is bent to the
//                              system call that stands before the breakpoint, and that call
//                              is skipped; stops as above
//
// Everything else passes through. So does all where the code does not look as CRIU 4.2's does:
// then breakpoints stay, and with them a hole of some microseconds for each. Only x86_64; elsewhere
// the library does nothing. CRIU's hardware breakpoints the guard turns off (CRIU_FAULT).
#include <cerrno>
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

namespace {

constexpr std::uint8_t kCallAndBreak[] = {0x0f, 0x05, 0xcc};
// cmp $0,%rax; jle 1f; mov %rax,%rsp; mov $15,%rax; syscall; 1: int3, after the call of 5 bytes
// that CRIU's code begins with.
constexpr std::uint8_t kHead[] = {0x48, 0x83, 0xf8, 0x00, 0x7e, 0x0c, 0x48, 0x89, 0xc4, 0x48,
                                  0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xcc};
constexpr std::size_t kHeadAt = 5;
constexpr std::size_t kJumpAt = 5;  // in kHead: the distance, from the next byte
constexpr std::uint8_t kJumpBent = 0x0a;
constexpr std::size_t kLastCallEnd = kHeadAt + 18;  // from the code's beginning
constexpr std::size_t kPageSize = 4096;
constexpr int kTrapped = SIGTRAP << 8 | 0x7f;  // a wait status: stopped by SIGTRAP
constexpr int kAtCall = (SIGTRAP | 0x80) << 8 | 0x7f;

bool bent = false;
pid_t told_later = 0;  // whose stop wait4() is to tell
int told_status = 0;
pid_t pretended = 0;  // whose stop is called a breakpoint

long raw_ptrace(long request, pid_t tid, std::uintptr_t address, void* data) {
  return syscall(SYS_ptrace, request, tid, address, data);
}

bool get_registers(pid_t tid, user_regs_struct* out) {
  iovec part{out, sizeof *out};
  return raw_ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &part) == 0 && part.iov_len == sizeof *out;
}

bool set_registers(pid_t tid, user_regs_struct* regs) {
  iovec part{regs, sizeof *regs};
  return raw_ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &part) == 0;
}

bool has_code(pid_t tid, std::uint64_t at, const std::uint8_t* code, std::size_t size) {
  std::uint8_t there[32];
  for (std::size_t i = 0; i < size; i += sizeof(long)) {
    if (raw_ptrace(PTRACE_PEEKTEXT, tid, at + i, there + i) != 0) return false;
  }
  return std::memcmp(there, code, size) == 0;
}

enum class Piece { kOther, kCall, kThread };

Piece piece_at(pid_t tid, std::uint64_t ip) {
  if (has_code(tid, ip, kCallAndBreak, sizeof kCallAndBreak)) return Piece::kCall;
  if (!bent) return Piece::kOther;
  std::uint8_t head[sizeof kHead];
  std::memcpy(head, kHead, sizeof head);
  head[kJumpAt] = kJumpBent;
  if (!has_code(tid, ip + kHeadAt, head, sizeof head)) return Piece::kOther;
  // A leader becomes CRIU's server in the process and never comes to the breakpoint.
  const bool leader = syscall(SYS_tgkill, tid, tid, 0) == 0;
  return leader ? Piece::kOther : Piece::kThread;
}

int next_status(pid_t tid) {
  int status = 0;
  while (syscall(SYS_wait4, tid, &status, __WALL, nullptr) < 0) {
    if (errno != EINTR) return -1;
  }
  return status;
}

// Leads the task over system calls until it is behind the last one of its piece. Whatever else
// stops it is CRIU's affair. Returns the wait status that CRIU shall see; -1: errno.
int lead_on(pid_t tid, Piece piece, std::uint64_t ip) {
  const std::uint64_t last = piece == Piece::kCall ? ip + 2 : ip + kLastCallEnd;
  for (;;) {
    if (raw_ptrace(PTRACE_SYSCALL, tid, 0, nullptr) != 0) return -1;
    int status = next_status(tid);
    if (status != kAtCall) return status;
    user_regs_struct regs{};
    if (!get_registers(tid, &regs)) return -1;
    const bool done = regs.rip == last;
    const std::uint64_t result = regs.orig_rax;
    if (done && piece == Piece::kThread) {
      regs.orig_rax = ~0ULL;  // no system call: it was the result
      if (!set_registers(tid, &regs)) return -1;
    }
    if (raw_ptrace(PTRACE_SYSCALL, tid, 0, nullptr) != 0) return -1;
    status = next_status(tid);
    if (status != kAtCall) return status;
    if (!done) continue;
    if (piece == Piece::kThread) {
      regs.rax = result;
      if (!set_registers(tid, &regs)) return -1;
    }
    pretended = tid;
    return kTrapped;
  }
}

// CRIU's handler of SIGCHLD would wait for what is waited for here.
int lead(pid_t tid, Piece piece, std::uint64_t ip) {
  sigset_t child;
  sigset_t before;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &before);
  const int status = lead_on(tid, piece, ip);
  const int error = errno;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return status;
}

bool bend(std::uint8_t* jump, int rights) {
  const auto page = reinterpret_cast<std::uintptr_t>(jump) & ~std::uintptr_t{kPageSize - 1};
  auto* const from = reinterpret_cast<void*>(page);
  if (mprotect(from, kPageSize, rights | PROT_WRITE) != 0) return false;
  *jump = kJumpBent;
  return mprotect(from, kPageSize, rights) == 0;
}

// Bends the jump in CRIU's own copies of the code, before any task gets it.
int bend_in(dl_phdr_info* info, std::size_t, void*) {
  if (info->dlpi_name[0] != '\0') return 0;  // the program itself comes first and has none
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_R) == 0) continue;
    auto* const begin = reinterpret_cast<std::uint8_t*>(info->dlpi_addr + part.p_vaddr);
    const auto* const end = begin + part.p_filesz;
    int rights = (part.p_flags & PF_X) != 0 ? PROT_READ | PROT_EXEC : PROT_READ;
    if ((part.p_flags & PF_W) != 0) rights |= PROT_WRITE;
    for (auto* at = begin; at != nullptr && at < end;) {
      at = static_cast<std::uint8_t*>(
          memmem(at, static_cast<std::size_t>(end - at), kHead, sizeof kHead));
      if (at == nullptr || !bend(at + kJumpAt, rights)) break;
      bent = true;
    }
  }
  return 1;
}

__attribute__((constructor)) void prepare() {
  dl_iterate_phdr(bend_in, nullptr);
  if (bent) unsetenv("LD_PRELOAD");  // CRIU is reached: a script may stand before it, others after
}

}  // namespace

extern "C" long ptrace(enum __ptrace_request request, ...) noexcept {
  va_list list;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wvarargs"  // libc's own prototype: an enumeration as wide as int
  va_start(list, request);
#pragma GCC diagnostic pop
  const pid_t tid = va_arg(list, pid_t);
  void* const address = va_arg(list, void*);
  void* data = va_arg(list, void*);
  va_end(list);
  if (request == PTRACE_CONT && data == nullptr) {
    pretended = 0;
    user_regs_struct regs{};
    const Piece piece = get_registers(tid, &regs) ? piece_at(tid, regs.rip) : Piece::kOther;
    if (piece != Piece::kOther) {
      const int status = lead(tid, piece, regs.rip);
      if (status == -1) return -1;
      told_later = tid;
      told_status = status;
      return 0;
    }
  }
  long word = 0;
  const bool peeks =
      request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER;
  if (peeks) data = &word;
  const long rc = raw_ptrace(request, tid, reinterpret_cast<std::uintptr_t>(address), data);
  if (rc >= 0 && request == PTRACE_GETSIGINFO && tid == pretended) {
    auto* const info = static_cast<siginfo_t*>(data);
    info->si_signo = SIGTRAP;
    info->si_code = SI_KERNEL;
  }
  if (!peeks || rc < 0) return rc;
  errno = 0;
  return word;
}

extern "C" pid_t wait4(pid_t pid, int* status, int options, struct rusage* usage) noexcept {
  if (told_later != 0 && (pid == told_later || pid == -1)) {
    const pid_t told = told_later;
    told_later = 0;
    if (status != nullptr) *status = told_status;
    return told;
  }
  return static_cast<pid_t>(syscall(SYS_wait4, pid, status, options, usage));
}
#endif
