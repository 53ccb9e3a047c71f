// What basics.cc and sockets.cc share; for them alone.
#pragma once

#include <uv.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/result.h"
#include "loop/handles.h"

namespace loop {

inline base::Error uv_failure(const std::string& what, int code) {
  base::Code kind = base::Code::kIo;
  if (code == UV_ECONNREFUSED || code == UV_EHOSTUNREACH || code == UV_ENETUNREACH ||
      code == UV_ETIMEDOUT || code == UV_ECONNRESET || code == UV_ENETDOWN) {
    kind = base::Code::kUnreachable;
  }
  if (code == UV_EADDRINUSE) kind = base::Code::kExists;
  return base::fail(kind, what + ": " + uv_strerror(code));
}

// Hands a heap-allocated state over to libuv, which frees it in the close callback. State has a
// union or member `handle` of a uv type as its first use and its own `data` pointer set to itself.
template <typename State, typename Handle>
void close_state(State* state, Handle* handle) {
  auto* base_handle = reinterpret_cast<uv_handle_t*>(handle);
  base_handle->data = state;
  uv_close(base_handle, [](uv_handle_t* closed) { delete static_cast<State*>(closed->data); });
}

}  // namespace loop
