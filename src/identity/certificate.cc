#include "identity/certificate.h"

#include <algorithm>

#include "base/wire.h"

namespace identity {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::Reader;
using base::Result;
using base::Writer;

constexpr std::string_view kDomain = "tern certificate 1";
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kBodyFields = 10;

Bytes to_be_signed(ByteView body) {
  Bytes out = base::to_bytes(base::as_bytes(kDomain));
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Bytes encode(const CertificateBody& body) {
  Writer writer;
  writer.array(kBodyFields).u64(kVersion).id(body.mesh).id(body.issuer).text(body.name);
  writer.bin(body.sign_public).bin(body.dh_public).u64(body.roles);
  writer.i64(base::wall_seconds(body.not_before)).i64(base::wall_seconds(body.not_after));
  writer.u64(body.serial);
  return writer.take();
}

Result<CertificateBody> decode(ByteView bytes) {
  Reader reader(bytes);
  reader.array_of(kBodyFields);
  if (reader.u64() != kVersion) reader.reject("a certificate of a version that is not known here");
  CertificateBody body;
  body.mesh = reader.id<base::MeshId>();
  body.issuer = reader.id<base::NodeId>();
  body.name = reader.text(kNameSizeMax);
  body.sign_public = reader.fixed<32>();
  body.dh_public = reader.fixed<32>();
  body.roles = reader.u64();
  body.not_before = base::WallTime{reader.i64()};
  body.not_after = base::WallTime{reader.i64()};
  body.serial = reader.u64();
  if (const auto status = reader.finish(); !status) return status.error();
  if (const auto status = check_name(body.name); !status) return status.error();
  return body;
}

// The body of a signed certificate, once its signature held under `key`.
Result<CertificateBody> open(ByteView signed_bytes, const base::crypto::SignPublic& key) {
  using base::crypto::kSignatureSize;
  if (signed_bytes.size() <= kSignatureSize) {
    return fail(Code::kInvalid, "a certificate ends early");
  }
  base::crypto::Signature signature{};
  std::copy_n(signed_bytes.begin(), kSignatureSize, signature.begin());
  const ByteView body = signed_bytes.subspan(kSignatureSize);
  if (!base::crypto::verify(key, to_be_signed(body), signature)) {
    return fail(Code::kUnauthentic, "the signature of a certificate does not hold");
  }
  return decode(body);
}

base::Status check_dates(const CertificateBody& body, base::WallTime now) {
  const std::int64_t seconds = base::wall_seconds(now);
  const std::int64_t latest_clock =
      seconds > INT64_MAX - kNotBeforeGrace.count() ? INT64_MAX : seconds + kNotBeforeGrace.count();
  if (latest_clock < base::wall_seconds(body.not_before)) {
    return fail(Code::kStale,
                "the certificate of " + body.name + " is not yet valid (is this clock right?)");
  }
  if (seconds > base::wall_seconds(body.not_after)) {
    return fail(Code::kStale, "the certificate of " + body.name + " has expired");
  }
  return {};
}

base::Status check_common(const CertificateBody& body, const base::MeshId& mesh,
                          const base::NodeId& issuer) {
  if (body.mesh != mesh || body.issuer != issuer) {
    return fail(Code::kRefused, "a certificate names another mesh or issuer than its signer");
  }
  if ((body.roles & kMember) == 0) {
    return fail(Code::kRefused, "a certificate without the role of a member");
  }
  return {};
}

struct RawChain {
  base::MeshId mesh;
  std::vector<ByteView> certificates;  // borrowed
};

Result<RawChain> parse_chain(ByteView chain) {
  if (chain.size() > kChainSizeMax) return fail(Code::kTooLarge, "a certificate chain is too long");
  Reader reader(chain);
  reader.array_of(3);
  const std::uint64_t version = reader.u64();
  if (reader.ok() && version != kVersion) {
    return fail(Code::kUnsupported, "the certificate was written by another version of tern");
  }
  RawChain out;
  out.mesh = reader.id<base::MeshId>();
  const std::size_t count = reader.array(kChainLengthMax);
  if (count == 0) reader.reject("a certificate chain without certificates");
  for (std::size_t i = 0; i < count; ++i) out.certificates.push_back(reader.bin(kSignedSizeMax));
  if (const auto status = reader.finish(); !status) return status.error();
  return out;
}

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

base::Status check_name(std::string_view name) {
  const bool fits = !name.empty() && name.size() <= kNameSizeMax && is_alphanumeric(name.front()) &&
                    is_alphanumeric(name.back()) &&
                    std::all_of(name.begin(), name.end(),
                                [](char c) { return is_alphanumeric(c) || c == '-' || c == '.'; });
  if (fits) return {};
  return fail(
      Code::kInvalid,
      "a name has 1 to 63 characters a-z, 0-9, - and ., the first and last a letter or digit");
}

base::NodeId root_issuer_id(const base::crypto::SignPublic& root) {
  return base::crypto::node_id_of(root);
}

Bytes issue(const CertificateBody& body, const base::crypto::SignKey& issuer) {
  CHECK(check_name(body.name).ok());
  CHECK(body.issuer == base::crypto::node_id_of(issuer.public_key));
  const Bytes encoded = encode(body);
  const auto signature = base::crypto::sign(issuer, to_be_signed(encoded));
  Bytes out(signature.begin(), signature.end());
  out.insert(out.end(), encoded.begin(), encoded.end());
  CHECK(out.size() <= kSignedSizeMax);
  return out;
}

Bytes make_chain(const base::MeshId& mesh, const std::vector<Bytes>& signed_certificates) {
  CHECK(!signed_certificates.empty());
  CHECK(signed_certificates.size() <= kChainLengthMax);
  Writer writer;
  writer.array(3).u64(kVersion).id(mesh).array(signed_certificates.size());
  for (const Bytes& one : signed_certificates) writer.bin(one);
  return writer.take();
}

Result<std::vector<Bytes>> split_chain(ByteView chain) {
  auto raw = parse_chain(chain);
  if (!raw) return raw.error();
  std::vector<Bytes> out;
  for (const ByteView one : raw->certificates) out.push_back(base::to_bytes(one));
  return out;
}

Result<Certificate> verify(ByteView chain, const base::crypto::SignPublic& root,
                           base::WallTime now) {
  auto raw = parse_chain(chain);
  if (!raw) return raw.error();
  const base::MeshId mesh = base::crypto::mesh_id_of(root);
  if (raw->mesh != mesh) return fail(Code::kRefused, "the certificate belongs to another mesh");
  base::crypto::SignPublic key = root;
  base::NodeId issuer = root_issuer_id(root);
  base::WallTime not_after{INT64_MAX};
  if (raw->certificates.size() == kChainLengthMax) {
    auto inviter = open(raw->certificates[1], root);
    if (!inviter) return inviter.error();
    if (auto status = check_common(*inviter, mesh, issuer); !status) return status.error();
    if (!inviter->is_inviter()) {
      return fail(Code::kRefused, inviter->name + " may not invite, but signed a certificate");
    }
    if (auto status = check_dates(*inviter, now); !status) return status.error();
    key = inviter->sign_public;
    issuer = inviter->id();
    not_after = inviter->not_after;
  }
  auto body = open(raw->certificates[0], key);
  if (!body) return body.error();
  if (auto status = check_common(*body, mesh, issuer); !status) return status.error();
  if (raw->certificates.size() == kChainLengthMax && body->is_inviter()) {
    return fail(Code::kRefused, "only the root makes inviters");
  }
  if (auto status = check_dates(*body, now); !status) return status.error();
  const base::NodeId id = body->id();
  not_after = std::min(not_after, body->not_after);
  return Certificate{std::move(*body), id, base::to_bytes(chain), not_after};
}

}  // namespace identity
