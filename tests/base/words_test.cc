// Results, ids, time, log: the words that everything else is written in.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <type_traits>

#include "base/ids.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"

namespace base {
namespace {

TEST(Result, HoldsAValueOrAnError) {
  const Result<int> good = 5;
  EXPECT_TRUE(good.ok());
  EXPECT_TRUE(static_cast<bool>(good));
  EXPECT_EQ(*good, 5);
  const Result<int> bad = fail(Code::kFull, "no room");
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, Code::kFull);
  EXPECT_EQ(bad.error().detail, "no room");
}

TEST(Result, CarriesMoveOnlyValuesOut) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  const std::unique_ptr<int> out = *std::move(result);
  EXPECT_EQ(*out, 7);
}

TEST(Result, AnErrorAsAValueIsStillAValue) {
  const Result<std::string> text = std::string("kIo");
  EXPECT_TRUE(text.ok());
  EXPECT_EQ(text->size(), 3U);
}

TEST(Status, IsOkUntilToldOtherwise) {
  EXPECT_TRUE(Status().ok());
  const Status bad = fail(Code::kIo, "disk");
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.error().detail, "disk");
}

TEST(ResultDeathTest, TheWrongHalfIsOurBug) {
  const Result<int> bad = fail(Code::kIo, "x");
  const Result<int> good = 1;
  EXPECT_DEATH((void)*bad, "ok\\(\\)");
  EXPECT_DEATH((void)good.error(), "!ok\\(\\)");
  EXPECT_DEATH((void)Status().error(), "!ok_");
}

TEST(CheckDeathTest, PrintsFileLineAndExpression) {
  const int two = 2;
  CHECK(two == 2);
  EXPECT_DEATH(CHECK(two == 3), "words_test.cc.*two == 3");
}

TEST(Ids, KindsDoNotMix) {
  static_assert(!std::is_convertible_v<NodeId, MeshId>);
  static_assert(!std::is_convertible_v<Term, LogIndex>);
  static_assert(!std::is_convertible_v<std::uint64_t, Epoch>);
  static_assert(!std::is_same_v<JobId, TriadId>);
}

TEST(Ids, TextAndOrder) {
  EXPECT_TRUE(NodeId{}.is_zero());
  const auto id = NodeId::from_hex_text("000102030405060708090a0b0c0d0e0f");
  ASSERT_TRUE(id.ok());
  EXPECT_FALSE(id->is_zero());
  EXPECT_EQ(id->hex(), "000102030405060708090a0b0c0d0e0f");
  EXPECT_EQ(id->brief(), "00010203");
  EXPECT_EQ(*NodeId::from(id->bytes), *id);
  EXPECT_LT(NodeId{}, *id);
  EXPECT_LT(*id, (NodeId{{1}})) << "compared byte by byte from the first";
  for (const char* text :
       {"", "00", "000102030405060708090a0b0c0d0e", "zz0102030405060708090a0b0c0d0e0f",
        "000102030405060708090a0b0c0d0e0f00"}) {
    SCOPED_TRACE(text);
    EXPECT_EQ(NodeId::from_hex_text(text).error().code, Code::kInvalid);
  }
}

TEST(Counters, CountUp) {
  EXPECT_EQ(Term{4}.next(), Term{5});
  EXPECT_LT(Epoch{1}, Epoch{2});
  EXPECT_EQ(Term{}.value, 0U);
}

template <typename T>
concept HasNow = requires {
  T::now();
};

TEST(NodeClock, CannotBeRead) {
  static_assert(!HasNow<NodeClock>);
  EXPECT_EQ(Time{1s} + 500ms - Time{}, 1'500'000us);
  EXPECT_EQ(wall_seconds(WallTime{-5}), -5);
}

TEST(Log, LevelsAndFieldsReachTheSink) {
  struct Sink : Log {
    std::string text;
    void write(LogLevel level, std::string_view event,
               std::initializer_list<LogField> fields) override {
      text += std::to_string(static_cast<int>(level)) + " " + std::string(event);
      for (const LogField& field : fields) text += " " + std::string(field.key) + "=" + field.value;
      text += "\n";
    }
  } sink;
  sink.debug("a", {{"n", 5}, {"u", std::uint64_t{6}}, {"i", std::int64_t{-7}}});
  sink.info("b", {{"s", "text"}, {"v", std::string_view("view")}});
  sink.warn("c");
  sink.error("d", {{"o", std::string("own")}});
  EXPECT_EQ(sink.text, "0 a n=5 u=6 i=-7\n1 b s=text v=view\n2 c\n3 d o=own\n");
  null_log().error("nobody hears this");
}

}  // namespace
}  // namespace base
