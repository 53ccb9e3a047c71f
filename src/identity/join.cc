#include "identity/join.h"

#include <algorithm>

#include "base/wire.h"

namespace identity {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;

constexpr std::uint64_t kVersion = 2;
constexpr std::uint64_t kVersionWithoutMeshName = 1;
constexpr std::string_view kDomain = "tern join 1";

Bytes proof_text(const TicketId& ticket, const base::crypto::DhPublic& dh, std::string_view name) {
  Bytes out = base::to_bytes(base::as_bytes(kDomain));
  out.insert(out.end(), ticket.bytes.begin(), ticket.bytes.end());
  out.insert(out.end(), dh.begin(), dh.end());
  const ByteView name_bytes = base::as_bytes(name);
  out.insert(out.end(), name_bytes.begin(), name_bytes.end());
  return out;
}

// Letters, digits and marks of ASCII: what a node's name with "-mesh" behind it is made of.
bool fit_to_show(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

Bytes encode_join_request(const NodeKeys& keys, const TicketId& ticket, std::string_view name) {
  CHECK(check_name(name).ok());
  const auto proof = base::crypto::sign(keys.sign, proof_text(ticket, keys.dh.public_key, name));
  base::Writer writer;
  writer.array(6).u64(kVersion).id(ticket).text(name);
  writer.bin(keys.sign.public_key).bin(keys.dh.public_key).bin(proof);
  return writer.take();
}

base::Result<JoinRequest> decode_join_request(ByteView bytes,
                                              const base::crypto::DhPublic& proven) {
  if (bytes.size() > kJoinMessageSizeMax) {
    return fail(Code::kTooLarge, "a join request is too long");
  }
  base::Reader reader(bytes);
  reader.array_of(6);
  JoinRequest request;
  request.version = reader.u64();
  if (request.version != kVersion && request.version != kVersionWithoutMeshName) {
    reader.reject("a join request of another version");
  }
  request.ticket = reader.id<TicketId>();
  request.name = reader.text(kNameSizeMax);
  request.sign_public = reader.fixed<32>();
  request.dh_public = reader.fixed<32>();
  const auto proof = reader.fixed<base::crypto::kSignatureSize>();
  if (const auto status = reader.finish(); !status) return status.error();
  if (const auto status = check_name(request.name); !status) return status.error();
  if (request.dh_public != proven) {
    return fail(Code::kUnauthentic, "the join request is for another key than the connection's");
  }
  if (!base::crypto::verify(request.sign_public,
                            proof_text(request.ticket, request.dh_public, request.name), proof)) {
    return fail(Code::kUnauthentic, "the joiner did not prove the signing key");
  }
  return request;
}

Bytes encode_join_reply(const JoinReply& reply, std::uint64_t version) {
  CHECK(reply.addresses.size() <= kTicketAddressesMax);
  CHECK(version == kVersion || version == kVersionWithoutMeshName);
  const bool named = version == kVersion;
  base::Writer writer;
  writer.array(named ? 7 : 6).u64(version).boolean(reply.accepted);
  writer.text(std::string_view(reply.reason).substr(0, kReasonSizeMax));
  writer.bin(reply.root).bin(reply.chain).array(reply.addresses.size());
  for (const base::Endpoint& address : reply.addresses) writer.bin(address.packed());
  if (named) writer.text(std::string_view(reply.mesh_name).substr(0, kMeshNameSizeMax));
  return writer.take();
}

base::Result<JoinReply> decode_join_reply(ByteView bytes) {
  if (bytes.size() > kJoinMessageSizeMax) return fail(Code::kTooLarge, "a join reply is too long");
  base::Reader reader(bytes);
  const std::size_t fields = reader.array(7);
  const std::uint64_t version = reader.u64();
  const bool named = version == kVersion && fields == 7;
  if (!named && !(version == kVersionWithoutMeshName && fields == 6)) {
    reader.reject("a join reply of another version");
  }
  JoinReply reply;
  reply.accepted = reader.boolean();
  reply.reason = reader.text(kReasonSizeMax);
  reply.root = reader.fixed<32>();
  reply.chain = base::to_bytes(reader.bin(kChainSizeMax));
  const std::size_t count = reader.array(kTicketAddressesMax);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) {
    const auto packed = reader.fixed<base::Endpoint::kPackedSize>();
    const auto address = base::Endpoint::unpack(packed);
    CHECK(address.ok());
    reply.addresses.push_back(*address);
  }
  if (named) reply.mesh_name = reader.text(kMeshNameSizeMax);
  if (!fit_to_show(reply.mesh_name)) reader.reject("a mesh whose name cannot be shown");
  if (const auto status = reader.finish(); !status) return status.error();
  return reply;
}

base::Result<Certificate> check_join_reply(const JoinReply& reply, const base::MeshId& mesh,
                                           const NodeKeys& keys, base::WallTime now) {
  if (!reply.accepted) return fail(Code::kRefused, reply.reason);
  if (base::crypto::mesh_id_of(reply.root) != mesh) {
    return fail(Code::kUnauthentic, "the answer comes from another mesh than the ticket's");
  }
  auto certificate = verify(reply.chain, reply.root, now);
  if (!certificate) return certificate.error();
  if (certificate->body.sign_public != keys.sign.public_key ||
      certificate->body.dh_public != keys.dh.public_key) {
    return fail(Code::kUnauthentic, "the certificate is for other keys than this node's");
  }
  return certificate;
}

}  // namespace identity
