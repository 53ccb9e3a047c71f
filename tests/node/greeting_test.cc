// What is said before a connection carries anything: golden bytes, and input that is damaged, cut
// or over a limit.
#include "node/greeting.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/wire.h"
#include "identity/limits.h"

namespace node {
namespace {

using base::Bytes;
using base::Code;

Bytes raw(std::uint64_t version, std::size_t chain_size, std::uint64_t port) {
  base::Writer w;
  w.array(3).u64(version).bin(Bytes(chain_size, 7)).u64(port);
  return w.take();
}

// tests/vectors/greeting.txt: "name hex". TERN_WRITE_VECTORS=1 writes it anew; a difference is a
// new protocol version.
TEST(Greeting, ItsBytesAreTheGoldenOnes) {
  std::string text;
  for (const auto& [name, bytes] :
       std::vector<std::pair<std::string, Bytes>>{{"greeting", encode(Greeting{{1, 2, 3}, 7333})},
                                                  {"purpose-messages", encode(Purpose::kMessages)},
                                                  {"purpose-bulk", encode(Purpose::kBulk)},
                                                  {"purpose-join", encode(Purpose::kJoin)}}) {
    text += name + " " + base::to_hex(bytes) + "\n";
  }
  const std::string path = std::string(TERN_SOURCE_DIR) + "/tests/vectors/greeting.txt";
  if (std::getenv("TERN_WRITE_VECTORS") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  EXPECT_EQ(text, (std::string{std::istreambuf_iterator<char>(file), {}}));
}

TEST(Greeting, IsTakenWithinItsLimitsOnly) {
  const struct {
    const char* name;
    Bytes bytes;
    bool taken;
  } kRows[] = {
      {"the longest chain, the highest port", raw(1, identity::kChainSizeMax, 65535), true},
      {"no chain, no port", raw(1, 0, 0), true},
      {"a chain that is too long", raw(1, identity::kChainSizeMax + 1, 7333), false},
      {"a port that is none", raw(1, 10, 65536), false},
      {"version 0", raw(0, 10, 7333), false},
      {"a later version", raw(2, 10, 7333), false},
      {"a joiner's: nothing", {}, false},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.name);
    const auto greeting = decode_greeting(row.bytes);
    EXPECT_EQ(greeting.ok(), row.taken);
    if (greeting) {
      EXPECT_EQ(encode(*greeting), row.bytes);
    }
  }
}

TEST(Greeting, CutLengthenedOrDamagedIsRefusedOrWithinLimits) {
  const Greeting whole{Bytes(300, 9), 7333};
  Bytes bytes = encode(whole);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_greeting(base::ByteView(bytes).first(size)).ok()) << size;
  }
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      Bytes damaged = bytes;
      damaged[at] = static_cast<std::uint8_t>(value);
      const auto greeting = decode_greeting(damaged);
      if (greeting) {
        EXPECT_LE(greeting->chain.size(), identity::kChainSizeMax);
      }
    }
  }
  bytes.push_back(0);
  EXPECT_FALSE(decode_greeting(bytes).ok());
}

TEST(Purpose, OnlyWhoHasATicketJoinsAndMayDoNothingElse) {
  for (int value = 0; value < 256; ++value) {
    SCOPED_TRACE(value);
    const Bytes record{static_cast<std::uint8_t>(value)};
    const auto of_member = decode_purpose(record, false);
    const auto of_joiner = decode_purpose(record, true);
    EXPECT_EQ(of_member.ok(), value == 1 || value == 2 || value == 4);
    EXPECT_EQ(of_joiner.ok(), value == 3);
    const bool known = value >= 1 && value <= 4;
    if (!of_member) {
      EXPECT_EQ(of_member.error().code, known ? Code::kRefused : Code::kInvalid);
    }
    if (!of_joiner) {
      EXPECT_EQ(of_joiner.error().code, known ? Code::kRefused : Code::kInvalid);
    }
    if (of_member) {
      EXPECT_EQ(encode(*of_member), record);
    }
  }
  EXPECT_EQ(decode_purpose({}, false).error().code, Code::kInvalid);
  EXPECT_EQ(decode_purpose(Bytes{1, 1}, false).error().code, Code::kInvalid);
  EXPECT_EQ(decode_purpose(Bytes{3, 0}, true).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace node
