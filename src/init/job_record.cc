#include "init/job_record.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <new>

#include "init/job_files.h"
#include "init/proc_text.h"
#include "init/sys.h"

namespace init {
namespace {

constexpr int kFreezePatienceMs = 5000;
constexpr int kStopPatienceMs = 1000;

template <typename T>
bool make(Array<T>** out) {
  void* memory = std::malloc(sizeof(Array<T>));
  if (memory != nullptr) *out = new (memory) Array<T>;
  return memory != nullptr;
}

}  // namespace

bool JobRecord::open(const char* cgroup) {
  char path[kPathMax + 16];
  std::snprintf(cgroup_, sizeof cgroup_, "%s", cgroup);
  std::snprintf(path, sizeof path, "%s/cgroup.freeze", cgroup);
  freezer_ = ::open(path, O_RDWR | O_CLOEXEC);
  if (freezer_ < 0) return false;
  std::snprintf(path, sizeof path, "%s/cgroup.events", cgroup);
  events_ = ::open(path, O_RDONLY | O_CLOEXEC);
  return events_ >= 0;
}

void JobRecord::freeze() { (void)!::pwrite(freezer_, "1", 1, 0); }
void JobRecord::thaw() { (void)!::pwrite(freezer_, "0", 1, 0); }

bool JobRecord::await_frozen(int patience_ms) {
  for (;;) {
    char text[256] = {};
    if (::pread(events_, text, sizeof text - 1, 0) < 0) return false;
    if (parse_frozen(text)) return true;
    pollfd one{events_, POLLPRI, 0};
    const int ready = ::poll(&one, 1, patience_ms);
    if (ready == 0) errno = ETIMEDOUT;
    if (ready <= 0) return false;  // EINTR: the alarm
  }
}

// Of a clock that nobody sets.
static time_t now() {
  timespec time = {};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec;
}

void JobRecord::set_deadline(int seconds) { deadline_ = now() + seconds; }
bool JobRecord::late() const { return now() >= deadline_; }

// ---- taking

const char* JobRecord::take() {
  if (!await_frozen(kFreezePatienceMs)) return "the job is not frozen";
  if (const char* what = add_processes()) return what;
  // Memory comes first: reading it may block for ever (a mapped file whose server is gone), and a
  // guard that is killed there holds nothing.
  const char* failed = nullptr;
  for (Process& process : processes_) {
    if (failed == nullptr) failed = read_process(process);
  }
  for (Process& process : processes_) {
    if (failed == nullptr) failed = read_threads(process);
  }
  const int error = errno;
  release();
  // Back in the freezer's own stop, where CRIU expects them.
  if (failed == nullptr && !await_frozen(kFreezePatienceMs)) {
    return "the job does not freeze again";
  }
  errno = error;
  return failed;
}

// Those of the job's folder and of all below: a job of root's may make some.
const char* JobRecord::add_processes() {
  Array<Folder> folders;
  Folder* first = folders.add();
  if (first == nullptr) return "no memory";
  std::memcpy(first->path, cgroup_, sizeof cgroup_);
  for (std::size_t i = 0; i < folders.size(); ++i) {
    char path[kPathMax];
    std::memcpy(path, folders[i].path, sizeof path);  // adding moves them
    if (const char* failed = add_processes_of(path)) return failed;
    if (!add_folders_in(path, &folders)) return "cannot list the job's cgroups";
  }
  return processes_.size() == 0 ? "the job has no processes" : nullptr;
}

const char* JobRecord::add_processes_of(const char* folder) {
  char path[kPathMax + 16];
  std::snprintf(path, sizeof path, "%s/cgroup.procs", folder);
  FILE* list = std::fopen(path, "re");
  if (list == nullptr) return "cannot list the job's processes";
  const char* failed = nullptr;
  int pid = 0;
  while (std::fscanf(list, "%d", &pid) == 1) {
    Process* process = processes_.add();
    if (process == nullptr) {
      failed = "no memory";
      break;
    }
    process->pid = pid;
    process->memory = process->umask = -1;
    if (!make(&process->threads) || !make(&process->code) || !make(&process->mappings) ||
        !make(&process->descriptors) || !make(&process->peeks)) {
      failed = "no memory";
      break;
    }
  }
  std::fclose(list);
  return failed;
}

// What ends meanwhile, as it may be killed, is passed over.
const char* JobRecord::read_process(Process& process) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/mem", process.pid);
  process.memory = ::open(path, O_RDWR | O_CLOEXEC);
  const char* failed = nullptr;
  if (process.memory < 0) {
    failed = "cannot open the job's memory";
  } else if (!add_threads(process)) {
    failed = "cannot list the job's threads";
  } else if (!read_mappings(process)) {
    failed = "cannot read the job's memory";
  }
  process.umask = umask_of(process.pid);
  std::snprintf(path, sizeof path, "/proc/%d/fd", process.pid);
  const bool listed = failed != nullptr || each_number_in(path, [&](int fd) {
                        int* known = process.descriptors->add();
                        if (known != nullptr) *known = fd;
                        return known != nullptr;
                      });
  if (!listed || (failed == nullptr && !read_peeks(process))) {
    failed = "cannot list the job's descriptors";
  }
  if (failed == nullptr) return nullptr;
  const int error = errno;
  process.threads->clear();
  const bool listed_still = add_threads(process) && process.threads->size() > 0;
  // One that has ended and is not waited for yet has a thread, but no memory.
  const bool without_memory = process.memory < 0 && error == ESRCH && process.threads->size() == 1;
  const bool ended = !listed_still || without_memory;
  errno = error;
  if (!ended) return failed;
  process.threads->clear();
  return nullptr;
}

const char* JobRecord::read_threads(Process& process) {
  if (const char* failed = hold(process)) return failed;
  for (Thread& thread : *process.threads) {
    if (!thread.held || read_state(thread.tid, &thread.state)) continue;
    if (start_of(thread.tid) == thread.start) return "cannot read the job's registers";
    thread.start = 0;
  }
  // vsyscall's page is the kernel's: neither read nor written by any way, by CRIU either.
  for (Code& code : *process.code) {
    if (!code.known) code.known = get(process, code.at, code.bytes, kCodeSize);
  }
  return nullptr;
}

// Not the dead: a zombie has nothing that could be overwritten, and cannot be traced.
bool JobRecord::add_threads(Process& process) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task", process.pid);
  return each_number_in(path, [&](int tid) {
    const std::uint64_t start = start_of(tid);
    if (start == 0) return true;
    Thread* thread = process.threads->add();
    if (thread == nullptr) return false;
    thread->tid = tid;
    thread->start = start;
    return true;
  });
}

// CRIU writes into the first that is executable. Of the others what the job has not in memory is
// not read: it may come from a server that does not answer, and no signal ends that wait.
bool JobRecord::read_mappings(Process& process) {
  if (process.threads->size() == 0) return true;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/pagemap", process.pid);
  const int pagemap = ::open(path, O_RDONLY | O_CLOEXEC);
  const bool good = each_mapping(process.pid, [&](const MapsLine& mapping) {
    Range* range = process.mappings->add();
    if (range == nullptr) return false;
    *range = {mapping.begin, mapping.end, mapping.rights, mapping.shared};
    if ((mapping.rights & PROT_EXEC) == 0) return true;
    if (process.code->size() > 0 && !in_memory(pagemap, mapping.begin)) return true;
    Code* code = process.code->add();
    if (code == nullptr) return false;
    code->at = mapping.begin;
    code->known = get(process, code->at, code->bytes, kCodeSize);
    return true;
  });
  if (pagemap >= 0) ::close(pagemap);
  return good;
}

bool JobRecord::read_peeks(Process& process) {
  const Descriptors all = descriptors_of(process.pid);
  bool good = true;
  for (const int fd : *process.descriptors) {
    int offset = 0;
    const int socket = good ? borrow_local_socket(all, fd, &offset) : -1;
    if (socket < 0) continue;
    ::close(socket);
    PeekOffset* peek = process.peeks->add();
    good = peek != nullptr;
    if (good) *peek = {fd, offset};
  }
  close_descriptors(all);
  return good;
}

// While a thread of it is held, ptrace's way is there where /proc's is refused.
bool JobRecord::get(const Process& process, std::uint64_t at, void* out, std::size_t size) {
  const ssize_t got = ::pread(process.memory, out, size, static_cast<off_t>(at));
  if (got == static_cast<ssize_t>(size)) return true;
  const Thread* const thread = spokesman(process);
  return thread != nullptr && peek(thread->tid, at, out, size);
}

bool JobRecord::put(const Process& process, std::uint64_t at, const void* data, std::size_t size) {
  const ssize_t wrote = ::pwrite(process.memory, data, size, static_cast<off_t>(at));
  if (wrote == static_cast<ssize_t>(size)) return true;
  const Thread* const thread = spokesman(process);
  return thread != nullptr && poke(thread->tid, at, data, size);
}

void JobRecord::release() {
  for (Process& process : processes_) {
    for (Thread& thread : *process.threads) {
      if (thread.seized) let_go(thread.tid);
      thread.seized = thread.held = false;
    }
  }
}

// ---- putting back

void JobRecord::stop() {
  freeze();
  (void)await_frozen(kStopPatienceMs);
}

bool JobRecord::runs() {
  char text[kStatusMax] = {};
  if (::pread(freezer_, text, sizeof text - 1, 0) > 0 && text[0] == '1') return false;
  for (const Process& process : processes_) {
    for (const Thread& thread : *process.threads) {
      if (start_of(thread.tid) != thread.start) continue;  // gone
      if (read_of(thread.tid, "status", text, sizeof text) && !parse_traced(text)) return true;
    }
  }
  return false;
}

const char* JobRecord::put_back() {
  freeze();
  // What does not freeze in time may stop for us nevertheless, and the rest does.
  const bool frozen = await_frozen(kFreezePatienceMs);
  const char* failed = nullptr;
  for (Process& process : processes_) {
    if (const char* what = hold(process)) failed = what;
  }
  for (Process& process : processes_) {
    if (!write_code(process)) failed = "cannot write the job's code";
    if (!write_peeks(process)) failed = "cannot set the job's sockets";
    if (!write_states(process)) failed = "cannot write the job's registers";
  }
  if (failed == nullptr) failed = tidy();
  release();
  if (failed != nullptr) return failed;
  errno = ETIMEDOUT;
  if (!frozen) return "the job does not freeze";
  return await_frozen(kFreezePatienceMs) ? nullptr : "the job does not freeze again";
}

// Who is not what was listed, its number taken by another, is gone. Looked at again once it is
// ours: then its number stays its own.
const char* JobRecord::hold(Process& process) {
  const char* failed = nullptr;
  for (Thread& thread : *process.threads) {
    if (late()) {
      errno = ETIMEDOUT;
      return "cannot stop the job in time";
    }
    if (thread.start == 0 || start_of(thread.tid) != thread.start) continue;
    thread.held = stop_thread(thread.tid);
    const int error = errno;
    thread.seized = thread.held || error == EINTR;
    if (start_of(thread.tid) != thread.start) {
      if (thread.seized) let_go(thread.tid);
      thread.seized = thread.held = false;
    } else if (!thread.held) {
      errno = error;
      failed = "cannot trace the job";
    }
  }
  return failed;
}

// Only of who lives. What is written is read again: a write that did nothing must not pass.
bool JobRecord::write_code(const Process& process) {
  const Thread* const thread = spokesman(process);
  if (thread == nullptr) return true;
  bool good = true;
  for (const Code& code : *process.code) {
    std::uint8_t now[kCodeSize];
    const auto differs = [&] {
      return !get(process, code.at, now, kCodeSize) || std::memcmp(now, code.bytes, kCodeSize) != 0;
    };
    if (!code.known || !differs()) continue;
    mended_ = true;
    if (!put(process, code.at, code.bytes, kCodeSize) || differs()) good = false;
  }
  return good || start_of(thread->tid) != thread->start;
}

bool JobRecord::write_peeks(const Process& process) {
  if (process.peeks->size() == 0 || spokesman(process) == nullptr) return true;
  const Descriptors all = descriptors_of(process.pid);
  bool good = all.pidfd >= 0;
  for (const PeekOffset& peek : *process.peeks) {
    int offset = 0;
    const int socket = borrow_local_socket(all, peek.descriptor, &offset);
    if (socket < 0) continue;
    if (offset != peek.offset) {
      mended_ = true;
      good =
          ::setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &peek.offset, sizeof offset) == 0 && good;
    }
    ::close(socket);
  }
  close_descriptors(all);
  return good;
}

bool JobRecord::write_states(const Process& process) {
  bool good = true;
  for (const Thread& thread : *process.threads) {
    if (thread.held && !write_state(thread.tid, thread.state)) good = errno == ESRCH && good;
  }
  return good;
}

// CRIU's code is in shared memory, and comes in one piece; what it makes readable is private.
bool JobRecord::compare_mappings(const Process& process, Remains& out) {
  const Range* known = process.mappings->begin();
  const Range* const end = process.mappings->end();
  return each_mapping(process.pid, [&](const MapsLine& mapping) {
    while (known != end && known->end <= mapping.begin) ++known;
    if (mapping.shared) {
      if (known != end && known->begin <= mapping.begin && mapping.end <= known->end) return true;
      Range* range = out.mappings.add();
      if (range != nullptr) *range = {mapping.begin, mapping.end, mapping.rights, true};
      return range != nullptr;
    }
    for (const Range* was = known; was != end && was->begin < mapping.end; ++was) {
      if (was->shared || was->rights == mapping.rights) continue;
      Range* range = out.protections.add();
      if (range == nullptr) return false;
      *range = *was;
      if (range->begin < mapping.begin) range->begin = mapping.begin;
      if (range->end > mapping.end) range->end = mapping.end;
    }
    return true;
  });
}

bool JobRecord::compare_descriptors(const Process& process, Remains& out) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd", process.pid);
  const int* known = process.descriptors->begin();
  const int* const end = process.descriptors->end();
  return each_number_in(path, [&](int fd) {
    while (known != end && *known < fd) ++known;
    if (known != end && *known == fd) return true;
    int* descriptor = out.descriptors.add();
    if (descriptor != nullptr) *descriptor = fd;
    return descriptor != nullptr;
  });
}

bool JobRecord::find_remains(const Process& process, Remains& out) {
  if (process.umask >= 0 && umask_of(process.pid) != process.umask) out.umask = process.umask;
  return compare_mappings(process, out) && compare_descriptors(process, out);
}

// Who makes calls for a process: its first thread, the leader, if that lives. Null: nobody does.
JobRecord::Thread* JobRecord::spokesman(const Process& process) {
  for (Thread& thread : *process.threads) {
    if (thread.held) return &thread;
  }
  return nullptr;
}

// The cgroup is thawed, all are held.
bool JobRecord::clear_remains(Process& process, Remains& remains) {
  const Code* place = nullptr;
  for (const Code& code : *process.code) {
    if (place == nullptr && code.known) place = &code;
  }
  const Thread* const caller = spokesman(process);
  if (place == nullptr || caller == nullptr) return false;
  if (!put(process, place->at, kCallCode, kCallCodeSize)) return false;
  bool good = true;
  const auto call = [&](const SystemCall& one) {
    good = good && !late() && run_call(caller->tid, caller->state, place->at, one);
  };
  for (const Range& range : remains.mappings) {
    call({SYS_munmap, {range.begin, range.end - range.begin, 0}});
  }
  for (const Range& range : remains.protections) {
    const auto rights = static_cast<unsigned long>(range.rights);
    call({SYS_mprotect, {range.begin, range.end - range.begin, rights}});
  }
  for (const int fd : remains.descriptors)
    call({SYS_close, {static_cast<unsigned long>(fd), 0, 0}});
  if (remains.umask >= 0) call({SYS_umask, {static_cast<unsigned long>(remains.umask), 0, 0}});
  return write_code(process) && good;
}

// A frozen thread runs nothing, not even for its tracer: with all of them stopped by us, the
// freezer is lifted for as long as it takes.
const char* JobRecord::tidy() {
  bool any = false;
  const char* failed = nullptr;
  for (Process& process : processes_) {
    if (spokesman(process) == nullptr) continue;
    Remains remains;
    if (!find_remains(process, remains)) {
      failed = "cannot look for what CRIU left";
      continue;
    }
    if (remains.none()) continue;
    if (!any) thaw();
    any = true;
    mended_ = true;
    const bool cleared = clear_remains(process, remains);
    Remains rest;  // a call may have been refused
    if (!write_states(process) || !cleared || !find_remains(process, rest) || !rest.none()) {
      failed = "cannot take away what CRIU left";
    }
  }
  if (any) freeze();
  return failed;
}

}  // namespace init
