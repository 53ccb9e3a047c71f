#include "daemon/entropy.h"

#include <sodium.h>

namespace ternd {

void fill_random(base::MutableByteView out) { randombytes_buf(out.data(), out.size()); }

base::Secret<32> random_secret() {
  base::Secret<32> secret;
  fill_random(secret.mutable_view());
  return secret;
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  randombytes_buf(&seed, sizeof(seed));
  return seed;
}

}  // namespace ternd
