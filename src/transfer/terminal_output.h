// What a job has written to a terminal of its own and nobody has read yet. CRIU reads it from the
// master, as the terminal has processed it, and writes it to the slave again, whose terminal
// processes it once more: a line would end in \r\r\n. So it is put back to what was written.
//
// Where the terminal puts a \r before each \n (OPOST and ONLCR, termios(3)), and only the \r of one
// had been read, or that was turned on after it was written, the \n gets one more.
#pragma once

#include "transfer/image_stream.h"

namespace transfer {

// Of images that were checked, or made here.
void unprocess_terminal_output(ImageSet& images);

}  // namespace transfer
