// Which package a file of the system is from, and in which version, where dpkg's database knows:
// its folder's `status` and `info/*.list`, read as files, since dpkg-query takes longer and may be
// missing. Other package managers' databases are not read.
//
//   info/NAME.list, info/NAME:ARCHITECTURE.list   a path a line
//   status   paragraphs, an empty line between two: "Package: NAME", "Architecture: ARCHITECTURE",
//            "Version: VERSION", "Status: ... installed"
//
// Rules
//  - A path counts with and without /usr before it, as a merged /usr has links where packages say
//    /lib. Diverted and generated files are nobody's.
//  - What is damaged, or beyond a limit, names no package. Nothing here is an error: it is for
//    sentences only.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace machine {

inline constexpr std::size_t kPackageTextMax = 128;               // longer ones are not named
inline constexpr std::size_t kPackageStatusMax = 64 << 20;        // bytes
inline constexpr std::size_t kPackageListMax = 16 << 20;          // bytes of one list
inline constexpr std::size_t kPackageListsMax = 1 << 16;          // lists
inline constexpr std::size_t kPackageListsBytesMax = 512U << 20;  // of all of them

// Which of `wanted` are in a list.
[[nodiscard]] std::vector<std::string> in_package_list(std::string_view list,
                                                       const std::set<std::string>& wanted);
// Of packages as their lists are called, "NAME VERSION" of those that are installed.
[[nodiscard]] std::map<std::string, std::string> package_versions(
    std::string_view status, const std::set<std::string>& wanted);
// As it may be shown and sent: printable ASCII, a space between name and version.
[[nodiscard]] bool valid_package_text(std::string_view text);

// Remembers what it found as long as `status` is the same file. Not thread-safe. Blocking.
class Packages {
 public:
  static constexpr std::size_t kEntriesMax = 8192;  // full: forgets all and begins anew
  explicit Packages(std::string folder = "/var/lib/dpkg") : folder_(std::move(folder)) {}
  // "NAME VERSION" for each, empty where that is not known. Absolute paths without links.
  // What is not remembered takes one reading of the database: not to be asked path by path.
  [[nodiscard]] std::map<std::string, std::string> of(const std::set<std::string>& paths);
  [[nodiscard]] std::uint64_t readings() const { return readings_; }

 private:
  using Stamp = std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::int64_t, std::int64_t>;
  [[nodiscard]] std::map<std::string, std::string> owners(const std::set<std::string>& paths) const;
  void look_up(const std::set<std::string>& paths);

  std::string folder_;
  Stamp stamp_;  // of `status`
  std::uint64_t readings_ = 0;
  std::map<std::string, std::string> known_;
};

}  // namespace machine
