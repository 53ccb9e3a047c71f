// With real processes: root needed (reading /proc/PID/map_files, another user's view of files).
#include "machine/preflight.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "machine/memory_room.h"
#include "machine/preflight_ipc.h"
#include "machine/spawn.h"
#include "preflight_rig.h"

namespace machine {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(CpuFlags, OnlyWhatProgramsUseCounts) {
  EXPECT_THAT(parse_cpu_flags("processor\t: 0\nflags\t\t: fpu sse2 hypervisor avx2 pti vmx\nx: y"),
              ElementsAre("avx2", "fpu", "sse2"));
  EXPECT_THAT(parse_cpu_flags("processor : 0\nFeatures : fp asimd\n"), ElementsAre("asimd", "fp"));
  for (const char* text : {"", "\nflags", "\nflags:", "flags : sse2"}) {
    SCOPED_TRACE(text);
    EXPECT_THAT(parse_cpu_flags(text), IsEmpty());
  }
}

LocalPolicy open_policy() {
  LocalPolicy policy;
  policy.criu_version = "4.2.1";
  policy.allow_root = true;
  return policy;
}

TEST_F(PreflightTest, APlainJobCanMoveToItsOwnMachine) {
  start("true");
  const Preflight found = inspect();
  EXPECT_THAT(found.obstacles, IsEmpty());
  std::vector<std::string> paths;
  for (const RequiredFile& file : found.requirement.files) paths.push_back(file.path);
  EXPECT_THAT(paths, Contains(dir_));  // its working folder
  EXPECT_THAT(paths, Contains(HasSubstr("/bash")));
  EXPECT_THAT(paths, Contains(HasSubstr("libc")));
  EXPECT_GT(found.requirement.memory_bytes, 1U << 20);
  EXPECT_TRUE(encode_requirement(found.requirement).ok());
  EXPECT_THAT(check_requirement(found.requirement, open_policy(), hashes_), IsEmpty());
}

TEST_F(PreflightTest, ProcessesThatEndMeanwhileAreNoObstacle) {
  start("for i in 1 2 3 4; do (while :; do /bin/true; done) 7<&- 8<&- 9>&- & done");
  const auto ours = [](const std::string& sentence) {
    return sentence.find("cannot be") != sentence.npos;  // read, compared
  };
  for (int i = 0; i < 300; ++i) {
    const Preflight found = inspect();
    const auto bad = std::find_if(found.obstacles.begin(), found.obstacles.end(), ours);
    ASSERT_EQ(bad, found.obstacles.end()) << *bad;
  }
}

TEST_F(PreflightTest, EachObstacleIsNamed) {
  struct Row {
    const char* name;
    const char* script;
    const char* says;
  };
  const Row rows[] = {
      {"written file of the system", "exec 5>>/run/tern-preflight-test", "open for writing"},
      {"set-user-ID file", "echo >own; chmod 4755 own; exec 5<own", "set-user-ID"},
      {"file of /proc", "exec 5</proc/self/status", "another file on every machine"},
      {"file of /sys", "exec 5</sys/kernel/uevent_seqnum", "another file on every machine"},
      {"large deleted file", "head -c 2000000 /dev/zero >big; exec 5<big; rm big",
       "more than can travel along"},
      {"device", "exec 5</dev/console", "a device, which stays here"},
      {"named pipe", "mkfifo fifo; exec 5<>fifo", "named pipe"},
      {"network namespace", "coproc unshare -n bash -c 'echo up; read -r'; read -r -u ${COPROC[0]}",
       "net namespace"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    start(row.script);
    EXPECT_THAT(inspect().obstacles, Contains(HasSubstr(row.says)));
    end_job();
  }
  fs::remove("/run/tern-preflight-test");
}

TEST_F(PreflightTest, WhatTheJobWritesComesOrIsInTheWay) {
  fs::create_directory(dir_ + "/tree");
  std::ofstream(dir_ + "/tree/file") << "content";
  named_ = dir_ + "/tree";
  start("exec 5>>out; exec 6>mapped; truncate -s 4096 mapped");
  Requirement needs = inspect().requirement;
  end_job();
  std::map<std::string, std::uint32_t> flags;
  for (const RequiredFile& file : needs.files) flags[file.path] = file.flags;
  EXPECT_EQ(flags.at(dir_ + "/out"), kRequiredTravels | kRequiredWritten);
  EXPECT_EQ(flags.at(named_), kRequiredTravels | kRequiredWritten);
  EXPECT_EQ(flags.at(dir_), kRequiredTravels);
  // One file system for both is no other file.
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_), IsEmpty());
  for (RequiredFile& file : needs.files) file.inode += 1;
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_),
              UnorderedElementsAre(HasSubstr("/out is there already"),
                                   HasSubstr("/mapped is there already"),
                                   HasSubstr("/tree is there already and not empty")));
  LocalPolicy home = open_policy();
  home.at_home = true;
  EXPECT_THAT(check_requirement(needs, home, hashes_), IsEmpty());
  fs::remove_all(dir_ + "/tree");
  fs::create_directory(dir_ + "/tree");
  fs::remove(dir_ + "/out");
  fs::remove(dir_ + "/mapped");
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_), IsEmpty());
  fs::permissions(dir_ + "/tree", fs::perms(0711));
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_),
              ElementsAre(HasSubstr("/tree differs here (permissions)")));
}

// As some servers' files are to all but their own user: here by a thread that may follow no
// map_files (CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN).
TEST_F(PreflightTest, WhatCannotBeLookedAtIsNotTakenForUnmapped) {
  start("true");
  Preflight found;
  std::thread([&] {
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    ASSERT_EQ(::syscall(SYS_capget, &header, sets), 0);
    for (const int capability : {CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE}) {
      sets[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
    }
    ASSERT_EQ(::syscall(SYS_capset, &header, sets), 0);
    found = inspect();
  }).join();
  EXPECT_THAT(found.obstacles, Contains(HasSubstr("/bash, which cannot be looked at")));
}

TEST_F(PreflightTest, SmallDeletedFilesTravel) {
  start("echo x >small; exec 5<>small; rm small");
  EXPECT_THAT(inspect().obstacles, IsEmpty());
}

TEST_F(PreflightTest, SocketsAreToldApart) {
  struct Row {
    const char* name;
    const char* code;
    const char* says;       // empty: fine
    bool closable = false;  // --tcp-close helps
  };
  const Row rows[] = {
      {"listening", "s = socket.create_server((\"127.0.0.1\", 0))\n", ""},
      {"connected",
       "s = socket.create_server((\"127.0.0.1\", 0))\nc = "
       "socket.create_connection(s.getsockname())\na = s.accept()\n",
       ") has the TCP connection from 127.0.0.1:", true},
      {"all of a process in one sentence",
       "s = socket.create_server((\"127.0.0.1\", 0))\nc = "
       "socket.create_connection(s.getsockname())\na = s.accept()\n",
       " and 1 more, which a move would close", true},
      {"connected by IPv6",
       "s = socket.create_server((\"::1\", 0), family=socket.AF_INET6)\nc = "
       "socket.create_connection(s.getsockname()[:2])\na = s.accept()\n",
       ") has the TCP connection from [::1]:", true},
      {"not accepted yet",
       "s = socket.create_server((\"127.0.0.1\", 0))\nc = "
       "socket.create_connection(s.getsockname())\nc.close()\n",
       ") has the TCP connection that waits to be accepted at 127.0.0.1:", true},
      {"closed by the other end",
       "s = socket.create_server((\"127.0.0.1\", 0))\nc = "
       "socket.create_connection(s.getsockname())\ns.accept()[0].close()\ns.close()\n",
       "--tcp-close", true},
      {"closed",
       "s = socket.create_server((\"127.0.0.1\", 0))\nc = "
       "socket.create_connection(s.getsockname())\nc.close()\ns.accept()[0].close()\n",
       ""},
      {"udp", "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n", ""},
      {"netlink", "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\ns.bind((0, 0))\n",
       "a netlink socket"},
      {"raw", "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)\n",
       ") has a raw socket"},
      {"packet", "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)\n", "a packet socket"},
      {"pair within", "s = socket.socketpair()\n", ""},
      {"unix, abstract", "s = socket.socket(socket.AF_UNIX)\ns.bind(\"\\0x\")\ns.listen()\n", ""},
      {"unix, a file", "s = socket.socket(socket.AF_UNIX)\ns.bind(\"own.sock\")\ns.listen()\n",
       ") has the unix socket own.sock, which cannot move"},
      {"unix outside", "s = socket.socket(socket.AF_UNIX)\ns.connect(\"outside.sock\")\n",
       "a unix socket connected to a program outside"},
  };
  const Fd outside(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s/outside.sock", dir_.c_str());
  ASSERT_EQ(::bind(outside.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(outside.get(), 4), 0);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    start(std::string(kPython) + row.code +
          "print(\"up\", flush=True)\ntime.sleep(1000)\n'\nread -r -u ${COPROC[0]}");
    // A connection that nobody accepted yet has no other end; one that is not there gives EAGAIN.
    const Fd accepted(::accept4(outside.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const Preflight found = inspect();
    if (*row.says == '\0') {
      EXPECT_THAT(found.obstacles, IsEmpty());
    } else {
      EXPECT_THAT(found.obstacles, Contains(HasSubstr(row.says)));
    }
    if (row.closable) {
      EXPECT_THAT(inspect("", /*tcp_close=*/true).obstacles, IsEmpty());
    }
    end_job();
  }
}

TEST_F(PreflightTest, LocksMoveAndLeasesDoNot) {
  start("echo >lock; exec 5<lock; flock 5");
  EXPECT_THAT(inspect().obstacles, IsEmpty());
  end_job();
  start(std::string(kPython) + "import fcntl\nf = open(\"lock\")\nfcntl.fcntl(f, 1024, 0)\n" +
        "print(\"up\", flush=True)\ntime.sleep(1000)\n'\nread -r -u ${COPROC[0]}");
  EXPECT_THAT(inspect().obstacles, ElementsAre(HasSubstr("holds a lease on " + dir_ + "/lock")));
}

// The job is in an IPC namespace of its own, where nothing else tells of what nobody has attached.
TEST_F(PreflightTest, WhatIsInItsIpcNamespaceIsSeen) {
  EXPECT_THAT(system_v_objects(0), IsEmpty());
  start("ipcmk -M 4096; ipcmk -S 1; ipcmk -Q");
  EXPECT_THAT(
      system_v_objects(child_.pid),
      ElementsAre("System V shared memory", "System V semaphores", "System V message queues"));
  EXPECT_THAT(inspect().obstacles,
              Contains(HasSubstr("it has System V semaphores, which cannot move")));
}

// Its init's root folder is no obstacle, and nothing that the sink must have; others are both.
TEST_F(PreflightTest, OnlyInitsRootFolderMoves) {
  start(std::string(kPython) + "os.mkdir(\"root\")\nos.chroot(\"root\")\nos.chdir(\"/\")\n" +
        "print(\"up\", flush=True)\ntime.sleep(1000)\n'\nread -r -u ${COPROC[0]}");
  EXPECT_THAT(inspect().obstacles, Contains(HasSubstr("as its root folder, which cannot move")));
  const Preflight found = inspect(dir_ + "/root");
  EXPECT_THAT(found.obstacles, IsEmpty());
  for (const RequiredFile& file : found.requirement.files) EXPECT_NE(file.path, dir_ + "/root");
}

// dpkg's database is another here (machine/packages.h).
TEST_F(PreflightTest, TheSinkNamesBothVersionsOfASystemsFile) {
  const std::string program = "/usr/bin/env";
  const auto database = [&](const std::string& name, const std::string& version) {
    fs::create_directories(dir_ + "/" + name + "/info");
    std::ofstream(dir_ + "/" + name + "/info/coreutils.list") << "/bin/env\n";
    std::ofstream(dir_ + "/" + name + "/status")
        << "Package: coreutils\nStatus: install ok installed\nVersion: " + version + "\n";
    return Packages(dir_ + "/" + name);
  };
  Packages theirs = database("theirs", "9.1-1");
  Packages here = database("here", "9.1-2");
  start("exec 5<" + program);
  InspectOptions options;
  options.criu_version = "4.2.1";
  options.packages = &theirs;
  auto seen = inspect_job(*job_, options, hashes_);
  ASSERT_TRUE(seen.ok()) << seen.error().detail;
  end_job();
  Requirement needs = seen->requirement;
  const auto file = std::find_if(needs.files.begin(), needs.files.end(),
                                 [&](const RequiredFile& f) { return f.path == program; });
  ASSERT_NE(file, needs.files.end());
  EXPECT_EQ(file->package, "coreutils 9.1-1");
  LocalPolicy policy = open_policy();
  policy.packages = &here;
  EXPECT_THAT(check_requirement(needs, policy, hashes_), IsEmpty());  // the same content
  file->hash.fill(1);
  EXPECT_THAT(check_requirement(needs, policy, hashes_),
              ElementsAre(program + " differs here (coreutils 9.1-2 here, the job's is of " +
                          "coreutils 9.1-1); install the same version on both machines"));
  policy.packages = &theirs;
  EXPECT_THAT(check_requirement(needs, policy, hashes_),
              ElementsAre(HasSubstr("; both coreutils 9.1-1)")));
}

TEST_F(PreflightTest, TheSinkNamesWhatDiffers) {
  const std::string path = dir_ + "/data";
  std::ofstream(path) << "content";
  start("exec 5<data");
  const Requirement needs = inspect().requirement;
  end_job();
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_), IsEmpty());
  std::ofstream(path) << "CONTENT";  // same size, same name
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_),
              ElementsAre(HasSubstr(path + " differs here (content hash ")));
  std::ofstream(path) << "longer than before";
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_),
              ElementsAre(path + " differs here (18 bytes, the job's has 7)"));
  fs::remove(path);
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_), IsEmpty());  // it will come
  fs::create_symlink("/etc/hostname", path);
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_),
              ElementsAre(path + " is a symbolic link here"));
  fs::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0644), 0);  // opening one would hang
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_),
              ElementsAre(HasSubstr("is something else here")));
}

TEST_F(PreflightTest, AFullDiskIsSaid) {
  start("true");
  const Preflight found = inspect();
  LocalPolicy policy = open_policy();
  policy.state_dir = dir_;
  EXPECT_THAT(check_requirement(found.requirement, policy, hashes_), IsEmpty());
  policy.state_dir = "/proc";  // has no room, ever
  EXPECT_THAT(check_requirement(found.requirement, policy, hashes_),
              ElementsAre(HasSubstr("the disk of /proc is full here")));
}

TEST_F(PreflightTest, ThePolicyOfTheSinkComesFirst) {
  start("true");
  Requirement needs = inspect().requirement;
  LocalPolicy policy = open_policy();
  policy.allow_root = false;
  EXPECT_THAT(check_requirement(needs, policy, hashes_), ElementsAre(HasSubstr("jobs of root")));
  policy = open_policy();
  policy.criu_version.clear();
  EXPECT_THAT(check_requirement(needs, policy, hashes_),
              ElementsAre(HasSubstr("scripts/install-criu")));
  policy = open_policy();
  policy.criu_version = "4.2";
  EXPECT_THAT(check_requirement(needs, policy, hashes_), ElementsAre(HasSubstr("older than")));
  policy = open_policy();
  policy.memory_free = needs.memory_bytes + kMemoryReserve;
  EXPECT_THAT(check_requirement(needs, policy, hashes_), IsEmpty());
  --*policy.memory_free;
  EXPECT_THAT(check_requirement(needs, policy, hashes_), ElementsAre(HasSubstr("memory: ")));
  needs.uids = {1234};
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_),
              ElementsAre(HasSubstr("jobs of user 1234")));
  needs = inspect().requirement;
  needs.cpu_flags.emplace_back("zzz_nowhere");
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_),
              ElementsAre(HasSubstr("zzz_nowhere")));
  needs = inspect().requirement;
  needs.architecture = "riscv64";
  EXPECT_THAT(check_requirement(needs, open_policy(), hashes_), ElementsAre(HasSubstr("riscv64")));
}

TEST_F(PreflightTest, FilesAreOpenedAsTheJobsUserAndTheThreadIsRootAgainAfterwards) {
  const std::string path = dir_ + "/secret";
  std::ofstream(path) << "content";
  fs::permissions(path, fs::perms::owner_read);
  start("exec 5<secret");
  Requirement needs = inspect().requirement;
  needs.uids = {1234};
  needs.gids = {1234};
  LocalPolicy policy = open_policy();
  policy.allowed_uids = {1234};
  policy.allowed_gids = {1234};
  EXPECT_THAT(check_requirement(needs, policy, hashes_),
              ElementsAre(path + " cannot be read by the job's user here"));
  EXPECT_TRUE(std::ifstream(path).is_open());
}

TEST_F(PreflightTest, AHashIsForgottenWhenTheFileChanges) {
  const std::string path = dir_ + "/file";
  std::ofstream(path) << "one";
  const auto hash = [&] {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return *hashes_.hash(fd.get());
  };
  const auto one = hash();
  std::ofstream(path) << "two";  // within the same clock tick perhaps
  const auto two = hash();
  EXPECT_NE(one, two);
  EXPECT_EQ(two, base::crypto::hash256({base::as_bytes("two")}));
  const Fd program(::open("/usr/bin/setsid", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(hashes_.hash(program.get()).ok());
  const std::uint64_t read = hashes_.bytes_read();
  ASSERT_TRUE(hashes_.hash(program.get()).ok());
  EXPECT_EQ(hashes_.bytes_read(), read);  // old files are hashed once
}

}  // namespace
}  // namespace machine
