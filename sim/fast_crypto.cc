#include "sim/fast_crypto.h"

#include <algorithm>
#include <cstring>

#include "sim/words.h"

namespace sim {
namespace {

using base::ByteView;
using base::MutableByteView;
using base::crypto::DhKey;
using base::crypto::DhPublic;
using base::crypto::Nonce;
using base::crypto::Signature;
using base::crypto::SignKey;
using base::crypto::SignPublic;

// Folds 16 bytes with one 64 x 64 -> 128 bit multiplication, as sim/trace does with 8.
class Mixer {
 public:
  explicit Mixer(std::uint64_t purpose) : a_(purpose * 0xd1b54a32d192ed03ULL + 1) {}

  void add(ByteView bytes) {
    length_ += bytes.size();
    const std::uint8_t* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 16; left -= 16, at += 16) step(word_at(at), word_at(at + 8));
    std::uint8_t rest[16] = {};
    if (left > 0) std::memcpy(rest, at, left);
    step(word_at(rest), word_at(rest + 8) ^ (left << 56));
  }

  void finish(MutableByteView out) {
    step(length_, 0x94d049bb133111ebULL);
    std::uint64_t counter = 0;
    while (!out.empty()) {
      ++counter;
      const std::uint64_t word = fold(a_ ^ counter, b_ + counter * 0x9e3779b97f4a7c15ULL);
      std::uint8_t bytes[8];
      base::put_le64(bytes, word);
      const std::size_t size = std::min<std::size_t>(out.size(), 8);
      std::memcpy(out.data(), bytes, size);
      out = out.subspan(size);
    }
  }

 private:
  static std::uint64_t fold(std::uint64_t x, std::uint64_t y) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(x ^ 0xa0761d6478bd642fULL) * (y ^ 0xe7037ed1a0b428dbULL);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
  void step(std::uint64_t x, std::uint64_t y) {
    a_ = fold(a_ ^ x, b_ + y);
    b_ = (b_ ^ y) * 0x8cb92ba72f3d8dd7ULL + a_;
  }

  std::uint64_t a_;
  std::uint64_t b_ = 0x243f6a8885a308d3ULL;
  std::uint64_t length_ = 0;
};

enum Purpose : std::uint64_t { kSignPublic = 1, kSignature, kDhPublic, kShared, kHash, kTag };

SignKey sign_key_from_seed(const base::Secret<32>& seed) {
  SignKey key;
  Mixer mixer(kSignPublic);
  mixer.add(seed.view());
  mixer.finish(key.public_key);
  const MutableByteView secret = key.secret.mutable_view();
  std::copy(seed.view().begin(), seed.view().end(), secret.begin());
  std::copy(key.public_key.begin(), key.public_key.end(), secret.begin() + 32);
  return key;
}

Signature signature_of(const SignPublic& key, ByteView message) {
  Signature signature{};
  Mixer mixer(kSignature);
  mixer.add(key);
  mixer.add(message);
  mixer.finish(signature);
  return signature;
}

Signature sign(const SignKey& key, ByteView message) {
  return signature_of(key.public_key, message);
}

bool verify(const SignPublic& key, ByteView message, const Signature& signature) {
  return signature_of(key, message) == signature;
}

DhPublic dh_public(const base::Secret<32>& secret) {
  DhPublic key{};
  Mixer mixer(kDhPublic);
  mixer.add(secret.view());
  mixer.finish(key);
  return key;
}

bool dh(const DhKey& mine, const DhPublic& theirs, MutableByteView shared) {
  if (theirs == DhPublic{}) return false;
  Mixer mixer(kShared);
  mixer.add(std::min(mine.public_key, theirs));
  mixer.add(std::max(mine.public_key, theirs));
  mixer.finish(shared);
  return true;
}

void hash(std::initializer_list<ByteView> parts, ByteView key, MutableByteView out) {
  // As one string, however it is cut into parts.
  Mixer mixer(kHash + out.size() * 256);
  mixer.add(key);
  std::uint8_t block[512];
  std::size_t used = 0;
  for (ByteView part : parts) {
    for (; used == 0 && part.size() >= sizeof(block); part = part.subspan(sizeof(block))) {
      mixer.add(part.first(sizeof(block)));
    }
    while (!part.empty()) {
      const std::size_t size = std::min(part.size(), sizeof(block) - used);
      std::memcpy(block + used, part.data(), size);
      used += size;
      part = part.subspan(size);
      if (used < sizeof(block)) continue;
      mixer.add(block);
      used = 0;
    }
  }
  mixer.add(ByteView(block).first(used));
  mixer.finish(out);
}

void tag_of(ByteView key, const Nonce& nonce, ByteView ad, ByteView plain, MutableByteView out) {
  Mixer mixer(kTag);
  mixer.add(key);
  mixer.add(nonce);
  mixer.add(ad);
  mixer.add(plain);
  mixer.finish(out);
}

void seal(ByteView key, const Nonce& nonce, ByteView ad, ByteView plain, MutableByteView out) {
  std::array<std::uint8_t, base::crypto::kTagSize> tag{};
  tag_of(key, nonce, ad, plain, tag);
  if (!plain.empty()) std::memmove(out.data(), plain.data(), plain.size());
  std::copy(tag.begin(), tag.end(), out.begin() + static_cast<std::ptrdiff_t>(plain.size()));
}

bool open(ByteView key, const Nonce& nonce, ByteView ad, ByteView sealed, MutableByteView out) {
  const ByteView plain = sealed.first(sealed.size() - base::crypto::kTagSize);
  std::array<std::uint8_t, base::crypto::kTagSize> tag{};
  tag_of(key, nonce, ad, plain, tag);
  if (!std::equal(tag.begin(), tag.end(), sealed.subspan(plain.size()).begin())) return false;
  if (!plain.empty()) std::memmove(out.data(), plain.data(), plain.size());
  return true;
}

}  // namespace

const base::crypto::Backend* fast_crypto() {
  static const base::crypto::Backend kBackend{
      sign_key_from_seed, sign, verify, dh_public, dh, hash, seal, open};
  return &kBackend;
}

}  // namespace sim
