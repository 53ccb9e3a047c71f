// The first byte picks the parser: certificates, tickets, joining, stored files.
#include "identity/join.h"
#include "identity/keys.h"
#include "identity/roster.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = base::crypto::init().ok();
  if (!ready || size == 0) return 0;
  const base::ByteView input(data + 1, size - 1);
  const base::WallTime now{1'800'000'000};
  switch (data[0] % 8) {
    case 0:
      (void)identity::verify(input, {}, now);
      break;
    case 1:
      (void)identity::split_chain(input);
      break;
    case 2:
      (void)identity::Ticket::parse(base::as_text(input));
      break;
    case 3:
      (void)identity::TicketBook::decode(input);
      break;
    case 4:
      (void)identity::decode_join_request(input, {});
      break;
    case 5:
      (void)identity::decode_join_reply(input);
      break;
    case 6:
      (void)identity::decode_keyring(input);
      break;
    default:
      (void)identity::Roster::decode(input, {}, now);
      break;
  }
  return 0;
}
