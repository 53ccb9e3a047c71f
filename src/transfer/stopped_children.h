// A copy is restored stopped, so that it can be held, and each process that stops is told to its
// parent: SIGCHLD with CLD_STOPPED. Who has blocked that signal to read it later (signalfd(2),
// sigwaitinfo(2)) would find it when the copy goes on, and take it for somebody's wish: script(1)
// then stops itself, and nobody continues it.
//
// A signal of that number is pending at most once, and the first one stays. So each such parent
// gets one before, which says what is true when it reads it: a child continued. Not who would not
// be told: whoever ignores SIGCHLD, or asked not to hear of stops (SA_NOCLDSTOP), or has only
// zombies as children.
#pragma once

#include "transfer/image_stream.h"

namespace transfer {

// Of images that were checked, or made here. A SIGCHLD that was pending stays as it was.
void foretell_continued_children(ImageSet& images);

}  // namespace transfer
