// With descriptors of this process, children of it, and jobs (preflight_rig.h).
#include "machine/preflight_fds.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "machine/preflight.h"
#include "machine/preflight_tasks.h"
#include "machine/spawn.h"
#include "preflight_rig.h"

namespace machine {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class PreflightFds : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/tern-preflight-fds-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    dir_ = pattern;
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
  }
  static std::vector<std::string> obstacles() {
    InspectOptions options;
    options.stays = true;  // what is the machine's does not matter here
    FileHashes hashes;
    return inspect_processes({::getpid()}, options, hashes).obstacles;
  }

  std::string dir_;
};

TEST_F(PreflightFds, AMessageQueueIsNoFile) {
  const std::string name = "/tern-preflight-" + std::to_string(::getpid());
  const Fd queue(::mq_open(name.c_str(), O_CREAT | O_RDWR, 0600, nullptr));
  ASSERT_TRUE(queue.valid()) << std::strerror(errno);
  ::mq_unlink(name.c_str());
  EXPECT_TRUE(is_message_queue("/proc/self/fd/" + std::to_string(queue.get())));
  EXPECT_FALSE(is_message_queue("/proc/self/exe"));
  EXPECT_THAT(obstacles(), Contains(HasSubstr("has the POSIX message queue " + name)));
}

TEST_F(PreflightFds, APidfdMayBeOfAProcessOfTheJob) {
  const auto open = [](pid_t pid, unsigned flags) {
    return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, flags)));
  };
  const auto of_another = Contains(HasSubstr("a pidfd of a process outside the job"));
  const Fd own = open(::getpid(), 0);
  ASSERT_TRUE(own.valid()) << std::strerror(errno);
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  Fd another = open(child, 0);
  EXPECT_THAT(obstacles(), Not(of_another)) << "born after the job's processes were listed";
  ::kill(child, SIGKILL);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_THAT(obstacles(), Not(of_another)) << "a zombie is its parent's";
  const std::string details = "pos:\t0\nflags:\t02000002\nPid:\t" + std::to_string(child) + "\n";
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(anonymous_obstacle("[pidfd]", details, {::getpid()}), "") << "reaped meanwhile";
  EXPECT_THAT(obstacles(), Not(of_another)) << "it ended, and nobody will be it again";
  another = open(::getppid(), 0);
  EXPECT_THAT(obstacles(), of_another);
  another = open(static_cast<pid_t>(::syscall(SYS_gettid)), O_EXCL);
  if (!another.valid()) return;  // PIDFD_THREAD is Linux 6.9's
  EXPECT_THAT(obstacles(), Contains(HasSubstr("a pidfd of a thread")));
}

TEST_F(PreflightFds, CountersAndPipesOfOtherKindsStay) {
  const auto semaphore = Contains(HasSubstr("type EFD_SEMAPHORE"));
  const Fd counter(::eventfd(3, EFD_CLOEXEC));
  EXPECT_THAT(obstacles(), Not(semaphore));
  const Fd counting(::eventfd(3, EFD_CLOEXEC | EFD_SEMAPHORE));
  const auto details = read_small_file("/proc/self/fdinfo/" + std::to_string(counting.get()), 4096);
  ASSERT_TRUE(details.ok());
  if (details->find("eventfd-semaphore") != std::string::npos) {  // since Linux 6.5
    EXPECT_THAT(obstacles(), semaphore);
  }
  const auto packets = Contains(HasSubstr("a pipe in packet mode"));
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd plain[] = {Fd(ends[0]), Fd(ends[1])};
  EXPECT_THAT(obstacles(), Not(packets));
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_DIRECT), 0);
  const Fd in_packets[] = {Fd(ends[0]), Fd(ends[1])};
  EXPECT_THAT(obstacles(), packets);
}

TEST_F(PreflightFds, InotifyEventsCountUntilTheyAreRead) {
  const Fd watcher(::inotify_init1(IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(watcher.get(), dir_.c_str(), IN_CREATE), 0);
  const std::string number = std::to_string(watcher.get());
  const auto unread = HasSubstr("inotify events that it has not read yet");
  EXPECT_FALSE(has_unread_events(::getpid(), number));
  EXPECT_THAT(obstacles(), Not(Contains(unread)));
  std::ofstream(dir_ + "/made").flush();
  EXPECT_TRUE(has_unread_events(::getpid(), number));
  EXPECT_THAT(obstacles(), Contains(unread));
  char events[4096];
  EXPECT_GT(::read(watcher.get(), events, sizeof events), 0);
  EXPECT_FALSE(has_unread_events(::getpid(), number));
  EXPECT_FALSE(has_unread_events(::getpid(), "999"));
}

TEST_F(PreflightFds, DescriptorsInASocketAreSeen) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Fd from(ends[0]);
  const Fd to(ends[1]);
  const auto waiting = HasSubstr("open files in it that nobody has received yet");
  EXPECT_THAT(obstacles(), Not(Contains(waiting)));
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 'x';
  iovec data{&byte, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &ends[0], sizeof(int));
  ASSERT_EQ(::sendmsg(from.get(), &message, 0), 1);
  EXPECT_THAT(obstacles(), Contains(waiting));
}

// As sem_open(3) leaves it: made under a name that goes once the file has its own.
TEST_F(PreflightFds, ARemovedNameOfAFileThatHasAnotherIsSeen) {
  const Fd file(::open((dir_ + "/first").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_EQ(::link((dir_ + "/first").c_str(), (dir_ + "/second").c_str()), 0);
  ASSERT_EQ(::unlink((dir_ + "/first").c_str()), 0);
  const auto removed = HasSubstr(dir_ + "/first open, a name that was removed");
  EXPECT_THAT(obstacles(), Contains(removed));
  ASSERT_EQ(::unlink((dir_ + "/second").c_str()), 0);
  EXPECT_THAT(obstacles(), Not(Contains(removed)));  // its content travels in the images
}

// A child that was made without a memory of its own, as by vfork(2), until it is let go.
TEST(PreflightTasks, WhatAChildSharesWithItsParentIsSeen) {
  struct Row {
    const char* name;
    int flags;
    const char* says;
  };
  const Row rows[] = {
      {"nothing", 0, ""},
      {"memory", CLONE_VM, "shares its memory with its parent"},
      {"folder", CLONE_FS, "shares its working folder with its parent"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const Fd from(ends[0]);
    const Fd to(ends[1]);
    std::vector<char> stack(1 << 16);
    const auto wait = [](void* end) {
      char byte = 0;
      return static_cast<int>(::read(*static_cast<int*>(end), &byte, 1));
    };
    const pid_t child = ::clone(wait, stack.data() + stack.size(), row.flags | SIGCHLD, ends);
    ASSERT_GT(child, 0);
    std::chrono::milliseconds patience{20};
    const std::string says = shared_with_parent(child, ::getpid(), patience);
    EXPECT_THAT(says, testing::StartsWith(row.says));
    EXPECT_EQ(says.empty(), *row.says == '\0');
    if (row.flags == CLONE_VM) {
      EXPECT_EQ(patience, std::chrono::milliseconds(0)) << "it was waited for";
    }
    ASSERT_EQ(::write(to.get(), "x", 1), 1);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(shared_with_parent(child, ::getpid(), patience), "");  // it is gone
  }
}

TEST(PreflightTasks, ZombiesShareNothing) {
  pid_t zombies[2];
  for (pid_t& zombie : zombies) {
    zombie = ::fork();
    if (zombie == 0) ::_exit(0);
    siginfo_t ended{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(zombie), &ended, WEXITED | WNOWAIT), 0);
  }
  std::chrono::milliseconds patience{0};
  EXPECT_EQ(shared_with_parent(zombies[0], zombies[1], patience), "");
  for (const pid_t zombie : zombies) EXPECT_EQ(::waitpid(zombie, nullptr, 0), zombie);
}

// A second for each of them would hold every other preflight for as long.
TEST_F(PreflightFds, ManyThatShareMemoryAreWaitedForOnce) {
  constexpr std::size_t kMany = 60;
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd from(ends[0]);
  const Fd to(ends[1]);
  std::vector<std::vector<char>> stacks(kMany, std::vector<char>(1 << 16));
  std::vector<pid_t> children;
  const auto wait = [](void* end) {
    char byte = 0;
    return static_cast<int>(::read(*static_cast<int*>(end), &byte, 1));
  };
  for (std::vector<char>& stack : stacks) {
    children.push_back(::clone(wait, stack.data() + stack.size(), CLONE_VM | SIGCHLD, ends));
    ASSERT_GT(children.back(), 0);
  }
  InspectOptions options;
  options.stays = true;
  FileHashes hashes;
  const auto began = std::chrono::steady_clock::now();
  const auto found = inspect_processes(children, options, hashes).obstacles;
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
  EXPECT_EQ(std::count_if(found.begin(), found.end(),
                          [](const std::string& sentence) {
                            return sentence.find("shares its memory") != sentence.npos;
                          }),
            kMany);
  const std::string go(kMany, 'x');
  ASSERT_EQ(::write(to.get(), go.data(), go.size()), static_cast<ssize_t>(go.size()));
  for (const pid_t child : children) EXPECT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST(PreflightTasks, AnotherUsersProcessNeedsItsLimitsRead) {
  probe::ProcessStatus job;
  probe::ProcessStatus process;
  EXPECT_EQ(other_user(job, process), "");
  process.gids = {7, 7, 7, 7};
  EXPECT_EQ(other_user(job, process).empty(), may_read_limits());
}

TEST(PreflightTasks, ATimerForTheFirstThreadStays) {
  EXPECT_EQ(timer_obstacle(::getpid()), "");
  struct sigevent event {};
  event.sigev_signo = SIGURG;
  event.sigev_notify = SIGEV_THREAD_ID;
  timer_t timers[3] = {};
  std::thread([&] {
    event._sigev_un._tid = static_cast<pid_t>(::syscall(SYS_gettid));
    ASSERT_EQ(::timer_create(CLOCK_MONOTONIC, &event, &timers[0]), 0);
    EXPECT_EQ(timer_obstacle(::getpid()), "") << "of another thread";
  }).join();
  event.sigev_notify = SIGEV_SIGNAL;
  ASSERT_EQ(::timer_create(CLOCK_MONOTONIC, &event, &timers[1]), 0);
  EXPECT_EQ(timer_obstacle(::getpid()), "");
  event.sigev_notify = SIGEV_THREAD_ID;
  event._sigev_un._tid = ::getpid();
  ASSERT_EQ(::timer_create(CLOCK_MONOTONIC, &event, &timers[2]), 0);
  EXPECT_THAT(timer_obstacle(::getpid()), HasSubstr("a timer that signals its first thread"));
  for (timer_t timer : timers) ::timer_delete(timer);
  EXPECT_EQ(timer_obstacle(::getpid()), "");
}

// Paused by its owner's policy it could not read them, nor ever leave before a sleep.
TEST_F(PreflightTest, UnreadInotifyEventsHoldARunningJobOnly) {
  start(std::string(kPython) + "import ctypes\nlibc = ctypes.CDLL(None)\n" +
        "watcher = libc.inotify_init()\nlibc.inotify_add_watch(watcher, b\".\", 0x100)\n" +
        "open(\"made\", \"w\").close()\nprint(\"up\", flush=True)\ntime.sleep(1000)\n'\n" +
        "read -r -u ${COPROC[0]}");
  const auto unread = HasSubstr("inotify events that it has not read yet");
  EXPECT_THAT(inspect().obstacles, ElementsAre(unread));
  ASSERT_TRUE(job_->freeze(kLong).ok());
  EXPECT_THAT(inspect().obstacles, IsEmpty());
  ASSERT_TRUE(job_->thaw(kLong).ok());
  EXPECT_THAT(inspect().obstacles, ElementsAre(unread));
}

// Numbers begin anew when they are used up: one that init forked may have a lower one.
TEST_F(PreflightTest, TheJobsUserIsInitsWhateverItsNumber) {
  const pid_t lower = ::fork();
  if (lower == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(1);
    for (;;) ::pause();
  }
  ASSERT_GT(lower, 0);
  start("true");
  const pid_t init = child_.pid;
  ASSERT_TRUE(job_->add(lower).ok());
  Preflight found;
  std::thread([&] {
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    ASSERT_EQ(::syscall(SYS_capget, &header, sets), 0);
    sets[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective &= ~CAP_TO_MASK(CAP_SYS_RESOURCE);
    ASSERT_EQ(::syscall(SYS_capset, &header, sets), 0);
    found = inspect();
  }).join();
  end_job();
  EXPECT_EQ(::waitpid(lower, nullptr, 0), lower);
  const std::string other = "runs as another user";
  EXPECT_THAT(found.obstacles,
              Contains(AllOf(HasSubstr("(" + std::to_string(lower) + ")"), HasSubstr(other))));
  const std::string of_init = "(" + std::to_string(init) + ")";
  EXPECT_THAT(found.obstacles, Not(Contains(AllOf(HasSubstr(of_init), HasSubstr(other)))));
}

TEST(PreflightDetails, FlagsAndLocksAreRead) {
  const std::string text =
      "pos:\t0\nflags:\t0100002\nlock:\t1: FLOCK  ADVISORY  WRITE 9 08:01:3 0 EOF\n";
  EXPECT_EQ(open_flags(text), 0100002);
  EXPECT_EQ(open_flags("pos:\t0\n"), -1);
  EXPECT_TRUE(has_write_lock(text));
  EXPECT_FALSE(has_lease(text));
  EXPECT_TRUE(has_lease("pos:\t0\nlock:\t1: LEASE  ACTIVE  READ 9 08:01:3 0 EOF\n"));
  EXPECT_TRUE(holds_descriptors("flags:\t02\nscm_fds: 2\n"));
  EXPECT_FALSE(holds_descriptors("flags:\t02\nscm_fds: 0\n"));
  EXPECT_FALSE(holds_descriptors("flags:\t02\n"));
}

}  // namespace
}  // namespace machine
