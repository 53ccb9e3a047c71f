#include "machine/preflight_count.h"

#include <gmock/gmock.h>
#include <pthread.h>
#include <unistd.h>

#include <latch>
#include <vector>

#include "machine/preflight.h"
#include "transfer/image_check.h"

namespace machine {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

TaskCount of(std::size_t processes, std::uint32_t threads, char state = 'S') {
  TaskCount count;
  probe::ProcessStatus status;
  status.state = state;
  status.threads = threads;
  for (std::size_t i = 0; i < processes; ++i) count.add(status);
  return count;
}

TEST(TaskCount, TooManyForACheckpointAreRefusedBeforeTheFreeze) {
  EXPECT_THAT(of(0, 0).obstacle(), IsEmpty());
  EXPECT_THAT(of(1170, 1).obstacle(), IsEmpty());
  EXPECT_THAT(of(1171, 1).obstacle(), HasSubstr("it has 1171 processes with 1171 threads; a "
                                                "checkpoint holds about 1100 processes"));
  EXPECT_THAT(of(1, 4096).obstacle(), IsEmpty());
  EXPECT_THAT(of(1, 4097).obstacle(), HasSubstr("1 processes with 4097 threads"));
  EXPECT_THAT(of(4000, 1, 'Z').obstacle(), IsEmpty());  // a zombie is one image
}

TEST(TaskCount, AnInspectionSaysSo) {
  std::latch over(1);
  const auto wait = [](void* latch) -> void* {
    static_cast<std::latch*>(latch)->wait();
    return nullptr;
  };
  pthread_attr_t small;
  ASSERT_EQ(::pthread_attr_init(&small), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&small, 64 << 10), 0);
  std::vector<pthread_t> threads;
  for (pthread_t one{}; threads.size() < transfer::kTasksMax; threads.push_back(one)) {
    if (::pthread_create(&one, &small, wait, &over) != 0) break;
  }
  const bool enough = threads.size() == transfer::kTasksMax;
  Preflight found;
  FileHashes hashes;
  InspectOptions options;
  options.own_files_only = true;
  if (enough) found = inspect_processes({::getpid()}, options, hashes);
  over.count_down();
  for (const pthread_t one : threads) ::pthread_join(one, nullptr);
  ::pthread_attr_destroy(&small);
  if (!enough) GTEST_SKIP() << "not so many threads may run here";
  EXPECT_THAT(found.obstacles, Contains(HasSubstr("a checkpoint holds about")));
}

}  // namespace
}  // namespace machine
