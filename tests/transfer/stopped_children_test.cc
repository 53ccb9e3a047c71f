#include "transfer/stopped_children.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
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

Bytes process(std::uint64_t pid, std::uint64_t parent) {
  Bytes entry;
  images::append(entry, number(1, pid));
  images::append(entry, number(2, parent));
  return entry;
}

constexpr std::uint64_t kAlive = 1;
constexpr std::uint64_t kZombie = 2;
constexpr std::uint64_t kStopped = 3;
constexpr std::uint64_t kUid = 1000;

struct OnSigchld {
  std::uint64_t handler = 0;
  std::uint64_t flags = 0;
};

// With a signal that is pending, if `pending` is one.
Image core(std::uint64_t blocked, int pending = 0, std::uint64_t state = kAlive,
           const OnSigchld& action = {}) {
  Bytes task;
  images::append(task, number(1, state));
  images::append(task, number(5, blocked));
  for (int signal = 1; signal <= 64; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    Bytes one;
    images::append(one, number(1, signal == SIGCHLD ? action.handler : 0));
    images::append(one, number(2, signal == SIGCHLD ? action.flags : 0));
    images::append(task, {15, WireType::kBytes, 0, one});
  }
  if (pending != 0) {
    siginfo_t info{};
    info.si_signo = pending;
    Bytes raw(sizeof info);
    std::memcpy(raw.data(), &info, sizeof info);
    Bytes signal;
    images::append(signal, {1, WireType::kBytes, 0, raw});
    Bytes queue;
    images::append(queue, {1, WireType::kBytes, 0, signal});
    images::append(task, {10, WireType::kBytes, 0, queue});
  }
  images::append(task, number(18, 1));
  Bytes entry;
  images::append(entry, number(1, 1));
  images::append(entry, {3, WireType::kBytes, 0, task});
  Bytes creds;
  images::append(creds, number(1, kUid));
  Bytes thread;
  images::append(thread, {10, WireType::kBytes, 0, creds});
  images::append(entry, {5, WireType::kBytes, 0, thread});
  return image({entry});
}

std::vector<siginfo_t> pending_of(const ImageSet& set, const std::string& name) {
  std::vector<siginfo_t> found;
  const Bytes whole = images::whole(set.at(name));
  EXPECT_EQ(whole.size(), set.at(name).size);
  images::each_entry(whole, [&](base::ByteView entry) {
    const base::ByteView task = bytes_of(entry, 3);
    EXPECT_EQ(number_of(task, 18), 1U);
    protobuf::Reader queue(bytes_of(task, 10));
    while (auto signal = queue.next()) {
      const base::ByteView raw = bytes_of(signal->bytes, 1);
      siginfo_t info{};
      EXPECT_EQ(raw.size(), sizeof info);
      if (raw.size() == sizeof info) std::memcpy(&info, raw.data(), sizeof info);
      found.push_back(info);
    }
  });
  return found;
}

constexpr std::uint64_t kBlocksIt = std::uint64_t{1} << (SIGCHLD - 1);

TEST(StoppedChildren, WhoReadsSigchldHearsThatAChildContinued) {
  ImageSet set;
  set["pstree.img"] = image({process(1, 0), process(5, 1), process(6, 5), process(7, 5)});
  set["core-1.img"] = core(0);
  set["core-5.img"] = core(kBlocksIt, SIGUSR1);
  set["core-6.img"] = core(kBlocksIt);  // no children
  set["core-7.img"] = core(0);
  foretell_continued_children(set);
  for (const char* name : {"core-1.img", "core-6.img", "core-7.img"}) {
    EXPECT_TRUE(pending_of(set, name).empty()) << name;
  }
  const auto pending = pending_of(set, "core-5.img");
  ASSERT_EQ(pending.size(), 2U);
  EXPECT_EQ(pending[0].si_signo, SIGUSR1);
  EXPECT_EQ(pending[1].si_signo, SIGCHLD);
  EXPECT_EQ(pending[1].si_code, CLD_CONTINUED);
  EXPECT_EQ(pending[1].si_pid, 6);
  EXPECT_EQ(pending[1].si_uid, kUid);
  EXPECT_EQ(pending[1].si_status, SIGCONT);
}

TEST(StoppedChildren, WhoWouldNotBeToldHearsNothing) {
  const auto heard = [](const OnSigchld& action) {
    ImageSet set;
    set["pstree.img"] = image({process(1, 0), process(2, 1)});
    set["core-1.img"] = core(kBlocksIt, 0, kAlive, action);
    set["core-2.img"] = core(0);
    foretell_continued_children(set);
    return !pending_of(set, "core-1.img").empty();
  };
  constexpr std::uint64_t kHandler = 0x401100;
  EXPECT_TRUE(heard({0, 0}));
  EXPECT_TRUE(heard({kHandler, SA_RESTART}));
  EXPECT_FALSE(heard({1, 0}));  // SIG_IGN
  EXPECT_FALSE(heard({0, SA_NOCLDSTOP}));
  EXPECT_FALSE(heard({kHandler, SA_NOCLDSTOP | SA_RESTART}));
}

TEST(StoppedChildren, AChildThatRunsIsNamedAndNoZombie) {
  const auto named = [](std::uint64_t second, std::uint64_t third) {
    ImageSet set;
    set["pstree.img"] = image({process(1, 0), process(2, 1), process(3, 1)});
    set["core-1.img"] = core(kBlocksIt);
    set["core-2.img"] = core(0, 0, second);
    set["core-3.img"] = core(0, 0, third);
    foretell_continued_children(set);
    const auto pending = pending_of(set, "core-1.img");
    return pending.empty() ? 0 : pending[0].si_pid;
  };
  EXPECT_EQ(named(kAlive, kAlive), 2);
  EXPECT_EQ(named(kZombie, kAlive), 3);
  EXPECT_EQ(named(kStopped, kAlive), 3);
  EXPECT_EQ(named(kZombie, kStopped), 3);
  EXPECT_EQ(named(kZombie, kZombie), 0);
}

}  // namespace
}  // namespace transfer
