// A fast stand-in for cryptography: keyed hashes of the same sizes that refuse what the real ones
// refuse (another key, another message, one changed byte, a low-order point, a short input).
//
// It keeps nothing secret and a forger who wanted could forge; the world's liars do not. Worlds run
// with either, by the scenario's word.
#pragma once

#include "base/crypto_backend.h"

namespace sim {

[[nodiscard]] const base::crypto::Backend* fast_crypto();

}  // namespace sim
