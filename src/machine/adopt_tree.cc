#include "machine/adopt_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>

#include "machine/fd.h"
#include "probe/proc_parse.h"

namespace machine {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::fail;

constexpr std::size_t kFileMax = 64 << 10;
constexpr std::uint64_t kKernelThread = 0x00200000;  // PF_KTHREAD, include/linux/sched.h

std::optional<pid_t> number_of(std::string_view text) {
  pid_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size() || number < 1) return std::nullopt;
  return number;
}

// The numbers that a folder's entries are called; an error reads as none.
std::vector<pid_t> numbers_in(const std::string& folder, std::size_t max) {
  std::vector<pid_t> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end && found.size() < max;
       at.increment(error)) {
    if (auto number = number_of(at->path().filename().string())) found.push_back(*number);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string folder_of(const std::string& proc, pid_t pid) {
  return proc + "/" + std::to_string(pid);
}

base::Result<Relatives> relatives_of(const std::string& proc, pid_t pid) {
  auto text = read_small_file(folder_of(proc, pid) + "/stat", kFileMax);
  if (!text) return fail(Code::kNotFound, "process " + std::to_string(pid) + " is not there");
  return parse_relatives(*text);
}

std::string unified_group(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.starts_with("0::/")) return std::string(line.substr(3));
    at = end + 1;
  }
  return {};
}

bool has_capabilities(std::string_view status) {
  constexpr std::string_view kKey = "\nCapPrm:\t";
  const std::size_t at = status.find(kKey);
  if (at == std::string_view::npos) return false;
  const std::string_view value = status.substr(at + kKey.size());
  return value.substr(0, value.find('\n')).find_first_not_of('0') != std::string_view::npos;
}

// As proc(5) says: then its files there are root's.
bool undumpable(const std::string& folder, std::uint32_t uid) {
  struct stat info {};
  return uid != 0 && ::stat((folder + "/environ").c_str(), &info) == 0 && info.st_uid != uid;
}

// Nothing: it ended meanwhile.
std::optional<TreeProcess> describe(const std::string& proc, pid_t pid,
                                    const Relatives& relatives) {
  const std::string folder = folder_of(proc, pid);
  auto text = read_small_file(folder + "/status", kFileMax);
  if (!text) return std::nullopt;
  auto status = probe::parse_process_status(*text);
  if (!status) return std::nullopt;
  TreeProcess one;
  one.pid = pid;
  one.relatives = relatives;
  one.uids = status->uids;
  one.gids = status->gids;
  one.groups = status->groups;
  if (!status->ns_pids.empty()) {
    one.inner_pids.assign(status->ns_pids.begin() + 1, status->ns_pids.end());
  }
  one.threads = numbers_in(folder + "/task", kAdoptThreadsMax);
  one.rss_bytes = std::max<std::int64_t>(status->rss_bytes, 0);
  one.guarded = undumpable(folder, one.uids[1]) || (one.uids[1] != 0 && has_capabilities(*text));
  if (auto group = read_small_file(folder + "/cgroup", kFileMax)) {
    one.cgroup = unified_group(*group);
  }
  return one;
}

std::string who(const TreeProcess& one) {
  return one.relatives.name + " (" + std::to_string(one.pid) + ")";
}

template <std::size_t N>
bool all_are(const std::array<std::uint32_t, N>& ids, std::uint32_t wanted) {
  return std::all_of(ids.begin(), ids.end(), [&](std::uint32_t id) { return id == wanted; });
}

bool owned_by(const ProcessTree& tree, std::uint32_t uid) {
  return std::all_of(tree.processes.begin(), tree.processes.end(),
                     [&](const TreeProcess& one) { return all_are(one.uids, uid); });
}

// Of the root: what can never be a job.
std::string never(const ProcessTree& tree, const TreeAsker& asker) {
  const TreeProcess& root = tree.root();
  if ((root.relatives.flags & kKernelThread) != 0) {
    return who(root) + " is a thread of the kernel, no program";
  }
  if (root.pid == 1) return "process 1 is the machine's own; adopt one of its programs";
  if (has_ended(root)) {
    const std::string parent = tree.parent_name.empty() ? "its parent" : tree.parent_name;
    return who(root) + " has ended already, and only waits for " + parent + " (" +
           std::to_string(root.relatives.parent) +
           ") to take its exit code; nothing is left to adopt: start it anew with tern run";
  }
  for (const TreeProcess& one : tree.processes) {
    if (!asker.tern.contains(one.pid)) continue;
    return one.pid == root.pid ? who(root) + " is tern itself"
                               : who(root) + " has tern among its descendants, so it cannot be " +
                                     "adopted from here; ask from another shell or session";
  }
  return {};
}

// Of the root: what tern has already.
std::string is_terns(const ProcessTree& tree) {
  const TreeProcess& root = tree.root();
  const TernGroup group = tern_group_of(root.cgroup);
  switch (group.kind) {
    case TernGroup::Kind::kNone:
      return {};
    case TernGroup::Kind::kTerns:
      return who(root) + " is a part of tern itself, which runs jobs and is none; those: tern ps";
    case TernGroup::Kind::kAdopted:
      return who(root) + " is being adopted just now, as the job " + group.job + "; see: tern ps";
    case TernGroup::Kind::kJob:
      return who(root) + " belongs to the job " + group.job +
             " already; see: tern ps, move it: tern migrate " + group.job;
  }
  return {};
}

void look_at_numbers(const ProcessTree& tree, std::vector<std::string>& out) {
  const TreeProcess& root = tree.root();
  std::set<pid_t> inside;
  for (const TreeProcess& one : tree.processes) inside.insert(one.pid);
  for (const TreeProcess& one : tree.processes) {
    const Relatives& its = one.relatives;
    if (its.session == 0 || its.group == 0) {  // so /proc says; CRIU needs their numbers
      out.push_back(who(one) + " belongs to a session or group of processes whose leader is " +
                    "outside of this container, which cannot be told to a checkpoint; start it " +
                    "with setsid(1), then it can be adopted");
      continue;
    }
    const bool session = inside.contains(its.session) || its.session == root.relatives.session;
    const bool group = inside.contains(its.group) || its.group == root.relatives.group ||
                       its.group == root.relatives.session;
    if (session && group) continue;
    out.push_back(who(one) + " belongs to a session or group of processes that stay outside; " +
                  "adopt their parent instead, so that they come along");
  }
}

}  // namespace

base::Result<Relatives> parse_relatives(std::string_view stat) {
  const auto bad = [] { return fail(Code::kInvalid, "a line of /proc/PID/stat is damaged"); };
  const std::size_t open = stat.find('(');
  const std::size_t close = stat.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
    return bad();
  }
  Relatives out;
  out.name = stat.substr(open + 1, close - open - 1);
  std::vector<std::string_view> fields;  // from the third on, state
  for (std::string_view rest = stat.substr(close + 1); !rest.empty() && fields.size() < 20;) {
    const std::size_t begin = std::min(rest.find_first_not_of(" \n"), rest.size());
    const std::size_t end = std::min(rest.find_first_of(" \n", begin), rest.size());
    if (end > begin) fields.push_back(rest.substr(begin, end - begin));
    rest.remove_prefix(end);
  }
  if (fields.size() < 20 || fields[0].size() != 1) return bad();
  out.state = fields[0][0];
  bool good = true;
  const auto take = [&](std::size_t field, auto& value) {
    const std::string_view text = fields[field - 3];
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    good = good && code == std::errc() && end == text.data() + text.size();
  };
  take(4, out.parent);
  take(5, out.group);
  take(6, out.session);
  take(7, out.terminal);
  take(9, out.flags);
  take(22, out.start_ticks);
  if (!good || out.parent < 0 || out.group < 0 || out.session < 0) return bad();
  return out;
}

std::vector<pid_t> ProcessTree::pids() const {
  std::vector<pid_t> out;
  for (const TreeProcess& one : processes) out.push_back(one.pid);
  return out;
}

std::int64_t ProcessTree::rss_bytes() const {
  std::int64_t sum = 0;
  for (const TreeProcess& one : processes) sum += one.rss_bytes;
  return sum;
}

bool ProcessTree::of_a_shell() const {
  const auto inside = [&](pid_t pid) {
    return std::any_of(processes.begin(), processes.end(),
                       [&](const TreeProcess& one) { return one.pid == pid; });
  };
  return !inside(root().relatives.session) || !inside(root().relatives.group);
}

std::set<pid_t> ProcessTree::numbers() const {
  std::set<pid_t> out;
  for (const TreeProcess& one : processes) {
    out.insert({one.pid, one.relatives.group, one.relatives.session});
    out.insert(one.threads.begin(), one.threads.end());
  }
  return out;
}

base::Result<ProcessTree> read_tree(const std::string& proc, pid_t root) {
  auto top = relatives_of(proc, root);
  if (!top) return top.error();
  std::map<pid_t, Relatives> all;
  std::multimap<pid_t, pid_t> children;
  for (const pid_t pid : numbers_in(proc, kNumbersReadMax)) {
    auto its = relatives_of(proc, pid);
    if (!its) continue;  // it ended, or is none
    children.emplace(its->parent, pid);
    all.emplace(pid, std::move(*its));
  }
  ProcessTree tree;
  std::vector<pid_t> wanted{root};
  std::set<pid_t> seen{root};  // parents that changed while we read could make a circle
  std::size_t threads = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto its = all.find(wanted[i]);
    if (its == all.end()) continue;
    auto one = describe(proc, wanted[i], its->second);
    if (!one) continue;
    threads += one->threads.size();
    tree.processes.push_back(std::move(*one));
    if (tree.processes.size() > kAdoptedMax || threads > kAdoptThreadsMax) {
      return fail(Code::kTooLarge, all[root].name + " (" + std::to_string(root) +
                                       ") has more than " + std::to_string(kAdoptedMax) +
                                       " descendants or " + std::to_string(kAdoptThreadsMax) +
                                       " threads; adopt parts of it instead");
    }
    const auto [begin, end] = children.equal_range(wanted[i]);
    for (auto child = begin; child != end; ++child) {
      if (seen.insert(child->second).second) wanted.push_back(child->second);
    }
  }
  if (tree.processes.empty() || tree.root().pid != root) {
    return fail(Code::kNotFound, "process " + std::to_string(root) + " has ended");
  }
  const auto parent = all.find(tree.root().relatives.parent);
  if (parent != all.end()) tree.parent_name = parent->second.name;
  return tree;
}

std::vector<std::string> tree_obstacles(const ProcessTree& tree, const TreeAsker& asker) {
  if (asker.uid != 0 && !owned_by(tree, asker.uid)) {
    const bool root_only = all_are(tree.root().uids, asker.uid);
    return {who(tree.root()) + (root_only
                                    ? " has descendants of another user; only root can adopt it"
                                    : " is another user's; only root can adopt it")};
  }
  if (std::string no = never(tree, asker); !no.empty()) return {std::move(no)};
  if (std::string no = is_terns(tree); !no.empty()) return {std::move(no)};
  std::vector<std::string> out;
  const TreeProcess& root = tree.root();
  for (const TreeProcess& one : tree.processes) {
    if (const TernGroup group = tern_group_of(one.cgroup); group.kind != TernGroup::Kind::kNone) {
      out.push_back(who(one) + " belongs to " +
                    (group.job.empty() ? "tern" : "the job " + group.job) +
                    " already; see: tern ps");
    }
    if (!one.inner_pids.empty()) {
      out.push_back(who(one) + " lives in a PID namespace of its own, as containers do; adopt it " +
                    "from inside, with a node of its own");
    }
    if (asker.uid != 0 && one.guarded && one.relatives.state != 'Z') {
      out.push_back(who(one) + " is guarded by the kernel, as what gained privileges or holds " +
                    "secrets is; only root can adopt it");
    }
    if (one.uids != root.uids || one.gids != root.gids || !all_are(one.uids, root.uids[0]) ||
        !all_are(one.gids, root.gids[0])) {
      out.push_back(who(one) + " runs as several users or groups, or as another one than " +
                    who(root) + "; a job has one");
    }
  }
  look_at_numbers(tree, out);
  return out;
}

bool has_ended(const TreeProcess& one) {
  return one.relatives.state == 'Z' || one.relatives.state == 'X';
}

TernGroup tern_group_of(std::string_view cgroup) {
  bool node = false;
  for (std::size_t at = 0; at < cgroup.size();) {
    const std::size_t end = std::min(cgroup.find('/', at), cgroup.size());
    const std::string_view part = cgroup.substr(at, end - at);
    if (node && part.starts_with("job-") && part.size() > 12) {
      return {TernGroup::Kind::kJob, std::string(part.substr(4, 8))};
    }
    if (node && part.starts_with("adopt-") && part.size() > 13) {
      return {TernGroup::Kind::kAdopted, std::string(part.substr(6, 8))};
    }
    if (node && (part == "keepers" || part.starts_with("criu-") || part.starts_with("guard-"))) {
      return {TernGroup::Kind::kTerns, ""};
    }
    node = part.starts_with("tern-");
    at = end + 1;
  }
  return {};
}

pid_t free_numbers(const std::set<pid_t>& taken, pid_t pid_max) {
  constexpr pid_t kFirst = 30000;
  const auto fits = [&](pid_t from) {
    const auto next = taken.lower_bound(from);
    return from > 1 && from + kFreeNumbers < pid_max &&
           (next == taken.end() || *next > from + kFreeNumbers);
  };
  if (fits(kFirst)) return kFirst;
  for (pid_t from = 300; from + kFreeNumbers < pid_max; from += kFreeNumbers) {
    if (fits(from)) return from;
  }
  return 0;
}

}  // namespace machine
