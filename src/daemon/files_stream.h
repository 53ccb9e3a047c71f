// How the two ends of a job's files use the connection that they share with a checkpoint, or have
// for themselves: whoever holds it may lose it, or go, at any moment.
#pragma once

#include <memory>

#include "base/result.h"
#include "daemon/peer_stream.h"

namespace ternd {

template <typename Callbacks, typename Holder>
void through_stream(Callbacks& callbacks, const std::weak_ptr<Holder>& holder) {
  callbacks.send = [holder](base::ByteView record) -> base::Status {
    auto strong = holder.lock();
    if (!strong || !strong->stream) return base::fail(base::Code::kUnreachable, "it broke off");
    return strong->stream->send({record});
  };
  callbacks.flush = [holder] {
    if (auto strong = holder.lock(); strong && strong->stream) strong->stream->flush();
  };
  if constexpr (requires { callbacks.pause; }) {
    callbacks.pause = [holder](bool pause) {
      auto strong = holder.lock();
      if (!strong || !strong->stream) return;
      pause ? strong->stream->pause() : strong->stream->resume();
    };
  }
}

}  // namespace ternd
