// The only place that draws entropy (libsodium's randombytes, which asks the kernel).
#pragma once

#include "base/bytes.h"
#include "base/ids.h"
#include "base/secret.h"

namespace ternd {

void fill_random(base::MutableByteView out);
[[nodiscard]] base::Secret<32> random_secret();
[[nodiscard]] std::uint64_t random_seed();
template <typename IdType>
[[nodiscard]] IdType random_id() {
  IdType id;
  fill_random(id.bytes);
  return id;
}

}  // namespace ternd
