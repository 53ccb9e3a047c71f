// Whose folders and links may lie on the way to a folder (machine/guarded_folder.h).
#include "machine/guarded_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

namespace machine {
namespace {

namespace fs = std::filesystem;
using base::Code;
using ::testing::HasSubstr;

constexpr uid_t kBob = 65534;
constexpr uid_t kEve = 65533;

class GuardedFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "tern-guarded-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }

  void folder(const std::string& name, uid_t owner) {
    fs::create_directory(dir_ / name);
    own(name, owner);
  }
  void link(const std::string& name, const fs::path& to, uid_t owner) {
    fs::create_symlink(to, dir_ / name);
    own(name, owner);
  }
  void own(const std::string& name, uid_t owner) {
    ASSERT_EQ(::lchown((dir_ / name).c_str(), owner, owner), 0);
  }
  [[nodiscard]] base::Result<Fd> open(const std::string& name) const {
    return open_guarded_folder((dir_ / name).string());
  }
  // Where it leads, from `dir_`; or why nowhere.
  [[nodiscard]] std::string leads_to(const std::string& name) const {
    auto fd = open(name);
    if (!fd) return fd.error().detail;
    struct stat info {};
    EXPECT_EQ(::fstat(fd->get(), &info), 0);
    for (const auto& at : fs::recursive_directory_iterator(dir_)) {
      struct stat same {};
      EXPECT_EQ(::lstat(at.path().c_str(), &same), 0);
      if (same.st_ino == info.st_ino) return fs::relative(at.path(), dir_);
    }
    return "elsewhere";
  }

  fs::path dir_;
};

TEST_F(GuardedFolder, IsMadeWithWhatIsAboveIt) {
  ASSERT_TRUE(open("a/b/c").ok());
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "a/b/c").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0700U);
  EXPECT_EQ(leads_to("a/./b/../b//c/"), "a/b/c");
}

TEST_F(GuardedFolder, LinksOfItsOwnAreFollowed) {
  fs::create_directories(dir_ / "disk/deep");
  fs::create_symlink(dir_ / "disk", dir_ / "whole");
  fs::create_symlink("whole/deep", dir_ / "part");
  EXPECT_EQ(leads_to("part"), "disk/deep");
  EXPECT_EQ(leads_to("part/new"), "disk/deep/new");
  fs::create_symlink("loop", dir_ / "loop");
  EXPECT_FALSE(open("loop").ok());
  fs::create_symlink("disk/dangling", dir_ / "dangling");
  EXPECT_EQ(leads_to("dangling"), "disk/dangling");
}

TEST_F(GuardedFolder, AFileIsNone) {
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(open("pipe").ok());
  EXPECT_FALSE(open("pipe/below").ok());
}

class GuardedFolderOfOthers : public GuardedFolder {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "root gives folders to others";
    GuardedFolder::SetUp();
    folder("home", kBob);
    folder("home/inbox", kBob);
    folder("root", 0);
  }
  void TearDown() override {
    if (::geteuid() == 0) GuardedFolder::TearDown();
  }
};

TEST_F(GuardedFolderOfOthers, TheirsIsTheirsAllTheWay) {
  EXPECT_EQ(leads_to("home/inbox"), "home/inbox");
  link("home/by link", dir_ / "home/inbox", kBob);
  EXPECT_EQ(leads_to("home/by link"), "home/inbox");
  link("from root", "home/inbox", 0);
  EXPECT_EQ(leads_to("from root"), "home/inbox");
}

TEST_F(GuardedFolderOfOthers, NobodyLeadsTheWayElsewhere) {
  link("home/away", dir_ / "root", kBob);
  EXPECT_THAT(leads_to("home/away"), HasSubstr("elsewhere"));
  EXPECT_EQ(open("home/away").error().code, Code::kRefused);
  EXPECT_FALSE(open("home/away/new").ok());
  EXPECT_FALSE(fs::exists(dir_ / "root/new")) << "made on the way";
  folder("eve", kEve);
  link("home/eve", dir_ / "eve", kBob);
  EXPECT_FALSE(open("home/eve").ok()) << "another user's";
  link("bobs link", "root", kBob);
  EXPECT_FALSE(open("bobs link").ok()) << "anybody makes links in a folder like /tmp";
}

TEST_F(GuardedFolderOfOthers, OneThatItsOwnerCannotMoveAlone) {
  folder("home/roots", 0);
  EXPECT_THAT(leads_to("home/roots"), HasSubstr("home belongs to the user 65534"));
  EXPECT_FALSE(open("home/new").ok()) << "it would be root's";
  EXPECT_FALSE(fs::exists(dir_ / "home/new"));
}

}  // namespace
}  // namespace machine
