// A job's files that come home without a handover (files_in.h).
#include "daemon/files_in.h"

#include <unistd.h>

#include <fstream>

#include "loop_rig.h"

namespace ternd {
namespace {

namespace fs = std::filesystem;
using testing::run_until;
using transfer::JobFile;
using transfer::JobFilesSender;
using transfer::JobFilesType;

const std::string kWords = "by the job";

class FilesComeHome : public ::testing::Test {
 protected:
  FilesComeHome() {
    EXPECT_TRUE(base::crypto::init().ok());
    fs::create_directory(dir_);
    std::ofstream(dir_ / "note") << "its owner's";
    spec_.id.bytes[0] = 7;
    spec_.argv = {"job"};
    spec_.cwd = spec_.dir = dir_.string();
    spec_.uid = ::geteuid();
    spec_.gid = ::getegid();
    in_.send = [this](base::ByteView record) {
      replies_.push_back(base::to_bytes(record));
      return base::Status();
    };
    in_.flush = [] {};
    in_.pause = [](bool) {};
    in_.failed = [this](const base::Status& status) { failed_ = status; };
    in_.work = [this](std::function<base::Status()> work, FilesIn::Done done) {
      loop::run_blocking(loop_, std::move(work), std::move(done));
    };
    in_.refusal = [](const node::JobSpec&) { return std::string(); };
    in_.settled = [](const machine::LaidBeside&) {};
    in_.taken_back = [this](const base::Result<machine::Undone>& undone) {
      EXPECT_TRUE(undone.ok());
      EXPECT_TRUE(replies_.empty() || replies_.back()[0] != refuse());
      taken_back_ = true;
    };
  }
  static std::uint8_t refuse() { return static_cast<std::uint8_t>(JobFilesType::kRefuse); }

  // `note`, a folder where home has a file, and a file in it.
  [[nodiscard]] std::shared_ptr<const JobFilesSender::Content> content() const {
    auto out = std::make_shared<JobFilesSender::Content>();
    JobFile entry;
    entry.path = (dir_ / "note").string();
    entry.kind = transfer::JobFileKind::kFolder;
    entry.mode = 0755;
    entry.flags = transfer::kJobFileWritten;
    EXPECT_TRUE(out->list.add(entry).ok());
    out->chunks.emplace_back();
    entry.kind = transfer::JobFileKind::kFile;
    entry.path += "/new";
    entry.mode = 0644;
    entry.size = entry.stored = kWords.size();
    out->chunks.push_back({transfer::chunk_hash(base::as_bytes(kWords))});
    entry.digest = transfer::digest_of(out->chunks.back(), entry.size);
    EXPECT_TRUE(out->list.add(entry).ok());
    return out;
  }

  void leave_no_room() {
    in_.work = [this](std::function<base::Status()> work, FilesIn::Done done) {
      loop::run_blocking(
          loop_,
          [work = std::move(work)]() -> base::Status {
            if (base::Status status = work(); !status) return status;
            return base::fail(base::Code::kFull, "the disk is full there");
          },
          std::move(done));
    };
  }

  // Until it is over, or home refuses it.
  void bring(bool damaged, bool given_up = false) {
    machine::PlacerSpec placer;
    placer.ledgers = temp_.path() + "/ledgers";
    placer.job = spec_.id;
    placer.epoch = base::Epoch{2};
    placer.at_home = true;
    FilesIn files(loop_, placer, in_);
    JobFilesSender sender({true, node::encode(spec_)}, content());
    for (;;) {
      JobFilesSender::Step step = sender.next();
      if (std::holds_alternative<JobFilesSender::Over>(step)) return;
      if (std::holds_alternative<JobFilesSender::Read>(step)) {
        ASSERT_TRUE(sender.got(base::to_bytes(base::as_bytes(kWords))).ok());
      } else if (auto* send = std::get_if<JobFilesSender::Send>(&step)) {
        const bool chunk = send->record[0] == static_cast<std::uint8_t>(JobFilesType::kChunk);
        if (chunk && damaged) send->record.back() ^= 1;
        if (chunk && given_up) {
          files.on_record(transfer::encode_job_refuse(JobFilesType::kRefuse, "it was removed"));
          EXPECT_TRUE(run_until(loop_, [&] { return !failed_.ok(); }));
          return;
        }
        files.on_record(send->record);
      } else {
        ASSERT_TRUE(
            run_until(loop_, [&] { return (!replies_.empty() || !failed_.ok()) && files.idle(); }));
        if (replies_.empty()) return;
        const auto replies = std::exchange(replies_, {});
        for (const base::Bytes& reply : replies) {
          if (base::Status fed = sender.feed(reply); !fed) {
            refusal_ = fed.error().detail;
            code_ = fed.error().code;
            return;
          }
        }
      }
    }
  }

  testing::TempDir temp_;
  loop::Loop loop_;
  fs::path dir_ = temp_.path() + "/work";
  node::JobSpec spec_;
  FilesIn::Callbacks in_;
  std::vector<base::Bytes> replies_;
  base::Status failed_;
  std::string refusal_;
  bool taken_back_ = false;
  base::Code code_ = base::Code::kInvalid;  // of refusal_
};

TEST_F(FilesComeHome, InThePlaceOfHomesOwnThatIsKept) {
  bring(false);
  EXPECT_EQ(refusal_, "");
  EXPECT_TRUE(fs::is_directory(dir_ / "note"));
  EXPECT_EQ(fs::file_size(dir_ / "note/new"), kWords.size());
  EXPECT_FALSE(taken_back_);
}

// What goes wrong in the middle leaves home as it was. What may have changed meanwhile is no
// refusal: the guest hears nothing, and tries again.
TEST_F(FilesComeHome, WhatIsStaleInTheMiddleIsTakenBackAndNotRefused) {
  bring(true);
  EXPECT_EQ(refusal_, "");
  EXPECT_EQ(failed_.error().code, base::Code::kStale);
  EXPECT_NE(failed_.error().detail.find("did not arrive as it was sent"), std::string::npos);
  EXPECT_TRUE(taken_back_);
  ASSERT_TRUE(fs::is_regular_file(dir_ / "note"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);
  EXPECT_TRUE(fs::is_empty(temp_.path() + "/ledgers"));
}

// The guest tries again: it is no refusal for good.
TEST_F(FilesComeHome, WhatHasNoRoomIsAskedForAgain) {
  leave_no_room();
  bring(false);
  EXPECT_EQ(refusal_, "the disk is full there");
  EXPECT_EQ(code_, base::Code::kFull);
  EXPECT_EQ(failed_.error().code, base::Code::kFull);
  EXPECT_TRUE(taken_back_);
}

TEST_F(FilesComeHome, WhatTheGuestGivesUpIsTakenBackAndSaid) {
  bring(false, true);
  EXPECT_EQ(failed_.error().code, base::Code::kRefused);
  EXPECT_EQ(failed_.error().detail, "it was removed");
  EXPECT_TRUE(taken_back_);
  EXPECT_TRUE(fs::is_regular_file(dir_ / "note"));
}

// A move is refused, and the job goes on where it is.
TEST_F(FilesComeHome, WhereAHandoverFollowsWantOfRoomIsARefusal) {
  leave_no_room();
  in_.settled = nullptr;
  in_.taken_back = nullptr;
  bring(false);
  EXPECT_EQ(refusal_, "the disk is full there");
  EXPECT_EQ(code_, base::Code::kRefused);
}

}  // namespace
}  // namespace ternd
