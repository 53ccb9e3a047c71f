#include "control/adopt_report.h"

#include <gtest/gtest.h>

#include "control/adopt_notes.h"
#include "control/limits.h"

namespace control {
namespace {

TEST(AdoptReport, ReadsBack) {
  const AdoptReport report{4711,
                           "python3 work.py",
                           "3fa9",
                           "work",
                           {{4711, "python3"}, {4712, "odd \"name\""}},
                           {"a note"},
                           {"an obstacle", "another"},
                           {"a file"}};
  const auto back = parse_adopt(to_json(report));
  ASSERT_TRUE(back.ok()) << back.error().detail;
  EXPECT_EQ(back->pid, 4711);
  EXPECT_EQ(back->command, report.command);
  EXPECT_EQ(back->job, "3fa9");
  EXPECT_EQ(back->name, "work");
  EXPECT_EQ(back->processes, report.processes);
  EXPECT_EQ(back->notes, report.notes);
  EXPECT_EQ(back->obstacles, report.obstacles);
  EXPECT_EQ(back->moving, report.moving);
}

TEST(AdoptReport, NotesReadBack) {
  const auto back = parse_notes(notes_to_json({"a", "b \"c\""}));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, (std::vector<std::string>{"a", "b \"c\""}));
  EXPECT_FALSE(parse_notes(R"({"notes":"a"})").ok());
  EXPECT_FALSE(parse_notes("notes").ok());
}

TEST(AdoptReport, DamagedIsRefused) {
  for (const char* bad : {"", "[]", R"({"pid":-1})", R"({"processes":[{"pid":"x"}]})",
                          R"({"notes":[1]})", R"({"obstacles":"x"})"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_adopt(bad).ok());
  }
  EXPECT_TRUE(parse_adopt("{}").ok());
}

}  // namespace
}  // namespace control
