// A job's stdin between nodes (src/node/inputs.h): nothing missing, nothing twice, whatever is
// lost, doubled or late, wherever the job moves and whoever restarts.
#include "node/inputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>

#include "base/rng.h"

namespace node::inputs {
namespace {

using base::JobId;
using base::NodeId;
using base::Time;
using std::chrono::milliseconds;

constexpr JobId kJob{{1}};
constexpr NodeId kSelf{{1}};
constexpr NodeId kOther{{2}};

std::string text_of(const base::Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

// A job's init and what its host keeps of the input, as init/contract.h and daemon/job_inputs.h
// have it: what continues is taken, the rest passed over.
struct Job {
  std::uint64_t session = 0;
  std::string given;
  bool ended = false;
  bool closed = false;

  InputReply hear(const Input& input) {
    if (input.kind == InputKind::kClaim) session = std::max(session, input.session);
    if (input.session == session && !ended) {
      const bool continues =
          input.offset <= given.size() && input.offset + input.bytes.size() > given.size();
      if (input.kind == InputKind::kBytes && continues) {
        given += text_of(input.bytes).substr(given.size() - input.offset);
      }
      if (input.kind == InputKind::kEnd && input.offset == given.size()) ended = true;
    }
    InputReply reply;
    reply.query = input.query;
    reply.job = input.job;
    reply.session = session;
    reply.taken = given.size();
    reply.held = given.size();
    reply.ended = ended;
    reply.closed = closed;
    return reply;
  }
};

// What stands between desks and a job's init (daemon/job_inputs.h): frames wait in order, longer
// than the desk lives that sent them, and only those in the feed move. A reply has the newest
// query, whoever's state it tells.
struct Host {
  static constexpr std::size_t kFeed = 4;
  static constexpr std::size_t kFrames = 12;
  Job job;
  std::deque<Input> waiting;
  std::optional<InputReply> state;
  std::uint64_t held = 0;
  std::uint64_t query = 0;

  std::optional<InputReply> hear(const Input& input) {
    query = input.query;
    const bool known = state.has_value();
    Input frame = input;
    if (input.kind == InputKind::kBytes && !known) frame.kind = InputKind::kAsk;
    if (frame.kind == InputKind::kBytes) {
      const std::uint64_t end = input.offset + input.bytes.size();
      if (input.session == state->session && input.offset <= held && end > held) {
        if (waiting.size() >= kFrames) return std::nullopt;
        waiting.push_back(frame);
        held = end;
      }
      return reply();
    }
    if (frame.kind == InputKind::kAsk && known) return reply();
    if (waiting.size() < kFrames) waiting.push_back(frame);
    return std::nullopt;
  }
  std::optional<InputReply> turn() {  // of init
    if (waiting.empty()) return std::nullopt;
    const InputReply said = job.hear(waiting.front());
    waiting.pop_front();
    if (!state || state->session != said.session) held = said.taken;
    state = said;
    held = std::max(held, said.taken);
    return reply();
  }
  void move() {
    if (waiting.size() > kFeed) waiting.resize(kFeed);
    state.reset();
    query = 0;
  }
  [[nodiscard]] InputReply reply() const {
    InputReply out = *state;
    out.query = query;
    out.held = held;
    return out;
  }
};

// One person's program: keeps what was not taken, and says it again after a restart.
struct Person {
  std::string text;
  std::uint64_t base = 0;  // offset of the text's first byte
  std::uint64_t taken = 0;
  std::uint64_t put = 0;
  std::uint64_t session = 0;
  bool open = false;
  bool end_put = false;
  std::optional<Said> over = std::nullopt;
};

class InputsTest : public ::testing::Test {
 protected:
  void open(std::uint64_t desk, Person& person, NodeId host = kOther) {
    people_[desk] = &person;
    person.open = false;
    Open event;
    event.desk = desk;
    event.job = kJob;
    event.host = host;
    event.session = person.session;
    event.salt = ++salt_;
    take(inputs_.step(now_, event));
  }

  void take(Actions actions) {
    for (Action& action : actions) {
      if (auto* send = std::get_if<Send>(&action)) {
        sent_.push_back(*send);
        continue;
      }
      const Said& said = std::get<Said>(action);
      Person& person = *people_.at(said.desk);
      if (said.over()) {
        person.over = said;
        continue;
      }
      if (said.what == Said::kSought) {
        ++sought_;
        continue;
      }
      if (said.what == Said::kOpen && person.session == 0) person.base = said.taken;
      if (said.what == Said::kOpen) person.put = said.taken - person.base;
      person.session = said.session;
      person.open = true;
      EXPECT_GE(said.taken, person.taken);
      person.taken = std::max(person.taken, said.taken);
    }
  }

  // As much as the window takes, in pieces of some size.
  void put(std::uint64_t desk, std::size_t piece) {
    Person& person = *people_.at(desk);
    if (!person.open || person.over) return;
    const std::uint64_t room = person.taken + kInputWindow - (person.base + person.put);
    const std::string bytes = person.text.substr(person.put, std::min<std::uint64_t>(piece, room));
    if (!bytes.empty()) {
      const std::uint64_t offset = person.base + person.put;
      person.put += bytes.size();
      take(inputs_.step(now_, Put{desk, offset, base::Bytes(bytes.begin(), bytes.end())}));
    } else if (person.put == person.text.size() && !person.end_put) {
      person.end_put = true;
      take(inputs_.step(now_, End{desk, person.base + person.put}));
    }
  }

  // Everything that was sent arrives, and is answered.
  void deliver(Job& job, NodeId at = kOther) {
    while (!sent_.empty()) {
      const Send send = sent_.front();
      sent_.pop_front();
      if (send.to != at) continue;
      take(inputs_.step(now_, Peer{at, job.hear(send.message)}));
    }
  }
  // To a host, until it and the desks have nothing left to say or do.
  void deliver(Host& host, bool turns) {
    const auto hear = [&](const std::optional<InputReply>& reply) {
      if (reply) take(inputs_.step(now_, Peer{kOther, *reply}));
    };
    while (!sent_.empty() || (turns && !host.waiting.empty())) {
      if (!sent_.empty()) {
        const Input message = sent_.front().message;
        sent_.pop_front();
        hear(host.hear(message));
      } else {
        hear(host.turn());
      }
    }
  }
  void restart() {
    inputs_ = Inputs(kSelf);
    sent_.clear();
  }
  void wait() {
    const Time next = inputs_.next_deadline();
    now_ = std::max(now_ + milliseconds(1), next == base::kNever ? now_ : next);
    take(inputs_.step(now_, Tick{}));
  }

  Time now_ = Time{} + std::chrono::hours(1);
  Inputs inputs_{kSelf};
  std::map<std::uint64_t, Person*> people_;
  std::deque<Send> sent_;
  int sought_ = 0;
  std::uint32_t salt_ = 76;
};

TEST_F(InputsTest, AllOfItInOrderAndTheEnd) {
  Job job;
  Person person{.text = "some words\n"};
  open(1, person);
  deliver(job);
  ASSERT_TRUE(person.open);
  put(1, 4);
  put(1, 100);
  put(1, 1);
  deliver(job);
  EXPECT_EQ(job.given, person.text);
  EXPECT_TRUE(job.ended);
  ASSERT_TRUE(person.over);
  EXPECT_EQ(person.over->what, Said::kClosed);
  EXPECT_TRUE(inputs_.empty());
}

TEST_F(InputsTest, AJobThatDoesNotReadIsAskedRarely) {
  Job job;
  Person person{.text = std::string(kInputWindow, 'x')};
  open(1, person);
  deliver(job);
  put(1, kInputWindow);
  EXPECT_EQ(sent_.size(), kInputWindow / kInputPieceMax);
  sent_.clear();
  int asked = 0;
  for (const Time end = now_ + std::chrono::seconds(60); now_ < end; ++asked) {
    wait();
    ASSERT_EQ(sent_.size(), 1U);
    Input question = sent_.front().message;
    EXPECT_EQ(question.kind, InputKind::kAsk);
    sent_.clear();
    // It is all held there, so nothing is sent again.
    InputReply reply = job.hear(question);
    reply.held = kInputWindow;
    take(inputs_.step(now_, Peer{kOther, reply}));
    EXPECT_TRUE(sent_.empty());
  }
  EXPECT_LE(asked, 35);
}

TEST_F(InputsTest, AHostThatRefusesAtOnceIsNotFlooded) {
  Job job;
  Person person{.text = std::string(kInputWindow, 'x')};
  open(1, person);
  deliver(job);
  put(1, kInputWindow);
  std::size_t messages = 0;
  for (const Time end = now_ + std::chrono::seconds(10); now_ < end; wait()) {
    for (; !sent_.empty(); ++messages) {
      ASSERT_LT(messages, 300U);
      InputReply reply = job.hear(Input{.query = sent_.front().message.query, .job = kJob});
      reply.session = person.session;
      sent_.pop_front();
      take(inputs_.step(now_, Peer{kOther, reply}));
    }
  }
  EXPECT_FALSE(person.over);
  put(1, 1);
  for (int turn = 0; turn < 10 && !person.over; ++turn) {  // then it has room
    deliver(job);
    put(1, 1);
    wait();
  }
  EXPECT_EQ(job.given, person.text);
}

TEST_F(InputsTest, MoreThanTheWindowOrAGapEndsTheDesk) {
  Job job;
  Person greedy;
  open(1, greedy);
  deliver(job);
  take(inputs_.step(now_, Put{1, 0, base::Bytes(kInputWindow + 1, 'x')}));
  ASSERT_TRUE(greedy.over);
  EXPECT_EQ(greedy.over->what, Said::kRefused);
  Person gap;
  open(2, gap);
  deliver(job);
  take(inputs_.step(now_, Put{2, 5, base::Bytes(1, 'x')}));
  ASSERT_TRUE(gap.over);
}

TEST_F(InputsTest, TheNewestFeedsAndTheOneBeforeHearsOfIt) {
  Job job;
  Person first{.text = "first "};
  open(1, first);
  deliver(job);
  put(1, 6);
  deliver(job);
  Person second{.text = "second"};
  open(2, second);
  deliver(job);
  EXPECT_GT(second.session, first.session);
  ASSERT_TRUE(first.over);
  EXPECT_EQ(first.over->what, Said::kReplaced);
  put(2, 6);
  deliver(job);
  EXPECT_EQ(job.given, "first second");
  // Who was replaced does not come back by coming anew with what he had.
  first.over.reset();
  open(3, first);
  deliver(job);
  ASSERT_TRUE(first.over);
  EXPECT_EQ(first.over->what, Said::kReplaced);
}

TEST_F(InputsTest, WhatWasSentBeforeARestartAndIsOnItsWayIsTakenOnce) {
  Host host;
  Person person{.text = std::string(5, 'a') + std::string(5, 'b')};
  open(1, person);
  deliver(host, true);
  const std::uint64_t first = person.session;
  put(1, 5);
  deliver(host, false);  // held, not taken
  restart();
  open(2, person);
  deliver(host, false);
  EXPECT_FALSE(person.open);
  // Killed again, before it could tell of the session that it had claimed by now.
  restart();
  open(3, person);
  deliver(host, true);
  ASSERT_TRUE(person.open);
  EXPECT_FALSE(person.over);
  EXPECT_GT(person.session, first);
  EXPECT_EQ(person.taken, 5U);
  put(3, 5);
  put(3, 1);
  deliver(host, true);
  EXPECT_EQ(host.job.given, person.text);
  ASSERT_TRUE(person.over);
  EXPECT_EQ(person.over->what, Said::kClosed);
}

TEST_F(InputsTest, AProgramsOwnNewerSessionReplacesItNot) {
  Host host;
  Person person{.text = "x"};
  open(1, person);
  deliver(host, true);
  const std::uint64_t first = person.session;
  restart();
  open(2, person);
  deliver(host, true);
  EXPECT_GT(person.session, first);
  person.session = first;  // the line that told of it was lost with the daemon
  restart();
  open(3, person);
  deliver(host, true);
  EXPECT_TRUE(person.open);
  EXPECT_FALSE(person.over);
  put(3, 1);
  deliver(host, true);
  EXPECT_EQ(host.job.given, "x");
}

TEST_F(InputsTest, WhatAHostSays) {
  Job job;
  Person person{.text = "x"};
  open(1, person);
  const Input asked = sent_.front().message;
  sent_.clear();
  InputReply reply;
  reply.query = asked.query;
  reply.job = kJob;
  reply.word = InputWord::kNotHere;
  take(inputs_.step(now_, Peer{kOther, reply}));
  EXPECT_EQ(sought_, 1);
  take(inputs_.step(now_, Moved{1, NodeId{{3}}}));
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_.front().to, NodeId{{3}});
  // Nobody else than where the job is said to be has a say.
  reply.word = InputWord::kNone;
  take(inputs_.step(now_, Peer{kOther, reply}));
  EXPECT_FALSE(person.over);
  take(inputs_.step(now_, Peer{NodeId{{3}}, reply}));
  ASSERT_TRUE(person.over);
  EXPECT_EQ(person.over->what, Said::kRefused);
}

TEST_F(InputsTest, AHostThatLiesAboutWhatItTookEndsTheDesk) {
  Job job;
  Person person{.text = "x"};
  open(1, person);
  deliver(job);
  InputReply reply = job.hear(Input{.query = 0, .job = kJob});
  reply.taken = 1000;
  take(inputs_.step(now_, Peer{kOther, reply}));
  ASSERT_TRUE(person.over);
  EXPECT_EQ(person.over->what, Said::kRefused);
}

TEST_F(InputsTest, NoMoreDesksThanTheLimit) {
  std::vector<Person> people(kDesksMax + 1);
  for (std::size_t i = 0; i <= kDesksMax; ++i) open(i + 1, people[i]);
  EXPECT_FALSE(people[kDesksMax - 1].over);
  ASSERT_TRUE(people[kDesksMax].over);
}

// Messages are lost, doubled and late; the job moves; this node restarts and its person comes
// again, while what it sent is still on its way; hosts lose what they held.
TEST_F(InputsTest, RandomFaultsLoseAndDoubleNothing) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    inputs_ = Inputs(kSelf);
    people_.clear();
    sent_.clear();
    Host host;
    Job& job = host.job;
    Person person;
    const std::size_t size = 1 + rng.below(1'000'000);
    for (std::size_t i = 0; i < size; ++i) person.text.push_back(static_cast<char>(rng.below(256)));
    std::deque<std::pair<Time, InputReply>> replies;
    std::uint64_t desk = 1;
    NodeId at = kOther;
    open(desk, person, at);
    for (int turn = 0; turn < 200'000 && !person.over; ++turn) {
      const bool faults = turn < 20'000;
      put(desk, 1 + rng.below(8'000));
      if (faults && rng.below(60) == 0) {  // the job moves
        at = NodeId{{static_cast<std::uint8_t>(2 + rng.below(3))}};
        host.move();
        take(inputs_.host_is(now_, kJob, at));
      }
      if (faults && rng.below(60) == 0) {  // the daemon here is killed
        inputs_ = Inputs(kSelf);
        if (rng.below(2) == 0) sent_.clear();
        person.end_put = false;
        open(++desk, person, at);
      }
      if (!sent_.empty()) {
        const std::size_t which = rng.below(std::min<std::size_t>(sent_.size(), 3));
        const Send send = sent_[which];
        if (!faults || rng.below(8) != 0) {
          sent_.erase(sent_.begin() + static_cast<std::ptrdiff_t>(which));
        }
        const bool lost = faults && rng.below(8) == 0;
        if (!lost && send.to == at) {
          if (const auto reply = host.hear(send.message)) replies.emplace_back(now_, *reply);
        }
      }
      if (rng.below(3) == 0) {
        if (const auto reply = host.turn()) {
          replies.emplace_back(now_, *reply);
          ASSERT_EQ(person.text.compare(0, job.given.size(), job.given), 0);
        }
      }
      if (!replies.empty() && rng.below(3) != 0) {
        const std::size_t which = rng.below(std::min<std::size_t>(replies.size(), 4));
        if (!faults || rng.below(8) != 0) {
          take(inputs_.step(now_, Peer{at, replies[which].second}));
        }
        replies.erase(replies.begin() + static_cast<std::ptrdiff_t>(which));
      }
      if (sent_.empty() && replies.empty() && host.waiting.empty()) wait();
    }
    ASSERT_TRUE(person.over);
    EXPECT_EQ(person.over->what, Said::kClosed);
    EXPECT_EQ(job.given.size(), person.text.size());
    EXPECT_TRUE(job.given == person.text);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace node::inputs
