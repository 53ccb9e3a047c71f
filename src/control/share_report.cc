#include "control/share_report.h"

#include <limits>

#include "control/base64.h"
#include "control/json.h"
#include "control/limits.h"
#include "control/response.h"

namespace control {
namespace {

constexpr std::size_t kWordBytesMax = 256;
constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();

std::string word(JsonReader& in, std::string_view name) { return in.text_or(name, kWordBytesMax); }

template <typename T>
base::Result<T> finished(const JsonReader& in, T value) {
  if (!in.ok()) return in.status().error();
  return value;
}

ShareTarget read_target(JsonReader& in) {
  ShareTarget target;
  target.to = word(in, "to");
  target.to_name = word(in, "to_name");
  target.waits = in.boolean_or("waits", false);
  return target;
}

InboxItem read_item(JsonReader& in) {
  InboxItem item;
  item.id = word(in, "id");
  item.state = word(in, "state");
  item.name = in.bytes("name", kWordBytesMax);
  item.from = word(in, "from");
  item.user = word(in, "user");
  item.items = in.natural_or("items", 1);
  item.files = in.natural_or("files");
  item.bytes = in.natural_or("bytes");
  item.received_bytes = in.natural_or("received_bytes");
  item.folder = in.boolean_or("folder", false);
  item.at = in.integer_or("at", 0, kAny, 0);
  return item;
}

}  // namespace

std::string to_json(const ShareTarget& target) {
  JsonWriter out;
  out.text("to", target.to).text("to_name", target.to_name).boolean("waits", target.waits);
  return out.finish();
}

std::string to_json(const InboxItem& item) {
  JsonWriter out;
  out.text("id", item.id).text("state", item.state).bytes("name", item.name);
  out.text("from", item.from).text("user", item.user);
  out.natural("items", item.items).natural("files", item.files);
  out.natural("bytes", item.bytes).natural("received_bytes", item.received_bytes);
  out.boolean("folder", item.folder).integer("at", item.at);
  return out.finish();
}

std::string to_json(const InboxReport& inbox) {
  std::vector<std::string> items;
  for (const InboxItem& item : inbox.items) items.push_back(to_json(item));
  JsonWriter out;
  out.bytes("path", inbox.path).text("share", inbox.share);
  out.natural("free_bytes", inbox.free_bytes).raw_list("items", items);
  return out.finish();
}

std::string to_json(const PolicyReport& policy) {
  std::vector<std::string> uids;
  for (const std::int64_t uid : policy.uids) uids.push_back(std::to_string(uid));
  JsonWriter out;
  out.text("share", policy.share).bytes("inbox", policy.inbox).boolean("jobs", policy.jobs);
  out.text("no_jobs", policy.no_jobs).boolean("root_jobs", policy.root_jobs);
  out.raw_list("uids", uids);
  out.text("owner_active", policy.owner_active).text("on_battery", policy.on_battery);
  out.text("battery_low", policy.battery_low).text("on_metered", policy.on_metered);
  out.text("on_sleep", policy.on_sleep);
  return out.finish();
}

base::Result<ShareTarget> parse_share_target(std::string_view json) {
  JsonReader in(json);
  ShareTarget target = read_target(in);
  return finished(in, std::move(target));
}

base::Result<InboxItem> parse_inbox_item(std::string_view json) {
  JsonReader in(json);
  InboxItem item = read_item(in);
  return finished(in, std::move(item));
}

base::Result<InboxReport> parse_inbox(std::string_view json) {
  JsonReader in(json);
  InboxReport inbox;
  inbox.path = in.bytes("path", kPathBytesMax);
  inbox.share = word(in, "share");
  inbox.free_bytes = in.natural_or("free_bytes");
  for (JsonReader& item : in.objects("items", kInboxItemsMax)) {
    inbox.items.push_back(read_item(item));
  }
  return finished(in, std::move(inbox));
}

base::Result<PolicyReport> parse_policy(std::string_view json) {
  JsonReader in(json);
  PolicyReport policy;
  policy.share = word(in, "share");
  policy.inbox = in.bytes("inbox", kPathBytesMax);
  policy.jobs = in.boolean_or("jobs", false);
  policy.no_jobs = in.text_or("no_jobs", kSentenceBytesMax);
  policy.root_jobs = in.boolean_or("root_jobs", false);
  if (in.has("uids")) policy.uids = in.integers("uids", 2 * kPolicyUidsMax, 0, UINT32_MAX);
  policy.owner_active = word(in, "owner_active");
  policy.on_battery = word(in, "on_battery");
  policy.battery_low = word(in, "battery_low");
  policy.on_metered = word(in, "on_metered");
  policy.on_sleep = word(in, "on_sleep");
  return finished(in, std::move(policy));
}

std::string accepted_line(const ShareTarget& target) {
  return "{\"event\":{\"accepted\":" + to_json(target) + "}}\n";
}

std::string record_line(base::ByteView record) {
  return "{\"event\":{\"record\":\"" + to_base64(record) + "\"}}\n";
}

base::Result<ShareEvent> parse_share_event(std::string_view json) {
  JsonReader in(json);
  ShareEvent event;
  if (in.has("accepted")) {
    JsonReader target = in.object("accepted");
    event.accepted = read_target(target);
    return finished(in, std::move(event));
  }
  const std::string record = in.text("record", (kShareRecordMax + 2) / 3 * 4);
  if (!in.ok()) return in.status().error();
  auto bytes = from_base64(record);
  if (!bytes) return bytes.error();
  event.record = std::move(*bytes);
  return event;
}

}  // namespace control
