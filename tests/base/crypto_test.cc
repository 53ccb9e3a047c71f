// Published vectors, and that damage anywhere is noticed.
#include "base/crypto.h"

#include <gtest/gtest.h>

#include <new>
#include <type_traits>

namespace base::crypto {
namespace {

Bytes hex(std::string_view text) {
  auto bytes = from_hex(text);
  EXPECT_TRUE(bytes.ok()) << text;
  return bytes.ok() ? *bytes : Bytes{};
}
template <std::size_t N>
std::array<std::uint8_t, N> hex_array(std::string_view text) {
  std::array<std::uint8_t, N> out{};
  const Bytes bytes = hex(text);
  EXPECT_EQ(bytes.size(), N);
  std::copy_n(bytes.begin(), std::min(N, bytes.size()), out.begin());
  return out;
}
Secret<32> secret(std::string_view text) { return Secret<32>(hex(text)); }

class Crypto : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(init().ok()); }
};

TEST_F(Crypto, Blake2bOfRfc7693AppendixA) {
  EXPECT_EQ(to_hex(hash512({as_bytes("abc")})),
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
            "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
}

TEST_F(Crypto, Blake2bKeyedAsInTheReferenceVectors) {  // blake2b-kat, the entry of 255 bytes
  Bytes key(64);
  Bytes input(255);
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(i);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(to_hex(hash512({input}, key)),
            "142709d62e28fcccd0af97fad0f8465b971e82201dc51070faa0372aa43e9248"
            "4be1c1e73ba10906d5d1853db6a4106e0a7bf9800d373d6dee2d46d62ef2a461");
}

TEST_F(Crypto, ShortHashesAreBlake2bOfThatSizeNotCutOnes) {  // by Python's hashlib
  EXPECT_EQ(to_hex(hash256({as_bytes("abc")})),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  EXPECT_EQ(to_hex(hash128({as_bytes("abc")}, as_bytes("key"))),
            "2cf02ae16ac225ee731f9d359d8a1c38");
}

TEST_F(Crypto, PartsAndIncrementsHashAsOne) {
  const Hash256 whole = hash256({as_bytes("abcdef")});
  EXPECT_EQ(hash256({as_bytes("ab"), {}, as_bytes("cdef")}), whole);
  Hasher hasher;
  hasher.add(as_bytes("abc"));
  Hasher moved = std::move(hasher);
  moved.add({});
  moved.add(as_bytes("def"));
  EXPECT_EQ(moved.finish(), whole);
  EXPECT_DEATH((void)moved.finish(), "finished");
}

TEST_F(Crypto, HmacOverBlake2b) {  // by Python's hmac module; block of 128 bytes
  struct Row {
    const char* name;
    std::string key;
    std::string message;
    const char* expected;
  };
  const Row rows[] = {
      {"empty", "", "",
       "198cd2006f66ff83fbbd913f78aca2251caf4f19fe9475aade8cf2091b99a684"
       "66775177424f58286886cbae8229644cec747237d4b721735485e17372fdf59c"},
      {"short key", "key", "The quick brown fox jumps over the lazy dog",
       "92294f92c0dfb9b00ec9ae8bd94d7e7d8a036b885a499f149dfe2fd2199394aa"
       "af6b8894a1730cccb2cd050f9bcf5062a38b51b0dab33207f8ef35ae2c9df51b"},
      {"key of one block", std::string(128, 'k'), "m",
       "7aadba7b8c56b8754c245c94c8c89d08fa65ca4ad9944318f666ed84d37f0458"
       "a782ef49436245941ffd92831834dfbabe9e037164796eff56dd80fe0f76e359"},
      {"key that is hashed first", std::string(129, 'k'), "m",
       "40acfeb5449ec33cc62e015533397ae66bd17f316ea1ddbd6d8175bf74f9e18f"
       "71a9b409acf51c7f83921b89e90d044d4e1bdee02f6862181f49e5d45ef34484"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(to_hex(hmac512(as_bytes(row.key), as_bytes(row.message))), row.expected);
  }
}

TEST_F(Crypto, Ed25519OfRfc8032Section71) {
  struct Row {
    const char* name;
    const char* seed;
    const char* public_key;
    const char* message;
    const char* signature;
  };
  const Row rows[] = {
      {"test 1", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
       "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
      {"test 2", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
       "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const SignKey key = sign_key_from_seed(secret(row.seed));
    EXPECT_EQ(to_hex(key.public_key), row.public_key);
    EXPECT_EQ(to_hex(sign(key, hex(row.message))), row.signature);
    EXPECT_TRUE(verify(key.public_key, hex(row.message), hex_array<64>(row.signature)));
  }
}

TEST_F(Crypto, ASignatureWithAnyBitChangedIsRefused) {
  const SignKey key = sign_key_from_seed(secret(std::string(64, '1')));
  const Bytes message = to_bytes(as_bytes("a job moves"));
  const Signature good = sign(key, message);
  ASSERT_TRUE(verify(key.public_key, message, good));
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Signature bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    ASSERT_FALSE(verify(key.public_key, message, bad)) << bit;
  }
  Bytes other = message;
  other[0] ^= 1;
  EXPECT_FALSE(verify(key.public_key, other, good));
  const SignKey stranger = sign_key_from_seed(secret(std::string(64, '2')));
  EXPECT_FALSE(verify(stranger.public_key, message, good));
  EXPECT_FALSE(verify(SignPublic{}, message, Signature{})) << "a key of low order";
}

TEST_F(Crypto, X25519OfRfc7748Section61) {
  const DhKey bob = dh_key_from_secret(
      secret("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  EXPECT_EQ(to_hex(bob.public_key),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const auto shared =
      dh(bob, hex_array<32>("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
  ASSERT_TRUE(shared.ok());
  EXPECT_EQ(to_hex(shared->view()),
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

TEST_F(Crypto, X25519OfRfc7748Section52Iterated) {
  Bytes k(32);
  k[0] = 9;
  Bytes u = k;
  for (int i = 1; i <= 1000; ++i) {
    DhPublic point{};
    std::copy_n(u.begin(), point.size(), point.begin());
    DhKey mine;
    mine.secret = Secret<32>(k);
    const auto next = dh(mine, point);
    ASSERT_TRUE(next.ok());
    u = k;
    k = to_bytes(next->view());
    if (i == 1) {
      EXPECT_EQ(to_hex(k), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
  }
  EXPECT_EQ(to_hex(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

TEST_F(Crypto, APublicKeyOfLowOrderIsRefused) {
  const DhKey mine = dh_key_from_secret(secret(std::string(64, '7')));
  DhPublic one{};
  one[0] = 1;
  EXPECT_EQ(dh(mine, DhPublic{}).error().code, Code::kUnauthentic);
  EXPECT_EQ(dh(mine, one).error().code, Code::kUnauthentic);
}

constexpr std::string_view kSunscreen =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    "sunscreen would be it.";

TEST_F(Crypto, ChaChaPolyOfRfc8439Section282) {
  const SealKey key(Cipher::kChaChaPoly,
                    secret("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"));
  const auto nonce = hex_array<12>("070000004041424344454647");
  const Bytes ad = hex("50515253c0c1c2c3c4c5c6c7");
  Bytes sealed(kSunscreen.size() + kTagSize);
  key.seal(nonce, ad, as_bytes(kSunscreen), sealed);
  EXPECT_EQ(to_hex(sealed),
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
            "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
            "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
            "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691");
}

TEST_F(Crypto, AesGcmOfTheGcmSpecificationTestCase14) {
  if (!aes_available()) GTEST_SKIP() << "this CPU lacks the AES instructions that libsodium needs";
  const SealKey key(Cipher::kAesGcm, Secret<32>());
  Bytes sealed(16 + kTagSize);
  key.seal(Nonce{}, {}, Bytes(16), sealed);
  EXPECT_EQ(to_hex(sealed), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
}

TEST_F(Crypto, SealedBytesOpenInPlaceAndOnlyUndamaged) {
  std::vector<Cipher> ciphers = {Cipher::kChaChaPoly};
  if (aes_available()) ciphers.push_back(Cipher::kAesGcm);
  for (const Cipher cipher : ciphers) {
    SCOPED_TRACE(static_cast<int>(cipher));
    const SealKey key(cipher, secret(std::string(64, '3')));
    const Nonce nonce{1, 2, 3};
    const Bytes ad = {7, 7};
    for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 300U}) {
      SCOPED_TRACE(size);
      Bytes sealed(size + kTagSize, 0x55);
      key.seal(nonce, ad, ByteView(sealed).first(size), sealed);
      for (std::size_t i = 0; i < sealed.size(); ++i) {
        Bytes bad = sealed;
        bad[i] ^= 0x80;
        ASSERT_FALSE(key.open(nonce, ad, bad, bad)) << i;
      }
      Bytes scratch(sealed.size());
      EXPECT_FALSE(key.open(Nonce{9}, ad, sealed, scratch)) << "another nonce";
      EXPECT_FALSE(key.open(nonce, Bytes{7}, sealed, scratch)) << "other associated data";
      for (std::size_t cut = 0; cut < sealed.size(); ++cut) {
        ASSERT_FALSE(key.open(nonce, ad, ByteView(sealed).first(cut), scratch)) << cut;
      }
      ASSERT_TRUE(key.open(nonce, ad, sealed, sealed));
      EXPECT_EQ(to_bytes(ByteView(sealed).first(size)), Bytes(size, 0x55));
    }
  }
}

TEST_F(Crypto, AMovedSealKeyStillOpens) {
  SealKey first(Cipher::kChaChaPoly, secret(std::string(64, '3')));
  SealKey second(Cipher::kChaChaPoly, secret(std::string(64, '4')));
  Bytes sealed(5 + kTagSize);
  first.seal(Nonce{}, {}, as_bytes("hello"), sealed);
  EXPECT_FALSE(second.open(Nonce{}, {}, sealed, MutableByteView(sealed)));
  first.seal(Nonce{}, {}, as_bytes("hello"), sealed);
  second = std::move(first);
  EXPECT_TRUE(second.open(Nonce{}, {}, sealed, sealed));
}

TEST_F(Crypto, ConstantTimeEqualityIsEquality) {
  EXPECT_TRUE(equal_constant_time({}, {}));
  EXPECT_TRUE(equal_constant_time(as_bytes("ab"), as_bytes("ab")));
  EXPECT_FALSE(equal_constant_time(as_bytes("ab"), as_bytes("ac")));
  EXPECT_FALSE(equal_constant_time(as_bytes("ab"), as_bytes("abc")));
}

TEST_F(Crypto, IdsAreHashesOfKeys) {
  const SignPublic key{1, 2, 3};
  EXPECT_EQ(node_id_of(key).bytes, hash128({key}));
  EXPECT_EQ(mesh_id_of(key).bytes, hash128({key}));
}

TEST(Secret, IsWipedWhenItGoes) {
  static_assert(!std::is_copy_constructible_v<Secret<32>>);
  static_assert(!std::is_copy_assignable_v<Secret<32>>);
  alignas(Secret<32>) std::array<unsigned char, sizeof(Secret<32>)> place{};
  auto* const held = new (place.data()) Secret<32>(Bytes(32, 0xaa));
  ASSERT_EQ(held->view()[31], 0xaa);
  held->~Secret();
  const volatile unsigned char* const left = place.data();
  for (std::size_t i = 0; i < place.size(); ++i) ASSERT_EQ(left[i], 0) << i;
}

TEST(Secret, AMoveLeavesNothingBehind) {
  Secret<32> from(Bytes(32, 0xaa));
  Secret<32> to(std::move(from));
  EXPECT_EQ(to_bytes(from.view()), Bytes(32, 0)) << "NOLINT(bugprone-use-after-move): the rule";
  EXPECT_EQ(to_bytes(to.view()), Bytes(32, 0xaa));
  Secret<32> assigned;
  assigned = std::move(to);
  EXPECT_EQ(to_bytes(to.view()), Bytes(32, 0));
  EXPECT_EQ(to_bytes(assigned.view()), Bytes(32, 0xaa));
  EXPECT_EQ(to_bytes(assigned.clone().view()), Bytes(32, 0xaa));
}

TEST(SecretDeathTest, AnotherSizeIsOurBug) {
  EXPECT_DEATH(Secret<32>(Bytes(31)), "size\\(\\) == N");
}

}  // namespace
}  // namespace base::crypto
