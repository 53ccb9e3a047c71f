// tern adopt, and tern migrate of a process, against a scripted daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_daemon.h"
#include "run_tern.h"

namespace cli {
namespace {

using ::testing::HasSubstr;

struct Row {
  const char* name;
  std::vector<std::string> arguments;
  const char* answer;
  const char* request;
  const char* out;
  const char* err;  // part of it
  int exit = 0;
};

const Row kRows[] = {
    {"adopt",
     {"adopt", "4711", "--name", "enc"},
     "{\"event\":{\"notes\":[\"it leaves its shell\"]}}\n"
     R"({"ok":true,"data":{"pid":4711,"command":"encode a","job":"3fa9","name":"enc",)"
     R"("notes":["it leaves its shell"],"moving":["a file is open"]}})",
     R"({"v":1,"command":"adopt","pid":4711,"name":"enc","dry_run":false})",
     "3fa9\n",
     "it leaves its shell\ntern: it cannot move now: a file is open\ntern: adopted 4711 as the "
     "job enc"},
    {"adopt is refused",
     {"adopt", "4711"},
     R"({"ok":false,"exit":5,"error":"its output is a pipe","next":"use files"})",
     R"({"v":1,"command":"adopt","pid":4711,"dry_run":false})",
     "",
     "tern: its output is a pipe\ntern: use files\n",
     5},
    {"adopt --dry-run",
     {"adopt", "4711", "--dry-run"},
     R"({"ok":true,"data":{"pid":4711,"command":"encode a","notes":["it leaves"]}})",
     R"({"v":1,"command":"adopt","pid":4711,"dry_run":true})",
     "",
     "tern: it leaves\ntern: would adopt encode a (4711); do it: tern adopt 4711"},
    {"adopt --dry-run with obstacles",
     {"adopt", "4711", "--dry-run"},
     R"({"ok":true,"data":{"pid":4711,"command":"encode a","obstacles":["x","y"],"moving":["z"]}})",
     R"({"v":1,"command":"adopt","pid":4711,"dry_run":true})",
     "x\ny\n",
     "would not adopt encode a (4711)",
     5},
    {"migrate --dry-run of a process",
     {"migrate", "4711", "--dry-run"},
     R"({"ok":true,"data":{"pid":4711,"command":"encode a","moving":["z"]}})",
     R"({"v":1,"command":"migrate","job":"4711","dry_run":true})",
     "z\n",
     "would not migrate encode a (4711)",
     5},
    {"migrate of a process names the job",
     {"migrate", "4711", "b"},
     R"({"ok":true,"data":{"job":"3fa90000aaaa","from":"07","to":"08","from_name":"a",)"
     R"("to_name":"b"}})",
     R"({"v":1,"command":"migrate","job":"4711","to":"b","dry_run":false})",
     "",
     "move it back: tern migrate 3fa90000 a"},
};

TEST(Adopt, SaysAndShowsWhatItShould) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    const TempDir dir;
    const Script script{in_pieces(row.answer + std::string("\n"), 100'000)};
    FakeDaemon daemon(dir.path(), {script, script});
    std::vector<std::string> arguments = {"--state", dir.path()};
    arguments.insert(arguments.end(), row.arguments.begin(), row.arguments.end());
    const Ran ran = run_tern(arguments);
    const auto requests = daemon.stop();
    ASSERT_FALSE(requests.empty());
    EXPECT_EQ(requests[0], row.request);
    EXPECT_EQ(ran.out, row.out);
    EXPECT_THAT(ran.err, HasSubstr(row.err));
    EXPECT_EQ(ran.exit, row.exit);
  }
}

TEST(Adopt, WhatIsNoPidIsAMistake) {
  for (const char* pid : {"0", "-1", "enc", "4711x", "2147483648", ""}) {
    SCOPED_TRACE(pid);
    EXPECT_EQ(run_tern({"adopt", pid}).exit, 2);
  }
}

}  // namespace
}  // namespace cli
