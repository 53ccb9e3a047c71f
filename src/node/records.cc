#include "node/records.h"

#include "node/limits.h"

namespace node {
namespace {

constexpr const char* kMemberPrefix = "member/";
constexpr const char* kAddressPrefix = "addr/";

}  // namespace

StoredRecords agreements_of(const StoredRecords& records) {
  StoredRecords agreements;
  for (const auto& [key, value] : records) {
    const std::string prefix = key.substr(0, 4);
    if (prefix == "own/" || prefix == "end/" || prefix == "acc/" || prefix == "tri/" ||
        prefix == "lin/") {
      agreements.emplace(key, value);
    }
  }
  return agreements;
}

identity::Roster roster_of(const StoredRecords& records, const base::crypto::SignPublic& root,
                           base::WallTime now) {
  identity::Roster roster(root);
  for (auto it = records.lower_bound(kMemberPrefix); it != records.end(); ++it) {
    if (!it->first.starts_with(kMemberPrefix)) break;
    (void)roster.learn(it->second, now).ok();
  }
  return roster;
}

std::map<base::NodeId, base::Endpoint> addresses_of(const StoredRecords& records) {
  std::map<base::NodeId, base::Endpoint> addresses;
  for (auto it = records.lower_bound(kAddressPrefix); it != records.end(); ++it) {
    if (!it->first.starts_with(kAddressPrefix) || addresses.size() >= kAddressesKeptMax) break;
    auto node = base::NodeId::from_hex_text(it->first.substr(std::string(kAddressPrefix).size()));
    auto endpoint = base::Endpoint::unpack(it->second);
    if (node && endpoint) addresses.emplace(*node, *endpoint);
  }
  return addresses;
}

std::string address_key(const base::NodeId& node) { return kAddressPrefix + node.hex(); }

}  // namespace node
