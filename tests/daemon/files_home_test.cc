// The files of a job that ended as a guest, between two nodes (daemon/files_home.h).
#include "daemon/files_home.h"

#include <unistd.h>

#include <fstream>

#include "links_rig.h"
#include "machine/ledger_files.h"

namespace ternd::testing {
namespace {

namespace fs = std::filesystem;

class Node : public Member {
 public:
  Node(loop::Loop& loop, const base::crypto::SignKey& root, const std::string& name)
      : Member(loop, root, name) {
    paths.state = dir.path();
    callbacks.over = [this](const base::JobId&) { over = true; };
    callbacks.expected = [](const auto&, const auto&) { return std::nullopt; };
    callbacks.never = [](const auto&, base::Epoch) { return std::string(); };
    callbacks.said = [this](const base::JobId&, const std::string& what) { said.push_back(what); };
    callbacks.refused = [this](const auto&, const base::Error&) { ++refused; };
  }
  void open(loop::Loop& loop) {
    files = std::make_unique<FilesHome>(loop, paths, *links, base::null_log(), callbacks);
  }

  TempDir dir;
  Paths paths;
  FilesHome::Callbacks callbacks;
  std::unique_ptr<FilesHome> files;
  std::vector<std::string> said;
  bool over = false;
  int refused = 0;
};

class FilesOfAnEndedJob : public ::testing::Test {
 protected:
  FilesOfAnEndedJob() {
    spec_.id.bytes[0] = 7;
    spec_.name = "encode";
    spec_.argv = {"job"};
    spec_.home = home_.id();
    spec_.uid = ::geteuid();
    spec_.gid = ::getegid();
    guest_.callbacks.addresses = [this](const auto&) { return std::vector{home_.at()}; };
    auto came = machine::LedgerFile::open(guest_.paths.files(),
                                          machine::arrival_ledger(spec_.id, base::Epoch{2}));
    EXPECT_TRUE(came.ok());
  }
  // It ends, and the guest calls home.
  BulkStream call() {
    guest_.open(loop_);
    home_.open(loop_);
    guest_.files->bring(spec_, base::Epoch{2}, [this] { told_ = true; });
    EXPECT_TRUE(run_until(loop_, [&] { return !home_.bulks.empty(); }));
    BulkStream bulk = std::move(home_.bulks.front());
    home_.bulks.clear();
    return bulk;
  }
  // And home gets what it sends.
  void end() {
    BulkStream bulk = call();
    ASSERT_NE(bulk.stream, nullptr);
    transfer::ImageHello hello;
    hello.kind = transfer::ImageHello::Kind::kFilesHome;
    hello.job = spec_.id;
    hello.epoch = base::Epoch{2};
    home_.files->take(std::move(bulk), hello);
  }
  [[nodiscard]] bool owed() const {
    return fs::exists(guest_.paths.files_owed() + "/" + spec_.id.hex());
  }

  loop::Loop loop_;
  base::crypto::SignKey root_ = base::crypto::sign_key_from_seed(random_secret());
  Node guest_{loop_, root_, "b"};
  Node home_{loop_, root_, "a"};
  node::JobSpec spec_;
  bool told_ = false;
};

// As a person had it forget the job, or resolved it: nobody will ever take them.
TEST_F(FilesOfAnEndedJob, AreOverWhereHomeKnowsItNoMore) {
  home_.callbacks.never = [](const auto&, base::Epoch epoch) {
    EXPECT_EQ(epoch, base::Epoch{2});
    return std::string("the job is not known there any more");
  };
  end();
  ASSERT_TRUE(run_until(loop_, [&] { return guest_.over; }));
  EXPECT_TRUE(told_);
  EXPECT_FALSE(owed());
  EXPECT_TRUE(guest_.files->waiting().empty());
  ASSERT_EQ(guest_.said.size(), 1U);
  EXPECT_NE(guest_.said[0].find("stays on this node"), std::string::npos);
  EXPECT_NE(guest_.said[0].find("not known there any more"), std::string::npos);
  EXPECT_EQ(home_.refused, 0) << "said to the people of a job that there is not";
}

// It does not know yet where the job is.
TEST_F(FilesOfAnEndedJob, WaitWhereHomeDoesNotExpectThemYet) {
  end();
  ASSERT_TRUE(run_until(loop_, [&] { return told_; }));
  EXPECT_FALSE(guest_.over);
  EXPECT_TRUE(owed());
  const auto waiting = guest_.files->waiting();
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_EQ(waiting[0].name, "encode");
  EXPECT_EQ(waiting[0].home, home_.id());
  EXPECT_FALSE(waiting[0].why.empty());
}

// Home takes few connections at a time, and there may be many such jobs.
TEST_F(FilesOfAnEndedJob, KeepNoConnectionWhileTheyWaitForRoom) {
  BulkStream bulk = call();
  ASSERT_NE(bulk.stream, nullptr);
  bool closed = false;
  PeerStream::Callbacks on;
  on.on_end = [&] { closed = true; };
  on.on_failed = [&](const base::Error&) { closed = true; };
  bulk.stream->take_over(std::move(on));
  const base::Time began = loop::Loop::now();
  ASSERT_TRUE(
      bulk.stream
          ->send({transfer::encode_job_refuse(transfer::JobFilesType::kFull, "1 MiB is free")})
          .ok());
  bulk.stream->flush();
  ASSERT_TRUE(run_until(loop_, [&] { return closed; }));
  EXPECT_LT(loop::Loop::now() - began, kFilesHomeAgain) << "closed only for the next attempt";
  EXPECT_TRUE(told_);
  EXPECT_TRUE(owed());
  ASSERT_FALSE(guest_.said.empty());
  EXPECT_EQ(guest_.said[0],
            "what the job changed of its files waits here for room at home: 1 MiB is free");
  ASSERT_TRUE(run_until(loop_, [&] { return !home_.bulks.empty(); })) << "it does not try again";
  EXPECT_GE(loop::Loop::now() - began, kFilesHomeAgain / 2);
}

}  // namespace
}  // namespace ternd::testing
