// What `tern share`, `tern inbox` and `tern policy` show (control/report.h has the rules). Names of
// files are bytes: in JSON a text, or {"base64":...} where they are no UTF-8.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace control {

// Who takes the files: {"to","to_name","waits"}; of a dry run, whether somebody there has to say
// yes first. `free_bytes` is not told.
struct ShareTarget {
  std::string to;
  std::string to_name;
  bool waits = false;
};

struct InboxItem {
  std::string id;     // of what has not arrived: `tern inbox accept ID`
  std::string state;  // waiting, accepted, arriving, incomplete, arrived
  std::string name;   // bytes; of several, the first
  std::string from;   // the node's name
  std::string user;   // who shared it there
  std::uint64_t items = 1;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t received_bytes = 0;
  bool folder = false;
  std::int64_t at = 0;  // wall seconds: arrived, or tried last
};

// {"path","share","free_bytes","items":[...]}
struct InboxReport {
  std::string path;
  std::string share;  // yes, no, ask
  std::uint64_t free_bytes = 0;
  std::vector<InboxItem> items;
};

// {"share","inbox","jobs","no_jobs","root_jobs","uids"}
struct PolicyReport {
  std::string share;  // yes, no, ask
  std::string inbox;
  bool jobs = false;    // foreign jobs may come
  std::string no_jobs;  // why none may, now or ever
  bool root_jobs = false;
  std::vector<std::int64_t> uids;  // whose foreign jobs may run here
  // What guests do while the owner needs the machine, as its settings say it (node/owner.h).
  std::string owner_active;
  std::string on_battery;
  std::string battery_low;
  std::string on_metered;
  std::string on_sleep;
};

[[nodiscard]] std::string to_json(const ShareTarget& target);
[[nodiscard]] std::string to_json(const InboxItem& item);
[[nodiscard]] std::string to_json(const InboxReport& inbox);
[[nodiscard]] std::string to_json(const PolicyReport& policy);
[[nodiscard]] base::Result<ShareTarget> parse_share_target(std::string_view json);
[[nodiscard]] base::Result<InboxItem> parse_inbox_item(std::string_view json);
[[nodiscard]] base::Result<InboxReport> parse_inbox(std::string_view json);
[[nodiscard]] base::Result<PolicyReport> parse_policy(std::string_view json);

// ---- events of a share, whole lines
[[nodiscard]] std::string accepted_line(const ShareTarget& target);
[[nodiscard]] std::string record_line(base::ByteView record);
struct ShareEvent {
  std::optional<ShareTarget> accepted;
  base::Bytes record;  // where it is not that
};
[[nodiscard]] base::Result<ShareEvent> parse_share_event(std::string_view json);

}  // namespace control
