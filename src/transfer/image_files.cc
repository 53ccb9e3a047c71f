#include "transfer/image_files.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "transfer/protobuf.h"

namespace transfer::criu {
namespace {

using base::ByteView;
using base::Code;
using base::fail;
using base::Result;
using base::Status;
using protobuf::bytes_of;
using protobuf::has_field;
using protobuf::number_of;

base::Error refused(std::string why) { return fail(Code::kRefused, std::move(why)); }
base::Error invalid(std::string why) { return fail(Code::kInvalid, std::move(why)); }

std::uint32_t u32_of(ByteView message, std::uint32_t field) {
  return static_cast<std::uint32_t>(number_of(message, field));
}

constexpr std::size_t kDeadPidfdsMax = 1024;
constexpr std::uint32_t kModeType = 0170000;
constexpr std::uint32_t kModeRegular = 0100000;
constexpr std::uint32_t kModeFolder = 0040000;
constexpr std::uint32_t kModeDevice = 0020000;
constexpr std::uint32_t kModeFifo = 0010000;

bool path_below(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

bool device_allowed(std::string_view path) {
  constexpr std::array<std::string_view, 6> kDevices{"/dev/null", "/dev/zero",    "/dev/full",
                                                     "/dev/tty",  "/dev/urandom", "/dev/random"};
  return std::ranges::find(kDevices, path) != kDevices.end();
}

// Absolute, and equal to what a walk along it would visit.
bool path_plain(std::string_view path) {
  if (path.empty() || path.front() != '/') return false;
  if (path == "/") return true;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    path.remove_prefix(part.size());
  }
  return true;
}

class FileChecker {
 public:
  FileChecker(const LoadedImages& images, const CheckPolicy& policy, ImageFacts& facts)
      : images_(images), policy_(policy), facts_(facts) {}

  Result<FileTable> run() {
    if (Status status = check_files(); !status) return status.error();
    if (Status status = check_ghosts(); !status) return status.error();
    if (Status status = check_memfds(); !status) return status.error();
    if (Status status = check_terminals(); !status) return status.error();
    return std::move(table_);
  }

 private:
  bool id_allowed(std::uint64_t id, std::uint32_t ours) const {
    return policy_.allow_root || id == ours;
  }

  Status check_fown(ByteView fown) const {
    const bool unset = number_of(fown, 3) == 0 && number_of(fown, 5) == 0 &&
                       number_of(fown, 1) == 0 && number_of(fown, 2) == 0;
    if (unset) return {};
    if (!id_allowed(number_of(fown, 1), policy_.uid)) return refused("a file signals for others");
    if (!id_allowed(number_of(fown, 2), policy_.uid)) return refused("a file signals for others");
    return {};
  }

  Status check_files() {
    const LoadedImage* image = images_.find(ImageKind::kFiles);
    if (image == nullptr) return invalid("files.img is missing");
    if (image->entries.size() > kFilesMax) return fail(Code::kTooLarge, "too many open files");
    for (const ByteView file : image->entries) {
      if (number_of(file, 1) != static_cast<std::uint64_t>(FileType::kUnix)) continue;
      unix_inodes_.insert(u32_of(bytes_of(file, 16), 2));
    }
    for (const ByteView file : image->entries) {
      if (Status status = check_file(file); !status) return status;
    }
    return {};
  }

  struct FileShape {
    FileType type;
    std::uint32_t field;  // of file_entry
    std::uint32_t fown;   // field within, 0 none
  };
  static const FileShape* shape_of(std::uint64_t type) {
    static constexpr FileShape kShapes[] = {
        {FileType::kReg, 3, 5},       {FileType::kPipe, 18, 4},    {FileType::kFifo, 17, 0},
        {FileType::kInet, 4, 13},     {FileType::kUnix, 16, 9},    {FileType::kEventfd, 8, 3},
        {FileType::kEventpoll, 9, 3}, {FileType::kInotify, 13, 4}, {FileType::kSignalfd, 10, 3},
        {FileType::kTimerfd, 12, 3},  {FileType::kMemfd, 20, 4},   {FileType::kTty, 19, 4},
        {FileType::kPidfd, 22, 5},
    };
    for (const FileShape& shape : kShapes) {
      if (static_cast<std::uint64_t>(shape.type) == type) return &shape;
    }
    return nullptr;
  }

  Status check_file(ByteView file) {
    const FileShape* shape = shape_of(number_of(file, 1));
    if (shape == nullptr) {
      return refused("files.img: files of type " + std::to_string(number_of(file, 1)) +
                     " are not taken");
    }
    // Its own part and no other, under the same id.
    protobuf::Reader reader(file);
    while (const auto field = reader.next()) {
      if (field->number > 2 && field->number != shape->field) {
        return invalid("files.img: a file of two types");
      }
    }
    const ByteView body = bytes_of(file, shape->field);
    const std::uint32_t id = u32_of(file, 2);
    if (!has_field(file, shape->field)) return invalid("files.img: a file without its type");
    if (u32_of(body, 1) != id) return invalid("files.img: a file under two ids");
    if (!table_.types.emplace(id, shape->type).second) return invalid("files.img: an id twice");
    if (shape->fown != 0) {
      if (Status status = check_fown(bytes_of(body, shape->fown)); !status) return status;
    }
    switch (shape->type) {
      case FileType::kReg:
        return check_reg(id, body);
      case FileType::kInet:
        return check_inet(body);
      case FileType::kInotify:
        return check_watches(body);
      case FileType::kPidfd:
        return check_pidfd(body);
      case FileType::kTty:
        ttys_.push_back({u32_of(body, 2), u32_of(body, 6)});
        return {};
      case FileType::kUnix:
        return check_unix(body);
      default:
        return {};
    }
  }

  Status check_reg(std::uint32_t id, ByteView reg) {
    const std::string path(base::as_text(bytes_of(reg, 6)));
    const std::uint32_t mode = u32_of(reg, 10);
    const std::uint32_t type = mode & kModeType;
    if (!path_plain(path)) return refused("files.img: not a plain absolute path: " + path);
    if (path_below(path, "/proc") || path_below(path, "/sys")) {
      return refused("the job has " + path + " open, which does not move");
    }
    const bool terminal = path_below(path, "/dev/pts") || path == "/dev/ptmx";
    if (type == kModeDevice && terminal) {
      terminal_paths_.emplace(id, path);
      table_.types.erase(id);  // a terminal may name it, no process may have it open
      return {};
    }
    if (type == kModeDevice) {
      if (!device_allowed(path)) return refused("the job has the device " + path + " open");
    } else if (type != kModeRegular && type != kModeFolder && type != kModeFifo) {
      return refused("the job has " + path + " open, which is no plain file");
    } else if (path_below(path, "/dev") && !path_below(path, "/dev/shm") && path != "/dev") {
      return refused("the job has " + path + " open");
    }
    FileFact fact;
    fact.path = path;
    fact.flags = u32_of(reg, 2);
    fact.mode = mode;
    if (has_field(reg, 8)) fact.size = number_of(reg, 8);
    table_.paths.emplace(id, facts_.files.size());
    facts_.files.push_back(std::move(fact));
    return {};
  }

  // CRIU makes and ends a process for each that is about one that has ended.
  Status check_pidfd(ByteView pidfd) {
    const auto pid = static_cast<std::int32_t>(number_of(pidfd, 4));
    if (pid < -1 || pid == 0) return invalid("files.img: a pidfd of no process");
    if (pid == -1 && ++dead_pidfds_ > kDeadPidfdsMax) {
      return fail(Code::kTooLarge, "too many pidfds of processes that have ended");
    }
    return {};
  }

  // By its path, which the job's user must be able to open. Without one CRIU would take whatever
  // has that number here.
  Status check_watches(ByteView inotify) {
    protobuf::Reader reader(inotify);
    while (const auto field = reader.next()) {
      if (field->number != 5) continue;
      std::string path(base::as_text(bytes_of(bytes_of(field->bytes, 7), 4)));
      if (!path.starts_with('/')) path.insert(0, 1, '/');
      if (path == "/") return refused("the job watches a file or folder that cannot be named");
      if (!path_plain(path) || path_below(path, "/proc") || path_below(path, "/sys")) {
        return refused("the job watches " + path + ", which does not move");
      }
      if (facts_.files.size() >= kFilesMax) return fail(Code::kTooLarge, "too many watches");
      FileFact fact;
      fact.path = path;
      facts_.files.push_back(std::move(fact));
    }
    return {};
  }

  Status check_inet(ByteView socket) {
    constexpr std::uint32_t kStream = 1;
    constexpr std::uint32_t kDatagram = 2;
    constexpr std::uint32_t kListen = 10;
    constexpr std::uint32_t kClosed = 7;
    constexpr std::uint32_t kStatesMax = 13;
    const std::uint32_t type = u32_of(socket, 4);
    const std::uint32_t state = u32_of(socket, 6);
    if (type != kStream && type != kDatagram) return refused("the job has a raw socket open");
    if (state == 0 || state > kStatesMax) return invalid("files.img: a socket in no known state");
    // Without its stream, which is no listed image, CRIU only makes a socket and shuts it down.
    const bool connected = type == kStream && state != kListen && state != kClosed;
    if (has_field(bytes_of(socket, 16), 4)) return refused("the job has a raw socket open");
    if (!connected && number_of(socket, 7) != 0) {
      facts_.ports.push_back({u32_of(socket, 3), type, u32_of(socket, 7)});
    }
    return {};
  }

  Status check_unix(ByteView socket) const {
    const ByteView name = bytes_of(socket, 11);
    const std::uint32_t peer = u32_of(socket, 8);
    if (number_of(socket, 6) != 0) return refused("the job has a socket to the outside");
    if (!name.empty() && name[0] != 0) return refused("the job has a unix socket on a path");
    if (name.size() > 108) return invalid("files.img: a unix socket's name is too long");
    if (peer != 0 && !unix_inodes_.contains(peer)) {
      return refused("the job has a unix socket to a process outside");
    }
    return {};
  }

  Status check_ghosts() {
    constexpr std::uint32_t kGhost = 1;  // remap_type
    const LoadedImage* remaps = images_.find(ImageKind::kRemap);
    if (remaps == nullptr) return {};
    for (const ByteView remap : remaps->entries) {
      if (number_of(remap, 3) != kGhost) {
        return refused("the job has a file open that was renamed or belongs to a process");
      }
      const auto at = table_.paths.find(u32_of(remap, 1));
      if (at == table_.paths.end()) return invalid("remap-fpath.img: of no file");
      const LoadedImage* ghost = images_.find(ImageKind::kGhost, u32_of(remap, 2));
      if (ghost == nullptr) return invalid("an unlinked file's contents are missing");
      const ByteView entry = ghost->entries[0];
      const std::uint64_t mode = number_of(entry, 3);
      if ((mode & kModeType) != kModeRegular || (mode & ~std::uint64_t{kModeType | 0777}) != 0) {
        return refused("an unlinked file is no plain file");
      }
      if (!id_allowed(number_of(entry, 1), policy_.uid) ||
          !id_allowed(number_of(entry, 2), policy_.gid)) {
        return refused("an unlinked file belongs to somebody else");
      }
      facts_.files[at->second].unlinked = true;
    }
    return {};
  }

  Status check_memfds() {
    const LoadedImage* memfds = images_.find(ImageKind::kMemfd);
    if (memfds == nullptr) return {};
    for (const ByteView memfd : memfds->entries) {
      if (!id_allowed(number_of(memfd, 2), policy_.uid) ||
          !id_allowed(number_of(memfd, 3), policy_.gid)) {
        return refused("memfd.img: memory that belongs to somebody else");
      }
    }
    return {};
  }

  struct Terminal {
    std::uint64_t driver;
    std::uint64_t device;
    std::uint64_t number;
  };

  Status check_terminals() const {
    constexpr std::uint64_t kPseudo = 1;      // tty_info.type
    constexpr std::uint64_t kMaster = 0x502;  // rdev of /dev/ptmx
    constexpr std::uint64_t kSlaves = 136 << 8;
    constexpr std::uint64_t kTtyGroup = 5;
    std::map<std::uint32_t, Terminal> terminals;
    std::set<std::uint64_t> masters;
    const LoadedImage* image = images_.find(ImageKind::kTtyInfo);
    for (const ByteView info : image == nullptr ? std::vector<ByteView>() : image->entries) {
      const Terminal one{number_of(info, 2), number_of(info, 8), number_of(bytes_of(info, 12), 1)};
      const bool pseudo = one.driver == kPseudo && has_field(info, 12) &&
                          one.number < kTerminalsMax &&
                          (one.device == kMaster || one.device == kSlaves + one.number);
      if (!pseudo) return refused("the job has a terminal that is not its own");
      // Of a master CRIU tells whose /dev/ptmx is: root's, of root's group or of tty.
      const bool master = one.device == kMaster;
      const std::uint64_t group = number_of(info, 15, policy_.gid);
      const bool ptmx = master && number_of(info, 14) == 0 && (group == 0 || group == kTtyGroup);
      if (!ptmx && (!id_allowed(number_of(info, 14, policy_.uid), policy_.uid) ||
                    !id_allowed(group, policy_.gid))) {
        return refused("the job's terminal belongs to somebody else");
      }
      if (!terminals.emplace(u32_of(info, 1), one).second) return invalid("a terminal twice");
      if (one.device == kMaster && !masters.insert(one.number).second) {
        return invalid("a terminal twice");
      }
    }
    for (const auto& [id, one] : terminals) {
      if (!masters.contains(one.number)) {
        return refused("the job has a terminal whose other end is not its own");
      }
    }
    return check_terminal_files(terminals, kMaster);
  }

  // Each by the name that its number gives it.
  Status check_terminal_files(const std::map<std::uint32_t, Terminal>& terminals,
                              std::uint64_t master) const {
    for (const auto& [info, file] : ttys_) {
      const auto at = terminals.find(info);
      if (at == terminals.end()) return invalid("files.img: a terminal without its state");
      std::string wanted = "/dev/pts/" + std::to_string(at->second.number);
      if (at->second.device == master) wanted = "/dev/ptmx";
      const auto named = terminal_paths_.find(file);
      if (named == terminal_paths_.end() || named->second != wanted) {
        return refused("files.img: a terminal under another's name");
      }
    }
    return {};
  }

  const LoadedImages& images_;
  const CheckPolicy& policy_;
  ImageFacts& facts_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ttys_;  // state, file in /dev
  std::map<std::uint32_t, std::string> terminal_paths_;        // by file id
  std::set<std::uint32_t> unix_inodes_;
  std::size_t dead_pidfds_ = 0;
  FileTable table_;
};

}  // namespace

Result<FileTable> check_files(const LoadedImages& images, const CheckPolicy& policy,
                              ImageFacts& facts) {
  return FileChecker(images, policy, facts).run();
}

}  // namespace transfer::criu
