#include "machine/process_name.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include <csignal>

#include "machine/spawn.h"

namespace machine {
namespace {

base::Result<Spawned> sleeper() {
  SpawnSpec spec;
  spec.program = "/bin/sleep";
  spec.argv = {"sleep", "1000"};
  return spawn(spec);
}

TEST(ProcessName, NamesOneProcessAndNoOther) {
  auto child = sleeper();
  ASSERT_TRUE(child.ok());
  auto name = name_process(child->pid);
  ASSERT_TRUE(name.ok());
  EXPECT_TRUE(open_process(*name).ok());
  EXPECT_FALSE(name->boot.is_zero());

  ProcessName later = *name;
  ++later.start_ticks;
  ProcessName other_boot = *name;
  other_boot.boot.bytes[0] ^= 1U;
  for (const ProcessName& wrong : {later, other_boot}) {
    auto opened = open_process(wrong);
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code, base::Code::kNotFound);
    EXPECT_FALSE(signal_process(wrong, SIGKILL).ok());
  }
  EXPECT_TRUE(signal_process(*name, SIGKILL).ok());
  auto status = wait_for_end(*child, Patience(10'000));
  ASSERT_TRUE(status.ok());
  EXPECT_TRUE(WIFSIGNALED(*status));
  auto gone = open_process(*name);
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code, base::Code::kNotFound);
}

TEST(ProcessName, PidfdBecomesReadableAtTheEnd) {
  auto child = sleeper();
  ASSERT_TRUE(child.ok());
  auto name = name_process(child->pid);
  ASSERT_TRUE(name.ok());
  auto pidfd = open_process(*name);
  ASSERT_TRUE(pidfd.ok());
  pollfd one{pidfd->get(), POLLIN, 0};
  EXPECT_EQ(::poll(&one, 1, 0), 0);
  EXPECT_TRUE(signal_process(*name, SIGKILL).ok());
  EXPECT_EQ(::poll(&one, 1, 10'000), 1);
  EXPECT_TRUE(wait_for_end(*child, Patience(10'000)).ok());
}

}  // namespace
}  // namespace machine
