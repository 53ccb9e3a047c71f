// Serves the images of an arrival to CRIU, freeing what was taken.
#pragma once

#include <string_view>
#include <utility>

#include "base/check.h"
#include "criu/restore_session.h"
#include "transfer/image_stream.h"

namespace ternd {

class SetSource final : public criu::ImageSource {
 public:
  explicit SetSource(transfer::ImageSet images) : images_(std::move(images)) {}
  bool exists(std::string_view name) override { return images_.find(name) != images_.end(); }
  base::ByteView peek(std::string_view name) override {
    const auto it = images_.find(name);
    if (it == images_.end() || it->second.chunks.empty()) return {};
    return it->second.chunks.front().view();
  }
  void consume(std::string_view name, std::size_t count) override {
    const auto it = images_.find(name);
    CHECK(it != images_.end());
    transfer::Buffer& front = it->second.chunks.front();
    front.drop_front(count);
    if (front.empty()) it->second.chunks.pop_front();
  }
  [[nodiscard]] transfer::ImageSet& images() { return images_; }  // before anything is served

 private:
  transfer::ImageSet images_;
};

}  // namespace ternd
