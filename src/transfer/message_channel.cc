#include "transfer/message_channel.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace transfer {
namespace {

using base::ByteView;
using base::Code;
using base::fail;
using base::Status;

constexpr std::size_t kLengthSize = 4;
// A message needs at most two records.
static_assert(kLengthSize + kMessageSizeMax <= 2 * kRecordDataMax);

}  // namespace

Status send_message(SecureStream& stream, ByteView message) {
  if (message.empty()) return fail(Code::kInvalid, "an empty message");
  if (message.size() > kMessageSizeMax) return fail(Code::kTooLarge, "a message is too large");
  std::array<std::uint8_t, kLengthSize> length{};
  base::put_le32(length, static_cast<std::uint32_t>(message.size()));
  const std::size_t first = std::min(message.size(), kRecordDataMax - kLengthSize);
  const std::size_t rest = message.size() - first;
  if (rest > 0) {
    // Both records or none. An open stream with any room has none of the other refusals.
    const std::size_t needed = kLengthSize + message.size() + 2 * kRecordOverhead;
    if (stream.output_room() > 0 && stream.pending_size() + needed > kOutputMax) {
      return fail(Code::kFull, "the stream's output is full");
    }
  }
  if (auto sent = stream.send({length, message.first(first)}); !sent) return sent;
  if (rest > 0) CHECK(stream.send(message.subspan(first)).ok());
  return {};
}

Status MessageReader::feed(ByteView data) {
  if (failed_) return fail(Code::kInvalid, "the peer broke the message framing before");
  if (has_message()) return fail(Code::kFull, "messages wait to be taken");
  bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(at_));
  at_ = 0;
  bytes_.insert(bytes_.end(), data.begin(), data.end());
  // Lengths are checked here, up to the last one that is whole, so that next() cannot fail.
  std::size_t at = 0;
  while (bytes_.size() - at >= kLengthSize) {
    const std::size_t size = base::get_le32(ByteView(bytes_).subspan(at));
    if (size == 0 || size > kMessageSizeMax) {
      failed_ = true;
      bytes_.clear();
      return fail(size == 0 ? Code::kInvalid : Code::kTooLarge, "a message has a bad length");
    }
    if (bytes_.size() - at - kLengthSize < size) break;
    at += kLengthSize + size;
  }
  return {};
}

bool MessageReader::has_message() const {
  const ByteView rest = ByteView(bytes_).subspan(at_);
  return rest.size() >= kLengthSize && rest.size() - kLengthSize >= base::get_le32(rest);
}

std::optional<base::Bytes> MessageReader::next() {
  if (!has_message()) return std::nullopt;
  const ByteView rest = ByteView(bytes_).subspan(at_);
  const std::size_t size = base::get_le32(rest);
  at_ += kLengthSize + size;
  return base::to_bytes(rest.subspan(kLengthSize, size));
}

}  // namespace transfer
