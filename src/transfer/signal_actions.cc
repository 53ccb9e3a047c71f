#include "transfer/signal_actions.h"

#include "transfer/protobuf.h"

namespace transfer {
namespace {

constexpr std::uint32_t kActions = 15;  // of the task
constexpr std::uint32_t kHandler = 1;
constexpr std::uint32_t kFlags = 2;

// Signals as every machine that CRIU knows numbers them (signal(7)). Of these two there is no
// entry: nobody can act on them.
constexpr int kKill = 9;
constexpr int kStop = 19;
constexpr int kLast = 64;

}  // namespace

std::map<int, SignalAction> signal_actions(base::ByteView task) {
  std::map<int, SignalAction> actions;
  int signal = 0;
  protobuf::Reader reader(task);
  while (const auto field = reader.next()) {
    if (field->number != kActions) continue;
    do ++signal;
    while (signal == kKill || signal == kStop);
    if (signal > kLast) return {};
    actions[signal] = {protobuf::number_of(field->bytes, kHandler),
                       protobuf::number_of(field->bytes, kFlags)};
  }
  if (signal != kLast) return {};
  return actions;
}

}  // namespace transfer
