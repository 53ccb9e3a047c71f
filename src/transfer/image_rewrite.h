// Changes in CRIU's images (image_schema.h says what one is), for whoever has checked them or made
// them. Pages and other raw bytes are not for this.
#pragma once

#include <functional>

#include "base/bytes.h"
#include "transfer/image_stream.h"
#include "transfer/protobuf.h"

namespace transfer::images {

[[nodiscard]] base::Bytes whole(const Image& image);
// Entry by entry, as far as they are whole. What is changed to nothing goes.
void each_entry(base::ByteView image, const std::function<void(base::ByteView)>& visit);
void add_entry(Image& image, base::ByteView entry);
void rewrite(Image& image, const std::function<base::Bytes(base::ByteView)>& change);
// Only entries that are wanted; an image without them stays as it is.
void rewrite_where(Image& image, const std::function<bool(base::ByteView)>& wanted,
                   const std::function<base::Bytes(base::ByteView)>& change);
// `message` with each field as `change` leaves it; what the field then borrows must last as long.
[[nodiscard]] base::Bytes changed(base::ByteView message,
                                  const std::function<void(protobuf::Field&)>& change);
// One more field; of those that are no list the last one counts.
void append(base::Bytes& message, const protobuf::Field& field);

}  // namespace transfer::images
