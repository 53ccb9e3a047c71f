#include "machine/adopt_look.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <system_error>

#include "machine/fd.h"
#include "machine/memory_room.h"

namespace machine {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMapsMax = 64 << 20;
constexpr std::size_t kTableMax = 64 << 20;

std::string who(const TreeProcess& one) {
  return one.relatives.name + " (" + std::to_string(one.pid) + ")";
}

// What a process holds: "pipe:[N]" and the like, by descriptor.
std::map<std::string, std::string> descriptors(const std::string& proc, pid_t pid) {
  std::map<std::string, std::string> out;
  std::error_code error;
  const std::string folder = proc + "/" + std::to_string(pid) + "/fd";
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    const std::string target = fs::read_symlink(at->path(), gone).string();
    if (!gone) out.emplace(at->path().filename().string(), target);
  }
  return out;
}

std::string stream_name(const std::string& fd) {
  if (fd == "0") return "its input";
  if (fd == "1") return "its output";
  if (fd == "2") return "its error output";
  return "its descriptor " + fd;
}

class Looking {
 public:
  Looking(const ProcessTree& tree, const AdoptView& view) : tree_(tree), view_(view) {
    for (const TreeProcess& one : tree.processes) inside_.insert(one.pid);
  }
  void pipes_and_names();
  void shared_memory();
  void outsiders();
  [[nodiscard]] std::vector<std::string> take() { return {obstacles_.begin(), obstacles_.end()}; }
  void object(const std::string& sentence) { obstacles_.insert(sentence); }
  [[nodiscard]] bool terminal() const { return terminal_; }

 private:
  void outsider(pid_t pid, const std::string& name);

  const ProcessTree& tree_;
  const AdoptView& view_;
  std::set<pid_t> inside_;
  std::set<std::string> obstacles_;
  std::map<std::string, std::string> pipes_;   // whose, for a sentence
  std::map<std::string, std::string> memory_;  // likewise
  bool terminal_ = false;
};

void Looking::pipes_and_names() {
  std::map<std::uint64_t, std::string> bound;
  const std::string root = view_.proc + "/" + std::to_string(tree_.root().pid);
  if (auto text = read_small_file(root + "/net/unix", kTableMax)) {
    bound = bound_unix_sockets(*text);
  }
  for (const TreeProcess& one : tree_.processes) {
    for (const auto& [fd, target] : descriptors(view_.proc, one.pid)) {
      if (target.starts_with("pipe:[")) {
        pipes_.try_emplace(target, stream_name(fd) + " of " + who(one));
      }
      if (target == "/dev/ptmx" || target == "/dev/pts/ptmx") {
        object(who(one) +
               " has made a terminal, as tmux and ssh do, whose number two cannot have " +
               "at once; adopt the program in it");
      }
      terminal_ = terminal_ || target.starts_with("/dev/pts/");
      if (!target.starts_with("socket:[")) continue;
      std::uint64_t inode = 0;
      std::from_chars(target.data() + 8, target.data() + target.size(), inode);
      const auto named = bound.find(inode);
      if (named == bound.end()) continue;
      object(who(one) + " has the unix socket " + named->second +
             ", whose name two cannot have at once; close it meanwhile, or start it anew with: " +
             "tern run");
    }
  }
}

void Looking::shared_memory() {
  for (const TreeProcess& one : tree_.processes) {
    auto text = read_small_file(view_.proc + "/" + std::to_string(one.pid) + "/maps", kMapsMax);
    if (!text) continue;
    for (const std::string& memory : nameless_shared_memory(*text)) {
      memory_.try_emplace(memory, who(one));
    }
  }
}

void Looking::outsider(pid_t pid, const std::string& name) {
  const std::string other = name + " (" + std::to_string(pid) + ")";
  for (const auto& [fd, target] : descriptors(view_.proc, pid)) {
    const auto pipe = pipes_.find(target);
    if (pipe == pipes_.end()) continue;
    object(pipe->second + " is a pipe that " + other +
           " has too, which stays outside; start it with files instead (CMD <in >out 2>&1), or "
           "adopt their common parent");
    pipes_.erase(pipe);  // one sentence is enough
  }
  if (memory_.empty()) return;
  auto text = read_small_file(view_.proc + "/" + std::to_string(pid) + "/maps", kMapsMax);
  if (!text) return;
  for (const std::string& memory : nameless_shared_memory(*text)) {
    const auto shared = memory_.find(memory);
    if (shared == memory_.end()) continue;
    object(shared->second + " shares memory with " + other +
           ", which stays outside; adopt their common parent");
  }
}

void Looking::outsiders() {
  if (pipes_.empty() && memory_.empty()) return;
  std::error_code error;
  for (fs::directory_iterator at(view_.proc, error), end; !error && at != end;
       at.increment(error)) {
    const std::string number = at->path().filename().string();
    pid_t pid = 0;
    const char* const last = number.data() + number.size();
    const auto [stop, code] = std::from_chars(number.data(), last, pid);
    if (code != std::errc() || stop != last || inside_.contains(pid)) continue;
    auto text = read_small_file(at->path() / "stat", 64 << 10);
    auto its = text ? parse_relatives(*text) : base::Result<Relatives>(text.error());
    if (!its) continue;
    outsider(pid, its->name);
  }
}

std::vector<std::string> notes_of(const ProcessTree& tree) {
  std::vector<std::string> notes;
  const TreeProcess& root = tree.root();
  if (tree.processes.size() > 1) {
    std::string others;
    constexpr std::size_t kNamed = 8;
    for (std::size_t i = 1; i < tree.processes.size() && i <= kNamed; ++i) {
      others += (others.empty() ? "" : ", ") + who(tree.processes[i]);
    }
    if (tree.processes.size() > kNamed + 1) {
      others += " and " + std::to_string(tree.processes.size() - kNamed - 1) + " more";
    }
    notes.push_back("its descendants come along: " + others);
  }
  const std::string parent =
      tree.parent_name.empty()
          ? "its parent"
          : "its parent " + tree.parent_name + " (" + std::to_string(root.relatives.parent) + ")";
  notes.push_back(parent +
                  " sees it end, as if it had been killed; whoever knows it by its number " +
                  "does not find it there any more");
  if (tree.of_a_shell()) {
    notes.push_back("it leaves its shell: Ctrl-C there, and the shell's end, do not reach it");
  }
  if (root.uids[0] != 0) {
    notes.push_back(
        "it cannot gain privileges any more, by sudo or the like, as no user's job can");
  }
  return notes;
}

std::string megabytes(std::uint64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20); }

// Who uses such objects /proc does not tell; the job gets an ipc namespace of its own.
bool may_use_ipc(const std::string& proc, std::uint32_t uid) {
  constexpr std::size_t kUidOfSemaphores = 4;
  constexpr std::size_t kUidOfQueues = 7;
  auto semaphores = read_small_file(proc + "/sysvipc/sem", kTableMax);
  auto queues = read_small_file(proc + "/sysvipc/msg", kTableMax);
  return (semaphores && owners_of_ipc(*semaphores, kUidOfSemaphores).contains(uid)) ||
         (queues && owners_of_ipc(*queues, kUidOfQueues).contains(uid));
}

void look_at_ports(const Preflight& here, std::vector<std::string>& out) {
  for (const BoundPort& port : here.requirement.ports) {
    out.push_back("it listens at " + port.at.text() + (port.tcp ? "" : " (UDP)") +
                  ", where two cannot listen at once; start it anew with tern run, which moves it");
  }
}

}  // namespace

std::map<std::uint64_t, std::string> bound_unix_sockets(std::string_view text) {
  std::map<std::uint64_t, std::string> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::uint64_t inode = 0;
    bool good = true;
    for (int field = 1; good && field <= 7; ++field) {  // Num RefCount Protocol Flags Type St Inode
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const std::size_t stop = std::min(line.find(' '), line.size());
      if (field == 7) {
        const auto [last, code] = std::from_chars(line.data(), line.data() + stop, inode);
        good = code == std::errc() && last == line.data() + stop;
      }
      line.remove_prefix(stop);
    }
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (good && inode != 0 && !line.empty()) out.emplace(inode, line);
  }
  return out;
}

std::set<std::uint32_t> owners_of_ipc(std::string_view table, std::size_t column) {
  std::set<std::uint32_t> out;
  while (!table.empty()) {
    const std::size_t end = std::min(table.find('\n'), table.size());
    std::string_view line = table.substr(0, end);
    table.remove_prefix(std::min(end + 1, table.size()));
    for (std::size_t field = 0; field <= column; ++field) {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const std::size_t stop = std::min(line.find(' '), line.size());
      std::uint32_t uid = 0;
      const auto [last, code] = std::from_chars(line.data(), line.data() + stop, uid);
      const bool good = stop > 0 && code == std::errc() && last == line.data() + stop;
      if (field == column && good) out.insert(uid);
      line.remove_prefix(stop);
    }
  }
  return out;
}

std::vector<std::string> nameless_shared_memory(std::string_view maps) {
  std::set<std::string> out;
  while (!maps.empty()) {
    const std::size_t end = std::min(maps.find('\n'), maps.size());
    std::string_view line = maps.substr(0, end);
    maps.remove_prefix(std::min(end + 1, maps.size()));
    std::vector<std::string_view> fields;  // addresses, permissions, offset, device, inode
    while (fields.size() < 5 && !line.empty()) {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const std::size_t stop = std::min(line.find(' '), line.size());
      fields.push_back(line.substr(0, stop));
      line.remove_prefix(stop);
    }
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (fields.size() < 5 || fields[1].size() != 4 || fields[1][3] != 's') continue;
    const bool nameless = line.ends_with(" (deleted)") || line.starts_with("/memfd:");
    if (nameless) out.insert(std::string(fields[3]) + " " + std::string(fields[4]));
  }
  return {out.begin(), out.end()};
}

AdoptLook look_at_tree(const ProcessTree& tree, const AdoptView& view, FileHashes& hashes) {
  AdoptLook out;
  out.obstacles = tree_obstacles(tree, view.asker);
  if (!out.obstacles.empty()) return out;
  if (!view.criu_missing.empty()) out.obstacles.push_back(view.criu_missing);
  out.notes = notes_of(tree);
  InspectOptions options;
  options.stays = true;
  options.leave_terminals = view.leave_terminal;
  options.stands_still = view.stands_still;
  const Preflight here = inspect_processes(tree.pids(), options, hashes);
  options.stays = false;
  const Preflight away = inspect_processes(tree.pids(), options, hashes);
  out.obstacles.insert(out.obstacles.end(), here.obstacles.begin(), here.obstacles.end());
  look_at_ports(here, out.obstacles);
  for (const std::string& obstacle : away.obstacles) {
    const bool known =
        std::find(here.obstacles.begin(), here.obstacles.end(), obstacle) != here.obstacles.end();
    if (!known) out.moving.push_back(obstacle);
  }
  Looking looking(tree, view);
  looking.pipes_and_names();
  looking.shared_memory();
  looking.outsiders();
  const std::vector<std::string> shared = looking.take();
  out.obstacles.insert(out.obstacles.end(), shared.begin(), shared.end());
  if (may_use_ipc(view.proc, tree.root().uids[0])) {
    out.notes.push_back(
        "its user has System V semaphores or message queues on this machine; if it "
        "uses any of them, it does not find them any more");
  }
  out.terminal = looking.terminal();
  out.notes.push_back(
      out.terminal ? "it leaves its terminal: its input ends, and tern logs has what it shows"
                   : "what it writes goes where it goes now; tern logs has none of it");
  const std::uint64_t need = 2 * static_cast<std::uint64_t>(tree.rss_bytes()) + kMemoryReserve;
  if (need > view.memory_available) {
    out.obstacles.push_back("adopting it takes up to " + megabytes(need) +
                            " MiB of memory for a moment, and " + megabytes(view.memory_available) +
                            " MiB are free");
  }
  return out;
}

}  // namespace machine
