// What follows an input request (src/control/input.h).
#include "control/input.h"

#include <gtest/gtest.h>

#include "control/limits.h"
#include "control/response.h"

namespace control {
namespace {

template <typename T>
T round_trip(const T& line) {
  const std::string text = encode(InputLine(line));
  EXPECT_TRUE(text.ends_with("}\n"));
  EXPECT_LE(text.size(), kLineBytesMax);
  auto back = parse_input(std::string_view(text).substr(0, text.size() - 1));
  EXPECT_TRUE(back.ok()) << (back.ok() ? "" : back.error().detail);
  return std::get<T>(*back);
}

TEST(ControlInput, LinesComeBackTheSame) {
  const auto bytes = round_trip(InputBytes{1ULL << 40, {0, 255, '\n', '"'}});
  EXPECT_EQ(bytes.offset, 1ULL << 40);
  EXPECT_EQ(bytes.data, (base::Bytes{0, 255, '\n', '"'}));
  EXPECT_EQ(round_trip(InputBytes{0, base::Bytes(kInputDataMax, 7)}).data.size(), kInputDataMax);
  EXPECT_EQ(round_trip(InputEnd{12}).offset, 12U);
  const auto window = round_trip(InputWindow{24, 80, 0, UINT16_MAX});
  EXPECT_EQ(window.columns, 80U);
  EXPECT_EQ(window.height, UINT16_MAX);
}

TEST(ControlInput, WhatIsNoInputIsRefused) {
  const std::string too_much((kInputDataMax + 2) / 3 * 4 + 4, 'A');
  for (const std::string& line :
       {std::string(""), std::string("[]"), std::string("{}"), std::string(R"({"offset":0})"),
        std::string(R"({"data":"YQ=="})"), std::string(R"({"offset":-1,"data":"YQ=="})"),
        std::string(R"({"offset":9223372036854775807,"data":"YQ=="})"),
        std::string(R"({"offset":0,"data":""})"), std::string(R"({"offset":0,"data":"Y"})"),
        std::string(R"({"offset":0,"data":")") + too_much + "\"}", std::string(R"({"end":true})"),
        std::string(R"({"window":[1,2,3]})"), std::string(R"({"window":[1,2,3,65536]})"),
        std::string(R"({"window":[1,2,3,-1]})")}) {
    EXPECT_FALSE(parse_input(line).ok()) << line.substr(0, 60);
  }
}

TEST(ControlInput, NewsComeBackTheSame) {
  const std::string line = input_news_line({3ULL << 32, 70'000, true});
  auto response = parse_response(std::string_view(line).substr(0, line.size() - 1));
  ASSERT_TRUE(response.ok());
  auto news = parse_input_news(std::get<Event>(*response).json);
  ASSERT_TRUE(news.ok());
  EXPECT_EQ(news->session, 3ULL << 32);
  EXPECT_EQ(news->taken, 70'000U);
  EXPECT_TRUE(news->terminal);
  for (const char* bad :
       {"{}", R"({"session":0,"taken":1})", R"({"session":1,"taken":-1})", R"({"session":1})"}) {
    EXPECT_FALSE(parse_input_news(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace control
