// Recorded process trees, whole and damaged: who would become a job, and what stands in the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "machine/adopt_look.h"
#include "machine/adopt_tree.h"

namespace machine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Recorded {
  pid_t pid;
  pid_t parent;
  pid_t group;
  pid_t session;
  std::string name = "work";
  std::uint32_t uid = 1000;
  std::string cgroup = "/user.slice";
  char state = 'S';
  std::uint64_t flags = 0;
  std::string inner = {};  // further numbers of NSpid
};

class AdoptTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/tern-adopt-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    proc_ = pattern;
    add({1, 0, 1, 1, "init", 0, "/"});
    add({100, 1, 100, 100, "bash"});
    add({4711, 100, 4711, 100, "encode"});
    add({4712, 4711, 4711, 100, "helper (x)"});
    add({4713, 4712, 4711, 100});
  }
  void TearDown() override { std::filesystem::remove_all(proc_); }
  void write(pid_t pid, const std::string& name, const std::string& text) {
    const std::string folder = proc_ + "/" + std::to_string(pid);
    std::filesystem::create_directories(folder + "/task/" + std::to_string(pid));
    std::ofstream(folder + "/" + name) << text;
  }
  void add(const Recorded& r) {
    const std::string pid = std::to_string(r.pid);
    std::string stat = pid + " (" + r.name + ") " + r.state + " " + std::to_string(r.parent) + " " +
                       std::to_string(r.group) + " " + std::to_string(r.session) + " 0 -1 " +
                       std::to_string(r.flags);
    for (int field = 10; field < 22; ++field) stat += " 0";
    write(r.pid, "stat", stat + " 12345 0 0\n");
    const std::string uid = std::to_string(r.uid);
    const std::string four = uid + "\t" + uid + "\t" + uid + "\t" + uid + "\n";
    write(r.pid, "status",
          "Name:\t" + r.name + "\nState:\t" + r.state + " (sleeping)\nTgid:\t" + pid + "\nPPid:\t" +
              std::to_string(r.parent) + "\nUid:\t" + four + "Gid:\t" + four + "Groups:\t" + uid +
              " \nNSpid:\t" + pid + r.inner + "\nVmRSS:\t    1024 kB\nThreads:\t1\n");
    write(r.pid, "cgroup", "1:cpu:/other\n0::" + r.cgroup + "\n");
  }
  [[nodiscard]] ProcessTree tree(pid_t root = 4711) {
    auto read = read_tree(proc_, root);
    EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.error().detail);
    return read.ok() ? std::move(*read) : ProcessTree{};
  }
  [[nodiscard]] std::vector<std::string> obstacles(pid_t root = 4711, uid_t uid = 1000) {
    return tree_obstacles(tree(root), {uid, {900, 901}});
  }
  std::string proc_;
};

TEST_F(AdoptTest, TheDescendantsComeAlongEachAfterItsParent) {
  const ProcessTree found = tree();
  EXPECT_THAT(found.pids(), ElementsAre(4711, 4712, 4713));
  EXPECT_EQ(found.processes[1].relatives.name, "helper (x)");
  EXPECT_EQ(found.parent_name, "bash");
  EXPECT_EQ(found.rss_bytes(), 3 << 20);
  EXPECT_EQ(found.root().cgroup, "/user.slice");
  EXPECT_EQ(found.root().relatives.start_ticks, 12345U);
  EXPECT_TRUE(found.of_a_shell());
  EXPECT_THAT(found.numbers(), ElementsAre(100, 4711, 4712, 4713));
  EXPECT_THAT(obstacles(), IsEmpty());
  add({5000, 1, 5000, 5000, "daemon"});
  EXPECT_FALSE(tree(5000).of_a_shell());
}

TEST_F(AdoptTest, WhoIsNotThereOrTooManyIsAnError) {
  EXPECT_EQ(read_tree(proc_, 4242).error().code, base::Code::kNotFound);
  for (pid_t pid = 10000; pid <= 10000 + static_cast<pid_t>(kAdoptedMax); ++pid) {
    add({pid, 4713, 4711, 100});
  }
  const auto bomb = read_tree(proc_, 4711);
  ASSERT_FALSE(bomb.ok());
  EXPECT_EQ(bomb.error().code, base::Code::kTooLarge);
  EXPECT_THAT(bomb.error().detail, HasSubstr("encode (4711) has more than 512 descendants"));
}

// Parents are read one after another: what changes meanwhile may look like a circle.
TEST_F(AdoptTest, ACircleOfParentsEnds) {
  add({4711, 4713, 4711, 100, "encode"});
  EXPECT_THAT(tree().pids(), ElementsAre(4711, 4712, 4713));
}

TEST_F(AdoptTest, AProcessThatEndsMeanwhileIsLeftOut) {
  std::filesystem::remove(proc_ + "/4712/status");
  EXPECT_THAT(tree().pids(), ElementsAre(4711));
  write(4713, "stat", "4713 (cut o");
  EXPECT_THAT(tree().pids(), ElementsAre(4711));
}

TEST_F(AdoptTest, WhoseItIsComesFirstAndAlone) {
  EXPECT_THAT(obstacles(4711, 1001),
              ElementsAre("encode (4711) is another user's; only root can adopt it"));
  EXPECT_THAT(obstacles(4711, 0), IsEmpty());
  add({4713, 4712, 4711, 100, "sudo", 0});
  EXPECT_THAT(obstacles(), ElementsAre("encode (4711) has descendants of another user; only root "
                                       "can adopt it"));
  EXPECT_THAT(obstacles(4711, 0), ElementsAre(HasSubstr("sudo (4713) runs as several users")));
}

// ptrace(2), "Ptrace access mode checking": whoever adopts may send its memory to a node of hers.
TEST_F(AdoptTest, WhatAUserMayNotLookIntoOnlyRootAdopts) {
  const std::string status = proc_ + "/4712/status";
  std::ofstream(status, std::ios::app) << "CapPrm:\t0000000000000000\n";
  EXPECT_THAT(obstacles(), IsEmpty());
  add({4712, 4711, 4711, 100, "ping"});
  std::ofstream(status, std::ios::app) << "CapPrm:\t0000000000002000\n";
  EXPECT_THAT(obstacles(), ElementsAre(HasSubstr("ping (4712) is guarded by the kernel")));
  EXPECT_THAT(obstacles(4711, 0), IsEmpty());
  write(4713, "status",
        "Name:\tagent\nState:\tS (sleeping)\nTgid:\t4713\nPPid:\t1\n"
        "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t118\t118\t118\nGroups:\t1000 \n"
        "NSpid:\t4713\nVmRSS:\t1 kB\nThreads:\t1\n");
  EXPECT_THAT(obstacles(4713), ElementsAre(HasSubstr("runs as several users or groups")));
}

// A daemon that gave up root has not dropped what root had given it.
TEST(AdoptGuarded, WhoIsNotDumpableIsRootsAlone) {
  if (::geteuid() != 0) GTEST_SKIP() << "takes root";
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    (void)!::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto seen = read_tree("/proc", child);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  ASSERT_TRUE(seen.ok());
  EXPECT_TRUE(seen->root().guarded);
}

TEST_F(AdoptTest, WhatCanNeverBeAJob) {
  EXPECT_THAT(obstacles(1, 0), ElementsAre(HasSubstr("process 1 is the machine's own")));
  add({77, 2, 0, 0, "kworker", 0, "/", 'I', 0x00208040});
  EXPECT_THAT(obstacles(77, 0), ElementsAre("kworker (77) is a thread of the kernel, no program"));
  add({4720, 100, 4720, 100, "gone", 1000, "/", 'Z'});
  EXPECT_THAT(obstacles(4720),
              ElementsAre("gone (4720) has ended already, and only waits for bash (100) to take "
                          "its exit code; nothing is left to adopt: start it anew with tern run"));
  add({900, 4713, 4711, 100, "tern"});
  EXPECT_THAT(obstacles(900), ElementsAre("tern (900) is tern itself"));
  EXPECT_THAT(obstacles(), ElementsAre(HasSubstr("encode (4711) has tern among its descendants")));
}

TEST_F(AdoptTest, MembersOfJobsContainersAndOtherSessionsStay) {
  const std::string node = "/system.slice/tern-0a1b2c3d";
  add({4712, 4711, 4711, 100, "sh", 1000, node + "/job-0123456789abcdef-e4"});
  EXPECT_THAT(obstacles(),
              ElementsAre("sh (4712) belongs to the job 01234567 already; see: tern ps"));
  add({4712, 4711, 4711, 100, "sh", 1000, node + "/keepers"});
  EXPECT_THAT(obstacles(), ElementsAre("sh (4712) belongs to tern already; see: tern ps"));
  // The root itself: what else a job is, in a PID namespace of its own, is not said as well.
  add({4712, 4711, 4711, 100, "sh"});
  for (const auto& [group, said] : std::vector<std::pair<std::string, std::string>>{
           {"/job-0123456789abcdef-e4",
            "encode (4711) belongs to the job 01234567 already; see: tern ps, move it: tern "
            "migrate 01234567"},
           {"/adopt-0123456789abcdef",
            "encode (4711) is being adopted just now, as the job 01234567; see: tern ps"},
           {"/keepers",
            "encode (4711) is a part of tern itself, which runs jobs and is none; those: tern "
            "ps"}}) {
    add({4711, 100, 4711, 100, "encode", 1000, node + group, 'S', 0, "\t7"});
    EXPECT_THAT(obstacles(), ElementsAre(said));
  }
  add({4711, 100, 4711, 100, "encode"});
  add({4712, 4711, 4711, 100, "sh", 1000, "/", 'S', 0, "\t7"});
  EXPECT_THAT(obstacles(), ElementsAre(HasSubstr("sh (4712) lives in a PID namespace")));
  add({4712, 4711, 4000, 4000, "sh"});
  EXPECT_THAT(obstacles(), ElementsAre(HasSubstr("sh (4712) belongs to a session or group")));
  add({4712, 4711, 4711, 0, "sh"});  // 0 is how a PID namespace shows who is outside of it
  EXPECT_THAT(obstacles(), ElementsAre(AllOf(HasSubstr("sh (4712) belongs to a session or group"),
                                             HasSubstr("setsid"))));
  add({4712, 4711, 0, 4711, "sh"});
  EXPECT_THAT(obstacles(), ElementsAre(HasSubstr("leader is outside of this container")));
  add({4712, 4711, 4712, 4712, "sh"});  // a session of its own is one that comes along
  EXPECT_THAT(obstacles(), IsEmpty());
}

TEST(AdoptParsers, PlacesInStatLines) {
  const auto good =
      parse_relatives("7 (a) b) R 1 2 -1 34816 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 99\n");
  EXPECT_FALSE(good.ok()) << "a session of -1";
  const auto fine =
      parse_relatives("7 (a) b) R 1 2 3 34816 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 99\n");
  ASSERT_TRUE(fine.ok());
  EXPECT_EQ(*fine, (Relatives{"a) b", 'R', 1, 2, 3, 34816, 4194304, 99}));
  const std::string whole = "7 (a) R 1 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99";
  for (std::size_t size = 0; size < whole.size() - 2; ++size) {
    SCOPED_TRACE(whole.substr(0, size));
    EXPECT_FALSE(parse_relatives(whole.substr(0, size)).ok());
  }
  for (const char* bad : {"", "7", "7 )a( R 1", "7 (a) RR 1 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99",
                          "7 (a) R 1 x 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99",
                          "7 (a) R 99999999999 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_relatives(bad).ok());
  }
}

TEST(AdoptParsers, NamesOfUnixSockets) {
  const auto bound = bound_unix_sockets(
      "Num       RefCount Protocol Flags    Type St Inode Path\n"
      "0000000000000000: 00000002 00000000 00010000 0001 01 4242 /run/with a blank\n"
      "0000000000000000: 00000003 00000000 00000000 0001 03 4243\n"
      "0000000000000000: 00000002 00000000 00010000 0001 01 4244 @abstract\n"
      "0000000000000000: 00000002 0000\n"
      "0000000000000000: 00000002 00000000 00010000 0001 01 42x45 /bad\n");
  EXPECT_THAT(bound,
              ElementsAre(std::pair<const std::uint64_t, std::string>(4242, "/run/with a blank"),
                          std::pair<const std::uint64_t, std::string>(4244, "@abstract")));
}

TEST(AdoptParsers, OwnersOfIpcObjects) {
  const std::string table =
      "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
      "         1          0   666          1  1000  1001  1002  1003          0          0\n"
      "         2          1   666          1  0x12     0     0     0          0          0\n"
      "         3          2   666\n";
  EXPECT_THAT(owners_of_ipc(table, 4), ElementsAre(1000));
  EXPECT_THAT(owners_of_ipc(table, 7), ElementsAre(0, 1003));
  EXPECT_THAT(owners_of_ipc("", 4), IsEmpty());
}

TEST(AdoptParsers, SharedMemoryWithoutAName) {
  EXPECT_THAT(nameless_shared_memory("7f00-7f10 rw-s 00000000 00:01 1030 /dev/zero (deleted)\n"
                                     "7f10-7f20 rw-p 00000000 00:01 1031 /dev/zero (deleted)\n"
                                     "7f20-7f30 rw-s 00000000 08:01 1032 /var/lib/data\n"
                                     "7f30-7f40 rw-s 00000000 00:05 1033 /memfd:x\n"
                                     "7f40-7f50 rw-s 000\n\n"),
              ElementsAre("00:01 1030", "00:05 1033"));
}

TEST(AdoptNumbers, CriuGetsSomeThatNobodyNeeds) {
  EXPECT_EQ(free_numbers({100, 4711}, 4194304), 30000);
  EXPECT_EQ(free_numbers({100, 4711, 30200}, 4194304), 300);
  EXPECT_EQ(free_numbers({100, 500, 30200}, 4194304), 700);
  EXPECT_EQ(free_numbers({100, 4711}, 32768), 30000);
  EXPECT_EQ(free_numbers({100, 4711}, 30100), 300);
  EXPECT_EQ(free_numbers({}, 400), 0);
}

TEST(AdoptGroups, AJobsGroupIsKnownUnderAnyNode) {
  using Kind = TernGroup::Kind;
  for (const auto& [path, kind, job] : std::vector<std::tuple<std::string, Kind, std::string>>{
           {"/a/tern-x/job-0123456789ab-e1", Kind::kJob, "01234567"},
           {"/a/tern-x/adopt-0123456789ab", Kind::kAdopted, "01234567"},
           {"/a/tern-x/keepers", Kind::kTerns, ""},
           {"/a/tern-x/criu-1", Kind::kTerns, ""},
           {"/a/other/job-0123456789ab-e1", Kind::kNone, ""},
           {"/a/tern-x", Kind::kNone, ""},
           {"", Kind::kNone, ""}}) {
    SCOPED_TRACE(path);
    EXPECT_EQ(tern_group_of(path).kind, kind);
    EXPECT_EQ(tern_group_of(path).job, job);
  }
}

}  // namespace
}  // namespace machine
