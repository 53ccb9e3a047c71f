#include "criu/wire.h"

#include "criu/limits.h"

namespace criu {
namespace {

constexpr std::uint8_t kTagName = 0x0a;    // field 1, length-delimited
constexpr std::uint8_t kTagExists = 0x08;  // field 1, varint

base::Bytes with_header(base::Bytes body) {
  base::Bytes out(kHeaderSize + body.size());
  base::put_le32(out, static_cast<std::uint32_t>(body.size()));
  std::copy(body.begin(), body.end(), out.begin() + kHeaderSize);
  return out;
}

}  // namespace

base::Result<std::size_t> decode_header(base::ByteView header) {
  CHECK(header.size() == kHeaderSize);
  const std::size_t size = base::get_le32(header);
  if (size == 0) return base::fail(base::Code::kInvalid, "an empty image request");
  if (size > kRequestSizeMax) {
    return base::fail(base::Code::kTooLarge,
                      "an image request of " + std::to_string(size) + " bytes");
  }
  return size;
}

base::Result<std::string> decode_request(base::ByteView body) {
  if (body.size() < 2 || body[0] != kTagName) {
    return base::fail(base::Code::kInvalid, "an image request without a name");
  }
  std::size_t at = 1;
  std::size_t size = body[at] & 0x7f;
  if ((body[at++] & 0x80) != 0) {  // names up to 255 need two bytes at most
    if (at == body.size() || (body[at] & 0x80) != 0) {
      return base::fail(base::Code::kInvalid, "an image request with a damaged length");
    }
    size |= static_cast<std::size_t>(body[at++]) << 7;
  }
  if (size > kImageNameSizeMax) {
    return base::fail(base::Code::kTooLarge, "an image name of " + std::to_string(size) + " bytes");
  }
  if (body.size() - at != size) {
    return base::fail(base::Code::kInvalid, "an image request whose length does not fit");
  }
  std::string name(base::as_text(body.subspan(at)));
  if (!valid_image_name(name)) {
    return base::fail(base::Code::kInvalid, "an image name that is no plain file name");
  }
  return name;
}

bool valid_image_name(std::string_view name) {
  if (name.empty() || name.size() > kImageNameSizeMax || name[0] == '.') return false;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

base::Bytes encode_reply(bool exists) {
  return with_header({kTagExists, static_cast<std::uint8_t>(exists ? 1 : 0)});
}

base::Bytes encode_request(std::string_view name) {
  CHECK(name.size() <= kImageNameSizeMax);
  base::Bytes body{kTagName};
  if (name.size() < 0x80) {
    body.push_back(static_cast<std::uint8_t>(name.size()));
  } else {
    body.push_back(static_cast<std::uint8_t>(0x80 | (name.size() & 0x7f)));
    body.push_back(static_cast<std::uint8_t>(name.size() >> 7));
  }
  body.insert(body.end(), name.begin(), name.end());
  return with_header(std::move(body));
}

}  // namespace criu
