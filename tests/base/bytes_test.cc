#include "base/bytes.h"

#include <gtest/gtest.h>

#include <array>

namespace base {
namespace {

TEST(Hex, RoundTripsEveryByte) {
  Bytes all(256);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint8_t>(i);
  const std::string text = to_hex(all);
  EXPECT_EQ(text.substr(0, 6), "000102");
  EXPECT_EQ(text.substr(506), "fdfeff");
  const auto back = from_hex(text);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, all);
}

TEST(Hex, TakesEitherCaseAndNothingElse) {
  EXPECT_EQ(*from_hex("aBCd"), (Bytes{0xab, 0xcd}));
  EXPECT_EQ(*from_hex(""), Bytes{});
  for (const char* text : {"a", "abc", "0g", "g0", " 0", "0x", "a\n", "+1", "-1"}) {
    SCOPED_TRACE(text);
    const auto result = from_hex(text);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, Code::kInvalid);
  }
}

TEST(Bytes, TextViewsShareTheirMemory) {
  const std::string_view text = "tern";
  EXPECT_EQ(as_text(as_bytes(text)), text);
  EXPECT_EQ(static_cast<const void*>(as_bytes(text).data()), text.data());
  EXPECT_EQ(to_bytes(as_bytes("ab")), (Bytes{'a', 'b'}));
}

TEST(LittleEndian, LowestByteFirst) {
  std::array<std::uint8_t, 8> at{};
  put_le64(at, 0x0102030405060708);
  EXPECT_EQ(at, (std::array<std::uint8_t, 8>{8, 7, 6, 5, 4, 3, 2, 1}));
  EXPECT_EQ(get_le64(at), 0x0102030405060708U);
  EXPECT_EQ(get_le32(at), 0x05060708U);
  put_le32(at, 0xfffefdfc);
  EXPECT_EQ(at, (std::array<std::uint8_t, 8>{0xfc, 0xfd, 0xfe, 0xff, 4, 3, 2, 1}));
  put_le64(at, UINT64_MAX);
  EXPECT_EQ(get_le64(at), UINT64_MAX);
}

}  // namespace
}  // namespace base
