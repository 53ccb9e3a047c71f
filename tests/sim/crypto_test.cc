// The fast stand-in has the sizes and the refusals of the real cryptography: each test runs on
// both.
#include "base/crypto.h"

#include <gtest/gtest.h>

#include "sim/fast_crypto.h"

namespace sim {
namespace {

namespace crypto = base::crypto;
using base::Bytes;

base::Secret<32> secret_of(std::uint8_t fill) { return base::Secret<32>(Bytes(32, fill)); }

class BothCryptos : public ::testing::TestWithParam<bool> {
 protected:
  BothCryptos() {
    EXPECT_TRUE(crypto::init().ok());
    crypto::use_backend(GetParam() ? fast_crypto() : nullptr);
  }
  ~BothCryptos() override { crypto::use_backend(nullptr); }
};

TEST_P(BothCryptos, ASignatureHoldsForItsKeyAndMessageOnly) {
  const crypto::SignKey key = crypto::sign_key_from_seed(secret_of(1));
  const crypto::SignKey other = crypto::sign_key_from_seed(secret_of(2));
  EXPECT_NE(key.public_key, other.public_key);
  Bytes message(100, 7);
  const crypto::Signature signature = crypto::sign(key, message);
  EXPECT_TRUE(crypto::verify(key.public_key, message, signature));
  EXPECT_FALSE(crypto::verify(other.public_key, message, signature));
  for (std::size_t i = 0; i < message.size(); ++i) {
    message[i] ^= 1;
    EXPECT_FALSE(crypto::verify(key.public_key, message, signature)) << i;
    message[i] ^= 1;
  }
  for (std::size_t i = 0; i < signature.size(); ++i) {
    crypto::Signature damaged = signature;
    damaged[i] ^= 0x40;
    EXPECT_FALSE(crypto::verify(key.public_key, message, damaged)) << i;
  }
  EXPECT_FALSE(crypto::verify(key.public_key, base::ByteView(message).first(99), signature));
}

TEST_P(BothCryptos, BothEndsAgreeAndALowOrderKeyIsRefused) {
  const crypto::DhKey a = crypto::dh_key_from_secret(secret_of(3));
  const crypto::DhKey b = crypto::dh_key_from_secret(secret_of(4));
  const crypto::DhKey c = crypto::dh_key_from_secret(secret_of(5));
  const auto ab = crypto::dh(a, b.public_key);
  const auto ba = crypto::dh(b, a.public_key);
  const auto ac = crypto::dh(a, c.public_key);
  ASSERT_TRUE(ab && ba && ac);
  EXPECT_TRUE(crypto::equal_constant_time(ab->view(), ba->view()));
  EXPECT_FALSE(crypto::equal_constant_time(ab->view(), ac->view()));
  EXPECT_FALSE(crypto::dh(a, crypto::DhPublic{}));
}

TEST_P(BothCryptos, ASealOpensUnderItsKeyNonceAndDataOnly) {
  const crypto::SealKey key(crypto::Cipher::kChaChaPoly, secret_of(6));
  const crypto::SealKey other(crypto::Cipher::kChaChaPoly, secret_of(7));
  const Bytes plain(50, 9);
  const Bytes ad(5, 1);
  Bytes sealed(plain.size() + crypto::kTagSize);
  key.seal(crypto::Nonce{1}, ad, plain, sealed);
  Bytes out(plain.size());
  EXPECT_TRUE(key.open(crypto::Nonce{1}, ad, sealed, out));
  EXPECT_EQ(out, plain);
  EXPECT_FALSE(other.open(crypto::Nonce{1}, ad, sealed, out));
  EXPECT_FALSE(key.open(crypto::Nonce{2}, ad, sealed, out));
  EXPECT_FALSE(key.open(crypto::Nonce{1}, base::ByteView(ad).first(4), sealed, out));
  EXPECT_FALSE(key.open(crypto::Nonce{1}, ad, base::ByteView(sealed).first(15), out));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    sealed[i] ^= 4;
    EXPECT_FALSE(key.open(crypto::Nonce{1}, ad, sealed, out)) << i;
    sealed[i] ^= 4;
  }
  // In place, as the envelope does it.
  Bytes place = plain;
  place.resize(sealed.size());
  key.seal(crypto::Nonce{1}, ad, base::ByteView(place).first(plain.size()), place);
  EXPECT_EQ(place, sealed);
  EXPECT_TRUE(key.open(crypto::Nonce{1}, ad, place, place));
}

TEST_P(BothCryptos, AHashIsOfTheWholeHoweverItIsCut) {
  const Bytes bytes(1500, 3);
  const base::ByteView view(bytes);
  const auto whole = crypto::hash256({view});
  for (const std::size_t cut : {0U, 1U, 15U, 16U, 511U, 512U, 513U, 1499U}) {
    EXPECT_EQ(crypto::hash256({view.first(cut), view.subspan(cut)}), whole) << cut;
  }
  EXPECT_NE(crypto::hash256({view.first(1499)}), whole);
  EXPECT_NE(crypto::hash256({view}, Bytes(8, 1)), whole);
  EXPECT_NE(base::to_hex(crypto::hash128({view})), base::to_hex(whole).substr(0, 32));
}

INSTANTIATE_TEST_SUITE_P(RealAndFast, BothCryptos, ::testing::Bool(),
                         [](const auto& fast) { return fast.param ? "Fast" : "Real"; });

}  // namespace
}  // namespace sim
