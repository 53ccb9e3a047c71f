// Base64 (RFC 4648 §4, with padding): job output inside JSON.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace control {

[[nodiscard]] std::string to_base64(base::ByteView bytes);
// kInvalid for another alphabet, line breaks, missing padding, or bits set that padding hides: a
// value has one encoding.
[[nodiscard]] base::Result<base::Bytes> from_base64(std::string_view text);

}  // namespace control
