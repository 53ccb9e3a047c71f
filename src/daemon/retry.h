// Once more, a while later: for what keeps a timer `retry` for that.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "loop/handles.h"

namespace ternd {

// Once, unless owner->retry is reset before; the timer keeps the owner until then.
template <typename Owner>
void retry_after(loop::Loop& loop, const std::shared_ptr<Owner>& owner, base::Duration delay,
                 std::function<void()> what) {
  owner->retry = std::make_unique<loop::Timer>(loop, [owner, what = std::move(what)] {
    const auto timer = std::move(owner->retry);  // ends the cycle owner -> timer -> owner
    what();
  });
  owner->retry->start(delay);
}

}  // namespace ternd
