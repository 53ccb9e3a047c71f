// What nodes say to each other about triads and handovers.
//
// Every message is a MessagePack array [version u64 = 1, kind u64, store bin16, ...]; `store` is
// the sender's store id. The transport vouches for who sent it. At most kMessageSizeMax bytes;
// reasons are text <= kReasonSizeMax; all since version 1.
// clang-format off
//   kind             fields                             meaning
//    0 Group         triad, bytes <= 60 KiB             balance/group_wire.h
//    1 Propose       proposal, roles                    would you take this seat?
//    2 Answer        proposal, ok, code u64, reason     accepted (durably), or why not
//    3 Cancel        proposal                           the proposer will not form it
//    4 Form          proposal, form record bin <= 512   store this, you accepted it
//    5 FormStored    triad                              stored, durably
//    6 Gone          triad, dissolved bool, to_report   no such triad here, and never again;
//                                                       to_report: answers an EndReport
//    7 Ask           triad, term                        coordinator: what could you give or take?
//                                                       Else (term 0): still there?
//    8 Offer         triad, term, ratio, cpus,          SOURCE's answer
//                    jobs <= 64 of [job, load, memory, scum]
//    9 Room          triad, term, ratio, cpus, memory,  SINK's answer
//                    accepts
//   10 Prepare       triad, term, job                   coordinator to SOURCE: this one next
//   11 Preflight     handover, requirement <= 48 KiB    SOURCE to SINK
//   12 PreflightDone handover, ok, reason               SINK to SOURCE
//   13 Prepared      triad, term, job, epoch, ok,       SOURCE to coordinator
//                    reason
//   14 EndReport     handover, end record, bytes u64    an end to the others: how far it is
//   15 Superseded    handover, epoch                    the job runs under this higher epoch
//   16 Decided       triad, outcome bin (log entry 1)   who lingers: it is dissolved, and this was
//                                                       the last begun handover and its outcome
// clang-format on
// handover = [triad, job, epoch]; roles = [cause, source, sink, third, job]; ratios, loads and
// scores are u64 millionths, CPUs u64 milli-CPUs, memory u64 bytes, each below 2^62.
//
// Every message is repeated until its answer or a later state makes it pointless; every handler
// takes doubles. What a node says about itself (EndReport, Gone, Answer) is durable before it is
// said, and stays true, so late messages do no harm.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "balance/limits.h"
#include "balance/record.h"
#include "base/ids.h"
#include "base/result.h"

namespace balance::wire {

struct GroupMessage {
  TriadId triad;
  base::Bytes bytes;
};
struct Propose {
  base::ProposalId proposal;
  Roles roles;
};
enum class AnswerCode : std::uint8_t { kBusy, kRolesDoNotFit, kPolicy, kFull };
struct Answer {
  base::ProposalId proposal;
  bool ok = false;
  AnswerCode code = AnswerCode::kBusy;
  std::string reason;
};
struct Cancel {
  base::ProposalId proposal;
};
struct Form {
  base::ProposalId proposal;
  FormRecord form;
};
struct FormStored {
  TriadId triad;
};
struct Gone {
  TriadId triad;
  bool dissolved = false;
  bool to_report = false;  // who knows of a higher epoch says Superseded instead
};
struct Ask {
  TriadId triad;
  Term term;
};
struct OfferedJob {
  JobId job;
  std::int64_t load_micros = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t scum_micros = 0;
};
struct Offer {
  TriadId triad;
  Term term;
  std::int64_t ratio_micros = 0;
  std::int64_t cpus_millis = 1000;
  std::vector<OfferedJob> jobs;
};
struct Room {
  TriadId triad;
  Term term;
  std::int64_t ratio_micros = 0;
  std::int64_t cpus_millis = 1000;
  std::int64_t memory_bytes = 0;
  bool accepts = false;
};
struct Prepare {
  TriadId triad;
  Term term;
  JobId job;
};
struct Preflight {
  HandoverId id;
  base::Bytes requirement;
};
struct PreflightDone {
  HandoverId id;
  bool ok = false;
  std::string reason;
};
struct Prepared {
  HandoverId id;
  Term term;
  bool ok = false;
  std::string reason;
};
struct EndReport {
  HandoverId id;
  EndRecord end;
  std::uint64_t bytes = 0;
};
struct Superseded {
  HandoverId id;
  Epoch epoch;
};
struct Decided {
  TriadId triad;
  OutcomeEntry outcome;
};

using Body =
    std::variant<GroupMessage, Propose, Answer, Cancel, Form, FormStored, Gone, Ask, Offer, Room,
                 Prepare, Preflight, PreflightDone, Prepared, EndReport, Superseded, Decided>;
struct Message {
  StoreId store;
  Body body;
};

// The triad that a message belongs to; none for proposals.
[[nodiscard]] const TriadId* triad_of(const Body& body);
// The caller keeps the limits; reasons are cut.
[[nodiscard]] base::Bytes encode(const Message& message);
[[nodiscard]] base::Result<Message> decode(base::ByteView bytes);

}  // namespace balance::wire
