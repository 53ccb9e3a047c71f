// Help, and what a person typed wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "fake_daemon.h"
#include "run_tern.h"

namespace cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Usage, HelpListsTheCommandsThatExistAndNoOthers) {
  const std::string help = run_tern({"--help"}).out;
  const std::vector<std::string> commands = {
      "up",    "daemon", "down",   "invite",  "join",       "status",  "find-minus", "probe",
      "run",   "ps",     "logs",   "attach",  "kill",       "migrate", "throttle",   "resolve",
      "drain", "events", "config", "metrics", "completion", "version", "doctor",     "share",
      "inbox", "policy", "park",   "wake",    "adopt"};
  for (const std::string& command : commands) {
    SCOPED_TRACE(command);
    EXPECT_THAT(help, HasSubstr("\n  " + command + " "));
    const Ran own = run_tern({command, "--help"});
    EXPECT_EQ(own.exit, 0);
    EXPECT_THAT(own.out, HasSubstr("Example:\n  "));
    EXPECT_THAT(own.out, HasSubstr("Usage: tern " + command));
    EXPECT_THAT(run_tern({"completion", "bash"}).out, HasSubstr("    " + command + ") words="));
  }
  EXPECT_THAT(run_tern({"run", "--help"}).out,
              HasSubstr("Usage: tern run [OPTIONS] -- CMD [ARG]...\n"));
  for (const char* later : {"top", "pending", "approve", "revoke"}) {
    SCOPED_TRACE(later);
    EXPECT_THAT(help, Not(HasSubstr(std::string("\n  ") + later + " ")));
    EXPECT_EQ(run_tern({later}).exit, 2);
  }
}

TEST(Usage, MistakesExitWith2) {
  EXPECT_THAT(run_tern({"stats"}).err, HasSubstr("did you mean: tern status?"));
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"stats"},
                                             {"status", "extra"},
                                             {"status", "--nope"},
                                             {"kill"},
                                             {"kill", "x", "NOPE"},
                                             {"kill", "../x"},
                                             {"run"},
                                             {"run", "--"},
                                             {"run", "--nope", "x"},
                                             {"run", "--name", "best", "x"},
                                             {"find-minus", "-n", "0"},
                                             {"resolve", "x"},
                                             {"completion", "tcsh"},
                                             {"--state"}}) {
    SCOPED_TRACE(words.empty() ? "" : words.back());
    const Ran ran = run_tern(words);
    EXPECT_EQ(ran.exit, 2);
    EXPECT_EQ(ran.out, "");
    EXPECT_NE(ran.err, "");
  }
}

TEST(Usage, AJobMayBeNamedLikeACommand) {
  const TempDir dir;
  FakeDaemon daemon(dir.path(), {Script{{"{\"ok\":true,\"data\":{}}\n"}}});
  EXPECT_EQ(run_tern({"logs", "status", "--state", dir.path()}).exit, 0);
  EXPECT_THAT(daemon.stop().at(0), HasSubstr("\"job\":\"status\""));
}

}  // namespace
}  // namespace cli
