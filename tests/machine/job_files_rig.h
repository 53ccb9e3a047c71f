// A job's files from one folder to another: JobTree reads them, JobPlacer places them. Both see one
// file system here, so what is placed goes to paths where a moved-away copy of it stood.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

#include "machine/job_placer.h"
#include "machine/job_tree.h"

namespace machine {

namespace fs = std::filesystem;
using transfer::JobFilesReceiver;
using transfer::JobFilesSender;

inline const std::atomic<bool> kNever{false};
inline constexpr std::uint32_t kNobody = 65534;

inline std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

class JobFilesOnDisk : public ::testing::Test {
 protected:
  JobFilesOnDisk() {
    ASSERT_TRUE_OR_DIE(base::crypto::init().ok());
    std::string name = (fs::temp_directory_path() / "tern-job-files-XXXXXX").string();
    ASSERT_TRUE_OR_DIE(::mkdtemp(name.data()) != nullptr);
    top_ = name;
    dir_ = top_ / "work";
    fs::create_directory(dir_);
    tree_.dir = dir_.string();
    tree_.uid = ::geteuid();
    tree_.gids = {::getegid()};
    placer_.ledgers = (top_ / "ledgers").string();
    placer_.job.bytes[0] = 7;
    placer_.epoch = base::Epoch{2};
    placer_.uid = tree_.uid;
    placer_.gids = tree_.gids;
  }
  ~JobFilesOnDisk() override { fs::remove_all(top_); }
  static void ASSERT_TRUE_OR_DIE(bool ok) {
    if (!ok) std::abort();
  }

  std::shared_ptr<JobTree> collect(const JobTree* before = nullptr) {
    auto tree = JobTree::collect(tree_, before, kNever);
    EXPECT_TRUE(tree.ok()) << tree.error().detail;
    return tree.ok() ? *tree : nullptr;
  }

  // What leaves: read now, sent later from memory, as the source's disk is the sink's here.
  struct Left {
    std::shared_ptr<JobTree> tree;
    std::map<std::pair<std::uint32_t, std::uint32_t>, base::Bytes> chunks;
  };
  Left leave() {
    Left left{collect(), {}};
    const auto& content = *left.tree->content();
    for (std::uint32_t i = 0; i < content.list.size(); ++i) {
      const std::uint64_t size = content.list.at(i).size;
      for (std::uint32_t c = 0; c < content.chunks[i].size(); ++c) {
        const std::uint64_t offset = c * transfer::kJobChunk;
        const auto part = static_cast<std::size_t>(std::min(transfer::kJobChunk, size - offset));
        left.chunks[{i, c}] = *left.tree->read({{i, c}, offset, part});
      }
    }
    return left;
  }

  void as_nobody() {
    ASSERT_EQ(::chown(top_.c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(::chown(dir_.c_str(), kNobody, kNobody), 0);
    tree_.uid = placer_.uid = kNobody;
    tree_.gids = placer_.gids = {kNobody};
  }

  // It left its home like that.
  void remember(const Left& left) {
    const base::Status noted =
        note_left_home(placer_.ledgers, placer_.job, {tree_.uid, tree_.gids}, left_of(*left.tree));
    EXPECT_TRUE(noted.ok()) << noted.error().detail;
  }

  // The refusal, or empty: all is placed.
  std::string arrive(JobPlacer& placer, const Left& left, bool final) {
    JobFilesSender sender({final, {}}, left.tree->content());
    JobFilesReceiver receiver;
    std::vector<base::Bytes> replies;
    sent_ = 0;
    for (;;) {
      const JobFilesSender::Step step = sender.next();
      if (std::holds_alternative<JobFilesSender::Over>(step)) return {};
      if (const auto* read = std::get_if<JobFilesSender::Read>(&step)) {
        sent_ += read->size;
        base::Status got = sender.got(left.chunks.at({read->at.entry, read->at.chunk}));
        if (!got) return got.error().detail;
      } else if (const auto* send = std::get_if<JobFilesSender::Send>(&step)) {
        auto orders = receiver.feed(send->record);
        if (!orders) return orders.error().detail;
        for (const auto& order : *orders) {
          base::Status done = carry_out(placer, receiver, order, replies);
          if (done) continue;
          code_ = done.error().code;
          return done.error().detail;
        }
      } else {
        if (!replies.empty() && meanwhile_) std::exchange(meanwhile_, nullptr)();
        for (const base::Bytes& reply : replies) {
          if (base::Status fed = sender.feed(reply); !fed) return fed.error().detail;
        }
        replies.clear();
      }
    }
  }

  static base::Status carry_out(JobPlacer& placer, JobFilesReceiver& receiver,
                                const JobFilesReceiver::Order& order,
                                std::vector<base::Bytes>& replies) {
    if (std::holds_alternative<JobFilesReceiver::Plan>(order)) {
      auto plan = placer.plan(receiver.list(), receiver.begin().final, kNever);
      if (!plan) return plan.error();
      if (!plan->refusal.empty()) {
        return base::fail(plan->full ? base::Code::kFull : base::Code::kRefused, plan->refusal);
      }
      std::size_t at = 0;
      while (at < plan->wanted.size())
        replies.push_back(transfer::encode_job_want(plan->wanted, at));
      for (const auto& [entry, hashes] : plan->have) {
        std::size_t from = 0;
        while (from < hashes.size())
          replies.push_back(transfer::encode_job_have(entry, hashes, from));
      }
      replies.push_back(job_files_message(transfer::JobFilesType::kReady));
      receiver.planned(plan->wanted);
    } else if (const auto* chunk = std::get_if<JobFilesReceiver::Chunk>(&order)) {
      return placer.chunk(chunk->at, chunk->bytes);
    } else if (const auto* holes = std::get_if<JobFilesReceiver::Holes>(&order)) {
      return placer.holes(holes->first, holes->count);
    } else if (const auto* end = std::get_if<JobFilesReceiver::End>(&order)) {
      return placer.end(end->entry);
    } else {
      receiver.finished();
      replies.push_back(job_files_message(transfer::JobFilesType::kPlaced));
      return placer.finish();
    }
    return {};
  }

  // What the source tells before a move.
  std::shared_ptr<const transfer::JobFileList> names_only() {
    JobTreeSpec spec = tree_;
    spec.names_only = true;
    spec.needed_bytes_max = kTrialReadMax;
    auto tree = JobTree::collect(spec, nullptr, kNever);
    EXPECT_TRUE(tree.ok()) << tree.error().detail;
    return tree.ok()
               ? std::shared_ptr<const transfer::JobFileList>(*tree, &(*tree)->content()->list)
               : nullptr;
  }
  std::string trial(const std::shared_ptr<const transfer::JobFileList>& list) {
    auto why = JobPlacer::trial(placer_, list, kNever);
    return why ? *why : why.error().detail;
  }

  std::unique_ptr<JobPlacer> placer() {
    auto placer = JobPlacer::open(placer_);
    EXPECT_TRUE(placer.ok()) << placer.error().detail;
    return placer.ok() ? std::move(*placer) : nullptr;
  }
  base::Result<Undone> undo() {
    return undo_ledgers(placer_.ledgers, {arrival_ledger(placer_.job, placer_.epoch)});
  }
  std::vector<std::string> names() {
    std::vector<std::string> out;
    if (!fs::exists(dir_)) return out;
    for (const auto& item : fs::recursive_directory_iterator(dir_)) {
      out.push_back(item.path().lexically_relative(dir_).string());
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  // The source's folder is elsewhere from now on; this is the sink's disk.
  void move_away() { fs::rename(dir_, top_ / "source"); }

  fs::path top_;
  fs::path dir_;
  JobTreeSpec tree_;
  PlacerSpec placer_;
  std::uint64_t sent_ = 0;
  base::Code code_ = base::Code::kInvalid;  // why arrive() failed at the sink
  std::function<void()> meanwhile_;         // when the sink has looked, and nothing was sent yet
};

}  // namespace machine
