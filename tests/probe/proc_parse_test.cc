// proc(5) formats, recorded and damaged.
#include "probe/proc_parse.h"

#include <gtest/gtest.h>

#include <functional>

namespace probe {
namespace {

using namespace std::chrono_literals;
using base::Code;

constexpr KernelUnits kUnits{100, 4096};

std::string stat_line(std::string_view comm) {
  return "4711 (" + std::string(comm) +
         ") R 12 4711 4711 34816 4711 4194304 1052 9 0 0 1234 66 7 3 20 0 5 0 987654 12345678 "
         "2500 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
}

constexpr std::string_view kStatus =
    "Name:\tsleep\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t77\nNgid:\t0\nPid:\t77\nPPid:\t1\n"
    "TracerPid:\t0\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t4 24 27 "
    "\nNStgid:\t77\t3\nNSpid:\t77\t3\nVmRSS:\t    1500 kB\nThreads:\t2\n";

constexpr std::string_view kMeminfo =
    "MemTotal:        8000 kB\nMemFree:         1000 kB\nMemAvailable:    5000 kB\n"
    "HugePages_Total:       0\n";

TEST(Loadavg, GivesAveragesAndTasks) {
  const auto load = parse_loadavg("0.16 12.04 0.08 3/941 25838\n");
  ASSERT_TRUE(load.ok()) << load.error().detail;
  EXPECT_EQ(load->load1_micros, 160'000);
  EXPECT_EQ(load->load5_micros, 12'040'000);
  EXPECT_EQ(load->load15_micros, 80'000);
  EXPECT_EQ(load->runnable, 3U);
  EXPECT_EQ(load->tasks, 941U);
}

TEST(Loadavg, DamagedTextIsRefused) {
  for (const char* text :
       {"", "\n", "0.16", "0.16 0.14 0.08", "0.16 0.14 0.08 1/94", "0,16 0.14 0.08 1/94 5",
        "0. 0.14 0.08 1/94 5", ".5 0.14 0.08 1/94 5", "-1.00 0.14 0.08 1/94 5",
        "99999999999999999999.0 1.0 1.0 1/94 5", "5000000.00 1.0 1.0 1/94 5",
        "0.16 0.14 0.08 1-94 5", "nan nan nan 1/1 1"}) {
    SCOPED_TRACE(text);
    const auto load = parse_loadavg(text);
    ASSERT_FALSE(load.ok());
    EXPECT_EQ(load.error().code, Code::kInvalid);
  }
}

TEST(SystemStat, GivesBootTimeAndOnlineCpus) {
  const auto stat = parse_system_stat(
      "cpu  1 2 3 4\ncpu0 1 2 3 4\ncpu2 1 2 3 4\nintr 5 0 0\nctxt 9\nbtime 1795000000\n"
      "processes 7\n");
  ASSERT_TRUE(stat.ok());
  EXPECT_EQ(base::wall_seconds(stat->boot_time), 1795000000);
  EXPECT_EQ(stat->online_cpus, 2U);
  for (const char* text : {"", "cpu0 1\n", "btime 5\n", "cpu0 1\nbtime x\n", "cpu0 1\nbtime -4\n",
                           "cpu0 1\nbtime 99999999999999999999\n"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_system_stat(text).ok());
  }
}

TEST(Uptime, HasTwoDecimals) {
  const auto uptime = parse_uptime("1234.56 99.00\n");
  ASSERT_TRUE(uptime.ok());
  EXPECT_EQ(*uptime, 1234s + 560ms);
  for (const char* text : {"", "12", "x.5", "99999999999999.0 1.0"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_uptime(text).ok());
  }
}

TEST(ProcessStat, GivesTimesMemoryAndStart) {
  const auto process = parse_process_stat(stat_line("sh"), kUnits);
  ASSERT_TRUE(process.ok()) << process.error().detail;
  EXPECT_EQ(process->pid, 4711);
  EXPECT_EQ(process->ppid, 12);
  EXPECT_EQ(process->state, 'R');
  EXPECT_EQ(process->comm, "sh");
  EXPECT_EQ(process->command, "[sh]");
  EXPECT_EQ(process->cpu_time, 13s);
  EXPECT_EQ(process->children_cpu_time, 100ms);
  EXPECT_EQ(process->threads, 5U);
  EXPECT_EQ(process->start_ticks, 987654U);
  EXPECT_EQ(process->started, 9876s + 540ms);
  EXPECT_EQ(process->rss_bytes, 2500 * 4096);
}

TEST(ProcessStat, ACommandNameCannotForgeFields) {
  for (const char* comm : {"a b", "a) R 1 (b", ")", "(", "((", "))", "", "x\ny", "tmux: server",
                           ") S 1 1 1 1 1 1 1 1 1 1 9999"}) {
    SCOPED_TRACE(comm);
    const auto process = parse_process_stat(stat_line(comm), kUnits);
    ASSERT_TRUE(process.ok());
    EXPECT_EQ(process->comm, comm);
    EXPECT_EQ(process->state, 'R');
    EXPECT_EQ(process->ppid, 12);
    EXPECT_EQ(process->cpu_time, 13s);
  }
}

TEST(ProcessStat, EveryCutBeforeTheResidentSizeIsRefused) {
  const std::string text = stat_line("sh");
  const std::size_t needed = text.find(" 2500 ");
  for (std::size_t size = 0; size <= needed; ++size) {
    SCOPED_TRACE(size);
    EXPECT_FALSE(parse_process_stat(text.substr(0, size), kUnits).ok());
  }
  EXPECT_TRUE(parse_process_stat(text, kUnits).ok());
}

TEST(ProcessStat, NumbersThatDoNotFitAreRefusedOrBounded) {
  const auto with = [](std::string_view from, std::string_view to) {
    std::string text = stat_line("sh");
    text.replace(text.find(from), from.size(), to);
    return parse_process_stat(text, kUnits);
  };
  EXPECT_FALSE(with("4711", "99999999999").ok());
  EXPECT_FALSE(with(" R ", " RR ").ok());
  EXPECT_FALSE(with(" 12 ", " -12 ").ok());
  EXPECT_FALSE(with(" 2500 ", " 9223372036854775807 ").ok());
  const auto negative = with(" 2500 ", " -3 ");
  ASSERT_TRUE(negative.ok());
  EXPECT_EQ(negative->rss_bytes, 0);
  const auto children = with(" 7 3 ", " -7 -3 ");
  ASSERT_TRUE(children.ok());
  EXPECT_EQ(children->children_cpu_time, 0s);
  const auto eternal = with(" 1234 66 ", " 18446744073709551615 18446744073709551615 ");
  ASSERT_TRUE(eternal.ok());
  EXPECT_GT(eternal->cpu_time, 24h);
}

TEST(ProcessStatus, GivesIdentities) {
  const auto status = parse_process_status(kStatus);
  ASSERT_TRUE(status.ok()) << status.error().detail;
  EXPECT_EQ(status->name, "sleep");
  EXPECT_EQ(status->state, 'S');
  EXPECT_EQ(status->tgid, 77);
  EXPECT_EQ(status->ppid, 1);
  EXPECT_EQ(status->uids, (std::array<std::uint32_t, 4>{1000, 1001, 1002, 1003}));
  EXPECT_EQ(status->gids, (std::array<std::uint32_t, 4>{5, 6, 7, 8}));
  EXPECT_EQ(status->groups, (std::vector<std::uint32_t>{4, 24, 27}));
  EXPECT_EQ(status->ns_pids, (std::vector<std::int32_t>{77, 3}));
  EXPECT_EQ(status->rss_bytes, 1500 * 1024);
  EXPECT_EQ(status->threads, 2U);
}

TEST(ProcessStatus, DamagedTextIsRefused) {
  struct Row {
    const char* name;
    const char* from;
    const char* to;
  };
  const Row rows[] = {
      {"three uids", "\t1003\n", "\n"},
      {"five gids", "\t8\n", "\t8\t9\n"},
      {"no PPid", "PPid:", "Pip:"},
      {"PID too large", "Tgid:\t77", "Tgid:\t4294967296"},
      {"state of two letters", "S (", "SS ("},
      {"another unit", " kB", " MB"},
      {"group that is no number", "4 24", "4 x"},
      {"memory overflows", "1500", "99999999999999999"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    std::string text(kStatus);
    const std::size_t at = text.find(row.from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, std::string_view(row.from).size(), row.to);
    EXPECT_FALSE(parse_process_status(text).ok());
  }
  EXPECT_FALSE(parse_process_status("").ok());
}

TEST(ProcessStatus, ListsAreBounded) {
  std::string groups = "Groups:\t";
  for (std::size_t i = 0; i <= kStatusGroupsMax; ++i) groups += "1 ";
  EXPECT_FALSE(parse_process_status(std::string(kStatus) + groups + "\n").ok());
}

TEST(Statm, CountsPages) {
  const auto memory = parse_statm("100 25 3 1 0 9 0\n", kUnits);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->size_bytes, 409'600);
  EXPECT_EQ(memory->rss_bytes, 102'400);
  for (const char* text : {"", "100", "100 25", "a b c", "9223372036854775807 1 1"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_statm(text, kUnits).ok());
  }
}

TEST(Meminfo, GivesTotalAndAvailable) {
  const auto memory = parse_meminfo(kMeminfo);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->total_bytes, 8000 * 1024);
  EXPECT_EQ(memory->available_bytes, 5000 * 1024);
  const auto old_kernel = parse_meminfo("MemTotal: 8000 kB\nMemFree: 1000 kB\n");
  ASSERT_TRUE(old_kernel.ok());
  EXPECT_EQ(old_kernel->available_bytes, 1000 * 1024);
  for (const char* text : {"", "MemTotal: 8000 kB\n", "MemTotal: 0 kB\nMemFree: 0 kB\n",
                           "MemTotal: 8000\nMemFree: 1 kB\n", "MemTotal: -1 kB\nMemFree: 1 kB\n",
                           "MemTotal: 99999999999999999 kB\nMemFree: 1 kB\n"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(parse_meminfo(text).ok());
  }
}

TEST(CommandText, IsOneSafeLine) {
  EXPECT_EQ(command_text(std::string_view("python3\0-c\0x\n\x1b[2J\0\0", 20)), "python3 -c x  [2J");
  EXPECT_EQ(command_text(""), "");
  EXPECT_EQ(command_text(std::string(9000, 'a')).size(), kCommandTextMax);
}

TEST(ProcParsers, TextOverTheLimitIsTooLarge) {
  const std::string text(kProcTextMax + 1, '1');
  EXPECT_EQ(parse_loadavg(text).error().code, Code::kTooLarge);
  EXPECT_EQ(parse_system_stat(text).error().code, Code::kTooLarge);
  EXPECT_EQ(parse_uptime(text).error().code, Code::kTooLarge);
  EXPECT_EQ(parse_process_stat(text, kUnits).error().code, Code::kTooLarge);
  EXPECT_EQ(parse_process_status(text).error().code, Code::kTooLarge);
  EXPECT_EQ(parse_statm(text, kUnits).error().code, Code::kTooLarge);
  EXPECT_EQ(parse_meminfo(text).error().code, Code::kTooLarge);
}

}  // namespace
}  // namespace probe
