// Modes, times and removed folders of a job: at home before it goes on there, and undone with all
// the rest.
#include "job_files_rig.h"
#include "machine/file_marks.h"
#include "with_mount.h"

namespace machine {
namespace {

using transfer::LedgerKind;

class JobFilesMarks : public JobFilesOnDisk {
 protected:
  static std::uint32_t mode_of(const fs::path& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0U;
  }
  static struct stat stat_of(const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info;
  }
  static void touch(const fs::path& path, std::int64_t seconds) {
    const timespec times[2] = {{0, UTIME_OMIT}, {seconds, 7}};
    EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0) << path;
  }
  static void run(const std::string& command) {
    ASSERT_EQ(::system(command.c_str()), 0) << command;
  }
  // It leaves its home, which waits elsewhere from now on; what follows is done where it is a
  // guest.
  void leaves_home() {
    if (tree_.uid == kNobody) run("chown -R 65534:65534 " + dir_.string());
    remember(leave());
    run("cp -a " + dir_.string() + " " + (top_ / "home").string());
  }
  Left goes_home() {
    Left away = leave();
    move_away();
    fs::rename(top_ / "home", dir_);
    placer_.at_home = true;
    return away;
  }
  void settle() {
    ASSERT_TRUE(settle_ledger(placer_.ledgers, arrival_ledger(placer_.job, placer_.epoch)).ok());
  }
};

// The folder that it is in is compared when a job is restored, and it goes on at once.
TEST_F(JobFilesMarks, AreThereBeforeItGoesOnAndUndone) {
  if (::geteuid() == 0) as_nobody();
  fs::create_directories(dir_ / "closed");
  fs::create_directories(dir_ / "gone/deep/empty");
  for (const char* name : {"closed/a", "gone/b", "gone/deep/c"}) write(dir_ / name, "old");
  ASSERT_EQ(::chmod(dir_.c_str(), 0700), 0);
  leaves_home();
  ASSERT_EQ(::chmod((top_ / "home/closed").c_str(), 02755), 0);
  ASSERT_EQ(::chmod(dir_.c_str(), 0750), 0);
  write(dir_ / "closed/a", "by the job");
  ASSERT_EQ(::chmod((dir_ / "closed").c_str(), 0500), 0);
  fs::remove_all(dir_ / "gone");
  const Left away = goes_home();
  const auto before = names();
  {
    auto to = placer();
    ASSERT_EQ(arrive(*to, away, true), "");
    EXPECT_EQ(mode_of(dir_), 0750U);
    EXPECT_EQ(mode_of(dir_ / "closed"), 02500U);
    EXPECT_FALSE(fs::exists(dir_ / "gone"));
    const auto undone = undo();
    ASSERT_TRUE(undone.ok()) << undone.error().detail;
    const auto arrivals = has_arrivals(placer_.ledgers, placer_.job);
    EXPECT_TRUE(arrivals.ok() && !*arrivals);
  }
  EXPECT_EQ(names(), before);
  EXPECT_EQ(mode_of(dir_), 0700U);
  EXPECT_EQ(mode_of(dir_ / "closed"), 02755U);
  for (const char* name : {"closed/a", "gone/b", "gone/deep/c"}) {
    EXPECT_EQ(text_of(dir_ / name), "old") << name;
  }
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, true), "");
  // Here it goes on, before its home knows that all is settled.
  fs::create_directory(dir_ / "gone");
  ASSERT_EQ(::chmod(dir_.c_str(), 0711), 0);
  settle();
  EXPECT_EQ(names(), (std::vector<std::string>{"closed", "closed/a", "gone"}));
  EXPECT_EQ(mode_of(dir_), 0711U);
  EXPECT_EQ(mode_of(dir_ / "closed"), 02500U);
  EXPECT_EQ(text_of(dir_ / "closed/a"), "by the job");
}

// A rebuilt tree, or one that came back from a disk that keeps less of a time.
TEST_F(JobFilesMarks, AloneNeedNoRoom) {
  const std::string old(40 << 20, 'x');
  write(dir_ / "data", old);
  touch(dir_ / "data", 2000);
  const Left home = leave();
  touch(dir_ / "data", 3000);
  ASSERT_EQ(::chmod((dir_ / "data").c_str(), 0755), 0);
  const Left away = leave();
  fs::remove(dir_ / "data");
  const bool mounted = with_mount({"tmpfs", dir_.string(), "tmpfs", 0, "size=60m,mode=755"}, [&] {
    write(dir_ / "data", old);
    touch(dir_ / "data", 2000);
    ASSERT_EQ(::chmod((dir_ / "data").c_str(), 0644), 0);
    remember(home);
    placer_.at_home = true;
    const auto own = stat_of(dir_ / "data").st_ino;
    auto to = placer();
    ASSERT_EQ(arrive(*to, away, true), "");
    EXPECT_EQ(sent_, 0U);
    const struct stat now = stat_of(dir_ / "data");
    EXPECT_EQ(now.st_ino, own);
    EXPECT_EQ(now.st_mode & 07777U, 0755U);
    EXPECT_EQ(now.st_mtim.tv_sec, 3000);
    ASSERT_TRUE(undo().ok());
    EXPECT_EQ(mode_of(dir_ / "data"), 0644U);
    EXPECT_EQ(stat_of(dir_ / "data").st_mtim.tv_sec, 2000);
  });
  if (!mounted) GTEST_SKIP() << "nothing may be mounted here";
}

TEST_F(JobFilesMarks, OfItsOwnerStay) {
  for (const char* name : {"during", "behind", "both"}) write(dir_ / name, "old");
  fs::create_directory(dir_ / "folder");
  fs::create_directories(dir_ / "gone/made anew");
  for (const char* name : {"during", "behind", "both"}) touch(dir_ / name, 2000);
  leaves_home();
  for (const char* name : {"during", "behind", "both"}) {
    touch(dir_ / name, 3000);
    ASSERT_EQ(::chmod((dir_ / name).c_str(), 0755), 0);
  }
  ASSERT_EQ(::chmod((dir_ / "folder").c_str(), 0711), 0);
  fs::remove_all(dir_ / "gone");
  const Left away = goes_home();
  auto to = placer();
  meanwhile_ = [&] {
    ASSERT_EQ(::chmod((dir_ / "during").c_str(), 0600), 0);
    ASSERT_EQ(::chmod((dir_ / "folder").c_str(), 0700), 0);
    ASSERT_EQ(::chmod((dir_ / "gone/made anew").c_str(), 0700), 0);
  };
  ASSERT_EQ(arrive(*to, away, true), "");
  EXPECT_EQ(mode_of(dir_ / "during"), 0600U);
  EXPECT_EQ(mode_of(dir_ / "folder"), 0700U);
  EXPECT_EQ(mode_of(dir_ / "gone/made anew"), 0700U);
  EXPECT_EQ(mode_of(dir_ / "behind"), 0755U);
  ASSERT_EQ(::chmod((dir_ / "behind").c_str(), 0640), 0);
  write(dir_ / "new", "by its owner");
  ASSERT_EQ(::chmod((dir_ / "new").c_str(), 0755), 0);
  fs::rename(dir_ / "new", dir_ / "both");
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(mode_of(dir_ / "during"), 0600U);
  EXPECT_EQ(mode_of(dir_ / "folder"), 0700U);
  EXPECT_EQ(mode_of(dir_ / "behind"), 0640U);
  EXPECT_EQ(stat_of(dir_ / "behind").st_mtim.tv_sec, 2000);  // nobody else changed that
  EXPECT_EQ(mode_of(dir_ / "both"), 0755U);                  // another file
}

// What a guest's own folder allows would go home as what the job's does.
TEST_F(JobFilesMarks, OfAGuestsOwnEmptyFolderAreTheJobs) {
  ASSERT_EQ(::chmod(dir_.c_str(), 0700), 0);
  const Left closed = leave();
  ASSERT_EQ(::chmod(dir_.c_str(), 0755), 0);
  const Left open = leave();
  move_away();
  fs::create_directory(dir_);
  ASSERT_EQ(::chmod(dir_.c_str(), 0755), 0);
  auto to = placer();
  const std::string why = dir_.string() + " differs there (permissions)";
  EXPECT_EQ(arrive(*to, closed, false), why);
  EXPECT_EQ(arrive(*to, open, false), "");
  EXPECT_EQ(arrive(*to, closed, true), why);  // changed since the first round
  EXPECT_EQ(arrive(*to, open, true), "");
}

// Each is undone by itself, and one of an older tern's, which has no inode, not at all.
TEST_F(JobFilesMarks, HideNoOtherRecordOfTheirPath) {
  const std::string made = (dir_ / "made").string();
  fs::create_directory(made);
  const struct stat info = stat_of(made);
  const std::string name = arrival_ledger(placer_.job, placer_.epoch);
  {
    auto ledger = LedgerFile::open(placer_.ledgers, name);
    ASSERT_TRUE(ledger.ok());
    const transfer::LedgerRecord records[] = {
        {LedgerKind::kUser, {}, {}, placer_.uid, placer_.gids.front(), {}},
        {LedgerKind::kFolder, made, {}, info.st_dev, info.st_ino, {}},
        {LedgerKind::kGone, made, {}, 0, 0, {}},
        {LedgerKind::kMarks, made, {}, 0700, 0, {}},
    };
    for (const auto& record : records) ASSERT_TRUE((*ledger)->append(record).ok());
  }
  const auto all = read_ledgers(placer_.ledgers);
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->size(), 1U);
  EXPECT_EQ(all->front().records.size(), 4U);
  ASSERT_TRUE(undo().ok());
  EXPECT_FALSE(fs::exists(made));
}

TEST(FileMarks, AreTheSameAsText) {
  for (const Marks& marks : {Marks{true, 0750, 0, 0}, Marks{false, 0644, -5, 999999999}}) {
    const auto back = marks_from(to_text(marks));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(to_text(*back), to_text(marks));
    EXPECT_EQ(back->folder, marks.folder);
  }
  for (const char* bad : {"", "x", "448 ", "448 1", "448 1 x", "448,1,2"}) {
    EXPECT_FALSE(marks_from(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace machine
