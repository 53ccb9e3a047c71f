#include "bus/library.h"

#include <dlfcn.h>

namespace bus {
namespace {

Library library;
bool loaded = false;

}  // namespace

base::Status load_library() {
  if (loaded) return {};
  void* const opened = ::dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) {
    return base::fail(base::Code::kNotFound, "libsystemd, which speaks to it, is not installed");
  }
  bool all = true;
#define TERN_BUS_LOAD(name)                                                        \
  library.name = reinterpret_cast<decltype(library.name)>(::dlsym(opened, #name)); \
  all = all && library.name != nullptr;
  TERN_BUS_FUNCTIONS(TERN_BUS_LOAD)
#undef TERN_BUS_LOAD
  if (!all) return base::fail(base::Code::kNotFound, "libsystemd is too old to speak to it");
  loaded = true;
  return {};
}

const Library& sd() { return library; }

}  // namespace bus
