// Messages between nodes and the description of a job: golden bytes, and input that is damaged, cut
// or over a limit.
#include "node/job_wire.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "base/wire.h"
#include "node/limits.h"
#include "node/move_metadata.h"

namespace node {
namespace {

template <typename T>
T id_of(std::uint8_t n) {
  T id;
  id.bytes.fill(n);
  return id;
}
const auto kJob = id_of<base::JobId>(3);

JobSpec spec_of() {
  JobSpec spec;
  spec.id = kJob;
  spec.name = "counter";
  spec.argv = {"/bin/sh", "-c", ""};
  spec.cwd = "/srv/ann";
  spec.uid = 1000;
  spec.gid = UINT32_MAX;
  spec.groups = {4, 24};
  spec.home = id_of<base::NodeId>(11);
  spec.started_at = base::WallTime{1'800'000'000};
  spec.cpu_micros = UINT64_MAX;
  spec.moves = 2;
  spec.load_micros = -1;
  return spec;
}

JobInfo info_of(bool ended) {
  JobInfo info;
  if (!ended) info.waits_for.bytes[0] = 9;
  info.id = kJob;
  info.name = "counter";
  info.command = "/bin/sh -c";
  info.state = ended ? JobState::kExited : JobState::kHandover;
  info.node = id_of<base::NodeId>(12);
  info.home = id_of<base::NodeId>(11);
  info.here = !ended;
  info.epoch = 7;
  info.pid = 4711;
  info.scum_micros = 900'000;
  info.cpu_micros = 1'500'000;
  info.memory_micros = 250'000;
  info.started_at = base::WallTime{1'800'000'000};
  info.moves = 3;
  if (ended) info.wait_status = 9;
  return info;
}

std::vector<std::pair<std::string, Message>> examples() {
  Order order{41, Verb::kMigrate, kJob, 1000, 15, id_of<base::NodeId>(12), 2500};
  LogReply log{43, true, kJob, 1, 5, {1, 2, 3}, {8, 9}, true, 256, false};
  const base::Endpoint at = base::Endpoint::v4({192, 0, 2, 1}, 7333);
  const Input input{
      45, kJob, 1000, 1ULL << 32, InputKind::kBytes, 70'000, {4, 5, 6}, {24, 80, 0, UINT16_MAX}};
  return {{"agreement", Agreement{{1, 2, 3}, {{id_of<base::NodeId>(14), at}}}},
          {"output", Output{kJob, base::Epoch{4}, 1, 70'000, {4, 5}}},
          {"output-ack", OutputAck{kJob, {70'000, 3}}},
          {"here", Here{kJob, base::Epoch{4}, 2}},
          {"here-ack", HereAck{kJob, base::Epoch{4}}},
          {"exited", Exited{kJob, base::Epoch{4}, 0xffff, {1, UINT64_MAX}, 2}},
          {"exited-ack", ExitedAck{kJob}},
          {"jobs-query", JobsQuery{40}},
          {"jobs-reply", JobsReply{40, {info_of(false), info_of(true)}}},
          {"order", order},
          {"order-reply", OrderReply{41, true, 6, "nothing fits", "{\"a\":1}"}},
          {"log-query", LogQuery{42, kJob, 0, 12, 1000}},
          {"log-reply", log},
          {"needs-query", NeedsQuery{44, kJob, {1, 2, 3}}},
          {"needs-reply", NeedsReply{44, {"b has no CRIU", "no room"}}},
          {"moved", Moved{kJob, base::Epoch{5}, id_of<base::NodeId>(12)}},
          {"where", Where{kJob}},
          {"why-query", WhyQuery{45}},
          {"why-reply", WhyReply{45, "bob keeps its jobs"}},
          {"input", input},
          {"input-reply",
           InputReply{46, kJob, InputWord::kState, 1ULL << 32, 70000, 70100, true, false, true}}};
}

std::vector<std::pair<std::string, base::Bytes>> encoded() {
  std::vector<std::pair<std::string, base::Bytes>> all;
  for (const auto& [name, message] : examples()) all.emplace_back(name, encode(message));
  return all;
}

TEST(JobWire, EveryKindHasAnExample) {
  std::set<std::size_t> kinds;
  for (const auto& [name, message] : examples()) kinds.insert(message.index());
  EXPECT_EQ(kinds.size(), std::variant_size_v<Message>);
}

// tests/vectors/node_wire.txt: "name hex". TERN_WRITE_VECTORS=1 writes it anew; a difference is a
// new protocol version.
TEST(JobWire, MessagesAreTheGoldenOnes) {
  const std::string path = std::string(TERN_SOURCE_DIR) + "/tests/vectors/node_wire.txt";
  std::string text;
  for (const auto& [name, bytes] : encoded()) text += name + " " + base::to_hex(bytes) + "\n";
  text += "spec " + base::to_hex(encode(spec_of())) + "\n";
  text += "move-metadata " + base::to_hex(encode(MoveMetadata{spec_of(), {1, 2}, {3, 4}, {1, 7}}));
  text += "\n";
  if (std::getenv("TERN_WRITE_VECTORS") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, golden);
}

TEST(JobWire, MessagesComeBackTheSame) {
  for (const auto& [name, message] : examples()) {
    SCOPED_TRACE(name);
    auto back = decode_message(encode(message));
    ASSERT_TRUE(back.ok()) << back.error().detail;
    EXPECT_TRUE(*back == message);
  }
}

TEST(JobWire, CutOrLengthenedMessagesAreRefused) {
  for (auto [name, bytes] : encoded()) {
    SCOPED_TRACE(name);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(decode_message(base::ByteView(bytes).first(size)).ok()) << size;
    }
    bytes.push_back(0);
    EXPECT_FALSE(decode_message(bytes).ok());
  }
}

// Whatever is taken keeps every limit that a sender keeps.
void expect_within_limits(const Message& message) {
  if (const auto* m = std::get_if<Output>(&message)) {
    EXPECT_TRUE(m->stream == 0 || m->stream == 1);
    EXPECT_LE(m->bytes.size(), kOutputChunkMax);
    EXPECT_GE(m->offset + m->bytes.size(), m->offset);
  }
  if (const auto* m = std::get_if<Exited>(&message)) {
    EXPECT_GE(m->wait_status, 0);
    EXPECT_LE(m->wait_status, 0xffff);
  }
  if (const auto* m = std::get_if<JobsReply>(&message)) {
    EXPECT_LE(m->jobs.size(), kJobsInReplyMax);
    for (const JobInfo& info : m->jobs) EXPECT_LE(info.state, JobState::kPaused);
  }
  if (const auto* m = std::get_if<Order>(&message)) {
    EXPECT_LE(m->number, m->verb == Verb::kThrottle ? kOrderNumberMax : 64U);
  }
  if (const auto* m = std::get_if<NeedsReply>(&message)) {
    EXPECT_LE(m->obstacles.size(), kObstaclesMax);
  }
  if (const auto* m = std::get_if<Input>(&message)) {
    EXPECT_LE(m->bytes.size(), kInputPieceMax);
    EXPECT_LE(m->kind, InputKind::kAsk);
    EXPECT_GE(m->offset + m->bytes.size(), m->offset);
  }
  if (const auto* m = std::get_if<InputReply>(&message)) {
    EXPECT_LE(m->word, InputWord::kNone);
    EXPECT_LE(m->taken, INT64_MAX / 2);
  }
  if (const auto* m = std::get_if<LogQuery>(&message)) {
    EXPECT_TRUE(m->stream == 0 || m->stream == 1);
  }
}

TEST(JobWire, DamageInAnyByteIsTakenWithinTheLimitsOrRefused) {
  for (const auto& [name, whole] : encoded()) {
    SCOPED_TRACE(name);
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (int value = 0; value < 256; ++value) {
        base::Bytes bytes = whole;
        bytes[at] = static_cast<std::uint8_t>(value);
        auto message = decode_message(bytes);
        if (!message) continue;
        expect_within_limits(*message);
        auto again = decode_message(encode(*message));
        ASSERT_TRUE(again.ok());
        EXPECT_TRUE(*again == *message);
      }
    }
  }
}

TEST(JobWire, OnlyAThrottleHasANumberAboveASignals) {
  Order order{41, Verb::kThrottle, kJob, 1000, kThrottleByRules, {}, 0};
  EXPECT_TRUE(decode_message(encode(order)).ok());
  order.verb = Verb::kKill;
  EXPECT_FALSE(decode_message(encode(order)).ok());
  order.number = 64;
  EXPECT_TRUE(decode_message(encode(order)).ok());
  order.verb = Verb::kThrottle;
  order.number = kOrderNumberMax + 1;
  EXPECT_FALSE(decode_message(encode(order)).ok());
}

base::Bytes envelope(std::uint64_t version, std::uint64_t kind) {
  base::Writer w;
  w.array(3).u64(version).u64(kind).array(1).u64(40);
  return w.take();
}

TEST(JobWire, UnknownVersionsAndKindsAreRefused) {
  EXPECT_TRUE(decode_message(envelope(1, 7)).ok());
  EXPECT_FALSE(decode_message(envelope(0, 7)).ok());
  EXPECT_FALSE(decode_message(envelope(2, 7)).ok());
  EXPECT_FALSE(decode_message(envelope(1, std::variant_size_v<Message>)).ok());
  EXPECT_FALSE(decode_message(envelope(1, UINT64_MAX)).ok());
}

base::Bytes output_of(std::uint64_t stream, std::uint64_t offset, std::size_t size) {
  base::Writer w;
  w.array(3).u64(1).u64(1).array(5).id(kJob).u64(4).u64(stream).u64(offset);
  w.bin(base::Bytes(size));
  return w.take();
}

TEST(JobWire, StreamsAreOneAndTwo) {
  EXPECT_FALSE(decode_message(output_of(0, 0, 1)).ok());
  EXPECT_TRUE(decode_message(output_of(1, 0, 1)).ok());
  EXPECT_TRUE(decode_message(output_of(2, 0, 1)).ok());
  EXPECT_FALSE(decode_message(output_of(3, 0, 1)).ok());
}

TEST(JobWire, APieceOfOutputIsBoundedAndEndsWithinTheFile) {
  EXPECT_TRUE(decode_message(output_of(1, 0, kOutputChunkMax)).ok());
  EXPECT_FALSE(decode_message(output_of(1, 0, kOutputChunkMax + 1)).ok());
  EXPECT_TRUE(decode_message(output_of(1, UINT64_MAX - kOutputChunkMax, 1)).ok());
  EXPECT_FALSE(decode_message(output_of(1, UINT64_MAX - kOutputChunkMax + 1, 1)).ok());
}

TEST(JobWire, AMessageOverTheLimitIsRefusedUnread) {
  const std::size_t head = encode(Agreement{base::Bytes(kMessageSizeMax - 100)}).size();
  const std::size_t fits = kMessageSizeMax - (head - (kMessageSizeMax - 100));
  EXPECT_TRUE(decode_message(encode(Agreement{base::Bytes(fits)})).ok());
  auto over = decode_message(encode(Agreement{base::Bytes(fits + 1)}));
  ASSERT_FALSE(over.ok());
  EXPECT_EQ(over.error().code, base::Code::kTooLarge);
}

TEST(JobWire, WaitStatusesAreSixteenBits) {
  for (const std::int64_t status : {std::int64_t{-1}, std::int64_t{0x10000}, INT64_MIN}) {
    base::Writer w;
    w.array(3).u64(1).u64(5).array(5).id(kJob).u64(4).i64(status).u64(0).u64(0);
    EXPECT_FALSE(decode_message(w.take()).ok()) << status;
  }
}

TEST(JobWire, WhatPeersSayIsFitToBeShown) {
  OrderReply reply{1, true, 0, "a\x1b[2Jb\nc\x7f", ""};
  auto back = decode_message(encode(reply));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(std::get<OrderReply>(*back).sentence, "a [2Jb c ");
  EXPECT_EQ(printable(std::string(kReasonSizeMax + 1, 'x')).size(), kReasonSizeMax);
}

// ---- specs

// So that a node of before takes every job that needs nothing newer; what it cannot keep it
// refuses.
TEST(JobSpecWire, IsWrittenAsItAlwaysWasUnlessItSaysMore) {
  JobSpec spec = spec_of();
  const base::Bytes before = encode(spec);
  spec.tcp_close = true;
  const base::Bytes now = encode(spec);
  EXPECT_EQ(now.size(), before.size() + 1);
  EXPECT_EQ(before[0], 0x9e);  // an array of 14
  EXPECT_EQ(before[1], 1);
  EXPECT_EQ(now[0], 0x9f);
  EXPECT_EQ(now[1], 2);
  auto back = decode_spec(now);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, spec);
  for (std::size_t size = 0; size < now.size(); ++size) {
    EXPECT_FALSE(decode_spec(base::ByteView(now).first(size)).ok()) << size;
  }
  base::Bytes mixed = now;
  mixed[1] = 1;
  EXPECT_FALSE(decode_spec(mixed).ok());
  mixed[1] = 3;
  EXPECT_FALSE(decode_spec(mixed).ok());
}

TEST(JobSpecWire, ComesBackTheSame) {
  auto back = decode_spec(encode(spec_of()));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, spec_of());
}

// A job without a folder is described as it was before there were any.
TEST(JobSpecWire, AFolderThatTravelsIsAnotherVersion) {
  JobSpec spec = spec_of();
  const std::size_t size = encode(spec).size();
  spec.dir = "/home/a/tree";
  const base::Bytes bytes = encode(spec);
  EXPECT_GT(bytes.size(), size + spec.dir.size());
  auto back = decode_spec(bytes);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, spec);
  for (std::size_t cut = size; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(decode_spec(base::ByteView(bytes).first(cut)).ok()) << cut;
  }
  spec.dir = "relative";
  EXPECT_FALSE(decode_spec(encode(spec)).ok());
}

TEST(JobSpecWire, CutLengthenedOrDamagedIsRefusedOrWithinLimits) {
  const base::Bytes whole = encode(spec_of());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_spec(base::ByteView(whole).first(size)).ok()) << size;
  }
  base::Bytes longer = whole;
  longer.push_back(0xc0);
  EXPECT_FALSE(decode_spec(longer).ok());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      base::Bytes bytes = whole;
      bytes[at] = static_cast<std::uint8_t>(value);
      auto spec = decode_spec(bytes);
      if (!spec) continue;
      EXPECT_LE(spec->name.size(), kNameSizeMax);
      EXPECT_LE(spec->argv.size(), kArgumentsMax);
      EXPECT_LE(spec->groups.size(), kGroupsMax);
      EXPECT_TRUE(decode_spec(encode(*spec)).ok());
    }
  }
}

TEST(JobSpecWire, LimitsAreKept) {
  struct Row {
    const char* name;
    void (*change)(JobSpec&);
    bool ok;
  };
  const Row rows[] = {
      {"longest name", [](JobSpec& s) { s.name.assign(kNameSizeMax, 'n'); }, true},
      {"name", [](JobSpec& s) { s.name.assign(kNameSizeMax + 1, 'n'); }, false},
      {"most arguments", [](JobSpec& s) { s.argv.assign(kArgumentsMax, "a"); }, true},
      {"arguments", [](JobSpec& s) { s.argv.assign(kArgumentsMax + 1, "a"); }, false},
      {"longest command",
       [](JobSpec& s) { s.argv.assign(2, std::string(kArgumentsSizeMax / 2, 'a')); }, true},
      {"command",
       [](JobSpec& s) {
         s.argv = {std::string(kArgumentsSizeMax, 'a'), "b"};
       },
       false},
      {"longest path", [](JobSpec& s) { s.cwd.assign(kPathSizeMax, '/'); }, true},
      {"path", [](JobSpec& s) { s.cwd.assign(kPathSizeMax + 1, '/'); }, false},
      {"most groups", [](JobSpec& s) { s.groups.assign(kGroupsMax, 1); }, true},
      {"groups", [](JobSpec& s) { s.groups.assign(kGroupsMax + 1, 1); }, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    JobSpec spec = spec_of();
    row.change(spec);
    EXPECT_EQ(decode_spec(encode(spec)).ok(), row.ok);
  }
}

}  // namespace
}  // namespace node
