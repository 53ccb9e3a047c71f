#include "identity/keys.h"

#include <gtest/gtest.h>

namespace identity {
namespace {

using base::Bytes;

base::Secret<32> seed(std::uint8_t fill) { return base::Secret<32>(Bytes(32, fill)); }

TEST(Keyring, ReadsBackWithAndWithoutARoot) {
  ASSERT_TRUE(base::crypto::init().ok());
  for (const bool with_root : {false, true}) {
    Keyring keyring{NodeKeys::make(seed(1), seed(2)), std::nullopt};
    if (with_root) keyring.root = base::crypto::sign_key_from_seed(seed(3));
    const auto blob = encode_keyring(keyring);
    const auto back = decode_keyring(blob.view());
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->node.id(), keyring.node.id());
    EXPECT_EQ(back->node.dh.public_key, keyring.node.dh.public_key);
    ASSERT_EQ(back->root.has_value(), with_root);
    if (with_root) {
      EXPECT_EQ(back->root->public_key, keyring.root->public_key);
    }
  }
}

TEST(Keyring, EveryDamageIsSeen) {
  ASSERT_TRUE(base::crypto::init().ok());
  const Keyring keyring{NodeKeys::make(seed(1), seed(2)), std::nullopt};
  const auto blob = encode_keyring(keyring);
  for (std::size_t at = 0; at < KeyringBlob::kSize; ++at) {
    Bytes damaged = base::to_bytes(blob.view());
    damaged[at] ^= 0x10;
    EXPECT_FALSE(decode_keyring(damaged).ok()) << at;
    EXPECT_FALSE(decode_keyring(blob.view().first(at)).ok()) << at;
  }
  Bytes longer = base::to_bytes(blob.view());
  longer.push_back(0);
  EXPECT_FALSE(decode_keyring(longer).ok());
  Bytes newer = base::to_bytes(blob.view());
  newer[4] = 2;
  EXPECT_EQ(decode_keyring(newer).error().code, base::Code::kUnsupported);
}

TEST(NodeKeys, ACloneSignsTheSame) {
  ASSERT_TRUE(base::crypto::init().ok());
  const NodeKeys keys = NodeKeys::make(seed(1), seed(2));
  const NodeKeys copy = keys.clone();
  const Bytes message{1, 2, 3};
  EXPECT_EQ(base::crypto::sign(keys.sign, message), base::crypto::sign(copy.sign, message));
}

}  // namespace
}  // namespace identity
