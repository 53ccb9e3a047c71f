#include "identity/keys.h"

#include <algorithm>

namespace identity {
namespace {

using base::ByteView;
using base::Secret;

constexpr std::string_view kMagic = "TRNK";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kRootFlagAt = 5;
constexpr std::size_t kSignSeedAt = 6;
constexpr std::size_t kDhSecretAt = 38;
constexpr std::size_t kRootSeedAt = 70;
constexpr std::size_t kCheckAt = 102;
constexpr std::size_t kCheckSize = 8;
static_assert(kCheckAt + kCheckSize == KeyringBlob::kSize);

void put(KeyringBlob& blob, std::size_t at, ByteView bytes) {
  std::copy(bytes.begin(), bytes.end(), blob.mutable_view().subspan(at).begin());
}

// libsodium keeps the seed in the first half of its secret key.
ByteView seed_of(const base::crypto::SignKey& key) { return key.secret.view().first(32); }

base::crypto::SignKey copy(const base::crypto::SignKey& key) {
  return {key.public_key, key.secret.clone()};
}

}  // namespace

NodeKeys NodeKeys::clone() const { return {copy(sign), {dh.public_key, dh.secret.clone()}}; }

NodeKeys NodeKeys::make(const Secret<32>& sign_seed, Secret<32> dh_secret) {
  return {base::crypto::sign_key_from_seed(sign_seed),
          base::crypto::dh_key_from_secret(std::move(dh_secret))};
}

KeyringBlob encode_keyring(const Keyring& keyring) {
  KeyringBlob blob;
  put(blob, 0, base::as_bytes(kMagic));
  blob.mutable_view()[kVersionAt] = kVersion;
  blob.mutable_view()[kRootFlagAt] = keyring.root ? 1 : 0;
  put(blob, kSignSeedAt, seed_of(keyring.node.sign));
  put(blob, kDhSecretAt, keyring.node.dh.secret.view());
  if (keyring.root) put(blob, kRootSeedAt, seed_of(*keyring.root));
  const auto check = base::crypto::hash128({blob.view().first(kCheckAt)});
  put(blob, kCheckAt, ByteView(check).first(kCheckSize));
  return blob;
}

base::Result<Keyring> decode_keyring(ByteView blob) {
  using base::Code;
  if (blob.size() <= kVersionAt) return base::fail(Code::kTruncated, "the key file ends early");
  if (base::as_text(blob.first(kMagic.size())) != kMagic) {
    return base::fail(Code::kInvalid, "this is no key file of tern");
  }
  if (blob[kVersionAt] != kVersion) {
    return base::fail(Code::kUnsupported, "the key file was written by another version of tern");
  }
  if (blob.size() < KeyringBlob::kSize) {
    return base::fail(Code::kTruncated, "the key file ends early");
  }
  const auto check = base::crypto::hash128({blob.first(kCheckAt)});
  const bool whole = blob.size() == KeyringBlob::kSize && blob[kRootFlagAt] <= 1 &&
                     std::equal(blob.begin() + kCheckAt, blob.end(), check.begin());
  if (!whole) return base::fail(Code::kInvalid, "the key file is damaged");
  Keyring keyring{NodeKeys::make(Secret<32>(blob.subspan(kSignSeedAt, 32)),
                                 Secret<32>(blob.subspan(kDhSecretAt, 32))),
                  std::nullopt};
  if (blob[kRootFlagAt] == 1) {
    keyring.root = base::crypto::sign_key_from_seed(Secret<32>(blob.subspan(kRootSeedAt, 32)));
  }
  return keyring;
}

}  // namespace identity
