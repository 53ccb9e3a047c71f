// What a source says a job needs, as the sink reads it: what is taken must be written back the
// same.
#include "base/check.h"
#include "machine/requirement.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto requirement = machine::decode_requirement({data, size});
  if (!requirement) return 0;
  auto bytes = machine::encode_requirement(*requirement);
  if (!bytes) return 0;  // wider integers than needed made room for it
  auto again = machine::decode_requirement(*bytes);
  CHECK(again.ok());
  CHECK(*again == *requirement);
  return 0;
}
