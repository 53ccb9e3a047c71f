#include "transfer/noise.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace transfer::noise {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::MutableByteView;
using base::Result;
using base::Secret;
using base::Status;
using base::crypto::kTagSize;

constexpr std::size_t kDhSize = 32;

// §4.3 with HASHLEN 64. Each output goes to its Secret as it is made; the intermediates are wiped.
Secret<64> hmac(ByteView key, ByteView message) {
  Hash512 raw = base::crypto::hmac512(key, message);
  Secret<64> out(raw);
  base::wipe(raw);
  return out;
}

template <std::size_t N>
std::array<Secret<64>, N> hkdf(const Secret<64>& chaining_key, ByteView input) {
  const Secret<64> temp = hmac(chaining_key.view(), input);
  std::array<Secret<64>, N> out;
  Secret<65> block;  // the previous output and the counter
  for (std::size_t i = 0; i < N; ++i) {
    const MutableByteView bytes = block.mutable_view();
    const std::size_t previous = i == 0 ? 0 : 64;
    if (i > 0) std::copy_n(out[i - 1].view().begin(), 64, bytes.begin());
    bytes[previous] = static_cast<std::uint8_t>(i + 1);
    out[i] = hmac(temp.view(), ByteView(bytes).first(previous + 1));
  }
  return out;
}

Secret<32> truncated(const Secret<64>& key) { return Secret<32>(key.view().first(32)); }

}  // namespace

CipherState::CipherState(Cipher cipher, Secret<32> key) : cipher_(cipher), key_(cipher, key) {}

base::crypto::Nonce CipherState::nonce_bytes(std::uint64_t counter) const {
  base::crypto::Nonce nonce{};
  const MutableByteView tail = MutableByteView(nonce).subspan(4);
  base::put_le64(tail, counter);
  if (cipher_ == Cipher::kAesGcm) std::reverse(tail.begin(), tail.end());
  return nonce;
}

Status CipherState::seal(ByteView ad, ByteView plain, MutableByteView out) {
  if (nonce_ == kNonceReserved) return fail(Code::kFull, "the key's nonces are used up");
  key_.seal(nonce_bytes(nonce_), ad, plain, out);
  ++nonce_;
  return {};
}

Status CipherState::open(ByteView ad, ByteView sealed, MutableByteView out) {
  if (nonce_ == kNonceReserved) return fail(Code::kFull, "the key's nonces are used up");
  if (!key_.open(nonce_bytes(nonce_), ad, sealed, out)) {
    return fail(Code::kUnauthentic, "a sealed message is not authentic");
  }
  ++nonce_;
  return {};
}

void CipherState::rekey() {
  constexpr std::array<std::uint8_t, 32> kZeros{};
  Secret<32 + kTagSize> sealed;
  key_.seal(nonce_bytes(kNonceReserved), {}, kZeros, sealed.mutable_view());
  key_ = base::crypto::SealKey(cipher_, Secret<32>(sealed.view().first(32)));
}

SymmetricState::SymmetricState(const std::string& name, Cipher cipher) : cipher_(cipher) {
  const ByteView text = base::as_bytes(name);
  if (text.size() <= hash_.size()) {
    std::copy(text.begin(), text.end(), hash_.begin());
  } else {
    hash_ = base::crypto::hash512({text});
  }
  chaining_key_ = Secret<64>(hash_);
}

void SymmetricState::mix_key(ByteView input) {
  auto keys = hkdf<2>(chaining_key_, input);
  chaining_key_ = std::move(keys[0]);
  cipher_state_.emplace(cipher_, truncated(keys[1]));
}

void SymmetricState::mix_hash(ByteView data) { hash_ = base::crypto::hash512({hash_, data}); }

void SymmetricState::mix_key_and_hash(ByteView input) {
  auto keys = hkdf<3>(chaining_key_, input);
  chaining_key_ = std::move(keys[0]);
  mix_hash(keys[1].view());
  cipher_state_.emplace(cipher_, truncated(keys[2]));
}

Status SymmetricState::encrypt_and_hash(ByteView plain, Bytes& out) {
  const std::size_t start = out.size();
  out.insert(out.end(), plain.begin(), plain.end());
  if (cipher_state_) {
    out.resize(out.size() + kTagSize);
    const MutableByteView place = MutableByteView(out).subspan(start);
    if (auto sealed = cipher_state_->seal(hash_, place.first(plain.size()), place); !sealed) {
      return sealed;
    }
  }
  mix_hash(ByteView(out).subspan(start));
  return {};
}

Result<Bytes> SymmetricState::decrypt_and_hash(ByteView sealed) {
  if (!cipher_state_) {
    mix_hash(sealed);
    return base::to_bytes(sealed);
  }
  if (sealed.size() < kTagSize) return fail(Code::kTruncated, "a handshake message is too short");
  Bytes plain(sealed.size() - kTagSize);
  if (auto opened = cipher_state_->open(hash_, sealed, plain); !opened) return opened.error();
  mix_hash(sealed);
  return plain;
}

SymmetricState::Pair SymmetricState::split() const {
  const auto keys = hkdf<2>(chaining_key_, {});
  return {CipherState(cipher_, truncated(keys[0])), CipherState(cipher_, truncated(keys[1]))};
}

const HandshakeState::Script& HandshakeState::script_of(Pattern pattern) {
  using enum Token;
  static constexpr Script kNN{"NN", false, false, false, 2, {{1, {kE}}, {2, {kE, kEe}}, {}}};
  static constexpr Script kKK{"KK",  true, true,
                              false, 2,    {{3, {kE, kEs, kSs}}, {3, {kE, kEe, kSe}}, {}}};
  static constexpr Script kXK{"XK",  false, true,
                              false, 3,     {{2, {kE, kEs}}, {2, {kE, kEe}}, {2, {kS, kSe}}}};
  static constexpr Script kIK{"IK",  false, true,
                              false, 2,     {{4, {kE, kEs, kS, kSs}}, {3, {kE, kEe, kSe}}, {}}};
  static constexpr Script kXX{"XX",  false, false,
                              false, 3,     {{1, {kE}}, {4, {kE, kEe, kS, kEs}}, {2, {kS, kSe}}}};
  static constexpr Script kXXpsk3{
      "XXpsk3", false, false, true, 3, {{1, {kE}}, {4, {kE, kEe, kS, kEs}}, {3, {kS, kSe, kPsk}}}};
  static constexpr Script kIKpsk2{
      "IKpsk2", false, true, true, 2, {{4, {kE, kEs, kS, kSs}}, {4, {kE, kEe, kSe, kPsk}}, {}}};
  switch (pattern) {
    case Pattern::kNN:
      return kNN;
    case Pattern::kKK:
      return kKK;
    case Pattern::kXK:
      return kXK;
    case Pattern::kIK:
      return kIK;
    case Pattern::kXX:
      return kXX;
    case Pattern::kXXpsk3:
      return kXXpsk3;
    case Pattern::kIKpsk2:
      return kIKpsk2;
  }
  CHECK(false);
  return kXX;
}

std::string protocol_name(Pattern pattern, Cipher cipher) {
  return std::string("Noise_") + HandshakeState::script_of(pattern).name + "_25519_" +
         (cipher == Cipher::kAesGcm ? "AESGCM" : "ChaChaPoly") + "_BLAKE2b";
}

HandshakeState::HandshakeState(HandshakeConfig config)
    : script_(&script_of(config.pattern)),
      initiator_(config.initiator),
      symmetric_(protocol_name(config.pattern, config.cipher), config.cipher),
      static_(std::move(config.static_key)),
      ephemeral_(base::crypto::dh_key_from_secret(std::move(config.ephemeral))),
      psk_(std::move(config.psk)) {
  const bool remote_known = initiator_ ? script_->responder_known : script_->initiator_known;
  if (remote_known) {
    CHECK(config.remote_static.has_value());
    remote_static_ = config.remote_static;
  }
  symmetric_.mix_hash(config.prologue);
  mix_known_statics();
}

void HandshakeState::mix_known_statics() {  // §5.3: pre-messages, the initiator's first
  if (script_->initiator_known) {
    if (initiator_) CHECK(static_.has_value());
    symmetric_.mix_hash(initiator_ ? static_->public_key : *remote_static_);
  }
  if (script_->responder_known) {
    if (!initiator_) CHECK(static_.has_value());
    symmetric_.mix_hash(initiator_ ? *remote_static_ : static_->public_key);
  }
}

bool HandshakeState::writes_next() const {
  if (failed_ || next_message_ == message_count()) return false;
  return (next_message_ % 2 == 0) == initiator_;
}

base::Error HandshakeState::fail_with(base::Error error) {
  failed_ = true;
  return error;
}

Result<Bytes> HandshakeState::write_message(ByteView payload) {
  CHECK(writes_next());
  Bytes out;
  const Message& message = script_->messages[next_message_];
  for (std::size_t i = 0; i < message.count; ++i) {
    if (auto status = write_token(message.tokens[i], out); !status) {
      return fail_with(status.error());
    }
  }
  if (payload.size() > kMessageSizeMax - kTagSize - out.size()) {
    return fail_with(fail(Code::kTooLarge, "a handshake payload is too large"));
  }
  if (auto status = symmetric_.encrypt_and_hash(payload, out); !status) {
    return fail_with(status.error());
  }
  ++next_message_;
  return out;
}

Result<Bytes> HandshakeState::read_message(ByteView message) {
  CHECK(!failed_);
  CHECK(!done());
  CHECK(!writes_next());
  if (message.size() > kMessageSizeMax) {
    return fail_with(fail(Code::kTooLarge, "a handshake message is too large"));
  }
  const Message& script = script_->messages[next_message_];
  ByteView rest = message;
  for (std::size_t i = 0; i < script.count; ++i) {
    if (auto status = read_token(script.tokens[i], rest); !status) {
      return fail_with(status.error());
    }
  }
  auto payload = symmetric_.decrypt_and_hash(rest);
  if (!payload) return fail_with(payload.error());
  ++next_message_;
  return payload;
}

void HandshakeState::mix_ephemeral(const DhPublic& key) {
  symmetric_.mix_hash(key);
  if (script_->psk) symmetric_.mix_key(key);
}

Status HandshakeState::write_token(Token token, Bytes& out) {
  switch (token) {
    case Token::kE:
      out.insert(out.end(), ephemeral_.public_key.begin(), ephemeral_.public_key.end());
      mix_ephemeral(ephemeral_.public_key);
      return {};
    case Token::kS:
      CHECK(static_.has_value());
      return symmetric_.encrypt_and_hash(static_->public_key, out);
    case Token::kPsk:
      CHECK(psk_.has_value());
      symmetric_.mix_key_and_hash(psk_->view());
      return {};
    default:
      return mix_dh(token);
  }
}

Status HandshakeState::read_token(Token token, ByteView& rest) {
  if (token == Token::kPsk) {
    CHECK(psk_.has_value());
    symmetric_.mix_key_and_hash(psk_->view());
    return {};
  }
  if (token != Token::kE && token != Token::kS) return mix_dh(token);
  const bool sealed = token == Token::kS && symmetric_.has_key();
  const std::size_t size = kDhSize + (sealed ? kTagSize : 0);
  if (rest.size() < size) return fail(Code::kTruncated, "a handshake message is too short");
  const ByteView field = rest.first(size);
  rest = rest.subspan(size);
  DhPublic key{};
  if (token == Token::kE) {
    std::copy(field.begin(), field.end(), key.begin());
    remote_ephemeral_ = key;
    mix_ephemeral(key);
    return {};
  }
  auto opened = symmetric_.decrypt_and_hash(field);
  if (!opened) return opened.error();
  std::copy(opened->begin(), opened->end(), key.begin());
  remote_static_ = key;
  return {};
}

Status HandshakeState::mix_dh(Token token) {
  // The first letter of the token names the initiator's key, the second the responder's.
  const bool initiator_static = token == Token::kSe || token == Token::kSs;
  const bool responder_static = token == Token::kEs || token == Token::kSs;
  const bool mine_static = initiator_ ? initiator_static : responder_static;
  const bool theirs_static = initiator_ ? responder_static : initiator_static;
  if (mine_static) CHECK(static_.has_value());
  const auto& theirs = theirs_static ? remote_static_ : remote_ephemeral_;
  CHECK(theirs.has_value());
  auto shared = base::crypto::dh(mine_static ? *static_ : ephemeral_, *theirs);
  if (!shared) return shared.error();
  symmetric_.mix_key(shared->view());
  return {};
}

HandshakeState::Transport HandshakeState::split() const {
  CHECK(done());
  SymmetricState::Pair pair = symmetric_.split();
  if (initiator_) return {std::move(pair.first), std::move(pair.second)};
  return {std::move(pair.second), std::move(pair.first)};
}

}  // namespace transfer::noise
