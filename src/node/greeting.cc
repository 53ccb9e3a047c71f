#include "node/greeting.h"

#include "base/wire.h"
#include "identity/limits.h"

namespace node {
namespace {
constexpr std::uint64_t kVersion = 1;
}  // namespace

base::Bytes encode(const Greeting& greeting) {
  base::Writer w;
  w.array(3).u64(kVersion).bin(greeting.chain).u64(greeting.port);
  return w.take();
}

base::Result<Greeting> decode_greeting(base::ByteView bytes) {
  base::Reader r(bytes);
  Greeting greeting;
  r.array_of(3);
  if (r.u64() != kVersion) r.reject("an unknown version of a member's greeting");
  greeting.chain = base::to_bytes(r.bin(identity::kChainSizeMax));
  greeting.port = static_cast<std::uint16_t>(r.u64(UINT16_MAX));
  if (base::Status status = r.finish(); !status) return status.error();
  return greeting;
}

base::Bytes encode(Purpose purpose) { return {static_cast<std::uint8_t>(purpose)}; }

base::Result<Purpose> decode_purpose(base::ByteView record, bool by_ticket) {
  if (record.size() != 1 || record[0] < 1 || record[0] > 4) {
    return base::fail(base::Code::kInvalid, "an unknown purpose of a connection");
  }
  const auto purpose = static_cast<Purpose>(record[0]);
  if ((purpose == Purpose::kJoin) != by_ticket) {
    return base::fail(base::Code::kRefused,
                      by_ticket ? "a joiner wants more than to join" : "a member wants to join");
  }
  return purpose;
}

}  // namespace node
