#include "base/endpoint.h"

#include <gtest/gtest.h>

namespace base {
namespace {

TEST(Endpoint, TextReadsBackInItsShortestForm) {
  struct Row {
    const char* name;
    const char* text;
    const char* printed;
  };
  const Row rows[] = {
      {"v4", "192.0.2.1:7333", "192.0.2.1:7333"},
      {"any", "0.0.0.0:0", "0.0.0.0:0"},
      {"highest port", "1.2.3.4:65535", "1.2.3.4:65535"},
      {"loopback", "[::1]:1", "[::1]:1"},
      {"any v6", "[::]:1", "[::]:1"},
      {"tail gap", "[fe80::]:1", "[fe80::]:1"},
      {"longest run wins", "[1:0:0:2:0:0:0:3]:9", "[1:0:0:2::3]:9"},
      {"one zero is kept", "[1:0:2:3:4:5:6:7]:9", "[1:0:2:3:4:5:6:7]:9"},
      {"upper case", "[2001:DB8::A]:9", "[2001:db8::a]:9"},
      {"mapped v4 is v4", "[::ffff:10.0.0.1]:9", "10.0.0.1:9"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const auto endpoint = Endpoint::parse(row.text);
    ASSERT_TRUE(endpoint.ok());
    EXPECT_EQ(endpoint->text(), row.printed);
    const auto unpacked = Endpoint::unpack(endpoint->packed());
    ASSERT_TRUE(unpacked.ok());
    EXPECT_EQ(*unpacked, *endpoint);
  }
}

TEST(Endpoint, WhatIsNoAddressIsRefused) {
  for (const char* text : {"",
                           ":",
                           "1.2.3.4",
                           "1.2.3.4:",
                           "1.2.3.4:65536",
                           "1.2.3:1",
                           "1.2.3.256:1",
                           "01.2.3.4:1",
                           "1.2.3.4.5:1",
                           "host:1",
                           "::1:1",
                           "[::1]",
                           "[::1:1",
                           "[]:1",
                           "[1:2:3:4:5:6:7:8:9]:1",
                           "[1:2:3:4:5:6:7]:1",
                           "[1::2::3]:1",
                           "[12345::]:1",
                           "[fe80::1%eth0]:1",
                           "[1.2.3.4::]:1",
                           "[1:2:3:4:5:6:7::8]:1",
                           "+1.2.3.4:1",
                           "1.2.3.4:+1",
                           "[:1:2:3:4:5:6:7]:1"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(Endpoint::parse(text).ok());
  }
  EXPECT_FALSE(Endpoint::unpack(Bytes(17)).ok());
  EXPECT_FALSE(Endpoint::unpack(Bytes(19)).ok());
}

}  // namespace
}  // namespace base
