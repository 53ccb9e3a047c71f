#include "balance/wire.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"

namespace balance::wire {

namespace {

constexpr std::uint64_t kVersion = 1;
constexpr std::uint64_t kAmountMax = std::uint64_t{1} << 62;
constexpr std::size_t kFormSizeMax = 512;
// Elements after version, kind and store, by kind.
constexpr std::size_t kFields[] = {2, 2, 4, 1, 2, 1, 3, 2, 5, 6, 3, 2, 3, 4, 3, 2, 2};
static_assert(std::size(kFields) == std::variant_size_v<Body>);

std::uint64_t amount(std::int64_t value) {
  return static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(value, 0, std::int64_t{kAmountMax} - 1));
}
std::int64_t get_amount(base::Reader& in) {
  return static_cast<std::int64_t>(in.u64(kAmountMax - 1));
}
Term get_term(base::Reader& in) { return Term{in.u64(INT64_MAX)}; }

struct Put {
  base::Writer& out;
  void operator()(const GroupMessage& m) const { out.id(m.triad).bin(m.bytes); }
  void operator()(const Propose& m) const {
    out.id(m.proposal);
    put_roles(out, m.roles);
  }
  void operator()(const Answer& m) const {
    out.id(m.proposal).boolean(m.ok).u64(static_cast<std::uint64_t>(m.code));
    out.text(cut_reason(m.reason));
  }
  void operator()(const Cancel& m) const { out.id(m.proposal); }
  void operator()(const Form& m) const { out.id(m.proposal).bin(balance::encode(m.form)); }
  void operator()(const FormStored& m) const { out.id(m.triad); }
  void operator()(const Gone& m) const {
    out.id(m.triad).boolean(m.dissolved).boolean(m.to_report);
  }
  void operator()(const Ask& m) const { out.id(m.triad).counter(m.term); }
  void operator()(const Offer& m) const {
    out.id(m.triad).counter(m.term).u64(amount(m.ratio_micros)).u64(amount(m.cpus_millis));
    out.array(m.jobs.size());
    for (const OfferedJob& job : m.jobs) {
      out.array(4).id(job.job).u64(amount(job.load_micros)).u64(amount(job.memory_bytes));
      out.u64(amount(job.scum_micros));
    }
  }
  void operator()(const Room& m) const {
    out.id(m.triad).counter(m.term).u64(amount(m.ratio_micros)).u64(amount(m.cpus_millis));
    out.u64(amount(m.memory_bytes)).boolean(m.accepts);
  }
  void operator()(const Prepare& m) const { out.id(m.triad).counter(m.term).id(m.job); }
  void operator()(const Preflight& m) const {
    put_handover_id(out, m.id);
    out.bin(m.requirement);
  }
  void operator()(const PreflightDone& m) const {
    put_handover_id(out, m.id);
    out.boolean(m.ok).text(cut_reason(m.reason));
  }
  void operator()(const Prepared& m) const {
    put_handover_id(out, m.id);
    out.counter(m.term).boolean(m.ok).text(cut_reason(m.reason));
  }
  void operator()(const EndReport& m) const {
    put_handover_id(out, m.id);
    put_end_record(out, m.end);
    out.u64(m.bytes);
  }
  void operator()(const Superseded& m) const {
    put_handover_id(out, m.id);
    out.counter(m.epoch);
  }
  void operator()(const Decided& m) const {
    out.id(m.triad).bin(balance::encode(LogEntry{m.outcome}));
  }
};

Offer get_offer(base::Reader& in) {
  Offer m;
  m.triad = in.id<TriadId>();
  m.term = get_term(in);
  m.ratio_micros = get_amount(in);
  m.cpus_millis = get_amount(in);
  const std::size_t count = in.array(kOfferJobsMax);
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    OfferedJob job;
    in.array_of(4);
    job.job = in.id<JobId>();
    job.load_micros = get_amount(in);
    job.memory_bytes = get_amount(in);
    job.scum_micros = get_amount(in);
    m.jobs.push_back(job);
  }
  if (in.ok() && m.cpus_millis < 1) in.reject("a node without a CPU");
  return m;
}

Room get_room(base::Reader& in) {
  Room m;
  m.triad = in.id<TriadId>();
  m.term = get_term(in);
  m.ratio_micros = get_amount(in);
  m.cpus_millis = get_amount(in);
  m.memory_bytes = get_amount(in);
  m.accepts = in.boolean();
  if (in.ok() && m.cpus_millis < 1) in.reject("a node without a CPU");
  return m;
}

Answer get_answer(base::Reader& in) {
  Answer m;
  m.proposal = in.id<base::ProposalId>();
  m.ok = in.boolean();
  m.code = in.enumeration(AnswerCode::kFull);
  m.reason = in.text(kReasonSizeMax);
  return m;
}

Form get_form(base::Reader& in) {
  Form m;
  m.proposal = in.id<base::ProposalId>();
  auto form = decode_form(in.bin(kFormSizeMax));
  if (in.ok() && !form) in.reject("the form record does not decode");
  if (form) m.form = std::move(*form);
  return m;
}

Decided get_decided(base::Reader& in) {
  Decided m;
  m.triad = in.id<TriadId>();
  auto outcome = decode_outcome(in.bin(kEntrySizeMax));
  if (in.ok() && !outcome) in.reject("the outcome does not decode");
  if (outcome) m.outcome = std::move(*outcome);
  return m;
}

// Initialisers in braces are evaluated from left to right.
Body get_formation(base::Reader& in, std::uint64_t kind) {
  switch (kind) {
    case 0: {
      GroupMessage m{in.id<TriadId>(), {}};
      m.bytes = base::to_bytes(in.bin(kGroupMessageBytesMax));
      return m;
    }
    case 1:
      return Propose{in.id<base::ProposalId>(), get_roles(in)};
    case 2:
      return get_answer(in);
    case 3:
      return Cancel{in.id<base::ProposalId>()};
    case 4:
      return get_form(in);
    case 5:
      return FormStored{in.id<TriadId>()};
    default:
      return Gone{in.id<TriadId>(), in.boolean(), in.boolean()};
  }
}

Body get_handover(base::Reader& in, std::uint64_t kind) {
  switch (kind) {
    case 7:
      return Ask{in.id<TriadId>(), get_term(in)};
    case 8:
      return get_offer(in);
    case 9:
      return get_room(in);
    case 10:
      return Prepare{in.id<TriadId>(), get_term(in), in.id<JobId>()};
    case 11: {
      Preflight m{get_handover_id(in), {}};
      m.requirement = base::to_bytes(in.bin(kRequirementSizeMax));
      return m;
    }
    case 12:
      return PreflightDone{get_handover_id(in), in.boolean(), in.text(kReasonSizeMax)};
    case 13:
      return Prepared{get_handover_id(in), get_term(in), in.boolean(), in.text(kReasonSizeMax)};
    case 14:
      return EndReport{get_handover_id(in), get_end_record(in), in.u64()};
    case 15:
      return Superseded{get_handover_id(in), Epoch{in.u64(kEpochMax)}};
    default:
      return get_decided(in);
  }
}

struct TriadOf {
  const TriadId* operator()(const Propose&) const { return nullptr; }
  const TriadId* operator()(const Answer&) const { return nullptr; }
  const TriadId* operator()(const Cancel&) const { return nullptr; }
  const TriadId* operator()(const Form&) const { return nullptr; }
  const TriadId* operator()(const Preflight& m) const { return &m.id.triad; }
  const TriadId* operator()(const PreflightDone& m) const { return &m.id.triad; }
  const TriadId* operator()(const Prepared& m) const { return &m.id.triad; }
  const TriadId* operator()(const EndReport& m) const { return &m.id.triad; }
  const TriadId* operator()(const Superseded& m) const { return &m.id.triad; }
  template <typename T>
  const TriadId* operator()(const T& m) const {
    return &m.triad;
  }
};

}  // namespace

const TriadId* triad_of(const Body& body) { return std::visit(TriadOf{}, body); }

base::Bytes encode(const Message& message) {
  base::Writer out;
  const std::size_t kind = message.body.index();
  out.array(3 + kFields[kind]).u64(kVersion).u64(kind).id(message.store);
  std::visit(Put{out}, message.body);
  return out.take();
}

base::Result<Message> decode(base::ByteView bytes) {
  if (bytes.size() > kMessageSizeMax)
    return base::fail(base::Code::kTooLarge, "a message too long");
  base::Reader in(bytes);
  const std::size_t size = in.array(16);
  if (in.u64() != kVersion) in.reject("unknown version of a message");
  const std::uint64_t kind = in.u64(std::size(kFields) - 1);
  if (in.ok() && size != 3 + kFields[kind]) in.reject("a message with other fields");
  Message message;
  message.store = in.id<StoreId>();
  if (in.ok()) message.body = kind <= 6 ? get_formation(in, kind) : get_handover(in, kind);
  auto status = in.finish();
  if (!status) return status.error();
  return message;
}

}  // namespace balance::wire
