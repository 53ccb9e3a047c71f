#include "identity/roster.h"

#include <algorithm>
#include <tuple>

#include "base/wire.h"

namespace identity {
namespace {

constexpr std::uint64_t kVersion = 1;

auto age(const CertificateBody& body) { return std::tuple(body.not_before, body.serial); }

}  // namespace

Roster::Roster(const base::crypto::SignPublic& root)
    : root_(root), mesh_(base::crypto::mesh_id_of(root)) {}

base::Result<Roster::Learned> Roster::learn(base::ByteView chain, base::WallTime now) {
  auto certificate = verify(chain, root_, now);
  if (!certificate) return certificate.error();
  return take(std::make_shared<const Certificate>(std::move(*certificate)));
}

base::Result<Roster::Learned> Roster::take(std::shared_ptr<const Certificate> certificate) {
  if (std::shared_ptr<const Certificate>* const known = members_.find(certificate->id)) {
    if (age(certificate->body) <= age((*known)->body)) return Learned::kKnown;
    *known = std::move(certificate);
    return Learned::kRenewed;
  }
  if (members_.size() >= kRosterMax) {
    return base::fail(base::Code::kFull, "no more members can be remembered here");
  }
  const base::NodeId id = certificate->id;
  members_[id] = std::move(certificate);
  return Learned::kNew;
}

void Roster::forget(const base::NodeId& id) { members_.erase(id); }

const Certificate* Roster::find(const base::NodeId& id) const {
  const auto* const found = members_.find(id);
  return found == nullptr ? nullptr : found->get();
}

const Certificate* Roster::find_prefix(base::ByteView prefix,
                                       const std::function<bool(const Certificate&)>& fits) const {
  CHECK(prefix.size() <= base::NodeId::kSize);
  base::NodeId first;
  std::copy(prefix.begin(), prefix.end(), first.bytes.begin());
  for (std::size_t i = members_.lower_bound(first); i < members_.size(); ++i) {
    if (!std::equal(prefix.begin(), prefix.end(), members_.ids()[i].bytes.begin())) return nullptr;
    const Certificate& one = *members_.value(i);
    if (fits(one)) return &one;
  }
  return nullptr;
}

std::vector<base::NodeId> Roster::expired(base::WallTime now) const {
  std::vector<base::NodeId> out;
  for (const base::NodeId& id : members_.ids()) {
    if (find(id)->not_after < now) out.push_back(id);
  }
  return out;
}

base::Bytes Roster::encode() const {
  base::Writer writer;
  writer.array(3).u64(kVersion).array(members_.size());
  for (const base::NodeId& id : members_.ids()) writer.bin(find(id)->chain);
  writer.array(0);
  return writer.take();
}

base::Result<Roster> Roster::decode(base::ByteView stored, const base::crypto::SignPublic& root,
                                    base::WallTime now) {
  base::Reader reader(stored);
  reader.array_of(3);
  const std::uint64_t version = reader.u64();
  if (reader.ok() && version != kVersion) {
    return base::fail(base::Code::kUnsupported,
                      "the roster was written by another version of tern");
  }
  std::vector<base::ByteView> chains;
  const std::size_t count = reader.array(kRosterMax);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) {
    chains.push_back(reader.bin(kChainSizeMax));
  }
  if (reader.array(0) != 0) reader.reject("revocations");
  if (const auto status = reader.finish(); !status) return status.error();
  Roster roster(root);
  for (const base::ByteView chain : chains) {
    const auto learned = roster.learn(chain, now);
    if (!learned && learned.error().code != base::Code::kStale) return learned.error();
  }
  return roster;
}

}  // namespace identity
