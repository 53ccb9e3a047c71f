// CRIU's image streaming protocol (CRIU 4.2, criu/img-streamer.c and images/img-streamer.proto).
//
// One stream socket; every message is a 32-bit length in the machine's byte order (little-endian on
// what we support) and a protobuf message:
//
// | message | from | field | type   | limit | meaning                       |
// | request | CRIU | 1     | string | 255   | name of an image              |
// | reply   | us   | 1     | bool   |       | it exists (restore only)      |
//
// After a request (on restore: after a reply "exists") CRIU sends one byte that carries the other
// end of a pipe as SCM_RIGHTS. An image name is a plain file name: anything with a slash, a dot
// first or a character outside [A-Za-z0-9._-] is refused. Unknown fields are refused too: they
// would be a newer protocol whose meaning we do not know.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace criu {

inline constexpr std::size_t kHeaderSize = 4;

// The size that a header announces. kTooLarge over kRequestSizeMax, kInvalid for an empty message.
[[nodiscard]] base::Result<std::size_t> decode_header(base::ByteView header);
// The name in a request's body (without header). kInvalid, kTooLarge.
[[nodiscard]] base::Result<std::string> decode_request(base::ByteView body);
[[nodiscard]] bool valid_image_name(std::string_view name);

// For the serving side, and for tests that play CRIU. Header included.
[[nodiscard]] base::Bytes encode_reply(bool exists);
[[nodiscard]] base::Bytes encode_request(std::string_view name);

}  // namespace criu
