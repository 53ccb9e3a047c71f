#include "machine/preflight_packages.h"

#include <sys/stat.h>

#include <set>
#include <string>

namespace machine {

void name_packages(Requirement& needs, Packages& packages) {
  const auto of_system = [](const RequiredFile& file) {
    return file.flags == 0 && S_ISREG(file.mode);
  };
  std::set<std::string> paths;
  for (const RequiredFile& file : needs.files) {
    if (of_system(file)) paths.insert(file.path);
  }
  auto names = packages.of(paths);
  for (RequiredFile& file : needs.files) {
    if (of_system(file)) file.package = names[file.path];
  }
  if (encode_requirement(needs)) return;
  for (RequiredFile& file : needs.files) file.package.clear();
}

}  // namespace machine
