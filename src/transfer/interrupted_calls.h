// System calls in which a checkpoint found the job's threads, and which the kernel would have
// continued with state that no checkpoint can see (restart_block: poll(2), sleeps and futex(2)
// with a timeout). CRIU lets them end with EINTR. Programs without signal handlers never see that
// otherwise (signal(7)) and take it for a failure, or for the end of a sleep; so these calls are
// made again, as a restored call of any other kind is.
//
// Rules
//  - A sleep that tells how much is left to a place of its own keeps EINTR: whoever asks for that
//    sleeps the rest. sleep(3) asks for it in the request itself, so the call that is made again
//    sleeps the rest, too; without such a place all of it is slept again.
//  - A timeout that is a duration begins anew; one that is a time stays.
//  - Only in processes that handle no signal: who has a handler may count on EINTR, for a signal
//    that came while it was frozen (an alarm that ends a wait). The C library's own handlers do not
//    count. Where the images do not tell who handles what, nothing is made again.
//  - A call that was interrupted before without an end (by SIGSTOP and SIGCONT, or a freeze) is
//    restart_syscall(2) by then: which one it was nothing in the images tells, so it keeps EINTR.
//  - x86_64 only; elsewhere CRIU's images do not tell which call it was.
#pragma once

#include "transfer/image_stream.h"

namespace transfer {

// Of images that were checked, or made here.
void repeat_interrupted_calls(ImageSet& images);

}  // namespace transfer
