// MOSIX: each node keeps a window of the newest entries that it heard, gossips its own and the
// newer half of it to one random node a round, and sheds to the least loaded entry.
#include <algorithm>

#include "compare/policy.h"

namespace compare {
namespace {

struct Entry {
  std::uint32_t node = 0;
  std::uint32_t load = 0;
  std::uint32_t round = 0;  // when it was true
};
using Window = std::vector<Entry>;  // the newest first; one entry a node

void merge(Window& window, const Entry& entry) {
  const auto same = std::find_if(window.begin(), window.end(),
                                 [&](const Entry& e) { return e.node == entry.node; });
  if (same != window.end()) {
    if (same->round >= entry.round) return;
    window.erase(same);
  }
  const auto at = std::find_if(window.begin(), window.end(),
                               [&](const Entry& e) { return e.round < entry.round; });
  window.insert(at, entry);
  if (window.size() > kWindow) window.pop_back();
}

class Mosix final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    windows_.resize(mesh.nodes());
    gossip(mesh, round, draws);
    const Loads before = mesh.loads();  // of its own load each node knows as much as at its start
    for (std::uint32_t node = 0; node < mesh.nodes(); ++node) {
      Window& window = windows_[node];
      const auto best =
          std::min_element(window.begin(), window.end(),
                           [](const Entry& a, const Entry& b) { return a.load < b.load; });
      const std::uint32_t here = std::min(before[node], mesh.load(node));
      if (best == window.end() || best->load + 2 > here) continue;
      const std::uint32_t count = (here - best->load) / 2;
      mesh.move(node, best->node, count);
      best->load += count;  // until something newer is heard
    }
  }

 private:
  void gossip(const Mesh& mesh, std::uint32_t round, const sim::Draws& draws) {
    sim::Dice dice = dice_for(draws, Choice::kGossip, round);
    const std::vector<Window> sent = windows_;
    for (std::uint32_t node = 0; node < mesh.nodes(); ++node) {
      const std::uint32_t to = other_than(node, mesh.nodes(), dice);
      Window& window = windows_[to];
      merge(window, {node, mesh.load(node), round});
      for (std::size_t i = 0; i < sent[node].size() && i < kWindow / 2; ++i) {
        if (sent[node][i].node != to) merge(window, sent[node][i]);
      }
    }
  }

  std::vector<Window> windows_;
};

}  // namespace

std::unique_ptr<Policy> make_mosix() { return std::make_unique<Mosix>(); }

}  // namespace compare
