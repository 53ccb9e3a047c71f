#include "control/settings_file.h"

#include <gtest/gtest.h>

#include "control/limits.h"

namespace control {
namespace {

constexpr char kPath[] = "/s/tern.toml";

std::string mistake(const std::string& text) {
  DaemonOptions options;
  const auto status = apply_settings(options, text, kPath);
  return status ? "" : status.error().detail;
}

constexpr char kWhole[] = R"(# this desk
name = "desk"
listen = ":7444"
peer = ["192.0.2.7:7333", "192.0.2.8"]
discovery = false
load-source = "cgroup"
load-window = 5
cgroup = "own"
criu = "/opt/criu"
allow-root-jobs = true
policy-uids = [1000, 1001]
owner-active = "send-home"
on-battery = "nothing"
battery-low = "refuse"
on-metered = "pause"
on-sleep = "drain"
share = "ask"
inbox = "/in"
output-limit = "64M"
log-level = "warn"
log-file = "/l"
cpus = 1.5
)";

TEST(SettingsFile, HasAKeyForEachOptionThatIsASetting) {
  DaemonOptions options;
  ASSERT_TRUE(apply_settings(options, kWhole, kPath).ok());
  EXPECT_EQ(options.name, "desk");
  EXPECT_EQ(options.listen.text(), "[::]:7444");
  ASSERT_EQ(options.peers.size(), 2U);
  EXPECT_EQ(options.peers[1].text(), "192.0.2.8:7333");
  EXPECT_FALSE(options.discovery);
  EXPECT_EQ(options.load_source, LoadSource::kCgroup);
  EXPECT_EQ(options.load_window_seconds, 5);
  EXPECT_EQ(options.cgroup, "own");
  EXPECT_EQ(options.criu, "/opt/criu");
  EXPECT_TRUE(options.allow_root_jobs);
  EXPECT_EQ(options.policy_uids, (std::vector<std::uint32_t>{1000, 1001}));
  EXPECT_EQ(options.owner_active, "send-home");
  EXPECT_EQ(options.on_battery, "nothing");
  EXPECT_EQ(options.battery_low, "refuse");
  EXPECT_EQ(options.on_metered, "pause");
  EXPECT_EQ(options.on_sleep, "drain");
  EXPECT_EQ(options.share, SharePolicy::kAsk);
  EXPECT_EQ(options.inbox_path(), "/in");
  EXPECT_EQ(options.output_limit_bytes, 64U << 20);
  EXPECT_EQ(options.log_level, base::LogLevel::kWarn);
  EXPECT_EQ(options.log_file, "/l");
  EXPECT_EQ(options.cpus_millis, 1500);
  // Whatever `tern config` lists can be set: nobody adds an option and forgets its key.
  for (const Setting& setting : settings_of(options)) {
    EXPECT_EQ(setting.from, setting.name == "state" ? "default" : "tern.toml") << setting.name;
  }
  // The daemon that `tern up` starts reads the file itself.
  EXPECT_EQ(daemon_arguments(options), std::vector<std::string>{"daemon"});
}

TEST(SettingsFile, IsUnderTheCommandLineAndOverTheDefaults) {
  DaemonOptions options;
  options.discovery = true;
  options.load_window_seconds = 9;
  options.given = {"discovery", "load-window", "peer"};
  options.peers = {*parse_peer("192.0.2.1:1")};
  ASSERT_TRUE(apply_settings(options, kWhole, kPath).ok());
  EXPECT_TRUE(options.discovery);
  EXPECT_EQ(options.load_window_seconds, 9);
  EXPECT_EQ(options.peers.size(), 1U);
  EXPECT_EQ(options.log_level, base::LogLevel::kWarn);
  EXPECT_EQ(
      daemon_arguments(options),
      (std::vector<std::string>{"daemon", "--peer=192.0.2.1:1", "--load-window=9", "--discovery"}));
  EXPECT_EQ(mistake("  # Schreibtisch von J\xc3\xb6rg\n# \xff\ncpus = 1\n"), "");
  DaemonOptions untouched;
  ASSERT_TRUE(apply_settings(untouched, "", kPath).ok());
  EXPECT_TRUE(untouched.from_file.empty());
}

TEST(SettingsFile, AMistakeIsNamedWithItsLineAndWhatWouldBeRight) {
  struct Row {
    const char* name;
    const char* text;
    const char* says;
  };
  const Row rows[] = {
      {"unknown", "\nlisten = \":1\"\nliten = 5\n",
       "/s/tern.toml:3: liten: there is no setting of this name; there are: name, listen, peer,"},
      {"a table", "[peer]\nx = 1\n", "/s/tern.toml:1: peer: a list of at most 64"},
      {"text", "name = 5", "/s/tern.toml:1: name: a text in quotes is meant"},
      {"a bad name", "name = \"-\"", "/s/tern.toml:1: name: a name is 1 to 64"},
      {"an address", "listen = \"desk\"", "/s/tern.toml:1: listen: "},
      {"one peer", "peer = \"192.0.2.1:1\"", "/s/tern.toml:1: peer: a list of"},
      {"a peer at no port", "peer = [\"192.0.2.1:0\"]", "/s/tern.toml:1: peer: nobody can"},
      {"yes", "discovery = \"yes\"", "/s/tern.toml:1: discovery: true or false is meant"},
      {"a word", "load-source = \"gpu\"", "/s/tern.toml:1: load-source: auto, system or cgroup"},
      {"zero", "load-window = 0", "/s/tern.toml:1: load-window: a whole number from 1 to 86400"},
      {"over", "load-window = 86401", "/s/tern.toml:1: load-window: a whole number"},
      {"a fraction", "load-window = 1.5", "/s/tern.toml:1: load-window: a whole number"},
      {"a relative path", "log-file = \"l\"", "/s/tern.toml:1: log-file: an absolute path"},
      {"no such stance", "on-battery = \"maybe\"", "/s/tern.toml:1: on-battery: nothing, refuse"},
      {"no uid", "policy-uids = [-1]", "/s/tern.toml:1: policy-uids: a whole number"},
      {"the uid that means none", "policy-uids = [4294967295]", "/s/tern.toml:1: policy-uids: "},
      {"a level", "log-level = \"loud\"", "/s/tern.toml:1: log-level: debug, info, warn or error"},
      {"CPUs as text", "cpus = \"2\"", "/s/tern.toml:1: cpus: a number from 0.001 to 4096"},
      {"no CPUs", "cpus = 0", "/s/tern.toml:1: cpus: a number"},
      {"not a number", "cpus = nan", "/s/tern.toml:1: cpus: a number"},
      {"twice", "cpus = 1\ncpus = 2\n", "/s/tern.toml:2: "},
      {"not TOML", "cpus = 1\n\nwhat is this\n", "/s/tern.toml:3: "},
      {"what makes the library assert", "x = [ }", "/s/tern.toml:1: "},
      {"letters beyond ASCII", "# \xc3\xa4\n\nname = \"\xc3\xa4\"\n", "/s/tern.toml:3: letters"},
      {"a letter at which the library's tables end",
       "\xef\xbb\xb7"
       "e = 1",
       "/s/tern.toml:1: "},
      {"of two the first", "zebra = 1\napple = 1\n", "/s/tern.toml:1: zebra: "},
      {"a key that a terminal would obey", "\"\\u001b[2J\" = 1", "/s/tern.toml:1: ?[2J: "},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const std::string said = mistake(row.text);
    EXPECT_TRUE(said.starts_with(row.says)) << said;
  }
}

TEST(SettingsFile, WhatTheCommandLineReplacesIsCheckedAllTheSame) {
  DaemonOptions options;
  options.given = {"load-window"};
  EXPECT_FALSE(apply_settings(options, "load-window = 0", kPath).ok());
}

// Cut anywhere and with any byte changed, it is either refused with its line or a valid file.
TEST(SettingsFile, DamageIsRefusedOrHarmless) {
  const std::string whole = kWhole;
  std::size_t refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const char bit : {'\x01', '\x20', '\x80'}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ bit);
      const std::string said = mistake(damaged);
      if (!said.empty()) ++refused;
      EXPECT_TRUE(said.empty() || said.starts_with("/s/tern.toml:")) << said;
    }
    (void)mistake(whole.substr(0, at));
  }
  EXPECT_GT(refused, whole.size());
  EXPECT_TRUE(mistake(std::string(kSettingsBytesMax, '#')).empty());
  EXPECT_EQ(mistake(std::string(kSettingsBytesMax + 1, '#')), "/s/tern.toml: more than 64 KiB");
  EXPECT_FALSE(mistake("cpus = " + std::string(30'000, '[')).empty());
}

}  // namespace
}  // namespace control
