// A job with its keeper, in control groups below our own, on a tmpfs folder; all gone at the end.
//
// These tests need root, namespaces and control groups of version 2. Where one is missing they are
// skipped with the reason; under CI=true that is a failure.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "machine/cgroup.h"
#include "machine/helpers.h"
#include "machine/job_process.h"
#include "machine/keeper_client.h"

namespace machine {

inline constexpr Patience kPatience{20'000};  // of every wait; none is expected to take long

// Empty when jobs can run here, else why not.
std::string why_no_jobs();

#define NEEDS_JOBS()                                       \
  do {                                                     \
    const std::string why = ::machine::why_no_jobs();      \
    if (!why.empty() && ::machine::in_ci()) FAIL() << why; \
    if (!why.empty()) GTEST_SKIP() << why;                 \
  } while (false)
bool in_ci();

class JobTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Starts COMMAND by /bin/sh; each call starts the fixture's one job.
  void start(const std::string& shell_command);
  void start(JobSpec spec);
  [[nodiscard]] JobSpec spec_of(std::vector<std::string> command) const;
  [[nodiscard]] KeeperSpec keeper_spec(bool paused = false) const;
  void start_keeper_running();
  KeeperClient connect();
  // Acknowledged by the keeper, and init reaped.
  init::ExitRecord await_exit(KeeperClient& client);
  init::ExitRecord run_to_end(const std::string& shell_command);
  [[nodiscard]] std::string output(const char* file = "stdout.log") const;
  // Blocks until the stream's end is at least `end`, by the keeper's own word.
  void await_output(KeeperClient& client, std::uint64_t end, unsigned stream = 0);

  std::string dir_;      // on /dev/shm
  std::string job_dir_;  // dir_/job
  std::string init_root_;
  Helpers helpers_;
  std::optional<Cgroup> root_;
  std::optional<Cgroup> keepers_;
  std::optional<Cgroup> cgroup_;
  std::optional<StartedJob> job_;
};

std::string read_file(const std::string& path);

}  // namespace machine
