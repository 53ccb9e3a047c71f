#include "sim/consensus.h"

#include <algorithm>

#include "balance/record.h"
#include "sim/world.h"

namespace sim {

using balance::group::Append;
using balance::group::AppendReply;
using balance::group::LogEnd;
using balance::group::PreVote;
using balance::group::PreVoteReply;
using balance::group::Vote;
using balance::group::VoteReply;
using base::LogIndex;

namespace {

// The patience of a leader, and what it does between two looks at it.
constexpr base::Duration kUnansweredMax = balance::GroupTimings{}.quorum + std::chrono::seconds(7);

constexpr base::Duration kJustLed =
    balance::GroupTimings{}.sticky - std::chrono::milliseconds(50);  // by the world's clock

constexpr base::Duration kAsleep = std::chrono::seconds(2);  // a leader steps far more often

}  // namespace

// ---- looks

std::optional<base::Term> Consensus::term_at(std::uint32_t host, const base::TriadId& triad,
                                             LogIndex index) const {
  if (index <= LogIndex{1}) return base::Term{};  // the form record
  const auto& disk = world_.disk(host);
  const auto found = disk.find(balance::log_key(triad, index));
  if (found == disk.end()) return std::nullopt;
  auto entry = balance::group::decode_entry(found->second);
  return entry ? std::optional(entry->term) : std::nullopt;
}

LogEnd Consensus::end_of(std::uint32_t host, const base::TriadId& triad) const {
  LogEnd end{base::Term{}, LogIndex{1}};
  while (const auto term = term_at(host, triad, end.index.next())) end = {*term, end.index.next()};
  return end;
}

Consensus::Follower& Consensus::follower(std::uint32_t host, const Term& term) {
  Follower& one = followers_[{term.first, host}];
  if (one.life != world_.life(host)) one = {world_.life(host), term.second, {}, {}};
  if (one.term != term.second) {
    one.term = term.second;
    one.before = one.commit;
  }
  return one;
}

// ---- what is said

void Consensus::says(std::uint32_t host, const base::NodeId& to,
                     const balance::group::Message& message) {
  const Term term{message.group, message.term};
  const auto& body = message.body;
  if (const auto* ask = std::get_if<PreVote>(&body)) {
    LogEnd& end = stands_with_[{term, world_.id(host)}];
    end = std::max(end, ask->end);
  } else if (const auto* stand = std::get_if<Vote>(&body)) {
    stands_with_[{term, world_.id(host)}] = stand->end;
  } else if (const auto* let = std::get_if<PreVoteReply>(&body)) {
    if (let->granted && let->asked_term == message.term) {
      check_grant(host, term, to, "it lets ");
      check_lets(host, term, to);
    }
  } else if (const auto* vote = std::get_if<VoteReply>(&body)) {
    if (vote->granted) check_grant(host, term, to, "it elects ");
  } else if (const auto* append = std::get_if<Append>(&body)) {
    on_append(host, term, *append);
  } else if (const auto* reply = std::get_if<AppendReply>(&body)) {
    if (reply->ok) on_reply(host, term, *reply);
    check_commit(host, term, *reply);
  }
}

void Consensus::hears(std::uint32_t host, const balance::group::Message& message) {
  base::Incarnation& life = lives_[{message.group, host, message.store}];
  const bool is_old = message.incarnation < life;
  life = std::max(life, message.incarnation);
  if (std::holds_alternative<Append>(message.body) && !is_old) hears_leader(host, message);
  const Term asked{message.group, message.term};
  if (std::holds_alternative<PreVote>(message.body) && !is_led(host, asked)) {
    unled_.insert({asked, host, message.store});
  }
  const auto found = told_.find({message.group, message.term});
  if (found == told_.end()) return;
  Told& told = found->second;
  if (const auto* append = std::get_if<Append>(&message.body)) {
    Heard& heard = told.heard[host];
    if (heard.life != world_.life(host)) heard = {world_.life(host), {}};
    heard.commit = std::max(heard.commit, append->commit);
  } else if (std::holds_alternative<AppendReply>(message.body) && told.leader == host) {
    told.answered = world_.now();
  }
}

void Consensus::hears_leader(std::uint32_t host, const balance::group::Message& message) {
  if (!world_.disk(host).contains(balance::form_key(message.group))) return;  // it is no member yet
  Led& led = led_[{message.group, host}];
  if (led.life == world_.life(host) && message.term < led.term) return;
  led = {world_.life(host), message.term, world_.now()};
}

bool Consensus::is_led(std::uint32_t host, const Term& term) const {
  const auto found = led_.find({term.first, host});
  if (found == led_.end()) return false;
  const Led& led = found->second;
  return led.life == world_.life(host) && led.term == term.second &&
         world_.now() - led.at < kJustLed;
}

void Consensus::check_lets(std::uint32_t host, const Term& term, const base::NodeId& candidate) {
  const balance::FormRecord* form = promises_.form(term.first);
  const balance::Member* member = form == nullptr ? nullptr : form->member(candidate);
  if (member == nullptr || world_.hosts() > kWatchedHostsMax) return;  // nobody says what is heard
  if (unled_.contains({term, host, member->store})) return;
  promises_.broke("pre-vote", host, "it lets another one stand while it hears a leader");
}

void Consensus::check_grant(std::uint32_t host, const Term& term, const base::NodeId& candidate,
                            const char* what) {
  const auto stands = stands_with_.find({term, candidate});
  if (stands == stands_with_.end()) {
    return promises_.broke("up-to-date", host, std::string(what) + "one who did not stand");
  }
  if (end_of(host, term.first) <= stands->second) return;
  promises_.broke("up-to-date", host, std::string(what) + "one whose log ends before its own");
}

void Consensus::on_append(std::uint32_t host, const Term& term, const Append& append) {
  Told& told = told_[term];
  if (told.answered == base::Time{}) told.answered = world_.now();
  told.leader = host;
  told.commit = std::max(told.commit, append.commit);
  told.entries[append.prev.index] = append.prev.term;
  LogIndex at = append.prev.index;
  for (const balance::group::Entry& entry : append.entries) {
    at = at.next();
    told.entries[at] = entry.term;
    const auto [found, fresh] =
        entries_.emplace(std::make_pair(term.first, LogEnd{entry.term, at}), entry.payload);
    if (fresh || found->second == entry.payload) continue;
    promises_.broke("one-entry", host,
                    "another entry " + std::to_string(at.value) + " of term " +
                        std::to_string(entry.term.value) + " of triad " + term.first.brief());
  }
  Follower& leader = follower(host, term);
  leader.before = leader.commit = std::max(leader.commit, append.commit);
}

void Consensus::on_reply(std::uint32_t host, const Term& term, const AppendReply& reply) {
  const auto found = told_.find(term);
  const auto wrong = [&](const std::string& what) {
    promises_.broke("log-matching", host, what + " of triad " + term.first.brief());
  };
  if (found == told_.end()) return wrong("it confirms entries in a term without a leader");
  const Told& told = found->second;
  if (told.entries.empty() || told.entries.rbegin()->first < reply.index) {
    return wrong("it confirms entries that the leader did not send");
  }
  for (const auto& [index, entry_term] : told.entries) {
    if (index > reply.index) break;
    if (index <= LogIndex{1} || term_at(host, term.first, index) == entry_term) continue;
    return wrong("it confirms entry " + std::to_string(index.value) + " and holds another");
  }
}

// Where it holds what a leader told, all before is the same too. What an earlier leader proved may
// have waited for the disk until this one's term, and is confirmed in it.
LogIndex Consensus::proven(std::uint32_t host, const Term& term) const {
  LogIndex out;
  for (auto at = told_.lower_bound({term.first, base::Term{}});
       at != told_.end() && at->first <= term; ++at) {
    const Told& told = at->second;
    LogIndex commit = told.commit;
    if (at->first != term) {
      const auto heard = told.heard.find(host);
      if (heard == told.heard.end() || heard->second.life != world_.life(host)) continue;
      commit = heard->second.commit;
    }
    LogIndex held;
    for (const auto& [index, entry_term] : told.entries) {
      if (term_at(host, term.first, index) == entry_term) held = index;
    }
    out = std::max(out, std::min(held, commit));
  }
  return out;
}

void Consensus::check_commit(std::uint32_t host, const Term& term, const AppendReply& reply) {
  Follower& one = follower(host, term);
  one.commit = std::max(one.commit, reply.commit);
  if (reply.commit <= std::max(one.before, LogIndex{1})) return;  // 1: the form record
  if (reply.commit <= proven(host, term)) return;
  promises_.broke("commit-proven", host,
                  "it takes entry " + std::to_string(reply.commit.value) + " of triad " +
                      term.first.brief() + " for committed, unproven");
}

// ---- office

void Consensus::takes_office(std::uint32_t host, const base::TriadId& triad, base::Term term,
                             const std::vector<std::uint32_t>& voters, std::size_t have_left) {
  std::size_t opened = have_left;
  for (const std::uint32_t voter : voters) {
    const LogEnd end = end_of(voter, triad);
    opened += end.term >= term ? 1U : 0U;
  }
  if (opened >= voters.size() / 2 + 1) return;
  promises_.broke("in-office", host,
                  "term " + std::to_string(term.value) + " of triad " + triad.brief() +
                      " is opened on " + std::to_string(opened) + " disks");
}

void Consensus::stays_in_office(std::uint32_t host, const base::TriadId& triad, base::Term term) {
  const auto found = told_.find({triad, term});
  if (found == told_.end()) return;
  Told& told = found->second;
  if (world_.now() - told.stepped >= kAsleep) told.answered = world_.now();
  told.stepped = world_.now();
  if (world_.now() - told.answered < kUnansweredMax) return;
  promises_.broke("quorum", host, "it leads triad " + triad.brief() + " and nobody answers");
}

// ---- what is stored

// What is replaced takes all that follows with it.
void Consensus::stores(std::uint32_t host, const node::Persist& batch) {
  std::map<base::TriadId, LogIndex> replaced;
  std::map<base::TriadId, std::set<LogIndex>> touched;
  for (const balance::RecordChange& change : batch.changes) {
    const std::size_t at = change.key.find("/log/");
    if (at == std::string::npos || !change.key.starts_with("tri/")) continue;
    auto triad = balance::parse_triad_key(change.key);
    if (!triad) continue;
    const LogIndex index{std::stoull(change.key.substr(at + 5))};
    touched[*triad].insert(index);
    const auto before = world_.disk(host).find(change.key);
    if (before == world_.disk(host).end() || (change.value && before->second == *change.value)) {
      continue;
    }
    const auto [found, fresh] = replaced.emplace(*triad, index);
    if (!fresh) found->second = std::min(found->second, index);
  }
  for (const auto& [triad, from] : replaced) {
    for (LogIndex at = from; term_at(host, triad, at); at = at.next()) {
      if (touched[triad].contains(at)) continue;
      promises_.broke("log-whole", host,
                      "entry " + std::to_string(at.value) + " of triad " + triad.brief() +
                          " stays behind a replaced one");
      break;
    }
  }
}

}  // namespace sim
