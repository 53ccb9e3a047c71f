// In CRIU's place under the guard: does to a frozen job, at one moment, all that CRIU does to one
// over a whole dump, and ends without having undone any of it.
//
// meddler PID CGROUP END [...]: to process PID of the job in CGROUP; END: `killed`, `failed` (by
// itself), `ran` (nothing done, but the job thawed and let go first), or a file to be made before
// it waits for its death. What follows, CRIU's, is ignored.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "init/job_files.h"
#include "init/proc_text.h"
#include "init/tracee.h"

namespace {

namespace fs = std::filesystem;

[[noreturn]] void give_up(const std::string& what) {
  std::perror(what.c_str());
  std::exit(3);
}

std::vector<pid_t> threads_of(const fs::path& job) {
  std::vector<pid_t> all;
  const auto add = [&](const fs::path& cgroup) {
    std::ifstream threads(cgroup / "cgroup.threads");
    for (pid_t tid = 0; threads >> tid;) all.push_back(tid);
  };
  add(job);
  for (const auto& entry : fs::recursive_directory_iterator(job)) {
    if (entry.is_directory()) add(entry.path());
  }
  return all;
}

void meddle(pid_t pid) {
  init::ThreadState state;
  if (!init::read_state(pid, &state)) give_up("read the registers");
  const std::string proc = "/proc/" + std::to_string(pid);
  std::uint64_t code = 0;
  init::MapsLine hidden;
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);) {
    init::MapsLine mapping;
    if (!init::parse_maps_line(line.c_str(), &mapping)) continue;
    if (code == 0 && (mapping.rights & PROT_EXEC) != 0) code = mapping.begin;
    if (mapping.rights == PROT_NONE && !mapping.shared) hidden = mapping;
  }
  std::fstream memory(proc + "/mem", std::ios::in | std::ios::out | std::ios::binary);
  memory.seekp(static_cast<std::streamoff>(code));
  memory.write(reinterpret_cast<const char*>(init::kCallCode), init::kCallCodeSize);
  if (!memory.flush()) give_up("write the code");
  const auto call = [&](long number, unsigned long a, unsigned long b, unsigned long c) {
    if (!init::run_call(pid, state, code, {number, {a, b, c}})) give_up("make a system call");
  };
  if (hidden.end != 0) call(SYS_mprotect, hidden.begin, hidden.end - hidden.begin, PROT_READ);
  call(SYS_dup, 0, 0, 0);
  call(SYS_umask, 0, 0, 0);
  const init::Descriptors all = init::descriptors_of(pid);
  for (const auto& entry : fs::directory_iterator(proc + "/fd")) {
    int offset = 0;
    const int fd = std::stoi(entry.path().filename());
    const int socket = init::borrow_local_socket(all, fd, &offset);
    if (socket < 0) continue;
    offset = 1;
    if (::setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) != 0) {
      give_up("set a socket");
    }
    ::close(socket);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const fs::path cgroup = argv[2];
  const std::string end = argv[3];
  const std::vector<pid_t> threads = threads_of(cgroup);
  for (const pid_t tid : threads) {
    if (!init::stop_thread(tid)) give_up("stop " + std::to_string(tid));
  }
  std::ofstream(cgroup / "cgroup.freeze") << "0";
  if (end == "ran") {
    for (const pid_t tid : threads) init::let_go(tid);
    return 1;
  }
  meddle(std::atoi(argv[1]));
  if (end == "killed") std::raise(SIGKILL);
  if (end == "failed") return 1;
  std::ofstream(end) << "1\n";
  for (;;) ::pause();
}
