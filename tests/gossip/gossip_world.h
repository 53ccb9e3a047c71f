// A small world of gossip cores: latency, loss, duplication, reordering, partitions, restarts. No
// sockets, no clock; everything follows from the seed.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "gossip/gossip.h"
#include "gossip/pool.h"

namespace gossip {

inline constexpr base::WallTime kWall{1'800'000'000};

inline base::Secret<32> secret_of(std::uint64_t number) {
  base::Bytes bytes(32);
  base::put_le64(bytes, number);
  return base::Secret<32>(bytes);
}

// A mesh's root and its members' keys, chains and addresses, by number.
struct Mesh {
  explicit Mesh(std::uint64_t seed = 1) : root(base::crypto::sign_key_from_seed(secret_of(seed))) {}
  base::crypto::SignKey root;

  static identity::NodeKeys keys(std::size_t number) {
    return identity::NodeKeys::make(secret_of(1000 + number), secret_of(500'000 + number));
  }
  static base::NodeId id(std::size_t number) { return keys(number).id(); }
  base::Bytes chain(std::size_t number) const {
    const identity::NodeKeys of = keys(number);
    identity::CertificateBody body;
    body.mesh = base::crypto::mesh_id_of(root.public_key);
    body.issuer = identity::root_issuer_id(root.public_key);
    body.name = "n" + std::to_string(number);
    body.sign_public = of.sign.public_key;
    body.dh_public = of.dh.public_key;
    body.not_before = kWall;
    body.not_after = base::WallTime{base::wall_seconds(kWall) + 365 * 24 * 3600};
    body.serial = number;
    return identity::make_chain(body.mesh, {identity::issue(body, root)});
  }
  static base::Endpoint endpoint(std::size_t number) {
    return base::Endpoint::v4(
        {10, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number & 0xff)},
        7333);
  }
  static DigestFields fields(std::size_t number) {
    DigestFields out;
    out.cpus_milli = 4000;
    out.mem_total_bytes = 16ULL << 30;
    out.mem_free_bytes = 8ULL << 30;
    out.accepts_jobs = true;
    out.addresses = {endpoint(number)};
    out.version = "0.1.0";
    return out;
  }
  Config config(std::size_t number, std::uint64_t start) const {
    Config out{keys(number), chain(number), identity::Roster(root.public_key), {}, {}, 0};
    base::put_le64(out.salt, number * 1000 + start + 1);
    out.secret = secret_of(9'000'000 + number * 1000 + start);
    out.seed = number * 1000 + start;
    return out;
  }
};

struct Network {
  base::Duration latency_min = 200us;
  base::Duration latency_max = 1ms;
  int loss_percent = 0;
  int duplicate_percent = 0;
};

class CountingLog : public base::Log {
 public:
  void write(base::LogLevel level, std::string_view event,
             std::initializer_list<base::LogField> /*fields*/) override {
    if (level == base::LogLevel::kError) errors.emplace_back(event);
  }
  std::vector<std::string> errors;
};

class World {
 public:
  struct Box {
    std::size_t number = 0;  // whose identity it runs with
    base::Endpoint endpoint;
    std::unique_ptr<Gossip> core;
    std::uint64_t starts = 0;
    int side = 0;  // of a partition
    bool up = false;
    std::uint64_t timer = 0;                // only the newest timer counts
    std::map<base::NodeId, NodeView> told;  // the view as ViewChanged tells it
    std::size_t ups = 0, suspects = 0, deaths = 0, leaves = 0, conflicts = 0, contacts = 0;
    std::size_t forgotten = 0;  // certificates
  };

  explicit World(std::uint64_t seed) : rng_(seed) { CHECK(base::crypto::init().ok()); }

  std::size_t add() { return add_as(boxes_.size()); }
  // A node at an address of its own with the identity of `number`.
  std::size_t add_as(std::size_t number) {
    Box box;
    box.number = number;
    box.endpoint = Mesh::endpoint(boxes_.size());
    boxes_.push_back(std::move(box));
    return boxes_.size() - 1;
  }
  void start(std::size_t at) {
    Box& box = boxes_[at];
    ++box.starts;
    box.up = true;
    box.told.clear();
    Config config = mesh.config(box.number, at * 7919 + box.starts);
    config.pool = pool;
    box.core = std::make_unique<Gossip>(std::move(config), log);
    auto fields = Mesh::fields(box.number);
    fields.addresses = {box.endpoint};
    step(at, Started{base::Incarnation{box.starts}, wall(), fields});
  }
  void stop(std::size_t at) {
    boxes_[at].up = false;
    boxes_[at].core.reset();
  }
  void seed(std::size_t at, std::size_t with) { step(at, PeerSeed{boxes_[with].endpoint}); }
  // Starts `count` nodes, each pointed at the first.
  void grow(std::size_t count, base::Duration apart = 0ms) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = add();
      start(at);
      if (at != 0) seed(at, 0);
      run(apart);
    }
  }
  void step(std::size_t at, const Event& event) {
    Box& box = boxes_[at];
    if (!box.core) return;
    for (Action& action : box.core->step(now, event)) perform(at, action);
    const std::uint64_t timer = ++box.timer;
    const base::Time due = box.core->next_deadline();
    if (due == base::kNever) return;
    at_time(std::max(due, now), [this, at, timer] {
      if (boxes_[at].timer == timer) step(at, Tick{});
    });
  }
  void run(base::Duration duration) {
    const base::Time end = now + duration;
    while (!queue_.empty() && queue_.top().when <= end) {
      const Item item = queue_.top();
      queue_.pop();
      now = item.when;
      item.action();
    }
    now = end;
  }
  // Runs until `done`, looked at every 10 ms; kNever after `limit`. Returns the time it took.
  base::Duration run_until(const std::function<bool()>& done, base::Duration limit) {
    const base::Time from = now;
    while (now - from < limit) {
      if (done()) return now - from;
      run(10ms);
    }
    return done() ? limit : base::Duration::max();
  }
  void set_fields(std::size_t at, const std::function<void(DigestFields&)>& change) {
    auto fields = Mesh::fields(boxes_[at].number);
    fields.addresses = {boxes_[at].endpoint};
    change(fields);
    step(at, LocalDigest{fields});
  }
  const NodeView* seen(std::size_t by, std::size_t whom) {
    CHECK(whom < boxes_.size());
    views_ = boxes_[by].core->view();
    const base::NodeId id = Mesh::id(boxes_[whom].number);
    for (const NodeView& one : views_) {
      if (one.id == id) return &one;
    }
    return nullptr;
  }
  std::size_t count(std::size_t by, State state) {
    const auto view = boxes_[by].core->view();
    return static_cast<std::size_t>(std::count_if(
        view.begin(), view.end(), [state](const NodeView& one) { return one.state == state; }));
  }
  // Whether ViewChanged told all that the view shows.
  bool is_told(std::size_t by) {
    const auto view = boxes_[by].core->view();
    const auto& told = boxes_[by].told;
    return told.size() == view.size() &&
           std::all_of(view.begin(), view.end(), [&](const NodeView& one) {
             const auto found = told.find(one.id);
             return found != told.end() && found->second.state == one.state &&
                    (one.heard == Heard::kSelf || found->second.fields == one.fields);
           });
  }
  bool all_know(std::size_t nodes) {
    for (std::size_t i = 0; i < boxes_.size(); ++i) {
      if (boxes_[i].up && count(i, State::kAlive) != nodes) return false;
    }
    return true;
  }
  std::uint64_t total(Drop why) {
    std::uint64_t out = 0;
    for (const Box& box : boxes_) out += box.core ? box.core->counters().of(why) : 0;
    return out;
  }
  base::WallTime wall() const {
    return base::WallTime{base::wall_seconds(kWall) + now.time_since_epoch() / 1s};
  }
  Box& box(std::size_t at) { return boxes_[at]; }
  std::size_t size() const { return boxes_.size(); }

  Mesh mesh;
  Network network;
  CountingLog log;
  std::shared_ptr<Pool> pool;  // null: each node has its own
  base::Time now{};
  std::uint64_t datagrams = 0;
  std::uint64_t bytes = 0;
  std::function<void(std::size_t from, const SendDatagram&)> tap;
  std::function<bool(std::size_t from, std::size_t to)> blocked;

 private:
  struct Item {
    base::Time when;
    std::uint64_t order;
    std::function<void()> action;
    bool operator<(const Item& other) const {
      return std::tie(other.when, other.order) < std::tie(when, order);
    }
  };
  void at_time(base::Time when, std::function<void()> action) {
    queue_.push({when, ++order_, std::move(action)});
  }
  std::size_t find(const base::Endpoint& endpoint) const {
    for (std::size_t i = 0; i < boxes_.size(); ++i) {
      if (boxes_[i].endpoint == endpoint) return i;
    }
    return boxes_.size();
  }
  bool reaches(std::size_t from, std::size_t to) const {
    return to < boxes_.size() && boxes_[to].up && boxes_[from].side == boxes_[to].side &&
           !(blocked && blocked(from, to));
  }
  void perform(std::size_t at, Action& action) {
    Box& box = boxes_[at];
    if (auto* datagram = std::get_if<SendDatagram>(&action)) deliver(at, *datagram);
    if (auto* contact = std::get_if<Contact>(&action)) introduce(at, contact->endpoint);
    if (const auto* view = std::get_if<ViewChanged>(&action)) {
      for (const base::NodeId& id : view->gone) box.told.erase(id);
      for (const base::NodeId& id : view->changed) box.told[id] = *box.core->find(id);
    }
    if (std::holds_alternative<NodeUp>(action)) ++box.ups;
    if (std::holds_alternative<NodeSuspect>(action)) ++box.suspects;
    if (std::holds_alternative<NodeDead>(action)) ++box.deaths;
    if (std::holds_alternative<NodeLeft>(action)) ++box.leaves;
    if (std::holds_alternative<IdentityConflict>(action)) ++box.conflicts;
    if (std::holds_alternative<Contact>(action)) ++box.contacts;
    if (std::holds_alternative<MemberForgotten>(action)) ++box.forgotten;
  }
  void deliver(std::size_t from, const SendDatagram& datagram) {
    ++datagrams;
    bytes += datagram.bytes.size();
    if (tap) tap(from, datagram);
    const std::size_t to = find(datagram.to);
    const auto chance = [this](int percent) {
      return rng_.below(100) < static_cast<std::uint64_t>(percent);
    };
    const int copies = chance(network.duplicate_percent) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      if (chance(network.loss_percent)) continue;
      at_time(now + rng_.between(network.latency_min, network.latency_max),
              [this, from, to, bytes_copy = datagram.bytes] {
                if (!reaches(from, to)) return;
                step(to, Datagram{boxes_[from].endpoint, bytes_copy});
              });
    }
  }
  void introduce(std::size_t from, const base::Endpoint& endpoint) {
    const std::size_t to = find(endpoint);
    at_time(now + 5ms, [this, from, to] {
      if (!reaches(from, to) || !boxes_[from].up) return;
      step(to, MemberIntroduced{mesh.chain(boxes_[from].number), boxes_[from].endpoint});
      step(from, MemberIntroduced{mesh.chain(boxes_[to].number), boxes_[to].endpoint});
    });
  }

  base::Rng rng_;
  std::vector<Box> boxes_;
  std::priority_queue<Item> queue_;
  std::uint64_t order_ = 0;
  std::vector<NodeView> views_;
};

}  // namespace gossip
