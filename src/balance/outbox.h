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
      std::vector<NodeId> meets = meets_of(to, body);
      actions_.emplace_back(Send{to, wire::encode({store_, std::move(body)}), std::move(meets)});
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
  [[nodiscard]] static std::vector<NodeId> meets_of(const NodeId& to, const wire::Body& body) {
    std::vector<NodeId> out;
    if (const auto* propose = std::get_if<wire::Propose>(&body)) out = propose->roles.nodes();
    if (const auto* form = std::get_if<wire::Form>(&body)) {
      for (const Member& member : form->form.members) out.push_back(member.node);
    }
    std::erase(out, to);
    return out;
  }

  NodeId self_;
  StoreId store_;
  Actions actions_;
  std::deque<wire::Body> to_self_;
  std::uint64_t last_persist_ = 0;
};

}  // namespace balance
