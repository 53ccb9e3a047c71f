// Who may bring files, how many at once, and one after another (daemon/share_in.h).
#include "daemon/share_in.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <deque>
#include <filesystem>
#include <fstream>

#include "loop_rig.h"
#include "share_offer.h"

namespace ternd::testing {
namespace {

using control::SharePolicy;
using ::testing::HasSubstr;
using transfer::ShareAnswer;
using transfer::ShareOffer;

transfer::StreamConfig config(bool initiator, base::crypto::Cipher suite) {
  transfer::StreamConfig config;
  config.initiator = initiator;
  config.mesh.bytes.fill(7);
  config.static_key = base::crypto::dh_key_from_secret(random_secret());
  config.ephemeral = random_secret();
  config.suite = suite;
  return config;
}

// The sender's end of one attempt.
struct Sender {
  std::unique_ptr<PeerStream> stream;
  bool open = false;
  bool failed = false;
  std::vector<ShareAnswer> answers;
};

class ShareInTest : public ::testing::Test {
 protected:
  void start(SharePolicy policy) {
    ShareIn::Callbacks callbacks;
    callbacks.name_of = [](const base::NodeId&) { return std::string("a"); };
    callbacks.happened = [](const base::NodeId&, const std::string&) {};
    share_in_ =
        std::make_unique<ShareIn>(loop_, policy, inbox_, base::null_log(), std::move(callbacks));
  }

  // An attempt of the peer `peer`, as far as the connection.
  Sender& connect(std::uint8_t peer = 1) {
    Sender& sender = senders_.emplace_back();
    std::unique_ptr<PeerStream> accepted;
    bool open = false;
    auto listener = loop::Listener::tcp(loop_, loopback(), [&](auto stream) {
      PeerStream::Callbacks callbacks;
      callbacks.on_handshake = [](const transfer::HandshakeDone&) { return true; };
      callbacks.on_open = [&] { open = true; };
      accepted = PeerStream::accept(loop_, std::move(stream),
                                    config(false, base::crypto::Cipher::kChaChaPoly),
                                    std::move(callbacks));
    });
    EXPECT_TRUE(listener.ok());
    PeerStream::Callbacks callbacks;
    callbacks.on_handshake = [](const transfer::HandshakeDone&) { return true; };
    callbacks.on_open = [&sender] { sender.open = true; };
    callbacks.on_failed = [&sender](const base::Error&) { sender.failed = true; };
    callbacks.on_data = [&sender](const transfer::Buffer& record) {
      EXPECT_TRUE(transfer::each_message(record.view(), [&](const transfer::ShareMessage& message) {
                    if (message.type != transfer::ShareType::kAnswer) return base::Status();
                    auto answer = transfer::decode_answer(message.body);
                    EXPECT_TRUE(answer.ok());
                    sender.answers.push_back(std::move(*answer));
                    return base::Status();
                  }).ok());
    };
    sender.stream = PeerStream::connect(
        loop_, (*listener)->local(), {},
        [](base::crypto::Cipher suite) { return config(true, suite); }, std::move(callbacks));
    EXPECT_TRUE(until([&] { return open && sender.open; }));
    BulkStream bulk;
    bulk.peer = base::NodeId{{peer}};
    bulk.stream = std::move(accepted);
    share_in_->take(std::move(bulk));
    return sender;
  }
  static void say(const Sender& sender, const base::Bytes& record) {
    ASSERT_TRUE(sender.stream->send({record}).ok());
    sender.stream->flush();
  }
  bool answered(const Sender& sender) {
    return until([&] { return !sender.answers.empty(); });
  }
  bool until(const std::function<bool()>& done) { return run_until(loop_, done); }

  loop::Loop loop_;
  TempDir dir_;
  std::string inbox_ = dir_.path() + "/inbox";
  std::unique_ptr<ShareIn> share_in_;
  std::deque<Sender> senders_;
};

TEST_F(ShareInTest, OnePeerCannotTakeEveryPlace) {
  start(SharePolicy::kAsk);
  for (std::uint8_t i = 0; i < kGuestSharesOfPeerMax; ++i) {
    Sender& sender = connect();
    say(sender, encode(offer_of(i)));
    ASSERT_TRUE(answered(sender));
    EXPECT_EQ(sender.answers[0].verdict, ShareAnswer::Verdict::kWait);
  }
  Sender& one_more = connect();
  ASSERT_TRUE(answered(one_more));
  EXPECT_EQ(one_more.answers[0].verdict, ShareAnswer::Verdict::kRefuse);
  EXPECT_THAT(one_more.answers[0].reason, HasSubstr("too many"));
  for (std::size_t i = 0; i < 2 * kGuestSharesMax; ++i) connect();  // that stay and say nothing
  Sender& other = connect(2);
  say(other, encode(offer_of(1)));
  ASSERT_TRUE(answered(other));
  EXPECT_EQ(other.answers[0].verdict, ShareAnswer::Verdict::kWait);
}

TEST_F(ShareInTest, ATrialBringsNothing) {
  start(SharePolicy::kYes);
  Sender& sender = connect();
  ShareOffer offer = offer_of(1);
  offer.dry_run = true;
  say(sender, encode(offer));
  ASSERT_TRUE(answered(sender));
  EXPECT_EQ(sender.answers[0].verdict, ShareAnswer::Verdict::kAccept);
  say(sender, transfer::share_message(transfer::ShareType::kSealed));
  ASSERT_TRUE(until([&] { return sender.failed; }));
  EXPECT_EQ(share_in_->shares(), 0U);
}

// Killed while it removed what was over, or before it kept an offer.
TEST_F(ShareInTest, WhatAKilledDaemonLeftOfStagesGoesAtTheNextStart) {
  namespace fs = std::filesystem;
  const fs::path partial = fs::path(inbox_) / machine::kPartialName;
  const auto inbox = *machine::Inbox::open(inbox_);
  const StageRecord offer{base::NodeId{{1}}, "a", true, offer_of(1)};
  for (const char* stage : {"kept", "refused"}) {
    ASSERT_TRUE(inbox->keep_stage(stage, encode(offer)).ok());
  }
  fs::create_directories(partial / "empty");
  fs::create_directories(partial / "half/tree/folder");
  fs::create_directories(partial / "over.gone/tree/folder");
  ASSERT_TRUE(inbox->remove_stage("refused").ok());
  EXPECT_EQ(inbox->stages()->size(), 3U) << "what is being removed is none";
  start(SharePolicy::kYes);
  const auto left = [&] {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(partial)) {
      names.push_back(entry.path().filename());
    }
    return names;
  };
  EXPECT_TRUE(until([&] { return left() == std::vector<std::string>{"kept"}; }));
  EXPECT_TRUE(fs::exists(partial / "kept/offer"));
}

// A stage that is made meanwhile could be taken for what was left, and removed.
TEST_F(ShareInTest, NothingIsAdmittedBeforeThatIsGone) {
  namespace fs = std::filesystem;
  const fs::path partial = fs::path(inbox_) / machine::kPartialName;
  (void)*machine::Inbox::open(inbox_);
  fs::create_directories(partial / "over.gone");
  for (int i = 0; i < 5'000; ++i) {  // takes longer than an offer to be answered
    std::ofstream(partial / "over.gone" / std::to_string(i)).flush();
  }
  start(SharePolicy::kYes);
  Sender& sender = connect();
  say(sender, encode(offer_of(1)));
  ASSERT_TRUE(answered(sender));
  EXPECT_EQ(sender.answers[0].verdict, ShareAnswer::Verdict::kAccept);
  const bool swept = !fs::exists(partial / "over.gone");
  EXPECT_TRUE(swept);
  EXPECT_TRUE(swept || until([&] { return !fs::exists(partial / "over.gone"); }));
}

// Work that cannot go on: where the offer would be written there is a pipe without a reader.
TEST_F(ShareInTest, AttemptsAtOneShareWorkOneAfterAnother) {
  start(SharePolicy::kYes);
  const std::string key = stage_key(base::NodeId{{1}}, offer_of(1));
  const std::string stage = inbox_ + "/" + machine::kPartialName + "/" + key;
  ASSERT_TRUE((*machine::Inbox::open(inbox_))->keep_stage(key, {}).ok());
  ASSERT_EQ(::mkfifo((stage + "/offer.new").c_str(), 0600), 0);
  Sender& first = connect();
  say(first, encode(offer_of(1)));
  Sender& second = connect();
  say(second, encode(offer_of(1)));
  EXPECT_TRUE(until([&] { return first.failed; }));
  Sender& third = connect();
  say(third, encode(offer_of(1)));
  EXPECT_TRUE(until([&] { return second.failed; }));
  Sender& other = connect();
  say(other, encode(offer_of(2)));
  EXPECT_TRUE(answered(other)) << "two work at one stage";
  EXPECT_TRUE(third.answers.empty());
  const machine::Fd reader(::open((stage + "/offer.new").c_str(), O_RDONLY | O_NONBLOCK));
  std::filesystem::remove(stage + "/offer.new");
  EXPECT_TRUE(answered(third));
  EXPECT_EQ(share_in_->shares(), 2U);
}

}  // namespace
}  // namespace ternd::testing
