#include "transfer/adopted_images.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "made_images.h"
#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;
using protobuf::WireType;
using testing::image;
using testing::number;

// A core image as CRIU writes it: two magics, a size, the message.
Image core(std::uint64_t parent_death, bool privileges) {
  Bytes credentials;
  images::append(credentials, number(1, 1000));
  if (!privileges) images::append(credentials, number(18, 1));
  Bytes thread;
  images::append(thread, number(1, 7));
  images::append(thread, number(8, parent_death));
  images::append(thread, {10, WireType::kBytes, 0, credentials});
  Bytes message;
  images::append(message, number(1, 1));
  images::append(message, {5, WireType::kBytes, 0, thread});
  Bytes image(12);
  base::put_le32(base::MutableByteView(image).subspan(8),
                 static_cast<std::uint32_t>(message.size()));
  image.insert(image.end(), message.begin(), message.end());
  Buffer buffer(image.size());
  std::copy(image.begin(), image.end(), buffer.mutable_view().begin());
  Image out;
  out.size = image.size();
  out.ended = true;
  out.chunks.push_back(std::move(buffer));
  return out;
}

Bytes thread_of(const ImageSet& set, const std::string& name) {
  Bytes thread;
  const Bytes whole = images::whole(set.at(name));
  EXPECT_EQ(whole.size(), set.at(name).size);
  images::each_entry(whole, [&](base::ByteView entry) {
    EXPECT_EQ(number_of(entry, 1), 1U);
    thread = base::to_bytes(bytes_of(entry, 5));
  });
  EXPECT_EQ(number_of(thread, 1), 7U);
  return thread;
}

TEST(AdoptedImages, NobodyGainsPrivileges) {
  ImageSet set;
  set["core-20.img"] = core(0, true);
  set["core-21.img"] = core(0, false);
  set_no_new_privileges(set);
  for (const char* name : {"core-20.img", "core-21.img"}) {
    const Bytes thread = thread_of(set, name);
    const base::ByteView credentials = bytes_of(thread, 10);
    EXPECT_EQ(number_of(credentials, 1), 1000U);
    EXPECT_EQ(number_of(credentials, 18), 1U) << name;
  }
}

TEST(AdoptedImages, TheRootIsNotSignalledWhenItsFirstParentEnds) {
  ImageSet set;
  set["core-20.img"] = core(9, true);
  set["core-21.img"] = core(9, true);
  forget_parent_death(set, {20, 99});
  EXPECT_EQ(number_of(thread_of(set, "core-20.img"), 8), 0U);
  EXPECT_EQ(number_of(thread_of(set, "core-21.img"), 8), 9U) << "its parent comes along";
}

Bytes message(std::initializer_list<Field> fields) {
  Bytes out;
  for (const Field& field : fields) images::append(out, field);
  return out;
}

std::vector<Bytes> entries_of(const Image& image) {
  std::vector<Bytes> out;
  const Bytes whole = images::whole(image);
  EXPECT_EQ(whole.size(), image.size);
  images::each_entry(whole, [&](base::ByteView entry) { out.push_back(base::to_bytes(entry)); });
  return out;
}

TEST(AdoptedImages, WhatWasATerminalBecomesTheJobsStreams) {
  ImageSet set;
  const auto fdinfo = [](std::uint64_t file, std::uint64_t type, std::uint64_t fd) {
    return message({number(1, file), number(2, 0), number(3, type), number(4, fd)});
  };
  // One terminal, thrice open, and a file; the shell's own copy of it at 255.
  set["fdinfo-2.img"] = image(
      {fdinfo(5, 11, 0), fdinfo(5, 11, 1), fdinfo(5, 11, 2), fdinfo(6, 1, 3), fdinfo(5, 11, 255)});
  set["files.img"] =
      image({message({number(1, 11), number(2, 5)}), message({number(1, 1), number(2, 6)})});
  set["tty-info.img"] = image({message({number(1, 1)})});
  leave_terminals(set, {"/dev/null", "/out", "/err"});
  EXPECT_EQ(set.count("tty-info.img"), 0U);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> descriptors;  // number, file
  for (const Bytes& entry : entries_of(set["fdinfo-2.img"])) {
    EXPECT_EQ(number_of(entry, 3), 1U);
    descriptors.emplace_back(number_of(entry, 4), number_of(entry, 1));
  }
  const decltype(descriptors) expected{{0, 7}, {1, 8}, {2, 9}, {3, 6}, {255, 8}};
  EXPECT_EQ(descriptors, expected);
  std::map<std::uint64_t, std::string> paths;
  for (const Bytes& entry : entries_of(set["files.img"])) {
    EXPECT_EQ(number_of(entry, 1), 1U);
    paths[number_of(entry, 2)] = base::as_text(bytes_of(bytes_of(entry, 3), 6));
  }
  const decltype(paths) files{{6, ""}, {7, "/dev/null"}, {8, "/out"}, {9, "/err"}};
  EXPECT_EQ(paths, files);
}

TEST(AdoptedImages, WhatIsNoImageStaysWithoutHarm) {
  ImageSet set;
  set["core-20.img"].size = 0;
  Image cut = core(9, true);
  cut.chunks.front().drop_back(9);
  set["core-21.img"] = std::move(cut);
  set["files.img"].size = 0;
  set_no_new_privileges(set);
  forget_parent_death(set, {20, 21});
  leave_terminals(set, {"/dev/null", "/out", "/err"});
  EXPECT_EQ(set.size(), 3U);
}

}  // namespace
}  // namespace transfer
