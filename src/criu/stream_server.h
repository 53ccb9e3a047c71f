// Our end of CRIU's control socket (criu/wire.h): listens in a work folder, takes one connection,
// hands out requests and the pipe ends that follow them.
//
//   listening -> header -> body -> [request] -> descriptor -> header ...
//        |          |                  | skip_descriptor(): header
//        |          +-- end of stream between messages: [ended]
//        +-- no connection: nothing, ever; the session's deadline is the limit
//
// The folder is private and the peer must be root or have CRIU's uid, so the peer is CRIU or its
// equal. Callbacks may destroy the server.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

struct uv_loop_s;

namespace criu {

enum class Direction { kCapture, kServe };  // dump, restore

class StreamServer {
 public:
  struct Callbacks {
    // Serving side: answers with reply(), and with skip_descriptor() after "no".
    std::function<void(std::string name)> request;
    std::function<void(int fd)> descriptor;   // ownership passes; close-on-exec, not blocking
    std::function<void()> ended;              // no more requests; the last callback
    std::function<void(base::Error)> failed;  // instead of ended
  };
  // kInvalid: the folder's path does not fit into a socket address (107 bytes).
  [[nodiscard]] static base::Result<std::unique_ptr<StreamServer>> listen(
      uv_loop_s* loop, const std::string& work_dir, Direction direction, uid_t criu_uid,
      Callbacks callbacks);
  ~StreamServer();
  base::Status reply(bool exists);  // only within callback `request`
  void skip_descriptor();           // only within callback `request`
  // Whoever cannot read its pipes now is given no more of them, until resume().
  void pause();
  void resume();

 private:
  struct Impl;
  explicit StreamServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace criu
