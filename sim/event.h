// What lies in the world's event queue. Each belongs to a host (an index) and, unless it is the
// world's own, to one life of its daemon: what was meant for an earlier life is dropped. What is
// rare and large lies elsewhere (On), so that the many small ones are cheap to keep and to move.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "balance/event.h"
#include "node/event.h"
#include "node/move_metadata.h"

namespace sim {

template <typename T>
using On = std::unique_ptr<const T>;
template <typename T>
[[nodiscard]] On<T> on(const T& what) {
  return std::make_unique<const T>(what);
}

// ---- from the network
struct Datagram {
  base::Endpoint from;
  base::Endpoint to;
  base::Bytes bytes;
  std::uint64_t twin = 0;  // of one that comes more than once: which
  std::uint32_t by = 0;    // who sent it; it may have moved since
};
inline constexpr std::uint64_t kAnyConnection = UINT64_MAX;
struct MemberMessage {
  std::uint32_t from = 0;
  std::uint64_t connection = 0;  // its generation: a reset one delivers nothing
  base::Bytes bytes;
  base::Endpoint at;  // where its sender was
};
struct Handshake {  // both ends learn each other
  std::uint32_t with = 0;
  bool called = false;  // by this end
};
// ---- of a daemon's own life
struct TickDue {
  base::Time wanted{};
};
struct Synced {};
struct JobsDone {  // a job operation's time has come
  On<node::jobs::Action> action;
};
struct ActionDone {  // ReadLog, SignalJob, MoveStored
  On<node::Action> action;
};
struct MoveDone {  // one of balance's host operations; `stage` counts within it
  On<balance::Action> action;
  std::uint32_t stage = 0;
};
struct SealArrives {
  balance::HandoverId id;
  std::uint32_t from = 0;
  On<node::MoveMetadata> metadata;
  std::uint32_t tries = 0;
};
struct ReportAgain {
  On<balance::Event> event;
};
// ---- of a machine, whatever daemon runs
struct SampleDue {};
struct OutputDue {};
struct JobEnds {
  std::uint64_t version = 0;
};
struct SinkBroken {  // the stream that SINK was receiving broke off
  balance::HandoverId id;
};
// ---- of the world
struct StartDue {};
struct JobArrives {
  std::uint32_t job = 0;
};
struct FaultBegins {
  std::uint32_t fault = 0;  // index into the scenario's
};
struct FaultEnds {
  std::uint32_t fault = 0;
};
struct PersonSpeaks {
  std::uint32_t person = 0;
  bool lifts = false;  // the drain that she asked for
};
struct StopDue {  // a daemon that was told to stop: is it done?
  base::Time by{};
  bool withdrawing = false;
};
struct Rescan {};

using Payload =
    std::variant<Datagram, MemberMessage, Handshake, TickDue, Synced, JobsDone, ActionDone,
                 MoveDone, SealArrives, ReportAgain, SampleDue, OutputDue, JobEnds, SinkBroken,
                 StartDue, JobArrives, FaultBegins, FaultEnds, PersonSpeaks, StopDue, Rescan>;

struct Event {
  std::uint32_t host = 0;
  std::uint64_t life = 0;  // 0: of no life
  Payload payload;
};
static_assert(sizeof(Event) <= 112);

}  // namespace sim
