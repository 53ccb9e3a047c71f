#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "machine/fd.h"
#include "machine/file_user.h"
#include "machine/memory_room.h"
#include "machine/preflight.h"
#include "machine/preflight_own.h"
#include "machine/proc_source.h"
#include "transfer/job_files.h"

namespace machine {
namespace {

// What a compiler or a library may choose code by. Other flags describe the kernel, virtualisation
// or known faults and differ between machines that run each other's programs.
constexpr std::array<std::string_view, 47> kX86Flags = {
    "3dnowprefetch", "abm",     "adx",       "aes",    "bmi1",      "bmi2",  "cldemote",
    "clflushopt",    "clwb",    "clzero",    "cmov",   "cx16",      "cx8",   "erms",
    "f16c",          "fma",     "fma4",      "fpu",    "fsgsbase",  "fsrm",  "fxsr",
    "gfni",          "hle",     "lahf_lm",   "lm",     "mmx",       "movbe", "movdir64b",
    "movdiri",       "ospke",   "pclmulqdq", "pni",    "popcnt",    "rdpid", "rdrand",
    "rdseed",        "rdtscp",  "rtm",       "sha_ni", "serialize", "tbm",   "vaes",
    "vpclmulqdq",    "waitpkg", "xgetbv1",   "xop",    "umip"};

bool x86_flag_matters(std::string_view flag) {
  for (const std::string_view prefix : {"avx", "amx", "sse", "ssse", "xsave"}) {
    if (flag.starts_with(prefix)) return true;
  }
  return std::find(kX86Flags.begin(), kX86Flags.end(), flag) != kX86Flags.end();
}

// Which packages the system's files are of here. Asked when the first of them differs, for all at
// once, as the database is read as a whole and whoever asks decides how many differ.
class PackagesHere {
 public:
  PackagesHere(const Requirement& requirement, Packages* packages)
      : requirement_(requirement), packages_(packages) {}
  // What both have, where that tells them apart.
  std::string versions(const RequiredFile& wanted) {
    if (packages_ == nullptr || !named(wanted)) return {};
    if (!here_) ask();
    const std::string& here = (*here_)[wanted.path];
    if (here == wanted.package) return {};
    return " (" + (here.empty() ? "of no package" : here) + " here, the job's is " +
           (wanted.package.empty() ? "of no package" : "of " + wanted.package) + ")";
  }

 private:
  static bool named(const RequiredFile& file) {
    return !S_ISDIR(file.mode) && transfer::in_system_folder(file.path);
  }
  void ask() {
    std::set<std::string> paths;
    for (const RequiredFile& file : requirement_.files) {
      if (named(file)) paths.insert(file.path);
    }
    here_ = packages_->of(paths);
  }
  const Requirement& requirement_;
  Packages* packages_;
  std::optional<std::map<std::string, std::string>> here_;
};

std::string file_refusal(const RequiredFile& wanted, FileHashes& hashes, PackagesHere& packages) {
  const std::string help =
      transfer::in_system_folder(wanted.path) ? "; install the same version on both machines" : "";
  const Fd found = open_plainly(wanted.path);
  if (!found.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return wanted.path + " is missing here" +
             (wanted.package.empty() ? "" : "; the job's is of " + wanted.package + ": install it");
    }
    if (errno == ELOOP) return wanted.path + " is a symbolic link here";
    return wanted.path + " cannot be opened by the job's user here";
  }
  struct stat info {};
  if (::fstat(found.get(), &info) != 0) return wanted.path + " cannot be looked at here";
  if ((info.st_mode & S_IFMT) != (wanted.mode & S_IFMT)) {
    return wanted.path + " is something else here (not a " +
           (S_ISDIR(wanted.mode) ? "folder)" : "regular file)");
  }
  if (S_ISDIR(wanted.mode)) return {};
  if (static_cast<std::uint64_t>(info.st_size) != wanted.size) {
    const std::string both = packages.versions(wanted);
    return wanted.path + " differs here" +
           (!both.empty() ? both
                          : " (" + std::to_string(info.st_size) + " bytes, the job's has " +
                                std::to_string(wanted.size) + ")") +
           help;
  }
  if ((info.st_mode & 07777) != (wanted.mode & 07777)) {
    return wanted.path + " differs here (permissions)";
  }
  // Only now opened for reading: it is a regular file, so that opening has no effect on anything.
  const std::string again = "/proc/self/fd/" + std::to_string(found.get());
  const Fd fd(retry([&] { return ::open(again.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!fd.valid()) return wanted.path + " cannot be read by the job's user here";
  auto hash = hashes.hash(fd.get());
  if (!hash) return wanted.path + " cannot be compared here: " + hash.error().detail;
  if (*hash == wanted.hash) return {};
  const auto brief = [](const base::crypto::Hash256& of) {
    return base::to_hex(base::ByteView(of).first(4));
  };
  if (std::string both = packages.versions(wanted); !both.empty()) {
    return wanted.path + " differs here" + both + help;
  }
  return wanted.path + " differs here (content hash " + brief(*hash) + ", the job's is " +
         brief(wanted.hash) + (wanted.package.empty() ? "" : "; both " + wanted.package) + ")" +
         help;
}

std::string memory_refusal_of(const Requirement& requirement, const LocalPolicy& policy) {
  MemoryNeed need{requirement.memory_bytes, policy.memory_free.value_or(0)};
  if (!policy.memory_free) {
    const auto memory = ProcSource().memory();
    if (!memory) return "memory: what is free here is not known: " + memory.error().detail;
    need.free_bytes =
        static_cast<std::uint64_t>(std::max<std::int64_t>(memory->usable.available_bytes, 0));
  }
  return memory_refusal(need);
}

// For the job's output, its records and what the node writes meanwhile. Its images need none.
constexpr std::uint64_t kDiskFreeMin = 16 << 20;

std::string disk_refusal(const LocalPolicy& policy) {
  struct statvfs disk {};
  if (policy.state_dir.empty() || ::statvfs(policy.state_dir.c_str(), &disk) != 0) return {};
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free >= kDiskFreeMin) return {};
  return "the disk of " + policy.state_dir + " is full here (" + std::to_string(free >> 20) +
         " MiB are free, " + std::to_string(kDiskFreeMin >> 20) + " are needed); make room there";
}

void add_user_refusals(const Requirement& requirement, const LocalPolicy& policy,
                       std::vector<std::string>& out) {
  const auto listed = [](const std::vector<std::uint32_t>& list, std::uint32_t id) {
    return std::find(list.begin(), list.end(), id) != list.end();
  };
  const bool root = listed(requirement.uids, 0) || listed(requirement.gids, 0);
  if (root && !policy.allow_root) {
    out.emplace_back(
        "jobs of root are not allowed here; allow-root-jobs = true in this node's tern.toml allows "
        "them, or run it as another user");
  }
  for (const std::uint32_t uid : requirement.uids) {
    if (uid == 0 || listed(policy.allowed_uids, uid)) continue;
    out.push_back(
        "jobs of user " + std::to_string(uid) + " are not allowed here; policy-uids = [" +
        std::to_string(uid) +
        "] in this node's tern.toml names them as the same person, as `tern join --trust` does");
  }
  for (const std::uint32_t gid : requirement.gids) {
    if (gid == 0 || listed(policy.allowed_gids, gid)) continue;
    out.push_back("jobs of group " + std::to_string(gid) + " are not allowed here");
  }
}

std::string cpu_refusal(const Requirement& requirement) {
  auto text = read_small_file("/proc/cpuinfo", 16 << 20);
  const auto here = text ? parse_cpu_flags(*text) : std::vector<std::string>();
  std::string lacks;
  std::size_t count = 0;
  for (const std::string& flag : requirement.cpu_flags) {
    if (std::binary_search(here.begin(), here.end(), flag)) continue;
    if (++count <= 5) lacks += (lacks.empty() ? "" : ", ") + flag;
  }
  if (count == 0) return {};
  if (count > 5) lacks += " and " + std::to_string(count - 5) + " more";
  return "this CPU lacks instructions that the job may use (" + lacks + ")";
}

int compare_versions(std::string_view a, std::string_view b) {
  for (int part = 0; part < 3; ++part) {
    unsigned left = 0;
    unsigned right = 0;
    a.remove_prefix(static_cast<std::size_t>(
        std::from_chars(a.data(), a.data() + a.size(), left).ptr - a.data()));
    b.remove_prefix(static_cast<std::size_t>(
        std::from_chars(b.data(), b.data() + b.size(), right).ptr - b.data()));
    if (left != right) return left < right ? -1 : 1;
    if (a.starts_with('.')) a.remove_prefix(1);
    if (b.starts_with('.')) b.remove_prefix(1);
  }
  return 0;
}

void add_machine_refusals(const Requirement& requirement, const LocalPolicy& policy,
                          std::vector<std::string>& out) {
  utsname name{};
  ::uname(&name);
  if (requirement.architecture != name.machine) {
    out.push_back("this is an " + std::string(name.machine) + " machine, and the job's is " +
                  requirement.architecture);
  } else if (std::string why = cpu_refusal(requirement); !why.empty()) {
    out.push_back(why);
  }
  if (compare_versions(name.release, "5.14") < 0) {
    out.emplace_back("the kernel here is too old: 5.14 or newer is needed");
  }
  if (policy.criu_version.empty()) {
    out.push_back(policy.criu_missing.empty() ? "there is no CRIU here; run scripts/install-criu"
                                              : policy.criu_missing);
  } else if (compare_versions(policy.criu_version, requirement.criu) < 0) {
    out.push_back("CRIU here is version " + policy.criu_version + ", older than the job's (" +
                  requirement.criu + "); run scripts/install-criu");
  }
}

}  // namespace

std::vector<std::string> parse_cpu_flags(std::string_view cpuinfo) {
  std::set<std::string> flags;
  for (const std::string_view key : {"\nflags", "\nFeatures"}) {
    const std::size_t at = cpuinfo.find(key);
    if (at == std::string_view::npos) continue;
    std::string_view line = cpuinfo.substr(at + 1);
    line = line.substr(0, line.find('\n'));
    line.remove_prefix(std::min(line.find(':'), line.size() - 1) + 1);
    while (!line.empty()) {
      const std::size_t end = std::min(line.find(' '), line.size());
      const std::string_view flag = line.substr(0, end);
      line.remove_prefix(std::min(end + 1, line.size()));
      const bool matters = key == "\nFeatures" || x86_flag_matters(flag);
      if (!flag.empty() && flag.size() <= 32 && matters) flags.emplace(flag);
    }
    break;
  }
  return {flags.begin(), flags.end()};
}

std::vector<std::string> check_requirement(const Requirement& requirement,
                                           const LocalPolicy& policy, FileHashes& hashes) {
  std::vector<std::string> out;
  add_machine_refusals(requirement, policy, out);
  add_user_refusals(requirement, policy, out);
  if (std::string why = memory_refusal_of(requirement, policy); !why.empty()) out.push_back(why);
  if (std::string why = disk_refusal(policy); !why.empty()) out.push_back(why);
  // Whoever is not welcome learns nothing about ports and files.
  if (out.empty()) {
    if (!requirement.ports.empty()) {
      out = port_refusals(requirement.ports, ports_taken(), own_addresses());
    }
    const std::uint32_t uid = requirement.uids.empty() ? 0 : requirement.uids.back();
    const OwnFiles own(policy);
    const std::uint32_t gid = requirement.gids.empty() ? uid : requirement.gids.front();
    const FileUser user(uid, gid, requirement.gids);
    PackagesHere packages(requirement, policy.packages);
    if (!user.good()) out.emplace_back("this node cannot look at files as the job's user");
    for (const RequiredFile& file : requirement.files) {
      if (!user.good()) break;
      if ((file.flags & kRequiredTravels) != 0) {
        const auto verdict = own.judge(file);
        if (verdict && !verdict->empty()) out.push_back(*verdict);
        if (verdict) continue;
      }
      if (std::string why = file_refusal(file, hashes, packages); !why.empty()) out.push_back(why);
    }
  }
  if (out.size() > kSentencesMax) {
    const std::size_t more = out.size() - kSentencesMax + 1;
    out.resize(kSentencesMax - 1);
    out.push_back("and " + std::to_string(more) + " more");
  }
  return out;
}

}  // namespace machine
