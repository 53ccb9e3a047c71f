// The standard input of the jobs that run here, on its last steps: what nodes feed waits in memory,
// at most node::kInputWindow of a job, and goes into its init's feed as that has room
// (init/contract.h). Nothing here has to survive: what init has not taken comes again.
//
// While a job is frozen it is not fed; whoever feeds it asks again.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "daemon/copies.h"
#include "loop/handles.h"
#include "machine/input_client.h"
#include "node/event.h"

namespace ternd {

class JobInputs {
 public:
  using Tell = std::function<void(node::JobFed)>;
  using Find = std::function<const CopyView*(const base::JobId&)>;  // null: it has no copy here
  JobInputs(loop::Loop& loop, Find find, Tell tell);
  void feed(const node::FeedJob& order);
  // Its copy leaves or has ended.
  void close(const base::JobId& job) { open_.erase(job); }

 private:
  struct Frame {
    init::InputKind kind;
    std::uint64_t session;
    std::uint64_t offset;
    base::Bytes bytes;
  };
  struct Open {
    Open(machine::ProcessName name, machine::InputClient ends)
        : init(std::move(name)), client(std::move(ends)) {}
    machine::ProcessName init;
    machine::InputClient client;
    std::unique_ptr<loop::Poll> news;
    std::unique_ptr<loop::Poll> room;
    std::deque<Frame> waiting;
    std::size_t waiting_bytes = 0;
    std::optional<init::InputState> state;
    std::uint64_t held = 0;  // of the session in `state`
    base::NodeId from;       // who fed it last
    base::NodeId before;     // and who did before: to be told that it is over
    std::uint64_t query = 0;
  };
  [[nodiscard]] Open* open(const CopyView& copy, const node::FeedJob& order);
  [[nodiscard]] static bool take_bytes(Open& one, const node::Input& input);
  static void push(Open& one, init::InputKind kind, const node::Input& input, base::ByteView bytes);
  void flush(const base::JobId& job, Open& one);
  void on_news(const base::JobId& job);
  void tell(const base::JobId& job, const Open& one);
  [[nodiscard]] static node::InputReply reply_of(const base::JobId& job, const Open& one);

  loop::Loop& loop_;
  Find find_;
  Tell tell_;
  std::map<base::JobId, std::unique_ptr<Open>> open_;
};

}  // namespace ternd
