#include "transfer/terminal_output.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "made_images.h"
#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using protobuf::Field;
using protobuf::WireType;
using testing::image;
using testing::number;

struct Terminal {
  std::uint64_t modes = 5;  // OPOST and ONLCR
  std::uint64_t device = 0x502;
  std::uint64_t data_of = 3;
};

ImageSet with_unread(const Terminal& terminal, std::string_view unread) {
  Bytes modes;
  images::append(modes, number(1, 0x500));
  images::append(modes, number(2, terminal.modes));
  Bytes info;
  images::append(info, number(1, 3));
  images::append(info, number(8, terminal.device));
  images::append(info, {9, WireType::kBytes, 0, modes});
  const Bytes bytes(unread.begin(), unread.end());
  Bytes data;
  images::append(data, number(1, terminal.data_of));
  images::append(data, {2, WireType::kBytes, 0, bytes});
  ImageSet set;
  set["tty-info.img"] = image({info});
  set["tty-data.img"] = image({data});
  return set;
}

TEST(TerminalOutput, IsPutBackToWhatWasWritten) {
  struct Row {
    const char* name;
    std::string_view unread;
    std::string_view written;
    Terminal terminal = {};
  };
  const Row rows[] = {
      {"lines", "one\r\ntwo\r\n", "one\ntwo\n"},
      {"empty ones", "\r\n\r\n", "\n\n"},
      {"a line that was written with its own \\r", "one\r\r\n", "one\r\n"},
      {"\\r alone", "50%\r60%\r", "50%\r60%\r"},
      {"the rest of a line's end", "\ntwo", "\ntwo"},
      {"nothing to put back", "one", "one"},
      {"a terminal that processes nothing", "one\r\n", "one\r\n", {.modes = 4}},
      {"one that leaves \\n alone", "one\r\n", "one\r\n", {.modes = 1}},
      {"input, which the slave has", "one\r\n", "one\r\n", {.device = 0x8800}},
      {"of another terminal", "one\r\n", "one\r\n", {.data_of = 5}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    ImageSet set = with_unread(row.terminal, row.unread);
    unprocess_terminal_output(set);
    const Bytes after = images::whole(set["tty-data.img"]);
    EXPECT_EQ(after.size(), set["tty-data.img"].size);
    images::each_entry(after, [&](base::ByteView entry) {
      const base::ByteView data = protobuf::bytes_of(entry, 2);
      EXPECT_EQ(std::string(data.begin(), data.end()), row.written);
      EXPECT_EQ(protobuf::number_of(entry, 1), row.terminal.data_of);
    });
  }
  ImageSet without;
  unprocess_terminal_output(without);
  EXPECT_TRUE(without.empty());
}

}  // namespace
}  // namespace transfer
