// What is done to jobs' folders and init roots, without a job: order, and who still needs them.
#include "daemon/copies.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <future>

#include "daemon/handover_in.h"
#include "daemon/handover_out.h"
#include "daemon/job_folder.h"
#include "loop_rig.h"

namespace ternd::testing {
namespace {

namespace fs = std::filesystem;
using base::Epoch;
using base::JobId;
using base::Status;

const JobId kJob{{9}};

class CopiesTest : public ::testing::Test {
 protected:
  CopiesTest() {
    paths_.state = dir_.path();
    fs::create_directories(paths_.jobs());
    Copies::Callbacks callbacks;
    callbacks.ended = [](const JobId&, std::int32_t, node::StreamEnds) {};
    copies_ = std::make_unique<Copies>(loop_, paths_, machine::Helpers{}, base::null_log(),
                                       std::move(callbacks));
  }
  bool until(const std::function<bool()>& done) { return run_until(loop_, done); }
  [[nodiscard]] std::string folder() const { return paths_.job(kJob); }

  TempDir dir_;
  Paths paths_;
  loop::Loop loop_;
  std::unique_ptr<Copies> copies_;
};

// An attempt that was given up and the next one of the same job: the first one's end must not take
// what the second has begun.
TEST_F(CopiesTest, WhatIsForgottenIsGoneBeforeTheNextArrivalBegins) {
  ASSERT_TRUE(job_folder::make(folder()).ok());
  std::promise<void> go_on;
  bool prepared = false;
  copies_->in_folder(
      kJob,
      [wait = std::make_shared<std::future<void>>(go_on.get_future())]() -> Status {
        wait->wait();
        return {};
      },
      nullptr);
  copies_->forget(kJob);
  copies_->in_folder(
      kJob,
      [folder = folder()]() -> Status {
        if (fs::exists(folder)) return base::fail(base::Code::kExists, "the old one is there");
        if (Status made = job_folder::make(folder); !made) return made;
        std::ofstream(folder + "/bases") << "new";
        return {};
      },
      [&](const Status& status) {
        EXPECT_TRUE(status.ok()) << status.error().detail;
        prepared = true;
      });
  EXPECT_TRUE(fs::exists(folder()));
  go_on.set_value();
  ASSERT_TRUE(until([&] { return prepared; }));
  ASSERT_TRUE(until([] { return loop::blocking_in_flight() == 0; }));
  EXPECT_TRUE(fs::exists(folder() + "/bases"));
}

TEST_F(CopiesTest, HomesLogGrowsOnlyWhereItEndsAndSaysWhereThatIs) {
  ASSERT_TRUE(job_folder::make(folder()).ok());
  const auto append = [&](std::uint64_t offset, const std::string& text) {
    std::optional<std::pair<bool, std::optional<std::uint64_t>>> told;
    copies_->append_home(kJob, 0, offset, base::to_bytes(base::as_bytes(text)),
                         [&](const Status& status, std::optional<std::uint64_t> end) {
                           told = {status.ok(), end};
                         });
    EXPECT_TRUE(until([&] { return told.has_value(); }));
    return *told;
  };
  using Told = std::pair<bool, std::optional<std::uint64_t>>;
  EXPECT_EQ(append(0, "hello "), Told(true, 6));
  EXPECT_EQ(append(6, "world"), Told(true, 11));
  EXPECT_EQ(append(6, "again"), Told(false, 11));
  EXPECT_EQ(append(12, "a hole"), Told(false, 11));
  fs::remove_all(folder());
  EXPECT_EQ(append(0, "nowhere").first, false);
}

TEST_F(CopiesTest, AnAttemptThatIsOverLeavesTheRootToTheNext) {
  const auto roots = copies_->roots();
  const std::string root = dir_.path() + "/root-" + kJob.hex();
  ASSERT_TRUE(roots->claim(kJob, Epoch{2}, root).ok());
  ASSERT_TRUE(roots->claim(kJob, Epoch{3}, root).ok());
  roots->drop(kJob, Epoch{2}, root);
  EXPECT_TRUE(fs::exists(root + "/proc"));
  roots->drop(kJob, Epoch{2}, root);  // said twice
  roots->drop_through(kJob, Epoch{2}, root);
  EXPECT_TRUE(fs::exists(root + "/proc"));
  roots->drop_through(kJob, Epoch{3}, root);
  EXPECT_TRUE(::geteuid() != 0 || !fs::exists(root));  // unmounting needs root
  EXPECT_TRUE(roots->claim(kJob, Epoch{4}, "").ok());  // a job without one
  roots->drop(kJob, Epoch{4}, "");
}

// Whoever stored the mark may have been killed before it was on the disk.
TEST_F(CopiesTest, AMarkThatIsFoundIsStoredAgainBeforeTheCopyCountsAsReleased) {
  paths_.cgroup = dir_.path() + "/no-cgroup";
  ASSERT_TRUE(job_folder::make(folder()).ok());
  ASSERT_TRUE(job_folder::mark_released(folder(), Epoch{2}).ok());
  const auto file = [&] {
    struct stat info {};
    EXPECT_EQ(::stat((folder() + "/released-e2").c_str(), &info), 0);
    return info.st_ino;
  };
  const auto before = file();
  std::vector<balance::Event> told;
  HandoverIn::Callbacks callbacks;
  callbacks.report = [&](const balance::Event& event) { told.push_back(event); };
  HandoverIn in(loop_, paths_, *copies_, base::null_log(), false, std::move(callbacks));
  const balance::HandoverId id{base::TriadId{{1}}, kJob, Epoch{2}};
  in.release({id, base::NodeId{{4}}, {}});
  ASSERT_TRUE(until([&] { return !told.empty(); }));
  const auto* released = std::get_if<balance::Released>(&told[0]);
  ASSERT_NE(released, nullptr);
  EXPECT_TRUE(released->ran);
  EXPECT_NE(file(), before);
}

// An original that was gone is neither thawed nor killed: nothing else ends the attempt.
TEST_F(CopiesTest, AHandoverThatIsOverIsNotKept) {
  Links::Identity who;
  who.keys = identity::NodeKeys::make(random_secret(), random_secret());
  Links links(loop_, std::move(who), base::null_log(), Links::Callbacks{});
  std::vector<balance::Event> told;
  HandoverOut::Callbacks callbacks;
  callbacks.report = [&](const balance::Event& event) { told.push_back(event); };
  callbacks.describe = [](const JobId&) { return std::optional<node::MoveMetadata>(); };
  callbacks.addresses = [](const base::NodeId&) {
    return std::vector<base::Endpoint>{loopback(1)};  // nobody listens there
  };
  callbacks.frozen = [](const JobId&) {};
  HandoverOut out(loop_, paths_, *copies_, links, base::null_log(), std::move(callbacks));
  const balance::HandoverId id{base::TriadId{{1}}, kJob, Epoch{2}};
  out.stream({id, base::NodeId{{4}}});
  ASSERT_TRUE(until([&] { return !told.empty(); }));
  EXPECT_TRUE(std::holds_alternative<balance::StreamFailed>(told[0]));
  EXPECT_EQ(out.attempts(), 1U);
  out.over(id);
  EXPECT_EQ(out.attempts(), 0U);
  out.over(id);
}

}  // namespace
}  // namespace ternd::testing
