// The control socket: one request per connection, answered by lines (control/response.h).
//
// Bounded: at most kClientsMax connections; a request has kRequestPatience to arrive; a client that
// does not read is cut off once kClientBacklogMax bytes wait for it, except that senders that ask
// for room (attach, events) wait for it. Who asks is the socket's word (SO_PEERCRED).
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/secret.h"
#include "control/line_reader.h"
#include "control/request.h"
#include "control/response.h"
#include "loop/handles.h"

namespace ternd {

inline constexpr std::size_t kClientsMax = 256;        // tern run with an input has two
inline constexpr std::size_t kClientsOfUserMax = 192;  // of one, who is not root
inline constexpr std::size_t kClientBacklogMax = 4 * 1024 * 1024;
inline constexpr base::Duration kRequestPatience = std::chrono::seconds(10);

// One connection. Kept alive by whoever answers; closed() once the client went away.
class Client {
 public:
  Client(loop::Loop& loop, std::unique_ptr<loop::Stream> stream);
  void line(const std::string& text);
  void done(const std::string& data = "{}");
  void fail(control::Exit exit, std::string_view error, std::string_view next = {},
            std::string_view data = {});
  void fail(const base::Error& error, std::string_view next = {});
  void fail_unknown_job(std::string_view reference);
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] bool has_room() const { return !closed_ && waiting_.size() < 256 * 1024; }
  void on_room(std::function<void()> callback) { on_room_ = std::move(callback); }
  void on_closed(std::function<void()> callback) { on_closed_ = std::move(callback); }
  // What it sends behind its request, which nobody else looks at.
  void on_input(std::function<void(base::ByteView)> callback) { on_input_ = std::move(callback); }
  void pause_input();
  void resume_input();
  // What the client says after its request, line by line; without this it is not looked at.
  void on_line(std::function<void(const std::string&)> callback) { on_line_ = std::move(callback); }
  [[nodiscard]] std::uint32_t uid() const { return uid_; }
  [[nodiscard]] std::uint32_t gid() const { return gid_; }
  [[nodiscard]] std::int32_t pid() const { return pid_; }
  [[nodiscard]] const std::vector<std::uint32_t>& groups() const { return groups_; }
  // Its answer has no end of its own: nobody waits for that when the daemon stops.
  void endless() { endless_ = true; }

 private:
  friend class ControlServer;
  void flush();
  void close();
  void hear(base::ByteView bytes);

  std::unique_ptr<loop::Stream> stream_;
  control::LineReader reader_;
  loop::Timer patience_;
  std::string waiting_;
  bool final_ = false;
  bool closed_ = false;
  std::uint32_t uid_ = UINT32_MAX;
  std::uint32_t gid_ = UINT32_MAX;
  std::int32_t pid_ = 0;
  std::vector<std::uint32_t> groups_;  // supplementary
  bool endless_ = false;
  std::function<void()> on_room_;
  std::function<void(const std::string&)> on_line_;
  std::function<void()> on_closed_;
  std::function<void(base::ByteView)> on_input_;
};

class ControlServer {
 public:
  using OnRequest = std::function<void(control::Request, std::shared_ptr<Client>)>;
  [[nodiscard]] static base::Result<std::unique_ptr<ControlServer>> start(loop::Loop& loop,
                                                                          const std::string& path,
                                                                          base::Log& log,
                                                                          OnRequest on_request);
  ~ControlServer();
  void stop_listening();
  // Whether every answer has gone out that will end.
  [[nodiscard]] bool idle() const;

 private:
  ControlServer(loop::Loop& loop, base::Log& log, OnRequest on_request);
  void accept(std::unique_ptr<loop::Stream> stream);
  void on_bytes(const std::shared_ptr<Client>& client, base::ByteView bytes);

  loop::Loop& loop_;
  base::Log& log_;
  OnRequest on_request_;
  std::unique_ptr<loop::Listener> listener_;
  std::list<std::shared_ptr<Client>> clients_;
  std::string path_;
};

}  // namespace ternd
