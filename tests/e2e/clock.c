/* Loaded into a daemon by LD_PRELOAD: its wall clock differs by TERN_E2E_CLOCK_SECONDS, so that a
 * certificate can be seen to expire. All other clocks are the machine's. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int rc = (int)syscall(SYS_clock_gettime, clock, now);
  const char* shift = getenv("TERN_E2E_CLOCK_SECONDS");
  if (rc == 0 && clock == CLOCK_REALTIME && shift != NULL) now->tv_sec += atoll(shift);
  return rc;
}
