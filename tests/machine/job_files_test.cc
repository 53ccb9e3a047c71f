// A job's files where it is a guest, and what undoing them leaves.
#include <fcntl.h>

#include <thread>

#include "job_files_rig.h"
#include "with_mount.h"

namespace machine {
namespace {

TEST_F(JobFilesOnDisk, ArriveWithModesTimesLinksAndHolesAndGoAgain) {
  fs::create_directories(dir_ / "sub/empty");
  write(dir_ / "sub/script", "#!/bin/sh\n");
  ASSERT_EQ(::chmod((dir_ / "sub/script").c_str(), 0750), 0);
  ASSERT_EQ(::chmod((dir_ / "sub").c_str(), 0711), 0);
  fs::create_symlink("/usr/bin/python3", dir_ / "python");
  write(dir_ / "first", "both");
  fs::create_hard_link(dir_ / "first", dir_ / "second");
  write(dir_ / "sparse", "x");
  ASSERT_EQ(::truncate((dir_ / "sparse").c_str(), 64 << 20), 0);
  const timespec old[2] = {{1000, 5}, {2000, 7}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (dir_ / "sub/script").c_str(), old, 0), 0);
  const Left left = leave();
  const auto before = names();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, left, false), "");
  ASSERT_EQ(arrive(*to, left, true), "");
  EXPECT_EQ(sent_, 0U);  // the second time nothing had changed
  EXPECT_EQ(names(), before);
  EXPECT_EQ(text_of(dir_ / "sub/script"), "#!/bin/sh\n");
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "sub/script").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750U);
  EXPECT_EQ(info.st_mtim.tv_sec, 2000);
  EXPECT_EQ(info.st_mtim.tv_nsec, 7);
  ASSERT_EQ(::stat((dir_ / "sub").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0711U);
  ASSERT_EQ(::stat((dir_ / "sparse").c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 64 << 20);
  EXPECT_LT(info.st_blocks, 4096);
  EXPECT_EQ(fs::read_symlink(dir_ / "python"), "/usr/bin/python3");
  EXPECT_TRUE(fs::equivalent(dir_ / "first", dir_ / "second"));
  auto undone = undo();
  ASSERT_TRUE(undone.ok()) << undone.error().detail;
  EXPECT_FALSE(fs::exists(dir_));
  EXPECT_TRUE(fs::is_empty(placer_.ledgers));
}

TEST_F(JobFilesOnDisk, WhatChangedMeanwhileFollowsInItsChunks) {
  write(dir_ / "big", std::string(1 << 20, 'a'));
  write(dir_ / "goes", "soon");
  const Left first = leave();
  {
    std::fstream file(dir_ / "big", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(600000);
    file << "changed";
  }
  write(dir_ / "new", "made");
  fs::remove(dir_ / "goes");
  const Left second = leave();
  const std::string wanted = text_of(dir_ / "big");
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, first, false), "");
  EXPECT_TRUE(fs::exists(dir_ / "goes"));
  ASSERT_EQ(arrive(*to, second, true), "");
  EXPECT_EQ(sent_, transfer::kJobChunk + 4);
  EXPECT_EQ(text_of(dir_ / "big"), wanted);
  EXPECT_EQ(names(), (std::vector<std::string>{"big", "new"}));
}

TEST_F(JobFilesOnDisk, NothingThatTernDidNotPutThereIsTouched) {
  write(dir_ / "a", "job's");
  const Left left = leave();
  move_away();
  fs::create_directory(dir_);
  write(dir_ / "a", "mine!");
  auto to = placer();
  const std::string why = arrive(*to, left, false);
  EXPECT_NE(why.find(dir_.string()), std::string::npos) << why;
  write(dir_ / "other", "mine, too");
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(text_of(dir_ / "a"), "mine!");
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "other"}));
}

TEST_F(JobFilesOnDisk, UndoingLeavesWhatIsNotTernsAnyMore) {
  write(dir_ / "a", "job's");
  write(dir_ / "b", "job's");
  const Left left = leave();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, left, true), "");
  write(dir_ / "fresh", "mine");
  fs::rename(dir_ / "fresh", dir_ / "a");  // another inode under a name of the ledger
  write(dir_ / "b", "written by the job");
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(names(), (std::vector<std::string>{"a"}));
  EXPECT_EQ(text_of(dir_ / "a"), "mine");
}

TEST_F(JobFilesOnDisk, TwoJobsShareWhatBothOnlyRead) {
  write(dir_ / "program", "code");
  tree_.files = {{(dir_ / "program").string(), 4, S_IFREG | 0644, {}, kRequiredTravels}};
  tree_.dir.clear();
  const Left left = leave();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, left, true), "");
  PlacerSpec first = placer_;
  placer_.job.bytes[0] = 8;
  auto other = placer();
  ASSERT_EQ(arrive(*other, left, true), "");
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(text_of(dir_ / "program"), "code");
  ASSERT_TRUE(undo_ledgers(first.ledgers, {arrival_ledger(first.job, first.epoch)}).ok());
  EXPECT_FALSE(fs::exists(dir_ / "program"));
}

TEST_F(JobFilesOnDisk, NoPathLeadsThroughALink) {
  fs::create_directory(dir_ / "sub");
  write(dir_ / "sub/file", "job's");
  const Left left = leave();
  move_away();
  fs::create_directory(dir_);
  fs::create_directory(top_ / "elsewhere");
  fs::create_symlink(top_ / "elsewhere", dir_ / "sub");
  auto to = placer();
  EXPECT_NE(arrive(*to, left, false), "");
  EXPECT_TRUE(fs::is_empty(top_ / "elsewhere"));
}

// Written there and closed again, it goes on with the job.
TEST_F(JobFilesOnDisk, WhatCameWithTheJobGoesOnWithIt) {
  write(dir_ / "a", "job's");
  const Left left = leave();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, left, true), "");
  write(dir_ / "a", "written there");
  auto placed = placed_files(placer_.ledgers, placer_.job);
  ASSERT_TRUE(placed.ok());
  tree_.dir.clear();
  tree_.placed = *placed;
  EXPECT_TRUE(leave().tree->content()->list.find((dir_ / "a").string()).has_value());
}

// Between the rounds the job made two files of one.
TEST_F(JobFilesOnDisk, AHardLinkThatWasBrokenIsNotMendedWithTheOther) {
  write(dir_ / "a", "first");
  fs::create_hard_link(dir_ / "a", dir_ / "b");
  write(dir_ / "c", "first");
  fs::create_hard_link(dir_ / "c", dir_ / "d");
  const Left running = leave();
  write(top_ / "fresh", "other");
  fs::rename(top_ / "fresh", dir_ / "a");
  write(dir_ / "c", "other");
  const Left frozen = leave();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, running, false), "");
  ASSERT_EQ(arrive(*to, frozen, true), "");
  EXPECT_EQ(text_of(dir_ / "a"), "other");
  EXPECT_EQ(text_of(dir_ / "b"), "first");
  EXPECT_EQ(text_of(dir_ / "c"), "other");
  EXPECT_TRUE(fs::equivalent(dir_ / "c", dir_ / "d"));
  ASSERT_TRUE(undo().ok());
  EXPECT_FALSE(fs::exists(dir_));
}

// Between the rounds it was touched, no more.
TEST_F(JobFilesOnDisk, ModesAndTimesOfTheLastRoundCount) {
  write(dir_ / "a", "job's");
  const Left running = leave();
  const timespec late[2] = {{1000, 5}, {3000, 9}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (dir_ / "a").c_str(), late, 0), 0);
  ASSERT_EQ(::chmod((dir_ / "a").c_str(), 0700), 0);
  const Left frozen = leave();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, running, false), "");
  ASSERT_EQ(arrive(*to, frozen, true), "");
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
  EXPECT_EQ(info.st_mtim.tv_sec, 3000);
  EXPECT_EQ(text_of(dir_ / "a"), "job's");
}

// Ledgers of other jobs come and go while one is looked for.
TEST_F(JobFilesOnDisk, LedgersThatGoMeanwhileAreNoError) {
  fs::create_directory(placer_.ledgers);
  write(fs::path(placer_.ledgers) / "last", "");
  std::atomic<bool> over{false};
  std::thread others([&] {
    const auto name = [](int i) { return "other-e" + std::to_string(i); };
    for (int round = 0; round < 100; ++round) {
      for (int i = 0; i < 30; ++i) write(fs::path(placer_.ledgers) / name(i), "");
      for (int i = 0; i < 30; ++i) (void)remove_ledger(placer_.ledgers, name(i));
    }
    over = true;
  });
  while (!over) {
    const auto all = read_ledgers(placer_.ledgers);
    EXPECT_TRUE(all.ok()) << all.error().detail;
    if (!all.ok()) break;
  }
  others.join();
}

TEST_F(JobFilesOnDisk, WhatIsPutInPlaceOfTernsMeanwhileIsNotWrittenTo) {
  write(dir_ / "a", "first");
  const Left first = leave();
  write(dir_ / "a", "second");
  const Left second = leave();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, first, false), "");
  meanwhile_ = [&] {
    write(dir_ / "fresh", "mine");
    fs::rename(dir_ / "fresh", dir_ / "a");
  };
  EXPECT_NE(arrive(*to, second, true).find("by somebody else meanwhile"), std::string::npos);
  EXPECT_EQ(text_of(dir_ / "a"), "mine");
}

// As Go keeps its modules; root may write everywhere, so it is another user's.
TEST_F(JobFilesOnDisk, UndoingTakesBackFoldersThatNobodyMayWriteIn) {
  if (::geteuid() != 0) GTEST_SKIP() << "takes root";
  as_nobody();
  fs::create_directories(dir_ / "sub" / "deep");
  write(dir_ / "sub" / "a", "job's");
  write(dir_ / "sub" / "deep" / "b", "job's");
  write(dir_ / "z", "job's");
  for (const auto& item : fs::recursive_directory_iterator(dir_)) {
    ASSERT_EQ(::chown(item.path().c_str(), kNobody, kNobody), 0);
  }
  ASSERT_EQ(::chmod((dir_ / "sub").c_str(), 0555), 0);
  const Left left = leave();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, left, true), "");
  ASSERT_EQ(fs::status(dir_ / "sub").permissions(), fs::perms(0555));
  ASSERT_TRUE(undo().ok());
  EXPECT_FALSE(fs::exists(dir_));
}

// A folder that came with the ninth handover holds what came with the tenth.
TEST_F(JobFilesOnDisk, TheNewestIsUndoneFirst) {
  write(dir_ / "a", "job's");
  const Left first = leave();
  write(dir_ / "b", "job's");
  const Left second = leave();
  move_away();
  placer_.epoch = base::Epoch{9};
  ASSERT_EQ(arrive(*placer(), first, true), "");
  placer_.epoch = base::Epoch{10};
  ASSERT_EQ(arrive(*placer(), second, true), "");
  ASSERT_TRUE(forget_arrivals(placer_.ledgers, placer_.job, base::Epoch{10}, false).ok());
  EXPECT_FALSE(fs::exists(dir_));
}

// The rest goes, and what stays is kept account of.
TEST_F(JobFilesOnDisk, UndoingGoesOnBehindAnError) {
  if (::geteuid() != 0) GTEST_SKIP() << "takes root";
  as_nobody();
  fs::create_directory(dir_ / "sub");
  write(dir_ / "a", "job's");
  write(dir_ / "sub" / "b", "job's");
  for (const auto& item : fs::recursive_directory_iterator(dir_)) {
    ASSERT_EQ(::chown(item.path().c_str(), kNobody, kNobody), 0);
  }
  const Left left = leave();
  move_away();
  auto to = placer();
  ASSERT_EQ(arrive(*to, left, true), "");
  ASSERT_EQ(::chown((dir_ / "sub").c_str(), 0, 0), 0);
  EXPECT_FALSE(undo().ok());
  EXPECT_FALSE(fs::exists(dir_ / "a"));
  EXPECT_EQ(read_ledgers(placer_.ledgers)->size(), 1U);
  ASSERT_EQ(::chown((dir_ / "sub").c_str(), kNobody, kNobody), 0);
  ASSERT_TRUE(undo().ok());
  EXPECT_FALSE(fs::exists(dir_));
}

TEST_F(JobFilesOnDisk, TheSendersWordAboutGroupsIsNone) {
  if (::geteuid() != 0) GTEST_SKIP() << "takes root";
  as_nobody();
  placer_.gids.push_back(0);
  auto no = JobPlacer::open(placer_);
  ASSERT_FALSE(no.ok());
  EXPECT_EQ(no.error().code, base::Code::kRefused);
  EXPECT_FALSE(fs::exists(placer_.ledgers)) << "nothing was done";
  placer_.groups_known = true;
  EXPECT_TRUE(JobPlacer::open(placer_).ok());
}

// The preflight judges what the job has open, and --dir itself; the trial the rest.
TEST_F(JobFilesOnDisk, ATrialRefusesWhatTheMoveWould) {
  fs::create_directory(dir_ / "sub");
  write(dir_ / "sub/file", "job's");
  const Left left = leave();
  const auto list = names_only();
  move_away();
  placer_.dir = tree_.dir;
  EXPECT_EQ(trial(list), "");
  EXPECT_FALSE(fs::exists(dir_));
  EXPECT_FALSE(fs::exists(placer_.ledgers));
  auto to = placer();
  ASSERT_EQ(arrive(*to, left, true), "");
  EXPECT_EQ(trial(list), "");  // tern's own
  write(dir_ / "fresh", "somebody's");
  fs::rename(dir_ / "fresh", dir_ / "sub/file");  // another inode than the ledger's
  EXPECT_NE(trial(list).find("sub/file is another file there"), std::string::npos) << trial(list);
  EXPECT_EQ(text_of(dir_ / "sub/file"), "somebody's");
}

// What they need is their sender's word, and others write there too.
TEST_F(JobFilesOnDisk, TheReserveOfTheDiskIsLeftWhileTheyCome) {
  constexpr std::uint64_t kMebibyte = 1 << 20;
  write(dir_ / "data", std::string(12 * kMebibyte, 'x'));
  const Left left = leave();
  fs::remove(dir_ / "data");
  const bool mounted = with_mount({"tmpfs", dir_.string(), "tmpfs", 0, "size=24m,mode=755"}, [&] {
    meanwhile_ = [&] { write(dir_ / "others", std::string(14 * kMebibyte, 'y')); };
    auto to = placer();
    const std::string why = arrive(*to, left, false);
    EXPECT_NE(why.find("kept for that machine's own use"), std::string::npos) << why;
    EXPECT_GE(fs::space(dir_).available, 24 * kMebibyte / 20);
  });
  if (!mounted) GTEST_SKIP() << "nothing may be mounted here";
}

TEST_F(JobFilesOnDisk, WhatIsMendedInPlaceNeedsNoRoomOfADiskAtItsReserve) {
  constexpr std::size_t kMebibyte = 1 << 20;
  const auto leave_as = [&](char first, std::size_t size) {
    write(dir_ / "data", first + std::string(size, 'x'));
    return leave();
  };
  const Left before = leave_as('a', 12 * kMebibyte);
  const Left after = leave_as('b', 12 * kMebibyte);
  const Left grown = leave_as('b', 14 * kMebibyte);
  fs::remove(dir_ / "data");
  const bool mounted = with_mount({"tmpfs", dir_.string(), "tmpfs", 0, "size=24m,mode=755"}, [&] {
    auto to = placer();
    ASSERT_EQ(arrive(*to, before, false), "");
    write(dir_ / "others", std::string(fs::space(dir_).available - kMebibyte, 'y'));
    const std::string why = arrive(*to, grown, true);
    EXPECT_NE(why.find("they need 2 MiB, 0 MiB are free"), std::string::npos) << why;
    EXPECT_EQ(arrive(*to, after, true), "");
    EXPECT_EQ(text_of(dir_ / "data").front(), 'b');
  });
  if (!mounted) GTEST_SKIP() << "nothing may be mounted here";
}

TEST_F(JobFilesOnDisk, ATrialSaysWhereTheJobsUserMayNotWrite) {
  if (::geteuid() != 0) GTEST_SKIP() << "takes root";
  as_nobody();
  fs::create_directories(dir_ / "deep/er");
  write(dir_ / "deep/er/file", "job's");
  const auto list = names_only();
  move_away();
  EXPECT_EQ(trial(list), "");
  ASSERT_EQ(::chown(top_.c_str(), 0, 0), 0);
  ASSERT_EQ(::chmod(top_.c_str(), 0755), 0);
  EXPECT_NE(trial(list).find("cannot write to " + top_.string()), std::string::npos) << trial(list);
}

}  // namespace
}  // namespace machine
