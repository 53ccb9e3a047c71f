#include "transfer/adopted_images.h"

#include <algorithm>
#include <functional>
#include <string>

#include "transfer/image_rewrite.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using protobuf::bytes_of;
using protobuf::Field;

// CRIU's images/core.proto and images/creds.proto (image_schema.cc).
constexpr std::uint32_t kThread = 5;
constexpr std::uint32_t kParentDeath = 8;
constexpr std::uint32_t kCredentials = 10;
constexpr std::uint32_t kNoNewPrivileges = 18;

// CRIU's images/fdinfo.proto and images/regfile.proto.
constexpr std::uint64_t kTypeReg = 1;
constexpr std::uint64_t kTypeTty = 11;
constexpr std::uint32_t kFdinfoFile = 1;
constexpr std::uint32_t kFdinfoType = 3;
constexpr std::uint32_t kFdinfoNumber = 4;
constexpr std::uint32_t kFileType = 1;
constexpr std::uint32_t kFileId = 2;
constexpr std::uint32_t kFileReg = 3;
constexpr std::uint64_t kReadWrite = 2;
constexpr std::uint64_t kWriteOnly = 1;

Field number(std::uint32_t which, std::uint64_t value) {
  return {which, protobuf::WireType::kVarint, value, {}};
}

Bytes file_entry(std::uint64_t id, const std::string& path, std::uint64_t flags) {
  Bytes nobody;
  for (std::uint32_t field = 1; field <= 5; ++field) images::append(nobody, number(field, 0));
  Bytes reg;
  images::append(reg, number(1, id));
  images::append(reg, number(2, flags));
  images::append(reg, number(3, UINT64_MAX));  // nowhere: pipes have no offset
  images::append(reg, {5, protobuf::WireType::kBytes, 0, nobody});
  images::append(reg, {6, protobuf::WireType::kBytes, 0, base::as_bytes(path)});
  Bytes file;
  images::append(file, number(kFileType, kTypeReg));
  images::append(file, number(kFileId, id));
  images::append(file, {kFileReg, protobuf::WireType::kBytes, 0, reg});
  return file;
}

// With a field inside as `change` makes it of what it was.
Bytes with_inner(ByteView message, std::uint32_t number,
                 const std::function<Bytes(ByteView)>& change) {
  if (!protobuf::has_field(message, number)) return base::to_bytes(message);
  const Bytes inner = change(bytes_of(message, number));
  return images::changed(message, [&](Field& field) {
    if (field.number == number) field.bytes = inner;
  });
}

Bytes unprivileged(ByteView credentials) {
  Bytes out = base::to_bytes(credentials);
  if (!protobuf::has_field(credentials, kNoNewPrivileges)) {
    images::append(out, number(kNoNewPrivileges, 1));
  }
  return out;
}

Bytes not_signalled(ByteView thread) {
  return images::changed(thread, [](Field& field) {
    if (field.number == kParentDeath) field.value = 0;
  });
}

}  // namespace

void set_no_new_privileges(ImageSet& images) {
  for (auto& [name, image] : images) {
    if (!name.starts_with("core-")) continue;
    images::rewrite(image, [](ByteView core) {
      return with_inner(core, kThread, [](ByteView thread) {
        return with_inner(thread, kCredentials, unprivileged);
      });
    });
  }
}

void forget_parent_death(ImageSet& images, const std::set<std::int32_t>& threads) {
  for (const std::int32_t thread : threads) {
    const auto image = images.find("core-" + std::to_string(thread) + ".img");
    if (image == images.end()) continue;
    images::rewrite(image->second,
                    [](ByteView core) { return with_inner(core, kThread, not_signalled); });
  }
}

void leave_terminals(ImageSet& images, const std::array<std::string, 3>& paths) {
  const auto files = images.find("files.img");
  if (files == images.end()) return;
  std::uint64_t newest = 0;
  const Bytes before = images::whole(files->second);
  images::each_entry(before, [&](ByteView file) {
    newest = std::max(newest, protobuf::number_of(file, kFileId));
  });
  for (auto& [name, image] : images) {
    if (!name.starts_with("fdinfo-")) continue;
    images::rewrite(image, [&](ByteView fdinfo) {
      if (protobuf::number_of(fdinfo, kFdinfoType) != kTypeTty) return base::to_bytes(fdinfo);
      const std::uint64_t fd = protobuf::number_of(fdinfo, kFdinfoNumber);
      const std::uint64_t stream = fd == 0 || fd == 2 ? fd : 1;
      return images::changed(fdinfo, [&](Field& field) {
        if (field.number == kFdinfoFile) field.value = newest + 1 + stream;
        if (field.number == kFdinfoType) field.value = kTypeReg;
      });
    });
  }
  images::rewrite(files->second, [](ByteView file) {
    return protobuf::number_of(file, kFileType) == kTypeTty ? Bytes{} : base::to_bytes(file);
  });
  for (std::size_t stream = 0; stream < paths.size(); ++stream) {
    const Bytes entry =
        file_entry(newest + 1 + stream, paths[stream], stream == 0 ? kReadWrite : kWriteOnly);
    images::add_entry(files->second, entry);
  }
  for (const char* name : {"tty-info.img", "tty-data.img"}) {
    if (const auto image = images.find(name); image != images.end()) images.erase(image);
  }
}

}  // namespace transfer
