#include "node/job_wire.h"

#include <algorithm>

#include "balance/limits.h"
#include "base/wire.h"
#include "node/limits.h"

namespace node {
namespace {

using base::Reader;
using base::Writer;

constexpr std::uint64_t kMessageVersion = 1;
// 1: without the two last fields; 2: without the last, a folder that travels.
constexpr std::uint64_t kSpecVersion = 3;

// ---- encoders, one per message; the envelope is written by encode()

void put(Writer& w, const Agreement& m) {
  w.array(2).bin(m.bytes).array(m.meets.size());
  for (const Whereabouts& other : m.meets) w.array(2).id(other.node).bin(other.at.packed());
}
void put(Writer& w, const Output& m) {
  w.array(5).id(m.job).counter(m.epoch).u64(static_cast<std::uint64_t>(m.stream) + 1);
  w.u64(m.offset).bin(m.bytes);
}
void put(Writer& w, const OutputAck& m) { w.array(3).id(m.job).u64(m.have[0]).u64(m.have[1]); }
void put(Writer& w, const Here& m) {
  w.array(4).id(m.job).counter(m.epoch).u64(m.moves).boolean(m.parked);
}
void put(Writer& w, const HereAck& m) { w.array(3).id(m.job).counter(m.epoch).boolean(m.parked); }
void put(Writer& w, const Exited& m) {
  w.array(6).id(m.job).counter(m.epoch).i64(m.wait_status).u64(m.ends[0]).u64(m.ends[1]);
  w.u64(m.moves);
}
void put(Writer& w, const ExitedAck& m) { w.array(1).id(m.job); }
void put(Writer& w, const JobsQuery& m) { w.array(1).u64(m.query); }
void put(Writer& w, const JobInfo& m) {
  w.array(17).id(m.id).text(m.name).text(m.command).u64(static_cast<std::uint64_t>(m.state));
  w.id(m.node).id(m.home).boolean(m.here).u64(m.epoch).i64(m.pid).i64(m.scum_micros);
  w.i64(m.cpu_micros).i64(m.memory_micros).i64(base::wall_seconds(m.started_at)).u64(m.moves);
  w.boolean(m.wait_status.has_value()).i64(m.wait_status.value_or(0)).id(m.waits_for);
}
void put(Writer& w, const JobsReply& m) {
  w.array(2).u64(m.query).array(m.jobs.size());
  for (const JobInfo& job : m.jobs) put(w, job);
}
void put(Writer& w, const Order& m) {
  w.array(7).u64(m.query).u64(static_cast<std::uint64_t>(m.verb)).id(m.job).u64(m.uid);
  w.u64(m.number).id(m.target).u64(m.age_ms);
}
void put(Writer& w, const OrderReply& m) {
  w.array(5).u64(m.query).boolean(m.over).u64(m.exit_code).text(m.sentence).text(m.handover);
}
void put(Writer& w, const LogQuery& m) {
  w.array(5).u64(m.query).id(m.job).u64(static_cast<std::uint64_t>(m.stream) + 1).u64(m.offset);
  w.u64(m.uid);
}
void put(Writer& w, const LogReply& m) {
  w.array(11).u64(m.query).boolean(m.known).id(m.job);
  w.u64(static_cast<std::uint64_t>(m.stream) + 1).u64(m.offset).bin(m.bytes);
  w.u64(m.ends[0]).u64(m.ends[1]).boolean(m.exited).i64(m.wait_status);
  w.boolean(m.refused);
}
void put(Writer& w, const NeedsQuery& m) { w.array(3).u64(m.query).id(m.job).bin(m.requirement); }
void put(Writer& w, const NeedsReply& m) {
  w.array(2).u64(m.query).array(std::min(m.obstacles.size(), kObstaclesMax));
  for (std::size_t i = 0; i < m.obstacles.size() && i < kObstaclesMax; ++i) {
    w.text(std::string_view(m.obstacles[i]).substr(0, kReasonSizeMax));
  }
}

void put(Writer& w, const Moved& m) { w.array(3).id(m.job).counter(m.epoch).id(m.to); }
void put(Writer& w, const Where& m) { w.array(1).id(m.job); }
void put(Writer& w, const WhyQuery& m) { w.array(1).u64(m.query); }
void put(Writer& w, const WhyReply& m) {
  w.array(2).u64(m.query).text(std::string_view(m.sentence).substr(0, kReasonSizeMax));
}
void put(Writer& w, const Input& m) {
  w.array(11).u64(m.query).id(m.job).u64(m.uid).u64(m.session);
  w.u64(static_cast<std::uint64_t>(m.kind)).u64(m.offset).bin(m.bytes);
  w.u64(m.window.rows).u64(m.window.columns).u64(m.window.width).u64(m.window.height);
}
void put(Writer& w, const InputReply& m) {
  w.array(9).u64(m.query).id(m.job).u64(static_cast<std::uint64_t>(m.word)).u64(m.session);
  w.u64(m.taken).u64(m.held).boolean(m.ended).boolean(m.closed).boolean(m.terminal);
}

// ---- decoders

int read_stream(Reader& r) {
  const std::uint64_t stream = r.u64(kStreams);
  if (stream == 0) r.reject("there is no output stream 0");
  return stream == 0 ? 0 : static_cast<int>(stream) - 1;
}
std::int32_t read_status(Reader& r) {
  const std::int64_t status = r.i64();
  if (status < 0 || status > 0xffff) r.reject("no wait status");
  return static_cast<std::int32_t>(status & 0xffff);
}
StreamEnds read_ends(Reader& r) {
  const std::uint64_t out = r.u64();
  return {out, r.u64()};
}
JobInfo read_info(Reader& r) {
  JobInfo info;
  r.array_of(17);
  info.id = r.id<base::JobId>();
  info.name = printable(r.text(kNameSizeMax));
  info.command = printable(r.text(kReasonSizeMax));
  info.state = r.enumeration(JobState::kPaused);
  info.node = r.id<base::NodeId>();
  info.home = r.id<base::NodeId>();
  info.here = r.boolean();
  info.epoch = r.u64();
  info.pid = r.i64();
  info.scum_micros = r.i64();
  info.cpu_micros = r.i64();
  info.memory_micros = r.i64();
  info.started_at = static_cast<base::WallTime>(r.i64());
  info.moves = r.u64();
  const bool ended = r.boolean();
  const std::int32_t status = read_status(r);
  if (ended) info.wait_status = status;
  info.waits_for = r.id<base::NodeId>();
  return info;
}

base::Endpoint read_endpoint(Reader& r) {
  const auto endpoint = base::Endpoint::unpack(r.bin(base::Endpoint::kPackedSize));
  if (endpoint) return *endpoint;
  r.reject("no address");
  return {};
}
Message read_agreement(Reader& r) {
  Agreement m;
  r.array_of(2);
  m.bytes = base::to_bytes(r.bin(kMessageSizeMax));
  m.meets.resize(r.array(kMeetsMax));
  for (Whereabouts& other : m.meets) {
    r.array_of(2);
    other.node = r.id<base::NodeId>();
    other.at = read_endpoint(r);
  }
  return m;
}
Message read_output(Reader& r) {
  Output m;
  r.array_of(5);
  m.job = r.id<base::JobId>();
  m.epoch = r.counter<base::Epoch>();
  m.stream = read_stream(r);
  m.offset = r.u64();
  m.bytes = base::to_bytes(r.bin(kOutputChunkMax));
  if (m.offset > UINT64_MAX - kOutputChunkMax) r.reject("an offset past the end of all files");
  return m;
}
Message read_output_ack(Reader& r) {
  OutputAck m;
  r.array_of(3);
  m.job = r.id<base::JobId>();
  m.have = read_ends(r);
  return m;
}
Message read_here(Reader& r) {
  Here m;
  r.array_of(4);
  m.job = r.id<base::JobId>();
  m.epoch = r.counter<base::Epoch>();
  m.moves = r.u64();
  m.parked = r.boolean();
  return m;
}
Message read_here_ack(Reader& r) {
  HereAck m;
  r.array_of(3);
  m.job = r.id<base::JobId>();
  m.epoch = r.counter<base::Epoch>();
  m.parked = r.boolean();
  return m;
}
Message read_exited(Reader& r) {
  Exited m;
  r.array_of(6);
  m.job = r.id<base::JobId>();
  m.epoch = r.counter<base::Epoch>();
  m.wait_status = read_status(r);
  m.ends = read_ends(r);
  m.moves = r.u64();
  return m;
}
Message read_exited_ack(Reader& r) {
  r.array_of(1);
  return ExitedAck{r.id<base::JobId>()};
}
Message read_jobs_query(Reader& r) {
  r.array_of(1);
  return JobsQuery{r.u64()};
}
Message read_jobs_reply(Reader& r) {
  JobsReply m;
  r.array_of(2);
  m.query = r.u64();
  m.jobs.resize(r.array(kJobsInReplyMax));
  for (JobInfo& job : m.jobs) job = read_info(r);
  return m;
}
Message read_order(Reader& r) {
  Order m;
  r.array_of(7);
  m.query = r.u64();
  m.verb = r.enumeration(Verb::kWake);
  m.job = r.id<base::JobId>();
  m.uid = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  m.number = r.u64(kOrderNumberMax);
  if (m.verb != Verb::kThrottle && m.number > 64) r.reject("no signal has that number");
  m.target = r.id<base::NodeId>();
  m.age_ms = r.u64();
  return m;
}
Message read_order_reply(Reader& r) {
  OrderReply m;
  r.array_of(5);
  m.query = r.u64();
  m.over = r.boolean();
  m.exit_code = static_cast<std::uint8_t>(r.u64(255));
  m.sentence = printable(r.text(kReasonSizeMax));
  m.handover = r.text(kHandoverJsonSizeMax);
  return m;
}
Message read_log_query(Reader& r) {
  LogQuery m;
  r.array_of(5);
  m.query = r.u64();
  m.job = r.id<base::JobId>();
  m.stream = read_stream(r);
  m.offset = r.u64();
  m.uid = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  return m;
}
Message read_log_reply(Reader& r) {
  LogReply m;
  r.array_of(11);
  m.query = r.u64();
  m.known = r.boolean();
  m.job = r.id<base::JobId>();
  m.stream = read_stream(r);
  m.offset = r.u64();
  m.bytes = base::to_bytes(r.bin(kOutputChunkMax));
  m.ends = read_ends(r);
  m.exited = r.boolean();
  m.wait_status = read_status(r);
  m.refused = r.boolean();
  return m;
}
Message read_needs_query(Reader& r) {
  NeedsQuery m;
  r.array_of(3);
  m.query = r.u64();
  m.job = r.id<base::JobId>();
  m.requirement = base::to_bytes(r.bin(balance::kRequirementSizeMax));
  return m;
}
Message read_needs_reply(Reader& r) {
  NeedsReply m;
  r.array_of(2);
  m.query = r.u64();
  m.obstacles.resize(r.array(kObstaclesMax));
  for (std::string& obstacle : m.obstacles) obstacle = printable(r.text(kReasonSizeMax));
  return m;
}
Message read_moved(Reader& r) {
  Moved m;
  r.array_of(3);
  m.job = r.id<base::JobId>();
  m.epoch = r.counter<base::Epoch>();
  m.to = r.id<base::NodeId>();
  return m;
}
Message read_where(Reader& r) {
  r.array_of(1);
  return Where{r.id<base::JobId>()};
}
Message read_why_query(Reader& r) {
  r.array_of(1);
  return WhyQuery{r.u64()};
}
Message read_why_reply(Reader& r) {
  WhyReply m;
  r.array_of(2);
  m.query = r.u64();
  m.sentence = printable(r.text(kReasonSizeMax));
  return m;
}

// Below 2^62, so that adding a size to an offset cannot wrap.
std::uint64_t read_offset(Reader& r) { return r.u64(INT64_MAX / 2); }
std::uint16_t read_short(Reader& r) { return static_cast<std::uint16_t>(r.u64(UINT16_MAX)); }
Message read_input(Reader& r) {
  Input m;
  r.array_of(11);
  m.query = r.u64();
  m.job = r.id<base::JobId>();
  m.uid = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  m.session = r.u64();
  m.kind = r.enumeration(InputKind::kAsk);
  m.offset = read_offset(r);
  m.bytes = base::to_bytes(r.bin(kInputPieceMax));
  m.window.rows = read_short(r);
  m.window.columns = read_short(r);
  m.window.width = read_short(r);
  m.window.height = read_short(r);
  return m;
}
Message read_input_reply(Reader& r) {
  InputReply m;
  r.array_of(9);
  m.query = r.u64();
  m.job = r.id<base::JobId>();
  m.word = r.enumeration(InputWord::kNone);
  m.session = r.u64();
  m.taken = read_offset(r);
  m.held = read_offset(r);
  m.ended = r.boolean();
  m.closed = r.boolean();
  m.terminal = r.boolean();
  return m;
}

using Decoder = Message (*)(Reader&);
constexpr Decoder kDecoders[] = {
    read_agreement,   read_output,     read_output_ack, read_here,        read_here_ack,
    read_exited,      read_exited_ack, read_jobs_query, read_jobs_reply,  read_order,
    read_order_reply, read_log_query,  read_log_reply,  read_needs_query, read_needs_reply,
    read_moved,       read_where,      read_why_query,  read_why_reply,   read_input,
    read_input_reply,
};
static_assert(std::size(kDecoders) == std::variant_size_v<Message>);

}  // namespace

const char* job_state_name(JobState state) {
  static constexpr const char* kNames[] = {"queued", "running", "throttled", "handover",
                                           "parked", "exited",  "lost",      "paused"};
  return kNames[static_cast<std::size_t>(state)];
}

std::string printable(std::string_view text) {
  std::string clean(text.substr(0, kReasonSizeMax));
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return clean;
}

base::Bytes encode(const Message& message) {
  Writer w;
  w.array(3).u64(kMessageVersion).u64(message.index());
  std::visit([&](const auto& m) { put(w, m); }, message);
  return w.take();
}

base::Result<Message> decode_message(base::ByteView bytes) {
  if (bytes.size() > kMessageSizeMax) {
    return base::fail(base::Code::kTooLarge, "a message is too large");
  }
  Reader r(bytes);
  r.array_of(3);
  if (r.u64() != kMessageVersion) r.reject("an unknown message version");
  const std::uint64_t kind = r.u64();
  if (r.ok() && kind >= std::size(kDecoders)) r.reject("an unknown kind of message");
  if (!r.ok()) return r.finish().error();
  Message message = kDecoders[kind](r);
  if (base::Status status = r.finish(); !status) return status.error();
  return message;
}

base::Bytes encode(const JobSpec& spec) {
  Writer w;
  const std::uint64_t version = !spec.dir.empty() ? 3 : spec.tcp_close ? 2 : 1;
  w.array(13 + version).u64(version).id(spec.id).text(spec.name).array(spec.argv.size());
  for (const std::string& argument : spec.argv) w.text(argument);
  w.text(spec.cwd).u64(spec.uid).u64(spec.gid).array(spec.groups.size());
  for (const std::uint32_t group : spec.groups) w.u64(group);
  w.id(spec.home).i64(base::wall_seconds(spec.started_at)).u64(spec.cpu_micros).u64(spec.moves);
  w.i64(spec.load_micros).bin(spec.home_at.packed());
  if (version > 1) w.boolean(spec.tcp_close);
  if (version > 2) w.text(spec.dir);
  return w.take();
}

base::Result<JobSpec> decode_spec(base::ByteView bytes) {
  Reader r(bytes);
  JobSpec spec;
  const std::size_t fields = r.array(16);
  const std::uint64_t version = r.u64();
  if (version == 0 || version > kSpecVersion || fields != 13 + version) {
    r.reject("an unknown version of a job's description");
  }
  spec.id = r.id<base::JobId>();
  spec.name = printable(r.text(kNameSizeMax));
  spec.argv.resize(r.array(kArgumentsMax));
  std::size_t total = 0;
  for (std::string& argument : spec.argv) {
    argument = r.text(kArgumentsSizeMax);
    total += argument.size();
  }
  if (total > kArgumentsSizeMax) r.reject("a command is too long");
  spec.cwd = r.text(kPathSizeMax);
  spec.uid = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  spec.gid = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  spec.groups.resize(r.array(kGroupsMax));
  for (std::uint32_t& group : spec.groups) group = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  spec.home = r.id<base::NodeId>();
  spec.started_at = static_cast<base::WallTime>(r.i64());
  spec.cpu_micros = r.u64();
  spec.moves = r.u64();
  spec.load_micros = r.i64();
  spec.home_at = read_endpoint(r);
  if (version > 1) spec.tcp_close = r.boolean();
  if (version > 2) spec.dir = r.text(kPathSizeMax);
  if (r.ok() && version > 2 && (spec.dir.empty() || spec.dir[0] != '/')) r.reject("an odd folder");
  if (base::Status status = r.finish(); !status) return status.error();
  return spec;
}

}  // namespace node
