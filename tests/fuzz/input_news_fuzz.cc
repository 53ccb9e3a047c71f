// What a job's init, or anybody else of its user, may write into its news: a sound state or none.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "machine/input_client.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto state = machine::newest_input_state(base::ByteView(data, size));
  if (state) {
    CHECK(state->magic == init::kInputMagic);
    CHECK(state->taken <= INT64_MAX / 2);
    CHECK(state->session <= INT64_MAX);
  }
  return 0;
}
