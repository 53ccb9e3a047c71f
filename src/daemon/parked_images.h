// The images of a parked job for CRIU's restore. The whole file has been read once and its hash
// found right; pages beyond a bound were not kept, and are read from it again, piece after piece,
// while CRIU takes them, so that waking needs no memory beside the job's own.
//
// The last piece of such pages is given out only when all of them were found to be what they were
// at first. Otherwise they end too early, which no restore survives: a disk that fails between the
// two is noticed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "criu/restore_session.h"
#include "daemon/image_set_source.h"
#include "daemon/park_file.h"
#include "loop/handles.h"

namespace ternd {

inline constexpr std::uint64_t kParkedPagesMax = 32ULL << 20;  // bytes of pages that are kept
inline constexpr std::size_t kParkedAhead = 1 << 20;           // that are read at once

class ParkedImages final : public criu::ImageSource {
 public:
  // Of what park_file::load() said of the file.
  ParkedImages(loop::Loop& loop, std::string path, transfer::ImageSet kept,
               std::map<std::string, base::crypto::Hash256, std::less<>> not_kept);
  ~ParkedImages() override;
  bool exists(std::string_view name) override;
  bool ready(std::string_view name, std::function<void()> then) override;
  base::ByteView peek(std::string_view name) override;
  void consume(std::string_view name, std::size_t count) override;
  [[nodiscard]] transfer::ImageSet& images() { return kept_.images(); }  // before any is served

 private:
  struct Pages;
  using Handle = std::shared_ptr<Pages>;
  [[nodiscard]] Handle pages(std::string_view name);
  static void fetch(Pages& pages);

  loop::Loop& loop_;
  std::string path_;
  SetSource kept_;
  std::map<std::string, base::crypto::Hash256, std::less<>> not_kept_;
  std::map<std::string, Handle, std::less<>> begun_;
};

}  // namespace ternd
