#include "machine/cgroup.h"

#include <gtest/gtest.h>

namespace machine {
namespace {

TEST(CgroupEvents, ReadsBothStatesAndIgnoresKeysOfLaterKernels) {
  struct Row {
    const char* name;
    const char* text;
    bool ok;
    bool populated;
    bool frozen;
  };
  const Row rows[] = {
      {"both clear", "populated 0\nfrozen 0\n", true, false, false},
      {"both set", "populated 1\nfrozen 1\n", true, true, true},
      {"other order", "frozen 1\npopulated 0\n", true, false, true},
      {"unknown key", "populated 1\nhappy 7\nfrozen 0\n", true, true, false},
      {"empty", "", false, false, false},
      {"kernel before 5.2", "populated 1\n", false, false, false},
      {"no populated", "frozen 1\n", false, false, false},
      {"no value", "populated\nfrozen 1\n", false, false, false},
      {"rubbish value", "populated x\nfrozen 1\n", false, false, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    auto events = parse_cgroup_events(row.text);
    ASSERT_EQ(events.ok(), row.ok);
    if (!row.ok) continue;
    EXPECT_EQ(events->populated, row.populated);
    EXPECT_EQ(events->frozen, row.frozen);
  }
}

TEST(CgroupEvents, EveryTruncationIsRefusedOrWhole) {
  const std::string_view text = "populated 1\nfrozen 1\n";
  for (std::size_t size = 0; size < text.size() - 1; ++size) {
    SCOPED_TRACE(size);
    EXPECT_FALSE(parse_cgroup_events(text.substr(0, size)).ok());
  }
}

TEST(Cgroup, WhatIsNotThereIsNotFound) {
  auto group = Cgroup::open("/nonexistent/tern");
  ASSERT_FALSE(group.ok());
  EXPECT_EQ(group.error().code, base::Code::kNotFound);
  EXPECT_FALSE(Cgroup::create("/nonexistent/tern").ok());
}

}  // namespace
}  // namespace machine
