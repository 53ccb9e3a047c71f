// The encrypted stream: design.md §6 (transport), §7 (records, explicit end).
#include "transfer/secure_stream.h"

#include <gtest/gtest.h>

#include "stream_pair.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;

class Stream : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(base::crypto::init().ok()); }
};

struct Connected {
  explicit Connected(EndOptions options = {}) : a(as(options, true)), b(as(options, false)) {
    settle(a, b);
  }
  static EndOptions as(EndOptions options, bool initiator) {
    options.initiator = initiator;
    if (!initiator) options.aes_allowed = options.suite == Cipher::kAesGcm;
    return options;
  }
  End a;
  End b;
};

std::vector<EndOptions> variants() {
  std::vector<EndOptions> all;
  for (const bool ticket : {false, true}) {
    EndOptions options;
    options.ticket = ticket;
    all.push_back(options);
    options.suite = Cipher::kAesGcm;
    if (base::crypto::aes_available()) all.push_back(options);
  }
  return all;
}

TEST_F(Stream, BothEndsLearnKeyPayloadHashAndVersion) {
  for (const EndOptions& options : variants()) {
    SCOPED_TRACE(options.ticket);
    Connected pair(options);
    ASSERT_TRUE(pair.a.done.has_value());
    ASSERT_TRUE(pair.b.done.has_value());
    EXPECT_EQ(pair.a.done->remote_static, test_key(0x22).public_key);
    EXPECT_EQ(pair.b.done->remote_static, test_key(0x11).public_key);
    EXPECT_EQ(base::as_text(pair.a.done->payload), "responder's certificate");
    EXPECT_EQ(base::as_text(pair.b.done->payload), "initiator's certificate");
    EXPECT_EQ(pair.a.done->handshake_hash, pair.b.done->handshake_hash);
    EXPECT_EQ(pair.a.done->version, 1);
    EXPECT_EQ(pair.b.done->by_ticket, options.ticket);
  }
}

TEST_F(Stream, AnyChunkingGivesTheSameRecords) {
  for (const EndOptions& options : variants()) {
    for (const std::size_t piece : {1U, 2U, 3U, 7U, 100U, 4096U, 65536U, 1000000U}) {
      SCOPED_TRACE(piece);
      End a(Connected::as(options, true));
      End b(Connected::as(options, false));
      settle(a, b, piece);
      std::vector<Bytes> sent;
      for (const std::size_t size : {1U, 2U, 500U, 40000U, 65517U, 3U}) {
        sent.emplace_back(size, static_cast<std::uint8_t>(size));
        ASSERT_TRUE(a.stream.send(sent.back()).ok());
      }
      ASSERT_TRUE(a.stream.finish().ok());
      settle(a, b, piece);
      EXPECT_EQ(b.records, sent);
      EXPECT_TRUE(b.ended);
      EXPECT_FALSE(b.failed.has_value());
      b.stream.feed_end();
      b.take_events();
      EXPECT_FALSE(b.failed.has_value());
    }
  }
}

TEST_F(Stream, EveryDamagedHandshakeByteIsRefused) {
  for (const EndOptions& options : variants()) {
    // Where each of the three flights ends, learned from an undamaged run.
    std::size_t sizes[3];
    {
      End a(Connected::as(options, true));
      End b(Connected::as(options, false));
      Bytes flight = a.take_output();
      sizes[0] = flight.size();
      b.feed(flight);
      flight = b.take_output();
      sizes[1] = flight.size();
      a.feed(flight);
      sizes[2] = a.take_output().size();
    }
    for (int flight = 0; flight < 3; ++flight) {
      for (std::size_t at = 0; at < sizes[flight]; ++at) {
        SCOPED_TRACE(testing::Message() << "flight " << flight << " byte " << at);
        End a(Connected::as(options, true));
        End b(Connected::as(options, false));
        for (int i = 0; i < 3; ++i) {
          End& from = i % 2 == 0 ? a : b;
          End& to = i % 2 == 0 ? b : a;
          Bytes wire = from.take_output();
          if (i == flight) wire[at] ^= 0x01;
          to.feed(wire);
          // A damaged length may leave the reader waiting: the peer's silence is the host's
          // deadline, and what comes then is the end of the connection.
        }
        a.stream.feed_end();
        b.stream.feed_end();
        a.take_events();
        b.take_events();
        EXPECT_TRUE(a.failed.has_value());
        EXPECT_TRUE(b.failed.has_value());
        EXPECT_FALSE(a.done.has_value() && b.done.has_value());
        EXPECT_EQ(b.done.has_value(), false);  // the responder never takes a damaged handshake
      }
    }
  }
}

TEST_F(Stream, EveryDamagedRecordByteIsRefused) {
  for (const EndOptions& options : variants()) {
    Connected whole(options);
    ASSERT_TRUE(whole.a.stream.send(Bytes(20, 9)).ok());
    const std::size_t size = whole.a.take_output().size();
    for (std::size_t at = 0; at < size; ++at) {
      SCOPED_TRACE(at);
      Connected pair(options);
      ASSERT_TRUE(pair.a.stream.send(Bytes(20, 9)).ok());
      Bytes wire = pair.a.take_output();
      wire[at] ^= 0x10;
      wire.resize(wire.size() + 70000, 0);  // a longer length field finds its bytes
      pair.b.feed(wire);
      EXPECT_TRUE(pair.b.records.empty());
      ASSERT_TRUE(pair.b.failed.has_value());
      EXPECT_EQ(pair.b.events_after_failure, 0U);
      EXPECT_EQ(pair.b.stream.send(Bytes(1, 1)).error().code, Code::kRefused);
    }
  }
}

TEST_F(Stream, EveryTruncationIsNoticed) {
  Connected pair;
  ASSERT_TRUE(pair.a.stream.send(Bytes(20, 9)).ok());
  ASSERT_TRUE(pair.a.stream.finish().ok());
  const Bytes wire = pair.a.take_output();
  for (std::size_t size = 0; size <= wire.size(); ++size) {
    SCOPED_TRACE(size);
    Connected other;  // same keys, so the same bytes
    other.b.feed(ByteView(wire).first(size));
    other.b.stream.feed_end();
    other.b.take_events();
    EXPECT_EQ(other.b.ended, size == wire.size());
    EXPECT_EQ(other.b.failed.has_value(), size < wire.size());
    if (other.b.failed) {
      EXPECT_EQ(other.b.failed->code, Code::kTruncated);
    }
  }
}

TEST_F(Stream, RecordsAreNotSwappedRepeatedOrLeftOut) {
  Connected source;
  std::vector<Bytes> wires;
  for (std::uint8_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(source.a.stream.send(Bytes(10, i)).ok());
    wires.push_back(source.a.take_output());
  }
  const std::vector<std::vector<std::size_t>> orders = {{1, 0}, {0, 0}, {0, 2}, {1}};
  for (const auto& order : orders) {
    Connected pair;
    for (const std::size_t i : order) pair.b.feed(wires[i]);
    ASSERT_TRUE(pair.b.failed.has_value());
    EXPECT_EQ(pair.b.failed->code, Code::kUnauthentic);
  }
  Connected reflected;  // an end does not take its own records back
  ASSERT_TRUE(reflected.a.stream.send(Bytes(10, 1)).ok());
  reflected.a.feed(reflected.a.take_output());
  EXPECT_TRUE(reflected.a.failed.has_value());
}

TEST_F(Stream, StrangersAreRefusedWithoutAnAnswer) {
  struct Row {
    const char* name;
    EndOptions initiator;
    bool responder_takes_tickets;
    bool psk_known;
    Code code;
  };
  EndOptions foreign;
  foreign.mesh = 2;
  EndOptions ticket;
  ticket.ticket = true;
  const Row rows[] = {
      {"another mesh", foreign, true, true, Code::kRefused},
      {"tickets not taken", ticket, false, true, Code::kRefused},
      {"unknown ticket", ticket, true, false, Code::kRefused},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    End a(row.initiator);
    EndOptions options;
    options.initiator = false;
    options.tickets_allowed = row.responder_takes_tickets;
    End b(options);
    if (!row.psk_known) b.psk.reset();
    b.feed(a.take_output());
    ASSERT_TRUE(b.failed.has_value());
    EXPECT_EQ(b.failed->code, row.code);
    EXPECT_EQ(b.stream.pending_size(), 0U);
    EXPECT_FALSE(b.done.has_value());
  }
}

TEST_F(Stream, AWrongPskIsRefused) {
  EndOptions options;
  options.ticket = true;
  End a(options);
  options.initiator = false;
  End b(options);
  b.psk = test_psk(0x56);
  settle(a, b);
  ASSERT_TRUE(b.failed.has_value());
  EXPECT_EQ(b.failed->code, Code::kUnauthentic);
  EXPECT_FALSE(b.done.has_value());
}

TEST_F(Stream, NothingIsSentOrDeliveredBeforeAccept) {
  End a(EndOptions{});
  EndOptions options;
  options.initiator = false;
  End b(options);
  a.accepts = false;
  b.accepts = false;
  b.feed(a.take_output());
  a.feed(b.take_output());
  ASSERT_TRUE(a.done.has_value());
  EXPECT_EQ(a.stream.pending_size(), 0U);  // message 3, with our identity, waits for accept()
  EXPECT_EQ(a.stream.send(Bytes(1, 1)).error().code, Code::kRefused);
  EXPECT_EQ(a.stream.finish().error().code, Code::kRefused);
  EXPECT_EQ(a.stream.output_room(), 0U);
  EXPECT_FALSE(a.stream.wants_input());
  a.stream.accept();
  ASSERT_TRUE(a.stream.send(Bytes(5, 1)).ok());
  const Bytes wire = a.take_output();
  const std::size_t taken = b.feed(wire);
  ASSERT_TRUE(b.done.has_value());
  EXPECT_LT(taken, wire.size());  // the record stays outside
  EXPECT_EQ(b.stream.feed(ByteView(wire).subspan(taken)), 0U);
  EXPECT_TRUE(b.records.empty());
  b.stream.accept();
  b.feed(ByteView(wire).subspan(taken));
  EXPECT_EQ(b.records.size(), 1U);
}

TEST_F(Stream, RefusingAfterTheVerdictClosesSilently) {
  End a(EndOptions{});
  a.accepts = false;
  EndOptions options;
  options.initiator = false;
  End b(options);
  b.feed(a.take_output());
  a.feed(b.take_output());
  a.stream.refuse();
  a.take_events();
  EXPECT_EQ(a.failed->code, Code::kRefused);
  EXPECT_EQ(a.stream.pending_size(), 0U);
  EXPECT_EQ(a.stream.feed(Bytes(10, 1)), 10U);  // swallowed
  a.stream.refuse();
  EXPECT_FALSE(a.stream.next_event().has_value());
}

TEST_F(Stream, TheHighestCommonVersionIsChosen) {
  struct Row {
    const char* name;
    VersionRange initiator;
    VersionRange responder;
    int chosen;  // 0: none
  };
  const Row rows[] = {
      {"equal", {1, 1}, {1, 1}, 1},
      {"newer initiator", {1, 2}, {1, 1}, 1},
      {"newer responder", {1, 2}, {2, 3}, 2},
      {"both wide", {2, 9}, {1, 7}, 7},
      {"initiator too new", {3, 4}, {1, 2}, 0},
      {"initiator too old", {1, 2}, {3, 4}, 0},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EndOptions options;
    options.versions = row.initiator;
    End a(options);
    options.initiator = false;
    options.versions = row.responder;
    End b(options);
    settle(a, b);
    if (row.chosen == 0) {
      EXPECT_EQ(a.failed->code, Code::kUnsupported);
      EXPECT_EQ(b.failed->code, Code::kUnsupported);
      continue;
    }
    ASSERT_TRUE(a.done.has_value());
    EXPECT_EQ(a.done->version, row.chosen);
    EXPECT_EQ(b.done->version, row.chosen);
  }
}

TEST_F(Stream, ARefusedSuiteIsToldInOneByte) {
  if (!base::crypto::aes_available()) GTEST_SKIP() << "this CPU has no AES instructions";
  EndOptions options;
  options.suite = Cipher::kAesGcm;
  End a(options);
  EndOptions plain;
  plain.initiator = false;
  End b(plain);
  b.feed(a.take_output());
  EXPECT_EQ(b.failed->code, Code::kUnsupported);
  const Bytes answer = b.take_output();
  ASSERT_EQ(answer.size(), 1U);
  a.feed(answer);
  EXPECT_TRUE(a.suite_refused);
  EXPECT_EQ(a.failed->code, Code::kUnsupported);
  Connected retried;
  EXPECT_TRUE(retried.b.done.has_value());
}

TEST_F(Stream, HandshakeLengthsAreBounded) {
  for (const std::uint16_t length : std::initializer_list<std::uint16_t>{0, 4097, 65535}) {
    SCOPED_TRACE(length);
    End a(EndOptions{});
    EndOptions options;
    options.initiator = false;
    End b(options);
    Bytes wire = a.take_output();
    put_le16(base::MutableByteView(wire).subspan(kPrefaceSize), length);
    b.feed(wire);
    ASSERT_TRUE(b.failed.has_value());
    EXPECT_EQ(b.failed->code, Code::kTooLarge);
    EXPECT_EQ(b.stream.pending_size(), 0U);
  }
}

TEST_F(Stream, OutputIsBounded) {
  Connected pair;
  const Bytes record(kRecordDataMax, 7);
  std::size_t sent = 0;
  while (pair.a.stream.output_room() >= record.size()) {
    ASSERT_TRUE(pair.a.stream.send(record).ok());
    ++sent;
    ASSERT_LE(sent, 16U);
  }
  EXPECT_LE(pair.a.stream.pending_size(), kOutputMax);
  EXPECT_EQ(pair.a.stream.send(record).error().code, Code::kFull);
  const std::size_t room = pair.a.stream.output_room();
  if (room > 0) {
    EXPECT_TRUE(pair.a.stream.send(Bytes(room, 1)).ok());
  }
  EXPECT_EQ(pair.a.stream.send(Bytes(1, 1)).error().code, Code::kFull);
  EXPECT_TRUE(pair.a.stream.finish().ok());  // an end always fits
  EXPECT_EQ(pair.a.stream.finish().error().code, Code::kRefused);
  settle(pair.a, pair.b);
  EXPECT_EQ(pair.b.records.size(), sent + (room > 0 ? 1 : 0));
  EXPECT_TRUE(pair.b.ended);
}

TEST_F(Stream, ReceivedDataIsBounded) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{5000}, kRecordDataMax}) {
    SCOPED_TRACE(size);
    Connected pair;
    std::size_t fed = 0;
    std::size_t records = 0;
    while (pair.b.stream.wants_input()) {
      ASSERT_LT(records, 100000U);
      ASSERT_TRUE(pair.a.stream.send(Bytes(size, 1)).ok());
      const Bytes wire = pair.a.take_output();
      ASSERT_EQ(pair.b.stream.feed(wire), wire.size());
      fed += size;
      ++records;
    }
    EXPECT_LE(fed, kReceivedMax + kRecordDataMax);
    EXPECT_LE(records * kReceivedRecordCost, kReceivedMax + kRecordSizeMax);
    EXPECT_EQ(pair.b.stream.feed(Bytes(10, 1)), 0U);
    pair.b.take_events();
    EXPECT_EQ(pair.b.records.size(), records);
    EXPECT_TRUE(pair.b.stream.wants_input());
  }
}

TEST_F(Stream, SizesAtTheirBounds) {
  Connected pair;
  EXPECT_EQ(pair.a.stream.send(Bytes{}).error().code, Code::kInvalid);
  EXPECT_EQ(pair.a.stream.send(Bytes(kRecordDataMax + 1)).error().code, Code::kTooLarge);
  EXPECT_EQ(pair.a.stream.send({Bytes(kRecordDataMax), Bytes(1)}).error().code, Code::kTooLarge);
  ASSERT_TRUE(pair.a.stream.send(Bytes(kRecordDataMax)).ok());
  EXPECT_EQ(pair.a.stream.pending_size(), kRecordSizeMax);
  settle(pair.a, pair.b);
  EXPECT_EQ(pair.b.records.at(0).size(), kRecordDataMax);
}

TEST_F(Stream, BytesAfterTheEndAreRefused) {
  Connected pair;
  ASSERT_TRUE(pair.a.stream.finish().ok());
  Bytes wire = pair.a.take_output();
  wire.push_back(0);
  pair.b.feed(wire);
  EXPECT_TRUE(pair.b.ended);
  EXPECT_EQ(pair.b.failed->code, Code::kInvalid);
}

TEST_F(Stream, EachDirectionEndsByItself) {
  Connected pair;
  ASSERT_TRUE(pair.a.stream.finish().ok());
  settle(pair.a, pair.b);
  EXPECT_TRUE(pair.b.ended);
  EXPECT_FALSE(pair.b.stream.done());
  ASSERT_TRUE(pair.b.stream.send(Bytes(3, 3)).ok());
  ASSERT_TRUE(pair.b.stream.finish().ok());
  settle(pair.a, pair.b);
  EXPECT_EQ(pair.a.records.size(), 1U);
  EXPECT_TRUE(pair.a.stream.done());
  EXPECT_TRUE(pair.b.stream.done());
}

TEST_F(Stream, KeysAreReplacedInStep) {
  EndOptions options;
  options.rekey = 3;
  Connected pair(options);
  Connected plain;  // the same keys, never replaced
  for (std::uint8_t i = 0; i < 20; ++i) {
    SCOPED_TRACE(int{i});
    const Bytes record(10, i);
    ASSERT_TRUE(pair.a.stream.send(record).ok());
    ASSERT_TRUE(plain.a.stream.send(record).ok());
    const Bytes wire = pair.a.take_output();
    EXPECT_EQ(wire == plain.a.take_output(), i < 3);
    pair.b.feed(wire);
    ASSERT_EQ(pair.b.records.size(), i + 1U);
    EXPECT_EQ(pair.b.records.back(), record);
  }
}

// The naive twin: two queues of records. Whatever the order of operations, sizes and chunks, what
// comes out is what went in, and the refusals are those that the counters predict.
TEST_F(Stream, BehavesAsAQueueOfRecordsUnderRandomOperations) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    EndOptions options;
    options.rekey = 1 + rng.below(50);
    Connected pair(options);
    std::deque<Bytes> expected;
    Bytes wire;
    std::size_t sealed = 0;  // what the twin thinks waits in the output
    const auto take_one = [&] {
      auto event = pair.b.stream.next_event();
      if (!event) return false;
      const Data* data = std::get_if<Data>(&*event);
      EXPECT_NE(data, nullptr);
      if (data == nullptr || expected.empty()) return false;
      EXPECT_EQ(to_owned(data->bytes), expected.front());
      expected.pop_front();
      return true;
    };
    for (int operation = 0; operation < 400; ++operation) {
      const std::uint64_t kind = rng.below(4);
      if (kind == 0) {
        Bytes record(1 + rng.below(rng.below(4) == 0 ? kRecordDataMax : 300));
        rng.fill(record);
        const bool fits = sealed + record.size() + kRecordOverhead <= kOutputMax;
        ASSERT_EQ(pair.a.stream.send(record).ok(), fits);
        if (!fits) continue;
        sealed += record.size() + kRecordOverhead;
        expected.push_back(std::move(record));
      } else if (kind == 1) {
        base::ByteView views[3];
        const std::size_t count = pair.a.stream.pending_output(std::span(views));
        std::size_t taken = 0;
        for (std::size_t i = 0; i < count; ++i) {
          const std::size_t part = i + 1 < count ? views[i].size() : rng.below(views[i].size() + 1);
          wire.insert(wire.end(), views[i].begin(), views[i].begin() + static_cast<long>(part));
          taken += part;
        }
        pair.a.stream.consume_output(taken);
        sealed -= taken;
        ASSERT_EQ(pair.a.stream.pending_size(), sealed);
      } else if (kind == 2) {
        const std::size_t size = rng.below(wire.size() + 1);
        const std::size_t taken = pair.b.stream.feed(ByteView(wire).first(size));
        ASSERT_LE(taken, size);
        wire.erase(wire.begin(), wire.begin() + static_cast<long>(taken));
      } else {
        (void)take_one();
      }
    }
    const Bytes rest = pair.a.take_output();
    wire.insert(wire.end(), rest.begin(), rest.end());
    while (!wire.empty()) {
      const std::size_t taken = pair.b.stream.feed(wire);
      wire.erase(wire.begin(), wire.begin() + static_cast<long>(taken));
      while (take_one()) {
      }
    }
    EXPECT_TRUE(expected.empty());
  }
}

}  // namespace
}  // namespace transfer
