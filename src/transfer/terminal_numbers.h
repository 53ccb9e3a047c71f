// The numbers of the pseudo terminals in a checkpoint. CRIU makes each with the number that it had,
// and where that is taken the job cannot be restored; so at the sink a job's terminals get numbers
// that are free there. Programs see that only in the name, /dev/pts/N.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "transfer/image_stream.h"

namespace transfer {

// Of images that passed check_images().
[[nodiscard]] std::set<std::uint32_t> terminal_numbers(const ImageSet& images);
// Everything that names a terminal by an old number names it by the new one; the rest stays as it
// is, byte by byte. A number that is not in `numbers` is kept.
void renumber_terminals(ImageSet& images, const std::map<std::uint32_t, std::uint32_t>& numbers);

}  // namespace transfer
