// Which of CRIU's images a checkpoint from a peer may hold, and which fields in them. Everything
// that is not listed is refused. Facts from CRIU 4.2.1 (images/*.proto, criu/include/magic.h,
// criu/image-desc.c).
//
// An image is two 4-byte magics (the inventory has only its own), then entries: u32 size and a
// protobuf message, in some kinds followed by raw bytes. Not listed, on purpose: mountpoints, tmpfs
// and autofs contents; netdev, ifaddr, route, rule, netns, iptables, nftables; tun; cgroup (CRIU
// writes none with --manage-cgroups=ignore); userns, pidns; apparmor; bpf maps; terminals but pairs
// of their own (image_files.h); SysV IPC objects; established TCP streams; and the old
// single-purpose images (creds-*, reg-files, sigacts-*, ...) which CRIU still reads when the newer
// ones lack the same facts.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "transfer/protobuf.h"

namespace transfer::criu {

// CRIU's file types (fdinfo.proto, fd_types) that may pass.
enum class FileType : std::uint8_t {
  kReg = 1,
  kPipe = 2,
  kFifo = 3,
  kInet = 4,
  kUnix = 5,
  kEventfd = 6,
  kEventpoll = 7,
  kInotify = 8,
  kSignalfd = 9,
  kTty = 11,
  kTimerfd = 17,
  kMemfd = 18,
  kPidfd = 20,
};

enum class ImageKind : std::uint8_t {
  kInventory,
  kPstree,
  kCore,
  kIds,
  kMm,
  kFs,
  kFdinfo,
  kFiles,
  kPagemap,
  kShmemPagemap,
  kPages,
  kSeccomp,
  kTimens,
  kUtsns,
  kIpcVar,
  kRemap,
  kGhost,
  kMemfd,
  kPipesData,
  kFifoData,
  kSocketQueues,
  kTtyInfo,
  kTtyData,
  kFileLocks,
};

enum class RawBytes : std::uint8_t {
  kNone,      // entries only
  kAll,       // no magic, no entries: pages
  kPerEntry,  // each entry is followed by as many bytes as its field `size_field` says
  kAfterOne,  // one entry, then bytes without structure
};

struct ImageRule {
  ImageKind kind;
  std::string_view prefix;  // the name is prefix, number if `base` is not 0, ".img"
  int base;                 // of the number in the name: 0 none, 10, 16
  std::uint32_t magic;
  RawBytes raw;
  std::uint8_t size_field;
  const protobuf::Schema* first;  // of the first entry, if it differs from the others
  const protobuf::Schema* entry;
};

struct ImageName {
  const ImageRule* rule;
  std::uint64_t number;
};
// Nothing: not on the list.
[[nodiscard]] std::optional<ImageName> image_of_name(std::string_view name);

inline constexpr std::uint32_t kCommonMagic = 0x54564319;

}  // namespace transfer::criu
