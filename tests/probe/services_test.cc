// What a desktop's services say, judged (probe/services.h).
#include "probe/services.h"

#include <gtest/gtest.h>

namespace probe {
namespace {

TEST(Services, WhatNetworkManagerGuessesCountsAndWhatItDoesNotKnowDoesNot) {
  for (const std::uint32_t said : {1U, 3U}) EXPECT_TRUE(is_metered(said)) << said;
  for (const std::uint32_t said : {0U, 2U, 4U, 5U, UINT32_MAX}) {
    EXPECT_FALSE(is_metered(said)) << said;
  }
}

TEST(Services, ADelayIsADayAtMost) {
  EXPECT_EQ(inhibit_delay(5'000'000), std::chrono::seconds(5));
  EXPECT_EQ(inhibit_delay(UINT64_MAX), std::chrono::hours(24));
}

TEST(Services, ADesktopThatSaysSoIsWorkedAt) {
  const DesktopSession works{"wayland", "user", false, true, false, false, 1};
  EXPECT_TRUE(somebody_works(works));
  struct Row {
    const char* name;
    void (*change)(DesktopSession&);
  };
  const Row rows[] = {
      {"idle", [](DesktopSession& s) { s.idle = true; }},
      {"locked", [](DesktopSession& s) { s.locked = true; }},
      {"over the network", [](DesktopSession& s) { s.remote = true; }},
      {"in the background", [](DesktopSession& s) { s.active = false; }},
      {"a desktop that never said anything", [](DesktopSession& s) { s.hinted_micros = 0; }},
      {"the login screen", [](DesktopSession& s) { s.session_class = "greeter"; }},
      {"a text console", [](DesktopSession& s) { s.type = "tty"; }},
      {"nothing", [](DesktopSession& s) { s = {}; }},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    DesktopSession session = works;
    row.change(session);
    EXPECT_FALSE(somebody_works(session));
  }
}

}  // namespace
}  // namespace probe
