// Elections, logs, seats: balance/group.h and balance/formation.h from outside.
#include "sim/agreements.h"

#include <algorithm>

#include "base/wire.h"
#include "node/limits.h"
#include "sim/world.h"

namespace sim {

using balance::group::Append;
using balance::group::AppendReply;
using balance::group::PreVote;
using balance::group::PreVoteReply;
using balance::group::Vote;
using balance::group::VoteReply;

namespace {

// node::kHereResend, and a nap between two rescans.
constexpr base::Duration kToldAgainWithin = node::kHereResend + std::chrono::seconds(8);

// Of node/jobs.cc's durable form: [spec, ended, status, two ends, arriving under, at, epoch].
struct JobRecord {
  bool over = false;
  base::Epoch epoch;
};

JobRecord read_job(base::ByteView record) {
  base::Reader reader(record);
  (void)reader.array(8);
  (void)reader.bin(2 * node::kMessageSizeMax);
  JobRecord job;
  job.over = reader.boolean();
  (void)reader.i64();
  (void)reader.u64();
  (void)reader.u64();
  (void)reader.counter<base::Epoch>();
  (void)reader.id<base::NodeId>();
  job.epoch = reader.counter<base::Epoch>();
  return reader.ok() ? job : JobRecord{};
}

bool erases_form(const node::Persist& batch, const base::TriadId& triad) {
  return std::any_of(batch.changes.begin(), batch.changes.end(),
                     [&](const balance::RecordChange& change) {
                       return change.key == balance::form_key(triad) && !change.value;
                     });
}

}  // namespace

// ---- looks

const base::Bytes* Agreements::disk(std::uint32_t host, const std::string& key) const {
  const auto& records = world_.disk(host);
  const auto found = records.find(key);
  return found == records.end() ? nullptr : &found->second;
}

bool Agreements::has_left(std::uint32_t host, const base::TriadId& triad) const {
  const auto found = stored_form_.find(triad);
  return found != stored_form_.end() && found->second.contains(host) &&
         disk(host, balance::form_key(triad)) == nullptr;
}

std::vector<std::uint32_t> Agreements::voters(const base::TriadId& triad) const {
  const balance::FormRecord* form = promises_.form(triad);
  std::vector<std::uint32_t> out;
  if (form == nullptr) return out;
  for (const balance::Member& member : form->members) {
    if (form->is_pair() && member.seat != balance::Seat::kSource) continue;
    const std::uint32_t host = world_.host_of(member.node);
    if (host != kNobody) out.push_back(host);
  }
  return out;
}

base::Time Agreements::acceptance_since(std::uint32_t host) const {
  const auto found = acceptance_at_.find(host);
  return found == acceptance_at_.end() ? base::kNever : found->second;
}

void Agreements::not_durable(std::uint32_t host, const std::string& what) {
  promises_.broke("durable-first", host, what);
}

// ---- what is said

void Agreements::says(std::uint32_t host, const node::Message& message) {
  if (const auto* here = std::get_if<node::Here>(&message)) {
    const base::Bytes* value = disk(host, balance::own_key(here->job));
    const std::uint32_t job = world_.job_index(here->job);
    if (value == nullptr && (job == kNobody || world_.jobs()[job].ended)) return;
    auto own = value == nullptr ? base::Result<balance::OwnRecord>(balance::OwnRecord{})
                                : balance::decode_own(*value);
    if (!own || own->at != world_.id(host) || own->epoch < here->epoch) {
      not_durable(host, "it tells that a job is here before its record says so");
    }
    guest(host, here->job).told = world_.now();
  }
  if (const auto* ack = std::get_if<node::HereAck>(&message)) check_forward(host, ack->job);
  if (const auto* ack = std::get_if<node::ExitedAck>(&message)) {
    const base::Bytes* value = disk(host, "job/" + ack->job.hex());
    const bool known = world_.node(host) != nullptr && world_.node(host)->jobs().find(ack->job);
    if (value != nullptr && known && !read_job(*value).over) {
      not_durable(host, "it confirms the end of a job before that is stored");
    }
    if (known) check_exit(host, world_.job_index(ack->job));
  }
}

// Who is told that it may forget a job forgets what of its output home lacks.
void Agreements::check_exit(std::uint32_t host, std::uint32_t job) {
  if (promises_.excused_job(job) || promises_.excused_host(host)) return;
  const JobTruth& truth = world_.jobs()[job];
  const auto spool = world_.spools(host).find(job);
  const std::uint64_t has = spool == world_.spools(host).end() ? 0 : spool->second.end;
  if (!truth.ended || truth.lost || has >= truth.output()) return;
  promises_.broke("exit-told", host,
                  "it confirms the end of job " + std::to_string(job) + " with " +
                      std::to_string(has) + " of " + std::to_string(truth.output()) + " bytes");
}

void Agreements::hears(std::uint32_t host, const node::HereAck& ack) {
  guest(host, ack.job).confirmed = true;
}

Agreements::Guest& Agreements::guest(std::uint32_t host, const base::JobId& job) {
  Guest& out = guests_[{host, job}];
  if (out.life != world_.life(host)) out = {world_.life(host), world_.now(), false};
  return out;
}

void Agreements::rescan() {
  if (world_.hosts() > kWatchedHostsMax) return;  // nobody says what is heard
  for (std::uint32_t host = 0; host < world_.hosts(); ++host) check_guests(host);
  for (const JobTruth& job : world_.jobs()) {
    if (job.begun) check_forward(job.plan.node, job.id);
  }
}

void Agreements::check_forward(std::uint32_t host, const base::JobId& job) {
  const node::Node* node = world_.node(host);
  const node::jobs::Job* at_home = node == nullptr ? nullptr : node->jobs().find(job);
  if (at_home == nullptr || at_home->spec.home != world_.id(host)) return;
  knows(host, job, at_home->epoch);
}

void Agreements::knows(std::uint32_t host, const base::JobId& job, base::Epoch now) {
  auto& [life, epoch] = known_[{host, job}];
  if (life != world_.life(host)) {  // what it had stored it still knows
    const base::Bytes* value = disk(host, "job/" + job.hex());
    epoch = value == nullptr ? base::Epoch{} : read_job(*value).epoch;
  }
  if (now < epoch && !promises_.excused_host(host) &&
      !promises_.excused_job(world_.job_index(job))) {
    promises_.broke("home-forward", host, "it believes an older word on job " + job.brief());
  }
  life = world_.life(host);
  epoch = now;
}

void Agreements::check_guests(std::uint32_t host) {
  const node::Node* node = world_.node(host);
  const auto is_guest = [&](const base::JobId& id) {
    const node::jobs::Job* job = node == nullptr ? nullptr : node->jobs().find(id);
    return job != nullptr && job->here && !job->wait_status && job->spec.home != world_.id(host);
  };
  const auto first = guests_.lower_bound({host, base::JobId{}});
  const auto last = guests_.lower_bound({host + 1, base::JobId{}});
  for (auto at = first; at != last;) {
    at = is_guest(at->first.second) ? std::next(at) : guests_.erase(at);
  }
  for (const Copy& copy : world_.machine(host).copies()) {
    const base::JobId& id = world_.jobs()[copy.job].id;
    if (copy.frozen || !is_guest(id)) continue;
    Guest& one = guest(host, id);
    if (world_.asleep(host)) one.told = world_.now();
    if (one.confirmed || world_.now() - one.told < kToldAgainWithin) continue;
    if (promises_.excused_host(host) || promises_.excused_job(copy.job)) continue;
    promises_.broke("home-told", host,
                    "job " + std::to_string(copy.job) + " is here, and it no longer tells home");
  }
}

void Agreements::says_in_group(std::uint32_t host, const base::NodeId& to,
                               const balance::group::Message& message) {
  const base::TriadId& triad = message.group;
  balance::group::HardState hard;
  if (const base::Bytes* value = disk(host, balance::hard_key(triad))) {
    if (auto decoded = balance::group::decode_hard_state(*value)) hard = *decoded;
  }
  const auto* vote = std::get_if<VoteReply>(&message.body);
  const bool stands = std::holds_alternative<Vote>(message.body);
  const base::NodeId& candidate = stands ? world_.id(host) : to;
  if (hard.term < message.term) not_durable(host, "a term that is not stored");
  if ((stands || (vote != nullptr && vote->granted)) && hard.term == message.term &&
      hard.voted_for != candidate) {
    not_durable(host, "a vote that is not stored");
  }
  if (const auto* reply = std::get_if<AppendReply>(&message.body)) {
    if (reply->ok && reply->index.value >= 2 &&
        disk(host, balance::log_key(triad, reply->index)) == nullptr) {
      not_durable(host, "it confirms an entry that is not stored");
    }
  }
  if (promises_.excused(triad)) return;
  const std::vector<std::uint32_t> all = voters(triad);
  const auto* let_stand = std::get_if<PreVoteReply>(&message.body);
  const bool elects = stands || std::holds_alternative<PreVote>(message.body) ||
                      (vote != nullptr && vote->granted) ||
                      (let_stand != nullptr && let_stand->granted);
  if (elects && !all.empty() && std::find(all.begin(), all.end(), host) == all.end()) {
    promises_.broke("elected", host, "who has no vote takes part in an election");
  }
  consensus_.says(host, to, message);
  if (const auto* let = std::get_if<PreVoteReply>(&message.body)) {
    if (let->granted) let_[{{triad, let->asked_term}, to}].insert(world_.id(host));
    const auto& seat = world_.node(host)->seat();
    if (let->granted && seat && seat->triad == triad && seat->leads && seat->term == message.term) {
      promises_.broke("pre-vote", host, "who is in office lets another one stand");
    }
  }
  if (stands && message.term.value > 0) {
    const base::Term before{message.term.value - 1};
    if (let_[{{triad, before}, world_.id(host)}].size() + 1 < voters(triad).size() / 2 + 1) {
      promises_.broke("pre-vote", host, "it stands without a majority that lets it");
    }
  }
  if (const auto* append = std::get_if<Append>(&message.body)) {
    if (append->commit.value >= 2) check_commit(host, message, append->commit);
  }
}

// The first word of a commit index: a majority has that entry, and it is of the leader's own term.
void Agreements::check_commit(std::uint32_t host, const balance::group::Message& message,
                              base::LogIndex commit) {
  Committed& known = committed_[message.group];
  const std::string key = balance::log_key(message.group, commit);
  if (known.entries.contains(key)) return;
  const std::vector<std::uint32_t> all = voters(message.group);
  std::map<base::Bytes, std::size_t> copies;
  std::size_t left = 0;
  for (const std::uint32_t voter : all) {
    const base::Bytes* value = disk(voter, key);
    if (value != nullptr) ++copies[*value];
    if (value == nullptr && has_left(voter, message.group)) ++left;
  }
  const base::Bytes* stored = nullptr;
  for (const auto& [value, count] : copies) {
    if (count + left >= all.size() / 2 + 1) stored = &value;
  }
  if (stored == nullptr) {
    if (left >= all.size() / 2 + 1) return;
    return promises_.broke("committed", host,
                           "entry " + std::to_string(commit.value) + " of triad " +
                               message.group.brief() + " is not stored by a majority");
  }
  const auto entry = balance::group::decode_entry(*stored);
  if (entry && entry->term != message.term && left == 0) {
    promises_.broke("committed", host, "an entry of an older term was counted");
  }
  for (const std::uint32_t voter : all) {
    const base::Bytes* value = disk(voter, key);
    if (value == nullptr || *value != *stored) continue;
    for (base::LogIndex at{2}; at <= commit; at = at.next()) {
      const std::string one = balance::log_key(message.group, at);
      const base::Bytes* bytes = disk(voter, one);
      if (bytes == nullptr || !known.entries.emplace(one, *bytes).second) continue;
      commits(host, message.group, *bytes);
    }
    return;
  }
}

// What only a state of both ends allows.
void Agreements::commits(std::uint32_t host, const base::TriadId& triad, base::ByteView stored) {
  const balance::FormRecord* form = promises_.form(triad);
  const auto entry = balance::group::decode_entry(stored);
  if (form == nullptr || !entry || entry->payload.empty()) return;
  const auto what = balance::decode_log_entry(entry->payload);
  if (!what) return;
  const auto end_at = [&](balance::Seat seat, const balance::HandoverId& id) {
    std::optional<balance::EndRecord> out;
    const std::uint32_t at = world_.host_of(form->seat(seat)->node);
    const base::Bytes* value = at == kNobody ? nullptr : disk(at, balance::end_key(id));
    if (value == nullptr) return out;
    if (auto record = balance::decode_end(*value)) out = *record;
    return out;
  };
  if (const auto* begin = std::get_if<balance::BeginEntry>(&*what)) {
    for (const balance::HandoverId& id : begun_[triad]) {
      if (decided_.contains(id)) continue;
      promises_.broke("one-handover", host, "begun before the one before has its outcome");
    }
    begun_[triad].push_back({triad, begin->job, begin->epoch});
  } else if (const auto* outcome = std::get_if<balance::OutcomeEntry>(&*what)) {
    const auto sink = end_at(balance::Seat::kSink, {triad, outcome->job, outcome->epoch});
    if (outcome->decision == balance::Decision::kCommit && sink &&
        sink->state == balance::EndState::kSinkExpecting) {
      promises_.broke("by-outcome", host, "commit before the sink is ready");
    }
    decided_.emplace(balance::HandoverId{triad, outcome->job, outcome->epoch}, outcome->decision);
  } else {
    for (const balance::HandoverId& id : begun_[triad]) {
      if (decided_.contains(id)) continue;
      promises_.broke("by-outcome", host, "dissolved before every handover had its outcome");
    }
  }
}

void Agreements::leads(std::uint32_t host, const base::TriadId& triad, base::Term term) {
  const std::vector<std::uint32_t> all = voters(triad);
  std::size_t votes = 0;
  for (const std::uint32_t voter : all) {
    const auto found = votes_.find({triad, world_.store(voter)});
    if (found == votes_.end()) continue;
    const balance::group::HardState& hard = found->second;
    const bool for_it = hard.term == term && hard.voted_for == world_.id(host);
    votes += for_it || hard.term > term ? 1U : 0U;
  }
  if (votes < all.size() / 2 + 1) {
    promises_.broke("elected", host,
                    "it leads term " + std::to_string(term.value) + " of triad " + triad.brief() +
                        " with " + std::to_string(votes) + " durable votes");
  }
  const auto left = std::count_if(all.begin(), all.end(),
                                  [&](std::uint32_t voter) { return has_left(voter, triad); });
  consensus_.takes_office(host, triad, term, all, static_cast<std::size_t>(left));
  for (const auto& [key, value] : committed_[triad].entries) {
    // Of its own term it may lack one that the two others have stored first.
    const auto entry = balance::group::decode_entry(value);
    if (!entry || !(entry->term < term)) continue;
    const base::Bytes* mine = disk(host, key);
    if (mine == nullptr || *mine != value) {
      return promises_.broke("committed-stays", host, "it leads without " + key);
    }
  }
}

void Agreements::still_leads(std::uint32_t host, const base::TriadId& triad, base::Term term) {
  if (world_.hosts() > kWatchedHostsMax) return;  // nobody says what is heard
  const balance::FormRecord* form = promises_.form(triad);
  if (form != nullptr && !form->is_pair()) consensus_.stays_in_office(host, triad, term);
}

// ---- what is stored

void Agreements::decides(std::uint32_t host, const node::Persist& batch) {
  for (const balance::RecordChange& change : batch.changes) {
    if (change.key != balance::kAcceptanceKey || !change.value) continue;
    auto acceptance = balance::decode_acceptance(*change.value);
    if (!acceptance) continue;
    check_roles(host, *acceptance);
    accepting_[host] = {acceptance->proposal, world_.life(host), false};
  }
}

bool Agreements::is_owned(std::uint32_t host, const base::JobId& id) const {
  const node::jobs::Job* job = world_.node(host)->jobs().find(id);
  if (job != nullptr) return job->here;
  // It is over here, and balance hears of it when that is durable.
  const std::uint32_t index = world_.job_index(id);
  return index != kNobody && world_.jobs()[index].ended && world_.jobs()[index].ended_on == host;
}

void Agreements::check_roles(std::uint32_t host, const balance::Acceptance& acceptance) {
  const node::Node* node = world_.node(host);
  if (node == nullptr || promises_.excused_host(host)) return;
  const balance::Roles& roles = acceptance.roles;
  const bool by_rule = roles.cause != balance::Cause::kPerson;
  const bool proposes = acceptance.from == world_.id(host);
  const auto wrong = [&](const char* what) { promises_.broke("fits", host, what); };
  if (node->seat()) wrong("it accepts a seat while it has one");
  const node::Status status = node->status();
  std::size_t live = 0;
  bool ergodic = false;  // one that could be third
  bool third_is_not = false;
  for (const node::StatusNode& seen : status.nodes) {
    const gossip::NodeView& view = seen.view;
    const bool alive = seen.self || (view.state == gossip::State::kAlive && view.readable);
    live += alive ? 1U : 0U;
    if (seen.self || !proposes) continue;
    ergodic =
        ergodic || (alive && view.id != roles.sink && view.fields.trit == 0 && !view.fields.seat);
    third_is_not = third_is_not || (view.id == roles.third && view.fields.trit != 0);
    const bool given = view.id == roles.sink || view.id == roles.third;
    if (given && !alive) wrong("it proposes a node that it does not see alive");
    if (given && by_rule && view.fields.seat) wrong("it proposes a node that has a seat");
    if (!by_rule || view.id != roles.sink) continue;
    if (view.fields.trit != -1) wrong("it proposes a sink that is not MINUS");
    if (!view.fields.accepts_jobs) wrong("it proposes a sink that takes no jobs");
  }
  if (ergodic && third_is_not) wrong("a third that is not ERGODIC, and one was there");
  if (roles.third.is_zero() && live > 2) wrong("a pair in a mesh of three and more");
  if (!by_rule && proposes && !is_owned(host, roles.job))
    wrong("it proposes to move what it lacks");
  if (roles.sink == world_.id(host) && world_.node(host)->draining()) {
    wrong("it accepts to be sink while it is drained");
  }
  if (!by_rule) return;
  if (roles.sink == world_.id(host) && status.trit != probe::Trit::kMinus) {
    wrong("it accepts to be sink and is not MINUS");
  }
  const bool sheds = roles.cause != balance::Cause::kWake;
  if (!sheds && status.sum >= 0) wrong("it wakes jobs and S is not negative");
  const bool for_memory = roles.cause == balance::Cause::kMemory;
  if (sheds && roles.source == world_.id(host) && !for_memory &&
      status.trit != probe::Trit::kPlus) {
    wrong("it sheds and is not PLUS");
  }
}

void Agreements::stores_acceptance(std::uint32_t host, const balance::RecordChange& change,
                                   bool forms) {
  const base::Time since = acceptance_since(host);
  acceptance_at_.erase(host);
  const base::Bytes* before = disk(host, change.key);
  if (!change.value) {
    if (before == nullptr || forms || promises_.excused_host(host)) return;
    auto kept = balance::decode_acceptance(*before);
    if (!kept || kept->from == world_.id(host) || cancelled_.contains(kept->proposal)) return;
    if (since == base::kNever || world_.now() - since >= balance::kAcceptanceLife * 99 / 100)
      return;
    return promises_.broke("acceptance-kept", host, "it gives up what it accepted a moment ago");
  }
  acceptance_at_[host] = world_.now();
  if (before != nullptr && *before != *change.value) {
    promises_.broke("one-acceptance", host, "one proposal's acceptance replaces another's");
  }
  auto acceptance = balance::decode_acceptance(*change.value);
  if (!acceptance || promises_.excused_host(host)) return;
  if (!accepted_.emplace(host, acceptance->proposal).second && before == nullptr) {
    promises_.broke("one-acceptance", host, "a proposal that was over is accepted again");
  }
}

void Agreements::stores_form(std::uint32_t host, const base::TriadId& triad, base::ByteView value) {
  stored_form_[triad].insert(host);
  auto stored = balance::decode_stored_form(value);
  if (!stored || disk(host, balance::form_key(triad)) != nullptr) return;
  const base::Bytes* accepted = disk(host, balance::kAcceptanceKey);
  auto acceptance =
      accepted == nullptr
          ? base::Result<balance::Acceptance>(base::fail(base::Code::kInvalid, "there is none"))
          : balance::decode_acceptance(*accepted);
  if (promises_.excused_host(host)) return;
  if (acceptance && acceptance->proposal == stored->proposal &&
      acceptance->roles == balance::roles_of(stored->form)) {
    return;
  }
  promises_.broke("form-accepted", host, "triad " + triad.brief() + " is not what it accepted");
}

void Agreements::stores(std::uint32_t host, const node::Persist& batch) {
  consensus_.stores(host, batch);
  const bool forms = std::any_of(
      batch.changes.begin(), batch.changes.end(), [](const balance::RecordChange& change) {
        auto triad = balance::parse_triad_key(change.key);
        return triad && change.value && change.key == balance::form_key(*triad);
      });
  for (const balance::RecordChange& change : batch.changes) {
    if (change.key == balance::kAcceptanceKey) {
      stores_acceptance(host, change, forms);
    } else if (change.key.starts_with("end/")) {
      stores_end(host, change);
    } else if (change.key.starts_with("own/") && change.value) {
      const base::Bytes* before = disk(host, change.key);
      auto old_own = before == nullptr ? base::Result<balance::OwnRecord>(balance::OwnRecord{})
                                       : balance::decode_own(*before);
      auto own = balance::decode_own(*change.value);
      if (old_own && own && (own->epoch < old_own->epoch || own->next < old_own->next)) {
        promises_.broke("epochs-grow", host, "an ownership record goes back");
      }
    }
    auto triad = balance::parse_triad_key(change.key);
    if (!triad || !change.key.starts_with("tri/")) continue;
    if (change.key == balance::form_key(*triad) && change.value) {
      stores_form(host, *triad, *change.value);
    }
    if (change.key == balance::hard_key(*triad) && change.value) {
      auto hard = balance::group::decode_hard_state(*change.value);
      if (hard) votes_[{*triad, world_.store(host)}] = *hard;
    }
    const auto& entries = committed_[*triad].entries;
    const auto known = entries.find(change.key);
    if (known == entries.end() || promises_.excused(*triad)) continue;
    // An entry that it alone appended may go, and all of them when it leaves.
    const base::Bytes* before = disk(host, change.key);
    if (before == nullptr || *before != known->second || erases_form(batch, *triad)) continue;
    if (!change.value || *change.value != known->second) {
      promises_.broke("committed-stays", host, change.key + " is replaced");
    }
  }
}

}  // namespace sim
