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
//    restart_syscall(2) by then, with the arguments it had. Which one it was only the program's
//    code tells, where that loads the number right before the instruction, as glibc does. That is
//    read from the file that is mapped there; elsewhere (code made at run time, or written to), and
//    of more places than any program waits at, the call keeps EINTR.
//  - x86_64 only; elsewhere CRIU's images do not tell which call it was.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "transfer/image_stream.h"

namespace transfer {

// `size` bytes of a file that the job has mapped; fewer, or none: they cannot be had.
using FileReader =
    std::function<base::Bytes(const std::string& path, std::uint64_t offset, std::size_t size)>;

// Of images that were checked, or made here.
void repeat_interrupted_calls(ImageSet& images, const FileReader& read);

}  // namespace transfer
