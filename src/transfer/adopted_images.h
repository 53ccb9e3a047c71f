// What changes in a checkpoint of processes that tern did not start (daemon/adopt_desk.h) before
// they are restored as a job.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>

#include "transfer/image_stream.h"

namespace transfer {

// They may run programs that gain privileges, sudo for one. A user's job that came so from
// elsewhere would be refused (image_check.h), and one that is here may not either: all of them get
// no_new_privs (prctl(2)).
void set_no_new_privileges(ImageSet& images);
// Who asked to be signalled when its parent ends: these threads' parent stays outside, and the
// first one that they get is CRIU.
void forget_parent_death(ImageSet& images, const std::set<std::int32_t>& threads);

// Descriptors that are terminals become the files of these absolute paths: input, output, error
// output by their number, others the second. The terminals go.
void leave_terminals(ImageSet& images, const std::array<std::string, 3>& paths);

}  // namespace transfer
