#include "machine/packages.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "machine/fd.h"

namespace machine {
namespace {

constexpr std::string_view kUsr = "/usr";
constexpr std::string_view kSuffix = ".list";

std::string_view take_line(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('\n'), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

// The other name of a file where /lib and the like lead into /usr.
std::string other_name(const std::string& path) {
  return path.starts_with("/usr/") ? path.substr(kUsr.size()) : std::string(kUsr) + path;
}

struct Paragraph {
  std::string_view package;
  std::string_view architecture;
  std::string_view version;
  bool installed = false;
};

Paragraph take_paragraph(std::string_view& rest) {
  Paragraph out;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (line.empty()) break;
    const auto value = [&](std::string_view key, std::string_view& to) {
      if (line.starts_with(key)) to = line.substr(key.size());
    };
    value("Package: ", out.package);
    value("Architecture: ", out.architecture);
    value("Version: ", out.version);
    if (line.starts_with("Status: ")) out.installed = line.ends_with(" installed");
  }
  return out;
}

}  // namespace

std::vector<std::string> in_package_list(std::string_view list,
                                         const std::set<std::string>& wanted) {
  std::vector<std::string> out;
  std::string line;
  while (!list.empty()) {
    line = take_line(list);
    if (wanted.contains(line)) out.push_back(line);
  }
  return out;
}

bool valid_package_text(std::string_view text) {
  return text.size() <= kPackageTextMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::map<std::string, std::string> package_versions(std::string_view status,
                                                    const std::set<std::string>& wanted) {
  std::map<std::string, std::string> out;
  while (!status.empty()) {
    const Paragraph one = take_paragraph(status);
    if (!one.installed || one.package.empty() || one.version.empty()) continue;
    const std::string name(one.package);
    const std::string full = name + ":" + std::string(one.architecture);
    const std::string text = name + " " + std::string(one.version);
    if (!valid_package_text(text)) continue;
    if (wanted.contains(name)) out[name] = text;
    if (wanted.contains(full)) out[full] = text;
  }
  return out;
}

// By path, what the list is called that names it.
std::map<std::string, std::string> Packages::owners(const std::set<std::string>& paths) const {
  std::set<std::string> wanted;
  for (const std::string& path : paths) wanted.insert({path, other_name(path)});
  std::map<std::string, std::string> out;
  std::size_t lists = 0;
  std::size_t bytes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder_ + "/info", error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.ends_with(kSuffix)) continue;
    if (++lists > kPackageListsMax || bytes > kPackageListsBytesMax) break;
    struct stat info {};
    if (::lstat(at->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    auto text = read_small_file(at->path().string(), kPackageListMax);
    if (!text) continue;
    bytes += text->size();
    for (std::string& path : in_package_list(*text, wanted)) {
      out.emplace(std::move(path), name.substr(0, name.size() - kSuffix.size()));
    }
  }
  return out;
}

void Packages::look_up(const std::set<std::string>& paths) {
  ++readings_;
  const auto owner = owners(paths);
  std::set<std::string> names;
  for (const auto& [path, name] : owner) names.insert(name);
  std::map<std::string, std::string> versions;
  if (!names.empty()) {
    if (auto status = read_small_file(folder_ + "/status", kPackageStatusMax)) {
      versions = package_versions(*status, names);
    }
  }
  for (const std::string& path : paths) {
    std::string& text = known_[path];
    for (const std::string& name : {path, other_name(path)}) {
      const auto at = owner.find(name);
      const auto version = at == owner.end() ? versions.end() : versions.find(at->second);
      if (text.empty() && version != versions.end()) text = version->second;
    }
  }
}

std::map<std::string, std::string> Packages::of(const std::set<std::string>& paths) {
  std::map<std::string, std::string> out;
  struct stat info {};
  if (::stat((folder_ + "/status").c_str(), &info) != 0) return out;
  const Stamp stamp{info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                    info.st_mtim.tv_nsec};
  if (stamp != stamp_ || known_.size() + paths.size() > kEntriesMax) known_.clear();
  stamp_ = stamp;
  std::set<std::string> unknown;
  for (const std::string& path : paths) {
    if (!known_.contains(path)) unknown.insert(path);
  }
  if (!unknown.empty()) look_up(unknown);
  for (const std::string& path : paths) out[path] = known_[path];
  return out;
}

}  // namespace machine
