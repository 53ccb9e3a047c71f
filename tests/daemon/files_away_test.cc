#include "daemon/files_away.h"

#include <gtest/gtest.h>

#include <deque>
#include <fstream>

#include "loop_rig.h"

namespace ternd::testing {
namespace {

namespace fs = std::filesystem;

class FilesAwayOfAJob : public ::testing::Test {
 protected:
  FilesAwayOfAJob() {
    paths_.state = dir_.path();
    job_.bytes[0] = 7;
    fs::create_directories(paths_.job(job_));
  }
  // As a daemon that starts.
  std::string loaded() {
    FilesAway files = open();
    files.load(job_);
    return files.of(job_);
  }
  FilesAway open() {
    return {paths_, [this](const auto&, auto work, auto) { work_.push_back(std::move(work)); },
            base::null_log()};
  }
  void write() {
    for (; !work_.empty(); work_.pop_front()) EXPECT_TRUE(work_.front()().ok());
  }
  TempDir dir_;
  Paths paths_;
  base::JobId job_;
  std::deque<std::function<base::Status()>> work_;  // in the folder, one after another
};

TEST_F(FilesAwayOfAJob, IsKnownToTheNextDaemonUntilTheyCame) {
  FilesAway files = open();
  EXPECT_EQ(files.of(job_), "");
  EXPECT_TRUE(files.note(job_, {true, "they need 31 MiB"}));
  EXPECT_FALSE(files.note(job_, {true, "they need 30 MiB"})) << "no more than a figure changed";
  EXPECT_FALSE(files.note(job_, {true, "they need 30 MiB"}));
  EXPECT_EQ(work_.size(), 2U) << "what is known already is written again";
  write();
  EXPECT_EQ(files.of(job_), "they need 30 MiB");
  EXPECT_EQ(loaded(), "they need 30 MiB");
  files.came(job_);
  files.came(job_);
  EXPECT_EQ(files.of(job_), "");
  EXPECT_EQ(work_.size(), 1U);
  write();
  EXPECT_EQ(loaded(), "");
}

// Events tell of it once more.
TEST_F(FilesAwayOfAJob, ThatTheyDoNotWaitAnyMoreIsNews) {
  FilesAway files = open();
  EXPECT_TRUE(files.note(job_, {true, "no space"}));
  write();
  FilesAway next = open();
  next.load(job_);
  EXPECT_FALSE(next.note(job_, {true, "no space still"}));
  EXPECT_TRUE(next.note(job_, {false, "a read-only disk"}));
}

TEST_F(FilesAwayOfAJob, OnlyWhereThereIsNoRoomTheyAreSaidToWait) {
  const AwayFacts facts{"b", "a", "/data"};
  const Away waits = away_of(facts, base::fail(base::Code::kFull, "no space"));
  EXPECT_TRUE(waits.waits);
  EXPECT_NE(waits.sentence.find("waits on b for room here"), std::string::npos);
  for (const base::Code code : {base::Code::kRefused, base::Code::kIo, base::Code::kStale}) {
    const Away stays = away_of(facts, base::fail(code, "Read-only file system"));
    EXPECT_FALSE(stays.waits);
    EXPECT_NE(stays.sentence.find("was not taken here, and stays on b"), std::string::npos);
    EXPECT_NE(stays.sentence.find("on b: tern share /data --to a"), std::string::npos);
  }
}

TEST_F(FilesAwayOfAJob, WhatIsLongIsCutOffAndWhatIsDamagedIsLeftOut) {
  FilesAway files = open();
  (void)files.note(job_, {true, std::string(kAwaySentenceMax + 1, 'x')});
  write();
  EXPECT_EQ(loaded(), std::string(kAwaySentenceMax, 'x'));
  std::ofstream(paths_.job(job_) + "/files-away") << "no such thing";
  EXPECT_EQ(loaded(), "");
}

}  // namespace
}  // namespace ternd::testing
