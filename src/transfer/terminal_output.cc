#include "transfer/terminal_output.h"

#include <set>

#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;

// CRIU's images/tty.proto.
constexpr char kInfos[] = "tty-info.img";
constexpr char kData[] = "tty-data.img";
constexpr std::uint32_t kInfoId = 1;
constexpr std::uint32_t kInfoDevice = 8;
constexpr std::uint32_t kInfoModes = 9;
constexpr std::uint32_t kOutputModes = 2;
constexpr std::uint32_t kDataOf = 1;
constexpr std::uint32_t kDataBytes = 2;

constexpr std::uint64_t kMaster = (5 << 8) | 2;  // /dev/ptmx
constexpr std::uint64_t kProcesses = 1;          // OPOST
constexpr std::uint64_t kReturns = 4;            // ONLCR, of every machine that CRIU knows

// Masters of terminals that put a \r before each \n.
std::set<std::uint64_t> masters(const ImageSet& images) {
  std::set<std::uint64_t> ids;
  const auto infos = images.find(kInfos);
  if (infos == images.end()) return ids;
  images::each_entry(images::whole(infos->second), [&](ByteView info) {
    const std::uint64_t modes = number_of(bytes_of(info, kInfoModes), kOutputModes);
    const bool returns = (modes & kProcesses) != 0 && (modes & kReturns) != 0;
    if (number_of(info, kInfoDevice) == kMaster && returns) ids.insert(number_of(info, kInfoId));
  });
  return ids;
}

Bytes as_written(ByteView processed) {
  Bytes out;
  out.reserve(processed.size());
  for (std::size_t i = 0; i < processed.size(); ++i) {
    const bool returned =
        processed[i] == '\r' && i + 1 < processed.size() && processed[i + 1] == '\n';
    if (!returned) out.push_back(processed[i]);
  }
  return out;
}

}  // namespace

void unprocess_terminal_output(ImageSet& images) {
  const auto data = images.find(kData);
  if (data == images.end()) return;
  const std::set<std::uint64_t> ids = masters(images);
  images::rewrite_where(
      data->second, [&](ByteView entry) { return ids.contains(number_of(entry, kDataOf)); },
      [](ByteView entry) {
        const Bytes fresh = as_written(bytes_of(entry, kDataBytes));
        return images::changed(entry, [&](Field& field) {
          if (field.number == kDataBytes) field.bytes = fresh;
        });
      });
}

}  // namespace transfer
