// Images as CRIU writes them, for tests: two magics, then each entry with its size in front.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "transfer/image_rewrite.h"

namespace transfer::testing {

inline protobuf::Field number(std::uint32_t which, std::uint64_t value) {
  return {which, protobuf::WireType::kVarint, value, {}};
}

inline Image image(const std::vector<base::Bytes>& entries) {
  Image out;
  Buffer magics(8);
  std::ranges::fill(magics.mutable_view(), std::uint8_t{7});
  out.size = magics.size();
  out.chunks.push_back(std::move(magics));
  for (const base::Bytes& entry : entries) images::add_entry(out, entry);
  return out;
}

}  // namespace transfer::testing
