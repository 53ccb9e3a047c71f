#include "init/tracee.h"

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "init/sys.h"

namespace init {
namespace {

// linux/ptrace.h cannot be included beside sys/ptrace.h.
constexpr int kGetRseqConfiguration = 0x420f;
struct RseqConfiguration {
  std::uint64_t area;
  std::uint32_t size;
  std::uint32_t signature;
  std::uint32_t flags;
  std::uint32_t padding;
};
constexpr std::uint64_t kRseqCsOffset = 8;  // struct rseq, linux/rseq.h

template <typename Request, typename Data>
long trace(Request request, pid_t tid, std::uintptr_t address, Data* data) {
  return ptrace(static_cast<__ptrace_request>(request), tid, reinterpret_cast<void*>(address),
                data);
}

#if defined(__x86_64__)
constexpr unsigned kExtendedSet = NT_X86_XSTATE;
#else
constexpr unsigned kExtendedSet = NT_PRFPREG;
#endif

bool get_set(pid_t tid, unsigned set, void* data, std::size_t room, std::size_t* size) {
  iovec part{data, room};
  if (trace(PTRACE_GETREGSET, tid, set, &part) != 0) return false;
  *size = part.iov_len;
  return true;
}

bool put_set(pid_t tid, unsigned set, const void* data, std::size_t size) {
  iovec part{const_cast<void*>(data), size};
  return trace(PTRACE_SETREGSET, tid, set, &part) == 0;
}

// Elsewhere CRIU is told to set none (guard_main.cc).
void clear_breakpoints([[maybe_unused]] pid_t tid) {
#if defined(__x86_64__)
  constexpr std::size_t kControl = offsetof(struct user, u_debugreg) + 7 * sizeof(long);
  errno = 0;
  if (ptrace(PTRACE_PEEKUSER, tid, kControl, nullptr) == 0) return;
  (void)ptrace(PTRACE_POKEUSER, tid, kControl, nullptr);
#endif
}

// The next stop; -1 with errno.
int next_stop(pid_t tid) {
  int status = 0;
  if (waitpid(tid, &status, __WALL) != tid) return -1;  // EINTR: the alarm
  if (WIFSTOPPED(status)) return status;
  errno = ESRCH;
  return -1;
}

bool at_system_call(int status) { return WSTOPSIG(status) == (SIGTRAP | 0x80); }

}  // namespace

#if defined(__x86_64__)
const std::uint8_t kCallCode[kCallCodeSize] = {0x0f, 0x05, 0xeb, 0xfe,  // syscall; 1: jmp 1b
                                               0xeb, 0xfe, 0xeb, 0xfe};

static void set_call(user_regs_struct* regs, std::uint64_t at, const SystemCall& call) {
  regs->rip = at;
  regs->orig_rax = ~0ULL;  // nothing to be restarted
  regs->rax = static_cast<unsigned long>(call.number);
  regs->rdi = call.arguments[0];
  regs->rsi = call.arguments[1];
  regs->rdx = call.arguments[2];
}
#elif defined(__aarch64__)
const std::uint8_t kCallCode[kCallCodeSize] = {0x01, 0x00, 0x00, 0xd4,   // svc #0
                                               0x00, 0x00, 0x00, 0x14};  // b .

static void set_call(user_regs_struct* regs, std::uint64_t at, const SystemCall& call) {
  regs->pc = at;
  regs->regs[8] = static_cast<unsigned long>(call.number);
  for (int i = 0; i < 3; ++i) regs->regs[i] = call.arguments[i];
}
#else
#error "the guard has to be told how this machine makes a system call"
#endif

// Without the job's own seccomp filters, where that may be: they would kill it for run_call().
static bool seize(pid_t tid) {
  constexpr unsigned long kOptions = PTRACE_O_TRACESYSGOOD;
  if (ptrace(PTRACE_SEIZE, tid, nullptr, kOptions | PTRACE_O_SUSPEND_SECCOMP) == 0) return true;
  if (errno != EPERM && errno != EINVAL) return false;
  return ptrace(PTRACE_SEIZE, tid, nullptr, kOptions) == 0;
}

static bool interrupt(pid_t tid) {
  if (ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) != 0) return false;
  for (;;) {
    const int status = next_stop(tid);
    if (status < 0) return false;
    if (status >> 16 == PTRACE_EVENT_STOP) return true;
    // A signal on its way to it; the interruption is still to come.
    const long passed_on = WSTOPSIG(status);
    if (ptrace(PTRACE_CONT, tid, nullptr, passed_on) != 0) return false;
  }
}

bool stop_thread(pid_t tid) {
  if (!seize(tid)) return false;
  if (interrupt(tid)) return true;
  const int error = errno;
  let_go(tid);
  errno = error;
  return false;
}

void let_go(pid_t tid) {
  int status = 0;
  if (ptrace(PTRACE_DETACH, tid, nullptr, nullptr) == 0) return;
  if (waitpid(tid, &status, __WALL | WNOHANG) == tid) {
    (void)ptrace(PTRACE_DETACH, tid, nullptr, nullptr);
  }
}

bool peek(pid_t tid, std::uint64_t at, void* out, std::size_t size) {
  for (std::size_t done = 0; done < size; done += sizeof(long)) {
    errno = 0;
    const long word = trace(PTRACE_PEEKDATA, tid, at + done, static_cast<void*>(nullptr));
    if (errno != 0) return false;
    std::memcpy(static_cast<std::uint8_t*>(out) + done, &word, sizeof word);
  }
  return true;
}

bool poke(pid_t tid, std::uint64_t at, const void* data, std::size_t size) {
  for (std::size_t done = 0; done < size; done += sizeof(long)) {
    std::uintptr_t word = 0;
    std::memcpy(&word, static_cast<const std::uint8_t*>(data) + done, sizeof word);
    if (trace(PTRACE_POKEDATA, tid, at + done, reinterpret_cast<void*>(word)) != 0) return false;
  }
  return true;
}

bool read_state(pid_t tid, ThreadState* out) {
  *out = ThreadState{};
  if (!get_set(tid, NT_PRSTATUS, out->general, sizeof out->general, &out->general_size)) {
    return false;
  }
  static std::uint8_t buffer[kExtendedSizeMax];
  if (!get_set(tid, kExtendedSet, buffer, sizeof buffer, &out->extended_size)) return false;
  out->extended = static_cast<std::uint8_t*>(std::malloc(out->extended_size));
  if (out->extended == nullptr) return false;
  std::memcpy(out->extended, buffer, out->extended_size);
  if (trace(PTRACE_GETSIGMASK, tid, sizeof out->signal_mask, &out->signal_mask) != 0) return false;
  RseqConfiguration rseq{};
  if (trace(kGetRseqConfiguration, tid, sizeof rseq, &rseq) >= 0 && rseq.area != 0) {
    out->rseq_cs_at = rseq.area + kRseqCsOffset;
    if (!peek(tid, out->rseq_cs_at, &out->rseq_cs, sizeof out->rseq_cs)) out->rseq_cs_at = 0;
  }
  return true;
}

bool write_state(pid_t tid, const ThreadState& state) {
  clear_breakpoints(tid);
  if (!put_set(tid, kExtendedSet, state.extended, state.extended_size)) return false;
  if (!put_set(tid, NT_PRSTATUS, state.general, state.general_size)) return false;
  if (state.rseq_cs_at != 0 && state.rseq_cs != 0) {
    (void)poke(tid, state.rseq_cs_at, &state.rseq_cs, sizeof state.rseq_cs);
  }
  std::uint64_t mask = state.signal_mask;
  return trace(PTRACE_SETSIGMASK, tid, sizeof mask, &mask) == 0;
}

bool run_call(pid_t tid, const ThreadState& state, std::uint64_t at, const SystemCall& call) {
  user_regs_struct regs{};
  if (state.general_size != sizeof regs) {
    errno = ENOTSUP;  // 32-bit code, which CRIU does not take here either
    return false;
  }
  std::memcpy(&regs, state.general, sizeof regs);
  set_call(&regs, at, call);
  std::uint64_t all = ~0ULL;
  if (trace(PTRACE_SETSIGMASK, tid, sizeof all, &all) != 0) return false;
  if (!put_set(tid, NT_PRSTATUS, &regs, sizeof regs)) return false;
  for (int stops = 0; stops < 2;) {  // on its way in, on its way out
    if (ptrace(PTRACE_SYSCALL, tid, nullptr, nullptr) != 0) return false;
    const int status = next_stop(tid);
    if (status < 0) return false;
    if (at_system_call(status)) ++stops;
  }
  return true;
}

}  // namespace init
