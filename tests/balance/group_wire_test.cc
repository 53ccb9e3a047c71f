// The wire table of balance/group_wire.h.
#include "balance/group_wire.h"

#include "base/wire.h"
#include "group_rig.h"

namespace balance {
namespace {

group::Message message_with(group::Body body, std::uint64_t term = 5) {
  return {kGroupId, store_of(kA), base::Incarnation{3}, base::Term{term}, std::move(body)};
}

std::vector<std::pair<const char*, group::Message>> one_of_each() {
  group::Append append{log_end(2, 4), base::LogIndex{3}, {entry(2, "x"), entry(5)}};
  group::AppendReply reply;
  reply.ok = true;
  reply.prev_index = base::LogIndex{4};
  reply.index = base::LogIndex{6};
  reply.commit = base::LogIndex{3};
  return {{"PreVote", message_with(group::PreVote{log_end(2, 4)})},
          {"PreVoteReply", message_with(group::PreVoteReply{true, base::Term{5}})},
          {"Vote", message_with(group::Vote{log_end(2, 4)})},
          {"VoteReply", message_with(group::VoteReply{true})},
          {"Append", message_with(append)},
          {"AppendReply", message_with(reply)}};
}

// Golden bytes: another version of the program must read exactly these.
TEST(GroupWire, GoldenVectors) {
  const std::string header =
      "c4107700000000000000000000000000"
      "0000"
      "c4100a500000000000000000000000000000"
      "0305";
  const char* const expected[][2] = {
      {"9801"
       "00",
       "0402"},
      {"9801"
       "01",
       "c305"},
      {"9801"
       "02",
       "0402"},
      {"9701"
       "03",
       "c3"},
      {"9a01"
       "04",
       "0402"
       "03"
       "92"
       "9202c40178"
       "9205c400"},
      {"9a01"
       "05",
       "c3040603"},
  };
  const auto messages = one_of_each();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    SCOPED_TRACE(messages[i].first);
    const std::string want = expected[i][0] + header + expected[i][1];
    EXPECT_EQ(base::to_hex(group::encode(messages[i].second)), want);
    const auto raw = base::from_hex(want);
    ASSERT_TRUE(raw.ok());
    const auto decoded = group::decode(*raw);
    ASSERT_TRUE(decoded.ok()) << decoded.error().detail;
    EXPECT_EQ(decoded->body.index(), i);
    EXPECT_EQ(base::to_hex(group::encode(*decoded)), want);
  }
}

TEST(GroupWire, EveryTruncationAndTrailingByteIsRefused) {
  for (const auto& [name, message] : one_of_each()) {
    SCOPED_TRACE(name);
    base::Bytes bytes = group::encode(message);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(group::decode(base::ByteView(bytes).first(size)).ok()) << size;
    }
    bytes.push_back(0);
    EXPECT_FALSE(group::decode(bytes).ok());
  }
}

// What encode() writes when its caller breaks a rule that only decode() checks.
TEST(GroupWire, ContradictionsAreRefused) {
  struct Row {
    const char* name;
    group::Message message;
  };
  const group::AppendReply beyond{true, {}, base::LogIndex{kGroupLogMax + 1}, {}};
  const std::vector<group::Entry> two = {entry(5), entry(5)};
  const Row rows[] = {
      {"position zero", message_with(group::Vote{log_end(0, 0)})},
      {"end of a later term", message_with(group::PreVote{log_end(6, 4)})},
      {"index beyond the limit", message_with(group::Vote{log_end(5, kGroupLogMax + 1)})},
      {"reply beyond the limit", message_with(beyond)},
      {"log beyond the limit", message_with(group::Append{log_end(5, kGroupLogMax - 1), {}, two})},
      {"entry of term zero", message_with(group::Append{log_end(0, 1), {}, {entry(0)}})},
      {"terms fall", message_with(group::Append{log_end(0, 1), {}, {entry(4), entry(3)}})},
      {"term below its predecessor", message_with(group::Append{log_end(4, 2), {}, {entry(3)}})},
      {"entry of a later term", message_with(group::Append{log_end(0, 1), {}, {entry(6)}})},
      {"payload too large",
       message_with(group::Append{
           log_end(0, 1), {}, {{base::Term{5}, base::Bytes(kGroupPayloadBytesMax + 1)}}})},
      {"too many entries",
       message_with(
           group::Append{log_end(0, 1), {}, std::vector(kGroupBatchEntriesMax + 1, entry(5))})},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_FALSE(group::decode(group::encode(row.message)).ok());
  }
}

TEST(GroupWire, HeaderFieldsAreChecked) {
  const auto with = [](std::uint64_t fields, std::uint64_t version, std::uint64_t kind,
                       std::uint64_t term) {
    base::Writer out;
    out.array(fields).u64(version).u64(kind).id(kGroupId).id(store_of(kA)).u64(1).u64(term);
    out.boolean(true);
    return out.take();
  };
  EXPECT_TRUE(group::decode(with(7, 1, 3, group::kTermMax)).ok());
  EXPECT_FALSE(group::decode(with(7, 2, 3, 5)).ok()) << "version";
  EXPECT_FALSE(group::decode(with(7, 1, 6, 5)).ok()) << "kind";
  EXPECT_FALSE(group::decode(with(8, 1, 3, 5)).ok()) << "field count";
  EXPECT_FALSE(group::decode(with(7, 1, 3, group::kTermMax + 1)).ok()) << "term";
  EXPECT_FALSE(group::decode(base::Bytes(kGroupMessageBytesMax + 1)).ok()) << "size";
}

// group_limits.h: a message is at most 60 KiB, whatever the log holds.
TEST(GroupWire, LargestBatchFitsIntoAMessage) {
  struct Row {
    const char* name;
    std::size_t payload;
  };
  for (const Row& row : {Row{"largest entries", kGroupPayloadBytesMax}, Row{"small entries", 0},
                         Row{"middle", 380}}) {
    SCOPED_TRACE(row.name);
    GroupLog log(bytes_of("form"), {});
    for (int i = 0; i < 300; ++i) {
      log.append({base::Term{group::kTermMax}, base::Bytes(row.payload)});
    }
    group::Append append{log_end(0, 1), base::LogIndex{300}, log.batch(base::LogIndex{2})};
    EXPECT_FALSE(append.entries.empty());
    const base::Bytes bytes = group::encode(message_with(append, group::kTermMax));
    EXPECT_LE(bytes.size(), kGroupMessageBytesMax);
    EXPECT_TRUE(group::decode(bytes).ok());
  }
}

TEST(GroupWire, DurableRecordsReadBackAndDamageIsRefused) {
  const group::Entry full = entry(7, "payload");
  EXPECT_EQ(*group::decode_entry(group::encode_entry(full)), full);
  for (const group::HardState& hard :
       {group::HardState{base::Term{7}, kB}, group::HardState{base::Term{0}, std::nullopt}}) {
    const base::Bytes bytes = group::encode_hard_state(hard);
    EXPECT_EQ(*group::decode_hard_state(bytes), hard);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(group::decode_hard_state(base::ByteView(bytes).first(size)).ok());
    }
  }
  base::Writer short_vote;
  short_vote.array(3).u64(1).u64(7).bin(base::Bytes(15));
  EXPECT_FALSE(group::decode_hard_state(short_vote.bytes()).ok());
}

}  // namespace
}  // namespace balance
