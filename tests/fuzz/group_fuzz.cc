// A group member among peers who send anything: the decoder, the durable records, and that no
// sequence of messages brings a member down (CHECKs are for our bugs only). Input: records of one
// byte (who, what), two bytes of length, and the bytes.
#include "balance/group.h"
#include "base/check.h"

namespace {

using namespace balance;

group::Config config_of(bool pair) {
  group::Config config;
  config.id = base::TriadId{{0x77}};
  for (std::uint8_t node = 0xa; node <= 0xc; ++node) {
    config.members.push_back({base::NodeId{{node}}, base::StoreId{{node, 0x50}}, true});
  }
  if (pair) {
    config.members.pop_back();
    config.members[1].voter = false;
  }
  config.self = config.members[0].node;
  config.preferred = config.self;
  config.form = {1};
  config.incarnation = base::Incarnation{1};
  return config;
}

// What decodes is written and read again without a change.
void check_codec(base::ByteView bytes) {
  if (const auto message = group::decode(bytes)) {
    const base::Bytes once = group::encode(*message);
    const auto again = group::decode(once);
    CHECK(again.ok());
    CHECK(group::encode(*again) == once);
  }
  if (const auto entry = group::decode_entry(bytes)) {
    CHECK(*group::decode_entry(group::encode_entry(*entry)) == *entry);
  }
  if (const auto hard = group::decode_hard_state(bytes)) {
    CHECK(*group::decode_hard_state(group::encode_hard_state(*hard)) == *hard);
  }
}

class Member {
 public:
  explicit Member(bool pair)
      : group_(*Group::open(config_of(pair), {}, base::Rng(1), base::Time{})) {}

  void step(const group::Event& event) {
    std::optional<group::PersistId> asked;
    for (const group::Action& action : group_.step(now_, event)) {
      if (const auto* write = std::get_if<group::Persist>(&action)) asked = write->id;
      const auto* told = std::get_if<group::Committed>(&action);
      if (told != nullptr) CHECK(told->index == base::LogIndex{++told_});
    }
    if (asked && prompt_) step(group::Persisted{*asked});
  }
  void act(std::uint8_t what, base::ByteView bytes) {
    const base::NodeId from{{static_cast<std::uint8_t>(0xa + what % 3)}};
    prompt_ = (what & 0x10) == 0;
    if ((what & 0x20) != 0 && group_.next_deadline() != base::kNever) {
      now_ = std::max(now_, group_.next_deadline());
      step(group::Tick{});
    }
    if ((what & 0x40) != 0) step(group::Propose{base::to_bytes(bytes), false});
    step(group::Received{from, base::to_bytes(bytes)});
    (void)group_.members();
    (void)group_.in_office();
  }

 private:
  Group group_;
  base::Time now_;
  std::uint64_t told_ = 1;
  bool prompt_ = true;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  base::ByteView rest(data, size);
  check_codec(rest);
  Member triad(false);
  Member pair(true);
  while (rest.size() >= 3) {
    const std::uint8_t what = rest[0];
    const std::size_t wanted = rest[1] + 256u * rest[2];
    rest = rest.subspan(3);
    const base::ByteView bytes = rest.first(std::min(wanted, rest.size()));
    rest = rest.subspan(bytes.size());
    check_codec(bytes);
    triad.act(what, bytes);
    pair.act(what, bytes);
  }
  return 0;
}
