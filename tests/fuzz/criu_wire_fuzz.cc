// CRIU's requests on its control socket.
#include "base/check.h"
#include "criu/limits.h"
#include "criu/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::ByteView input(data, size);
  if (size < criu::kHeaderSize) return 0;
  auto body = criu::decode_header(input.first(criu::kHeaderSize));
  if (!body) return 0;
  CHECK(*body <= criu::kRequestSizeMax);
  auto name = criu::decode_request(input.subspan(criu::kHeaderSize));
  if (!name) return 0;
  CHECK(criu::valid_image_name(*name));
  const base::Bytes again = criu::encode_request(*name);
  auto back = criu::decode_request(base::ByteView(again).subspan(criu::kHeaderSize));
  CHECK(back.ok());
  CHECK(*back == *name);
  return 0;
}
