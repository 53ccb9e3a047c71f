// What the guard puts right, one thing after another, with meddler.cc in CRIU's place. Rules:
// src/init/job_record.h, src/init/guard_main.cc.
#include <gmock/gmock.h>

#include <fstream>

#include "criu/run.h"
#include "init/contract.h"
#include "world.h"

namespace criu_test {
namespace {

constexpr const char* kThreads = "exec " TERN_BINARY_DIR "/tests/criu/guarded_job";

class Repair : public World {
 protected:
  // Has the meddler work on process `pid` of the frozen job: the guard's note.
  std::string meddle(const std::string& job, int pid, const std::string& end);
  void goes_on(const std::string& job);
};

std::string Repair::meddle(const std::string& job, int pid, const std::string& end) {
  auto dir = criu::WorkDir::create(owner_);
  EXPECT_TRUE(dir.ok());
  const criu::DumpSpec dump = dump_spec(job);
  criu::RunSpec spec;
  spec.program = TERN_BINARY_DIR "/tests/criu/meddler";
  spec.arguments = {std::to_string(pid), path_of(job), end};
  spec.cgroup = dump.run_cgroup;
  spec.guard = criu::RunGuard{dump.guard, dump.gentle, dump.job_cgroup};
  bool over = false;
  std::string note;
  auto run = criu::Run::start(&loop_, std::move(spec), std::move(*dir),
                              [&](const criu::RunResult& result, const criu::WorkDir&) {
                                over = true;
                                note = result.guard_note;
                                EXPECT_THAT(result.error.detail,
                                            testing::Not(testing::HasSubstr("status 3")));
                              });
  EXPECT_TRUE(run.ok()) << run.error().detail;
  turn_until([&] { return over; });
  return note;
}

void Repair::goes_on(const std::string& job) {
  const long before = count();
  thaw(job);
  ASSERT_NO_FATAL_FAILURE(wait_beyond(before + 1));
  std::string wrong;
  std::getline(std::ifstream(file("wrong")), wrong);
  ASSERT_EQ(wrong, "");
}

TEST_F(Repair, WhatMayNotBeReadStaysSoAndTheUmaskToo) {
  start_job("job-p-e1", kThreads);
  wait_beyond(3);
  freeze("job-p-e1");
  EXPECT_EQ(meddle("job-p-e1", init_of("job-p-e1"), "killed"), "repaired: everything\n");
  goes_on("job-p-e1");
}

TEST_F(Repair, ACriuThatFailsByItselfLeavesNothingEither) {
  start_job("job-f-e1", kThreads);
  wait_beyond(3);
  freeze("job-f-e1");
  EXPECT_EQ(meddle("job-f-e1", init_of("job-f-e1"), "failed"), "repaired: everything\n");
  goes_on("job-f-e1");
}

// What was recorded is old then.
TEST_F(Repair, AJobThatRanIsLeftAsItIs) {
  start_job("job-r-e1", kThreads);
  wait_beyond(3);
  freeze("job-r-e1");
  EXPECT_EQ(meddle("job-r-e1", init_of("job-r-e1"), "ran"),
            "damaged: it ran before CRIU had ended\n");
  goes_on("job-r-e1");
}

// The calls that put it right are not among those that it may make.
TEST_F(Repair, AJobUnderSeccompSurvivesIt) {
  start_job("job-s-e1", kThreads + std::string(" strict"));
  wait_beyond(3);
  freeze("job-s-e1");
  EXPECT_EQ(meddle("job-s-e1", init_of("job-s-e1"), "killed"), "repaired: everything\n");
  goes_on("job-s-e1");
}

}  // namespace
}  // namespace criu_test
