// Feeds a job's stdin as a daemon does: sends what was not taken again, and more than once.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/rng.h"
#include "machine/input_client.h"

namespace machine {

inline std::string random_text(base::Rng& rng, std::size_t size) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(rng.below(256));
  return text;
}

class Feeder {
 public:
  Feeder(const ProcessName& init, std::string text) : text_(std::move(text)) { move_to(init); }

  void move_to(const ProcessName& init) {
    auto client = InputClient::open(init);
    ASSERT_TRUE(client.ok()) << client.error().detail;
    client_.emplace(std::move(*client));
    (void)client_->news();  // of before
    ask();
    sent_ = taken();
  }
  void claim(std::uint64_t session) {
    session_ = session;
    put(init::InputKind::kClaim, 0, {});
    ask();
  }
  // Everything up to the answer to a question, which comes after what was said before.
  void ask() {
    put(init::InputKind::kAsk, 0, {});
    await_news();
    look();
  }
  void look() {
    if (auto state = client_->news()) state_ = *state;
  }
  void await_news() {
    pollfd one{client_->news_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&one, 1, 20'000), 1) << "init says nothing";
  }
  void feed_until_full() {
    for (;;) {
      const auto put = piece();
      ASSERT_TRUE(put.ok()) << put.error().detail;
      if (*put) continue;
      // Full for good, once init has had its time to empty it.
      pollfd room{client_->feed_fd(), POLLOUT, 0};
      look();
      if (::poll(&room, 1, 300) == 0) return;
    }
  }
  void feed_all() {
    while (state_.taken < text_.size()) {
      const auto put = piece();
      ASSERT_TRUE(put.ok()) << put.error().detail;
      if (!*put || sent_ == text_.size()) {
        sent_ = state_.taken;  // and once more, though it may be on its way
        await_news();
      }
      look();
    }
    put(init::InputKind::kEnd, text_.size(), {});
    while ((state_.flags & init::kInputEnded) == 0) {
      await_news();
      look();
    }
  }
  void put(init::InputKind kind, std::uint64_t offset, const std::string& bytes) {
    for (;;) {
      auto done = client_->put(kind, session_, offset, base::as_bytes(bytes));
      ASSERT_TRUE(done.ok()) << done.error().detail;
      if (*done) return;
      pollfd room{client_->feed_fd(), POLLOUT, 0};
      ASSERT_EQ(::poll(&room, 1, 20'000), 1);
    }
  }
  [[nodiscard]] std::uint64_t taken() const { return state_.taken; }
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  [[nodiscard]] const init::InputState& state() const { return state_; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  base::Result<bool> piece() {
    const std::string bytes = text_.substr(sent_, init::kInputPieceMax);
    auto done = client_->put(init::InputKind::kBytes, session_, sent_, base::as_bytes(bytes));
    if (done && *done) sent_ += bytes.size();
    return done;
  }

  std::string text_;
  std::optional<InputClient> client_;
  init::InputState state_{};
  std::uint64_t session_ = 0;
  std::uint64_t sent_ = 0;
};

}  // namespace machine
