// Messages, records and log entries: golden bytes, and input that is damaged, cut or too long.
#include "balance/wire.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>

namespace balance {
namespace {

template <typename T>
T id_of(std::uint8_t n) {
  T id;
  id.bytes.fill(n);
  return id;
}

FormRecord form_of(std::size_t members) {
  FormRecord form;
  form.cause = Cause::kPerson;
  form.job = id_of<JobId>(3);
  form.members = {{id_of<NodeId>(11), id_of<StoreId>(21), Seat::kSource},
                  {id_of<NodeId>(12), id_of<StoreId>(22), Seat::kSink}};
  if (members == 3) {
    form.members.push_back({id_of<NodeId>(13), id_of<StoreId>(23), Seat::kCoordinator});
  }
  form.random.fill(7);
  return form;
}

OutcomeEntry outcome_of(const HandoverId& id) {
  using std::chrono::milliseconds;
  return {id.job, id.epoch, Decision::kAbort, "why", milliseconds(3), milliseconds(4), 12345};
}

std::vector<std::pair<std::string, wire::Body>> examples() {
  const auto triad = id_of<TriadId>(1);
  const auto proposal = id_of<base::ProposalId>(2);
  const HandoverId id{triad, id_of<JobId>(3), Epoch{4}};
  const Roles roles{Cause::kShed, id_of<NodeId>(11), id_of<NodeId>(12), id_of<NodeId>(13), {}};
  EndRecord end;
  end.state = EndState::kSinkReady;
  end.acted = true;
  end.seal.bytes.fill(9);
  end.offsets = {100, 70'000};
  end.reason = "why";
  wire::Offer offer{triad, Term{5}, 900'000, 2000, {}};
  offer.jobs.push_back({id_of<JobId>(3), 500'000, 4096, 400'000});
  return {{"group", wire::GroupMessage{triad, {1, 2, 3}}},
          {"propose", wire::Propose{proposal, roles}},
          {"answer", wire::Answer{proposal, false, wire::AnswerCode::kPolicy, "no"}},
          {"cancel", wire::Cancel{proposal}},
          {"form", wire::Form{proposal, form_of(3)}},
          {"form-stored", wire::FormStored{triad}},
          {"gone", wire::Gone{triad, true}},
          {"ask", wire::Ask{triad, Term{5}}},
          {"offer", offer},
          {"room", wire::Room{triad, Term{5}, 100'000, 4000, 1 << 20, true}},
          {"prepare", wire::Prepare{triad, Term{5}, id_of<JobId>(3)}},
          {"preflight", wire::Preflight{id, {4, 5}}},
          {"preflight-done", wire::PreflightDone{id, false, "no"}},
          {"prepared", wire::Prepared{id, Term{5}, true, ""}},
          {"end-report", wire::EndReport{id, end, 12345}},
          {"superseded", wire::Superseded{id, Epoch{6}}},
          {"decided", wire::Decided{triad, outcome_of(id)}}};
}

TEST(BalanceWire, EveryKindHasAnExample) {
  std::set<std::size_t> kinds;
  for (const auto& [name, body] : examples()) kinds.insert(body.index());
  EXPECT_EQ(kinds.size(), std::variant_size_v<wire::Body>);
}

// tests/vectors/balance_wire.txt: "name hex". TERN_WRITE_VECTORS=1 writes it anew; a difference is
// a new protocol version.
TEST(BalanceWire, MessagesAreTheGoldenOnes) {
  const std::string path = std::string(TERN_SOURCE_DIR) + "/tests/vectors/balance_wire.txt";
  std::string text;
  for (const auto& [name, body] : examples()) {
    text += name + " " + base::to_hex(wire::encode({id_of<StoreId>(0xaa), body})) + "\n";
  }
  if (std::getenv("TERN_WRITE_VECTORS") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, golden);
}

TEST(BalanceWire, MessagesComeBackTheSame) {
  for (const auto& [name, body] : examples()) {
    SCOPED_TRACE(name);
    const base::Bytes bytes = wire::encode({id_of<StoreId>(0xaa), body});
    auto message = wire::decode(bytes);
    ASSERT_TRUE(message.ok()) << message.error().detail;
    EXPECT_EQ(message->store, id_of<StoreId>(0xaa));
    EXPECT_EQ(wire::encode(*message), bytes);
  }
}

TEST(BalanceWire, CutOrLengthenedMessagesAreRefused) {
  for (const auto& [name, body] : examples()) {
    SCOPED_TRACE(name);
    base::Bytes bytes = wire::encode({id_of<StoreId>(0xaa), body});
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(wire::decode(base::ByteView(bytes).first(size)).ok()) << size;
    }
    bytes.push_back(0);
    EXPECT_FALSE(wire::decode(bytes).ok());
  }
}

// Whatever is taken is written back within the limits.
TEST(BalanceWire, DamageInAnyByteIsTakenOrRefusedButNeverMisread) {
  for (const auto& [name, body] : examples()) {
    SCOPED_TRACE(name);
    const base::Bytes whole = wire::encode({id_of<StoreId>(0xaa), body});
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        base::Bytes bytes = whole;
        bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1 << bit));
        auto message = wire::decode(bytes);
        if (!message) continue;
        auto again = wire::decode(wire::encode(*message));
        ASSERT_TRUE(again.ok());
        EXPECT_EQ(wire::encode(*again), wire::encode(*message));
      }
    }
  }
}

TEST(BalanceWire, LimitsAreKept) {
  const HandoverId id{id_of<TriadId>(1), id_of<JobId>(3), Epoch{4}};
  const auto size_of = [&](std::size_t requirement) {
    return wire::encode({id_of<StoreId>(1), wire::Preflight{id, base::Bytes(requirement)}});
  };
  EXPECT_TRUE(wire::decode(size_of(kRequirementSizeMax)).ok());
  EXPECT_LE(size_of(kRequirementSizeMax).size(), kMessageSizeMax);
  EXPECT_FALSE(wire::decode(size_of(kRequirementSizeMax + 1)).ok());
  wire::Offer offer{id_of<TriadId>(1), Term{5}, 1, 1, {}};
  offer.jobs.resize(kOfferJobsMax);
  EXPECT_TRUE(wire::decode(wire::encode({id_of<StoreId>(1), offer})).ok());
  offer.jobs.resize(kOfferJobsMax + 1);
  EXPECT_FALSE(wire::decode(wire::encode({id_of<StoreId>(1), offer})).ok());
  offer.jobs.clear();
  offer.cpus_millis = 0;  // would be divided by
  EXPECT_FALSE(wire::decode(wire::encode({id_of<StoreId>(1), offer})).ok());
  wire::PreflightDone done{id, false, std::string(kReasonSizeMax + 50, 'x')};
  auto cut = wire::decode(wire::encode({id_of<StoreId>(1), done}));
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(std::get<wire::PreflightDone>(cut->body).reason.size(), kReasonSizeMax);
}

TEST(BalanceWire, RolesOfOneNodeTwiceAreRefused) {
  Roles roles{Cause::kShed, id_of<NodeId>(11), id_of<NodeId>(12), id_of<NodeId>(11), {}};
  EXPECT_FALSE(wire::decode(wire::encode({id_of<StoreId>(1), wire::Propose{{}, roles}})).ok());
  roles.third = {};
  EXPECT_TRUE(wire::decode(wire::encode({id_of<StoreId>(1), wire::Propose{{}, roles}})).ok());
  roles.sink = roles.source;
  EXPECT_FALSE(wire::decode(wire::encode({id_of<StoreId>(1), wire::Propose{{}, roles}})).ok());
}

TEST(Records, SeatsOfAFormMustFit) {
  EXPECT_TRUE(decode_form(encode(form_of(2))).ok());
  EXPECT_TRUE(decode_form(encode(form_of(3))).ok());
  FormRecord form = form_of(3);
  form.members[2].seat = Seat::kSink;
  EXPECT_FALSE(decode_form(encode(form)).ok());
  form = form_of(3);
  form.members[2].node = form.members[0].node;
  EXPECT_FALSE(decode_form(encode(form)).ok());
  form = form_of(2);
  form.members[1].seat = Seat::kCoordinator;
  EXPECT_FALSE(decode_form(encode(form)).ok());
  form = form_of(2);
  form.members.pop_back();
  EXPECT_FALSE(decode_form(encode(form)).ok());
}

TEST(Records, ATriadsIdDependsOnEveryPartOfItsForm) {
  const TriadId id = triad_id_of(form_of(3));
  FormRecord form = form_of(3);
  form.members[0].store = id_of<StoreId>(99);
  EXPECT_NE(triad_id_of(form), id);
  form = form_of(3);
  form.random[15] ^= 1;
  EXPECT_NE(triad_id_of(form), id);
  form = form_of(3);
  std::swap(form.members[0].seat, form.members[1].seat);
  EXPECT_NE(triad_id_of(form), id);
}

TEST(Records, KeysComeBackAndBadOnesAreRefused) {
  const HandoverId id{id_of<TriadId>(1), id_of<JobId>(3), Epoch{INT64_MAX}};
  EXPECT_LE(end_key(id).size(), kKeySizeMax);
  auto parsed = parse_end_key(end_key(id));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, id);
  EXPECT_EQ(*parse_own_key(own_key(id.job)), id.job);
  EXPECT_EQ(*parse_triad_key(form_key(id.triad)), id.triad);
  EXPECT_LT(log_key(id.triad, base::LogIndex{9}), log_key(id.triad, base::LogIndex{10}));
  for (const char* key : {"", "own/", "own/xyz", "end/", "end/00/11/2", "tri/", "tri/00"}) {
    SCOPED_TRACE(key);
    EXPECT_FALSE(parse_own_key(key).ok());
    EXPECT_FALSE(parse_end_key(key).ok());
    EXPECT_FALSE(parse_triad_key(key).ok());
  }
  EXPECT_FALSE(parse_end_key(end_key(id) + "0").ok());
  std::string letters = end_key(id);
  letters.back() = 'x';
  EXPECT_FALSE(parse_end_key(letters).ok());
}

TEST(Records, EntriesComeBackAndFitTheLog) {
  OutcomeEntry outcome{id_of<JobId>(3),
                       Epoch{4},
                       Decision::kAbort,
                       std::string(500, 'r'),
                       std::chrono::seconds(1),
                       std::chrono::seconds(2),
                       99};
  const LogEntry entries[] = {BeginEntry{id_of<JobId>(3), Epoch{4}, std::chrono::seconds(3)},
                              outcome, DissolveEntry{}};
  for (const LogEntry& entry : entries) {
    SCOPED_TRACE(entry.index());
    const base::Bytes bytes = encode(entry);
    EXPECT_LE(bytes.size(), kEntrySizeMax);
    auto decoded = decode_log_entry(bytes);
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(decoded->index(), entry.index());
    EXPECT_EQ(encode(*decoded), bytes);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(decode_log_entry(base::ByteView(bytes).first(size)).ok());
    }
  }
}

// A member hands a job over under any epoch that it likes: what comes after it must still fit.
TEST(Records, EpochsOfMovesLeaveRoomForAPersonsWord) {
  const OutcomeEntry outcome{
      id_of<JobId>(3), Epoch{kMoveEpochMax}, Decision::kAbort, {}, {}, {}, 0};
  OutcomeEntry over = outcome;
  over.epoch = outcome.epoch.next();
  EXPECT_TRUE(decode_log_entry(encode(LogEntry{outcome})).ok());
  EXPECT_FALSE(decode_log_entry(encode(LogEntry{over})).ok());
  EXPECT_FALSE(decode_log_entry(encode(LogEntry{BeginEntry{over.job, over.epoch, {}}})).ok());
  wire::Superseded superseded{{id_of<TriadId>(1), over.job, outcome.epoch}, Epoch{kEpochMax}};
  EXPECT_TRUE(wire::decode(wire::encode({id_of<StoreId>(2), superseded})).ok());
  superseded.epoch = superseded.epoch.next();
  EXPECT_FALSE(wire::decode(wire::encode({id_of<StoreId>(2), superseded})).ok());
  superseded = {{id_of<TriadId>(1), over.job, over.epoch}, Epoch{kEpochMax}};
  EXPECT_FALSE(wire::decode(wire::encode({id_of<StoreId>(2), superseded})).ok());
}

TEST(Records, AnOwnerWithAnEpochNeverGivenOutIsRefused) {
  EXPECT_TRUE(decode_own(encode(OwnRecord{Epoch{2}, Epoch{2}, {}})).ok());
  EXPECT_FALSE(decode_own(encode(OwnRecord{Epoch{3}, Epoch{2}, {}})).ok());
}

}  // namespace
}  // namespace balance
