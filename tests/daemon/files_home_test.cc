// The files of a job that ended as a guest, between two nodes (daemon/files_home.h).
#include "daemon/files_home.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "daemon/files_owed.h"
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
    callbacks.beside = [](const auto&, const machine::LaidBeside&) {};
    callbacks.refused = [this](const auto&, const base::Error& why) {
      EXPECT_EQ(why.code, base::Code::kRefused);
      refused.push_back(why.detail);
    };
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
  std::vector<std::string> refused;
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
    home_.files->take(std::move(bulk), hello());
  }
  [[nodiscard]] transfer::ImageHello hello() const {
    transfer::ImageHello hello;
    hello.kind = transfer::ImageHello::Kind::kFilesHome;
    hello.job = spec_.id;
    hello.epoch = base::Epoch{2};
    return hello;
  }
  // Tern put it there for the job.
  void came(const std::string& path, const std::string& words) {
    std::ofstream(path) << words;
    note_as_placed(path);
  }
  void note_as_placed(const std::string& path) {
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    auto ledger = machine::LedgerFile::open(guest_.paths.files(),
                                            machine::arrival_ledger(spec_.id, base::Epoch{2}));
    ASSERT_TRUE(ledger.ok());
    ASSERT_TRUE(
        (*ledger)->append({transfer::LedgerKind::kUser, {}, {}, spec_.uid, spec_.gid, {}}).ok());
    ASSERT_TRUE(
        (*ledger)
            ->append({transfer::LedgerKind::kPlaced, path, {}, info.st_dev, info.st_ino, {}})
            .ok());
  }
  // It does so just before they would be sent.
  void end_but(const std::function<void()>& meanwhile) {
    home_.callbacks.expected = [this](const auto&, const auto&) { return spec_; };
    guest_.callbacks.addresses = [this, meanwhile](const auto&) {
      meanwhile();
      return std::vector{home_.at()};
    };
    end();
    ASSERT_TRUE(run_until(loop_, [&] { return guest_.over; }));
    EXPECT_TRUE(told_);
    EXPECT_FALSE(owed());
  }
  void expect_given_up(const std::string& why) {
    ASSERT_EQ(guest_.said.size(), 1U);
    EXPECT_EQ(guest_.said[0], "what the job changed of its files stays on this node: " + why);
    ASSERT_EQ(home_.refused.size(), 1U);
    EXPECT_EQ(home_.refused[0], "that node says: " + why);
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
  EXPECT_TRUE(home_.refused.empty()) << "said to the people of a job that there is not";
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

// The daemon was killed when home had them and the half of them was gone here.
TEST_F(FilesOfAnEndedJob, AreNotSentOnceMoreByWhoWasKilledWhenHomeHadThem) {
  const std::string left = guest_.dir.path() + "/left";
  came(left, "what it changed");
  const FilesOwed owes{spec_, base::Epoch{2}};
  ASSERT_TRUE(files_owed::note(guest_.paths.files_owed(), owes).ok());
  ASSERT_TRUE(files_owed::home_has_it(guest_.paths.files_owed(), owes).ok());
  guest_.open(loop_);
  home_.open(loop_);
  EXPECT_EQ(guest_.files->resume(), std::vector<base::JobId>{spec_.id});
  EXPECT_TRUE(guest_.files->waiting().empty());
  ASSERT_TRUE(run_until(loop_, [&] { return guest_.over; }));
  EXPECT_TRUE(home_.bulks.empty());
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::is_empty(guest_.paths.files_owed()));
}

// What is still here would be a list of its own otherwise.
TEST_F(FilesOfAnEndedJob, StayNotedAsHomesWhereNotAllCouldGo) {
  const std::string left = guest_.dir.path() + "/left";
  came(left, "what it changed");
  const std::string odd = guest_.dir.path() + "/odd";
  ASSERT_TRUE(fs::create_directory(odd));
  note_as_placed(odd);  // no file: it cannot be removed as one
  const FilesOwed owes{spec_, base::Epoch{2}};
  ASSERT_TRUE(files_owed::home_has_it(guest_.paths.files_owed(), owes).ok());
  guest_.open(loop_);
  home_.open(loop_);
  EXPECT_EQ(guest_.files->resume().size(), 1U);
  ASSERT_TRUE(run_until(loop_, [&] { return guest_.over; }));
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(files_owed::is_home(guest_.paths.files_owed(), owes));
  EXPECT_TRUE(home_.bulks.empty());
}

// Its end is found once more then.
TEST_F(FilesOfAnEndedJob, AreNotBroughtOnceMoreWhereHomeHasThem) {
  const std::string left = guest_.dir.path() + "/left";
  came(left, "what it changed");
  const FilesOwed owes{spec_, base::Epoch{2}};
  ASSERT_TRUE(files_owed::home_has_it(guest_.paths.files_owed(), owes).ok());
  guest_.open(loop_);
  home_.open(loop_);
  guest_.files->bring(spec_, base::Epoch{2}, [this] { told_ = true; });
  ASSERT_TRUE(run_until(loop_, [&] { return guest_.over; }));
  EXPECT_TRUE(told_);
  EXPECT_TRUE(home_.bulks.empty());
  EXPECT_FALSE(fs::exists(left));
}

// Home would remove its own of what is missing on the list.
TEST_F(FilesOfAnEndedJob, AreNotSentWhereOneWasRemovedSince) {
  const std::string left = guest_.dir.path() + "/left";
  came(left, "what it changed");
  end_but([&] { fs::remove(left); });
  expect_given_up(left + " was removed here since the job ended");
}

// Over the daemon's end, too.
TEST_F(FilesOfAnEndedJob, AreNotSentByTheNextDaemonWhereOneWasRemovedSince) {
  const std::string left = guest_.dir.path() + "/left";
  came(left, "what it changed");
  const FilesOwed owes{spec_, base::Epoch{2}, std::set<std::string>()};
  ASSERT_TRUE(files_owed::note(guest_.paths.files_owed(), owes).ok());
  fs::remove(left);
  home_.callbacks.expected = [this](const auto&, const auto&) { return spec_; };
  guest_.open(loop_);
  home_.open(loop_);
  EXPECT_EQ(guest_.files->resume().size(), 1U);
  ASSERT_TRUE(run_until(loop_, [&] { return !home_.bulks.empty(); }));
  home_.files->take(std::move(home_.bulks.front()), hello());
  ASSERT_TRUE(run_until(loop_, [&] { return guest_.over; }));
  expect_given_up(left + " was removed here since the job ended");
}

TEST_F(FilesOfAnEndedJob, ComeWithoutWhatTheJobRemoved) {
  const std::string left = guest_.dir.path() + "/left";
  const std::string removed = guest_.dir.path() + "/removed";
  came(left, "what it changed");
  came(removed, "what it had no need of");
  fs::remove(removed);
  end_but([] {});
  EXPECT_TRUE(guest_.said.empty()) << guest_.said[0];
  EXPECT_TRUE(home_.refused.empty());
}

TEST_F(FilesOfAnEndedJob, AreGivenUpWhereTheirFolderIsGone) {
  spec_.dir = guest_.dir.path() + "/data";
  ASSERT_TRUE(fs::create_directory(spec_.dir));
  end_but([&] { fs::remove(spec_.dir); });
  expect_given_up(spec_.dir + ", which was named with --dir, is no folder any more");
}

// Not "as home does not take it", nor tried for ever.
TEST_F(FilesOfAnEndedJob, AreGivenUpWhereTheGuestCannotReadThem) {
  const std::string left = guest_.dir.path() + "/left";
  came(left, "what it changed");
  end_but([&] {
    fs::remove(left);
    ASSERT_EQ(::mkfifo(left.c_str(), 0600), 0);
  });
  expect_given_up(left + " is of no kind that moves");
}

TEST_F(FilesOfAnEndedJob, AreGivenUpWhereItsUserMayNotReadThem) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root works as another user";
  const std::string left = guest_.dir.path() + "/left";
  came(left, "what it changed");
  fs::permissions(guest_.dir.path(), fs::perms::owner_all);
  spec_.uid = spec_.gid = 65534;
  end_but([] {});
  expect_given_up(left + ": cannot look at it as the job's user: Permission denied");
}

TEST(FilesHomeWait, IsThreeTimesAsLongAsAnAttemptTook) {
  using std::chrono::minutes;
  using std::chrono::seconds;
  EXPECT_EQ(files_home_wait(seconds(0), kFilesHomeAgain), kFilesHomeAgain);
  EXPECT_EQ(files_home_wait(seconds(1), minutes(5)), kFilesHomeNoRoomMax);
  EXPECT_EQ(files_home_wait(minutes(4), kFilesHomeAgain), minutes(12));
  EXPECT_EQ(files_home_wait(minutes(40), kFilesHomeAgain), minutes(60));
}

TEST(FilesOwedNote, IsReadAsItWasWrittenAndByOlderTern) {
  TempDir dir;
  const std::string folder = dir.path() + "/files-owed";
  FilesOwed owes;
  owes.spec.id.bytes[0] = 7;
  owes.spec.argv = {"job"};
  owes.epoch = base::Epoch{2};
  for (const bool known : {false, true}) {
    if (known) owes.removed = {"/data/a", "/data/b"};
    ASSERT_TRUE(files_owed::note(folder, owes).ok());
    auto all = files_owed::read_all(folder);
    ASSERT_EQ(all.found.size(), 1U);
    EXPECT_TRUE(all.unreadable.empty());
    EXPECT_EQ(all.found[0].owed.removed, owes.removed);
    EXPECT_EQ(all.found[0].owed.epoch, owes.epoch);
    EXPECT_FALSE(all.found[0].home_has_it);
    std::ifstream in(folder + "/" + owes.spec.id.hex(), std::ios::binary);
    EXPECT_EQ(in.get(), known ? 0x94 : 0x93);
    EXPECT_EQ(in.get(), known ? 2 : 1);
  }
}

// Nothing of them goes here before it is noted that home has them, and nothing of the connection
// counts from then on.
TEST_F(FilesOfAnEndedJob, AreNotedAsHomesBeforeTheyGo) {
  const std::string left = guest_.dir.path() + "/left";
  came(left, "what it changed");
  home_.callbacks.expected = [this](const auto&, const auto&) { return spec_; };
  // What is at the place of the note that home has them: it cannot be written.
  ASSERT_TRUE(fs::create_directories(guest_.paths.files_owed() + "/" + spec_.id.hex() + ".home/x"));
  end();
  ASSERT_TRUE(run_until(loop_, [&] { return told_; }));
  ASSERT_TRUE(run_until(loop_, [&] { return !guest_.files->pending(spec_.id); }));
  EXPECT_TRUE(fs::exists(left));
}

}  // namespace
}  // namespace ternd::testing
