#include "criu/wire.h"

#include <gtest/gtest.h>

#include "criu/limits.h"

namespace criu {
namespace {

// criu/img-streamer.c: a 32-bit length, then a protobuf message with the name in field 1.
TEST(Wire, RequestsOfEveryNameLengthRoundTrip) {
  for (std::size_t size = 1; size <= kImageNameSizeMax; ++size) {
    SCOPED_TRACE(size);
    const std::string name(size, 'a');
    const base::Bytes message = encode_request(name);
    const base::ByteView view(message);
    auto body = decode_header(view.first(kHeaderSize));
    ASSERT_TRUE(body.ok());
    ASSERT_EQ(*body, message.size() - kHeaderSize);
    auto decoded = decode_request(view.subspan(kHeaderSize));
    ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
    EXPECT_EQ(*decoded, name);
  }
}

TEST(Wire, EveryTruncationOfARequestIsRefused) {
  const base::Bytes message = encode_request("inventory.img");
  const base::ByteView body = base::ByteView(message).subspan(kHeaderSize);
  for (std::size_t size = 0; size < body.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_FALSE(decode_request(body.first(size)).ok());
  }
  base::Bytes longer = base::to_bytes(body);
  longer.push_back(0);
  EXPECT_FALSE(decode_request(longer).ok());
}

TEST(Wire, HeadersAreBounded) {
  base::Bytes header(kHeaderSize);
  struct Row {
    const char* name;
    std::uint32_t size;
    bool good;
  };
  for (const Row& row :
       {Row{"empty", 0, false}, Row{"least", 1, true}, Row{"limit", kRequestSizeMax, true},
        Row{"above", kRequestSizeMax + 1, false}, Row{"huge", 0xffffffff, false}}) {
    SCOPED_TRACE(row.name);
    base::put_le32(header, row.size);
    EXPECT_EQ(decode_header(header).ok(), row.good);
  }
}

TEST(Wire, NamesThatAreNoPlainFileNamesAreRefused) {
  for (const char* name : {"", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a b", "a\nb"}) {
    SCOPED_TRACE(name);
    EXPECT_FALSE(valid_image_name(name));
  }
  EXPECT_TRUE(valid_image_name("core-1.img"));
  EXPECT_FALSE(valid_image_name(std::string(kImageNameSizeMax + 1, 'a')));
}

TEST(Wire, RepliesAreCriusBool) {
  EXPECT_EQ(encode_reply(true), (base::Bytes{2, 0, 0, 0, 8, 1}));
  EXPECT_EQ(encode_reply(false), (base::Bytes{2, 0, 0, 0, 8, 0}));
}

}  // namespace
}  // namespace criu
