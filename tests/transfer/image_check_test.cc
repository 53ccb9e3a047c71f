// Checkpoints from a peer: design.md §6, last bullets. The set in vectors/criu/tree was written by
// CRIU 4.2.1: a process and its child in a pid, ipc and uts namespace of their own, as root, with a
// pipe (five bytes in it), an eventfd, an epoll, a memfd, /dev/null and a file. Its pages are left
// out and stand here as zeros.
#include "transfer/image_check.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "transfer/image_schema.h"
#include "transfer/protobuf.h"
#include "transfer/signal_actions.h"
#include "transfer/terminal_numbers.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;

// ---- a small writer, to make images and to change real ones

void put_varint(Bytes& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}
Bytes number(std::uint32_t field, std::uint64_t value) {
  Bytes out;
  put_varint(out, field << 3);
  put_varint(out, value);
  return out;
}
Bytes nested(std::uint32_t field, ByteView body) {
  Bytes out;
  put_varint(out, (field << 3) | 2);
  put_varint(out, body.size());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}
Bytes text(std::uint32_t field, std::string_view body) {
  return nested(field, base::as_bytes(body));
}
Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
Bytes encode(const protobuf::Field& field) {
  return field.type == protobuf::WireType::kBytes ? nested(field.number, field.bytes)
                                                  : number(field.number, field.value);
}
// `message` with every occurrence of `field` replaced by `with` (put at the end; empty: dropped).
Bytes replaced(ByteView message, std::uint32_t field, const Bytes& with) {
  Bytes out;
  protobuf::Reader reader(message);
  while (const auto found = reader.next()) {
    if (found->number != field) out = out + encode(*found);
  }
  EXPECT_FALSE(reader.failed());
  return out + with;
}
// The same below `path`: the fields that lead to the message to change.
Bytes changed(ByteView message, std::span<const std::uint32_t> path, std::uint32_t field,
              const Bytes& with) {
  if (path.empty()) return replaced(message, field, with);
  const Bytes inner = changed(protobuf::bytes_of(message, path[0]), path.subspan(1), field, with);
  return replaced(message, path[0], nested(path[0], inner));
}
Bytes entry(const Bytes& message) {
  Bytes out(4);
  base::put_le32(out, static_cast<std::uint32_t>(message.size()));
  return out + message;
}
Bytes magics(std::uint32_t magic) {
  Bytes out(8);
  base::put_le32(out, criu::kCommonMagic);
  base::put_le32(base::MutableByteView(out).subspan(4), magic);
  return out;
}

using Files = std::map<std::string, Bytes>;

ImageSet image_set(const Files& files, std::size_t chunk = 100) {
  ImageSet set;
  for (const auto& [name, bytes] : files) {
    Image& image = set[name];
    image.size = bytes.size();
    image.ended = true;
    for (std::size_t at = 0; at < bytes.size(); at += chunk) {
      Buffer buffer(std::min(chunk, bytes.size() - at));
      std::copy_n(bytes.begin() + static_cast<long>(at), buffer.size(),
                  buffer.mutable_view().begin());
      image.chunks.push_back(std::move(buffer));
    }
  }
  return set;
}

const Files& real() {
  static const Files files = [] {
    Files all;
    for (const auto& at :
         std::filesystem::directory_iterator(TERN_SOURCE_DIR "/tests/vectors/criu/tree")) {
      std::ifstream file(at.path(), std::ios::binary);
      all[at.path().filename()] = Bytes{std::istreambuf_iterator<char>(file), {}};
    }
    all["pages-1.img"] = Bytes(20480);
    all["pages-2.img"] = Bytes(20480);
    return all;
  }();
  return files;
}

CheckPolicy root_policy() {
  CheckPolicy policy;
  policy.allow_root = true;
  return policy;
}
CheckPolicy user_policy() {
  CheckPolicy policy;
  policy.uid = 1000;
  policy.gid = 100;
  policy.groups = {27};
  return policy;
}

Bytes user_creds() {
  Bytes creds;
  for (const std::uint32_t field : {1U, 3U, 5U, 7U}) creds = creds + number(field, 1000);
  for (const std::uint32_t field : {2U, 4U, 6U, 8U}) creds = creds + number(field, 100);
  for (const std::uint32_t field : {9U, 10U, 11U, 19U}) creds = creds + number(field, 0);
  return creds + number(12, 0xffffffff) + number(13, 0) + number(14, 27) + number(18, 1);
}

// Changes the only entry of an image that has both magics.
void change(Files& files, const std::string& name, std::vector<std::uint32_t> path,
            std::uint32_t field, const Bytes& with) {
  Bytes& image = files.at(name);
  const Bytes message = changed(ByteView(image).subspan(12), path, field, with);
  image.resize(8);
  image = image + entry(message);
}

// The real set, as if user 1000 had run it.
Files of_user() {
  Files files = real();
  for (const char* core : {"core-1.img", "core-2.img"}) {
    change(files, core, {5}, 10, nested(10, user_creds()));
    change(files, core, {5}, 3, number(3, 0));
  }
  Bytes& memfd = files.at("memfd.img");
  change(files, "memfd.img", {}, 2, number(2, 1000));
  change(files, "memfd.img", {}, 3, number(3, 100));
  (void)memfd;
  return files;
}

base::Result<ImageFacts> verdict(const Files& files, const CheckPolicy& policy) {
  return check_images(image_set(files), policy);
}

TEST(ImageCheck, ARealCheckpointPassesAndIsDescribed) {
  for (const std::size_t chunk : {1U, 7U, 65536U}) {
    const auto facts = check_images(image_set(real(), chunk), root_policy());
    ASSERT_TRUE(facts.ok()) << facts.error().detail;
    EXPECT_EQ(facts->pids, (std::vector<std::uint32_t>{1, 2}));
    EXPECT_EQ(facts->threads, 2U);
    EXPECT_EQ(facts->machine, 1U);
    EXPECT_EQ(facts->exes, (std::vector<std::string>{"/tmp/tr/tiny"}));
    EXPECT_EQ(facts->cwd, "/tmp/tr");
    EXPECT_EQ(facts->page_bytes, 40960U);
    EXPECT_TRUE(facts->ports.empty());
    const auto data = std::ranges::find(facts->files, "/tmp/tr/data.txt", &FileFact::path);
    ASSERT_NE(data, facts->files.end());
    EXPECT_EQ(data->size, 5U);
    EXPECT_FALSE(data->unlinked);
  }
}

TEST(SignalActions, AreToldInARealCheckpoint) {
  const Bytes& core = real().at("core-1.img");
  const auto actions = signal_actions(protobuf::bytes_of(ByteView(core).subspan(12), 3));
  EXPECT_EQ(actions.size(), 62U);  // but SIGKILL's and SIGSTOP's
  EXPECT_FALSE(actions.contains(9));
  EXPECT_FALSE(actions.contains(19));
}

TEST(ImageCheck, RootsCheckpointIsRefusedUnlessTheNodeTakesThem) {
  CheckPolicy policy = user_policy();
  EXPECT_EQ(verdict(real(), policy).error().code, Code::kRefused);
  policy.uid = 0;
  policy.gid = 0;
  EXPECT_EQ(verdict(real(), policy).error().code, Code::kRefused);
}

TEST(ImageCheck, AUsersCheckpointPasses) {
  const auto facts = verdict(of_user(), user_policy());
  EXPECT_TRUE(facts.ok()) << facts.error().detail;
}

TEST(ImageCheck, EveryCredentialMustBeTheUsers) {
  struct Row {
    const char* name;
    std::vector<std::uint32_t> path;
    std::uint32_t field;
    Bytes with;
  };
  std::vector<Row> rows;
  for (std::uint32_t field = 1; field <= 8; ++field) {
    rows.push_back({"an id of root", {5, 10}, field, number(field, 0)});
    rows.push_back({"an id of 33 bits", {5, 10}, field, number(field, 0x1000003e8)});
  }
  for (const std::uint32_t field : {9U, 10U, 11U, 19U}) {
    rows.push_back({"a capability", {5, 10}, field, number(field, 0) + number(field, 1)});
  }
  const std::vector<Row> more = {
      {"a foreign group", {5, 10}, 14, number(14, 27) + number(14, 0)},
      {"packed groups", {5, 10}, 14, nested(14, Bytes{0})},
      {"no no_new_privs", {5, 10}, 18, number(18, 0)},
      {"secure bits", {5, 10}, 13, number(13, 1)},
      {"an LSM profile", {5, 10}, 15, text(15, "unconfined")},
      {"AppArmor data", {5, 10}, 17, text(17, "x")},
      {"an id twice", {5, 10}, 1, number(1, 1000) + number(1, 1000)},
      {"an id left out", {5, 10}, 1, {}},
      {"no credentials", {5}, 10, {}},
      {"credentials twice", {5}, 10, nested(10, user_creds()) + nested(10, user_creds())},
      {"real-time priority", {5}, 4, number(4, 1)},
      {"raised priority", {5}, 3, number(3, 1)},
      {"spared by the OOM killer", {3}, 14, number(14, 0xffffffffffffff00)},
      {"another login", {3}, 13, number(13, 0)},
      {"unknown state", {3}, 1, number(1, 9)},
      {"ended root", {3}, 1, number(1, 2)},
      {"unknown field", {}, 60, number(60, 1)},
  };
  rows.insert(rows.end(), more.begin(), more.end());
  for (const Row& row : rows) {
    SCOPED_TRACE(std::string(row.name) + " " + std::to_string(row.field));
    Files files = of_user();
    change(files, "core-1.img", row.path, row.field, row.with);
    EXPECT_FALSE(verdict(files, user_policy()).ok());
    // The child's credentials count as well; its end does not matter.
    if (std::string_view(row.name) == "ended root") continue;
    files = of_user();
    change(files, "core-2.img", row.path, row.field, row.with);
    EXPECT_FALSE(verdict(files, user_policy()).ok());
  }
}

TEST(ImageCheck, WithoutNoNewPrivsTheBoundingSetMustBeEmpty) {
  Files files = of_user();
  for (const char* core : {"core-1.img", "core-2.img"}) {
    change(files, core, {5, 10}, 18, {});
    change(files, core, {5, 10}, 12, number(12, 0));
  }
  EXPECT_TRUE(verdict(files, user_policy()).ok());
}

TEST(ImageCheck, OnlyListedImagesPass) {
  for (const char* name : {"mountpoints-12.img",
                           "netdev-9.img",
                           "ifaddr-9.img",
                           "route-9.img",
                           "route6-9.img",
                           "rule-9.img",
                           "iptables-9.img",
                           "ip6tables-9.img",
                           "nftables-9.img",
                           "netns-9.img",
                           "tunfile.img",
                           "cgroup.img",
                           "userns-7.img",
                           "pidns-9.img",
                           "apparmor.img",
                           "bpfmap-data.img",
                           "tmpfs-3.tar.gz",
                           "creds-1.img",
                           "reg-files.img",
                           "tcp-stream-1f.img",
                           "ipcns-shm-10.img",
                           "stats-dump",
                           "core-01.img",
                           "core-.img",
                           "core-1.img.img",
                           "core-18446744073709551616.img",
                           "nonsense"}) {
    SCOPED_TRACE(name);
    Files files = real();
    files[name] = magics(0x55053847);
    EXPECT_EQ(verdict(files, root_policy()).error().code, Code::kRefused);
  }
}

TEST(ImageCheck, EveryImageOfTheSetIsNeededOrHarmless) {
  for (const auto& [name, bytes] : real()) {
    SCOPED_TRACE(name);
    Files files = real();
    files.erase(name);
    const bool harmless = name.starts_with("ipcns") || name.starts_with("utsns") ||
                          name.starts_with("timens") || name.starts_with("fdinfo") ||
                          name == "memfd.img" || name == "pipes-data.img" ||
                          name == "seccomp.img" || name.starts_with("pagemap");
    if (!harmless) {
      EXPECT_FALSE(verdict(files, root_policy()).ok());
    }
    if (name.starts_with("pagemap")) {  // its pages are then of nobody
      EXPECT_FALSE(verdict(files, root_policy()).ok());
    }
  }
}

// files.img with one more file.
Files with_file(const Bytes& file) {
  Files files = real();
  files.at("files.img") = files.at("files.img") + entry(file);
  return files;
}
Bytes fown() { return number(1, 0) + number(2, 0) + number(3, 0) + number(4, 0) + number(5, 0); }
Bytes reg(std::string_view path, std::uint32_t mode, const Bytes& more = {}) {
  return number(1, 1) + number(2, 900) +
         nested(3, number(1, 900) + number(2, 2) + number(3, 0) + nested(5, fown()) +
                       text(6, path) + number(10, mode) + more);
}
Bytes socket_options() {
  Bytes out;
  for (std::uint32_t field = 1; field <= 6; ++field) out = out + number(field, 0);
  return out;
}
Bytes unix_socket(std::string_view name, std::uint32_t peer, std::uint32_t uflags) {
  return number(1, 5) + number(2, 901) +
         nested(16, number(1, 901) + number(2, 77) + number(3, 1) + number(4, 10) + number(5, 0) +
                        number(6, uflags) + number(7, 0) + number(8, peer) + nested(9, fown()) +
                        nested(10, socket_options()) + text(11, name));
}
Bytes inet(std::uint32_t type, std::uint32_t state, std::uint32_t port) {
  return number(1, 4) + number(2, 902) +
         nested(4, number(1, 902) + number(2, 78) + number(3, 2) + number(4, type) + number(5, 6) +
                       number(6, state) + number(7, port) + number(8, 0) + number(9, 0) +
                       number(10, 5) + nested(13, fown()) + nested(14, socket_options()));
}

Bytes inotify(std::string_view path) {
  const Bytes handle = number(1, 8) + number(2, 1) + number(3, 77) + text(4, path);
  return number(1, 8) + number(2, 904) +
         nested(13, number(1, 904) + number(2, 0) + nested(4, fown()) +
                        nested(5, number(1, 904) + number(2, 77) + number(3, 2) + number(4, 5) +
                                      number(5, 1) + number(6, 0) + nested(7, handle)));
}

Bytes pidfd(std::uint64_t pid) {
  return number(1, 20) + number(2, 903) +
         nested(22, number(1, 903) + number(2, 77) + number(3, 02000000) + number(4, pid) +
                        nested(5, fown()));
}

TEST(ImageCheck, FilesByTheirKindAndPath) {
  struct Row {
    const char* name;
    Bytes file;
    bool passes;
  };
  const Row rows[] = {
      {"plain", reg("/home/a/x", 0100644), true},
      {"folder", reg("/home/a", 0040755), true},
      {"null", reg("/dev/null", 0020666), true},
      {"shared memory", reg("/dev/shm/x", 0100600), true},
      {"disk", reg("/dev/sda", 0060660), false},
      {"disk as a device", reg("/dev/sda", 0020660), false},
      {"disk as a file", reg("/dev/sda", 0100660), false},
      {"memory", reg("/dev/mem", 0020640), false},
      {"relative", reg("home/a/x", 0100644), false},
      {"upwards", reg("/home/../etc/shadow", 0100644), false},
      {"doubled slash", reg("//etc/shadow", 0100644), false},
      {"trailing slash", reg("/etc/", 0040755), false},
      {"empty", reg("", 0100644), false},
      {"zero byte", reg(std::string_view("/a\0b", 4), 0100644), false},
      {"proc", reg("/proc/1/mem", 0100644), false},
      {"sys", reg("/sys/kernel/x", 0100644), false},
      {"proc's neighbour", reg("/process", 0100644), true},
      {"external", reg("/x", 0100644, number(9, 1)), false},
      {"no mode", number(1, 1) + number(2, 900), false},
      {"socket on disk", reg("/x", 0140644), false},
      {"abstract unix", unix_socket(std::string_view("\0x", 2), 0, 0), true},
      {"unnamed unix to itself", unix_socket("", 77, 0), true},
      {"unix on a path", unix_socket("/run/x", 0, 0), false},
      {"unix to the outside", unix_socket("", 5, 0), false},
      {"external unix", unix_socket("", 0, 1), false},
      {"listening", inet(1, 10, 8080), true},
      {"datagrams", inet(2, 7, 53), true},
      {"a connection without its stream", inet(1, 1, 8080), true},
      {"no state", inet(1, 0, 8080), false},
      {"an unknown state", inet(1, 14, 8080), false},
      {"raw", inet(3, 7, 0), false},
      {"a watch", inotify("home/a"), true},
      {"a watch without a path", inotify(""), false},
      {"a watch on proc", inotify("proc/1"), false},
      {"a watch upwards", inotify("home/../etc"), false},
      {"a process", pidfd(2), true},
      {"a process that has ended", pidfd(UINT64_MAX), true},
      {"no process", pidfd(0), false},
      {"a group of processes", pidfd(static_cast<std::uint64_t>(-7)), false},
      {"an id twice", number(1, 1) + number(2, 1) + nested(3, number(1, 1)), false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const auto facts = verdict(with_file(row.file), root_policy());
    EXPECT_EQ(facts.ok(), row.passes) << (facts.ok() ? "" : facts.error().detail);
  }
  for (const std::uint64_t type : {0U, 10U, 11U, 12U, 13U, 14U, 15U, 16U, 19U, 20U, 21U, 65535U}) {
    SCOPED_TRACE(type);
    EXPECT_FALSE(verdict(with_file(number(1, type) + number(2, 903)), root_policy()).ok());
  }
  const auto facts = verdict(with_file(inet(1, 10, 8080)), root_policy());
  ASSERT_EQ(facts->ports.size(), 1U);
  EXPECT_EQ(facts->ports[0].port, 8080U);
  // Nothing is bound for a connection.
  EXPECT_TRUE(verdict(with_file(inet(1, 1, 8080)), root_policy())->ports.empty());
}

// What the job watches its user must be able to open here.
TEST(ImageCheck, WatchesAreFactsLikeFiles) {
  const auto facts = verdict(with_file(inotify("home/a")), root_policy());
  ASSERT_TRUE(facts.ok());
  const bool told = std::any_of(facts->files.begin(), facts->files.end(),
                                [](const FileFact& file) { return file.path == "/home/a"; });
  EXPECT_TRUE(told);
}

TEST(ImageCheck, LocksAreOnFilesThatAProcessHasOpen) {
  struct Lock {
    const char* name = "";
    std::uint64_t kind = 2;
    std::uint64_t type = 1;
    std::uint64_t pid = 1;
    std::uint64_t fd = 0;
    std::uint64_t start = 0;
    std::uint64_t length = 0;
  };
  const auto seen = [](const Lock& lock) {
    Files files = real();
    files["filelocks.img"] =
        magics(0x54323616) +
        entry(number(1, lock.kind) + number(2, lock.type) + number(3, lock.pid) +
              number(4, lock.fd) + number(5, lock.start) + number(6, lock.length));
    return verdict(files, root_policy());
  };
  Lock good;
  while (good.fd < 64 && !seen(good).ok()) ++good.fd;
  const auto facts = seen(good);
  ASSERT_TRUE(facts.ok()) << "process 1 has no file open";
  ASSERT_EQ(facts->locks.size(), 1U);
  EXPECT_EQ(facts->locks[0].kind, LockFact::Kind::kFlock);
  EXPECT_TRUE(facts->locks[0].write);
  EXPECT_LT(facts->locks[0].file, facts->files.size());
  const std::uint64_t fd = good.fd;
  for (const Lock& lock :
       {Lock{"of a process", 1, 0, 1, fd, 5, 10}, Lock{"of a file", 4, 1, 1, fd},
        Lock{"shared", 2, 0, 1, fd}, Lock{"longest", 1, 1, 1, fd, 1, INT64_MAX - 1}}) {
    SCOPED_TRACE(lock.name);
    EXPECT_TRUE(seen(lock).ok()) << seen(lock).error().detail;
  }
  for (const Lock& lock :
       {Lock{"lease", 8, 1, 1, fd}, Lock{"mandatory", 34, 1, 1, fd}, Lock{"none", 0, 1, 1, fd},
        Lock{"unlock", 2, 2, 1, fd}, Lock{"stranger", 2, 1, 4711, fd},
        Lock{"not open", 2, 1, 1, 99}, Lock{"beyond", 1, 1, 1, fd, std::uint64_t{1} << 63, 0},
        Lock{"too long", 1, 1, 1, fd, 2, INT64_MAX - 1}}) {
    SCOPED_TRACE(lock.name);
    EXPECT_FALSE(seen(lock).ok());
  }
}

// A set within all limits that would take minutes if each process, or each lock, had to look
// through the table of descriptors that they share.
TEST(ImageCheck, ATableThatManyShareIsLookedThroughOnce) {
  constexpr std::uint32_t kProcesses = 2000;
  constexpr std::uint32_t kDescriptors = 65536;
  constexpr std::uint32_t kLocks = 65536;
  Files files = with_file(reg("/home/a", 0100644));
  Bytes& table = files["fdinfo-77.img"];
  table = Bytes(files.at("fdinfo-2.img").begin(), files.at("fdinfo-2.img").begin() + 8);
  for (std::uint32_t at = 0; at < kDescriptors; ++at) {
    const Bytes one = entry(number(1, 900) + number(2, 0) + number(3, 1) + number(4, at));
    table.insert(table.end(), one.begin(), one.end());
  }
  Bytes& tree = files.at("pstree.img");
  change(files, "ids-2.img", {}, 2, number(2, 77));
  files.erase("fdinfo-3.img");
  for (std::uint32_t pid = 3; pid < kProcesses; ++pid) {
    for (const std::string kind : {"core-", "ids-", "mm-", "fs-"}) {
      files[kind + std::to_string(pid) + ".img"] = files.at(kind + "2.img");
    }
    const Bytes process = entry(number(1, pid) + number(2, 1) + number(3, 1) + number(4, 1));
    tree.insert(tree.end(), process.begin(), process.end());
  }
  Bytes& locks = files["filelocks.img"];
  locks = magics(0x54323616);
  for (std::uint32_t at = 0; at < kLocks; ++at) {
    const Bytes lock = entry(number(1, 1) + number(2, 0) + number(3, 2 + at % (kProcesses - 2)) +
                             number(4, kDescriptors - 1) + number(5, at) + number(6, 1));
    locks.insert(locks.end(), lock.begin(), lock.end());
  }
  const auto facts = check_images(image_set(files, 65536), root_policy());
  ASSERT_TRUE(facts.ok()) << facts.error().detail;
  EXPECT_EQ(facts->pids.size(), kProcesses - 1);
  ASSERT_EQ(facts->locks.size(), kLocks);
  EXPECT_EQ(facts->files.at(facts->locks.back().file).path, "/home/a");
  EXPECT_EQ(facts->exes.size(), 1U);
}

// A job's own terminal: the two ends in files.img, their files in /dev, their state.
struct Tty {
  std::uint64_t driver = 1;
  std::uint64_t device = 0x502;
  std::uint64_t number = 9;
  std::string path = "/dev/ptmx";
  std::uint64_t uid = 0;
  std::uint64_t gid = 0;
};
Files with_terminals(const std::vector<Tty>& ends, Files files = real()) {
  Bytes state = magics(0x59453036);
  std::uint32_t id = 910;
  for (const Tty& end : ends) {
    files.at("files.img") =
        files.at("files.img") +
        entry(number(1, 1) + number(2, id) +
              nested(3, number(1, id) + number(2, 2) + number(3, 0) + nested(5, fown()) +
                            text(6, end.path) + number(10, 0020620))) +
        entry(number(1, 11) + number(2, id + 1) +
              nested(19, number(1, id + 1) + number(2, id) + number(3, 2) + nested(4, fown()) +
                             number(6, id)));
    Bytes info = number(1, id) + number(2, end.driver) + number(3, 0) + number(4, 0) +
                 number(5, 0) + number(6, 1) + number(7, 2) + number(8, end.device);
    if (end.driver == 1) info = info + nested(12, number(1, end.number));
    state = state + entry(info + number(13, 6) + number(14, end.uid) + number(15, end.gid));
    id += 2;
  }
  files["tty-info.img"] = state;
  files["tty-data.img"] = magics(0x59413026) + entry(number(1, 910) + text(2, "typed"));
  return files;
}

TEST(ImageCheck, TerminalsAreTheJobsOwn) {
  const Tty master;
  const Tty slave{1, (136 << 8) + 9, 9, "/dev/pts/9"};
  struct Row {
    const char* name;
    std::vector<Tty> ends;
    bool passes;
  };
  const Row rows[] = {
      {"a pair", {master, slave}, true},
      {"/dev/tty", {master, slave, {4, 0x500, 0, "/dev/tty"}}, false},
      {"a master alone", {master}, true},
      {"a slave alone", {slave}, false},
      {"another's slave", {master, {1, (136 << 8) + 3, 3, "/dev/pts/3"}}, false},
      {"under another's name", {master, {1, (136 << 8) + 9, 9, "/dev/pts/3"}}, false},
      {"a disk's name", {{1, 0x502, 9, "/dev/sda"}, slave}, false},
      {"of another device", {master, {1, (8 << 8) + 9, 9, "/dev/pts/9"}}, false},
      {"a number that CRIU cannot make", {{1, 0x502, 32, "/dev/ptmx"}}, false},
      {"twice", {master, master, slave}, false},
      {"a console", {{2, 0x501, 0, "/dev/console"}}, false},
      {"a virtual terminal", {{3, 0x401, 0, "/dev/tty1"}}, false},
      {"an external one", {{5, (136 << 8) + 9, 0, "/dev/pts/9"}}, false},
      {"a serial line", {{6, 0x440, 0, "/dev/ttyS0"}}, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const auto facts = verdict(with_terminals(row.ends), root_policy());
    EXPECT_EQ(facts.ok(), row.passes) << (facts.ok() ? "" : facts.error().detail);
  }
  const auto of_users = [&](std::uint64_t uid, std::uint64_t gid, std::uint64_t group) {
    return verdict(with_terminals({{1, 0x502, 9, "/dev/ptmx", 0, group},
                                   {1, (136 << 8) + 9, 9, "/dev/pts/9", uid, gid}},
                                  of_user()),
                   user_policy())
        .ok();
  };
  EXPECT_TRUE(of_users(1000, 100, 0));
  EXPECT_TRUE(of_users(1000, 100, 5));
  EXPECT_FALSE(of_users(1000, 100, 42)) << "nobody changes whose /dev/ptmx is";
  EXPECT_FALSE(of_users(0, 100, 0));
  EXPECT_FALSE(of_users(1000, 5, 0));
  Files stateless = with_terminals({master, slave});
  stateless.erase("tty-info.img");
  EXPECT_FALSE(verdict(stateless, root_policy()).ok());
  // Nobody may have the file of a terminal open as a file: it would be somebody else's here.
  Files opened = with_terminals({master, slave});
  for (auto& [name, bytes] : opened) {
    if (!name.starts_with("fdinfo")) continue;
    bytes = bytes + entry(number(1, 912) + number(2, 0) + number(3, 1) + number(4, 77));
  }
  EXPECT_FALSE(verdict(opened, root_policy()).ok());
}

TEST(ImageCheck, ATerminalGetsAnotherNumberAndNothingElseChanges) {
  const auto pair_of = [](std::uint64_t number) {
    return with_terminals({{1, 0x502, number, "/dev/ptmx"},
                           {1, (136 << 8) + number, number, "/dev/pts/" + std::to_string(number)}});
  };
  for (const std::size_t chunk : {1U, 7U, 100'000U}) {
    ImageSet images = image_set(pair_of(9), chunk);
    EXPECT_EQ(terminal_numbers(images), (std::set<std::uint32_t>{9}));
    renumber_terminals(images, {{9, 30}, {8, 1}});
    EXPECT_EQ(terminal_numbers(images), (std::set<std::uint32_t>{30}));
    const Files wanted = pair_of(30);
    for (const auto& [name, image] : images) {
      SCOPED_TRACE(name);
      auto bytes = image_contents(image, 1 << 20);
      ASSERT_TRUE(bytes.ok());
      EXPECT_EQ(*bytes, wanted.at(name));
      EXPECT_EQ(image.size, bytes->size());
    }
  }
  ImageSet none = image_set(real());
  EXPECT_TRUE(terminal_numbers(none).empty());
  renumber_terminals(none, {{9, 30}});
  auto files = image_contents(none.at("files.img"), 1 << 20);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(*files, real().at("files.img"));
}

TEST(ImageCheck, UnlinkedFilesArePlainAndTheUsers) {
  const auto with_ghost = [](std::uint32_t mode, std::uint32_t uid, const Bytes& more,
                             std::uint32_t type = 1) {
    Files files = of_user();
    files.at("files.img") = files.at("files.img") + entry(reg("/home/a/gone", 0100644));
    files["remap-fpath.img"] =
        magics(0x59133954) + entry(number(1, 900) + number(2, 31) + number(3, type));
    files["ghost-file-1f.img"] = magics(0x52583605) +
                                 entry(number(1, uid) + number(2, 100) + number(3, mode) + more) +
                                 Bytes(9000, 5);
    return files;
  };
  const auto facts = verdict(with_ghost(0100600, 1000, {}), user_policy());
  ASSERT_TRUE(facts.ok()) << facts.error().detail;
  EXPECT_TRUE(std::ranges::find(facts->files, "/home/a/gone", &FileFact::path)->unlinked);
  EXPECT_FALSE(verdict(with_ghost(0100600, 0, {}), user_policy()).ok());
  EXPECT_FALSE(verdict(with_ghost(0104755, 1000, {}), user_policy()).ok());
  EXPECT_FALSE(verdict(with_ghost(0060600, 1000, number(6, 0x800)), user_policy()).ok());
  EXPECT_FALSE(verdict(with_ghost(0120777, 1000, text(11, "/etc/x")), user_policy()).ok());
  EXPECT_FALSE(verdict(with_ghost(0100600, 1000, {}, 0), user_policy()).ok());  // linked elsewhere
  EXPECT_FALSE(verdict(with_ghost(0100600, 1000, {}, 2), user_policy()).ok());  // below /proc
}

TEST(ImageCheck, NamespacesAreTheExpectedOnes) {
  for (const std::uint32_t field : {5U, 6U, 9U, 10U, 11U}) {
    SCOPED_TRACE(field);
    Files files = real();
    change(files, "ids-1.img", {}, field, number(field, field == 5 ? 1 : 99));
    EXPECT_EQ(verdict(files, root_policy()).error().code, Code::kRefused);
  }
  Files nested_pids = real();
  change(nested_pids, "ids-2.img", {}, 5, number(5, 99));
  EXPECT_FALSE(verdict(nested_pids, root_policy()).ok());
  CheckPolicy adopted = root_policy();
  adopted.own_pid_namespace = false;
  EXPECT_FALSE(verdict(real(), adopted).ok());
}

// Only PID 1 has another root folder than the machine's, and that is its own (init_root.h).
TEST(ImageCheck, InitsRootFolderIsTheExpectedOne) {
  CheckPolicy policy = root_policy();
  policy.init_root = "/tmp/tr";
  // Their working folder, /tmp/tr, becomes their root folder too.
  const auto move_into = [](Files& files, const std::string& name) {
    const std::uint64_t folder = protobuf::number_of(ByteView(files.at(name)).subspan(12), 1);
    change(files, name, {}, 2, number(2, folder));
  };
  EXPECT_EQ(verdict(real(), policy).error().code, Code::kRefused) << "init is not in its root";
  Files init_only = real();
  move_into(init_only, "fs-1.img");
  const auto facts = verdict(init_only, policy);
  EXPECT_TRUE(facts.ok()) << facts.error().detail;
  EXPECT_EQ(verdict(init_only, root_policy()).error().code, Code::kRefused);
  policy.init_root = "/tmp/tr/other";
  EXPECT_EQ(verdict(init_only, policy).error().code, Code::kRefused);
  policy.init_root = "/tmp/tr";
  Files both = init_only;
  move_into(both, "fs-2.img");
  EXPECT_EQ(verdict(both, policy).error().code, Code::kRefused);
}

TEST(ImageCheck, TreesAreTrees) {
  const auto task = [](std::uint32_t pid, std::uint32_t parent) {
    return entry(number(1, pid) + number(2, parent) + number(3, 1) + number(4, 1) + number(5, pid));
  };
  const std::vector<std::vector<std::pair<std::uint32_t, std::uint32_t>>> bad = {
      {},
      {{1, 0}},
      {{1, 0}, {2, 2}},
      {{1, 0}, {2, 0}},
      {{2, 0}, {1, 2}},
      {{1, 0}, {2, 1}, {2, 1}},
      {{1, 0}, {2, 1}, {3, 1}},
      {{0, 0}},
  };
  for (std::size_t i = 0; i < bad.size(); ++i) {
    SCOPED_TRACE(i);
    Files files = real();
    files.at("pstree.img") = magics(0x50273030);
    for (const auto& [pid, parent] : bad[i]) {
      files.at("pstree.img") = files.at("pstree.img") + task(pid, parent);
    }
    EXPECT_FALSE(verdict(files, root_policy()).ok());
  }
}

TEST(ImageCheck, PagesAreComplete) {
  Files files = real();
  files.at("pages-1.img").pop_back();
  EXPECT_FALSE(verdict(files, root_policy()).ok());
  files = real();
  files["pages-3.img"] = Bytes(4096);
  EXPECT_FALSE(verdict(files, root_policy()).ok());
  files = real();
  files.at("pagemap-1.img") =
      magics(0x56084025) + entry(number(1, 1)) + entry(number(1, 0) + number(2, 5) + number(4, 1));
  EXPECT_EQ(verdict(files, root_policy()).error().code, Code::kRefused);  // of a parent
}

TEST(ImageCheck, DamageIsRefusedOrHarmless) {
  // No crash, no endless loop; truncation of a structured image is never taken for the whole.
  for (const auto& [name, bytes] : real()) {
    if (name.starts_with("pages-")) continue;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      Files files = real();
      files.at(name)[at] ^= 0x40;
      (void)verdict(files, user_policy());
      (void)verdict(files, root_policy());
    }
    for (std::size_t size = 0; size < std::min<std::size_t>(bytes.size(), 12); ++size) {
      Files files = real();
      files.at(name).resize(size);
      SCOPED_TRACE(name + " cut to " + std::to_string(size));
      const bool empty_list = size == 8 && (name.starts_with("fdinfo") || name == "memfd.img" ||
                                            name == "pipes-data.img");
      if (!empty_list && !name.starts_with("fdinfo")) {
        EXPECT_FALSE(verdict(files, root_policy()).ok());
      }
    }
    Files files = real();
    files.at(name).pop_back();
    SCOPED_TRACE(name);
    EXPECT_FALSE(verdict(files, root_policy()).ok());
  }
}

TEST(Protobuf, RefusesWhatTwoReadersCouldTakeDifferently) {
  using namespace protobuf;
  static constexpr FieldRule kInnerF[] = {{1, Kind::kText, Count::kOptional, nullptr}};
  static constexpr Schema kInner{"inner", kInnerF};
  static constexpr FieldRule kOuterF[] = {
      {1, Kind::kU32, Count::kRequired, nullptr}, {2, Kind::kMessage, Count::kOptional, &kInner},
      {3, Kind::kU32, Count::kRepeated, nullptr}, {4, Kind::kBool, Count::kOptional, nullptr},
      {5, Kind::kI32, Count::kOptional, nullptr}, {6, Kind::kFixed64, Count::kOptional, nullptr}};
  static constexpr Schema kOuter{"outer", kOuterF};
  struct Row {
    const char* name;
    Bytes message;
    bool passes;
  };
  const Row rows[] = {
      {"least", number(1, 5), true},
      {"all",
       number(1, UINT32_MAX) + nested(2, text(1, "x")) + number(3, 1) + number(3, 2) +
           number(4, 1) + number(5, UINT64_MAX),
       true},
      {"missing", number(3, 1), false},
      {"twice", number(1, 5) + number(1, 5), false},
      {"too wide", number(1, 0x100000000), false},
      {"no bool", number(1, 5) + number(4, 2), false},
      {"no int32", number(1, 5) + number(5, 0xffffffff00000000), false},
      {"unknown", number(1, 5) + number(7, 1), false},
      {"packed", number(1, 5) + nested(3, Bytes{1, 2}), false},
      {"mistyped", nested(1, {}), false},
      {"zero in text", number(1, 5) + nested(2, nested(1, Bytes{'a', 0})), false},
      {"unknown inside", number(1, 5) + nested(2, number(2, 1)), false},
      {"cut inside", number(1, 5) + nested(2, Bytes{0x0a, 5, 'x'}), false},
      {"group", number(1, 5) + Bytes{0x1b, 0x1c}, false},
      {"field 0", number(1, 5) + Bytes{0x00, 0x01}, false},
      {"long tag", Bytes{0x88, 0x80, 0x80, 0x80, 0x80, 0x00, 5}, false},
      {"padded tag", Bytes{0x88, 0x80, 0x80, 0x80, 0x00, 5}, true},
      {"over 64 bits", Bytes{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, false},
      {"endless number", Bytes{0x08, 0x80, 0x80}, false},
      {"huge size",
       number(1, 5) + Bytes{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, false},
      {"short fixed", number(1, 5) + Bytes{0x31, 1, 2, 3}, false},
      {"fixed", number(1, 5) + Bytes{0x31, 1, 2, 3, 4, 5, 6, 7, 8}, true},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(check(row.message, kOuter).ok(), row.passes);
  }
}

}  // namespace
}  // namespace transfer
