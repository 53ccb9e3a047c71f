#include "transfer/stopped_children.h"

#include <map>
#include <string>

#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;
using protobuf::WireType;

// CRIU's images/pstree.proto, images/core.proto and images/siginfo.proto (image_schema.cc).
constexpr char kTree[] = "pstree.img";
constexpr std::uint32_t kPid = 1;
constexpr std::uint32_t kParent = 2;
constexpr std::uint32_t kTask = 3;
constexpr std::uint32_t kBlocked = 5;  // of the task, likewise the next
constexpr std::uint32_t kPending = 10;
constexpr std::uint32_t kSignals = 1;
constexpr std::uint32_t kInfo = 1;

// Of Linux, on every machine that CRIU knows (signal(7), sigaction(2)).
constexpr std::uint32_t kChild = 17;  // SIGCHLD
constexpr std::uint32_t kContinued = 6;
constexpr std::uint32_t kContinue = 18;  // SIGCONT
constexpr std::size_t kInfoSize = 128;

// A siginfo_t.
Bytes continued(std::uint32_t child) {
  Bytes info(kInfoSize);
  const base::MutableByteView view(info);
  base::put_le32(view, kChild);
  base::put_le32(view.subspan(8), kContinued);
  base::put_le32(view.subspan(16), child);
  base::put_le32(view.subspan(24), kContinue);
  return info;
}

bool blocks_it(ByteView task) { return ((number_of(task, kBlocked) >> (kChild - 1)) & 1U) != 0; }

Bytes foretold(ByteView core, std::uint32_t child) {
  const ByteView task = bytes_of(core, kTask);
  const Bytes info = continued(child);
  Bytes signal;
  images::append(signal, {kInfo, WireType::kBytes, 0, info});
  Bytes queue = base::to_bytes(bytes_of(task, kPending));
  images::append(queue, {kSignals, WireType::kBytes, 0, signal});
  Bytes fresh;
  protobuf::Reader reader(task);
  while (auto field = reader.next()) {
    if (field->number != kPending) images::append(fresh, *field);
  }
  images::append(fresh, {kPending, WireType::kBytes, 0, queue});
  return images::changed(core, [&](Field& field) {
    if (field.number == kTask) field.bytes = fresh;
  });
}

}  // namespace

void foretell_continued_children(ImageSet& images) {
  const auto tree = images.find(kTree);
  if (tree == images.end()) return;
  std::map<std::uint32_t, std::uint32_t> child_of;
  const Bytes bytes = images::whole(tree->second);
  images::each_entry(bytes, [&](ByteView process) {
    child_of.emplace(static_cast<std::uint32_t>(number_of(process, kParent)),
                     static_cast<std::uint32_t>(number_of(process, kPid)));
  });
  for (const auto& [parent, child] : child_of) {
    const auto core = images.find("core-" + std::to_string(parent) + ".img");
    if (core == images.end()) continue;
    bool any = false;
    const Bytes before = images::whole(core->second);
    images::each_entry(before, [&](ByteView one) { any = any || blocks_it(bytes_of(one, kTask)); });
    if (!any) continue;
    images::rewrite(core->second, [&, born = child](ByteView one) { return foretold(one, born); });
  }
}

}  // namespace transfer
