#include "transfer/image_check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/check.h"
#include "transfer/image_files.h"
#include "transfer/image_load.h"
#include "transfer/image_schema.h"

namespace transfer {
namespace {

using base::ByteView;
using base::Code;
using base::fail;
using base::Result;
using base::Status;
using criu::ImageKind;
using criu::LoadedImage;
using criu::LoadedImages;
using protobuf::bytes_of;
using protobuf::has_field;
using protobuf::number_of;

base::Error refused(std::string why) { return fail(Code::kRefused, std::move(why)); }
base::Error invalid(std::string why) { return fail(Code::kInvalid, std::move(why)); }

std::uint32_t u32_of(ByteView message, std::uint32_t field) {
  return static_cast<std::uint32_t>(number_of(message, field));
}

// Calls `visit` with each occurrence of a repeated field until it says no.
template <typename Visit>
Status each(ByteView message, std::uint32_t number, Visit visit) {
  protobuf::Reader reader(message);
  while (const auto field = reader.next()) {
    if (field->number != number) continue;
    if (Status status = visit(*field); !status) return status;
  }
  return {};
}

constexpr std::uint64_t kTaskAlive = 1;
constexpr std::uint64_t kTaskDead = 2;
constexpr std::uint64_t kTaskStopped = 3;

class Checker {
 public:
  Checker(const LoadedImages& images, const CheckPolicy& policy)
      : images_(images), policy_(policy) {}

  Result<ImageFacts> run() {
    for (const auto step : {&Checker::check_single, &Checker::check_inventory,
                            &Checker::check_open_files, &Checker::check_tree, &Checker::check_locks,
                            &Checker::check_owners, &Checker::check_pages}) {
      if (Status status = (this->*step)(); !status) return status.error();
    }
    return std::move(facts_);
  }

 private:
  // Images of exactly one entry have one: CRIU reads the first and would not see another.
  Status check_single() {
    for (const auto& [key, image] : images_.images) {
      switch (key.first) {
        case ImageKind::kInventory:
        case ImageKind::kCore:
        case ImageKind::kIds:
        case ImageKind::kMm:
        case ImageKind::kFs:
        case ImageKind::kSeccomp:
        case ImageKind::kTimens:
        case ImageKind::kUtsns:
        case ImageKind::kIpcVar:
        case ImageKind::kGhost:
          if (image.entries.size() != 1) return invalid("an image has not exactly one entry");
          break;
        case ImageKind::kPagemap:
        case ImageKind::kShmemPagemap:
          if (image.entries.empty()) return invalid("an image has no entry");
          break;
        default:
          break;
      }
    }
    return {};
  }

  Status check_inventory() {
    const LoadedImage* image = images_.find(ImageKind::kInventory);
    if (image == nullptr) return invalid("inventory.img is missing");
    const ByteView inventory = image->entries[0];
    if (number_of(inventory, 1) != 2) return refused("the image format is of another version");
    if (number_of(inventory, 2) != 1) return refused("the image format is of an old version");
    const std::string_view run_id = base::as_text(bytes_of(inventory, 13));
    const auto plain = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
    };
    if (run_id.size() > 64 || !std::ranges::all_of(run_id, plain)) {
      return invalid("inventory.img names its run oddly");
    }
    host_ids_ = bytes_of(inventory, 3);
    return {};
  }

  Status check_open_files() {
    auto table = criu::check_files(images_, policy_, facts_);
    if (!table) return table.error();
    files_ = std::move(*table);
    return {};
  }

  Status check_tree() {
    const LoadedImage* tree = images_.find(ImageKind::kPstree);
    if (tree == nullptr) return invalid("pstree.img is missing");
    if (tree->entries.empty()) return invalid("pstree.img is empty");
    for (const ByteView task : tree->entries) {
      const std::uint32_t pid = u32_of(task, 1);
      const std::uint32_t parent = u32_of(task, 2);
      // Parents come before their children, the root first: a tree, by construction.
      const bool root = facts_.pids.empty();
      if (pid == 0 || (root ? parent != 0 : !tasks_.contains(parent))) {
        return invalid("pstree.img: not a tree");
      }
      if (root && policy_.own_pid_namespace && pid != 1) {
        return refused("the job has no pid namespace of its own");
      }
      facts_.pids.push_back(pid);
      if (!tasks_.insert(pid).second) return invalid("pstree.img: a process twice");
      if (Status status = check_task(pid, task, root); !status) return status;
      if (facts_.threads > kTasksMax) return fail(Code::kTooLarge, "too many threads");
    }
    return {};
  }

  Status check_task(std::uint32_t pid, ByteView task, bool root) {
    const std::string who = "process " + std::to_string(pid);
    const LoadedImage* core = images_.find(ImageKind::kCore, pid);
    if (core == nullptr) return invalid(who + " has no core image");
    const ByteView task_core = bytes_of(core->entries[0], 3);
    const std::uint64_t state = number_of(task_core, 1);
    ++facts_.threads;
    core_users_.insert(pid);
    if (root) facts_.machine = u32_of(core->entries[0], 1);
    if (u32_of(core->entries[0], 1) != facts_.machine) return invalid(who + " is of two machines");
    if (Status status = check_task_core(who, task_core); !status) return status;
    if (state == kTaskDead) return root ? invalid("the job has ended") : Status{};
    if (state != kTaskAlive && state != kTaskStopped) return invalid(who + " is in no known state");
    if (Status status = check_thread(who, core->entries[0]); !status) return status;
    auto threads = each(task, 5, [&](const protobuf::Field& thread) -> Status {
      if (thread.value == pid) return {};
      const LoadedImage* other = images_.find(ImageKind::kCore, thread.value);
      if (other == nullptr) return invalid(who + " has a thread without a core image");
      if (!core_users_.insert(thread.value).second) return invalid(who + " has a thread twice");
      ++facts_.threads;
      return check_thread(who, other->entries[0]);
    });
    if (!threads) return threads;
    if (Status status = check_ids(who, pid); !status) return status;
    return check_places(who, pid, root);
  }

  Status check_task_core(const std::string& who, ByteView core) const {
    if (core.empty()) return invalid(who + " has no state");
    constexpr std::uint64_t kUnset = UINT32_MAX;
    if (policy_.allow_root) return {};
    if (number_of(core, 14) > 1000) return refused(who + " would be spared by the OOM killer");
    const std::uint64_t login = number_of(core, 13, kUnset);
    if (login != kUnset && login != policy_.uid) return refused(who + " was logged in as another");
    return {};
  }

  Status check_thread(const std::string& who, ByteView core) const {
    const ByteView thread = bytes_of(core, 5);
    if (!has_field(thread, 10)) return refused(who + " has no credentials");
    if (policy_.allow_root) return {};
    constexpr std::uint64_t kNormal = 0;
    constexpr std::uint64_t kBatch = 3;
    constexpr std::uint64_t kIdle = 5;
    const std::uint64_t scheduler = number_of(thread, 4);
    if (scheduler != kNormal && scheduler != kBatch && scheduler != kIdle) {
      return refused(who + " has a real-time priority");
    }
    // Zigzag: odd numbers are negative.
    if (number_of(thread, 3) % 2 != 0) return refused(who + " has a raised priority");
    return check_creds(who, bytes_of(thread, 10));
  }

  Status check_creds(const std::string& who, ByteView creds) const {
    if (policy_.uid == 0 || policy_.gid == 0) return refused("root's jobs are not taken here");
    for (const std::uint32_t field : {1U, 3U, 5U, 7U}) {
      if (number_of(creds, field) != policy_.uid) return refused(who + " has another user's id");
    }
    for (const std::uint32_t field : {2U, 4U, 6U, 8U}) {
      if (number_of(creds, field) != policy_.gid) return refused(who + " has another group's id");
    }
    auto groups = each(creds, 14, [&](const protobuf::Field& group) -> Status {
      const bool known = group.value == policy_.gid ||
                         std::ranges::find(policy_.groups, group.value) != policy_.groups.end();
      return known ? Status{} : Status(refused(who + " is in a group that its user is not in"));
    });
    if (!groups) return groups;
    const bool no_new_privs = number_of(creds, 18) != 0;
    for (const std::uint32_t field : {9U, 10U, 11U, 12U, 19U}) {
      if (field == 12 && no_new_privs) continue;
      auto none = each(creds, field, [&](const protobuf::Field& set) -> Status {
        if (set.value == 0) return {};
        return refused(who + (field == 12 ? " could gain privileges" : " has capabilities"));
      });
      if (!none) return none;
    }
    if (number_of(creds, 13) != 0) return refused(who + " has secure bits");
    return {};
  }

  Status check_ids(const std::string& who, std::uint32_t pid) {
    const LoadedImage* ids = images_.find(ImageKind::kIds, pid);
    if (ids == nullptr) return invalid(who + " has no ids image");
    ids_users_.insert(pid);
    const ByteView own = ids->entries[0];
    struct Namespace {
      std::uint32_t field;
      const char* name;
    };
    for (const auto& [field, name] : {Namespace{6, "network"}, Namespace{9, "mount"},
                                      Namespace{10, "user"}, Namespace{11, "cgroup"}}) {
      if (number_of(own, field) != number_of(host_ids_, field)) {
        return refused(who + " has a " + name + " namespace of its own");
      }
    }
    const bool own_pids = number_of(own, 5) != number_of(host_ids_, 5);
    if (own_pids != policy_.own_pid_namespace) {
      return refused(who + (own_pids ? " has" : " has no") + " pid namespace of its own");
    }
    if (pid_namespace_ == 0) pid_namespace_ = number_of(own, 5);
    if (number_of(own, 5) != pid_namespace_) return refused(who + " is in a nested pid namespace");
    tables_[pid] = number_of(own, 2);
    return check_descriptors(who, number_of(own, 2));
  }

  Status check_descriptors(const std::string& who, std::uint64_t table) {
    const LoadedImage* fdinfo = images_.find(ImageKind::kFdinfo, table);
    if (fdinfo == nullptr) return {};                    // a process without descriptors
    if (!fdinfo_users_.insert(table).second) return {};  // once, however many share it
    for (const ByteView entry : fdinfo->entries) {
      const auto type = files_.types.find(u32_of(entry, 1));
      if (type == files_.types.end()) return refused(who + " has a file open that is not listed");
      if (static_cast<std::uint64_t>(type->second) != number_of(entry, 3)) {
        return invalid(who + " has a file open under another type");
      }
    }
    return {};
  }

  using Descriptors = std::map<std::uint64_t, std::size_t>;  // regular files, by number

  // Made once for each table: locks may be many.
  const Descriptors& descriptors_of(std::uint64_t table) {
    const auto [known, fresh] = descriptors_.try_emplace(table);
    const LoadedImage* fdinfo = fresh ? images_.find(ImageKind::kFdinfo, table) : nullptr;
    if (fdinfo == nullptr) return known->second;
    for (const ByteView entry : fdinfo->entries) {
      const auto path = files_.paths.find(u32_of(entry, 1));
      if (path != files_.paths.end()) known->second.try_emplace(number_of(entry, 4), path->second);
    }
    return known->second;
  }

  // The regular file that a process has open under that number.
  std::optional<std::size_t> file_of(std::uint32_t pid, std::uint64_t number) {
    const auto table = tables_.find(pid);
    if (table == tables_.end()) return std::nullopt;
    const Descriptors& open = descriptors_of(table->second);
    const auto file = open.find(number);
    return file == open.end() ? std::nullopt : std::optional(file->second);
  }

  Status check_locks() {
    constexpr std::uint64_t kPosix = 1;
    constexpr std::uint64_t kFlock = 2;
    constexpr std::uint64_t kOpenFile = 4;
    constexpr std::size_t kLocksMax = 65536;
    const LoadedImage* locks = images_.find(ImageKind::kFileLocks);
    if (locks == nullptr) return {};
    if (locks->entries.size() > kLocksMax) return fail(Code::kTooLarge, "too many file locks");
    for (const ByteView entry : locks->entries) {
      const std::uint64_t kind = number_of(entry, 1);
      if (kind != kPosix && kind != kFlock && kind != kOpenFile) {
        return refused("a process holds a lease, which does not move");
      }
      LockFact lock;
      if (kind == kFlock) lock.kind = LockFact::Kind::kFlock;
      if (kind == kOpenFile) lock.kind = LockFact::Kind::kOpenFile;
      if (number_of(entry, 2) > 1) return invalid("filelocks.img: a lock of no kind");
      lock.write = number_of(entry, 2) == 1;
      lock.start = number_of(entry, 5);
      lock.length = number_of(entry, 6);
      if (lock.start > INT64_MAX || lock.length > INT64_MAX - lock.start) {
        return invalid("filelocks.img: a lock beyond the end of all files");
      }
      const auto file = file_of(u32_of(entry, 3), number_of(entry, 4));
      if (!file) return invalid("filelocks.img: a lock on no file");
      lock.file = *file;
      facts_.locks.push_back(lock);
    }
    return {};
  }

  Result<std::string> path_of(const std::string& who, ByteView message, std::uint32_t field) const {
    const auto at = files_.paths.find(u32_of(message, field));
    if (at == files_.paths.end()) return invalid(who + " names a file that is not listed");
    return facts_.files[at->second].path;
  }

  // Working folder, root folder, executable.
  Status check_places(const std::string& who, std::uint32_t pid, bool root) {
    const LoadedImage* fs = images_.find(ImageKind::kFs, pid);
    const LoadedImage* mm = images_.find(ImageKind::kMm, pid);
    if (fs == nullptr || mm == nullptr) return invalid(who + " has no fs or mm image");
    place_users_.insert(pid);
    const auto cwd = path_of(who, fs->entries[0], 1);
    const auto top = path_of(who, fs->entries[0], 2);
    const auto exe = path_of(who, mm->entries[0], 12);
    for (const auto* path : {&cwd, &top, &exe}) {
      if (!path->ok()) return path->error();
    }
    const bool init = root && !policy_.init_root.empty();
    if (*top != (init ? policy_.init_root : "/")) return refused(who + " has another root folder");
    if (root) facts_.cwd = *cwd;
    if (exes_.insert(*exe).second) facts_.exes.push_back(*exe);
    return {};
  }

  // Nothing that belongs to no process of the tree.
  Status check_owners() {
    for (const auto& [key, image] : images_.images) {
      const auto& [kind, number] = key;
      bool owned = true;
      if (kind == ImageKind::kCore) owned = core_users_.contains(number);
      if (kind == ImageKind::kIds) owned = ids_users_.contains(number);
      if (kind == ImageKind::kFdinfo) owned = fdinfo_users_.contains(number);
      const bool place = kind == ImageKind::kMm || kind == ImageKind::kFs;
      if (place || kind == ImageKind::kPagemap) owned = place_users_.contains(number);
      if (!owned) return invalid("an image belongs to no process");
    }
    return {};
  }

  Status check_pages() {
    constexpr std::uint32_t kParent = 1;
    constexpr std::uint32_t kPresent = 4;
    constexpr std::uint64_t kPage = 4096;
    std::map<std::uint64_t, std::uint64_t> pages;  // by pages id
    for (const auto& [key, image] : images_.images) {
      if (key.first != ImageKind::kPagemap && key.first != ImageKind::kShmemPagemap) continue;
      std::uint64_t& count = pages[number_of(image.entries[0], 1)];
      for (std::size_t i = 1; i < image.entries.size(); ++i) {
        const ByteView entry = image.entries[i];
        const std::uint64_t flags = number_of(entry, 4);
        if (number_of(entry, 3) != 0 || (flags & kParent) != 0) {
          return refused("pages of an earlier checkpoint are missing");
        }
        if ((flags & kPresent) == 0) continue;
        const std::uint64_t more = number_of(entry, 5, number_of(entry, 2));
        if (more > UINT64_MAX / kPage / 2 - count) return invalid("a pagemap is too long");
        count += more;
      }
    }
    for (const auto& [id, count] : pages) {
      const LoadedImage* image = images_.find(ImageKind::kPages, id);
      const std::uint64_t size = image == nullptr ? 0 : image->size;
      // Pages are of 4096 bytes on x86; elsewhere the source's size is not in the images.
      if (facts_.machine == 1 && size != count * kPage) {
        return invalid("a pages image is not as long as its pagemaps say");
      }
      facts_.page_bytes += size;
    }
    for (const auto& [key, image] : images_.images) {
      if (key.first == ImageKind::kPages && !pages.contains(key.second)) {
        return invalid("a pages image without a pagemap");
      }
    }
    return {};
  }

  const LoadedImages& images_;
  const CheckPolicy& policy_;
  ImageFacts facts_;
  ByteView host_ids_;
  std::uint64_t pid_namespace_ = 0;
  criu::FileTable files_;
  std::set<std::uint64_t> tasks_;
  std::set<std::uint64_t> core_users_;
  std::set<std::uint64_t> ids_users_;
  std::set<std::uint64_t> fdinfo_users_;
  std::map<std::uint32_t, std::uint64_t> tables_;     // of descriptors, by process
  std::map<std::uint64_t, Descriptors> descriptors_;  // by table
  std::set<std::string> exes_;
  std::set<std::uint64_t> place_users_;
};

}  // namespace

Result<ImageFacts> check_images(const ImageSet& images, const CheckPolicy& policy) {
  auto loaded = criu::load_images(images);
  if (!loaded) return loaded.error();
  return Checker(*loaded, policy).run();
}

}  // namespace transfer
