#include "criu/program.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "criu/leftovers.h"
#include "criu/work_dir.h"

namespace criu {
namespace {

namespace fs = std::filesystem;

class ProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    auto dir = WorkDir::create("tern-program-test");
    ASSERT_TRUE(dir.ok()) << dir.error().detail;
    dir_ = std::move(*dir);
  }
  std::string script(const std::string& folder, const std::string& body) {
    fs::create_directories(dir_.path() + "/" + folder);
    const std::string path = dir_.path() + "/" + folder + "/criu";
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    fs::permissions(path, fs::perms::owner_all);
    return path;
  }
  WorkDir dir_;
};

TEST(ProgramVersion, IsReadFromCriusOwnWords) {
  EXPECT_EQ(*parse_version("Version: 4.2.1\n"), (Version{4, 2, 1}));
  EXPECT_EQ(*parse_version("Version: v4.2\nGitID: v4.2-1\n"), (Version{4, 2, 0}));
  for (const char* text : {"", "Version:", "Version: x", "Version: 4", "Version: 99999999999.1"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_version(text).ok());
  }
}

TEST_F(ProgramTest, TheNextStepIsNamedWhenCriuIsMissingTooOldOrBroken) {
  struct Row {
    const char* name;
    std::string path;
    const char* says;
  };
  const Row rows[] = {
      {"missing", dir_.path() + "/none", "is missing"},
      {"old", script("old", "echo Version: 4.1.1"), "is CRIU 4.1.1, but 4.2 or newer is needed"},
      {"silent", script("silent", "exit 0"), "does not tell its version"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    auto found = find_program({row.path, "", ""});
    ASSERT_FALSE(found.ok());
    EXPECT_NE(found.error().detail.find(row.says), std::string::npos) << found.error().detail;
    EXPECT_NE(found.error().detail.find("scripts/install-criu"), std::string::npos);
  }
}

TEST_F(ProgramTest, TheOneOnThePathIsTakenOnlyFrom42On) {
  const std::string good = script("good", "echo Version: 4.2");
  auto found = find_program({"", "relative:" + dir_.path() + "/good", ""});
  ASSERT_TRUE(found.ok()) << found.error().detail;
  EXPECT_EQ(found->path, good);
  script("old", "echo Version: 4.1.9");
  script("data/tern/criu", "echo Version: 4.3");
  found = find_program({"", dir_.path() + "/old", dir_.path() + "/data"});
  ASSERT_TRUE(found.ok());
  EXPECT_NE(found->path, dir_.path() + "/old/criu");
}

TEST(WorkDirs, ArePrivateFoundAgainByTheirOwnerAndByNobodyElse) {
  auto mine = WorkDir::create("tern-a");
  auto other = WorkDir::create("tern-a-criu-b");
  ASSERT_TRUE(mine.ok());
  ASSERT_TRUE(other.ok());
  struct stat info {};
  ASSERT_EQ(::stat(mine->path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
  EXPECT_EQ(stale_work_dirs("tern-a"), std::vector<std::string>{mine->path()});
  const std::string path = mine->path();
  mine->remove();
  EXPECT_FALSE(fs::exists(path));
  for (const char* owner : {"", ".", "a/b"}) EXPECT_FALSE(WorkDir::create(owner).ok());
}

}  // namespace
}  // namespace criu
