// Style and layering that the compiler cannot see (house-style.md "Build"): system headers and
// calls that cores must not touch, includes, sizes, files that no CMakeLists.txt lists, paths and
// hosts of one machine. Every rule carries its fix, and a planted line that shows that it can fail.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tidy_checks.h"

namespace {

namespace fs = std::filesystem;

TEST(Tidy, TheTreeIsTidy) {
  const std::vector<tidy::File> files = tidy::read_tree(TERN_SOURCE_DIR);
  ASSERT_GT(files.size(), 30U) << "the tree was not found";
  for (const tidy::Finding& finding : tidy::check_tree(files)) {
    ADD_FAILURE_AT(finding.path.c_str(), static_cast<int>(finding.line)) << finding.message;
  }
}

TEST(Tidy, NamesOnlyModulesThatExist) {
  for (const std::string& core : tidy::cores()) EXPECT_TRUE(tidy::modules().contains(core)) << core;
  for (const auto& entry : fs::directory_iterator(fs::path(TERN_SOURCE_DIR) / "src")) {
    if (!entry.is_directory()) continue;
    EXPECT_TRUE(tidy::modules().contains(entry.path().filename()))
        << "add it to kModules in tidy_checks.cc";
  }
}

struct Plant {
  const char* name;
  const char* path;
  std::string text;
  std::string message;  // how the one finding begins; empty: none
};

void expect_findings(const Plant& plant, const std::map<std::string, std::string>& others = {}) {
  SCOPED_TRACE(plant.name);
  std::vector<tidy::File> files = {{plant.path, plant.text}};
  for (const auto& [path, text] : others) files.push_back({path, text});
  const std::string name = fs::path(plant.path).filename();
  if (!others.contains("src/CMakeLists.txt")) {
    files.push_back({"src/CMakeLists.txt", "tern_module(x SOURCES " + name + " a.h)\n"});
    files.push_back({"tests/CMakeLists.txt", "tern_test(x SOURCES " + name + ")\n"});
  }
  std::vector<std::string> messages;
  for (const tidy::Finding& finding : tidy::check_tree(files)) {
    if (finding.path == plant.path) messages.push_back(finding.message);
  }
  if (plant.message.empty()) {
    EXPECT_EQ(messages, std::vector<std::string>{});
    return;
  }
  ASSERT_EQ(messages.size(), 1U) << ::testing::PrintToString(messages);
  EXPECT_TRUE(messages[0].starts_with(plant.message)) << messages[0];
}

TEST(TidyChecker, FindsWhatIsPlantedInACore) {
  const char* const kCore = "src/gossip/a.cc";
  for (const Plant& plant : std::vector<Plant>{
           {"iostream", kCore, "#include <iostream>\n", "core header"},
           {"thread", kCore, "  # include <thread>\n", "core header"},
           {"libuv", kCore, "#include <uv.h>\n", "core header"},
           {"a system header", kCore, "#include <sys/socket.h>\n", "core header"},
           {"time", kCore, "auto t = time(nullptr);\n", "core call"},
           {"std::time", kCore, "auto t = std::time(nullptr);\n", "core call"},
           {"global getenv", kCore, "x(::getenv(a));\n", "core call"},
           {"rand", kCore, "rand ();\n", "core call"},
           {"fopen", kCore, "auto* f = fopen(a, b);\n", "core call"},
           {"socket", kCore, "return socket(1, 2, 3);\n", "core call"},
           {"now", kCore, "auto t = Clock::now();\n", "core clock"},
           {"a clock's name", kCore, "std::chrono::steady_clock::time_point t;\n", "core clock"},
           {"randombytes", kCore, "randombytes_buf(a, 3);\n", "core randomness"},
           {"distribution", kCore, "std::uniform_int_distribution<> d;\n", "core randomness"},
           {"random device", kCore, "std::random_device d;\n", "core randomness"},
           {"throw", kCore, "if (x) throw 5;\n", "core exception"},
           {"mutex", kCore, "std::mutex m;\n", "core thread"},
           {"cout", kCore, "std::cout << 5;\n", "core output"},
           {"unordered", kCore, "std::unordered_map<int, A> all_;\nfor (auto& a : all_) b(a);\n",
            "iteration over an unordered"},
           {"after a string", kCore, "f(\"a\\\"//\"); throw 5;\n", "core exception"},
           {"after thousands", kCore, "int a = 1'000; throw 'x';\n", "core exception"}}) {
    expect_findings(plant);
  }
}

TEST(TidyChecker, LeavesProseLiteralsMethodsAndHostsAlone) {
  for (const Plant& plant : std::vector<Plant>{
           {"comment", "src/gossip/a.cc", "// throw; time() of std::mutex\n/* rand()\nthrow */\n",
            ""},
           {"literal", "src/gossip/a.cc", "f(\"throw \\\" time(\", R\"x(rand() \" )x\");\n", ""},
           {"methods", "src/gossip/a.cc", "a.time(); b->clock(); C::random(); my_time();\n", ""},
           {"unordered lookup", "src/gossip/a.cc",
            "std::unordered_map<int, A> all_;\nall_.find(5);\n", ""},
           {"the daemon reads clocks", "src/daemon/a.cc", "#include <uv.h>\nClock::now();\n", ""},
           {"a documented host", "src/gossip/a.cc", "// https://www.rfc-editor.org/rfc/rfc8439\n",
            ""},
       }) {
    expect_findings(plant);
  }
}

TEST(TidyChecker, FindsWhatIsPlantedAnywhere) {
  const std::string work =
      "/wo"
      "rk/main/x";
  for (const Plant& plant : std::vector<Plant>{
           {"include upwards", "src/daemon/a.cc", "#include \"../base/x.h\"\n", "relative include"},
           {"include beside", "src/gossip/a.cc", "#include \"x.h\"\n", "include without module"},
           {"foreign quotes", "src/cli/a.cc", "#include \"nlohmann/json.hpp\"\n",
            "include of no module"},
           {"third party", "src/cli/a.h", "#pragma once\n#include <nlohmann/json.hpp>\n",
            "third party in a header"},
           {"TOML", "src/cli/a.h", "#pragma once\n#include <toml++/toml.h>\n",
            "third party in a header"},
           {"no guard", "src/cli/a.h", "// #pragma once\n", "no include guard"},
           {"sleep", "tests/daemon/a.cc", "std::this_thread::sleep_for(1s);\n", "sleep in a test"},
           {"usleep", "tests/daemon/a.cc", "  ::usleep(5);\n", "sleep in a test"},
           {"unfinished", "src/cli/a.cc",
            "// TO"
            "DO: later\n",
            "unfinished"},
           {"unfinished doc", "HACKING.md",
            "FIX"
            "ME\n",
            "unfinished"},
           {"tab", "scripts/demo", "if\tx\n", "tab"},
           {"trailing blank", "scripts/demo", "x \n", "trailing blank"},
           {"machine path", "scripts/demo", "cd " + work + "\n", "path of one machine"},
           {"machine path in a doc", "README.md", "`" + work + "`\n", "path of one machine"},
           {"home", "src/cli/a.cc",
            "f(\"/ho"
            "me/ann\");\n",
            "path of one machine"},
           {"strange host", "scripts/demo",
            "curl https:/"
            "/mirror.corp.example/x\n",
            "host mirror"},
           {"host behind a user", "HACKING.md",
            "http:/"
            "/me@10.0.0.5:8080/x\n",
            "host 10.0.0.5"},
           {"long line", "src/cli/a.cc", std::string(101, 'x') + "\n", "line over 100"},
           {"long file", "src/cli/a.cc",
            [] {
              std::string text;
              for (int i = 0; i < 501; ++i) text += "x\n";
              return text;
            }(),
            "file over 500"}}) {
    expect_findings(plant);
  }
  expect_findings({"100 columns", "src/cli/a.cc", std::string(100, 'x') + "\n", ""});
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "\xc3\xa4";
  expect_findings({"100 letters of two bytes", "src/cli/a.cc", umlauts + "\n", ""});
}

TEST(TidyChecker, FindsUnlistedFilesAndUnorderedMembersOfTheHeader) {
  const std::map<std::string, std::string> lists = {
      {"src/CMakeLists.txt", "# a.cc\n"},
      {"src/cli/CMakeLists.txt", "tern_module(cli SOURCES\n  ba.cc)\n"}};
  expect_findings({"unlisted", "src/cli/a.cc", "int x;\n", "in no CMakeLists.txt"}, lists);
  expect_findings({"a longer name is another", "src/cli/b.cc", "int x;\n", "in no CMakeLists.txt"},
                  lists);
  expect_findings({"listed", "src/cli/ba.cc", "int x;\n", ""}, lists);
  expect_findings({"member", "src/node/a.cc", "for (const auto& [k, v] : peers_) f(k);\n",
                   "iteration over an unordered"},
                  {{"src/node/a.h", "#pragma once\nstd::unordered_map<A,\n  B> peers_;\n"}});
}

}  // namespace
