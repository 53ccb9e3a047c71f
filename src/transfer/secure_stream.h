// An encrypted, authenticated stream of records over one TCP connection, both ways; wire.h has the
// bytes. Noise_XX between members, Noise_XXpsk3 to redeem a ticket (design.md §6).
//
//   initiator  kReply --0--> kHandshake --message 2--> kVerdict --accept()--> kOpen
//   responder  kPreface [--ticket--> kPsk --provide_psk()-->] kHandshake --message 3--> kVerdict
//              --accept()--> kOpen
//   any phase --mistake, refuse(), feed_end() too early--> kClosed
//
// What a host does: connects or listens; feeds what it reads and writes what pending_output()
// shows; takes every event; calls feed_end() when the peer closed and all its bytes were taken;
// sets its own deadline on the time until kOpen; after Failed or SuiteRefused writes what is
// still pending (a refusal is one byte) and closes.
//
// Rules and reasons:
//  - A stranger costs little: a responder computes nothing before the preface names its mesh and a
//    ticket that the host knows, and decodes nothing that is not authenticated but the preface.
//  - HandshakeDone says which static key the peer has proven, not that it may come in: the host
//    checks the certificate in `payload` against `remote_static`, then calls accept() or refuse().
//    Until accept() no record is opened, none is sent, and the initiator's identity (message 3)
//    has not left.
//  - A record is a unit: what one send() took arrives as one Data, in order, or not at all.
//  - An end is part of the stream: closed without it means cut off (kTruncated), whoever did it.
//  - Both buffers are bounded (limits.h): send() says kFull and feed() takes less than offered;
//    so a slow reader stops the source and no record is dropped.
//  - After every kRekeyRecords records a direction's key is replaced (Noise §4.2, Rekey), so that
//    a key stolen from memory opens little of the past and no cipher comes near its limit.
//  - AESGCM is offered only where both ends have the instructions. A responder without them
//    answers "suite refused"; the initiator connects again with ChaChaPoly. An attacker can force
//    that too, and gains nothing: both suites are sound, and the prologue binds the one in use.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>
#include <span>
#include <variant>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/secret.h"
#include "transfer/buffer.h"
#include "transfer/limits.h"
#include "transfer/noise.h"
#include "transfer/output_queue.h"
#include "transfer/wire.h"

namespace transfer {

using base::crypto::Cipher;

struct Ticket {
  base::TicketId id;  // BLAKE2b of the secret, as the ticket's format says
  base::Secret<32> psk;
};

struct StreamConfig {
  bool initiator = false;
  base::MeshId mesh;
  VersionRange versions;  // what this end speaks
  base::crypto::DhKey static_key;
  base::Secret<32> ephemeral;  // fresh entropy for every connection
  base::Bytes payload;         // told to the peer encrypted; at most kHandshakePayloadMax (CHECK)
  // The initiator's choice. kAesGcm only when base::crypto::aes_available() (CHECK).
  Cipher suite = Cipher::kChaChaPoly;
  std::optional<Ticket> ticket;  // XXpsk3
  // The responder's. aes_allowed only when base::crypto::aes_available() (CHECK).
  bool aes_allowed = false;
  bool tickets_allowed = false;
  std::uint64_t rekey_records = kRekeyRecords;  // other values are for tests; both ends the same
};

// Responder: answer with provide_psk() or refuse(). Nothing goes on until then.
struct NeedPsk {
  base::TicketId ticket_id;
};
// Answer with accept() or refuse().
struct HandshakeDone {
  base::crypto::DhPublic remote_static{};
  base::Bytes payload;
  base::crypto::Hash512 handshake_hash{};  // the same at both ends and nowhere else
  std::uint16_t version = 0;
  bool by_ticket = false;
};
struct Data {
  Buffer bytes;  // never empty
};
struct EndOfStream {};   // the peer will send nothing more; this end still may
struct SuiteRefused {};  // initiator with AESGCM: connect again with ChaChaPoly
// The last event. kInvalid, kTooLarge: not the protocol; kUnauthentic: damaged or wrong keys;
// kRefused: foreign mesh, tickets not taken, or refuse(); kUnsupported: no suite or version in
// common; kTruncated: closed without an end.
struct Failed {
  base::Error error;
};
using StreamEvent = std::variant<NeedPsk, HandshakeDone, Data, EndOfStream, SuiteRefused, Failed>;

class SecureStream {
 public:
  enum class Phase { kPreface, kPsk, kReply, kHandshake, kVerdict, kOpen, kClosed };

  explicit SecureStream(StreamConfig config);
  SecureStream(SecureStream&&) noexcept = default;
  SecureStream& operator=(SecureStream&&) noexcept = default;

  // ---- the connection's side
  // Takes a prefix of `input` and returns its size; the rest is to be offered again once
  // wants_input(). Any chunking gives the same events. After the end of the handshake a whole
  // record in `input` is opened straight out of it: reads of 256 KiB copy least.
  [[nodiscard]] std::size_t feed(base::ByteView input);
  [[nodiscard]] bool wants_input() const;
  void feed_end();  // the peer closed, and all that it sent was taken
  [[nodiscard]] base::ByteView pending_output() const { return output_.front(); }
  [[nodiscard]] std::size_t pending_output(std::span<base::ByteView> views) const {
    return output_.front(views);
  }
  [[nodiscard]] std::size_t pending_size() const { return output_.size(); }
  void consume_output(std::size_t count) { output_.consume(count); }
  [[nodiscard]] std::optional<StreamEvent> next_event();

  // ---- the host's answers
  void provide_psk(base::Secret<32> psk);  // legal in kPsk
  void accept();                           // legal in kVerdict
  void refuse();                           // any time; Failed(kRefused) follows unless closed

  // ---- records
  // How much one send() may hold now; 0 before accept(), after finish() and when closed.
  [[nodiscard]] std::size_t output_room() const;
  // One record of all parts together. kTooLarge: over kRecordDataMax; kFull: over output_room();
  // kInvalid: nothing in it; kRefused: not open, or finished. Nothing was taken then.
  [[nodiscard]] base::Status send(std::initializer_list<base::ByteView> parts);
  [[nodiscard]] base::Status send(base::ByteView data) { return send({data}); }
  // The same without a copy: fill the first `used` (1..size) bytes of what prepare() returns, which
  // is valid until the next call of any kind, then commit(used).
  [[nodiscard]] base::Result<base::MutableByteView> prepare(std::size_t size);
  void commit(std::size_t used);
  // The end of this direction. kRefused: not open, or finished before.
  [[nodiscard]] base::Status finish();

  [[nodiscard]] Phase phase() const { return phase_; }
  // Both directions ended in order: once nothing is pending, close.
  [[nodiscard]] bool done() const { return sent_end_ && received_end_; }

 private:
  [[nodiscard]] std::size_t feed_some(base::ByteView input);
  [[nodiscard]] std::size_t feed_preface(base::ByteView input);
  [[nodiscard]] std::size_t feed_handshake(base::ByteView input);
  [[nodiscard]] std::size_t feed_record(base::ByteView input);
  std::size_t collect(base::ByteView input, std::size_t wanted);
  void on_preface();
  void on_reply(std::uint8_t reply);
  void on_message(base::ByteView message);
  void on_last_message(base::Bytes payload);
  void on_record(Buffer plain);
  void answer(Reply reply);
  void start_handshake(std::optional<base::Secret<32>> psk);
  [[nodiscard]] bool write_message(base::ByteView payload, base::Bytes& out);
  void seal_record(RecordType type, std::size_t size);
  void close(base::Error error);

  StreamConfig config_;
  Phase phase_;
  Preface preface_;
  base::Bytes prologue_;
  base::Bytes inbox_;  // the preface, or a handshake message with its length, as far as it came
  std::size_t inbox_wanted_ = 0;
  std::optional<noise::HandshakeState> handshake_;
  base::Bytes message3_;  // the initiator's, held back until accept()
  std::uint16_t version_ = 0;

  std::optional<noise::HandshakeState::Transport> keys_;
  OutputQueue output_;
  base::MutableByteView prepared_;
  bool sent_end_ = false;

  std::array<std::uint8_t, kRecordHeaderSize> header_{};
  std::size_t header_have_ = 0;
  Buffer body_;  // of the record that is coming in
  std::size_t body_have_ = 0;
  bool received_end_ = false;

  std::deque<StreamEvent> events_;
  std::size_t received_cost_ = 0;  // of the Data events that wait
};

}  // namespace transfer
