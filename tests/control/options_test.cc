#include <gtest/gtest.h>

#include "control/daemon_options.h"
#include "control/limits.h"
#include "control/paths.h"

namespace control {
namespace {

TEST(Paths, FollowTheRules) {
  struct Row {
    const char* name;
    std::optional<std::string> state;
    Environment environment;
    const char* state_dir;
    const char* socket;
  };
  const Row rows[] = {
      {"root",
       {},
       {0, "/root", "/x", "/run/user/0", "/w"},
       "/var/lib/tern",
       "/run/tern/control.sock"},
      {"a person",
       {},
       {7, "/h/a", "", "/run/user/7", "/w"},
       "/h/a/.local/state/tern",
       "/run/user/7/tern/control.sock"},
      {"a person's own state folder",
       {},
       {7, "/h/a", "/s/", "/r/", "/w"},
       "/s/tern",
       "/r/tern/control.sock"},
      {"relative variables are ignored",
       {},
       {7, "/h/a", "s", "r", "/w"},
       "/h/a/.local/state/tern",
       "/h/a/.local/state/tern/control.sock"},
      {"--state", "/a/b/", {7, "", "", "", "/w"}, "/a/b", "/a/b/control.sock"},
      {"--state of root", "/a", {0, "", "", "", "/w"}, "/a", "/a/control.sock"},
      {"--state, relative", "n1", {7, "/h", "/s", "/r", "/w"}, "/w/n1", "/w/n1/control.sock"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    auto paths = find_paths(row.state, row.environment);
    ASSERT_TRUE(paths.ok()) << paths.error().detail;
    EXPECT_EQ(paths->state_dir, row.state_dir);
    EXPECT_EQ(paths->socket, row.socket);
    EXPECT_EQ(paths->state_given, row.state.has_value());
    const bool may_fall_back = !row.state && row.environment.uid != 0;
    EXPECT_EQ(paths->system_socket, may_fall_back ? kSystemSocket : "");
  }
  EXPECT_FALSE(find_paths({}, {7, "", "", "", "/w"}).ok());
  EXPECT_FALSE(find_paths("", {7, "/h", "", "", "/w"}).ok());
  EXPECT_FALSE(find_paths("x", {7, "/h", "", "", ""}).ok());
  EXPECT_FALSE(find_paths("/" + std::string(kPathBytesMax, 'x'), {7, "/h", "", "", "/w"}).ok());
}

TEST(DaemonOptions, AddressesAsPeopleWriteThem) {
  EXPECT_EQ(parse_listen(":0")->text(), "[::]:0");
  EXPECT_EQ(parse_listen(":7444")->port, 7444);
  EXPECT_EQ(parse_listen("192.0.2.1:1")->text(), "192.0.2.1:1");
  EXPECT_EQ(parse_listen("192.0.2.1")->port, kDefaultPort);
  EXPECT_EQ(parse_listen("::1")->text(), "[::1]:7333");
  EXPECT_EQ(parse_peer("[2001:db8::1]:9")->text(), "[2001:db8::1]:9");
  for (const char* bad : {"", ":", ":65536", "desk", "desk:7333", "1.2.3:4", "192.0.2.1:"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_listen(bad).ok());
  }
  for (const char* bad : {"0.0.0.0:1", "[::]:1", "192.0.2.1:0"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_peer(bad).ok());
  }
}

TEST(DaemonOptions, CpusAreThousandths) {
  EXPECT_EQ(*parse_cpus("2"), 2000);
  EXPECT_EQ(*parse_cpus("1.5"), 1500);
  EXPECT_EQ(*parse_cpus("0.001"), 1);
  EXPECT_EQ(*parse_cpus("4096"), 4'096'000);
  for (const char* bad :
       {"", ".5", "1.", "0", "0.000", "-1", "1e3", "4097", "4096.001", "1.2345"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_cpus(bad).ok());
  }
}

TEST(DaemonOptions, TheLimitOfOutputIsASize) {
  EXPECT_EQ(*parse_output_limit("8M"), 8U << 20);
  EXPECT_EQ(*parse_output_limit("2G"), std::uint64_t{2} << 30);
  EXPECT_EQ(*parse_output_limit("1024T"), std::uint64_t{1} << 50);
  EXPECT_EQ(*parse_output_limit("none"), 0U);
  for (const char* bad : {"", "M", "1", "7M", "1.5G", "-1G", "8m", "8MB", "8M ", "1025T",
                          "16777217T", "17592186044416M", "99999999999999999999G"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_output_limit(bad).ok());
  }
  DaemonOptions options;
  for (const char* text : {"8M", "1536M", "1G", "3T", "none"}) {
    options.output_limit_bytes = *parse_output_limit(text);
    options.given = {"output-limit"};
    EXPECT_EQ(daemon_arguments(options).back(), std::string("--output-limit=") + text);
  }
}

TEST(DaemonOptions, OnlyWhatWasGivenIsPassedOn) {
  DaemonOptions options;
  options.paths.state_dir = "/s";
  EXPECT_EQ(daemon_arguments(options), std::vector<std::string>{"daemon"});
  options.paths.state_given = true;
  options.name = "-x";  // stays a value: it is passed behind its '='
  options.peers = {*parse_peer("192.0.2.1:1"), *parse_peer("192.0.2.2:2")};
  options.cpus_millis = 1250;
  options.discovery = false;
  options.given = {"name", "peer", "cpus", "discovery"};
  EXPECT_EQ(daemon_arguments(options),
            (std::vector<std::string>{"daemon", "--state", "/s", "--name=-x", "--peer=192.0.2.1:1",
                                      "--peer=192.0.2.2:2", "--cpus=1.250", "--no-discovery"}));
}

TEST(DaemonOptions, SettingsSayWhereTheyComeFrom) {
  DaemonOptions options;
  options.load_window_seconds = 5;
  options.given = {"load-window"};
  int seen = 0;
  for (const Setting& setting : settings_of(options)) {
    if (setting.name == "load-window") {
      ++seen;
      EXPECT_EQ(setting.value, "5");
      EXPECT_EQ(setting.from, "command line");
    }
    if (setting.name == "log-level") {
      ++seen;
      EXPECT_EQ(setting.value, "info");
      EXPECT_EQ(setting.from, "default");
    }
  }
  EXPECT_EQ(seen, 2);
}

}  // namespace
}  // namespace control
