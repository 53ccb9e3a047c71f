// HandshakeState::read_message, as initiator and responder of every pattern. The first byte picks
// the pattern, cipher and side; the rest is what the peer sends, messages of 2-byte lengths.
#include "base/check.h"
#include "transfer/noise.h"

using base::Bytes;
using base::ByteView;
using base::Secret;
using namespace transfer::noise;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = base::crypto::init().ok();
  CHECK(ready);
  if (size < 1) return 0;
  constexpr Pattern kPatterns[] = {Pattern::kNN, Pattern::kKK,     Pattern::kXK,    Pattern::kIK,
                                   Pattern::kXX, Pattern::kXXpsk3, Pattern::kIKpsk2};
  HandshakeConfig config;
  config.pattern = kPatterns[(data[0] >> 2) % std::size(kPatterns)];
  config.cipher =
      (data[0] & 1) != 0 && base::crypto::aes_available() ? Cipher::kAesGcm : Cipher::kChaChaPoly;
  config.initiator = (data[0] & 2) != 0;
  config.static_key = base::crypto::dh_key_from_secret(Secret<32>(Bytes(32, 1)));
  config.ephemeral = Secret<32>(Bytes(32, 2));
  config.remote_static = base::crypto::dh_key_from_secret(Secret<32>(Bytes(32, 3))).public_key;
  config.psk = Secret<32>(Bytes(32, 4));
  HandshakeState state(std::move(config));
  ByteView rest = ByteView(data, size).subspan(1);
  while (!state.done() && !state.failed()) {
    if (state.writes_next()) {
      (void)state.write_message(rest.first(std::min<std::size_t>(rest.size(), 8)));
      continue;
    }
    if (rest.size() < 2) return 0;
    const std::size_t wanted = rest[0] + 256U * rest[1];
    rest = rest.subspan(2);
    const std::size_t taken = std::min(wanted, rest.size());
    (void)state.read_message(rest.first(taken));
    rest = rest.subspan(taken);
  }
  if (state.done()) (void)state.split();
  return 0;
}
