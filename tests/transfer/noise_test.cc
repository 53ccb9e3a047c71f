// Noise, revision 34: the published vectors (tests/vectors/noise.json), whole, damaged and cut.
#include "transfer/noise.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace transfer::noise {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::Secret;
using nlohmann::json;

Bytes hex(const json& vector, const char* key) {
  return *base::from_hex(vector.at(key).get<std::string>());
}

struct Named {
  Pattern pattern;
  Cipher cipher;
};

std::optional<Named> by_name(const std::string& name) {
  for (const Pattern pattern : {Pattern::kNN, Pattern::kKK, Pattern::kXK, Pattern::kIK,
                                Pattern::kXX, Pattern::kXXpsk3, Pattern::kIKpsk2}) {
    for (const Cipher cipher : {Cipher::kChaChaPoly, Cipher::kAesGcm}) {
      if (protocol_name(pattern, cipher) == name) return Named{pattern, cipher};
    }
  }
  return std::nullopt;
}

HandshakeState make(const json& vector, bool initiator) {
  const std::string side = initiator ? "init_" : "resp_";
  const Named named = *by_name(vector.at("protocol_name"));
  HandshakeConfig config;
  config.pattern = named.pattern;
  config.cipher = named.cipher;
  config.initiator = initiator;
  config.prologue = hex(vector, (side + "prologue").c_str());
  config.ephemeral = Secret<32>(hex(vector, (side + "ephemeral").c_str()));
  if (vector.contains(side + "static")) {
    config.static_key =
        base::crypto::dh_key_from_secret(Secret<32>(hex(vector, (side + "static").c_str())));
  }
  if (vector.contains(side + "remote_static")) {
    DhPublic key{};
    const Bytes raw = hex(vector, (side + "remote_static").c_str());
    std::copy(raw.begin(), raw.end(), key.begin());
    config.remote_static = key;
  }
  if (vector.contains(side + "psks")) {
    config.psk = Secret<32>(*base::from_hex(vector[side + "psks"][0].get<std::string>()));
  }
  return HandshakeState(std::move(config));
}

json vectors() {
  std::ifstream file(TERN_SOURCE_DIR "/tests/vectors/noise.json");
  return json::parse(file).at("vectors");
}

class Noise : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(base::crypto::init().ok()); }
};

// Both sides up to (not including) message `count`, from the vector's own ciphertexts.
struct Pair {
  HandshakeState initiator;
  HandshakeState responder;
  HandshakeState& writer(std::size_t message) { return message % 2 == 0 ? initiator : responder; }
  HandshakeState& reader(std::size_t message) { return message % 2 == 0 ? responder : initiator; }
};

Pair pair_before(const json& vector, std::size_t count) {
  Pair pair{make(vector, true), make(vector, false)};
  for (std::size_t i = 0; i < count; ++i) {
    const json& message = vector["messages"][i];
    EXPECT_TRUE(pair.writer(i).write_message(hex(message, "payload")).ok());
    EXPECT_TRUE(pair.reader(i).read_message(hex(message, "ciphertext")).ok());
  }
  return pair;
}

std::size_t handshake_messages(const json& vector) {
  const std::string name = vector.at("protocol_name");
  const bool three = name.starts_with("Noise_X");
  return three ? 3 : 2;
}

TEST_F(Noise, EveryPublishedVectorHolds) {
  std::size_t seen = 0;
  for (const json& vector : vectors()) {
    SCOPED_TRACE(vector.at("protocol_name").get<std::string>());
    ASSERT_TRUE(by_name(vector.at("protocol_name")).has_value());
    Pair pair{make(vector, true), make(vector, false)};
    std::optional<HandshakeState::Transport> first;
    std::optional<HandshakeState::Transport> second;
    std::size_t index = 0;
    for (const json& message : vector["messages"]) {
      SCOPED_TRACE(index);
      const Bytes payload = hex(message, "payload");
      const Bytes wire = hex(message, "ciphertext");
      if (!pair.initiator.done()) {
        const auto written = pair.writer(index).write_message(payload);
        ASSERT_TRUE(written.ok());
        EXPECT_EQ(*written, wire);
        const auto read = pair.reader(index).read_message(wire);
        ASSERT_TRUE(read.ok());
        EXPECT_EQ(*read, payload);
      } else {
        if (!first) {
          ASSERT_TRUE(pair.responder.done());
          first = pair.initiator.split();
          second = pair.responder.split();
        }
        auto& sender = index % 2 == 0 ? *first : *second;
        auto& receiver = index % 2 == 0 ? *second : *first;
        Bytes sealed(payload.size() + base::crypto::kTagSize);
        ASSERT_TRUE(sender.send.seal({}, payload, sealed).ok());
        EXPECT_EQ(sealed, wire);
        Bytes opened(payload.size());
        ASSERT_TRUE(receiver.receive.open({}, wire, opened).ok());
        EXPECT_EQ(opened, payload);
      }
      ++index;
    }
    EXPECT_EQ(base::to_hex(pair.initiator.handshake_hash()), vector.at("handshake_hash"));
    EXPECT_EQ(base::to_hex(pair.responder.handshake_hash()), vector.at("handshake_hash"));
    ++seen;
  }
  EXPECT_EQ(seen, 14U);
}

// A damaged byte either fails in its own message or, where that message is not yet authenticated
// (a bare ephemeral key, a clear payload), in the next one that is: no damaged handshake is ever
// completed by both sides.
TEST_F(Noise, EveryDamagedByteOfAHandshakeIsNoticed) {
  for (const json& vector : vectors()) {
    SCOPED_TRACE(vector.at("protocol_name").get<std::string>());
    const std::size_t count = handshake_messages(vector);
    for (std::size_t m = 0; m < count; ++m) {
      const Bytes wire = hex(vector["messages"][m], "ciphertext");
      for (std::size_t at = 0; at < wire.size(); ++at) {
        SCOPED_TRACE(testing::Message() << "message " << m << " byte " << at);
        Pair pair = pair_before(vector, m);
        (void)pair.writer(m).write_message(hex(vector["messages"][m], "payload"));
        Bytes damaged = wire;
        damaged[at] ^= 0x04;
        const bool taken = pair.reader(m).read_message(damaged).ok();
        EXPECT_EQ(taken, !pair.reader(m).failed());
        if (!taken) continue;
        EXPECT_NE(pair.initiator.handshake_hash(), pair.responder.handshake_hash());
        if (m + 1 == count) {
          auto sender = pair.writer(m).split();
          auto receiver = pair.reader(m).split();
          Bytes record(20);
          ASSERT_TRUE(sender.send.seal({}, ByteView(record).first(4), record).ok());
          EXPECT_FALSE(receiver.receive.open({}, record, record).ok());
          ADD_FAILURE() << "the last message of every pattern here is authenticated";
          continue;
        }
        const auto answer = pair.writer(m + 1).write_message({});
        ASSERT_TRUE(answer.ok());
        EXPECT_FALSE(pair.reader(m + 1).read_message(*answer).ok());
      }
    }
  }
}

TEST_F(Noise, EveryTruncatedMessageIsRefusedOrChangesTheTranscript) {
  for (const json& vector : vectors()) {
    SCOPED_TRACE(vector.at("protocol_name").get<std::string>());
    const std::size_t count = handshake_messages(vector);
    for (std::size_t m = 0; m < count; ++m) {
      const Bytes wire = hex(vector["messages"][m], "ciphertext");
      for (std::size_t size = 0; size < wire.size(); ++size) {
        SCOPED_TRACE(testing::Message() << "message " << m << " cut to " << size);
        Pair pair = pair_before(vector, m);
        (void)pair.writer(m).write_message(hex(vector["messages"][m], "payload"));
        if (!pair.reader(m).read_message(ByteView(wire).first(size)).ok()) continue;
        EXPECT_EQ(m, 0U);  // only a clear payload of a first message can be cut unseen
        EXPECT_NE(pair.initiator.handshake_hash(), pair.responder.handshake_hash());
      }
    }
  }
}

TEST_F(Noise, DamagedTransportMessagesAreRefusedAndTheNonceStays) {
  for (const json& vector : vectors()) {
    SCOPED_TRACE(vector.at("protocol_name").get<std::string>());
    const std::size_t count = handshake_messages(vector);
    Pair pair = pair_before(vector, count);
    auto initiator = pair.initiator.split();
    auto responder = pair.responder.split();
    const Bytes wire = hex(vector["messages"][count], "ciphertext");
    auto& state = count % 2 == 0 ? responder.receive : initiator.receive;
    Bytes out(wire.size());
    for (std::size_t at = 0; at < wire.size(); ++at) {
      Bytes damaged = wire;
      damaged[at] ^= 0x80;
      EXPECT_EQ(state.open({}, damaged, out).error().code, Code::kUnauthentic);
      EXPECT_FALSE(state.open({}, ByteView(wire).first(at), out).ok());
    }
    EXPECT_EQ(state.nonce(), 0U);
    EXPECT_TRUE(state.open({}, wire, out).ok());
  }
}

TEST_F(Noise, LowOrderKeysAreRefused) {
  for (const json& vector : vectors()) {
    if (vector.at("protocol_name") != "Noise_XX_25519_ChaChaPoly_BLAKE2b") continue;
    HandshakeState responder = make(vector, false);
    ASSERT_TRUE(responder.read_message(Bytes(32, 0)).ok());
    EXPECT_EQ(responder.write_message({}).error().code, Code::kUnauthentic);
    EXPECT_TRUE(responder.failed());
    EXPECT_FALSE(responder.writes_next());
  }
}

TEST_F(Noise, AForeignPrologueOrPskIsRefused) {
  for (const json& vector : vectors()) {
    if (vector.at("protocol_name") != "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b") continue;
    for (const char* key : {"init_prologue", "init_psks"}) {
      SCOPED_TRACE(key);
      json changed = vector;
      json& value = key == std::string("init_psks") ? changed[key][0] : changed[key];
      value = "00" + value.get<std::string>().substr(2);
      Pair pair{make(changed, true), make(changed, false)};
      bool refused = false;
      for (std::size_t m = 0; m < 3 && !refused; ++m) {
        const auto written = pair.writer(m).write_message({});
        ASSERT_TRUE(written.ok());
        refused = !pair.reader(m).read_message(*written).ok();
      }
      EXPECT_TRUE(refused);
    }
  }
}

TEST_F(Noise, NoncesRunOut) {  // §5.1: 2^64-1 is reserved for rekey
  for (const Cipher cipher : {Cipher::kChaChaPoly, Cipher::kAesGcm}) {
    CipherState state(cipher, Secret<32>(Bytes(32, 7)));
    state.set_nonce(kNonceReserved - 1);
    Bytes out(16);
    EXPECT_TRUE(state.seal({}, {}, out).ok());
    EXPECT_EQ(state.seal({}, {}, out).error().code, Code::kFull);
    EXPECT_EQ(state.open({}, out, out).error().code, Code::kFull);
  }
}

TEST_F(Noise, RekeyIsTheSpecifiedFunction) {  // §4.2, and the counter goes on
  for (const Cipher cipher : {Cipher::kChaChaPoly, Cipher::kAesGcm}) {
    const Secret<32> key(Bytes(32, 9));
    const base::crypto::Nonce last{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    Bytes sealed(48);
    base::crypto::SealKey(cipher, key).seal(last, {}, Bytes(32, 0), sealed);
    CipherState rekeyed(cipher, key.clone());
    CipherState direct(cipher, Secret<32>(ByteView(sealed).first(32)));
    rekeyed.set_nonce(5);
    direct.set_nonce(5);
    rekeyed.rekey();
    EXPECT_EQ(rekeyed.nonce(), 5U);
    Bytes a(20);
    Bytes b(20);
    ASSERT_TRUE(rekeyed.seal({}, Bytes(4, 1), a).ok());
    ASSERT_TRUE(direct.seal({}, Bytes(4, 1), b).ok());
    EXPECT_EQ(a, b);
  }
}

}  // namespace
}  // namespace transfer::noise
