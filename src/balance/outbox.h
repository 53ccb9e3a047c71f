// What the parts of Balance share while they work on one event: where actions go, the numbering of
// writes, and messages to this node itself, which never leave it.
#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "balance/event.h"
#include "balance/wire.h"

namespace balance {

class Outbox {
 public:
  Outbox(NodeId self, StoreId store) : self_(self), store_(store) {}

  // One atomic batch; the id comes back as Persisted.
  std::uint64_t persist(std::vector<RecordChange> changes) {
    actions_.emplace_back(Persist{++last_persist_, std::move(changes)});
    return last_persist_;
  }
  void send(const NodeId& to, wire::Body body) {
    if (to == self_) {
      to_self_.push_back(std::move(body));
    } else {
      actions_.emplace_back(Send{to, wire::encode({store_, std::move(body)})});
    }
  }
  template <typename T>
  void act(T action) {
    actions_.emplace_back(std::move(action));
  }
  [[nodiscard]] Actions take() { return std::exchange(actions_, {}); }
  [[nodiscard]] bool has_message_to_self() const { return !to_self_.empty(); }
  [[nodiscard]] wire::Body next_message_to_self() {
    wire::Body body = std::move(to_self_.front());
    to_self_.pop_front();
    return body;
  }
  [[nodiscard]] const NodeId& self() const { return self_; }
  [[nodiscard]] const StoreId& store() const { return store_; }
  // Actions so far in this step: the composition reads what its parts told.
  [[nodiscard]] const Actions& pending() const { return actions_; }

 private:
  NodeId self_;
  StoreId store_;
  Actions actions_;
  std::deque<wire::Body> to_self_;
  std::uint64_t last_persist_ = 0;
};

}  // namespace balance
