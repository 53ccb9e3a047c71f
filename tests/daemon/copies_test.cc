// What is done to jobs' folders and init roots, without a job: order, and who still needs them.
#include "daemon/copies.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <future>

#include "daemon/handover_in.h"
#include "daemon/handover_out.h"
#include "daemon/job_folder.h"
#include "daemon/output_limit.h"
#include "loop_rig.h"

namespace ternd::testing {
namespace {

namespace fs = std::filesystem;
using base::Epoch;
using base::JobId;
using base::Status;

const JobId kJob{{9}};
constexpr std::uint64_t kLimit = 8 << 20;

class CopiesTest : public ::testing::Test {
 protected:
  CopiesTest() {
    paths_.state = dir_.path();
    fs::create_directories(paths_.jobs());
    Copies::Callbacks callbacks;
    callbacks.ended = [](const JobId&, std::int32_t, node::StreamEnds) {};
    copies_ = std::make_unique<Copies>(loop_, paths_, machine::Helpers{}, base::null_log(), kLimit,
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

// What was written at an offset tells the offset.
std::string numbered(std::uint64_t begin, std::uint64_t end) {
  std::string out;
  for (std::uint64_t at = begin; at < end; at += 8) {
    std::string number = std::to_string(at);
    out += std::string(7 - number.size(), '0') + number + "\n";
  }
  return out;
}

TEST_F(CopiesTest, TheOldestOutputGoesAtTheLimitAndNothingThatIsStillToBeRead) {
  constexpr std::uint64_t kMiB = 1 << 20;
  ASSERT_TRUE(job_folder::make(folder()).ok());
  if (!job_folder::can_trim(folder())) GTEST_SKIP() << "no file system that can punch holes";
  std::uint64_t end = 0;
  const auto append = [&](std::uint64_t size) {
    const std::string text = numbered(end, end + size);
    std::optional<Status> told;
    copies_->append_home(
        kJob, 0, end, base::to_bytes(base::as_bytes(text)),
        [&](const Status& status, std::optional<std::uint64_t>) { told = status; });
    EXPECT_TRUE(until([&] { return told.has_value(); }));
    if (*told) end += size;
    return told->ok() ? base::Code::kInvalid : told->error().code;
  };
  const auto read = [&](std::uint64_t offset) {
    std::optional<std::pair<std::uint64_t, std::string>> told;
    copies_->read(kJob, 0, offset, 64, [&](std::uint64_t begin, base::Bytes bytes, auto) {
      told = {begin, std::string(base::as_text(bytes))};
    });
    EXPECT_TRUE(until([&] { return told.has_value(); }));
    return *told;
  };
  using Piece = std::pair<std::uint64_t, std::string>;
  for (int i = 0; i < 8; ++i) EXPECT_EQ(append(kMiB), base::Code::kInvalid);
  EXPECT_EQ(append(8), base::Code::kFull);  // and no byte of it is there
  EXPECT_EQ(read(end), Piece(end, ""));

  OutputLimit limit(loop_, *copies_, base::null_log(), kLimit);
  const auto grew = [&](std::uint64_t floor) {
    limit.spool_grew(kJob, 0, end, floor);
    EXPECT_TRUE(until([] { return loop::blocking_in_flight() == 0; }));
    struct stat info {};
    EXPECT_EQ(::stat((folder() + "/stdout.log").c_str(), &info), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(info.st_size), end);
    return static_cast<std::uint64_t>(info.st_blocks) * 512 / kMiB;
  };
  EXPECT_EQ(grew(0), 8U);
  EXPECT_EQ(read(0), Piece(0, numbered(0, 64)));
  EXPECT_EQ(grew(2 * kMiB + 5), 6U);
  EXPECT_EQ(read(0), Piece(2 * kMiB, numbered(2 * kMiB, 2 * kMiB + 64)));
  EXPECT_EQ(append(kMiB), base::Code::kInvalid);
  EXPECT_EQ(grew(end), 4U);
  EXPECT_EQ(read(64), Piece(5 * kMiB, numbered(5 * kMiB, 5 * kMiB + 64)));
  EXPECT_EQ(read(end - 64), Piece(end - 64, numbered(end - 64, end)));
  EXPECT_EQ(grew(end), 4U);  // half of the limit stays
}

// Zeros that a job wrote are no hole, wherever they are stored as one.
TEST_F(CopiesTest, AHoleInTheMiddleIsOutput) {
  ASSERT_TRUE(job_folder::make(folder()).ok());
  std::ofstream(folder() + "/stdout.log") << "first";
  fs::resize_file(folder() + "/stdout.log", 4 << 20);
  const job_folder::Piece piece = job_folder::read(folder(), 0, 1 << 20, 4);
  EXPECT_EQ(piece.offset, 1U << 20);
  EXPECT_EQ(piece.bytes, base::Bytes(4, 0));
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
  callbacks.home_is_here = [](const JobId&) { return false; };
  HandoverIn in(loop_, paths_, machine::Helpers{}, *copies_, base::null_log(), false,
                std::move(callbacks));
  const balance::HandoverId id{base::TriadId{{1}}, kJob, Epoch{2}};
  in.release({id, base::NodeId{{4}}, {}});
  ASSERT_TRUE(until([&] { return !told.empty(); }));
  const auto* released = std::get_if<balance::Released>(&told[0]);
  ASSERT_NE(released, nullptr);
  EXPECT_TRUE(released->ran);
  EXPECT_NE(file(), before);
}

HandoverOut::Callbacks callbacks_of_source(std::vector<balance::Event>& told) {
  HandoverOut::Callbacks callbacks;
  callbacks.report = [&](const balance::Event& event) { told.push_back(event); };
  callbacks.describe = [](const JobId&) { return std::optional<node::MoveMetadata>(); };
  callbacks.addresses = [](const base::NodeId&) {
    return std::vector<base::Endpoint>{loopback(1)};  // nobody listens there
  };
  callbacks.frozen = [](const JobId&) {};
  callbacks.home_is_here = [](const JobId&) { return true; };
  return callbacks;
}

// It is asked for every second until it is done, and takes longer where processes end slowly.
TEST_F(CopiesTest, AnOriginalIsKilledOnceHoweverOftenThatIsAskedForMeanwhile) {
  paths_.cgroup = dir_.path();
  ASSERT_TRUE(job_folder::make(folder()).ok());
  Links::Identity who;
  who.keys = identity::NodeKeys::make(random_secret(), random_secret());
  Links links(loop_, std::move(who), base::null_log(), Links::Callbacks{});
  std::vector<balance::Event> told;
  HandoverOut out(loop_, paths_, *copies_, links, base::null_log(), callbacks_of_source(told));
  const balance::HandoverId id{base::TriadId{{1}}, kJob, Epoch{2}};
  for (int i = 0; i < 3; ++i) out.kill({id, Epoch{2}});
  EXPECT_EQ(loop::blocking_in_flight(), 1U);
  ASSERT_TRUE(until([&] { return !told.empty(); }));
  ASSERT_TRUE(until([] { return loop::blocking_in_flight() == 0; }));
  EXPECT_EQ(told.size(), 1U);
  out.kill({id, Epoch{2}});
  EXPECT_TRUE(until([&] { return told.size() == 2; }));
}

// An original that was gone is neither thawed nor killed: nothing else ends the attempt.
TEST_F(CopiesTest, AHandoverThatIsOverIsNotKept) {
  Links::Identity who;
  who.keys = identity::NodeKeys::make(random_secret(), random_secret());
  Links links(loop_, std::move(who), base::null_log(), Links::Callbacks{});
  std::vector<balance::Event> told;
  HandoverOut out(loop_, paths_, *copies_, links, base::null_log(), callbacks_of_source(told));
  const balance::HandoverId id{base::TriadId{{1}}, kJob, Epoch{2}};
  out.stream({id, base::NodeId{{4}}}, /*tcp_close=*/false);
  ASSERT_TRUE(until([&] { return !told.empty(); }));
  EXPECT_TRUE(std::holds_alternative<balance::StreamFailed>(told[0]));
  EXPECT_EQ(out.attempts(), 1U);
  out.over(id);
  EXPECT_EQ(out.attempts(), 0U);
  out.over(id);
}

}  // namespace
}  // namespace ternd::testing
