#include "transfer/stopped_children.h"

#include <map>
#include <string>

#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"
#include "transfer/signal_actions.h"

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
constexpr std::uint32_t kState = 1;  // of the task, likewise the next
constexpr std::uint32_t kBlocked = 5;
constexpr std::uint32_t kPending = 10;
constexpr std::uint32_t kSignals = 1;
constexpr std::uint32_t kInfo = 1;
constexpr std::uint32_t kThread = 5;
constexpr std::uint32_t kCreds = 10;
constexpr std::uint32_t kUid = 1;

constexpr std::uint64_t kAlive = 1;
constexpr std::uint64_t kDead = 2;

// Of Linux, on every machine that CRIU knows (signal(7), sigaction(2)).
constexpr std::uint32_t kChild = 17;  // SIGCHLD
constexpr std::uint32_t kContinued = 6;
constexpr std::uint32_t kContinue = 18;  // SIGCONT
constexpr std::uint64_t kIgnored = 1;    // SIG_IGN
constexpr std::uint64_t kNoStop = 1;     // SA_NOCLDSTOP
constexpr std::size_t kInfoSize = 128;

struct Child {
  std::uint32_t pid = 0;
  std::uint32_t uid = 0;
  std::uint64_t state = kDead;
};

// A siginfo_t.
Bytes continued(const Child& child) {
  Bytes info(kInfoSize);
  const base::MutableByteView view(info);
  base::put_le32(view, kChild);
  base::put_le32(view.subspan(8), kContinued);
  base::put_le32(view.subspan(16), child.pid);
  base::put_le32(view.subspan(20), child.uid);
  base::put_le32(view.subspan(24), kContinue);
  return info;
}

// Whether the signal would stay pending: it is sent, as the kernel does it
// (do_notify_parent_cldstop), and blocked.
bool would_wait(ByteView task) {
  if (((number_of(task, kBlocked) >> (kChild - 1)) & 1U) == 0) return false;
  const auto actions = signal_actions(task);
  const auto action = actions.find(kChild);
  if (action == actions.end()) return true;  // not told
  return action->second.handler != kIgnored && (action->second.flags & kNoStop) == 0;
}

Child child_of(const ImageSet& images, std::uint32_t pid) {
  Child child{pid};
  const auto core = images.find("core-" + std::to_string(pid) + ".img");
  if (core == images.end()) return child;
  images::each_entry(images::whole(core->second), [&](ByteView one) {
    child.state = number_of(bytes_of(one, kTask), kState, kDead);
    const ByteView creds = bytes_of(bytes_of(one, kThread), kCreds);
    child.uid = static_cast<std::uint32_t>(number_of(creds, kUid));
  });
  return child;
}

// Of each parent the child to name: one that runs, or else one that had been stopped before.
std::map<std::uint32_t, Child> children(const ImageSet& images, const Image& tree) {
  std::map<std::uint32_t, Child> found;
  images::each_entry(images::whole(tree), [&](ByteView process) {
    const Child child = child_of(images, static_cast<std::uint32_t>(number_of(process, kPid)));
    if (child.state == kDead) return;
    Child& named = found.try_emplace(static_cast<std::uint32_t>(number_of(process, kParent)), child)
                       .first->second;
    if (named.state != kAlive && child.state == kAlive) named = child;
  });
  return found;
}

Bytes foretold(ByteView core, const Child& child) {
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
  for (const auto& [parent, child] : children(images, tree->second)) {
    const auto core = images.find("core-" + std::to_string(parent) + ".img");
    if (core == images.end()) continue;
    images::rewrite_where(
        core->second, [](ByteView one) { return would_wait(bytes_of(one, kTask)); },
        [&, born = child](ByteView one) { return foretold(one, born); });
  }
}

}  // namespace transfer
