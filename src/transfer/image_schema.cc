#include "transfer/image_schema.h"

#include <charconv>

namespace transfer::criu {
namespace {

using protobuf::Count;
using protobuf::FieldRule;
using protobuf::Kind;
using protobuf::Schema;
using enum protobuf::Count;

// Shorthand, so that a table reads like the .proto that it states.
constexpr FieldRule u32(std::uint8_t n, Count c = kRequired) { return {n, Kind::kU32, c}; }
constexpr FieldRule u64(std::uint8_t n, Count c = kRequired) { return {n, Kind::kU64, c}; }
constexpr FieldRule i32(std::uint8_t n, Count c = kRequired) { return {n, Kind::kI32, c}; }
constexpr FieldRule flag(std::uint8_t n, Count c = kOptional) { return {n, Kind::kBool, c}; }
constexpr FieldRule text(std::uint8_t n, Count c = kRequired) { return {n, Kind::kText, c}; }
constexpr FieldRule raw(std::uint8_t n, Count c = kRequired) { return {n, Kind::kBytes, c}; }
constexpr FieldRule opaque(std::uint8_t n) { return {n, Kind::kOpaque, kOptional}; }
constexpr FieldRule in(std::uint8_t n, const Schema& s, Count c = kRequired) {
  return {n, Kind::kMessage, c, &s};
}

constexpr FieldRule kIdsF[] = {u32(1),
                               u32(2),
                               u32(3),
                               u32(4),
                               u32(5, kOptional),
                               u32(6, kOptional),
                               u32(7, kOptional),
                               u32(8, kOptional),
                               u32(9, kOptional),
                               u32(10, kOptional),
                               u32(11, kOptional),
                               u32(12, kOptional)};
constexpr Schema kIds{"ids", kIdsF};
constexpr Schema kNoPlugins{"plugins", {}};
constexpr FieldRule kInventoryF[] = {u32(1),
                                     flag(2),
                                     in(3, kIds, kRequired),
                                     flag(4),
                                     u32(5, kOptional),
                                     u32(6, kOptional),
                                     u64(8, kOptional),
                                     u32(9, kOptional),
                                     flag(10),
                                     u32(11, kOptional),
                                     in(12, kNoPlugins, kOptional),
                                     text(13, kOptional)};
constexpr Schema kInventory{"inventory", kInventoryF};
constexpr FieldRule kPstreeF[] = {u32(1), u32(2), u32(3), u32(4), u32(5, kRepeated)};
constexpr Schema kPstree{"pstree", kPstreeF};

// ---- core
constexpr FieldRule kItimerF[] = {u64(1), u64(2), u64(3), u64(4)};
constexpr Schema kItimer{"itimer", kItimerF};
constexpr FieldRule kPosixTimerF[] = {u32(1),
                                      u32(2),
                                      u32(3),
                                      u32(4),
                                      u64(5),
                                      u32(6),
                                      u64(7),
                                      u64(8),
                                      u64(9),
                                      u64(10),
                                      i32(11, kOptional)};
constexpr Schema kPosixTimer{"posix timer", kPosixTimerF};
constexpr FieldRule kTimersF[] = {in(1, kItimer), in(2, kItimer), in(3, kItimer),
                                  in(4, kPosixTimer, kRepeated)};
constexpr Schema kTimers{"timers", kTimersF};
constexpr FieldRule kRlimitF[] = {u64(1), u64(2)};
constexpr Schema kRlimit{"rlimit", kRlimitF};
constexpr FieldRule kRlimitsF[] = {in(1, kRlimit, kRepeated)};
constexpr Schema kRlimits{"rlimits", kRlimitsF};
constexpr FieldRule kSiginfoF[] = {raw(1)};
constexpr Schema kSiginfo{"siginfo", kSiginfoF};
constexpr FieldRule kSignalsF[] = {in(1, kSiginfo, kRepeated)};
constexpr Schema kSignals{"signal queue", kSignalsF};
constexpr FieldRule kSaF[] = {u64(1), u64(2), u64(3), u64(4), flag(5), u64(6, kOptional)};
constexpr Schema kSa{"sigaction", kSaF};
constexpr FieldRule kTaskF[] = {u32(1),
                                u32(2),
                                u32(3),
                                u32(4),
                                u64(5),
                                text(6),
                                in(7, kTimers, kOptional),
                                in(8, kRlimits, kOptional),
                                u32(9, kOptional),
                                in(10, kSignals, kOptional),
                                u32(11, kOptional),
                                u32(12, kOptional),
                                u32(13, kOptional),
                                i32(14, kOptional),
                                in(15, kSa, kRepeated),
                                flag(18),
                                u64(20, kOptional),
                                u32(21, kOptional),
                                u32(22, kOptional)};
constexpr Schema kTask{"task", kTaskF};
// lsm_profile (15), lsm_sockcreate (16) and apparmor_data (17) are not listed: labels are refused.
constexpr FieldRule kCredsF[] = {u32(1),
                                 u32(2),
                                 u32(3),
                                 u32(4),
                                 u32(5),
                                 u32(6),
                                 u32(7),
                                 u32(8),
                                 u32(9, kRepeated),
                                 u32(10, kRepeated),
                                 u32(11, kRepeated),
                                 u32(12, kRepeated),
                                 u32(13),
                                 u32(14, kRepeated),
                                 u32(18, kOptional),
                                 u32(19, kRepeated)};
constexpr Schema kCreds{"credentials", kCredsF};
constexpr FieldRule kSasF[] = {u64(1), u64(2), u32(3)};
constexpr Schema kSas{"signal stack", kSasF};
constexpr FieldRule kRseqF[] = {u64(1), u32(2), u32(3), u64(4, kOptional)};
constexpr Schema kRseq{"rseq", kRseqF};
constexpr FieldRule kThreadF[] = {u64(1),
                                  u32(2),
                                  u64(3, kOptional),
                                  u32(4, kOptional),
                                  u32(5, kOptional),
                                  u64(6, kOptional),
                                  in(7, kSas, kOptional),
                                  u32(8, kOptional),
                                  in(9, kSignals, kOptional),
                                  in(10, kCreds, kOptional),
                                  u32(11, kOptional),
                                  u32(12, kOptional),
                                  text(13, kOptional),
                                  u64(14, kOptional),
                                  in(15, kRseq, kOptional),
                                  u32(16, kOptional)};
constexpr Schema kThread{"thread", kThreadF};
constexpr FieldRule kCoreF[] = {u32(1),
                                opaque(2),  // registers of x86,
                                opaque(8),  // of aarch64
                                in(3, kTask, kOptional),
                                in(4, kIds, kOptional),
                                in(5, kThread, kOptional)};
constexpr Schema kCore{"core", kCoreF};

// ---- memory
constexpr FieldRule kVmaF[] = {u64(1),
                               u64(2),
                               u64(3),
                               u64(4),
                               u32(5),
                               u32(6),
                               u32(7),
                               u64(8),
                               u64(9, kOptional),
                               u64(10, kOptional)};
constexpr Schema kVma{"vma", kVmaF};
constexpr FieldRule kAioF[] = {u64(1), u32(2), u32(3)};
constexpr Schema kAio{"aio", kAioF};
constexpr FieldRule kMmF[] = {u64(1),
                              u64(2),
                              u64(3),
                              u64(4),
                              u64(5),
                              u64(6),
                              u64(7),
                              u64(8),
                              u64(9),
                              u64(10),
                              u64(11),
                              u32(12),
                              u64(13, kRepeated),
                              in(14, kVma, kRepeated),
                              i32(15, kOptional),
                              in(16, kAio, kRepeated),
                              flag(17)};
constexpr Schema kMm{"mm", kMmF};
constexpr FieldRule kPagemapHeadF[] = {u32(1)};
constexpr Schema kPagemapHead{"pagemap head", kPagemapHeadF};
constexpr FieldRule kPagemapF[] = {u64(1), u32(2), flag(3), u32(4), u64(5, kOptional)};
constexpr Schema kPagemap{"pagemap", kPagemapF};

// ---- files
constexpr FieldRule kFsF[] = {u32(1), u32(2), u32(3, kOptional)};
constexpr Schema kFs{"fs", kFsF};
constexpr FieldRule kFdinfoF[] = {u32(1), u32(2), u32(3), u32(4)};
constexpr Schema kFdinfo{"fdinfo", kFdinfoF};
constexpr FieldRule kFownF[] = {u32(1), u32(2), u32(3), u32(4), u32(5)};
constexpr Schema kFown{"file owner", kFownF};
constexpr FieldRule kRegF[] = {u32(1),
                               u32(2),
                               u64(3),
                               in(5, kFown),
                               text(6),
                               u64(7, kOptional),
                               u64(8, kOptional),
                               u32(10),
                               u32(11, kRepeated),
                               u32(12, kOptional),
                               u32(13, kOptional),
                               u32(14, kOptional)};
constexpr Schema kReg{"regular file", kRegF};
constexpr FieldRule kPipeF[] = {u32(1), u32(2), u32(3), in(4, kFown)};
constexpr Schema kPipe{"pipe", kPipeF};
constexpr FieldRule kFifoF[] = {u32(1), u32(2), u32(3, kOptional)};
constexpr Schema kFifo{"fifo", kFifoF};
constexpr FieldRule kEventfdF[] = {u32(1), u32(2), in(3, kFown), u64(4)};
constexpr Schema kEventfd{"eventfd", kEventfdF};
constexpr FieldRule kEpollTargetF[] = {
    u32(1), u32(2), u32(3), u64(4), u32(5, kOptional), u64(6, kOptional), u64(7, kOptional)};
constexpr Schema kEpollTarget{"epoll target", kEpollTargetF};
constexpr FieldRule kEpollF[] = {u32(1), u32(2), in(3, kFown), in(4, kEpollTarget, kRepeated)};
constexpr Schema kEpoll{"epoll", kEpollF};
constexpr FieldRule kSignalfdF[] = {u32(1), u32(2), in(3, kFown), u64(4)};
constexpr Schema kSignalfd{"signalfd", kSignalfdF};
constexpr FieldRule kTtyF[] = {u32(1), u32(2), u32(3), in(4, kFown), u32(6)};
constexpr Schema kTty{"terminal", kTtyF};
constexpr FieldRule kTimerfdF[] = {u32(1), u32(2), in(3, kFown), u32(4), u64(5),
                                   u32(6), u64(7), u64(8),       u64(9), u64(10)};
constexpr Schema kTimerfd{"timerfd", kTimerfdF};
constexpr FieldRule kHandleF[] = {u32(1), u32(2), u64(3, kRepeated), text(4, kOptional),
                                  u32(5, kOptional)};
constexpr Schema kHandle{"file handle", kHandleF};
constexpr FieldRule kWatchF[] = {u32(1), u64(2), u32(3), u32(4), u32(5), u32(6), in(7, kHandle)};
constexpr Schema kWatch{"inotify watch", kWatchF};
constexpr FieldRule kInotifyF[] = {u32(1), u32(2), in(4, kFown), in(5, kWatch, kRepeated)};
constexpr Schema kInotify{"inotify", kInotifyF};
constexpr FieldRule kMemfdFileF[] = {u32(1), u32(2), u64(3), in(4, kFown), u32(5)};
constexpr Schema kMemfdFile{"memfd", kMemfdFileF};
constexpr FieldRule kPidfdF[] = {u32(1), u64(2), u32(3), i32(4), in(5, kFown)};
constexpr Schema kPidfd{"pidfd", kPidfdF};

// ---- sockets. so_mark (10), so_bound_dev (15) and BPF filters (16) are not listed.
constexpr FieldRule kSocketOptionsF[] = {u32(1),
                                         u32(2),
                                         u64(3),
                                         u64(4),
                                         u64(5),
                                         u64(6),
                                         flag(7),
                                         u32(8, kOptional),
                                         u32(9, kOptional),
                                         flag(11),
                                         flag(12),
                                         flag(13),
                                         flag(14),
                                         flag(17),
                                         flag(18),
                                         flag(19),
                                         u32(20, kOptional),
                                         u32(21, kOptional),
                                         u32(22, kOptional),
                                         u32(23, kOptional),
                                         u32(24, kOptional),
                                         u32(25, kOptional)};
constexpr Schema kSocketOptions{"socket options", kSocketOptionsF};
constexpr FieldRule kIpOptionsF[] = {flag(1), flag(5), u32(6, kOptional), u32(7, kOptional)};
constexpr Schema kIpOptions{"ip options", kIpOptionsF};
constexpr FieldRule kTcpOptionsF[] = {flag(1), flag(2), u32(3, kOptional), u32(4, kOptional),
                                      u32(5, kOptional)};
constexpr Schema kTcpOptions{"tcp options", kTcpOptionsF};
constexpr FieldRule kInetF[] = {u32(1),
                                u32(2),
                                u32(3),
                                u32(4),
                                u32(5),
                                u32(6),
                                u32(7),
                                u32(8),
                                u32(9),
                                u32(10),
                                u32(11, kRepeated),
                                u32(12, kRepeated),
                                in(13, kFown),
                                in(14, kSocketOptions),
                                flag(15),
                                in(16, kIpOptions, kOptional),
                                u32(18, kOptional),
                                u32(19, kOptional),
                                in(20, kTcpOptions, kOptional)};
constexpr Schema kInet{"inet socket", kInetF};
constexpr FieldRule kUnixF[] = {u32(1),
                                u32(2),
                                u32(3),
                                u32(4),
                                u32(5),
                                u32(6),
                                u32(7),
                                u32(8),
                                in(9, kFown),
                                in(10, kSocketOptions),
                                raw(11),
                                u32(12, kOptional),
                                u32(16, kOptional),
                                u64(17, kOptional)};
constexpr Schema kUnix{"unix socket", kUnixF};
constexpr FieldRule kFileF[] = {u32(1),
                                u32(2),
                                in(3, kReg, kOptional),
                                in(4, kInet, kOptional),
                                in(8, kEventfd, kOptional),
                                in(9, kEpoll, kOptional),
                                in(10, kSignalfd, kOptional),
                                in(12, kTimerfd, kOptional),
                                in(13, kInotify, kOptional),
                                in(16, kUnix, kOptional),
                                in(17, kFifo, kOptional),
                                in(18, kPipe, kOptional),
                                in(19, kTty, kOptional),
                                in(20, kMemfdFile, kOptional),
                                in(22, kPidfd, kOptional)};
constexpr Schema kFile{"file", kFileF};

// ---- the rest
constexpr FieldRule kFilterF[] = {raw(1), u32(2, kOptional), u32(3, kOptional)};
constexpr Schema kFilter{"seccomp filter", kFilterF};
constexpr FieldRule kSeccompF[] = {in(1, kFilter, kRepeated)};
constexpr Schema kSeccomp{"seccomp", kSeccompF};
constexpr FieldRule kTimespecF[] = {u64(1), u64(2)};
constexpr Schema kTimespec{"timespec", kTimespecF};
constexpr FieldRule kTimensF[] = {in(1, kTimespec), in(2, kTimespec)};
constexpr Schema kTimens{"time namespace", kTimensF};
constexpr FieldRule kUtsnsF[] = {text(1), text(2)};
constexpr Schema kUtsns{"uts namespace", kUtsnsF};
constexpr FieldRule kIpcVarF[] = {u32(1, kRepeated),
                                  u32(2),
                                  u32(3),
                                  u32(4),
                                  u32(5),
                                  u64(6),
                                  u64(7),
                                  u32(8),
                                  u32(9),
                                  u32(10),
                                  u32(11),
                                  u32(12),
                                  u32(13, kOptional),
                                  u32(14, kOptional),
                                  i32(15, kOptional),
                                  i32(16, kOptional),
                                  i32(17, kOptional)};
constexpr Schema kIpcVar{"ipc settings", kIpcVarF};
constexpr FieldRule kFileLockF[] = {u32(1), u32(2), u32(3), u32(4), u64(5), u64(6)};
constexpr Schema kFileLock{"file lock", kFileLockF};
constexpr FieldRule kRemapF[] = {u32(1), u32(2), u32(3, kOptional)};
constexpr Schema kRemap{"remapped path", kRemapF};
constexpr FieldRule kTimevalF[] = {u64(1), u64(2)};
constexpr Schema kTimeval{"timeval", kTimevalF};
// rdev (6) and symlnk_target (11) are not listed: no devices, no links.
constexpr FieldRule kGhostF[] = {u32(1),
                                 u32(2),
                                 u32(3),
                                 u32(4, kOptional),
                                 u64(5, kOptional),
                                 in(7, kTimeval, kOptional),
                                 in(8, kTimeval, kOptional),
                                 flag(9),
                                 u64(10, kOptional)};
constexpr Schema kGhost{"unlinked file", kGhostF};
constexpr FieldRule kMemfdF[] = {
    text(1), u32(2), u32(3), u64(4), u32(5), u32(6), u64(7), u32(8, kOptional), u32(9, kOptional)};
constexpr Schema kMemfd{"memfd contents", kMemfdF};
constexpr FieldRule kPipeDataF[] = {u32(1), u32(2), u32(3, kOptional)};
constexpr Schema kPipeData{"pipe contents", kPipeDataF};
constexpr FieldRule kTermiosF[] = {u32(1), u32(2), u32(3), u32(4),
                                   u32(5), u32(6), u32(7), u32(8, kRepeated)};
constexpr Schema kTermios{"terminal modes", kTermiosF};
constexpr FieldRule kWinsizeF[] = {u32(1), u32(2), u32(3), u32(4)};
constexpr Schema kWinsize{"terminal size", kWinsizeF};
constexpr FieldRule kPtyF[] = {u32(1)};
constexpr Schema kPty{"terminal number", kPtyF};
constexpr FieldRule kTtyInfoF[] = {u32(1),
                                   u32(2),
                                   flag(3),
                                   flag(4),
                                   flag(5),
                                   u32(6),
                                   u32(7),
                                   u32(8),
                                   in(9, kTermios, kOptional),
                                   in(10, kTermios, kOptional),
                                   in(11, kWinsize, kOptional),
                                   in(12, kPty, kOptional),
                                   u32(13, kOptional),
                                   u32(14, kOptional),
                                   u32(15, kOptional)};
constexpr Schema kTtyInfo{"terminal state", kTtyInfoF};
constexpr FieldRule kTtyDataF[] = {u32(1), raw(2)};
constexpr Schema kTtyData{"terminal contents", kTtyDataF};
constexpr FieldRule kQueueF[] = {u32(1), u32(2)};  // scm (4): descriptors in flight are refused
constexpr Schema kQueue{"socket queue", kQueueF};

using enum RawBytes;
constexpr ImageRule kRules[] = {
    {ImageKind::kInventory, "inventory", 0, 0x58313116, kNone, 0, nullptr, &kInventory},
    {ImageKind::kPstree, "pstree", 0, 0x50273030, kNone, 0, nullptr, &kPstree},
    {ImageKind::kCore, "core-", 10, 0x55053847, kNone, 0, nullptr, &kCore},
    {ImageKind::kIds, "ids-", 10, 0x54432030, kNone, 0, nullptr, &kIds},
    {ImageKind::kMm, "mm-", 10, 0x57492820, kNone, 0, nullptr, &kMm},
    {ImageKind::kFs, "fs-", 10, 0x51403912, kNone, 0, nullptr, &kFs},
    {ImageKind::kFdinfo, "fdinfo-", 10, 0x56213732, kNone, 0, nullptr, &kFdinfo},
    {ImageKind::kFiles, "files", 0, 0x56303138, kNone, 0, nullptr, &kFile},
    {ImageKind::kShmemPagemap, "pagemap-shmem-", 10, 0x56084025, kNone, 0, &kPagemapHead,
     &kPagemap},
    {ImageKind::kPagemap, "pagemap-", 10, 0x56084025, kNone, 0, &kPagemapHead, &kPagemap},
    {ImageKind::kPages, "pages-", 10, 0, kAll, 0, nullptr, nullptr},
    {ImageKind::kSeccomp, "seccomp", 0, 0x64413049, kNone, 0, nullptr, &kSeccomp},
    {ImageKind::kTimens, "timens-", 10, 0x43114433, kNone, 0, nullptr, &kTimens},
    {ImageKind::kUtsns, "utsns-", 10, 0x54473203, kNone, 0, nullptr, &kUtsns},
    {ImageKind::kIpcVar, "ipcns-var-", 10, 0x53115007, kNone, 0, nullptr, &kIpcVar},
    {ImageKind::kRemap, "remap-fpath", 0, 0x59133954, kNone, 0, nullptr, &kRemap},
    {ImageKind::kGhost, "ghost-file-", 16, 0x52583605, kAfterOne, 0, nullptr, &kGhost},
    {ImageKind::kMemfd, "memfd", 0, 0x48453499, kNone, 0, nullptr, &kMemfd},
    {ImageKind::kPipesData, "pipes-data", 0, 0x56453709, kPerEntry, 2, nullptr, &kPipeData},
    {ImageKind::kFifoData, "fifo-data", 0, 0x59333054, kPerEntry, 2, nullptr, &kPipeData},
    {ImageKind::kSocketQueues, "sk-queues", 0, 0x56264026, kPerEntry, 2, nullptr, &kQueue},
    {ImageKind::kTtyInfo, "tty-info", 0, 0x59453036, kNone, 0, nullptr, &kTtyInfo},
    {ImageKind::kFileLocks, "filelocks", 0, 0x54323616, kNone, 0, nullptr, &kFileLock},
    {ImageKind::kTtyData, "tty-data", 0, 0x59413026, kNone, 0, nullptr, &kTtyData},
};

}  // namespace

std::optional<ImageName> image_of_name(std::string_view name) {
  constexpr std::string_view kSuffix = ".img";
  if (!name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  for (const ImageRule& rule : kRules) {
    if (rule.base == 0) {
      if (name == rule.prefix) return ImageName{&rule, 0};
      continue;
    }
    if (!name.starts_with(rule.prefix)) continue;
    const std::string_view digits = name.substr(rule.prefix.size());
    // One spelling for each number, so that no two images are the same one to CRIU.
    if (digits.empty() || (digits.size() > 1 && digits.front() == '0')) continue;
    std::uint64_t number = 0;
    const char* end = digits.data() + digits.size();
    const auto parsed = std::from_chars(digits.data(), end, number, rule.base);
    if (parsed.ec == std::errc{} && parsed.ptr == end) return ImageName{&rule, number};
  }
  return std::nullopt;
}

}  // namespace transfer::criu
