#include "daemon/run_outcome.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace ternd {
namespace {

TEST(RunOutcome, SaysOfTheJobOnlyWhatIsKnown) {
  struct Row {
    const char* name;
    int exit_code;
    bool here;
    std::optional<int> wait_status;
    bool in_doubt;
    const char* sentence;
  };
  const Row rows[] = {
      {"moved", 0, false, {}, false, "moved to bob"},
      {"moved, and ended there", 0, false, 0, false, "moved to bob"},
      {"stays", 6, true, {}, false, "why; the job runs here, where it started"},
      {"not asked: unreachable", 4, true, {}, false, "why; the job runs here, where it started"},
      {"decided and not confirmed", 4, false, {}, false, "why"},
      {"not decided", 4, true, {}, true, "why"},
      {"ended here", 1, true, 0, false, "the job has ended here, before it could move"},
      {"ended elsewhere", 4, false, 0, false, "the job has ended on bob"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    node::jobs::Job job;
    job.here = row.here;
    job.wait_status = row.wait_status;
    node::Reply moved;
    moved.exit_code = row.exit_code;
    moved.sentence = "why";
    EXPECT_EQ(run_outcome(moved, {&job, row.in_doubt, "bob"}), row.sentence);
  }
  node::Reply failed;
  failed.exit_code = 1;
  failed.sentence = "why";
  EXPECT_EQ(run_outcome(failed, {}), "the job has ended");
}

}  // namespace
}  // namespace ternd
