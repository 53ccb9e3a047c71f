#include "machine/helpers.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/crypto.h"

namespace machine {
namespace {

class HelpersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::crypto::init().ok());
    std::string pattern = ::testing::TempDir() + "/tern-helpers-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  [[nodiscard]] static ino_t inode_of(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_ino;
  }
  std::string dir_;
};

TEST_F(HelpersTest, InstallsProgramsNamedByTheirContent) {
  auto helpers = install_helpers(dir_ + "/a/b");
  ASSERT_TRUE(helpers.ok()) << helpers.error().detail;
  EXPECT_EQ(helpers->init_path, dir_ + "/a/b/" + helper_file_name("tern-init", embedded_init()));
  EXPECT_EQ(std::filesystem::file_size(helpers->keeper_path), embedded_keeper().size());
  EXPECT_EQ(std::filesystem::file_size(helpers->guard_path), embedded_guard().size());
  EXPECT_EQ(std::filesystem::file_size(helpers->gentle_path), embedded_gentle().size());
  EXPECT_EQ(std::filesystem::file_size(helpers->enter_path), embedded_enter().size());
  EXPECT_EQ(std::filesystem::file_size(helpers->procview_path), embedded_procview().size());
  struct stat info = {};
  ASSERT_EQ(::stat(helpers->init_path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0755U);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_ + "/a/b")) {
    ++files;
    EXPECT_NE(entry.path().filename().string().front(), '.') << "a temporary file was left";
  }
  EXPECT_EQ(files, 6U);
}

// A running init is not to be written anew under its checkpoint's feet.
TEST_F(HelpersTest, WhatIsThereAndEqualIsLeftAlone) {
  auto first = install_helpers(dir_);
  ASSERT_TRUE(first.ok());
  const ino_t inode = inode_of(first->init_path);
  ASSERT_TRUE(install_helpers(dir_).ok());
  EXPECT_EQ(inode_of(first->init_path), inode);
}

TEST_F(HelpersTest, DamageIsMended) {
  auto helpers = install_helpers(dir_);
  ASSERT_TRUE(helpers.ok());
  struct Row {
    const char* name;
    void (*damage)(const std::string& path);
  };
  const Row rows[] = {
      {"cut off", [](const std::string& path) { std::filesystem::resize_file(path, 100); }},
      {"one byte",
       [](const std::string& path) {
         std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
         file.seekp(200);
         file.put('\x55');
       }},
      {"gone", [](const std::string& path) { std::filesystem::remove(path); }},
      {"not executable", [](const std::string& path) { ::chmod(path.c_str(), 0644); }},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    row.damage(helpers->init_path);
    ASSERT_TRUE(install_helpers(dir_).ok());
    std::ifstream file(helpers->init_path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(text, base::as_text(embedded_init()));
    struct stat info = {};
    ASSERT_EQ(::stat(helpers->init_path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0755U);
  }
}

TEST_F(HelpersTest, StaySmall) {
  EXPECT_LT(embedded_init().size(), 1U << 20);
  EXPECT_LT(embedded_keeper().size(), 1U << 20);
}

TEST(HelpersDir, FollowsUserAndEnvironment) {
  EXPECT_EQ(*default_helpers_dir(true, "/root", "/x"), "/var/lib/tern/helpers");
  EXPECT_EQ(*default_helpers_dir(false, "/home/a", ""), "/home/a/.local/share/tern/helpers");
  EXPECT_EQ(*default_helpers_dir(false, "/home/a", "/data"), "/data/tern/helpers");
  EXPECT_EQ(*default_helpers_dir(false, "/home/a", "relative"),
            "/home/a/.local/share/tern/helpers");
  EXPECT_FALSE(default_helpers_dir(false, "", "").ok());
}

}  // namespace
}  // namespace machine
