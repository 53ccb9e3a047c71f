#include "base/crypto.h"

#include <sodium.h>

#include <cstring>

#include "base/crypto_backend.h"

namespace base {

void wipe(MutableByteView bytes) { sodium_memzero(bytes.data(), bytes.size()); }

namespace crypto {
namespace {

const Backend* other = nullptr;  // the simulator's

template <std::size_t N>
std::array<std::uint8_t, N> hash_parts(std::initializer_list<ByteView> parts, ByteView key) {
  if (other != nullptr) {
    std::array<std::uint8_t, N> out{};
    other->hash(parts, key, out);
    return out;
  }
  crypto_generichash_blake2b_state state;
  CHECK(crypto_generichash_blake2b_init(&state, key.data(), key.size(), N) == 0);
  for (const ByteView part : parts) {
    CHECK(crypto_generichash_blake2b_update(&state, part.data(), part.size()) == 0);
  }
  std::array<std::uint8_t, N> out{};
  CHECK(crypto_generichash_blake2b_final(&state, out.data(), N) == 0);
  return out;
}

}  // namespace

void use_backend(const Backend* backend) { other = backend; }

Status init() {
  if (sodium_init() < 0) return fail(Code::kUnsupported, "libsodium could not start");
  return {};
}

SignKey sign_key_from_seed(const Secret<32>& seed) {
  if (other != nullptr) return other->sign_key_from_seed(seed);
  SignKey key;
  CHECK(crypto_sign_seed_keypair(key.public_key.data(), key.secret.mutable_view().data(),
                                 seed.view().data()) == 0);
  return key;
}

Signature sign(const SignKey& key, ByteView message) {
  if (other != nullptr) return other->sign(key, message);
  Signature signature{};
  CHECK(crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(),
                             key.secret.view().data()) == 0);
  return signature;
}

bool verify(const SignPublic& key, ByteView message, const Signature& signature) {
  if (other != nullptr) return other->verify(key, message, signature);
  return crypto_sign_verify_detached(signature.data(), message.data(), message.size(),
                                     key.data()) == 0;
}

DhKey dh_key_from_secret(Secret<32> secret) {
  DhKey key;
  if (other != nullptr) {
    key.public_key = other->dh_public(secret);
  } else {
    CHECK(crypto_scalarmult_curve25519_base(key.public_key.data(), secret.view().data()) == 0);
  }
  key.secret = std::move(secret);
  return key;
}

Result<Secret<32>> dh(const DhKey& mine, const DhPublic& theirs) {
  Secret<32> shared;
  const bool ok = other != nullptr
                      ? other->dh(mine, theirs, shared.mutable_view())
                      : crypto_scalarmult_curve25519(shared.mutable_view().data(),
                                                     mine.secret.view().data(), theirs.data()) == 0;
  if (!ok) {
    return fail(Code::kUnauthentic, "the peer's key has low order");
  }
  return shared;
}

Hash256 hash256(std::initializer_list<ByteView> parts, ByteView key) {
  return hash_parts<32>(parts, key);
}
Hash512 hash512(std::initializer_list<ByteView> parts, ByteView key) {
  return hash_parts<64>(parts, key);
}
std::array<std::uint8_t, 16> hash128(std::initializer_list<ByteView> parts, ByteView key) {
  return hash_parts<16>(parts, key);
}

struct Hasher::State {
  crypto_generichash_blake2b_state blake;
  bool finished = false;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  CHECK(crypto_generichash_blake2b_init(&state_->blake, nullptr, 0, 32) == 0);
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::add(ByteView bytes) {
  CHECK(!state_->finished);
  CHECK(crypto_generichash_blake2b_update(&state_->blake, bytes.data(), bytes.size()) == 0);
}

Hash256 Hasher::finish() {
  CHECK(!state_->finished);
  state_->finished = true;
  Hash256 out{};
  CHECK(crypto_generichash_blake2b_final(&state_->blake, out.data(), out.size()) == 0);
  return out;
}

Hash512 hmac512(ByteView key, ByteView message) {
  constexpr std::size_t kBlockSize = 128;
  std::array<std::uint8_t, kBlockSize> pad{};
  if (key.size() > kBlockSize) {
    const Hash512 shortened = hash512({key});
    std::memcpy(pad.data(), shortened.data(), shortened.size());
  } else if (!key.empty()) {
    std::memcpy(pad.data(), key.data(), key.size());
  }
  for (std::uint8_t& b : pad) b ^= 0x36;
  const Hash512 inner = hash512({pad, message});
  for (std::uint8_t& b : pad) b ^= 0x36 ^ 0x5c;
  const Hash512 outer = hash512({pad, inner});
  wipe(pad);
  return outer;
}

bool aes_available() { return crypto_aead_aes256gcm_is_available() == 1; }

namespace {

struct ExpandedAes {  // half a KiB, which keys of ChaCha20 do without
  alignas(16) crypto_aead_aes256gcm_state state;
  ~ExpandedAes() { sodium_memzero(&state, sizeof(state)); }
};

}  // namespace

struct SealKey::State {
  Cipher cipher;
  Secret<32> key;
  std::unique_ptr<ExpandedAes> aes;  // of kAesGcm
};

SealKey::SealKey(Cipher cipher, const Secret<32>& key) : state_(std::make_unique<State>()) {
  state_->cipher = cipher;
  state_->key = key.clone();
  if (cipher == Cipher::kAesGcm) {
    CHECK(aes_available());
    state_->aes = std::make_unique<ExpandedAes>();
    CHECK(crypto_aead_aes256gcm_beforenm(&state_->aes->state, key.view().data()) == 0);
  }
}

SealKey::~SealKey() = default;
SealKey::SealKey(SealKey&&) noexcept = default;
SealKey& SealKey::operator=(SealKey&&) noexcept = default;

void seal(const Secret<32>& key, const Nonce& nonce, ByteView ad, ByteView plain,
          MutableByteView out) {
  CHECK(out.size() >= plain.size() + kTagSize);
  if (other != nullptr) return other->seal(key.view(), nonce, ad, plain, out);
  CHECK(crypto_aead_chacha20poly1305_ietf_encrypt(out.data(), nullptr, plain.data(), plain.size(),
                                                  ad.data(), ad.size(), nullptr, nonce.data(),
                                                  key.view().data()) == 0);
}

bool open(const Secret<32>& key, const Nonce& nonce, ByteView ad, ByteView sealed,
          MutableByteView out) {
  if (sealed.size() < kTagSize) return false;
  CHECK(out.size() >= sealed.size() - kTagSize);
  if (other != nullptr) return other->open(key.view(), nonce, ad, sealed, out);
  return crypto_aead_chacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, sealed.data(),
                                                   sealed.size(), ad.data(), ad.size(),
                                                   nonce.data(), key.view().data()) == 0;
}

void SealKey::seal(const Nonce& nonce, ByteView ad, ByteView plain, MutableByteView out) const {
  const bool is_aes = other == nullptr && state_->cipher == Cipher::kAesGcm;
  if (!is_aes) return crypto::seal(state_->key, nonce, ad, plain, out);
  CHECK(out.size() >= plain.size() + kTagSize);
  CHECK(crypto_aead_aes256gcm_encrypt_afternm(out.data(), nullptr, plain.data(), plain.size(),
                                              ad.data(), ad.size(), nullptr, nonce.data(),
                                              &state_->aes->state) == 0);
}
bool SealKey::open(const Nonce& nonce, ByteView ad, ByteView sealed, MutableByteView out) const {
  const bool is_aes = other == nullptr && state_->cipher == Cipher::kAesGcm;
  if (!is_aes) return crypto::open(state_->key, nonce, ad, sealed, out);
  if (sealed.size() < kTagSize) return false;
  CHECK(out.size() >= sealed.size() - kTagSize);
  return crypto_aead_aes256gcm_decrypt_afternm(out.data(), nullptr, nullptr, sealed.data(),
                                               sealed.size(), ad.data(), ad.size(), nonce.data(),
                                               &state_->aes->state) == 0;
}

bool equal_constant_time(ByteView a, ByteView b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

NodeId node_id_of(const SignPublic& key) { return NodeId{hash128({key})}; }
MeshId mesh_id_of(const SignPublic& root_key) { return MeshId{hash128({root_key})}; }

}  // namespace crypto
}  // namespace base
