#include "control/share_report.h"

#include <gtest/gtest.h>

#include "control/limits.h"
#include "control/response.h"

namespace control {
namespace {

TEST(ShareReport, InboxReadsBackWithOddNames) {
  InboxReport inbox;
  inbox.path = "/var/lib/tern/inbox";
  inbox.share = "ask";
  inbox.free_bytes = 9;
  inbox.items.push_back({"3fa9", "waiting", "\xff raw\n", "desk", "anna", 2, 5, 6, 4, true, 77});
  const auto back = parse_inbox(to_json(inbox));
  ASSERT_TRUE(back.ok()) << back.error().detail;
  EXPECT_EQ(back->path, inbox.path);
  EXPECT_EQ(back->share, "ask");
  EXPECT_EQ(back->free_bytes, 9U);
  ASSERT_EQ(back->items.size(), 1U);
  const InboxItem& item = back->items[0];
  EXPECT_EQ(item.id, "3fa9");
  EXPECT_EQ(item.state, "waiting");
  EXPECT_EQ(item.name, "\xff raw\n");
  EXPECT_EQ(item.from, "desk");
  EXPECT_EQ(item.user, "anna");
  EXPECT_EQ(item.items, 2U);
  EXPECT_EQ(item.files, 5U);
  EXPECT_EQ(item.bytes, 6U);
  EXPECT_EQ(item.received_bytes, 4U);
  EXPECT_TRUE(item.folder);
  EXPECT_EQ(item.at, 77);
}

TEST(ShareReport, PolicyReadsBack) {
  const PolicyReport policy{"no",    "/in",    true,    "",         false,      {1000, 1001},
                            "pause", "refuse", "drain", "throttle", "send-home"};
  const auto back = parse_policy(to_json(policy));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->share, "no");
  EXPECT_EQ(back->inbox, "/in");
  EXPECT_TRUE(back->jobs);
  EXPECT_EQ(back->uids, policy.uids);
  EXPECT_EQ(back->owner_active, "pause");
  EXPECT_EQ(back->on_battery, "refuse");
  EXPECT_EQ(back->battery_low, "drain");
  EXPECT_EQ(back->on_metered, "throttle");
  EXPECT_EQ(back->on_sleep, "send-home");
}

TEST(ShareReport, EventsOfAShareReadBack) {
  const auto event_in = [](const std::string& line) {
    const auto response = parse_response(std::string_view(line).substr(0, line.size() - 1));
    EXPECT_TRUE(response.ok());
    return parse_share_event(std::get<Event>(*response).json);
  };
  const auto accepted = event_in(accepted_line({"00ff", "desk", true}));
  ASSERT_TRUE(accepted.ok());
  ASSERT_TRUE(accepted->accepted.has_value());
  EXPECT_EQ(accepted->accepted->to_name, "desk");
  const base::Bytes record(kShareRecordMax - 19, 0xfe);
  const auto carried = event_in(record_line(record));
  ASSERT_TRUE(carried.ok());
  EXPECT_EQ(carried->record, record);
  EXPECT_FALSE(parse_share_event("{}").ok());
  EXPECT_FALSE(parse_share_event(R"({"record":"A"})").ok());
}

}  // namespace
}  // namespace control
