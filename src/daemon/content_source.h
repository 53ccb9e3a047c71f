// Where the images of a checkpoint come from, for whoever passes them on: a job that is being
// dumped (live_dump.h), or one that is parked (parked_content.h).
//
// Callbacks come on the loop, never from within start(), pause(), resume() or cancel(), and may
// destroy the source. `done` comes once and last, also after cancel(), when nothing of what made
// the images is left; destroying the source before lets that end by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace ternd {

class ContentSource {
 public:
  struct Callbacks {
    // Images are numbered in the order in which they begin; several are open at once.
    std::function<void(std::uint32_t image, const std::string& name)> begin;
    std::function<void(std::uint32_t image, base::ByteView bytes)> data;
    std::function<void(std::uint32_t image)> end;
    std::function<void(const base::Status&)> done;
  };
  virtual ~ContentSource() = default;
  virtual void pause() = 0;
  virtual void resume() = 0;
  virtual void cancel() = 0;  // done(error) follows
};

}  // namespace ternd
