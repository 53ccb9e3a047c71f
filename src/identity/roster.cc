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

Roster::Members::const_iterator Roster::place_of(const base::NodeId& id) const {
  return std::lower_bound(
      members_.begin(), members_.end(), id,
      [](const auto& one, const base::NodeId& wanted) { return one->id < wanted; });
}

base::Result<Roster::Learned> Roster::take(std::shared_ptr<const Certificate> certificate) {
  const auto at = place_of(certificate->id);
  if (is_at(at, certificate->id)) {
    if (age(certificate->body) <= age((*at)->body)) return Learned::kKnown;
    members_[static_cast<std::size_t>(at - members_.begin())] = std::move(certificate);
    return Learned::kRenewed;
  }
  if (members_.size() >= kRosterMax) {
    return base::fail(base::Code::kFull, "no more members can be remembered here");
  }
  members_.insert(at, std::move(certificate));
  return Learned::kNew;
}

void Roster::forget(const base::NodeId& id) {
  const auto at = place_of(id);
  if (is_at(at, id)) members_.erase(at);
}

const Certificate* Roster::find(const base::NodeId& id) const {
  const auto at = place_of(id);
  return is_at(at, id) ? at->get() : nullptr;
}

const Certificate* Roster::find_prefix(base::ByteView prefix,
                                       const std::function<bool(const Certificate&)>& fits) const {
  CHECK(prefix.size() <= base::NodeId::kSize);
  base::NodeId first;
  std::copy(prefix.begin(), prefix.end(), first.bytes.begin());
  for (auto it = place_of(first); it != members_.end(); ++it) {
    if (!std::equal(prefix.begin(), prefix.end(), (*it)->id.bytes.begin())) return nullptr;
    if (fits(**it)) return it->get();
  }
  return nullptr;
}

std::vector<base::NodeId> Roster::ids() const {
  std::vector<base::NodeId> out;
  out.reserve(members_.size());
  for (const auto& certificate : members_) out.push_back(certificate->id);
  return out;
}

std::vector<base::NodeId> Roster::expired(base::WallTime now) const {
  std::vector<base::NodeId> out;
  for (const auto& certificate : members_) {
    if (certificate->not_after < now) out.push_back(certificate->id);
  }
  return out;
}

base::Bytes Roster::encode() const {
  base::Writer writer;
  writer.array(3).u64(kVersion).array(members_.size());
  for (const auto& certificate : members_) writer.bin(certificate->chain);
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
