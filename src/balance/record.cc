#include "balance/record.h"

#include <algorithm>

#include "base/crypto.h"

namespace balance {

namespace {

constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kIdHexSize = 32;
constexpr std::size_t kLogDigits = 8;  // at least: keys are ordered as entries
constexpr std::size_t kFormSizeMax = 512;
constexpr std::size_t kStoredFormSizeMax = kFormSizeMax + 64;

void get_version(base::Reader& in) {
  if (in.u64() != kVersion) in.reject("unknown version of a record");
}

std::uint64_t to_wire(base::Duration time) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0));
}

base::Duration get_duration(base::Reader& in) {
  return base::Duration(static_cast<std::int64_t>(in.u64(INT64_MAX)));
}

std::string_view after(std::string_view key, std::string_view prefix) {
  return key.starts_with(prefix) ? key.substr(prefix.size()) : std::string_view();
}

template <typename T>
base::Result<T> finished(base::Reader& in, T value) {
  auto status = in.finish();
  if (!status) return status.error();
  return value;
}

bool seats_fit(const FormRecord& form) {
  const auto count = [&](Seat seat) {
    return std::count_if(form.members.begin(), form.members.end(),
                         [&](const Member& m) { return m.seat == seat; });
  };
  const bool distinct = form.members[0].node != form.members[1].node &&
                        (form.is_pair() || (form.members[0].node != form.members[2].node &&
                                            form.members[1].node != form.members[2].node));
  return distinct && count(Seat::kSource) == 1 && count(Seat::kSink) == 1 &&
         count(Seat::kCoordinator) == (form.is_pair() ? 0 : 1);
}

}  // namespace

const Member* FormRecord::member(const NodeId& node) const {
  for (const Member& m : members) {
    if (m.node == node) return &m;
  }
  return nullptr;
}

const Member* FormRecord::seat(Seat wanted) const {
  for (const Member& m : members) {
    if (m.seat == wanted) return &m;
  }
  return nullptr;
}

std::vector<NodeId> Roles::nodes() const {
  std::vector<NodeId> out{source, sink};
  if (!third.is_zero()) out.push_back(third);
  return out;
}

Roles roles_of(const FormRecord& form) {
  const Member* third = form.seat(Seat::kCoordinator);
  return {form.cause, form.seat(Seat::kSource)->node, form.seat(Seat::kSink)->node,
          third == nullptr ? NodeId{} : third->node, form.job};
}

bool is_source_state(EndState state) { return state <= EndState::kSourceGone; }

bool is_final_state(EndState state) {
  switch (state) {
    case EndState::kSourceBegun:
    case EndState::kSourceSealed:
    case EndState::kSinkExpecting:
    case EndState::kSinkReady:
      return false;
    default:
      return true;
  }
}

const char* end_state_name(EndState state) {
  static constexpr const char* kNames[] = {
      "begun", "sealed", "withdrawn", "gone-away", "resumed",   "gone",    "expecting",
      "ready", "failed", "released",  "void",      "discarded", "resolved"};
  return kNames[static_cast<std::size_t>(state)];
}

std::string cut_reason(std::string_view reason) {
  return std::string(reason.substr(0, kReasonSizeMax));
}

// ---- keys

std::string own_key(const JobId& job) { return "own/" + job.hex(); }

std::string end_key(const HandoverId& id) {
  return "end/" + id.triad.hex() + "/" + id.job.hex() + "/" + std::to_string(id.epoch.value);
}

std::string triad_prefix(const TriadId& triad) { return "tri/" + triad.hex() + "/"; }
std::string form_key(const TriadId& triad) { return triad_prefix(triad) + "form"; }
std::string hard_key(const TriadId& triad) { return triad_prefix(triad) + "hard"; }
std::string linger_key(const TriadId& triad) { return "lin/" + triad.hex(); }

std::string log_key(const TriadId& triad, base::LogIndex index) {
  std::string digits = std::to_string(index.value);
  if (digits.size() < kLogDigits) digits.insert(0, kLogDigits - digits.size(), '0');
  return triad_prefix(triad) + "log/" + digits;
}

base::Result<JobId> parse_own_key(std::string_view key) {
  return JobId::from_hex_text(after(key, "own/"));
}

base::Result<TriadId> parse_triad_key(std::string_view key) {
  const std::string_view rest = after(key, "tri/");
  if (rest.size() <= kIdHexSize || rest[kIdHexSize] != '/') {
    return base::fail(base::Code::kInvalid, "no key of a triad");
  }
  return TriadId::from_hex_text(rest.substr(0, kIdHexSize));
}

base::Result<TriadId> parse_linger_key(std::string_view key) {
  return TriadId::from_hex_text(after(key, "lin/"));
}

base::Result<HandoverId> parse_end_key(std::string_view key) {
  const std::string_view rest = after(key, "end/");
  constexpr std::size_t kEpochAt = 2 * kIdHexSize + 2;
  if (rest.size() <= kEpochAt || rest.size() > kEpochAt + 19 || rest[kIdHexSize] != '/' ||
      rest[kEpochAt - 1] != '/') {
    return base::fail(base::Code::kInvalid, "no key of a handover");
  }
  auto triad = TriadId::from_hex_text(rest.substr(0, kIdHexSize));
  if (!triad) return triad.error();
  auto job = JobId::from_hex_text(rest.substr(kIdHexSize + 1, kIdHexSize));
  if (!job) return job.error();
  std::uint64_t epoch = 0;
  for (const char c : rest.substr(kEpochAt)) {
    if (c < '0' || c > '9') return base::fail(base::Code::kInvalid, "an epoch is a number");
    epoch = epoch * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return HandoverId{*triad, *job, Epoch{epoch}};
}

// ---- parts

void put_roles(base::Writer& out, const Roles& roles) {
  out.array(5).u64(static_cast<std::uint64_t>(roles.cause)).id(roles.source).id(roles.sink);
  out.id(roles.third).id(roles.job);
}

Roles get_roles(base::Reader& in) {
  Roles roles;
  in.array_of(5);
  roles.cause = in.enumeration(Cause::kMemory);
  roles.source = in.id<NodeId>();
  roles.sink = in.id<NodeId>();
  roles.third = in.id<NodeId>();
  roles.job = in.id<JobId>();
  const bool distinct = roles.source != roles.sink && roles.third != roles.source &&
                        roles.third != roles.sink && !roles.source.is_zero() &&
                        !roles.sink.is_zero();
  if (in.ok() && !distinct) in.reject("a role is missing or one node has two");
  return roles;
}

void put_handover_id(base::Writer& out, const HandoverId& id) {
  out.array(3).id(id.triad).id(id.job).counter(id.epoch);
}

HandoverId get_handover_id(base::Reader& in) {
  HandoverId id;
  in.array_of(3);
  id.triad = in.id<TriadId>();
  id.job = in.id<JobId>();
  id.epoch = Epoch{in.u64(kMoveEpochMax)};
  return id;
}

void put_end_record(base::Writer& out, const EndRecord& record) {
  out.array(6).u64(static_cast<std::uint64_t>(record.state)).boolean(record.acted);
  out.bin(record.seal.bytes).u64(record.offsets.stdout_end).u64(record.offsets.stderr_end);
  out.text(cut_reason(record.reason));
}

EndRecord get_end_record(base::Reader& in) {
  EndRecord record;
  in.array_of(6);
  record.state = in.enumeration(kEndStateLast);
  record.acted = in.boolean();
  record.seal.bytes = in.fixed<32>();
  record.offsets.stdout_end = in.u64();
  record.offsets.stderr_end = in.u64();
  record.reason = in.text(kReasonSizeMax);
  return record;
}

// ---- records

base::Bytes encode(const FormRecord& record) {
  base::Writer out;
  out.array(5).u64(kVersion).u64(static_cast<std::uint64_t>(record.cause)).id(record.job);
  out.array(record.members.size());
  for (const Member& m : record.members) {
    out.array(3).id(m.node).id(m.store).u64(
        static_cast<std::uint64_t>(static_cast<int>(m.seat) + 1));
  }
  out.bin(record.random);
  return out.take();
}

base::Result<FormRecord> decode_form(base::ByteView bytes) {
  base::Reader in(bytes);
  FormRecord record;
  in.array_of(5);
  get_version(in);
  record.cause = in.enumeration(Cause::kMemory);
  record.job = in.id<JobId>();
  const std::size_t count = in.array(kMembersMax);
  for (std::size_t i = 0; i < count; ++i) {
    Member m;
    in.array_of(3);
    m.node = in.id<NodeId>();
    m.store = in.id<StoreId>();
    m.seat = static_cast<Seat>(static_cast<int>(in.u64(2)) - 1);
    record.members.push_back(m);
  }
  record.random = in.fixed<16>();
  if (in.ok() && (count < 2 || !seats_fit(record))) in.reject("the seats of a triad do not fit");
  return finished(in, std::move(record));
}

TriadId triad_id_of(const FormRecord& record) {
  const base::Bytes bytes = encode(record);
  return TriadId{base::crypto::hash128({base::ByteView(bytes)})};
}

base::Bytes encode(const Acceptance& record) {
  base::Writer out;
  out.array(5).u64(kVersion).id(record.proposal).id(record.from).id(record.store);
  put_roles(out, record.roles);
  return out.take();
}

base::Result<Acceptance> decode_acceptance(base::ByteView bytes) {
  base::Reader in(bytes);
  Acceptance record;
  in.array_of(5);
  get_version(in);
  record.proposal = in.id<base::ProposalId>();
  record.from = in.id<NodeId>();
  record.store = in.id<StoreId>();
  record.roles = get_roles(in);
  return finished(in, std::move(record));
}

base::Bytes encode(const StoredForm& record) {
  base::Writer out;
  out.array(4).u64(kVersion).id(record.proposal).id(record.proposer).bin(encode(record.form));
  return out.take();
}

base::Result<StoredForm> decode_stored_form(base::ByteView bytes) {
  base::Reader in(bytes);
  StoredForm record;
  in.array_of(4);
  get_version(in);
  record.proposal = in.id<base::ProposalId>();
  record.proposer = in.id<NodeId>();
  const base::ByteView inner = in.bin(kFormSizeMax);
  auto status = in.finish();
  if (!status) return status.error();
  auto form = decode_form(inner);
  if (!form) return form.error();
  record.form = std::move(*form);
  return record;
}

base::Bytes encode(const OwnRecord& record) {
  base::Writer out;
  out.array(5).u64(kVersion).counter(record.epoch).counter(record.next).id(record.at);
  out.boolean(record.resolved);
  return out.take();
}

base::Result<OwnRecord> decode_own(base::ByteView bytes) {
  base::Reader in(bytes);
  OwnRecord record;
  in.array_of(5);
  get_version(in);
  record.epoch = Epoch{in.u64(kEpochMax)};
  record.next = Epoch{in.u64(kEpochMax)};
  record.at = in.id<NodeId>();
  record.resolved = in.boolean();
  if (in.ok() && record.next < record.epoch) in.reject("an epoch that was never given out");
  return finished(in, record);
}

base::Bytes encode(const EndRecord& record) {
  base::Writer out;
  out.array(2).u64(kVersion);
  put_end_record(out, record);
  return out.take();
}

base::Result<EndRecord> decode_end(base::ByteView bytes) {
  base::Reader in(bytes);
  in.array_of(2);
  get_version(in);
  EndRecord record = get_end_record(in);
  return finished(in, std::move(record));
}

base::Bytes encode(const LogEntry& entry) {
  base::Writer out;
  if (const auto* begin = std::get_if<BeginEntry>(&entry)) {
    out.array(5).u64(kVersion).u64(0).id(begin->job).counter(begin->epoch);
    out.u64(to_wire(begin->preflight));
  } else if (const auto* outcome = std::get_if<OutcomeEntry>(&entry)) {
    out.array(9).u64(kVersion).u64(1).id(outcome->job).counter(outcome->epoch);
    out.u64(static_cast<std::uint64_t>(outcome->decision)).text(cut_reason(outcome->reason));
    out.u64(to_wire(outcome->stream)).u64(to_wire(outcome->restore)).u64(outcome->bytes);
  } else {
    out.array(2).u64(kVersion).u64(2);
  }
  return out.take();
}

namespace {

LogEntry get_begin(base::Reader& in) {
  BeginEntry begin;
  begin.job = in.id<JobId>();
  begin.epoch = Epoch{in.u64(kMoveEpochMax)};
  begin.preflight = get_duration(in);
  return begin;
}

LogEntry get_outcome(base::Reader& in) {
  OutcomeEntry outcome;
  outcome.job = in.id<JobId>();
  outcome.epoch = Epoch{in.u64(kMoveEpochMax)};
  outcome.decision = in.enumeration(Decision::kAbort);
  outcome.reason = in.text(kReasonSizeMax);
  outcome.stream = get_duration(in);
  outcome.restore = get_duration(in);
  outcome.bytes = in.u64();
  return outcome;
}

LogEntry get_log_entry(base::Reader& in, std::uint64_t kind) {
  if (kind == 0) return get_begin(in);
  if (kind == 1) return get_outcome(in);
  return DissolveEntry{};
}

}  // namespace

base::Result<LogEntry> decode_log_entry(base::ByteView bytes) {
  base::Reader in(bytes);
  const std::size_t size = in.array(9);
  get_version(in);
  const std::uint64_t kind = in.u64(2);
  static constexpr std::size_t kSizes[] = {5, 9, 2};
  if (in.ok() && size != kSizes[kind]) in.reject("an entry of another size");
  base::Result<LogEntry> entry = get_log_entry(in, in.ok() ? kind : 2);
  auto status = in.finish();
  if (!status) return status.error();
  return entry;
}

base::Result<OutcomeEntry> decode_outcome(base::ByteView bytes) {
  auto entry = decode_log_entry(bytes);
  if (!entry) return entry.error();
  auto* outcome = std::get_if<OutcomeEntry>(&*entry);
  if (outcome == nullptr) return base::fail(base::Code::kInvalid, "no outcome");
  return std::move(*outcome);
}

base::Bytes encode(const LingerRecord& record) {
  base::Writer out;
  out.array(3).u64(kVersion).bin(encode(record.stored)).bin(encode(LogEntry{record.outcome}));
  return out.take();
}

base::Result<LingerRecord> decode_linger(base::ByteView bytes) {
  base::Reader in(bytes);
  in.array_of(3);
  get_version(in);
  const base::ByteView form = in.bin(kStoredFormSizeMax);
  const base::ByteView entry = in.bin(kEntrySizeMax);
  auto status = in.finish();
  if (!status) return status.error();
  auto stored = decode_stored_form(form);
  if (!stored) return stored.error();
  auto outcome = decode_outcome(entry);
  if (!outcome) return outcome.error();
  return LingerRecord{std::move(*stored), std::move(*outcome)};
}

}  // namespace balance
