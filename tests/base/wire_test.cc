#include "base/wire.h"

#include <gtest/gtest.h>

namespace base {
namespace {

TEST(Wire, ReadsBackWhatWasWritten) {
  Writer writer;
  const NodeId id{{1, 2, 3}};
  writer.array(7).u64(UINT64_MAX).i64(-5).i64(5).boolean(true).text("tern").bin(Bytes{9, 8}).id(id);
  Reader reader(writer.bytes());
  reader.array_of(7);
  EXPECT_EQ(reader.u64(), UINT64_MAX);
  EXPECT_EQ(reader.i64(), -5);
  EXPECT_EQ(reader.i64(), 5);
  EXPECT_TRUE(reader.boolean());
  EXPECT_EQ(reader.text(10), "tern");
  EXPECT_EQ(to_bytes(reader.bin(10)), (Bytes{9, 8}));
  EXPECT_EQ(reader.id<NodeId>(), id);
  EXPECT_TRUE(reader.finish().ok());
}

TEST(Wire, EveryTruncationIsRefused) {
  Writer writer;
  writer.array(3).u64(300).text("abc").bin(Bytes(40, 1));
  for (std::size_t size = 0; size < writer.bytes().size(); ++size) {
    SCOPED_TRACE(size);
    Reader reader(ByteView(writer.bytes()).first(size));
    reader.array_of(3);
    (void)reader.u64();
    (void)reader.text(10);
    (void)reader.bin(100);
    EXPECT_FALSE(reader.finish().ok());
  }
}

TEST(Wire, TrailingBytesAndForeignTypesAreRefused) {
  struct Row {
    const char* name;
    Bytes input;
  };
  const Row rows[] = {
      {"trailing byte", {0x01, 0x01}},
      {"nil", {0xc0}},
      {"float", {0xca, 0, 0, 0, 0}},
      {"map", {0x80}},
      {"reserved", {0xc1}},
      {"extension", {0xd4, 1, 2}},
      {"empty", {}},
      {"deep", Bytes(40, 0x91)},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Reader reader(row.input);
    (void)reader.u64();
    EXPECT_FALSE(reader.finish().ok());
  }
}

TEST(Wire, LimitsHold) {
  Writer writer;
  writer.text("too long");
  Reader reader(writer.bytes());
  EXPECT_EQ(reader.text(3), "");
  EXPECT_FALSE(reader.finish().ok());
}

}  // namespace
}  // namespace base
