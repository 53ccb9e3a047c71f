// Which packages a requirement's files of the system are from. A part of machine/preflight.h.
#pragma once

#include "machine/packages.h"
#include "machine/requirement.h"

namespace machine {

// They are for sentences: where all would be too long it goes without.
void name_packages(Requirement& needs, Packages& packages);

}  // namespace machine
