// What Balance keeps on disk and writes into a triad's log, as bytes.
//
// All are MessagePack arrays that begin with a version (u64 = 1); ids are bin16, enumerations u64.
//
//   key                                record        fields after the version
//   own/<job>                          OwnRecord     epoch, next, at (node), resolved
//   acc/live                           Acceptance    proposal, from, store of from, cause, source,
//                                                    sink, third (zero: a pair), job
//   tri/<triad>/form                   StoredForm    proposal, proposer, form record (bin)
//   tri/<triad>/hard, tri/<triad>/log/<8 digits>     balance/group_wire.h
//   end/<triad>/<job>/<epoch>          EndRecord     state, acted, seal (bin32), stdout and stderr
//                                                    offsets, reason (text <= kReasonSizeMax)
//   lin/<triad>                        LingerRecord  stored form (bin), outcome (bin, log entry 1);
//                                                    takes the place of all tri/<triad>/
//
//   entry of the log   fields after version and kind
//   0 Begin            job, epoch, preflight_us
//   1 Outcome          job, epoch, decision, reason, stream_us, restore_us, bytes
//   2 Dissolve         -
//
// The form record is entry 1 of the log: cause, job (zero: whatever fits), members (2..3) of [node,
// store, seat + 1], 16 random bytes. The triad's id is BLAKE2b-128 of its encoding, so a member
// whose state folder is a new one is no member.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "balance/event.h"
#include "balance/limits.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/wire.h"

namespace balance {

struct Member {
  NodeId node;
  StoreId store;
  Seat seat = Seat::kCoordinator;
  friend bool operator==(const Member&, const Member&) = default;
};

struct FormRecord {
  Cause cause = Cause::kShed;
  JobId job;  // zero unless a person named one
  std::vector<Member> members;
  std::array<std::uint8_t, 16> random{};

  [[nodiscard]] const Member* member(const NodeId& node) const;  // null: no member
  [[nodiscard]] const Member* seat(Seat seat) const;             // null: a pair's coordinator
  [[nodiscard]] bool is_pair() const { return members.size() == 2; }
};

// The roles of a proposal; also what an acceptance promises.
struct Roles {
  Cause cause = Cause::kShed;
  NodeId source;
  NodeId sink;
  NodeId third;  // zero: a pair
  JobId job;     // zero unless a person named one
  friend bool operator==(const Roles&, const Roles&) = default;
  [[nodiscard]] std::vector<NodeId> nodes() const;
};
[[nodiscard]] Roles roles_of(const FormRecord& form);

struct Acceptance {
  base::ProposalId proposal;
  NodeId from;
  StoreId store;
  Roles roles;
};

struct StoredForm {
  base::ProposalId proposal;
  NodeId proposer;
  FormRecord form;
};

// Whose a job is. `epoch`: of the copy that may run, at `at` (zero: it is lost); `next`: the
// highest epoch that this store ever gave out or saw for the job (aborted ones stay burned).
struct OwnRecord {
  Epoch epoch;
  Epoch next;
  NodeId at;
  // By a person's word here, and no lower copy has confirmed since that it is gone: the record
  // outlives the job, so that a copy that comes back then still hears of the higher epoch.
  bool resolved = false;
};

// How far one end of a handover is, as its disk knows it. `acted`: what the state asks of the host
// is done (thawed, killed, let go, discarded), durably so.
enum class EndState : std::uint8_t {
  kSourceBegun,      // freezing, streaming
  kSourceSealed,     // only an outcome decides now
  kSourceWithdrawn,  // thaws by its own right, before the seal
  kSourceGoneAway,   // SINK let its copy go (or a higher epoch exists): kills what is here
  kSourceResumed,    // thaws after abort, or commit with void
  kSourceGone,       // abort, but the original is gone
  kSinkExpecting,    // receiving, restoring
  kSinkReady,        // held; only an outcome decides now
  kSinkFailed,       // never got ready: discards
  kSinkReleased,     // lets the copy run
  kSinkVoid,         // commit, but the copy is gone
  kSinkDiscarded,    // abort and SOURCE runs again (or a higher epoch exists): discards
  kResolvedHere,     // a person's word: this one runs, under a new epoch
};
inline constexpr EndState kEndStateLast = EndState::kResolvedHere;
[[nodiscard]] bool is_source_state(EndState state);
// The end has nothing left to do or to wait for, once `acted`.
[[nodiscard]] bool is_final_state(EndState state);
[[nodiscard]] const char* end_state_name(EndState state);

struct EndRecord {
  EndState state = EndState::kSourceBegun;
  bool acted = false;
  SealHash seal;
  OutputOffsets offsets;
  std::string reason;
};

struct BeginEntry {
  JobId job;
  Epoch epoch;
  base::Duration preflight{};
};
struct OutcomeEntry {
  JobId job;
  Epoch epoch;
  Decision decision = Decision::kAbort;
  std::string reason;
  base::Duration stream{};
  base::Duration restore{};
  std::uint64_t bytes = 0;
};
struct DissolveEntry {};
using LogEntry = std::variant<BeginEntry, OutcomeEntry, DissolveEntry>;

// Of a dissolved triad: the last begun handover, until both of its ends have confirmed.
struct LingerRecord {
  StoredForm stored;
  OutcomeEntry outcome;
};

[[nodiscard]] std::string own_key(const JobId& job);
[[nodiscard]] std::string end_key(const HandoverId& id);
[[nodiscard]] std::string triad_prefix(const TriadId& triad);  // "tri/<triad>/"
[[nodiscard]] std::string form_key(const TriadId& triad);
[[nodiscard]] std::string hard_key(const TriadId& triad);
[[nodiscard]] std::string log_key(const TriadId& triad, base::LogIndex index);
[[nodiscard]] std::string linger_key(const TriadId& triad);
inline constexpr const char* kAcceptanceKey = "acc/live";
[[nodiscard]] base::Result<JobId> parse_own_key(std::string_view key);
[[nodiscard]] base::Result<HandoverId> parse_end_key(std::string_view key);
// The id in any key that begins with "tri/<triad>/".
[[nodiscard]] base::Result<TriadId> parse_triad_key(std::string_view key);
[[nodiscard]] base::Result<TriadId> parse_linger_key(std::string_view key);

[[nodiscard]] base::Bytes encode(const FormRecord& record);
[[nodiscard]] base::Bytes encode(const Acceptance& record);
[[nodiscard]] base::Bytes encode(const StoredForm& record);
[[nodiscard]] base::Bytes encode(const OwnRecord& record);
[[nodiscard]] base::Bytes encode(const EndRecord& record);
[[nodiscard]] base::Bytes encode(const LogEntry& entry);
[[nodiscard]] base::Bytes encode(const LingerRecord& record);
// Besides the syntax: two or three members, distinct nodes, one SOURCE, one SINK, and a coordinator
// if and only if there are three.
[[nodiscard]] base::Result<FormRecord> decode_form(base::ByteView bytes);
[[nodiscard]] base::Result<Acceptance> decode_acceptance(base::ByteView bytes);
[[nodiscard]] base::Result<StoredForm> decode_stored_form(base::ByteView bytes);
[[nodiscard]] base::Result<OwnRecord> decode_own(base::ByteView bytes);
[[nodiscard]] base::Result<EndRecord> decode_end(base::ByteView bytes);
[[nodiscard]] base::Result<LogEntry> decode_log_entry(base::ByteView bytes);
[[nodiscard]] base::Result<OutcomeEntry> decode_outcome(base::ByteView bytes);  // such an entry
[[nodiscard]] base::Result<LingerRecord> decode_linger(base::ByteView bytes);
[[nodiscard]] TriadId triad_id_of(const FormRecord& record);

// Shared with balance/wire.
void put_roles(base::Writer& out, const Roles& roles);
[[nodiscard]] Roles get_roles(base::Reader& in);
void put_handover_id(base::Writer& out, const HandoverId& id);
[[nodiscard]] HandoverId get_handover_id(base::Reader& in);
void put_end_record(base::Writer& out, const EndRecord& record);
[[nodiscard]] EndRecord get_end_record(base::Reader& in);
[[nodiscard]] std::string cut_reason(std::string_view reason);  // to kReasonSizeMax

}  // namespace balance
