// Messages of balance, and whatever a store might hold: taken or refused, and written back alike.
#include <cstddef>
#include <cstdint>

#include "balance/wire.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::ByteView input(data, size);
  auto message = balance::wire::decode(input);
  if (message) {
    const base::Bytes bytes = balance::wire::encode(*message);
    CHECK(bytes.size() <= balance::kMessageSizeMax);
    auto again = balance::wire::decode(bytes);
    CHECK(again.ok());
    CHECK(balance::wire::encode(*again) == bytes);
  }
  auto entry = balance::decode_log_entry(input);
  if (entry) CHECK(balance::decode_log_entry(balance::encode(*entry)).ok());
  auto form = balance::decode_form(input);
  if (form)
    CHECK(balance::triad_id_of(*balance::decode_form(balance::encode(*form))) ==
          balance::triad_id_of(*form));
  auto own = balance::decode_own(input);
  if (own) CHECK(balance::decode_own(balance::encode(*own)).ok());
  auto end = balance::decode_end(input);
  if (end) CHECK(balance::decode_end(balance::encode(*end)).ok());
  auto linger = balance::decode_linger(input);
  if (linger) CHECK(balance::decode_linger(balance::encode(*linger)).ok());
  (void)balance::decode_acceptance(input).ok();
  (void)balance::decode_stored_form(input).ok();
  (void)balance::parse_end_key(base::as_text(input)).ok();
  (void)balance::parse_own_key(base::as_text(input)).ok();
  (void)balance::parse_triad_key(base::as_text(input)).ok();
  (void)balance::parse_linger_key(base::as_text(input)).ok();
  return 0;
}
