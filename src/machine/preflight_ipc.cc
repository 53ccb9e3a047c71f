#include "machine/preflight_ipc.h"

#include <fcntl.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <functional>
#include <thread>
#include <utility>

#include "machine/fd.h"

namespace machine {
namespace {

constexpr std::size_t kTableSizeMax = 8 << 20;
constexpr std::array<std::pair<const char*, const char*>, 3> kTables = {{
    {"/proc/sysvipc/shm", "System V shared memory"},
    {"/proc/sysvipc/sem", "System V semaphores"},
    {"/proc/sysvipc/msg", "System V message queues"},
}};

void look(pid_t pid, std::vector<std::string>& out) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/ipc";
  const Fd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there.valid() || ::setns(there.get(), CLONE_NEWIPC) != 0) return;
  for (const auto& [table, name] : kTables) {
    auto text = read_small_file(table, kTableSizeMax);
    // The first line is the table's head.
    if (text && std::count(text->begin(), text->end(), '\n') > 1) out.emplace_back(name);
  }
}

}  // namespace

std::vector<std::string> system_v_objects(pid_t pid) {
  std::vector<std::string> out;
  // A thread of its own, since a thread's namespace is what these tables show, and it need not be
  // given back.
  std::thread(look, pid, std::ref(out)).join();
  return out;
}

}  // namespace machine
