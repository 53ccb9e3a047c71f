#include "node/records.h"

#include "node/limits.h"

namespace node {
namespace {

constexpr const char* kMemberPrefix = "member/";
constexpr const char* kAddressPrefix = "addr/";
constexpr const char* kMetPrefix = "met/";

// Calls `each` with the nodes and endpoints under a prefix until it says that it has enough.
template <typename Each>
void read_endpoints(const StoredRecords& records, const std::string& prefix, Each each) {
  for (auto it = records.lower_bound(prefix); it != records.end(); ++it) {
    if (!it->first.starts_with(prefix)) return;
    const auto node = base::NodeId::from_hex_text(it->first.substr(prefix.size()));
    const auto endpoint = base::Endpoint::unpack(it->second);
    if (node && endpoint && !each(*node, *endpoint)) return;
  }
}

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

base::NodeMap<base::Endpoint> addresses_of(const StoredRecords& records) {
  base::NodeMap<base::Endpoint> addresses;
  read_endpoints(records, kAddressPrefix, [&](const base::NodeId& node, const base::Endpoint& at) {
    addresses[node] = at;
    return addresses.size() < kAddressesKeptMax;
  });
  return addresses;
}

std::deque<Whereabouts> met_of(const StoredRecords& records) {
  std::deque<Whereabouts> met;
  read_endpoints(records, kMetPrefix, [&](const base::NodeId& node, const base::Endpoint& at) {
    met.push_back({node, at});
    return met.size() < kMetKeptMax;
  });
  return met;
}

std::string address_key(const base::NodeId& node) { return kAddressPrefix + node.hex(); }
std::string met_key(const base::NodeId& node) { return kMetPrefix + node.hex(); }

}  // namespace node
