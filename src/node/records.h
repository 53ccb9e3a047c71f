// What a node finds in its store at start, part by part (node.h lists the keys).
#pragma once

#include <deque>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/endpoint.h"
#include "base/id_map.h"
#include "base/ids.h"
#include "base/time.h"
#include "identity/roster.h"
#include "node/job_wire.h"

namespace node {

using StoredRecords = std::map<std::string, base::Bytes>;

// The records that are balance's own; what it cannot read makes it refuse every seat.
[[nodiscard]] StoredRecords agreements_of(const StoredRecords& records);
// A certificate that has expired is left out.
[[nodiscard]] identity::Roster roster_of(const StoredRecords& records,
                                         const base::crypto::SignPublic& root, base::WallTime now);
// Where members were seen; at most kAddressesKeptMax, what cannot be read is left out.
[[nodiscard]] base::NodeMap<base::Endpoint> addresses_of(const StoredRecords& records);
[[nodiscard]] std::string address_key(const base::NodeId& node);
// The same of those whom triads and jobs met; at most kMetKeptMax.
[[nodiscard]] std::deque<Whereabouts> met_of(const StoredRecords& records);
[[nodiscard]] std::string met_key(const base::NodeId& node);

}  // namespace node
