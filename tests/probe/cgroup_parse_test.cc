// Control groups of both versions as found on hybrid machines and in containers.
#include "probe/cgroup_parse.h"

#include <gtest/gtest.h>

namespace probe {
namespace {

using base::Code;

constexpr std::string_view kHybrid =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "24 27 0:22 / /mnt rw - tmpfs  rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime shared:1 master:2 - cgroup2 cgroup2 rw\n";

TEST(CgroupMounts, BothVersionsAndEscapedNames) {
  const auto mounts = parse_cgroup_mounts(kHybrid);
  ASSERT_TRUE(mounts.ok()) << mounts.error().detail;
  ASSERT_EQ(mounts->size(), 3U);
  EXPECT_EQ((*mounts)[0].mount_point, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_FALSE((*mounts)[0].is_v2);
  EXPECT_EQ((*mounts)[0].controllers, (std::vector<std::string>{"rw", "cpu", "cpuacct"}));
  EXPECT_EQ((*mounts)[2].mount_point, "/sys/fs/cgroup/uni fied");
  EXPECT_TRUE((*mounts)[2].is_v2);
  EXPECT_TRUE((*mounts)[2].controllers.empty());
}

TEST(CgroupMounts, DamagedAndEndlessTextIsRefused) {
  for (const char* text : {"x", "41 31 0:38 / /sys", "41 31 0:38 / /sys rw shared:1",
                           "41 31 0:38 / /sys rw -", "\n"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_cgroup_mounts(text).ok());
  }
  std::string many;
  for (std::size_t i = 0; i <= kCgroupMountsMax; ++i) many += "1 2 0:3 / /c rw - cgroup2 c rw\n";
  EXPECT_EQ(parse_cgroup_mounts(many).error().code, Code::kTooLarge);
}

TEST(Memberships, BothVersions) {
  const auto all = parse_memberships("4:memory:/a:b\n2:cpu,cpuacct:/\n1:name=systemd:/x\n0::/me\n");
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->size(), 4U);
  EXPECT_EQ((*all)[0].path, "/a:b");
  EXPECT_EQ((*all)[1].controllers, (std::vector<std::string>{"cpu", "cpuacct"}));
  EXPECT_TRUE((*all)[3].is_v2);
  for (const char* text : {"x", "0:", "0:cpu", "0::relative", "\n", "99999999999::/"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_memberships(text).ok());
  }
  std::string many;
  for (std::size_t i = 0; i <= kMembershipsMax; ++i) many += "0::/\n";
  EXPECT_EQ(parse_memberships(many).error().code, Code::kTooLarge);
}

TEST(CgroupPlace, MountAndWhatIsBelowIt) {
  struct Row {
    const char* name;
    const char* path;
    const char* root;
    const char* below;
  };
  const Row rows[] = {
      {"root", "/", "/", ""},
      {"below the root", "/a/b", "/", "/a/b"},
      {"a mounted part", "/docker/1/x", "/docker/1", "/x"},
      {"just the mounted part", "/docker/1", "/docker/1", ""},
      {"a name that only begins alike", "/docker/12", "/docker/1", ""},
      {"a path outside the namespace", "/../../x", "/", ""},
      {"a root outside the namespace", "/", "/..", ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const auto place = place_of({{row.path, {}, true}}, {{row.root, "/m", {}, true}}, "");
    ASSERT_TRUE(place.has_value());
    EXPECT_EQ(place->mount_point, "/m");
    EXPECT_EQ(place->below, row.below);
  }
}

TEST(CgroupPlace, FindsTheControllersOwnHierarchy) {
  const auto mounts = parse_cgroup_mounts(kHybrid);
  const auto memberships = parse_memberships("2:cpu,cpuacct:/slice\n0::/me\n");
  ASSERT_TRUE(mounts.ok());
  ASSERT_TRUE(memberships.ok());
  const auto cpu = place_of(*memberships, *mounts, "cpu");
  ASSERT_TRUE(cpu.has_value());
  EXPECT_EQ(cpu->mount_point + cpu->below, "/sys/fs/cgroup/cpu,cpuacct/slice");
  const auto v2 = place_of(*memberships, *mounts, "");
  ASSERT_TRUE(v2.has_value());
  EXPECT_EQ(v2->mount_point + v2->below, "/sys/fs/cgroup/uni fied/me");
  EXPECT_FALSE(place_of(*memberships, *mounts, "freezer").has_value());
  EXPECT_FALSE(place_of(*memberships, {}, "cpu").has_value());
}

TEST(CpuMax, QuotaPeriodOrNone) {
  const auto quota = parse_cpu_max("150000 100000\n");
  ASSERT_TRUE(quota.ok());
  EXPECT_EQ(*quota, (CpuQuota{150000, 100000}));
  const auto none = parse_cpu_max("max 100000\n");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
  for (const char* text : {"", "max", "max 0", "0 100000", "-5 100000", "5 -5", "maxx 5", "5 5 5",
                           "99999999999999999999 5", "5x 5"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_cpu_max(text).ok());
  }
}

TEST(CfsQuota, QuotaPeriodOrNone) {
  const auto quota = parse_cfs_quota("50000\n", "100000\n");
  ASSERT_TRUE(quota.ok());
  EXPECT_EQ(*quota, (CpuQuota{50000, 100000}));
  const auto none = parse_cfs_quota("-1\n", "100000\n");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
  EXPECT_FALSE(parse_cfs_quota("0", "100000").ok());
  EXPECT_FALSE(parse_cfs_quota("-2", "100000").ok());
  EXPECT_FALSE(parse_cfs_quota("5", "0").ok());
  EXPECT_FALSE(parse_cfs_quota("", "").ok());
}

TEST(CpuList, CountsCpus) {
  struct Row {
    const char* text;
    std::int64_t expected;  // -1: refused
  };
  const Row rows[] = {{"", 0},     {"\n", 0},   {"0\n", 1},    {"0-3,8\n", 5}, {"0,2,4", 3},
                      {"3-0", -1}, {"0,0", -1}, {"0-2,2", -1}, {"0,", -1},     {"0,\n", -1},
                      {"a", -1},   {"0-", -1},  {"0 1", -1},   {"65536", -1},  {"0-65535", 65536},
                      {"-1", -1},  {",0", -1}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.text);
    const auto count = parse_cpu_list(row.text);
    EXPECT_EQ(count.ok() ? std::int64_t{*count} : -1, row.expected);
  }
}

TEST(MemoryLimit, NumberOrNone) {
  EXPECT_EQ(*parse_memory_limit("1048576\n"), std::optional<std::int64_t>(1048576));
  EXPECT_EQ(*parse_memory_limit("max\n"), std::nullopt);
  EXPECT_EQ(*parse_memory_limit("9223372036854771712\n"), std::nullopt) << "v1's none";
  EXPECT_EQ(*parse_memory_limit("18446744073709551615\n"), std::nullopt);
  for (const char* text : {"", "x", "-1", "5 6", "maxi"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_memory_limit(text).ok());
  }
  EXPECT_EQ(*parse_byte_count("77\n"), 77);
  EXPECT_FALSE(parse_byte_count("max").ok());
}

TEST(Keyed, ValueOfAKey) {
  EXPECT_EQ(*parse_keyed("populated 1\nfrozen 0\n", "frozen"), 0);
  EXPECT_EQ(parse_keyed("populated 1\n", "frozen").error().code, Code::kNotFound);
  EXPECT_EQ(parse_keyed("frozen x\n", "frozen").error().code, Code::kInvalid);
}

TEST(ThreadIds, OneALineAndForeignOnesLeftOut) {
  EXPECT_EQ(*parse_thread_ids("5\n0\n77\n"), (std::vector<std::int32_t>{5, 77}));
  EXPECT_TRUE(parse_thread_ids("")->empty());
  for (const char* text : {"x\n", "5 6\n", "-5\n", "99999999999\n", "\n"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_thread_ids(text).ok());
  }
}

}  // namespace
}  // namespace probe
