// What waits for an init on its way into its feed, with a child that has an init's pipes and
// never takes anything.
#include "daemon/job_inputs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "loop_rig.h"

namespace ternd::testing {
namespace {

using base::JobId;
using node::InputKind;

const JobId kJob{{9}};
const base::NodeId kFeeder{{1}};

class JobInputsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int feed[2];
    int news[2];
    ASSERT_EQ(::pipe2(feed, O_CLOEXEC | O_NONBLOCK), 0);
    ASSERT_EQ(::pipe2(news, O_CLOEXEC | O_NONBLOCK), 0);
    init_ = ::fork();
    if (init_ == 0) be_init(feed, news);
    feed_ = machine::Fd(feed[0]);
    news_ = machine::Fd(news[1]);
    ::close(feed[1]);
    char ready = 0;
    pollfd one{feed_.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&one, 1, 20'000), 1);
    ASSERT_EQ(::read(feed_.get(), &ready, 1), 1);
    ::close(news[0]);
    auto name = machine::name_process(init_);
    ASSERT_TRUE(name.ok());
    copy_.job = kJob;
    copy_.init = *name;
  }
  void TearDown() override {
    ::kill(init_, SIGKILL);
    (void)::waitpid(init_, nullptr, 0);
  }
  [[noreturn]] static void be_init(const int feed[2], const int news[2]) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)::close(feed[0]);
    (void)::close(news[1]);
    // Out of the way of the numbers that they get.
    const int ends[3] = {::fcntl(feed[1], F_DUPFD, 100), ::fcntl(news[0], F_DUPFD, 100),
                         ::open("/dev/null", O_RDONLY)};
    (void)::dup2(ends[2], init::kInitStatusWrite);
    (void)::dup2(ends[0], init::kInitFeedWrite);
    (void)::dup2(ends[1], init::kInitNewsRead);
    (void)::write(init::kInitFeedWrite, "r", 1);
    for (;;) ::pause();
  }

  void tell(std::uint64_t session, std::uint64_t taken) {
    const init::InputState state{init::kInputMagic, session, taken, 0, 0};
    ASSERT_EQ(::write(news_.get(), &state, sizeof state), static_cast<ssize_t>(sizeof state));
  }
  bool until(const std::function<bool()>& done) { return run_until(loop_, done); }
  void feed(InputKind kind, std::uint64_t session, std::uint64_t offset, std::string_view bytes,
            base::NodeId from = kFeeder) {
    node::Input input;
    input.query = ++query_;
    input.job = kJob;
    input.session = session;
    input.kind = kind;
    input.offset = offset;
    input.bytes = base::to_bytes(base::as_bytes(bytes));
    inputs_.feed({from, input});
  }
  // All frames that are in the feed now.
  std::vector<init::InputFrame> frames(std::string& text) {
    std::vector<init::InputFrame> out;
    init::InputFrame frame = {};
    while (::read(feed_.get(), &frame, sizeof frame) == static_cast<ssize_t>(sizeof frame)) {
      out.push_back(frame);
      std::string bytes(frame.size, '\0');
      if (frame.size == 0) continue;
      EXPECT_EQ(::read(feed_.get(), bytes.data(), bytes.size()), frame.size);
      EXPECT_EQ(frame.offset, text.size());
      text += bytes;
    }
    return out;
  }

  pid_t init_ = 0;
  machine::Fd feed_;
  machine::Fd news_;
  CopyView copy_;
  loop::Loop loop_;
  std::uint64_t query_ = 0;
  std::vector<node::InputReply> told_;
  std::vector<base::NodeId> to_;
  std::function<void()> on_told_;
  JobInputs inputs_{loop_, [this](const JobId&) { return &copy_; },
                    [this](node::JobFed fed) {
                      told_.push_back(fed.reply);
                      to_.push_back(fed.to);
                      if (on_told_) std::exchange(on_told_, nullptr)();
                    }};
};

TEST_F(JobInputsTest, SmallPiecesForAJobThatDoesNotReadFillTheWindowAndNoMore) {
  feed(InputKind::kClaim, 1, 0, {});
  tell(1, 0);
  ASSERT_TRUE(until([&] { return !told_.empty(); }));
  // A desk sends no more than the window past what was taken.
  std::string line(100, '\0');
  std::string all;
  for (std::size_t i = 0; all.size() + line.size() <= node::kInputWindow; ++i) {
    std::fill(line.begin(), line.end(), static_cast<char>('a' + i % 26));
    feed(InputKind::kBytes, 1, all.size(), line);
    all += line;
    ASSERT_EQ(told_.back().held, all.size());
  }
  // What a feeder sends on is not answered, which would bring it again; a question is.
  for (std::uint64_t end = all.size();; end += 32'768) {
    const std::size_t answers = told_.size();
    feed(InputKind::kBytes, 1, end, std::string(32'768, 'x'));
    if (told_.size() == answers) break;
    ASSERT_EQ(told_.back().held, end + 32'768);
    all += std::string(32'768, 'x');
    ASSERT_LT(end, 2 * node::kInputWindow);
  }
  feed(InputKind::kAsk, 1, 0, {});
  EXPECT_EQ(told_.back().held, all.size());
  std::string text;
  EXPECT_TRUE(until([&] {
    (void)frames(text);
    return text.size() >= all.size();
  }));
  EXPECT_EQ(text, all);
}

// Whoever is told may feed at once, and that may find that init has just ended.
TEST_F(JobInputsTest, WhoeverIsReplacedHearsOfItThoughInitEndsMeanwhile) {
  (void)::signal(SIGPIPE, SIG_IGN);
  const base::NodeId other{{2}};
  feed(InputKind::kClaim, 1, 0, {});
  tell(1, 0);
  ASSERT_TRUE(until([&] { return !told_.empty(); }));
  feed(InputKind::kClaim, 2, 0, {}, other);
  on_told_ = [this, other] {
    feed_.reset();
    feed(InputKind::kBytes, 2, 0, "x", other);
  };
  tell(2, 0);
  ASSERT_TRUE(until([&] { return told_.size() >= 3; }));
  EXPECT_EQ(to_[1], other);
  EXPECT_EQ(to_[2], kFeeder);
  EXPECT_EQ(told_[2].session, 2U);
  EXPECT_EQ(told_[2].query, 0U);
}

TEST_F(JobInputsTest, WhatIsSaidAgainWaitsOnce) {
  feed(InputKind::kClaim, 1, 0, {});
  tell(1, 0);
  ASSERT_TRUE(until([&] { return !told_.empty(); }));
  const std::string all(node::kInputWindow, 'x');
  feed(InputKind::kBytes, 1, 0, all);
  for (int i = 0; i < 5000; ++i) feed(InputKind::kEnd, 1, all.size(), {});
  std::string text;
  std::size_t ends = 0;
  EXPECT_TRUE(until([&] {
    for (const init::InputFrame& frame : frames(text)) {
      if (frame.kind == init::InputKind::kEnd) ++ends;
    }
    return ends > 0;
  }));
  EXPECT_EQ(text, all);
  EXPECT_EQ(ends, 1U);
}

}  // namespace
}  // namespace ternd::testing
