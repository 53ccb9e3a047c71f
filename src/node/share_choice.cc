#include "node/share_choice.h"

#include <algorithm>
#include <tuple>

namespace node {
namespace {

constexpr std::size_t kNamedMax = 4;

bool is_live(const StatusNode& one) { return one.view.state == gossip::State::kAlive; }

std::string why_not(const StatusNode& one) {
  if (!is_live(one)) return " does not answer";
  return one.view.fields.trit > 0 ? " is busy" : "";
}

}  // namespace

std::vector<base::NodeId> share_candidates(const Status& status) {
  std::vector<const StatusNode*> idle;
  for (const StatusNode& one : status.nodes) {
    if (!one.self && why_not(one).empty()) idle.push_back(&one);
  }
  const auto key = [](const StatusNode* one) {
    return std::tie(one->view.fields.trit, one->view.fields.effective_milli, one->view.id);
  };
  std::sort(idle.begin(), idle.end(),
            [&](const StatusNode* a, const StatusNode* b) { return key(a) < key(b); });
  std::vector<base::NodeId> out;
  for (const StatusNode* one : idle) out.push_back(one->view.id);
  return out;
}

std::string why_not_asked(const Status& status) {
  std::string out;
  std::size_t named = 0;
  std::size_t others = 0;
  for (const StatusNode& one : status.nodes) {
    const bool gone = one.view.state == gossip::State::kLeft;
    const std::string why = one.self || gone ? "" : why_not(one);
    if (why.empty()) continue;
    if (++named > kNamedMax) {
      ++others;
      continue;
    }
    const std::string name = one.view.name.empty() ? one.view.id.brief() : one.view.name;
    out += (out.empty() ? "" : ", ") + name + why;
  }
  if (others > 0) out += ", and " + std::to_string(others) + " more";
  return out;
}

}  // namespace node
