#include "machine/packages.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "machine/fd.h"
#include "machine/preflight.h"

namespace machine {
namespace {

namespace fs = std::filesystem;

constexpr char kStatus[] =
    "Package: libfoo1\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.2-3\n"
    "Description: foo\n Version: 9\n\n"
    "Package: libfoo1\nStatus: install ok installed\nArchitecture: i386\nVersion: 1.2-2\n\n"
    "Package: tool\nStatus: install ok installed\nArchitecture: all\nVersion: 7:4~rc1+b2\n\n"
    "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n"
    "Package: odd\nStatus: install ok installed\nArchitecture: all\nVersion: 1\x1b[2J\n";

class PackagesOnDisk : public ::testing::Test {
 protected:
  PackagesOnDisk() {
    std::string name = (fs::temp_directory_path() / "tern-packages-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    dir_ = name;
    fs::create_directory(dir_ / "info");
    put("status", kStatus);
    put("info/libfoo1:amd64.list", "/.\n/lib\n/lib/libfoo.so.1\n");
    put("info/libfoo1:i386.list", "/usr/lib32/libfoo.so.1\n");
    put("info/tool.list", "/usr/bin/tool");
    put("info/gone.list", "/usr/bin/gone\n");
    put("info/odd.list", "/usr/bin/odd\n");
    put("info/tool.md5sums", "/usr/bin/other\n");
  }
  ~PackagesOnDisk() override { fs::remove_all(dir_); }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ / name, std::ios::binary | std::ios::trunc) << text;
  }
  fs::path dir_;
};

TEST_F(PackagesOnDisk, NameTheVersionOfAFile) {
  Packages packages(dir_.string());
  auto of = packages.of({"/usr/lib/libfoo.so.1", "/usr/lib32/libfoo.so.1", "/bin/tool",
                         "/usr/bin/gone", "/usr/bin/odd", "/usr/bin/other", "/usr/bin/too"});
  EXPECT_EQ(of["/usr/lib/libfoo.so.1"], "libfoo1 1.2-3");  // as if /lib led to /usr/lib
  EXPECT_EQ(of["/usr/lib32/libfoo.so.1"], "libfoo1 1.2-2");
  EXPECT_EQ(of["/bin/tool"], "tool 7:4~rc1+b2");
  for (const char* none : {"/usr/bin/gone", "/usr/bin/odd", "/usr/bin/other", "/usr/bin/too"}) {
    EXPECT_EQ(of[none], "") << none;
  }
}

TEST_F(PackagesOnDisk, AreReadAgainWhenTheyChanged) {
  Packages packages(dir_.string());
  EXPECT_EQ(packages.of({"/bin/tool"})["/bin/tool"], "tool 7:4~rc1+b2");
  put("status", "Package: tool\nStatus: install ok installed\nArchitecture: all\nVersion: 8\n");
  EXPECT_EQ(packages.of({"/bin/tool"})["/bin/tool"], "tool 8");
  fs::remove(dir_ / "status");
  EXPECT_EQ(packages.of({"/bin/tool"})["/bin/tool"], "");
}

// A reading takes as long as the machine has packages, and the source says how many files differ.
TEST_F(PackagesOnDisk, AreReadOnceForAllThatDiffers) {
  Packages packages(dir_.string());
  LocalPolicy policy;
  policy.criu_version = "4.2.1";
  policy.allow_root = true;
  policy.packages = &packages;
  Requirement needs;
  utsname name{};
  ASSERT_EQ(::uname(&name), 0);
  needs.architecture = name.machine;
  needs.criu = policy.criu_version;
  FileHashes hashes;
  for (const fs::directory_entry& entry : fs::directory_iterator("/usr/bin")) {
    const bool plain = entry.is_regular_file() && !entry.is_symlink();
    if (!plain || entry.file_size() > (1 << 20)) continue;
    RequiredFile file;
    file.path = entry.path().string();
    file.mode = S_IFREG | static_cast<std::uint32_t>(entry.status().permissions());
    file.size = entry.file_size();
    auto hash = hashes.hash(Fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC)).get());
    ASSERT_TRUE(hash.ok());
    file.hash = *hash;
    file.package = "other 1";
    needs.files.push_back(file);
    if (needs.files.size() == 2 * kSentencesMax) break;
  }
  ASSERT_EQ(needs.files.size(), 2 * kSentencesMax);
  EXPECT_THAT(check_requirement(needs, policy, hashes), ::testing::IsEmpty());
  EXPECT_EQ(packages.readings(), 0U) << "nothing differs";
  for (RequiredFile& file : needs.files) ++file.size;
  const std::vector<std::string> said = check_requirement(needs, policy, hashes);
  EXPECT_EQ(said.size(), kSentencesMax);
  EXPECT_THAT(said.front(), ::testing::HasSubstr(" here, the job's is of other 1)"));
  EXPECT_EQ(packages.readings(), 1U);
}

TEST_F(PackagesOnDisk, DamagedOnesNameNothingElse) {
  const std::string status = kStatus;
  for (std::size_t size = 0; size < status.size(); ++size) {
    for (const auto& [name, text] : package_versions(status.substr(0, size), {"tool", "gone"})) {
      EXPECT_EQ(name, "tool") << size;
      EXPECT_TRUE(std::string("tool 7:4~rc1+b2").starts_with(text)) << text;
    }
  }
  put("status", std::string(1 << 20, '\xff') + "\n\n" + status);
  put("info/long.list", std::string(1 << 20, '/'));
  fs::create_directory(dir_ / "info/folder.list");
  ASSERT_EQ(::symlink("/dev/zero", (dir_ / "info/zero.list").c_str()), 0);
  Packages packages(dir_.string());
  EXPECT_EQ(packages.of({"/bin/tool"})["/bin/tool"], "tool 7:4~rc1+b2");
  EXPECT_FALSE(valid_package_text("a\nb"));
  EXPECT_FALSE(valid_package_text(std::string(kPackageTextMax + 1, 'a')));
}

}  // namespace
}  // namespace machine
