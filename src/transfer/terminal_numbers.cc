#include "transfer/terminal_numbers.h"

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using images::changed;
using images::each_entry;
using images::rewrite;
using images::whole;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;
using Numbers = std::map<std::uint32_t, std::uint32_t>;

// CRIU's images/tty.proto and images/fdinfo.proto (image_schema.cc).
constexpr char kInfos[] = "tty-info.img";
constexpr char kFiles[] = "files.img";
constexpr std::uint32_t kInfoDevice = 8;
constexpr std::uint32_t kInfoPty = 12;
constexpr std::uint64_t kSlaves = 136 << 8;
constexpr std::uint32_t kFileReg = 3;
constexpr std::uint32_t kRegPath = 6;
constexpr std::string_view kFolder = "/dev/pts/";

Bytes changed_info(ByteView info, const Numbers& numbers) {
  const auto number = static_cast<std::uint32_t>(number_of(bytes_of(info, kInfoPty), 1));
  const auto to = numbers.find(number);
  if (to == numbers.end()) return base::to_bytes(info);
  const Bytes pty = changed(bytes_of(info, kInfoPty), [&](Field& field) {
    if (field.number == 1) field.value = to->second;
  });
  return changed(info, [&](Field& field) {
    if (field.number == kInfoPty) field.bytes = pty;
    if (field.number == kInfoDevice && field.value == kSlaves + number) {
      field.value = kSlaves + to->second;
    }
  });
}

std::optional<std::uint32_t> number_in(std::string_view path) {
  if (!path.starts_with(kFolder)) return std::nullopt;
  path.remove_prefix(kFolder.size());
  std::uint32_t number = 0;
  const auto end = std::from_chars(path.data(), path.data() + path.size(), number);
  if (end.ec != std::errc{} || end.ptr != path.data() + path.size()) return std::nullopt;
  return number;
}

Bytes changed_file(ByteView file, const Numbers& numbers) {
  const ByteView reg = bytes_of(file, kFileReg);
  const auto number = number_in(base::as_text(bytes_of(reg, kRegPath)));
  const auto to = number ? numbers.find(*number) : numbers.end();
  if (to == numbers.end()) return base::to_bytes(file);
  const std::string path = std::string(kFolder) + std::to_string(to->second);
  const Bytes body = changed(reg, [&](Field& field) {
    if (field.number == kRegPath) field.bytes = base::as_bytes(path);
  });
  return changed(file, [&](Field& field) {
    if (field.number == kFileReg) field.bytes = body;
  });
}

}  // namespace

std::set<std::uint32_t> terminal_numbers(const ImageSet& images) {
  std::set<std::uint32_t> numbers;
  const auto infos = images.find(kInfos);
  if (infos == images.end()) return numbers;
  const Bytes bytes = whole(infos->second);
  each_entry(bytes, [&](ByteView info) {
    numbers.insert(static_cast<std::uint32_t>(number_of(bytes_of(info, kInfoPty), 1)));
  });
  return numbers;
}

void renumber_terminals(ImageSet& images, const Numbers& numbers) {
  if (const auto infos = images.find(kInfos); infos != images.end()) {
    rewrite(infos->second, [&](ByteView info) { return changed_info(info, numbers); });
  }
  if (const auto files = images.find(kFiles); files != images.end()) {
    rewrite(files->second, [&](ByteView file) { return changed_file(file, numbers); });
  }
}

}  // namespace transfer
