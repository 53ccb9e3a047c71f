// What an encrypted stream costs: the raw cipher, records in memory, a pair of PeerStreams over
// loopback TCP (a thread and a loop each), and XX handshakes. Rates are bytes per second of CPU
// time of the busier end, which other work on the machine does not bend much, and of wall time.
//
//   stream_bench [MiB] [ROUNDS]   one line of `name value...` each: the best of its rounds
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "base/crypto.h"
#include "daemon/peer_stream.h"
#include "loop/handles.h"
#include "transfer/limits.h"
#include "transfer/secure_stream.h"

namespace {

using base::crypto::Cipher;
using transfer::kRecordDataMax;
using transfer::SecureStream;
using transfer::StreamConfig;

constexpr std::size_t kSourceSize = std::size_t{4} << 20;  // what is sent comes from here, in turn
constexpr std::size_t kCertificateSize = 400;              // about what a member shows
constexpr int kHandshakes = 500;

double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Spent {
  double cpu = 0;
  double wall = 0;
};

class Stopwatch {
 public:
  [[nodiscard]] Spent spent() const {
    return {seconds_of(CLOCK_THREAD_CPUTIME_ID) - cpu_, seconds_of(CLOCK_MONOTONIC) - wall_};
  }

 private:
  double cpu_ = seconds_of(CLOCK_THREAD_CPUTIME_ID);
  double wall_ = seconds_of(CLOCK_MONOTONIC);
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "stream_bench: %s\n", why.c_str());
  std::exit(1);
}

base::Secret<32> secret_of(std::uint8_t value) {
  base::Secret<32> secret;
  std::memset(secret.mutable_view().data(), value, 32);
  return secret;
}

StreamConfig config_of(bool initiator, Cipher suite, std::uint8_t salt) {
  StreamConfig config;
  config.initiator = initiator;
  config.versions = {1, 1};
  config.static_key = base::crypto::dh_key_from_secret(secret_of(initiator ? 1 : 2));
  config.ephemeral = secret_of(static_cast<std::uint8_t>(initiator ? 3 + salt : 131 + salt % 100));
  config.payload.assign(kCertificateSize, 7);
  config.suite = suite;
  config.aes_allowed = base::crypto::aes_available();
  return config;
}

const char* name_of(Cipher suite) { return suite == Cipher::kAesGcm ? "aes" : "chacha"; }

// Moves what is pending from one end to the other; true when anything moved.
bool carry(SecureStream& from, SecureStream& to) {
  bool moved = false;
  while (from.pending_size() > 0) {
    const std::size_t taken = to.feed(from.pending_output());
    from.consume_output(taken);
    if (taken == 0) break;
    moved = true;
  }
  return moved;
}

void shake_hands(SecureStream& a, SecureStream& b) {
  while (a.phase() != SecureStream::Phase::kOpen || b.phase() != SecureStream::Phase::kOpen) {
    bool moved = carry(a, b) || carry(b, a);
    for (SecureStream* end : {&a, &b}) {
      while (auto event = end->next_event()) {
        if (!std::holds_alternative<transfer::HandshakeDone>(*event)) give_up("handshake");
        end->accept();
        moved = true;
      }
    }
    if (!moved) give_up("handshake stands still");
  }
}

// Seals and opens, in place, one record's worth: the floor under everything below.
void raw_cipher(Cipher suite, std::size_t size, int rounds) {
  const base::crypto::SealKey key(suite, secret_of(9));
  base::Bytes plain(kRecordDataMax, 1);
  base::Bytes sealed(kRecordDataMax + base::crypto::kTagSize);
  base::crypto::Nonce nonce{};
  double seal = 1e9;
  double open = 1e9;
  const std::size_t records = size / kRecordDataMax;
  for (int round = 0; round < rounds; ++round) {
    const Stopwatch sealing;
    for (std::size_t i = 0; i < records; ++i) key.seal(nonce, {}, plain, sealed);
    seal = std::min(seal, sealing.spent().cpu);
    const Stopwatch opening;
    for (std::size_t i = 0; i < records; ++i) {
      if (!key.open(nonce, {}, sealed, plain)) give_up("open");
    }
    open = std::min(open, opening.spent().cpu);
  }
  const double bytes = static_cast<double>(records * kRecordDataMax);
  std::printf("cipher_%s seal_mb_s %.0f open_mb_s %.0f\n", name_of(suite), bytes / seal / 1e6,
              bytes / open / 1e6);
}

// Both ends on this thread, so a byte is sealed, carried and opened.
void records_in_memory(Cipher suite, std::size_t size, int rounds) {
  SecureStream a(config_of(true, suite, 0));
  SecureStream b(config_of(false, suite, 0));
  shake_hands(a, b);
  const base::Bytes source(kSourceSize, 5);
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const Stopwatch watch;
    std::size_t sent = 0;
    while (sent < size) {
      const std::size_t at = sent % (kSourceSize - kRecordDataMax);
      if (!a.send(base::ByteView(source).subspan(at, kRecordDataMax))) give_up("send");
      sent += kRecordDataMax;
      carry(a, b);
      while (b.next_event()) {
      }
    }
    best = std::min(best, watch.spent().cpu);
  }
  std::printf("memory_%s both_ends_mb_s %.0f\n", name_of(suite),
              static_cast<double>(size) / best / 1e6);
}

void handshakes(int rounds) {
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const Stopwatch watch;
    for (int i = 0; i < kHandshakes; ++i) {
      const auto salt = static_cast<std::uint8_t>(i % 100);
      SecureStream a(config_of(true, Cipher::kChaChaPoly, salt));
      SecureStream b(config_of(false, Cipher::kChaChaPoly, salt));
      shake_hands(a, b);
    }
    best = std::min(best, watch.spent().cpu);
  }
  std::printf("handshakes both_ends_per_s %.0f\n", kHandshakes / best);
}

// ---- over loopback

class Sender {
 public:
  Sender(loop::Loop& loop, const base::Endpoint& to, Cipher suite, std::size_t size)
      : source_(kSourceSize, 5), left_(size) {
    ternd::PeerStream::Callbacks callbacks;
    callbacks.on_handshake = [](const transfer::HandshakeDone&) { return true; };
    callbacks.on_open = [this] {
      watch_.emplace();
      fill();
    };
    callbacks.on_room = [this] { fill(); };
    callbacks.on_failed = [this, &loop](const base::Error& error) {
      if (!error.detail.empty()) give_up(error.detail);
      spent = watch_->spent();
      loop.stop();
    };
    stream_ = ternd::PeerStream::connect(
        loop, to, {}, [suite](Cipher) { return config_of(true, suite, 0); }, std::move(callbacks));
  }
  Spent spent;

 private:
  void fill() {
    while (left_ > 0) {
      const std::size_t size = std::min(left_, kRecordDataMax);
      const std::size_t at = left_ % (kSourceSize - kRecordDataMax);
      if (!stream_->send({base::ByteView(source_).subspan(at, size)})) return stream_->flush();
      left_ -= size;
    }
    if (!std::exchange(finished_, true)) stream_->finish();
  }

  const base::Bytes source_;
  std::size_t left_;
  bool finished_ = false;
  std::optional<Stopwatch> watch_;
  std::unique_ptr<ternd::PeerStream> stream_;
};

class Receiver {
 public:
  explicit Receiver(loop::Loop& loop) {
    const base::Endpoint any = base::Endpoint::parse("127.0.0.1:0").value();
    auto listener = loop::Listener::tcp(
        loop, any, [this, &loop](std::unique_ptr<loop::Stream> s) { accept(loop, std::move(s)); });
    if (!listener) give_up(listener.error().detail);
    listener_ = std::move(*listener);
  }
  [[nodiscard]] base::Endpoint local() const { return listener_->local(); }
  Spent spent;
  std::size_t received = 0;

 private:
  void accept(loop::Loop& loop, std::unique_ptr<loop::Stream> socket) {
    ternd::PeerStream::Callbacks callbacks;
    callbacks.on_handshake = [this](const transfer::HandshakeDone&) {
      watch_.emplace();
      return true;
    };
    callbacks.on_data = [this](transfer::Buffer bytes) { received += bytes.size(); };
    callbacks.on_end = [this] { stream_->finish(); };
    callbacks.on_failed = [this, &loop](const base::Error& error) {
      if (!error.detail.empty()) give_up(error.detail);
      spent = watch_->spent();
      loop.stop();
    };
    stream_ = ternd::PeerStream::accept(
        loop, std::move(socket), config_of(false, Cipher::kChaChaPoly, 0), std::move(callbacks));
  }

  std::optional<Stopwatch> watch_;
  std::unique_ptr<loop::Listener> listener_;
  std::unique_ptr<ternd::PeerStream> stream_;
};

void over_loopback(Cipher suite, std::size_t size, int rounds) {
  Spent best{1e9, 1e9};
  double sent_cpu = 1e9;
  double received_cpu = 1e9;
  for (int round = 0; round < rounds; ++round) {
    loop::Loop receiving;
    Spent sender_spent;
    {
      Receiver receiver(receiving);
      std::thread sending([&, to = receiver.local()] {
        loop::Loop loop;
        Sender sender(loop, to, suite, size);
        loop.run();
        sender_spent = sender.spent;
      });
      receiving.run();
      sending.join();
      if (receiver.received != size) give_up("bytes got lost");
      best.cpu = std::min(best.cpu, std::max(sender_spent.cpu, receiver.spent.cpu));
      best.wall = std::min(best.wall, receiver.spent.wall);
      sent_cpu = std::min(sent_cpu, sender_spent.cpu);
      received_cpu = std::min(received_cpu, receiver.spent.cpu);
    }
  }
  const double mega = static_cast<double>(size) / 1e6;
  std::printf(
      "loopback_%s wall_mb_s %.0f busier_end_mb_s %.0f sender_mb_s %.0f receiver_mb_s %.0f\n",
      name_of(suite), mega / best.wall, mega / best.cpu, mega / sent_cpu, mega / received_cpu);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t size = (argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 512) << 20;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
  if (argc > 3 || size == 0 || rounds < 1) give_up("usage: stream_bench [MiB] [ROUNDS]");
  if (!base::crypto::init()) give_up("libsodium");
  std::vector<Cipher> suites{Cipher::kChaChaPoly};
  if (base::crypto::aes_available()) suites.push_back(Cipher::kAesGcm);
  for (const Cipher suite : suites) {
    raw_cipher(suite, size, rounds);
    records_in_memory(suite, size, rounds);
    over_loopback(suite, size, rounds);
  }
  handshakes(rounds);
  return 0;
}
