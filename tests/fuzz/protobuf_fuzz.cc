// protobuf::Reader on any bytes: it ends, never reads past them, and its fields lie within them.
#include "base/check.h"
#include "transfer/protobuf.h"

using base::ByteView;
using namespace transfer::protobuf;

namespace {

void walk(ByteView message, int depth) {
  Reader reader(message);
  std::size_t fields = 0;
  while (const auto field = reader.next()) {
    CHECK(++fields <= message.size());
    CHECK(field->number > 0);
    CHECK(field->bytes.size() < message.size());
    if (field->type == WireType::kBytes && depth > 0) walk(field->bytes, depth - 1);
  }
  CHECK(!reader.next().has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  walk(ByteView(data, size), 4);
  return 0;
}
