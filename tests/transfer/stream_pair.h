// Two ends of a SecureStream and the wire between them, for tests.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "base/rng.h"
#include "transfer/secure_stream.h"

namespace transfer {

inline base::Bytes to_owned(const Buffer& buffer) { return base::to_bytes(buffer.view()); }

inline base::crypto::DhKey test_key(std::uint8_t fill) {
  return base::crypto::dh_key_from_secret(base::Secret<32>(base::Bytes(32, fill)));
}

inline base::Secret<32> test_psk(std::uint8_t fill = 0x55) {
  return base::Secret<32>(base::Bytes(32, fill));
}

struct EndOptions {
  bool initiator = true;
  std::uint8_t mesh = 1;
  VersionRange versions;
  Cipher suite = Cipher::kChaChaPoly;
  bool ticket = false;
  std::uint64_t rekey = kRekeyRecords;
  bool aes_allowed = false;
  bool tickets_allowed = true;
};

inline StreamConfig test_config(const EndOptions& options) {
  StreamConfig config;
  config.initiator = options.initiator;
  config.mesh.bytes.fill(options.mesh);
  config.versions = options.versions;
  config.static_key = test_key(options.initiator ? 0x11 : 0x22);
  config.ephemeral = base::Secret<32>(base::Bytes(32, options.initiator ? 0x33 : 0x44));
  config.payload = base::to_bytes(
      base::as_bytes(options.initiator ? "initiator's certificate" : "responder's certificate"));
  config.suite = options.suite;
  if (options.ticket) {
    config.ticket = Ticket{.id = {}, .psk = test_psk()};
    config.ticket->id.bytes.fill(0x77);
  }
  config.aes_allowed = options.aes_allowed;
  config.tickets_allowed = options.tickets_allowed;
  config.rekey_records = options.rekey;
  return config;
}

inline SecureStream test_end(const EndOptions& options) {
  return SecureStream(test_config(options));
}

// One end with everything that it told: answers as a friendly host would, unless told not to.
struct End {
  explicit End(const EndOptions& options) : stream(test_end(options)) {}

  SecureStream stream;
  bool accepts = true;
  std::optional<base::Secret<32>> psk = test_psk();
  std::optional<HandshakeDone> done;
  std::vector<base::Bytes> records;
  std::optional<base::Error> failed;
  bool ended = false;
  bool suite_refused = false;
  std::size_t events_after_failure = 0;

  void take_events() {
    while (auto event = stream.next_event()) {
      if (failed) ++events_after_failure;
      if (auto* data = std::get_if<Data>(&*event)) records.push_back(to_owned(data->bytes));
      if (auto* error = std::get_if<Failed>(&*event)) failed = error->error;
      if (std::holds_alternative<EndOfStream>(*event)) ended = true;
      if (std::holds_alternative<SuiteRefused>(*event)) suite_refused = true;
      if (std::holds_alternative<NeedPsk>(*event)) {
        psk ? stream.provide_psk(psk->clone()) : stream.refuse();
      }
      if (auto* handshake = std::get_if<HandshakeDone>(&*event)) {
        done = std::move(*handshake);
        if (accepts) stream.accept();
      }
    }
  }
  // Everything that waits to be written.
  base::Bytes take_output() {
    base::Bytes out;
    while (stream.pending_size() > 0) {
      const base::ByteView view = stream.pending_output();
      out.insert(out.end(), view.begin(), view.end());
      stream.consume_output(view.size());
    }
    return out;
  }
  // Feeds in pieces of `piece` bytes until all is taken or nothing more is; returns what was taken.
  std::size_t feed(base::ByteView input, std::size_t piece = SIZE_MAX) {
    std::size_t at = 0;
    while (at < input.size()) {
      const auto part = input.subspan(at, std::min(piece, input.size() - at));
      const std::size_t taken = stream.feed(part);
      take_events();
      at += taken;
      if (taken == 0 && !stream.wants_input()) break;
    }
    take_events();
    return at;
  }
};

// Passes bytes to and fro until both are silent.
inline void settle(End& a, End& b, std::size_t piece = SIZE_MAX) {
  a.take_events();
  b.take_events();
  while (a.stream.pending_size() + b.stream.pending_size() > 0) {
    b.feed(a.take_output(), piece);
    a.feed(b.take_output(), piece);
  }
}

}  // namespace transfer
