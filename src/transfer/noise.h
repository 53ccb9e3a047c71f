// The Noise Protocol Framework, revision 34, over 25519, BLAKE2b-512 and ChaChaPoly or AESGCM.
//
// No I/O and no entropy: ephemeral secrets arrive as arguments, so the same inputs give the same
// bytes and the published vectors (tests/vectors/noise.json) can be replayed. Transports use XX
// (members) and XXpsk3 (joining by ticket); the other patterns are here for the vectors, which
// test tokens that XX alone would not.
//
//   HandshakeState: write and read alternate, the initiator begins.
//       kFresh --write/read--> ... --last message--> kDone --split()--> two CipherStates
//       any refused message or misuse by the peer --> kFailed, for good (§5.3: a failed
//       ReadMessage ends the handshake)
//
// Rules and where they come from (sections of the specification):
//   §5.1  a CipherState's nonce counts up; 2^64-1 is reserved, reaching it is an error (kFull).
//   §5.1  a message that does not authenticate leaves the nonce as it was.
//   §4.2  REKEY(k): the first 32 bytes of ENCRYPT(k, 2^64-1, "", 32 zero bytes).
//   §12.3 ChaChaPoly nonce: 4 zero bytes, then the counter little-endian;
//   §12.4 AESGCM nonce: 4 zero bytes, then the counter big-endian.
//   §9.2  in a psk handshake the token "e" also mixes the ephemeral public key into the key.
//   §3    no message is longer than 65535 bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/result.h"
#include "base/secret.h"

namespace transfer::noise {

using base::crypto::Cipher;
using base::crypto::DhKey;
using base::crypto::DhPublic;
using base::crypto::Hash512;

inline constexpr std::size_t kMessageSizeMax = 65535;
inline constexpr std::uint64_t kNonceReserved = UINT64_MAX;

enum class Pattern { kNN, kKK, kXK, kIK, kXX, kXXpsk3, kIKpsk2 };
[[nodiscard]] std::string protocol_name(Pattern pattern, Cipher cipher);

// One direction's key and counter.
class CipherState {
 public:
  CipherState(Cipher cipher, base::Secret<32> key);

  // `out` has room for plain.size() + kTagSize and may start where `plain` starts. kFull: the
  // nonces are used up; nothing was written.
  [[nodiscard]] base::Status seal(base::ByteView ad, base::ByteView plain,
                                  base::MutableByteView out);
  // `out` has room for sealed.size() - kTagSize and may start where `sealed` starts.
  // kUnauthentic: the nonce has not moved, `out` is unspecified. kFull as above.
  [[nodiscard]] base::Status open(base::ByteView ad, base::ByteView sealed,
                                  base::MutableByteView out);
  void rekey();                                            // §4.2; the counter goes on
  void set_nonce(std::uint64_t nonce) { nonce_ = nonce; }  // SetNonce() of §5.1
  [[nodiscard]] std::uint64_t nonce() const { return nonce_; }

 private:
  [[nodiscard]] base::crypto::Nonce nonce_bytes(std::uint64_t counter) const;

  Cipher cipher_;
  base::crypto::SealKey key_;
  std::uint64_t nonce_ = 0;
};

// §5.2. The chaining key and the transcript hash.
class SymmetricState {
 public:
  SymmetricState(const std::string& protocol_name, Cipher cipher);
  void mix_key(base::ByteView input);
  void mix_hash(base::ByteView data);
  void mix_key_and_hash(base::ByteView input);
  // Appends to `out`.
  [[nodiscard]] base::Status encrypt_and_hash(base::ByteView plain, base::Bytes& out);
  [[nodiscard]] base::Result<base::Bytes> decrypt_and_hash(base::ByteView sealed);
  [[nodiscard]] bool has_key() const { return cipher_state_.has_value(); }
  [[nodiscard]] const Hash512& hash() const { return hash_; }

  struct Pair {
    CipherState first;   // initiator to responder
    CipherState second;  // responder to initiator
  };
  [[nodiscard]] Pair split() const;

 private:
  Cipher cipher_;
  base::Secret<64> chaining_key_;
  Hash512 hash_{};
  std::optional<CipherState> cipher_state_;
};

// What a handshake starts from. Keys that the pattern does not use are ignored; keys that it needs
// must be there (CHECK): which pattern is run is the caller's choice, never the peer's. The psk
// must be there before the message that mixes it, at the latest by set_psk().
struct HandshakeConfig {
  Pattern pattern = Pattern::kXX;
  Cipher cipher = Cipher::kChaChaPoly;
  bool initiator = false;
  base::Bytes prologue;
  std::optional<DhKey> static_key;
  base::Secret<32> ephemeral;  // fresh for every handshake, never used again
  std::optional<DhPublic> remote_static;
  std::optional<base::Secret<32>> psk;
};

class HandshakeState {
 public:
  explicit HandshakeState(HandshakeConfig config);

  [[nodiscard]] bool done() const { return !failed_ && next_message_ == message_count(); }
  [[nodiscard]] bool failed() const { return failed_; }
  // Whether the next message is ours to write. False once done or failed.
  [[nodiscard]] bool writes_next() const;
  void set_psk(base::Secret<32> psk) { psk_ = std::move(psk); }

  // Legal when writes_next(). kTooLarge: the message would be over 65535 bytes.
  [[nodiscard]] base::Result<base::Bytes> write_message(base::ByteView payload);
  // Legal when neither done() nor writes_next(). Returns the payload, which is only as
  // confidential and authentic as §7.7 says for this message of the pattern.
  [[nodiscard]] base::Result<base::Bytes> read_message(base::ByteView message);

  // The remote static key: given, or proven by the peer once a later token used it (at done()).
  [[nodiscard]] const std::optional<DhPublic>& remote_static() const { return remote_static_; }
  [[nodiscard]] const Hash512& handshake_hash() const { return symmetric_.hash(); }  // §11.2

  struct Transport {
    CipherState send;
    CipherState receive;
  };
  [[nodiscard]] Transport split() const;  // legal once done()

 private:
  enum class Token : std::uint8_t { kE, kS, kEe, kEs, kSe, kSs, kPsk };
  struct Message {
    std::uint8_t count;
    Token tokens[5];
  };
  struct Script {
    const char* name;
    bool initiator_known;  // the initiator's static key is a pre-message
    bool responder_known;
    bool psk;
    std::uint8_t message_count;
    Message messages[3];
  };
  static const Script& script_of(Pattern pattern);
  friend std::string protocol_name(Pattern pattern, Cipher cipher);

  [[nodiscard]] std::size_t message_count() const { return script_->message_count; }
  void mix_known_statics();
  [[nodiscard]] base::Status write_token(Token token, base::Bytes& out);
  [[nodiscard]] base::Status read_token(Token token, base::ByteView& rest);
  [[nodiscard]] base::Status mix_dh(Token token);
  void mix_ephemeral(const DhPublic& key);
  [[nodiscard]] base::Error fail_with(base::Error error);

  const Script* script_;
  bool initiator_;
  SymmetricState symmetric_;
  std::optional<DhKey> static_;
  DhKey ephemeral_;
  std::optional<DhPublic> remote_static_;
  std::optional<DhPublic> remote_ephemeral_;
  std::optional<base::Secret<32>> psk_;
  std::size_t next_message_ = 0;
  bool failed_ = false;
};

}  // namespace transfer::noise
