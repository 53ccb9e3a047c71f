#include "daemon/image_admission.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "machine/fd.h"

namespace ternd {
namespace {

using base::Bytes;

class Parts : public testing::Test {
 protected:
  Parts() {
    std::string name = testing::TempDir() + "tern-parts-XXXXXX";
    dir_ = ::mkdtemp(name.data());
  }
  ~Parts() override { std::filesystem::remove_all(dir_); }
  [[nodiscard]] std::string at(const std::string& name) const { return dir_ + "/" + name; }

  // Whether part_of() opens it to read; it must have nothing to give then.
  [[nodiscard]] static bool opened(const std::string& path, const std::string& asked) {
    const machine::Fd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    EXPECT_GE(::inotify_add_watch(watch.get(), path.c_str(), IN_OPEN), 0) << path;
    EXPECT_TRUE(part_of(asked, 0, 4).empty()) << asked;
    char event[4096];
    return ::read(watch.get(), event, sizeof(event)) > 0;
  }

 private:
  std::string dir_;
};

TEST_F(Parts, AreOfRegularFiles) {
  std::ofstream(at("file")) << "0123456789";
  EXPECT_EQ(part_of(at("file"), 2, 4), (Bytes{'2', '3', '4', '5'}));
  EXPECT_EQ(part_of(at("file"), 8, 4), (Bytes{'8', '9'}));
  EXPECT_EQ(part_of(at("file"), 10, 4), Bytes{});
  std::filesystem::create_symlink(at("file"), at("link"));
  EXPECT_EQ(part_of(at("link"), 0, 1), Bytes{'0'});
  EXPECT_EQ(part_of(at("none"), 0, 4), Bytes{});
  EXPECT_EQ(part_of(at(""), 0, 4), Bytes{});
}

// Opening alone rewinds a tape, resets a modem or wakes a pipe's other end.
TEST_F(Parts, OfNothingElseThatIsNotOpenedAtAll) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_FALSE(opened(at("fifo"), at("fifo")));
  std::filesystem::create_symlink("/dev/zero", at("device"));
  EXPECT_TRUE(part_of(at("device"), 0, 4).empty());
  // Others may open /dev/zero meanwhile, but nobody else this terminal.
  const machine::Fd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(terminal.valid());
  ASSERT_EQ(::unlockpt(terminal.get()), 0);
  char name[64];
  ASSERT_EQ(::ptsname_r(terminal.get(), name, sizeof(name)), 0);
  std::filesystem::create_symlink(name, at("terminal"));
  EXPECT_FALSE(opened(name, at("terminal")));
}

}  // namespace
}  // namespace ternd
