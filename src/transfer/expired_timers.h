// Periodic timers (timerfd_create(2)) in a checkpoint that expired before it was taken, and whose
// expiry nobody had read yet. Such a timer counts on from the next read(2): the kernel says that
// it has no time left, only an interval. CRIU sets it so at the restore, which means "disarmed",
// and it would never expire again. A job that is frozen for longer than the interval has one
// always.
#pragma once

#include "transfer/image_stream.h"

namespace transfer {

// Of images that were checked, or made here: each of them expires next after one interval. What
// was counted and not yet read stays.
void rearm_expired_timers(ImageSet& images);

}  // namespace transfer
