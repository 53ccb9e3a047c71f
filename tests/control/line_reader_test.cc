#include "control/line_reader.h"

#include <gtest/gtest.h>

#include <vector>

namespace control {
namespace {

std::vector<std::string> lines_of(std::string_view text, std::size_t piece) {
  LineReader reader(64);
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    EXPECT_TRUE(reader.feed(base::as_bytes(text.substr(at, piece))).ok());
    while (auto line = reader.next()) out.push_back(*line);
  }
  return out;
}

TEST(LineReader, TakesAnyChunking) {
  const std::string text = "one\n\nthree\r\nfo\0ur\nunfinished";
  const std::vector<std::string> expected = lines_of(text, text.size());
  ASSERT_EQ(expected.size(), 3U);  // the literal ends at its zero: "fo" is unfinished
  EXPECT_EQ(expected[2], "three\r");
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    SCOPED_TRACE(piece);
    EXPECT_EQ(lines_of(text, piece), expected);
  }
}

TEST(LineReader, ALineOfExactlyTheLimitPassesAndOneMoreByteFails) {
  LineReader reader(8);
  EXPECT_TRUE(reader.feed(base::as_bytes("1234567\n")).ok());
  EXPECT_EQ(reader.next(), "1234567");
  EXPECT_EQ(reader.next(), std::nullopt);
  const auto status = reader.feed(base::as_bytes("12345678\n"));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, base::Code::kTooLarge);
  EXPECT_FALSE(reader.feed(base::as_bytes("x\n")).ok()) << "it stays failed";
  EXPECT_EQ(reader.next(), std::nullopt);
  EXPECT_TRUE(reader.mid_line());
}

TEST(LineReader, LinesBeforeTheBadOneCanBeTaken) {
  LineReader reader(8);
  EXPECT_FALSE(reader.feed(base::as_bytes("good\n123456789")).ok());
  EXPECT_EQ(reader.next(), "good");
  EXPECT_EQ(reader.next(), std::nullopt);
}

TEST(LineReader, TellsAnEndInTheMiddleOfALine) {
  LineReader reader;
  EXPECT_FALSE(reader.mid_line());
  ASSERT_TRUE(reader.feed(base::as_bytes("a\n")).ok());
  EXPECT_FALSE(reader.mid_line());
  EXPECT_EQ(reader.next(), "a");
  EXPECT_EQ(reader.next(), std::nullopt);
  ASSERT_TRUE(reader.feed(base::as_bytes("b")).ok());
  EXPECT_TRUE(reader.mid_line());
}

}  // namespace
}  // namespace control
