#include "transfer/secure_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::MutableByteView;
using base::Result;
using base::Secret;
using base::Status;

constexpr std::size_t kLengthSize = 2;  // of a handshake message
constexpr std::size_t kVersionSize = 2;
constexpr std::size_t kEndRecordSize = kRecordOverhead;
static_assert(base::crypto::kTagSize == kRecordTagSize);

std::uint8_t suite_byte(Cipher cipher) {
  return static_cast<std::uint8_t>(cipher == Cipher::kAesGcm ? Suite::kAesGcm : Suite::kChaChaPoly);
}

// By memcpy: std::copy over spans is a byte loop without optimisation, and this is the hot path.
void copy_bytes(ByteView from, MutableByteView to) {
  CHECK(from.size() <= to.size());
  if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
}

std::size_t cost(const Data& data) { return data.bytes.size() + kReceivedRecordCost; }

}  // namespace

SecureStream::SecureStream(StreamConfig config)
    : config_(std::move(config)),
      phase_(config_.initiator ? Phase::kReply : Phase::kPreface),
      inbox_wanted_(kPrefaceSize) {
  CHECK(config_.payload.size() <= kHandshakePayloadMax);
  CHECK(config_.rekey_records > 0);
  CHECK(config_.versions.lowest > 0);
  CHECK(config_.versions.lowest <= config_.versions.highest);
  if (config_.aes_allowed) CHECK(base::crypto::aes_available());
  if (!config_.initiator) return;
  preface_.mesh = config_.mesh;
  preface_.suite = suite_byte(config_.suite);
  preface_.versions = config_.versions;
  preface_.by_ticket = config_.ticket.has_value();
  if (config_.ticket) preface_.ticket_id = config_.ticket->id;
  prologue_ = encode_preface(preface_);
  output_.append(prologue_);
  std::optional<Secret<32>> psk;
  if (config_.ticket) psk = std::move(config_.ticket->psk);
  start_handshake(std::move(psk));
  Bytes message1;
  CHECK(write_message({}, message1));
  output_.append(message1);
}

void SecureStream::start_handshake(std::optional<Secret<32>> psk) {
  noise::HandshakeConfig noise;
  noise.pattern = preface_.by_ticket ? noise::Pattern::kXXpsk3 : noise::Pattern::kXX;
  noise.cipher =
      preface_.suite == suite_byte(Cipher::kAesGcm) ? Cipher::kAesGcm : Cipher::kChaChaPoly;
  noise.initiator = config_.initiator;
  noise.prologue = prologue_;
  noise.static_key = std::move(config_.static_key);
  noise.ephemeral = std::move(config_.ephemeral);
  noise.psk = std::move(psk);
  handshake_.emplace(std::move(noise));
  inbox_.clear();
  inbox_wanted_ = kLengthSize;
}

// Appends a length and the next handshake message to `out`. False: closed.
bool SecureStream::write_message(ByteView payload, Bytes& out) {
  auto message = handshake_->write_message(payload);
  if (!message) {
    close(message.error());
    return false;
  }
  CHECK(message->size() <= kHandshakeMessageMax);
  out.resize(kLengthSize);
  put_le16(out, static_cast<std::uint16_t>(message->size()));
  out.insert(out.end(), message->begin(), message->end());
  return true;
}

void SecureStream::close(base::Error error) {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  handshake_.reset();
  keys_.reset();
  inbox_.clear();
  message3_.clear();
  body_ = Buffer();
  prepared_ = {};
  events_.emplace_back(Failed{std::move(error)});
}

void SecureStream::refuse() { close(fail(Code::kRefused, "the connection was refused here")); }

bool SecureStream::wants_input() const {
  if (phase_ == Phase::kPsk || phase_ == Phase::kVerdict) return false;
  return phase_ != Phase::kOpen || header_have_ > 0 || received_cost_ < kReceivedMax;
}

std::size_t SecureStream::feed(ByteView input) {
  std::size_t taken = 0;
  while (taken < input.size() && wants_input()) taken += feed_some(input.subspan(taken));
  return taken;
}

std::size_t SecureStream::feed_some(ByteView input) {
  switch (phase_) {
    case Phase::kPreface:
      return feed_preface(input);
    case Phase::kReply:
      on_reply(input[0]);
      return 1;
    case Phase::kHandshake:
      return feed_handshake(input);
    case Phase::kOpen:
      return feed_record(input);
    case Phase::kPsk:
    case Phase::kVerdict:
      return 0;
    case Phase::kClosed:
      return input.size();
  }
  return 0;
}

void SecureStream::feed_end() {
  if (phase_ == Phase::kOpen && received_end_) return;
  close(fail(Code::kTruncated, phase_ == Phase::kOpen
                                   ? "the connection was closed without its end"
                                   : "the connection was closed during the handshake"));
}

std::size_t SecureStream::collect(ByteView input, std::size_t wanted) {
  const std::size_t step = std::min(input.size(), wanted - inbox_.size());
  inbox_.insert(inbox_.end(), input.begin(), input.begin() + static_cast<std::ptrdiff_t>(step));
  return step;
}

std::size_t SecureStream::feed_preface(ByteView input) {
  const std::size_t step = collect(input, inbox_wanted_);
  if (inbox_.size() < inbox_wanted_) return step;
  if (inbox_wanted_ == kPrefaceSize) {
    const auto size = preface_size(inbox_);
    if (!size) {
      close(size.error());
      return step;
    }
    inbox_wanted_ = *size;
    if (inbox_.size() < inbox_wanted_) return step;
  }
  on_preface();
  return step;
}

void SecureStream::answer(Reply reply) {
  const std::uint8_t byte = static_cast<std::uint8_t>(reply);
  output_.append(ByteView(&byte, 1));
}

void SecureStream::on_preface() {
  auto preface = decode_preface(inbox_);
  if (!preface) return close(preface.error());
  preface_ = *preface;
  prologue_ = std::move(inbox_);
  inbox_ = {};
  if (preface_.mesh != config_.mesh) {
    return close(fail(Code::kRefused, "the peer belongs to another mesh"));
  }
  if (preface_.by_ticket && !config_.tickets_allowed) {
    return close(fail(Code::kRefused, "tickets are not redeemed here"));
  }
  const bool suite_known = preface_.suite == suite_byte(Cipher::kChaChaPoly) ||
                           (preface_.suite == suite_byte(Cipher::kAesGcm) && config_.aes_allowed);
  if (!suite_known) {
    answer(Reply::kSuiteRefused);
    return close(fail(Code::kUnsupported, "the peer's cipher suite was refused"));
  }
  version_ = std::min(preface_.versions.highest, config_.versions.highest);
  if (version_ < std::max(preface_.versions.lowest, config_.versions.lowest)) {
    answer(Reply::kNoVersion);
    return close(fail(Code::kUnsupported, "no protocol version in common with the peer"));
  }
  if (preface_.by_ticket) {
    phase_ = Phase::kPsk;
    events_.emplace_back(NeedPsk{preface_.ticket_id});
    return;
  }
  start_handshake(std::nullopt);
  phase_ = Phase::kHandshake;
}

void SecureStream::provide_psk(Secret<32> psk) {
  CHECK(phase_ == Phase::kPsk);
  start_handshake(std::move(psk));
  phase_ = Phase::kHandshake;
}

void SecureStream::on_reply(std::uint8_t reply) {
  switch (static_cast<Reply>(reply)) {
    case Reply::kGoOn:
      phase_ = Phase::kHandshake;
      return;
    case Reply::kSuiteRefused:
      if (config_.suite == Cipher::kAesGcm) events_.emplace_back(SuiteRefused{});
      return close(fail(Code::kUnsupported, "the peer refused the cipher suite"));
    case Reply::kNoVersion:
      return close(fail(Code::kUnsupported, "no protocol version in common with the peer"));
  }
  close(fail(Code::kInvalid, "the peer does not speak tern's protocol"));
}

std::size_t SecureStream::feed_handshake(ByteView input) {
  const std::size_t step = collect(input, inbox_wanted_);
  if (inbox_.size() < inbox_wanted_) return step;
  if (inbox_wanted_ == kLengthSize) {
    const std::size_t length = get_le16(inbox_);
    if (length == 0 || length > kHandshakeMessageMax) {
      close(fail(Code::kTooLarge, "a handshake message has a bad length"));
      return step;
    }
    inbox_wanted_ = kLengthSize + length;
    return step;
  }
  const Bytes message = std::exchange(inbox_, {});
  inbox_wanted_ = kLengthSize;
  on_message(ByteView(message).subspan(kLengthSize));
  return step;
}

void SecureStream::on_message(ByteView message) {
  auto payload = handshake_->read_message(message);
  if (!payload) return close(payload.error());
  if (handshake_->done()) return on_last_message(std::move(*payload));
  Bytes reply;
  if (!config_.initiator) {
    if (!payload->empty()) return close(fail(Code::kInvalid, "a first message has a payload"));
    Bytes told(kVersionSize);
    put_le16(told, version_);
    told.insert(told.end(), config_.payload.begin(), config_.payload.end());
    if (!write_message(told, reply)) return;
    answer(Reply::kGoOn);
    output_.append(reply);
    return;
  }
  if (payload->size() < kVersionSize) {
    return close(fail(Code::kInvalid, "the peer names no protocol version"));
  }
  version_ = get_le16(*payload);
  if (version_ < config_.versions.lowest || version_ > config_.versions.highest) {
    return close(fail(Code::kInvalid, "the peer chose a version that was not offered"));
  }
  if (!write_message(config_.payload, message3_)) return;
  payload->erase(payload->begin(), payload->begin() + kVersionSize);
  on_last_message(std::move(*payload));
}

void SecureStream::on_last_message(Bytes payload) {
  HandshakeDone done;
  done.remote_static = *handshake_->remote_static();
  done.payload = std::move(payload);
  done.handshake_hash = handshake_->handshake_hash();
  done.version = version_;
  done.by_ticket = preface_.by_ticket;
  keys_.emplace(handshake_->split());
  handshake_.reset();
  phase_ = Phase::kVerdict;
  events_.emplace_back(std::move(done));
}

void SecureStream::accept() {
  CHECK(phase_ == Phase::kVerdict);
  phase_ = Phase::kOpen;
  if (!message3_.empty()) output_.append(message3_);
  message3_ = {};
}

std::optional<StreamEvent> SecureStream::next_event() {
  if (events_.empty()) return std::nullopt;
  StreamEvent event = std::move(events_.front());
  events_.pop_front();
  if (const Data* data = std::get_if<Data>(&event)) received_cost_ -= cost(*data);
  return event;
}

// ---- records out

std::size_t SecureStream::output_room() const {
  if (phase_ != Phase::kOpen || sent_end_) return 0;
  const std::size_t used = output_.size() + kRecordOverhead;
  return used >= kOutputMax ? 0 : std::min(kOutputMax - used, kRecordDataMax);
}

Result<MutableByteView> SecureStream::prepare(std::size_t size) {
  if (phase_ != Phase::kOpen || sent_end_) return fail(Code::kRefused, "the stream is not open");
  if (size == 0) return fail(Code::kInvalid, "a record without data");
  if (size > kRecordDataMax) return fail(Code::kTooLarge, "more than one record holds");
  if (size > output_room()) return fail(Code::kFull, "the stream's output is full");
  prepared_ = output_.reserve(kRecordOverhead + size);
  return prepared_.subspan(kRecordHeaderSize + kRecordTypeSize, size);
}

void SecureStream::commit(std::size_t used) {
  CHECK(used > 0);
  CHECK(used + kRecordOverhead <= prepared_.size());
  seal_record(RecordType::kData, used);
}

Status SecureStream::send(std::initializer_list<ByteView> parts) {
  std::size_t size = 0;
  for (const ByteView part : parts) {
    if (part.size() > kRecordDataMax - size) {
      return fail(Code::kTooLarge, "more than one record holds");
    }
    size += part.size();
  }
  const auto space = prepare(size);
  if (!space) return space.error();
  std::size_t at = 0;
  for (const ByteView part : parts) {
    copy_bytes(part, space->subspan(at));
    at += part.size();
  }
  commit(size);
  return {};
}

Status SecureStream::finish() {
  if (phase_ != Phase::kOpen || sent_end_) return fail(Code::kRefused, "the stream is not open");
  prepared_ = output_.reserve(kEndRecordSize);  // beyond the limit, if need be: an end always fits
  seal_record(RecordType::kEnd, 0);
  sent_end_ = true;
  return {};
}

// Seals `size` bytes of data that stand in prepared_ after header and type.
void SecureStream::seal_record(RecordType type, std::size_t size) {
  const std::size_t length = kRecordTypeSize + size + kRecordTagSize;
  const MutableByteView header = prepared_.first(kRecordHeaderSize);
  const MutableByteView body = prepared_.subspan(kRecordHeaderSize, length);
  put_le16(header, static_cast<std::uint16_t>(length));
  body[0] = static_cast<std::uint8_t>(type);
  // Fails only after 2^64 records.
  CHECK(keys_->send.seal(header, body.first(kRecordTypeSize + size), body).ok());
  if (keys_->send.nonce() % config_.rekey_records == 0) keys_->send.rekey();
  output_.commit(kRecordHeaderSize + length);
  prepared_ = {};
}

// ---- records in

std::size_t SecureStream::feed_record(ByteView input) {
  if (received_end_) {
    close(fail(Code::kInvalid, "bytes after the end of the stream"));
    return input.size();
  }
  std::size_t taken = 0;
  while (header_have_ < kRecordHeaderSize) {
    if (taken == input.size()) return taken;
    header_[header_have_++] = input[taken++];
  }
  const std::size_t length = get_le16(header_);
  if (length < kRecordTypeSize + kRecordTagSize || length > kRecordSizeMax - kRecordHeaderSize) {
    close(fail(Code::kTooLarge, "a record has a bad length"));
    return input.size();
  }
  const ByteView rest = input.subspan(taken);
  if (rest.empty()) return taken;
  const bool whole = body_.empty() && rest.size() >= length;
  if (body_.empty()) {
    body_ = Buffer(whole ? length - kRecordTagSize : length);
    body_have_ = 0;
  }
  ByteView sealed = rest.first(std::min(rest.size(), length - body_have_));
  taken += sealed.size();
  if (!whole) {
    copy_bytes(sealed, body_.mutable_view().subspan(body_have_));
    body_have_ += sealed.size();
    if (body_have_ < length) return taken;
    sealed = body_.view();
  }
  if (auto opened = keys_->receive.open(header_, sealed, body_.mutable_view()); !opened) {
    close(opened.error());
    return taken;
  }
  if (!whole) body_.drop_back(kRecordTagSize);
  if (keys_->receive.nonce() % config_.rekey_records == 0) keys_->receive.rekey();
  header_have_ = 0;
  body_have_ = 0;
  on_record(std::exchange(body_, Buffer()));
  return taken;
}

void SecureStream::on_record(Buffer plain) {
  const RecordType type{plain.view()[0]};
  plain.drop_front(kRecordTypeSize);
  if (type == RecordType::kData && !plain.empty()) {
    Data data{std::move(plain)};
    received_cost_ += cost(data);
    events_.emplace_back(std::move(data));
    return;
  }
  if (type == RecordType::kEnd && plain.empty()) {
    received_end_ = true;
    events_.emplace_back(EndOfStream{});
    return;
  }
  close(fail(Code::kInvalid, "a record of an unknown kind"));
}

}  // namespace transfer
