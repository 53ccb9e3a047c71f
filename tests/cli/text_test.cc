#include "cli/text.h"

#include <gtest/gtest.h>

#include "cli/table.h"
#include "control/json.h"

namespace cli {
namespace {

TEST(Text, NothingThatATerminalActsOnPasses) {
  EXPECT_EQ(escape_line("a\x1b[2J\n\t\r\x7f"), "a\\x1b[2J\\n\\t\\r\\x7f");
  EXPECT_EQ(escape_line("\xc2\x9b"), "\\x9b") << "C1 controls";
  EXPECT_EQ(escape_line("\xff"), "\\xff") << "no UTF-8";
  EXPECT_EQ(escape_line("\xe2\x80\xae"), "\\u{202e}") << "right-to-left override";
  EXPECT_EQ(escape_line("grün 日本"), "grün 日本");
  EXPECT_EQ(escape_block("a\nb\x1b"), "a\nb\\x1b");
}

TEST(Text, EscapedJsonIsTheSameJson) {
  const std::string json = control::JsonWriter().text("n", "a\xc2\x9b\xe2\x80\xae").finish();
  const std::string escaped = escape_json(json);
  EXPECT_EQ(escaped, R"({"n":"a\u009b\u202e"})");
  control::JsonReader in(escaped);
  EXPECT_EQ(in.text("n", 64), "a\xc2\x9b\xe2\x80\xae");
}

TEST(Text, WidthIsColumnsNotBytes) {
  EXPECT_EQ(display_width("grün"), 4U);
  EXPECT_EQ(display_width("日本"), 4U);
  EXPECT_EQ(display_width("e\xcc\x81"), 1U);
  EXPECT_EQ(clip("日本語", 5), "日本…");
  EXPECT_EQ(clip("日本語", 4), "日…");
  EXPECT_EQ(clip("abc", 3), "abc");
  EXPECT_EQ(clip("abc", 1), "…");
  EXPECT_EQ(clip("abc", 0), "");
}

TEST(Text, FiguresAsPeopleReadThem) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(1500), "1.5 kB");
  EXPECT_EQ(bytes_text(UINT64_MAX), "18446744 TB");
  EXPECT_EQ(seconds_text(412'345), "412 ms");
  EXPECT_EQ(seconds_text(1'005'000), "1.01 s");
  EXPECT_EQ(age_text(-5), "0s");
  EXPECT_EQ(age_text(119), "119s");
  EXPECT_EQ(age_text(120), "2m");
  EXPECT_EQ(decimal_text(-5'000, 1'000'000, 2), "-0.01");
  EXPECT_EQ(decimal_text(-1'000, 1'000'000, 2), "0.00");
  EXPECT_EQ(decimal_text(800'000, 1'000'000, 2), "0.80");
}

TEST(Text, TheNearestCommandIsNearEnough) {
  const std::vector<std::string> commands = {"status", "ps", "run", "resolve"};
  EXPECT_EQ(nearest("stats", commands), "status");
  EXPECT_EQ(nearest("rum", commands), "run");
  EXPECT_EQ(nearest("sp", commands), "") << "half of the word is no likeness";
  EXPECT_EQ(nearest("resolv", commands), "resolve");
  EXPECT_EQ(nearest("xyz", commands), "");
}

TEST(Table, AlignsShrinksAndLeavesNoTrailingSpaces) {
  Table table({{"NAME"}, {"N", Align::kRight}, {"COMMAND", Align::kLeft, true}});
  table.row({std::string("desk"), std::string("7"), std::string("a long command line")});
  table.row({std::string("日本"), std::string("12"), std::string("")});
  EXPECT_EQ(table.render({}), "NAME   N  COMMAND\ndesk   7  a long command line\n日本  12\n");
  EXPECT_EQ(table.render({20, false}), "NAME   N  COMMAND\ndesk   7  a long co…\n日本  12\n");
  Table coloured({{"A"}});
  coloured.row({Cell("x", Colour::kRed)});
  EXPECT_EQ(coloured.render({0, true}), "\x1b[2mA\x1b[0m\n\x1b[31mx\x1b[0m\n");
}

}  // namespace
}  // namespace cli
