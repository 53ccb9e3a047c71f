#include "daemon/parked_images.h"

#include <atomic>
#include <deque>
#include <optional>
#include <utility>

namespace ternd {

using base::Status;
using base::crypto::Hash256;

namespace {

// Of the file, at a time: packed, so that what a zero page is in it is a thousand times as much.
constexpr std::size_t kBlock = 16 * 1024;

}  // namespace

// Of one image; used by the loop or by the work off it, never by both.
struct ParkedImages::Pages final : public ParkVisitor {
  Pages(std::string of, std::string file, const Hash256& wanted)
      : name(std::move(of)), path(std::move(file)), digest(wanted) {}
  Status begin(std::uint32_t image, const std::string& begun) override {
    if (begun == name) number = image;
    return {};
  }
  Status data(std::uint32_t image, base::ByteView bytes) override {
    if (image != number) return {};
    hasher.add(bytes);
    if (!last.empty()) sure.push_back(std::move(last));
    last = base::to_bytes(bytes);
    fetched += last.size();
    return {};
  }
  Status end(std::uint32_t image) override {
    if (image != number) return {};
    if (hasher.finish() == digest) sure.push_back(std::move(last));
    over = true;
    return {};
  }

  const std::string name;
  const std::string path;
  const Hash256 digest;
  std::unique_ptr<park_file::Reader> reader;
  std::optional<std::uint32_t> number;
  base::crypto::Hasher hasher;
  std::deque<base::Bytes> sure;
  base::Bytes last;
  std::size_t fetched = 0;  // in one go
  std::size_t given = 0;    // of the first of `sure`
  bool over = false;
  bool fetching = false;
  std::atomic<bool> given_up{false};
  std::function<void()> then;
};

ParkedImages::ParkedImages(loop::Loop& loop, std::string path, transfer::ImageSet kept,
                           std::map<std::string, Hash256, std::less<>> not_kept)
    : loop_(loop), path_(std::move(path)), kept_(std::move(kept)), not_kept_(std::move(not_kept)) {}

ParkedImages::~ParkedImages() {
  for (const auto& [name, pages] : begun_) {
    pages->then = nullptr;
    pages->given_up = true;
  }
}

bool ParkedImages::exists(std::string_view name) {
  return kept_.exists(name) || not_kept_.contains(name);
}

ParkedImages::Handle ParkedImages::pages(std::string_view name) {
  const auto known = not_kept_.find(name);
  if (known == not_kept_.end()) return nullptr;
  Handle& pages = begun_[known->first];
  if (!pages) pages = std::make_shared<Pages>(known->first, path_, known->second);
  return pages;
}

void ParkedImages::fetch(Pages& pages) {
  pages.fetched = 0;
  while (!pages.over && pages.fetched < kParkedAhead && !pages.given_up) {
    if (!pages.reader) {
      auto reader = park_file::Reader::open(pages.path, UINT64_MAX);
      if (reader) pages.reader = std::move(*reader);
    }
    const auto more = pages.reader ? pages.reader->next(kBlock, pages) : base::Result<bool>(false);
    if (!more || !*more) pages.over = true;  // too early
  }
}

bool ParkedImages::ready(std::string_view name, std::function<void()> then) {
  const Handle pages = this->pages(name);
  if (!pages || (!pages->fetching && (!pages->sure.empty() || pages->over))) return true;
  pages->then = std::move(then);
  if (std::exchange(pages->fetching, true)) return false;
  loop::run_blocking(
      loop_, [pages] { fetch(*pages); },
      [pages] {
        pages->fetching = false;
        if (const auto told = std::exchange(pages->then, nullptr)) told();
      });
  return false;
}

base::ByteView ParkedImages::peek(std::string_view name) {
  const Handle pages = this->pages(name);
  if (!pages) return kept_.peek(name);
  if (pages->sure.empty()) return {};
  return base::ByteView(pages->sure.front()).subspan(pages->given);
}

void ParkedImages::consume(std::string_view name, std::size_t count) {
  const Handle pages = this->pages(name);
  if (!pages) return kept_.consume(name, count);
  pages->given += count;
  if (pages->given < pages->sure.front().size()) return;
  pages->sure.pop_front();
  pages->given = 0;
}

}  // namespace ternd
