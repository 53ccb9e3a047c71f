#include "gossip/digest.h"

#include <algorithm>
#include <cstdlib>

#include "base/wire.h"

namespace gossip {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;

constexpr std::string_view kDomain = "tern digest";
constexpr std::size_t kMeshAt = 1;
constexpr std::size_t kNodeAt = 17;
constexpr std::size_t kIncarnationAt = 33;
constexpr std::size_t kSequenceAt = 41;
constexpr std::size_t kBodyAt = 49;
constexpr std::size_t kBodyFields = 15;
constexpr std::uint64_t kMilliMax = 1'000'000'000;
constexpr std::uint64_t kJobsMax = 1'000'000;

Bytes to_be_signed(ByteView content) {
  Bytes out = base::to_bytes(base::as_bytes(kDomain));
  out.insert(out.end(), content.begin(), content.end());
  return out;
}

std::uint64_t milli(std::int64_t value) {
  return static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(value, 0, static_cast<std::int64_t>(kMilliMax)));
}

Bytes encode_body(const DigestFields& fields) {
  base::Writer w;
  w.array(kBodyFields).u64(milli(fields.effective_milli)).u64(milli(fields.ratio_milli));
  w.i64(fields.trit).u64(milli(fields.cpus_milli));
  w.u64(fields.mem_total_bytes).u64(fields.mem_free_bytes);
  w.u64(std::min<std::uint64_t>(fields.jobs, kJobsMax));
  w.u64(std::min<std::uint64_t>(fields.parked, kJobsMax));
  if (fields.seat) {
    w.array(3).id(fields.seat->triad).u64(static_cast<std::uint64_t>(fields.seat->role));
    w.counter(fields.seat->term);
  } else {
    w.array(0);
  }
  w.u64(static_cast<std::uint64_t>(fields.power)).u64(fields.capabilities);
  w.boolean(fields.accepts_jobs).boolean(fields.left).array(fields.addresses.size());
  for (const base::Endpoint& address : fields.addresses) w.bin(address.packed());
  w.text(fields.version);
  return w.take();
}

void read_seat(base::Reader& reader, DigestFields& fields) {
  const std::size_t size = reader.array(3);
  if (size == 0) return;
  if (size != 3) return reader.reject("a seat has three fields");
  Seat seat;
  seat.triad = reader.id<base::TriadId>();
  seat.role = reader.enumeration(SeatRole::kSink);
  seat.term = reader.counter<base::Term>();
  fields.seat = seat;
}

int read_trit(base::Reader& reader) {
  const std::int64_t trit = reader.i64();
  if (trit < -1 || trit > 1) reader.reject("a trit is -1, 0 or 1");
  return reader.ok() ? static_cast<int>(trit) : 0;
}

}  // namespace

bool worth_telling(const DigestFields& told, const DigestFields& now) {
  if (std::abs(told.effective_milli - now.effective_milli) >= kRatioStepMilli) return true;
  const auto [low, high] = std::minmax(told.mem_free_bytes, now.mem_free_bytes);
  if (high - low > now.mem_total_bytes / kMemoryStepPart) return true;
  const auto facts = [](const DigestFields& f) {
    return std::tie(f.trit, f.seat, f.jobs, f.parked, f.cpus_milli, f.power, f.capabilities,
                    f.accepts_jobs, f.left, f.addresses, f.version);
  };
  return facts(told) != facts(now);
}

SharedBytes make_digest(const DigestHead& head, const DigestFields& fields,
                        const base::crypto::SignKey& key) {
  CHECK(head.node == base::crypto::node_id_of(key.public_key));
  CHECK(fields.addresses.size() <= kAddressesMax);
  CHECK(fields.version.size() <= kVersionTextMax);
  const Bytes body = encode_body(fields);
  Bytes out(kBodyAt);
  out[0] = head.format;
  std::copy(head.mesh.bytes.begin(), head.mesh.bytes.end(), out.begin() + kMeshAt);
  std::copy(head.node.bytes.begin(), head.node.bytes.end(), out.begin() + kNodeAt);
  base::put_le64(base::MutableByteView(out).subspan(kIncarnationAt, 8), head.incarnation.value);
  base::put_le64(base::MutableByteView(out).subspan(kSequenceAt, 8), head.sequence.value);
  out.insert(out.end(), body.begin(), body.end());
  const auto signature = base::crypto::sign(key, to_be_signed(out));
  out.insert(out.end(), signature.begin(), signature.end());
  CHECK(out.size() <= kDigestSizeMax);
  return std::make_shared<const Bytes>(std::move(out));
}

base::Result<DigestHead> peek_digest(ByteView bytes) {
  if (bytes.size() > kDigestSizeMax) return base::fail(Code::kTooLarge, "a digest is too long");
  if (bytes.size() <= kBodyAt + base::crypto::kSignatureSize || bytes[0] == 0) {
    return base::fail(Code::kInvalid, "a digest ends early");
  }
  DigestHead head;
  head.format = bytes[0];
  std::copy_n(bytes.begin() + kMeshAt, base::MeshId::kSize, head.mesh.bytes.begin());
  std::copy_n(bytes.begin() + kNodeAt, base::NodeId::kSize, head.node.bytes.begin());
  head.incarnation.value = base::get_le64(bytes.subspan(kIncarnationAt, 8));
  head.sequence.value = base::get_le64(bytes.subspan(kSequenceAt, 8));
  return head;
}

bool verify_digest(ByteView bytes, const base::crypto::SignPublic& key) {
  constexpr std::size_t kSignatureSize = base::crypto::kSignatureSize;
  if (bytes.size() <= kSignatureSize) return false;
  base::crypto::Signature signature{};
  std::copy_n(bytes.end() - kSignatureSize, kSignatureSize, signature.begin());
  const ByteView content = bytes.first(bytes.size() - kSignatureSize);
  return base::crypto::verify(key, to_be_signed(content), signature);
}

base::Result<DigestFields> decode_digest(ByteView bytes) {
  if (const auto head = peek_digest(bytes); !head) return head.error();
  if (bytes[0] != kDigestFormat) {
    return base::fail(Code::kUnsupported, "a digest of a newer version");
  }
  base::Reader reader(
      bytes.subspan(kBodyAt, bytes.size() - kBodyAt - base::crypto::kSignatureSize));
  reader.array_of(kBodyFields);
  DigestFields fields;
  fields.effective_milli = static_cast<std::int64_t>(reader.u64(kMilliMax));
  fields.ratio_milli = static_cast<std::int64_t>(reader.u64(kMilliMax));
  fields.trit = read_trit(reader);
  fields.cpus_milli = static_cast<std::int64_t>(reader.u64(kMilliMax));
  fields.mem_total_bytes = reader.u64();
  fields.mem_free_bytes = reader.u64();
  fields.jobs = static_cast<std::uint32_t>(reader.u64(kJobsMax));
  fields.parked = static_cast<std::uint32_t>(reader.u64(kJobsMax));
  read_seat(reader, fields);
  fields.power = reader.enumeration(Power::kBatteryLow);
  fields.capabilities = reader.u64();
  fields.accepts_jobs = reader.boolean();
  fields.left = reader.boolean();
  const std::size_t addresses = reader.array(kAddressesMax);
  for (std::size_t i = 0; i < addresses && reader.ok(); ++i) {
    const auto packed = reader.fixed<base::Endpoint::kPackedSize>();
    const auto address = base::Endpoint::unpack(packed);
    CHECK(address.ok());
    fields.addresses.push_back(*address);
  }
  fields.version = reader.text(kVersionTextMax);
  if (const auto status = reader.finish(); !status) return status.error();
  return fields;
}

}  // namespace gossip
