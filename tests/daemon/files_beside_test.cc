#include "daemon/files_beside.h"

#include <gtest/gtest.h>

#include <deque>
#include <fstream>

#include "loop_rig.h"

namespace ternd::testing {
namespace {

namespace fs = std::filesystem;

TEST(FilesBeside, ReadsBackAndRefusesWhatIsDamaged) {
  const machine::LaidBeside laid{{"/d/note.job-1", "/d/\xff"}, {"/d/folder.home-1"}};
  const base::Bytes bytes = encode_beside(laid);
  auto back = decode_beside(bytes);
  ASSERT_TRUE(back.ok()) << back.error().detail;
  EXPECT_EQ(back->beside, laid.beside);
  EXPECT_EQ(back->kept, laid.kept);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_beside(base::ByteView(bytes).first(size)).ok()) << size;
  }
  machine::LaidBeside many;
  many.beside.assign(kBesideMax + 1, "/d/a");
  EXPECT_FALSE(decode_beside(encode_beside(many)).ok());
}

class FilesBesideOfAJob : public ::testing::Test {
 protected:
  FilesBesideOfAJob() {
    paths_.state = dir_.path();
    job_.bytes[0] = 7;
    fs::create_directories(paths_.job(job_));
  }
  std::string file(const std::string& name) {
    std::string path = dir_.path() + "/" + name;
    std::ofstream(path) << name;
    return path;
  }
  std::unique_ptr<FilesBeside> open() {
    return std::make_unique<FilesBeside>(
        loop_, paths_, [this](const auto&, auto work, auto) { work_.push_back(std::move(work)); },
        base::null_log());
  }
  void write() {
    for (; !work_.empty(); work_.pop_front()) EXPECT_TRUE(work_.front()().ok());
  }
  bool look(FilesBeside& files) {
    auto looked = std::make_shared<bool>(false);
    files.look([looked] { *looked = true; });
    return run_until(loop_, [looked] { return *looked; });
  }
  TempDir dir_;
  loop::Loop loop_;
  Paths paths_;
  base::JobId job_;
  std::deque<std::function<base::Status()>> work_;  // in the folder, one after another
};

TEST_F(FilesBesideOfAJob, AreWrittenWhenItsFolderIsTheirs) {
  auto files = open();
  files->add(job_, {{file("a")}, {}});
  files->add(job_, {{file("b")}, {file("c")}});
  EXPECT_EQ(work_.size(), 2U);
  EXPECT_TRUE(fs::is_empty(paths_.job(job_)));
  write();
  auto again = open();
  again->load(job_);
  EXPECT_EQ(again->of(job_).beside, files->of(job_).beside);
  EXPECT_EQ(again->of(job_).beside.size(), 2U);
  EXPECT_EQ(again->of(job_).kept.size(), 1U);
}

TEST_F(FilesBesideOfAJob, AreNotSpokenOfOnceTheyAreGone) {
  auto files = open();
  const std::string a = file("a");
  const std::string b = file("b");
  files->add(job_, {{a, b}, {dir_.path() + "/a/below"}});
  fs::remove(a);
  ASSERT_TRUE(look(*files));
  EXPECT_EQ(files->of(job_).beside, std::vector<std::string>{b});
  EXPECT_TRUE(files->of(job_).kept.empty());
  files->add(job_, {{file("a")}, {}});
  EXPECT_EQ(files->of(job_).beside.size(), 2U) << "another version came";
  // As many as are remembered, of which some are gone: there is room.
  machine::LaidBeside many;
  for (std::size_t i = 0; i < kBesideMax; ++i) {
    many.beside.push_back(dir_.path() + "/none" + std::to_string(i));
  }
  files->add(job_, many);
  ASSERT_TRUE(look(*files));
  const std::string last = file("last");
  files->add(job_, {{last}, {}});
  EXPECT_EQ(files->of(job_).beside, (std::vector<std::string>{a, b, last}));
}

TEST_F(FilesBesideOfAJob, ALookThatIsCutShortIsAnswered) {
  auto files = open();
  files->add(job_, {{file("a")}, {}});
  int answers = 0;
  files->look([&] { ++answers; });
  files->look([&] { ++answers; });
  files.reset();
  EXPECT_EQ(answers, 2);
}

TEST(FilesBeside, OneAnswerHasRoomForSomeAndACountOfTheOthers) {
  BesideRoom room;
  std::size_t listed = 0;
  std::size_t more = 0;
  for (int job = 0; job < 160; ++job) {
    machine::LaidBeside laid{std::vector<std::string>(kBesideMax, "/d/a"), {"/d/b"}};
    more += fit_beside(laid, room);
    listed += laid.beside.size() + laid.kept.size();
  }
  EXPECT_EQ(listed, BesideRoom().paths);
  EXPECT_EQ(listed + more, 160 * (kBesideMax + 1));
  room = {};
  machine::LaidBeside laid{std::vector<std::string>(kBesideMax, std::string(4000, 'a')), {}};
  EXPECT_EQ(fit_beside(laid, room), kBesideMax - BesideRoom().bytes / 4000);
}

}  // namespace
}  // namespace ternd::testing
