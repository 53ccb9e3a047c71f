// Control messages over a SecureStream's data records: u32 length and bytes, at most 64 KiB each.
// Messages are not aligned to records: a large one takes two, many small ones may share one.
//
// Sending appends whole messages or nothing. Receiving: give each Data to feed(), then take every
// message by next(); what a peer can make this hold is one message and one record.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "transfer/secure_stream.h"

namespace transfer {

// kFull: no room now, nothing was sent; kTooLarge: over kMessageSizeMax; kInvalid: empty; kRefused:
// the stream is not open.
[[nodiscard]] base::Status send_message(SecureStream& stream, base::ByteView message);

class MessageReader {
 public:
  // One record's data. kFull: messages wait that were not taken by next(); nothing was taken in.
  // kTooLarge, kInvalid: a bad length; the reader is then of no further use.
  [[nodiscard]] base::Status feed(base::ByteView data);
  [[nodiscard]] std::optional<base::Bytes> next();
  // Whether a message is only half here: at the end of a stream that is an error of the peer's.
  [[nodiscard]] bool in_message() const { return at_ < bytes_.size(); }

 private:
  [[nodiscard]] bool has_message() const;

  base::Bytes bytes_;
  std::size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace transfer
