#include "balance/group_wire.h"

#include "base/wire.h"

namespace balance::group {
namespace {

constexpr std::size_t kFieldsOfHeader = 6;
constexpr std::size_t kFieldsMax = kFieldsOfHeader + 4;

enum class Kind : std::uint8_t {
  kPreVote,
  kPreVoteReply,
  kVote,
  kVoteReply,
  kAppend,
  kAppendReply
};

struct BodyWriter {
  base::Writer& out;
  void operator()(const PreVote& body) const { put(body.end); }
  void operator()(const PreVoteReply& body) const {
    out.boolean(body.granted).counter(body.asked_term);
  }
  void operator()(const Vote& body) const { put(body.end); }
  void operator()(const VoteReply& body) const { out.boolean(body.granted); }
  void operator()(const Append& body) const {
    put(body.prev);
    out.counter(body.commit).array(body.entries.size());
    for (const Entry& entry : body.entries) out.array(2).counter(entry.term).bin(entry.payload);
  }
  void operator()(const AppendReply& body) const {
    out.boolean(body.ok).counter(body.prev_index).counter(body.index).counter(body.commit);
  }
  void put(const LogEnd& end) const { out.counter(end.index).counter(end.term); }
};

constexpr std::size_t kBodyFields[] = {2, 2, 2, 1, 4, 4};

base::LogIndex read_index(base::Reader& in) { return {in.u64(kGroupLogMax)}; }
base::Term read_term(base::Reader& in) { return {in.u64(kTermMax)}; }

// Every log has the form record, so an end or a predecessor is never below 1; nobody holds an
// entry of a later term than its own.
LogEnd read_position(base::Reader& in, base::Term current) {
  LogEnd end;
  end.index = read_index(in);
  end.term = read_term(in);
  if (end.index.value == 0) in.reject("a log position of zero");
  if (end.term > current) in.reject("an entry of a later term than its sender's");
  return end;
}

Entry read_entry(base::Reader& in) {
  in.array_of(2);
  Entry entry;
  entry.term = read_term(in);
  entry.payload = base::to_bytes(in.bin(kGroupPayloadBytesMax));
  if (entry.term.value == 0) in.reject("an entry of term zero");
  return entry;
}

Append read_append(base::Reader& in, base::Term current) {
  Append body;
  body.prev = read_position(in, current);
  body.commit = read_index(in);
  const std::size_t count = in.array(kGroupBatchEntriesMax);
  if (body.prev.index.value + count > kGroupLogMax) in.reject("a log beyond its limit");
  base::Term before = body.prev.term;
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    body.entries.push_back(read_entry(in));
    if (body.entries.back().term < before) in.reject("terms that fall along a log");
    before = body.entries.back().term;
  }
  if (before > current) in.reject("an entry of a later term than its sender's");
  return body;
}

Body read_body(base::Reader& in, Kind kind, base::Term current) {
  switch (kind) {
    case Kind::kPreVote:
      return PreVote{read_position(in, current)};
    case Kind::kPreVoteReply: {
      PreVoteReply body;
      body.granted = in.boolean();
      body.asked_term = read_term(in);
      return body;
    }
    case Kind::kVote:
      return Vote{read_position(in, current)};
    case Kind::kVoteReply:
      return VoteReply{in.boolean()};
    case Kind::kAppend:
      return read_append(in, current);
    case Kind::kAppendReply: {
      AppendReply body;
      body.ok = in.boolean();
      body.prev_index = read_index(in);
      body.index = read_index(in);
      body.commit = read_index(in);
      return body;
    }
  }
  in.reject("an unknown kind");
  return VoteReply{};
}

}  // namespace

base::Bytes encode(const Message& message) {
  CHECK(message.term.value <= kTermMax);
  const std::size_t kind = message.body.index();
  base::Writer out;
  out.array(kFieldsOfHeader + kBodyFields[kind]).u64(kWireVersion).u64(kind);
  out.id(message.group).id(message.store).counter(message.incarnation).counter(message.term);
  std::visit(BodyWriter{out}, message.body);
  CHECK(out.bytes().size() <= kGroupMessageBytesMax);
  return out.take();
}

base::Result<Message> decode(base::ByteView bytes) {
  if (bytes.size() > kGroupMessageBytesMax) {
    return base::fail(base::Code::kTooLarge, "a group message is too large");
  }
  base::Reader in(bytes);
  const std::size_t fields = in.array(kFieldsMax);
  if (in.u64() != kWireVersion) in.reject("an unknown version of group message");
  const auto kind = in.enumeration(Kind::kAppendReply);
  Message message;
  message.group = in.id<base::TriadId>();
  message.store = in.id<base::StoreId>();
  message.incarnation = in.counter<base::Incarnation>();
  message.term = read_term(in);
  if (fields != kFieldsOfHeader + kBodyFields[static_cast<std::size_t>(kind)]) {
    in.reject("a wrong number of fields");
  }
  message.body = read_body(in, kind, message.term);
  if (auto done = in.finish(); !done) return done.error();
  return message;
}

base::Bytes encode_entry(const Entry& entry) {
  base::Writer out;
  out.array(3).u64(kWireVersion).counter(entry.term).bin(entry.payload);
  return out.take();
}

base::Result<Entry> decode_entry(base::ByteView bytes) {
  base::Reader in(bytes);
  in.array_of(3);
  if (in.u64() != kWireVersion) in.reject("an unknown version of log entry");
  Entry entry;
  entry.term = read_term(in);
  entry.payload = base::to_bytes(in.bin(kGroupPayloadBytesMax));
  if (auto done = in.finish(); !done) return done.error();
  return entry;
}

base::Bytes encode_hard_state(const HardState& hard) {
  base::Writer out;
  out.array(3).u64(kWireVersion).counter(hard.term);
  out.bin(hard.voted_for ? base::ByteView(hard.voted_for->bytes) : base::ByteView());
  return out.take();
}

base::Result<HardState> decode_hard_state(base::ByteView bytes) {
  base::Reader in(bytes);
  in.array_of(3);
  if (in.u64() != kWireVersion) in.reject("an unknown version of hard state");
  HardState hard;
  hard.term = read_term(in);
  const base::ByteView vote = in.bin(base::NodeId::kSize);
  if (auto done = in.finish(); !done) return done.error();
  if (vote.empty()) return hard;
  auto node = base::NodeId::from(vote);
  if (!node) return node.error();
  hard.voted_for = *node;
  return hard;
}

}  // namespace balance::group
