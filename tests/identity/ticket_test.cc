// design.md §6: a ticket has one use and 15 minutes; redemption is bound to the joiner's keys, the
// same keys may retry.
#include "identity/ticket.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

namespace identity {
namespace {

using base::Bytes;
using base::Code;
using base::WallTime;

constexpr WallTime kNow{1'800'000'000};
constexpr WallTime kEnd{1'800'000'000 + 900};
constexpr WallTime kLater{1'800'000'000 + 901};
const base::crypto::SignPublic kSign{1};
const base::crypto::DhPublic kDh{2};
const base::crypto::SignPublic kOtherSign{3};
const base::crypto::DhPublic kOtherDh{4};

Ticket ticket(std::uint8_t fill, std::size_t addresses = 2) {
  EXPECT_TRUE(base::crypto::init().ok());
  Ticket out;
  out.secret = base::Secret<32>(Bytes(32, fill));
  out.mesh = base::MeshId{{9, 8, 7}};
  out.expires = kEnd;
  for (std::size_t i = 0; i < addresses; ++i) {
    out.addresses.push_back(base::Endpoint::v4({10, 0, 0, static_cast<std::uint8_t>(i)}, 7333));
  }
  return out;
}

TEST(Ticket, IsOneWordThatReadsBackInAnyCase) {
  for (std::size_t count = 0; count <= kTicketAddressesMax; ++count) {
    const Ticket made = ticket(5, count);
    std::string text = made.text();
    EXPECT_EQ(text.rfind("tern-ticket-", 0), 0U);
    EXPECT_EQ(text.find(' '), std::string::npos);
    for (int pass = 0; pass < 2; ++pass) {
      const auto read = Ticket::parse("  " + text + "\n");
      ASSERT_TRUE(read.ok()) << read.error().detail;
      EXPECT_EQ(read->id(), made.id());
      EXPECT_EQ(read->mesh, made.mesh);
      EXPECT_EQ(read->expires, made.expires);
      EXPECT_EQ(read->addresses, made.addresses);
      std::transform(text.begin(), text.end(), text.begin(),
                     [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    }
  }
}

TEST(Ticket, EveryTypingErrorIsAPlainSentence) {
  const std::string text = ticket(5).text();
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string wrong = text;
    wrong[at] = wrong[at] == 'a' ? 'b' : 'a';
    const auto read = Ticket::parse(wrong);
    ASSERT_FALSE(read.ok()) << at;
    EXPECT_EQ(read.error().code, Code::kInvalid);
    EXPECT_FALSE(Ticket::parse(text.substr(0, at)).ok()) << at;
  }
  EXPECT_FALSE(Ticket::parse(text + "a").ok());
  EXPECT_FALSE(Ticket::parse("tern-ticket-" + std::string(5000, 'a')).ok());
  EXPECT_FALSE(Ticket::parse("").ok());
}

TEST(Ticket, IdAndPskTellNothingOfEachOther) {
  const Ticket made = ticket(5);
  const auto psk = made.psk();
  const TicketId id = made.id();
  EXPECT_FALSE(std::equal(id.bytes.begin(), id.bytes.end(), psk.view().begin()));
  EXPECT_NE(made.id(), ticket(6).id());
}

TEST(TicketBook, RedeemsOnceAndLetsTheSameKeysRetry) {
  TicketBook book;
  const Ticket made = ticket(5);
  ASSERT_TRUE(book.open(made, kNow).ok());
  EXPECT_EQ(book.open(made, kNow).error().code, Code::kExists);
  EXPECT_EQ(book.open_count(kNow), 1U);
  EXPECT_TRUE(book.redeem(made.id(), kSign, kDh, kNow).ok());
  EXPECT_EQ(book.open_count(kNow), 0U);
  EXPECT_TRUE(book.redeem(made.id(), kSign, kDh, kEnd).ok()) << "a retry";
  EXPECT_EQ(book.redeem(made.id(), kOtherSign, kDh, kNow).error().code, Code::kRefused);
  EXPECT_EQ(book.redeem(made.id(), kSign, kOtherDh, kNow).error().code, Code::kRefused);
  EXPECT_TRUE(book.psk(made.id(), kNow).ok()) << "a retry needs the handshake";
}

TEST(TicketBook, FifteenMinutesAreTheLimit) {
  TicketBook book;
  const Ticket made = ticket(5);
  ASSERT_TRUE(book.open(made, kNow).ok());
  EXPECT_TRUE(book.psk(made.id(), kEnd).ok());
  EXPECT_EQ(book.psk(made.id(), kLater).error().code, Code::kStale);
  EXPECT_EQ(book.redeem(made.id(), kSign, kDh, kLater).error().code, Code::kStale);
  EXPECT_EQ(book.open_count(kLater), 0U);
  EXPECT_EQ(book.redeem(ticket(6).id(), kSign, kDh, kNow).error().code, Code::kNotFound);
  Ticket longer = ticket(7);
  longer.expires = kLater;
  EXPECT_FALSE(book.open(longer, kNow).ok());
}

TEST(TicketBook, ARedemptionSurvivesARestart) {
  TicketBook book;
  const Ticket made = ticket(5);
  ASSERT_TRUE(book.open(made, kNow).ok());
  ASSERT_TRUE(book.redeem(made.id(), kSign, kDh, kNow).ok());
  auto restarted = TicketBook::decode(book.encode());
  ASSERT_TRUE(restarted.ok());
  EXPECT_EQ(restarted->redeem(made.id(), kOtherSign, kOtherDh, kNow).error().code, Code::kRefused);
  EXPECT_TRUE(restarted->redeem(made.id(), kSign, kDh, kNow).ok());
  const Bytes stored = book.encode();
  for (std::size_t size = 0; size < stored.size(); ++size) {
    EXPECT_FALSE(TicketBook::decode(base::ByteView(stored).first(size)).ok()) << size;
  }
}

TEST(TicketBook, AFullBookDropsWhatIsSpentAndElseRefuses) {
  TicketBook book;
  for (std::size_t i = 0; i < kTicketsMax; ++i) {
    ASSERT_TRUE(book.open(ticket(static_cast<std::uint8_t>(i)), kNow).ok());
  }
  EXPECT_EQ(book.open(ticket(200), kNow).error().code, Code::kFull);
  ASSERT_TRUE(book.redeem(ticket(3).id(), kSign, kDh, kNow).ok());
  EXPECT_TRUE(book.open(ticket(200), kNow).ok());
  EXPECT_EQ(book.psk(ticket(3).id(), kNow).error().code, Code::kNotFound);
  EXPECT_TRUE(book.psk(ticket(4).id(), kNow).ok());
}

}  // namespace
}  // namespace identity
