// dpkg's database, which a package, or whoever is root, wrote: what is named may be shown.
#include "base/check.h"
#include "machine/packages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& [name, version] : machine::package_versions(text, {"libc6", "libc6:amd64"})) {
    CHECK(machine::valid_package_text(version));
  }
  for (const std::string& path : machine::in_package_list(text, {"/bin/sh", "/usr/bin/env"})) {
    CHECK(path == "/bin/sh" || path == "/usr/bin/env");
  }
  return 0;
}
