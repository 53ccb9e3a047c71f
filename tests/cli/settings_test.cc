// DIR/tern.toml as the program reads it, and tern config; the format itself: tests/control.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "fake_daemon.h"
#include "run_tern.h"

namespace cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

void write_file(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

TEST(Settings, OfTheFileAreShownWithAndWithoutADaemon) {
  const TempDir dir;
  write_file(dir.path() + "/tern.toml", "load-window = 5\npolicy-uids = [7]\n");
  const Ran ran = run_tern({"config", "--state", dir.path()});
  EXPECT_EQ(ran.exit, 0);
  EXPECT_THAT(ran.out, ::testing::ContainsRegex("load-window +5 +tern.toml"));
  EXPECT_THAT(ran.out, ::testing::ContainsRegex("log-level +info +default"));
  EXPECT_THAT(ran.err, HasSubstr("no daemon runs"));
  EXPECT_THAT(ran.err, HasSubstr(dir.path() + "/tern.toml"));
  const Ran json = run_tern({"config", "--json", "--state", dir.path()});
  EXPECT_THAT(json.out, HasSubstr(R"("name":"policy-uids","value":"7","from":"tern.toml")"));
  FakeDaemon daemon(dir.path(), {Script{{R"({"ok":true,"data":{"settings":[{"name":"listen",)"
                                         R"("value":":1","from":"command line"}]}})"
                                         "\n"}}});
  const Ran asked = run_tern({"config", "--state", dir.path()});
  EXPECT_EQ(asked.exit, 0);
  EXPECT_THAT(asked.out, ::testing::ContainsRegex("listen +:1 +command line"));
  EXPECT_THAT(asked.err, Not(HasSubstr("no daemon runs")));
}

TEST(Settings, AMistakeInTheFileRefusesTheStartAndSaysWhere) {
  const TempDir dir;
  write_file(dir.path() + "/tern.toml", "\nallow-root-job = true\n");
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"daemon"}, {"up", "--name", "stays"}, {"join", "-"}, {"config"}}) {
    SCOPED_TRACE(command[0]);
    std::vector<std::string> words = command;
    words.insert(words.end(), {"--state", dir.path()});
    const Ran ran = run_tern(words);
    EXPECT_EQ(ran.exit, 2);
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, HasSubstr(dir.path() + "/tern.toml:2: allow-root-job: there is no "));
    EXPECT_FALSE(std::filesystem::exists(dir.path() + "/control.sock"));
  }
  std::filesystem::remove(dir.path() + "/tern.toml");
  std::filesystem::create_directory(dir.path() + "/tern.toml");
  EXPECT_EQ(run_tern({"daemon", "--state", dir.path()}).exit, 1) << "it cannot be read";
}

TEST(Settings, OfTheFileReachTheDaemonUnderThoseOfTheCommandLine) {
  const TempDir dir;
  // The daemon under test ends with 42 unless it has a name.
  write_file(dir.path() + "/tern.toml", "name = \"broken\"\n");
  EXPECT_EQ(run_tern({"daemon", "--state", dir.path()}).exit, 1);
  EXPECT_THAT(run_tern({"up", "--state", dir.path()}).err, HasSubstr("the port is taken"));
  const Ran over = run_tern({"up", "--state", dir.path(), "--name", "stays"});
  EXPECT_EQ(over.exit, 0) << over.err;
  EXPECT_EQ(run_tern({"down", "--state", dir.path()}).exit, 0);
}

TEST(Doctor, SaysWhatIsMissingAndWhatMendsIt) {
  const TempDir dir;
  const Ran fine = run_tern({"doctor", "--state", dir.path()});
  EXPECT_EQ(fine.exit, 0) << fine.err;
  EXPECT_THAT(fine.out, ::testing::ContainsRegex("ok +CRIU +4.2"));
  EXPECT_THAT(fine.out, ::testing::ContainsRegex("note +logind +not there"));
  EXPECT_EQ(fine.err, "");
  write_file(dir.path() + "/tern.toml", "criu = \"/missing\"\n");
  const Ran none = run_tern({"doctor", "--state", dir.path()});
  EXPECT_EQ(none.exit, 1);
  EXPECT_THAT(none.out, ::testing::ContainsRegex("missing +CRIU +there is none"));
  EXPECT_EQ(none.err, "tern: CRIU: get one\ntern: 1 of 4 are missing\n");
  const Ran json = run_tern({"doctor", "--json", "--state", dir.path()});
  EXPECT_EQ(json.exit, 1);
  EXPECT_THAT(json.out, HasSubstr(R"({"name":"CRIU","ok":false,"detail":"there is none",)"
                                  R"("mend":"get one"}]})"));
  EXPECT_THAT(json.out, HasSubstr(R"("detail":"not there","mend":"","note":true})"));
  write_file(dir.path() + "/tern.toml", "criu = 5\n");
  const Ran mistake = run_tern({"doctor", "--state", dir.path()});
  EXPECT_EQ(mistake.exit, 1);
  EXPECT_THAT(mistake.out, HasSubstr("tern.toml:1: criu: an absolute path"));
}

}  // namespace
}  // namespace cli
