#include "daemon/adopt_journal.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <system_error>

#include "base/wire.h"
#include "daemon/copies_internal.h"
#include "daemon/job_folder.h"
#include "machine/cgroup.h"

namespace ternd {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using machine::Cgroup;

namespace {

constexpr const char* kName = "adopting";
constexpr std::size_t kCgroupMax = 4096;
constexpr std::size_t kJournalMax = 4 << 20;
constexpr int kPassesMax = 32;

// Where the version 2 tree is mounted; empty: nowhere.
std::string unified_mount() {
  auto own = machine::own_cgroup();
  auto text = machine::read_small_file("/proc/self/cgroup", 64 << 10);
  if (!own || !text) return {};
  const std::size_t at = text->find("0::/");
  if (at == std::string::npos) return {};
  const std::string path = text->substr(at + 3, text->find('\n', at) - at - 3);
  std::string mount = *own;
  if (path.size() > 1 && mount.ends_with(path)) mount.resize(mount.size() - path.size());
  while (mount.size() > 1 && mount.back() == '/') mount.pop_back();
  return mount;
}

// To where it came from, or as near to that as there is something.
Status send_home(const std::string& mount, std::string path, pid_t pid) {
  if (path.find("/..") != std::string::npos) path = "/";
  for (;;) {
    auto group = Cgroup::open(mount + (path == "/" ? "" : path));
    Status moved = group ? group->add(pid) : Status(group.error());
    if (moved || path.size() <= 1) return moved;
    path.resize(std::max<std::size_t>(path.rfind('/'), 1));
  }
}

bool lives(const machine::TreeProcess& one) { return !machine::has_ended(one); }

Result<machine::ProcessTree> tree_of(const AdoptJournal& journal) {
  auto tree = machine::read_tree("/proc", journal.root);
  if (!tree) return tree.error();
  if (tree->root().relatives.start_ticks != journal.start_ticks || !lives(tree->root())) {
    return fail(Code::kNotFound, "process " + std::to_string(journal.root) + " has ended");
  }
  return tree;
}

Result<std::set<pid_t>> members_of(const Cgroup& group) {
  auto pids = group.processes();
  if (!pids) return pids.error();
  return std::set<pid_t>(pids->begin(), pids->end());
}

// One round; true: nobody was left to be brought in.
Result<bool> bring_in(const Cgroup& group, const AdoptJournal& journal) {
  auto tree = tree_of(journal);
  if (!tree) return tree.error();
  auto members = members_of(group);
  if (!members) return members.error();
  bool stable = true;
  for (const machine::TreeProcess& one : tree->processes) {
    if (!lives(one) || members->contains(one.pid)) continue;
    stable = false;
    const Status added = group.add(one.pid);
    if (!added && ::access(("/proc/" + std::to_string(one.pid)).c_str(), F_OK) == 0) {
      return fail(Code::kRefused,
                  one.relatives.name + " (" + std::to_string(one.pid) +
                      ") cannot be put into a control group of tern's: " + added.error().detail);
    }
  }
  return stable;
}

}  // namespace

base::Bytes encode(const AdoptJournal& journal) {
  base::Writer w;
  w.array(6).u64(1).boolean(journal.committed).u64(static_cast<std::uint64_t>(journal.root));
  w.u64(journal.start_ticks).array(journal.origins.size());
  for (const auto& [pid, cgroup] : journal.origins) {
    w.array(2).u64(static_cast<std::uint64_t>(pid)).bin(base::as_bytes(cgroup));
  }
  w.array(journal.stopped.size());
  for (const std::int32_t pid : journal.stopped) w.i64(pid);
  return w.take();
}

Result<AdoptJournal> decode_adopt_journal(base::ByteView bytes) {
  base::Reader r(bytes);
  AdoptJournal journal;
  r.array_of(6);
  if (r.u64() != 1 && r.ok()) return fail(Code::kUnsupported, "made by a newer tern");
  journal.committed = r.boolean();
  journal.root = static_cast<pid_t>(r.u64(INT32_MAX));
  journal.start_ticks = r.u64();
  for (std::size_t left = r.array(machine::kAdoptedMax); left > 0 && r.ok(); --left) {
    r.array_of(2);
    const auto pid = static_cast<pid_t>(r.u64(INT32_MAX));
    journal.origins[pid] = base::as_text(r.bin(kCgroupMax));
  }
  for (std::size_t left = r.array(machine::kAdoptedMax); left > 0 && r.ok(); --left) {
    const std::int64_t pid = r.i64();
    if (pid < 1 || pid > INT32_MAX) r.reject("no PID");
    journal.stopped.push_back(static_cast<std::int32_t>(pid));
  }
  if (r.ok() && journal.root < 2) r.reject("no PID");
  if (Status finished = r.finish(); !finished) return finished.error();
  return journal;
}

namespace adoption {

std::string group_of(const Paths& paths, const base::JobId& job) {
  return paths.cgroup + "/adopt-" + job.hex();
}

Status write(const std::string& dir, const AdoptJournal& journal) {
  return job_folder::write_file(dir, kName, encode(journal));
}

Result<std::optional<AdoptJournal>> read(const std::string& dir) {
  const std::string path = dir + "/" + kName;
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return std::optional<AdoptJournal>();
  auto text = machine::read_small_file(path, kJournalMax);
  if (!text) return text.error();
  auto journal = decode_adopt_journal(base::as_bytes(*text));
  if (!journal) return journal.error();
  return std::optional<AdoptJournal>(std::move(*journal));
}

Status remove(const std::string& dir) {
  if (::unlink((dir + "/" + kName).c_str()) != 0 && errno != ENOENT) {
    return machine::io_error("remove " + dir + "/" + kName);
  }
  return job_folder::sync_folder(dir);
}

Result<machine::ProcessTree> take(const std::string& group_path, const AdoptJournal& journal) {
  auto group = Cgroup::create(group_path);
  if (!group) return group.error();
  bool stable = false;
  for (int pass = 0; pass < kPassesMax && !stable; ++pass) {
    auto round = bring_in(*group, journal);
    if (!round) return round.error();
    stable = *round;
  }
  if (!stable) {
    return fail(Code::kRefused,
                "it starts processes faster than they can be gathered; adopt it when it is calmer");
  }
  if (Status frozen = group->freeze_for_dump(kPatience); !frozen) return frozen.error();
  auto tree = tree_of(journal);
  if (!tree) return tree.error();
  auto members = members_of(*group);
  if (!members) return members.error();
  for (const machine::TreeProcess& one : tree->processes) {
    if (!lives(one) || members->erase(one.pid) == 1) continue;
    return fail(Code::kRefused, one.relatives.name + " (" + std::to_string(one.pid) +
                                    ") left the others while they were gathered; try again");
  }
  if (!members->empty()) {
    return fail(Code::kRefused, "one of its descendants (" + std::to_string(*members->begin()) +
                                    ") lost its parent while it was gathered, and would be left " +
                                    "behind; try again");
  }
  return tree;
}

bool original_lives(const AdoptJournal& journal) {
  const auto tree = tree_of(journal);
  return tree || tree.error().code != Code::kNotFound;
}

std::string what_became(const AdoptJournal& journal, std::string_view reason) {
  if (original_lives(journal)) return "; it runs on as before";
  const bool said = reason.find("has ended") != std::string_view::npos;
  return said ? "" : "; it has ended meanwhile";
}

Status put_back(const std::string& group_path, const AdoptJournal& journal) {
  auto group = Cgroup::open(group_path);
  if (!group) return group.error().code == Code::kNotFound ? Status() : Status(group.error());
  if (Status thawed = group->thaw(kPatience); !thawed) return thawed;
  const std::string mount = unified_mount();
  const auto root = journal.origins.find(journal.root);
  const std::string usual = root == journal.origins.end() ? "/" : root->second;
  for (int pass = 0; pass < kPassesMax; ++pass) {
    auto pids = group->processes();
    if (!pids) return pids.error();
    if (pids->empty()) break;
    for (const pid_t pid : *pids) {
      const auto origin = journal.origins.find(pid);
      (void)send_home(mount, origin == journal.origins.end() ? usual : origin->second, pid).ok();
    }
  }
  return group->remove();  // not while somebody could not be sent: it runs all the same
}

Status end_original(const std::string& group_path) {
  auto group = Cgroup::open(group_path);
  if (!group) return group.error().code == Code::kNotFound ? Status() : Status(group.error());
  if (Status killed = group->kill_all(kPatience); !killed) return killed;
  return group->remove();
}

void recover(const Paths& paths, base::Log& log) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(paths.jobs(), error)) {
    const auto job = base::JobId::from_hex_text(entry.path().filename().string());
    if (!job) continue;
    auto journal = read(entry.path().string());
    if (journal && !*journal) continue;
    // One that cannot be read was damaged later; then nobody is killed.
    const AdoptJournal known = journal ? **journal : AdoptJournal{};
    const std::string group = group_of(paths, *job);
    Status done = known.committed ? end_original(group) : Status();
    if (journal && !known.committed) done = kill_copies(paths.cgroup, *job, {UINT64_MAX});
    if (done && !known.committed) done = put_back(group, known);
    if (done) {
      log.info("adoption_found", {{"job", job->hex()}, {"committed", known.committed}});
    } else {
      log.error("adoption_stuck", {{"job", job->hex()}, {"why", done.error().detail}});
    }
  }
}

}  // namespace adoption
}  // namespace ternd
