// A job's files when they come home.
#include "job_files_rig.h"
#include "with_mount.h"

namespace machine {
namespace {

// What it does not have open any more is still home's, unless it was in --dir.
TEST_F(JobFilesOnDisk, HomeKeepsWhatTheJobNoLongerSpeaksOf) {
  write(dir_ / "closed", "old");
  const Left home = leave();
  auto ledger = LedgerFile::open(placer_.ledgers, left_ledger(placer_.job));
  ASSERT_TRUE(ledger.ok());
  for (const auto& file : home.tree->content()->list.files()) {
    ASSERT_TRUE(
        (*ledger)->append({transfer::LedgerKind::kLeft, file.path, {}, 0, 0, file.digest}).ok());
  }
  tree_.dir.clear();
  const Left away = leave();
  placer_.at_home = true;
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, true), "");
  EXPECT_EQ(text_of(dir_ / "closed"), "old");
}

TEST_F(JobFilesOnDisk, ComeHomeWholeOrNotAtAll) {
  write(dir_ / "kept", "old");
  write(dir_ / "changed here", "old");
  write(dir_ / "removed", "old");
  const Left home = leave();
  {
    auto ledger = LedgerFile::open(placer_.ledgers, left_ledger(placer_.job));
    ASSERT_TRUE(ledger.ok());
    for (const auto& file : home.tree->content()->list.files()) {
      ASSERT_TRUE(
          (*ledger)->append({transfer::LedgerKind::kLeft, file.path, {}, 0, 0, file.digest}).ok());
    }
  }
  write(dir_ / "kept", "by the job");
  write(dir_ / "changed here", "by the job");
  write(dir_ / "new", "by the job");
  fs::remove(dir_ / "removed");
  const Left away = leave();
  move_away();
  fs::create_directory(dir_);
  write(dir_ / "kept", "old");
  write(dir_ / "changed here", "by its owner");
  write(dir_ / "removed", "old");
  const auto before = names();
  placer_.at_home = true;
  {
    auto to = placer();
    ASSERT_EQ(arrive(*to, away, true), "");
    EXPECT_EQ(text_of(dir_ / "kept"), "by the job");
    EXPECT_FALSE(fs::exists(dir_ / "removed"));
  }
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(names(), before);
  EXPECT_EQ(text_of(dir_ / "kept"), "old");
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, true), "");
  ASSERT_TRUE(settle_ledger(placer_.ledgers, arrival_ledger(placer_.job, placer_.epoch)).ok());
  EXPECT_EQ(text_of(dir_ / "kept"), "by the job");
  EXPECT_EQ(text_of(dir_ / "new"), "by the job");
  EXPECT_EQ(text_of(dir_ / "changed here"), "by its owner");
  ASSERT_EQ(to->beside().size(), 1U);
  EXPECT_EQ(text_of(to->beside()[0]), "by the job");
  EXPECT_EQ(names().size(), 4U);
}

// The place of home's own version is free again soon.
TEST_F(JobFilesOnDisk, WhatReplacesHomesOwnMayTakeHalfOfTheReserveForAWhile) {
  constexpr std::size_t kMebibyte = 1 << 20;
  constexpr std::size_t kReserve = 5 * kMebibyte;  // a twentieth
  const std::string old(40 * kMebibyte, 'x');
  write(dir_ / "data", old);
  const Left home = leave();
  write(dir_ / "data", "by the job" + old.substr(10));
  const Left away = leave();
  fs::remove(dir_ / "data");
  const bool mounted = with_mount({"tmpfs", dir_.string(), "tmpfs", 0, "size=100m,mode=755"}, [&] {
    write(dir_ / "data", old);
    remember(home);
    placer_.at_home = true;
    const auto leave_free = [&](std::size_t bytes) {
      fs::remove(dir_ / "others");
      write(dir_ / "others", std::string(fs::space(dir_).available - bytes, 'y'));
    };
    auto to = placer();
    leave_free(old.size() + kReserve / 2 - kMebibyte);
    EXPECT_NE(arrive(*to, away, true).find("no space for the job's files"), std::string::npos);
    leave_free(old.size() + kReserve - kMebibyte);
    EXPECT_EQ(arrive(*to, away, true), "");
    EXPECT_TRUE(text_of(dir_ / "data").starts_with("by the job"));
  });
  if (!mounted) GTEST_SKIP() << "nothing may be mounted here";
}

// It is no want of room, which would be waited for.
TEST_F(JobFilesOnDisk, TooManyVersionsBesideAFileAreRefused) {
  write(dir_ / "note", "old");
  remember(leave());
  write(dir_ / "note", "by the job");
  const Left away = leave();
  write(dir_ / "note", "by its owner");
  const fs::path beside = dir_ / ("note.job-" + placer_.job.hex().substr(0, 8));
  write(beside, "");
  for (int n = 2; n < 1000; ++n) write(beside.string() + "-" + std::to_string(n), "");
  placer_.at_home = true;
  auto to = placer();
  EXPECT_NE(arrive(*to, away, true).find("too many versions"), std::string::npos);
  EXPECT_EQ(code_, base::Code::kRefused);
}

TEST_F(JobFilesOnDisk, AFullDiskIsAWantOfRoomAndAReadOnlyOneIsNot) {
  constexpr std::size_t kMebibyte = 1 << 20;
  write(dir_ / "data", std::string(12 * kMebibyte, 'x'));
  const Left left = leave();
  fs::remove(dir_ / "data");
  placer_.ended = true;
  const auto try_it = [&](const char* options, unsigned long flags, const char* why) {
    return with_mount({"tmpfs", dir_.string(), "tmpfs", flags, options}, [&] {
      auto to = placer();
      const std::string said = arrive(*to, left, true);
      EXPECT_NE(said.find(why), std::string::npos) << said;
      EXPECT_EQ(said.find("another node"), std::string::npos) << "it has ended: " << said;
    });
  };
  if (!try_it("size=8m,mode=755", 0, "MiB are free there; make room there")) {
    GTEST_SKIP() << "nothing may be mounted here";
  }
  EXPECT_EQ(code_, base::Code::kFull);
  ASSERT_TRUE(try_it("size=24m,mode=755,nr_inodes=1", 0, "the disk is full there"));
  EXPECT_EQ(code_, base::Code::kFull);
  ASSERT_TRUE(try_it("size=24m,mode=755", MS_RDONLY, "Read-only file system"));
  EXPECT_EQ(code_, base::Code::kIo);
}

// Names of one file, at home and where the job was: they come home, changed or not.
TEST_F(JobFilesOnDisk, HardLinksComeHome) {
  for (const char* name : {"a", "same"}) {
    write(dir_ / name, "old");
    fs::create_hard_link(dir_ / name, dir_ / (std::string(name) + " again"));
  }
  fs::create_symlink("old", dir_ / "link");
  fs::create_symlink("a", dir_ / "removed");
  remember(leave());
  fs::copy(dir_, top_ / "home", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  write(dir_ / "a", "by the job");
  fs::remove(dir_ / "link");
  fs::remove(dir_ / "removed");
  fs::create_symlink("new", dir_ / "link");
  const Left away = leave();
  move_away();
  fs::rename(top_ / "home", dir_);
  fs::remove(dir_ / "a again");
  fs::create_hard_link(dir_ / "a", dir_ / "a again");
  placer_.at_home = true;
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, true), "");
  ASSERT_TRUE(settle_ledger(placer_.ledgers, arrival_ledger(placer_.job, placer_.epoch)).ok());
  EXPECT_EQ(text_of(dir_ / "a"), "by the job");
  EXPECT_EQ(fs::hard_link_count(dir_ / "a"), 2U);
  EXPECT_TRUE(fs::equivalent(dir_ / "a", dir_ / "a again"));
  EXPECT_EQ(text_of(dir_ / "same again"), "old");
  EXPECT_EQ(fs::read_symlink(dir_ / "link"), "new");
  EXPECT_EQ(to->beside(), std::vector<std::string>{});
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "a again", "link", "same", "same again"}));
}

// The owner's own lies where it was, the job's beside it, once, under both of its names.
TEST_F(JobFilesOnDisk, HardLinksOfWhatWasChangedAtHomeLieBeside) {
  write(dir_ / "a", "old");
  fs::create_hard_link(dir_ / "a", dir_ / "b");
  remember(leave());
  write(dir_ / "a", "by the job");
  const Left away = leave();
  move_away();
  fs::create_directory(dir_);
  write(dir_ / "a", "by its owner");
  write(dir_ / "b", "old");
  placer_.at_home = true;
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, true), "");
  ASSERT_EQ(to->beside().size(), 1U);
  EXPECT_EQ(text_of(dir_ / "a"), "by its owner");
  EXPECT_EQ(text_of(dir_ / "b"), "by the job");
  EXPECT_TRUE(fs::equivalent(dir_ / "b", to->beside()[0]));
}

// What waits aside since the first round is in nobody's way in the second, whose list is another.
TEST_F(JobFilesOnDisk, WhatWaitsAsideIsInNobodysWay) {
  for (const char* name : {"a", "b", "c"}) write(dir_ / name, "old");
  remember(leave());
  write(dir_ / "b", "by the job");
  const Left running = leave();
  fs::remove(dir_ / "a");
  write(dir_ / "c", "by the job");
  const Left frozen = leave();
  move_away();
  fs::create_directory(dir_);
  for (const char* name : {"a", "b", "c"}) write(dir_ / name, "old");
  placer_.at_home = true;
  auto to = placer();
  ASSERT_EQ(arrive(*to, running, false), "");
  ASSERT_EQ(arrive(*to, frozen, true), "");
  EXPECT_EQ(text_of(dir_ / "c"), "by the job");
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(text_of(dir_ / "c"), "old");
}

// Sending takes its time, and its owner works there meanwhile.
TEST_F(JobFilesOnDisk, WhatItsOwnerChangesDuringTheLastRoundIsKept) {
  write(dir_ / "a", "old");
  write(dir_ / "b", "old");
  remember(leave());
  write(dir_ / "a", "by the job");
  write(dir_ / "b", "by the job");
  const Left away = leave();
  move_away();
  fs::create_directory(dir_);
  write(dir_ / "a", "old");
  write(dir_ / "b", "old");
  placer_.at_home = true;
  auto to = placer();
  meanwhile_ = [&] {
    write(dir_ / "a", "by its owner");
    fs::remove(dir_ / "b");
  };
  ASSERT_EQ(arrive(*to, away, true), "");
  ASSERT_TRUE(settle_ledger(placer_.ledgers, arrival_ledger(placer_.job, placer_.epoch)).ok());
  EXPECT_EQ(text_of(dir_ / "a"), "by its owner");
  EXPECT_EQ(text_of(dir_ / "b"), "by the job");
  ASSERT_EQ(to->beside().size(), 1U);
  EXPECT_EQ(text_of(to->beside()[0]), "by the job");
  EXPECT_EQ(names().size(), 3U);
}

TEST_F(JobFilesOnDisk, UndoingPutsNothingOverWhatItsOwnerMadeMeanwhile) {
  write(dir_ / "a", "old");
  remember(leave());
  write(dir_ / "a", "by the job");
  const Left away = leave();
  move_away();
  fs::create_directory(dir_);
  write(dir_ / "a", "old");
  placer_.at_home = true;
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, true), "");
  write(dir_ / "fresh", "by its owner");
  fs::rename(dir_ / "fresh", dir_ / "a");
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(text_of(dir_ / "a"), "by its owner");
  EXPECT_EQ(text_of(dir_ / "a.before"), "old");
}

// Before anything is begun: digests only of what the job has open, nothing is changed.
TEST_F(JobFilesOnDisk, ATrialAtHomeRefusesWhatTheMoveWould) {
  fs::create_directory(dir_ / "sub");
  write(dir_ / "sub/open", "old");
  remember(leave());
  fs::copy(dir_, top_ / "home", fs::copy_options::recursive);
  write(dir_ / "sub/open", "by the job");
  write(dir_ / "new", "by the job");
  tree_.files = {{(dir_ / "sub/open").string(), 10, S_IFREG | 0644, {}, kRequiredTravels}};
  const auto list = names_only();
  move_away();
  fs::rename(top_ / "home", dir_);
  placer_.at_home = true;
  EXPECT_EQ(trial(list), "");
  ASSERT_EQ(::mkfifo((dir_ / "new").c_str(), 0600), 0);
  EXPECT_NE(trial(list).find("new is no regular file there"), std::string::npos) << trial(list);
  fs::remove(dir_ / "new");
  write(dir_ / "sub/open", "by its owner");
  EXPECT_NE(trial(list).find("the job has it open"), std::string::npos) << trial(list);
  write(dir_ / "sub/open", "by her too");  // of the same size
  EXPECT_NE(trial(list).find("the job has it open"), std::string::npos) << trial(list);
  write(dir_ / "sub/open", "by the job");  // its owner brought it home herself, without its times
  EXPECT_EQ(trial(list), "");
  EXPECT_EQ(names(), (std::vector<std::string>{"sub", "sub/open"}));
}

// What was a file and is a folder now, and the other way: whole, and home's own beside it.
TEST_F(JobFilesOnDisk, WhatBecameAFolderOrAFileComesHome) {
  write(dir_ / "file", "old");
  write(dir_ / "changed", "old");
  fs::create_symlink("old", dir_ / "link");
  fs::create_directory(dir_ / "folder");
  write(dir_ / "folder/in it", "old");
  remember(leave());
  fs::copy(dir_, top_ / "home", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  for (const char* name : {"file", "changed", "link"}) {
    fs::remove(dir_ / name);
    fs::create_directories(dir_ / name / "deep");
    write(dir_ / name / "deep/new", "by the job");
  }
  fs::remove_all(dir_ / "folder");
  write(dir_ / "folder", "by the job");
  tree_.placed = {(dir_ / "folder/in it").string()};  // it came with the job
  const Left away = leave();
  const auto list = names_only();
  move_away();
  fs::rename(top_ / "home", dir_);
  write(dir_ / "changed", "by its owner");
  write(dir_ / "folder/more", "by its owner");
  const auto before = names();
  placer_.at_home = true;
  EXPECT_EQ(trial(list), "");
  {
    auto to = placer();
    ASSERT_EQ(arrive(*to, away, false), "");
    ASSERT_EQ(arrive(*to, away, true), "");
    EXPECT_EQ(text_of(dir_ / "changed/deep/new"), "by the job");
    ASSERT_TRUE(undo().ok());
    EXPECT_EQ(names(), before);
    EXPECT_EQ(text_of(dir_ / "changed"), "by its owner");
  }
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, false), "");
  to = placer();  // the attempt broke off, and the next one goes on
  ASSERT_EQ(arrive(*to, away, true), "");
  ASSERT_TRUE(settle_ledger(placer_.ledgers, arrival_ledger(placer_.job, placer_.epoch)).ok());
  for (const char* name : {"file", "changed", "link"}) {
    EXPECT_EQ(text_of(dir_ / name / "deep/new"), "by the job");
  }
  EXPECT_EQ(text_of(dir_ / "folder"), "by the job");
  const std::string mark = ".home-" + placer_.job.hex().substr(0, 8);
  EXPECT_EQ(text_of(dir_ / ("changed" + mark)), "by its owner");
  EXPECT_EQ(text_of(dir_ / ("file" + mark)), "old");
  EXPECT_EQ(fs::read_symlink(dir_ / ("link" + mark)), "old");
  EXPECT_EQ(text_of(dir_ / ("folder" + mark) / "in it"), "old");
  EXPECT_EQ(text_of(dir_ / ("folder" + mark) / "more"), "by its owner");
  auto kept = to->laid().kept;
  std::sort(kept.begin(), kept.end());
  std::vector<std::string> expected;
  for (const char* name : {"changed", "file", "folder", "link"}) {
    expected.push_back((dir_ / (name + mark)).string());
  }
  EXPECT_EQ(kept, expected);
}

// The daemon was killed when the folder was made and not yet noted.
TEST_F(JobFilesOnDisk, UndoingPutsWhatWasKeptBackInThePlaceOfAnEmptyFolder) {
  const std::string mark = ".home-" + placer_.job.hex().substr(0, 8);
  {
    auto ledger = LedgerFile::open(placer_.ledgers, arrival_ledger(placer_.job, placer_.epoch));
    ASSERT_TRUE(ledger.ok());
    ASSERT_TRUE(
        (*ledger)
            ->append({transfer::LedgerKind::kUser, {}, {}, placer_.uid, placer_.gids.front(), {}})
            .ok());
    for (const char* name : {"empty", "used", "not yet"}) {
      const std::string path = (dir_ / name).string();
      fs::create_directory(path);
      ASSERT_TRUE(
          (*ledger)->append({transfer::LedgerKind::kKept, path, path + mark, 0, 0, {}}).ok());
    }
  }
  write(dir_ / ("empty" + mark), "by its owner");
  write(dir_ / ("used" + mark), "by its owner");
  write(dir_ / "used/new", "by its owner");
  auto undone = undo();
  ASSERT_TRUE(undone.ok()) << undone.error().detail;
  EXPECT_EQ(text_of(dir_ / "empty"), "by its owner");
  EXPECT_EQ(text_of(dir_ / "used.before"), "by its owner");
  EXPECT_EQ(undone->before, std::vector<std::string>{(dir_ / "used.before").string()});
  EXPECT_EQ(names(),
            (std::vector<std::string>{"empty", "not yet", "used", "used.before", "used/new"}));
}

// Modes and times are changes, too, and so are folders that are gone.
TEST_F(JobFilesOnDisk, ModesTimesAndRemovedFoldersComeHome) {
  for (const char* name : {"mode", "touched", "owner's", "same"}) write(dir_ / name, "old");
  fs::create_hard_link(dir_ / "mode", dir_ / "mode again");
  fs::create_directories(dir_ / "gone/deep");
  fs::create_directories(dir_ / "used/deep");
  fs::create_directory(dir_ / "closed");
  for (const char* name : {"gone/a", "gone/deep/b", "used/c"}) write(dir_ / name, "old");
  const timespec old[2] = {{1000, 5}, {2000, 7}};
  for (const auto& item : fs::recursive_directory_iterator(dir_)) {
    ASSERT_EQ(::utimensat(AT_FDCWD, item.path().c_str(), old, 0), 0);
  }
  remember(leave());
  ASSERT_EQ(::system(("cp -a " + dir_.string() + " " + (top_ / "home").string()).c_str()), 0);
  const timespec late[2] = {{1000, 5}, {3000, 9}};
  for (const char* name : {"touched", "owner's"}) {
    ASSERT_EQ(::utimensat(AT_FDCWD, (dir_ / name).c_str(), late, 0), 0);
  }
  fs::permissions(dir_ / "mode", fs::perms(0750));
  fs::permissions(dir_ / "closed", fs::perms(0500));
  fs::remove_all(dir_ / "gone");
  fs::remove_all(dir_ / "used");
  const Left away = leave();
  move_away();
  fs::rename(top_ / "home", dir_);
  fs::permissions(dir_ / "owner's", fs::perms(0600));
  write(dir_ / "used/mine", "by its owner");
  const auto before = names();
  placer_.at_home = true;
  {
    auto to = placer();
    ASSERT_EQ(arrive(*to, away, true), "");
    EXPECT_EQ(sent_, 0U);  // the content is here
    ASSERT_TRUE(undo().ok());
    EXPECT_EQ(names(), before);
    EXPECT_NE(fs::status(dir_ / "mode").permissions(), fs::perms(0750));
  }
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, true), "");
  ASSERT_TRUE(settle_ledger(placer_.ledgers, arrival_ledger(placer_.job, placer_.epoch)).ok());
  EXPECT_EQ(names(), (std::vector<std::string>{"closed", "mode", "mode again", "owner's", "same",
                                               "touched", "used", "used/mine"}));
  EXPECT_EQ(fs::status(dir_ / "mode").permissions(), fs::perms(0750));
  EXPECT_TRUE(fs::equivalent(dir_ / "mode", dir_ / "mode again"));
  EXPECT_EQ(fs::status(dir_ / "closed").permissions(), fs::perms(0500));
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "touched").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_sec, 3000);
  EXPECT_EQ(info.st_mtim.tv_nsec, 9);
  ASSERT_EQ(::stat((dir_ / "owner's").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(info.st_mtim.tv_sec, 2000);
}

// A file of which little changed is made from home's own; that was removed before it could be read.
TEST_F(JobFilesOnDisk, WhatCannotBeMadeFromHomesOwnIsNotMade) {
  write(dir_ / "a", std::string(transfer::kJobChunk * 2, 'x'));
  remember(leave());
  fs::copy(dir_, top_ / "home");
  std::ofstream(dir_ / "a", std::ios::app) << "by the job";
  const Left away = leave();
  move_away();
  fs::rename(top_ / "home", dir_);
  placer_.at_home = true;
  auto to = placer();
  meanwhile_ = [&] { fs::remove(dir_ / "a"); };
  EXPECT_NE(arrive(*to, away, true).find("was changed there meanwhile"), std::string::npos);
  EXPECT_FALSE(fs::exists(dir_ / "a"));
}

// Whatever home made where a file of the job's stands stays, and the file lies beside it.
TEST_F(JobFilesOnDisk, AFolderThatItsOwnerMadeStays) {
  write(dir_ / "note", "old");
  remember(leave());
  write(dir_ / "note", "by the job");
  const Left away = leave();
  move_away();
  fs::create_directories(dir_ / "note");
  write(dir_ / "note/mine", "by its owner");
  placer_.at_home = true;
  auto to = placer();
  ASSERT_EQ(arrive(*to, away, true), "");
  EXPECT_EQ(text_of(dir_ / "note/mine"), "by its owner");
  ASSERT_EQ(to->beside().size(), 1U);
  EXPECT_EQ(text_of(to->beside()[0]), "by the job");
}

}  // namespace
}  // namespace machine
