#include "criu/log_errors.h"

#include <gtest/gtest.h>

#include "criu/limits.h"

namespace criu {
namespace {

constexpr const char* kHarmless =
    "(00.000001) Error (criu/rlimit.c:28): rlimit: Can't setup RLIMIT_NOFILE for self\n";

TEST(LogErrors, TheLimitOnFilesIsNeverTheError) {
  EXPECT_EQ(find_errors(kHarmless).message, "");
  EXPECT_EQ(find_errors(kHarmless).original, "");
}

TEST(LogErrors, TheFirstErrorIsTheCauseAndItsEchoesAreNot) {
  const std::string log = std::string(kHarmless) +
                          "(00.1)      7: Error (criu/cr-restore.c:1478): Can't fork for 7: File "
                          "exists\n(00.2) Error (criu/cr-restore.c:2324): Restoring FAILED.\n";
  const LogErrors found = find_errors(log);
  EXPECT_EQ(found.message,
            "a process number that the job needs is taken here (CRIU: Can't fork for 7: File "
            "exists)");
  EXPECT_EQ(found.original, "Error (criu/cr-restore.c:1478): Can't fork for 7: File exists");
}

TEST(LogErrors, AFileThatIsNotThereAnyMoreIsSaidWithWhatHelps) {
  EXPECT_EQ(find_errors("Error (criu/files-reg.c:2194): Can't open file home/data on restore: No "
                        "such file or directory\n")
                .message,
            "a file that it uses was removed here; put it back (CRIU: Can't open file home/data on "
            "restore: No such file or directory)");
}

TEST(LogErrors, AnUnknownErrorIsReportedInCriusWords) {
  EXPECT_EQ(find_errors("Error (criu/x.c:1): Nobody saw this before\n").message,
            "CRIU: Nobody saw this before");
}

TEST(LogErrors, DamagedLogsAreHarmless) {
  for (const std::string log :
       {"Error (", "Error (x): ", "Error (x", "\n\n\n", "Error (x): \x01"}) {
    SCOPED_TRACE(log);
    for (const char c : find_errors(log).message) EXPECT_GE(c, ' ');
  }
}

TEST(LogErrors, TheReportIsBounded) {
  std::string log;
  for (int i = 0; i < 5000; ++i) log += "Error (a:1): " + std::string(3000, 'x') + "\n";
  const LogErrors found = find_errors(log);
  EXPECT_LE(found.original.size(), kErrorTextMax);
  EXPECT_LE(found.message.size(), kErrorTextMax);
}

}  // namespace
}  // namespace criu
