// One group member under test, its peers played by hand: what it sends, writes and reports is
// collected, and nothing is confirmed durable unless the test says so (or `prompt_disk` is set).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "balance/group.h"

namespace balance {

inline constexpr base::NodeId kA{{0xa}};
inline constexpr base::NodeId kB{{0xb}};
inline constexpr base::NodeId kC{{0xc}};
inline constexpr base::TriadId kGroupId{{0x77}};
inline const base::Time kStart{base::Duration{1000000000}};

inline base::StoreId store_of(const base::NodeId& node) {
  return base::StoreId{{node.bytes[0], 0x50}};
}
inline base::Bytes bytes_of(std::string_view text) { return base::to_bytes(base::as_bytes(text)); }
inline group::Entry entry(std::uint64_t term, std::string_view text = {}) {
  return {base::Term{term}, bytes_of(text)};
}
inline group::LogEnd log_end(std::uint64_t term, std::uint64_t index) {
  return {base::Term{term}, base::LogIndex{index}};
}

// Members A (preferred), B, C; all vote.
inline group::Config trio(const base::NodeId& self, std::uint64_t incarnation = 1) {
  group::Config config;
  config.id = kGroupId;
  config.self = self;
  config.preferred = kA;
  for (const base::NodeId& node : {kA, kB, kC}) {
    config.members.push_back({node, store_of(node), true});
  }
  config.form = bytes_of("form");
  config.incarnation = base::Incarnation{incarnation};
  return config;
}

// A is the source and the only voter, B the learner.
inline group::Config pair_of(const base::NodeId& self, std::uint64_t incarnation = 1) {
  group::Config config = trio(self, incarnation);
  config.members.pop_back();
  config.members[1].voter = false;
  return config;
}

struct Said {
  base::NodeId to;
  group::Message message;
};

class Rig {
 public:
  explicit Rig(group::Config config, group::Recovered recovered = {}, std::uint64_t seed = 1)
      : group(std::move(
            *Group::open(std::move(config), std::move(recovered), base::Rng(seed), kStart))) {}

  void step(const group::Event& event) {
    for (group::Action& action : group.step(now, event)) take(std::move(action));
    while (prompt_disk && confirmed < written()) confirm();
  }
  void tick() {  // at the next deadline
    now = std::max(now, group.next_deadline());
    step(group::Tick{});
  }
  void pass(base::Duration duration) {  // lets timers run
    const base::Time until = now + duration;
    while (group.next_deadline() <= until) tick();
    now = until;
  }
  void confirm() {  // the next write is durable
    ++confirmed;
    step(group::Persisted{group::PersistId{confirmed}});
  }
  void hear(const base::NodeId& from, std::uint64_t term, group::Body body,
            std::uint64_t incarnation = 1) {
    const group::Message message{kGroupId, store_of(from), base::Incarnation{incarnation},
                                 base::Term{term}, std::move(body)};
    step(group::Received{from, group::encode(message)});
  }
  void propose(std::string_view text, bool closing = false) {
    step(group::Propose{bytes_of(text), closing});
  }
  // Makes the member leader with B's voice; returns its term.
  std::uint64_t elect() {
    prompt_disk = true;
    for (int i = 0; i < 10 && group.role() != group::Role::kPreCandidate; ++i) tick();
    const auto asked = group.term();
    hear(kB, asked.value, group::PreVoteReply{true, asked});
    hear(kB, group.term().value, group::VoteReply{true});
    EXPECT_TRUE(group.is_leader());
    return group.term().value;
  }
  void acknowledge(const base::NodeId& from, std::uint64_t index, std::uint64_t incarnation = 1) {
    group::AppendReply reply;
    reply.ok = true;
    reply.index = base::LogIndex{index};
    hear(from, group.term().value, reply, incarnation);
  }
  // The last message of a kind to `to` since the last clear(), if any.
  template <typename T>
  std::optional<T> last_to(const base::NodeId& to) const {
    std::optional<T> found;
    for (const Said& said : sent) {
      const T* body = std::get_if<T>(&said.message.body);
      if (said.to == to && body != nullptr) found = *body;
    }
    return found;
  }
  template <typename T>
  std::size_t count() const {
    std::size_t n = 0;
    for (const Said& said : sent) n += std::holds_alternative<T>(said.message.body) ? 1 : 0;
    return n;
  }
  template <typename T>
  std::size_t told() const {
    return static_cast<std::size_t>(std::count_if(
        notes.begin(), notes.end(), [](const auto& a) { return std::holds_alternative<T>(a); }));
  }
  void clear() {
    sent.clear();
    notes.clear();
  }
  [[nodiscard]] std::uint64_t written() const { return writes.size(); }
  // What a disk would hold after the first `count` writes.
  [[nodiscard]] group::Recovered disk(std::uint64_t count) const {
    group::Recovered out = initial;
    for (std::uint64_t i = 0; i < count; ++i) apply(writes[static_cast<std::size_t>(i)], out);
    return out;
  }
  static void apply(const group::Persist& write, group::Recovered& disk) {
    if (write.hard) disk.hard = *write.hard;
    if (!write.log) return;
    // The contract of Rewrite, checked as a store by keys would rely upon it.
    EXPECT_FALSE(write.log->entries.empty());
    EXPECT_EQ(write.log->old_last.value, disk.entries.size() + 1);
    EXPECT_GE(write.log->first.value, 2u);
    EXPECT_LE(write.log->first.value, disk.entries.size() + 2);
    disk.entries.resize(static_cast<std::size_t>(write.log->first.value - 2));
    for (const group::Entry& e : write.log->entries) disk.entries.push_back(e);
  }

  Group group;
  base::Time now = kStart;
  bool prompt_disk = false;
  std::uint64_t confirmed = 0;
  group::Recovered initial;
  std::vector<Said> sent;
  std::vector<group::Persist> writes;
  std::vector<group::Committed> committed;
  std::vector<group::Action> notes;  // all actions but sends and writes

 private:
  void take(group::Action action) {
    if (const auto* send = std::get_if<group::Send>(&action)) {
      sent.push_back({send->to, *group::decode(send->bytes)});
    } else if (const auto* write = std::get_if<group::Persist>(&action)) {
      writes.push_back(*write);
      EXPECT_EQ(write->id.value, writes.size());
    } else {
      if (const auto* c = std::get_if<group::Committed>(&action)) committed.push_back(*c);
      notes.push_back(std::move(action));
    }
  }
};

}  // namespace balance
