// The files that travel with a job, as they are on the source: what it has open, maps and executes
// outside of system folders, and the folder that was named with --dir (transfer/job_files.h).
//
// Read with the rights of the job's user, so that nobody makes the daemon, which may be root, send
// what she could not read herself. Sockets, pipes and devices stay. Blocking; hashes everything
// that the round before did not see as it is now. A file that the job may write to unseen (open for
// writing, or mapped) is hashed in each round.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "machine/fd.h"
#include "machine/ledger_files.h"
#include "machine/requirement.h"
#include "transfer/file_ledger.h"
#include "transfer/job_files_flow.h"

namespace machine {

struct JobTreeSpec {
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> gids;
  std::string dir;                  // empty: none
  std::vector<RequiredFile> files;  // of its requirement; only those that travel count
  // That came with it to this node, whether or not it has them open now: what it wrote into them
  // goes on with it.
  std::vector<std::string> placed;
  // The job is over, and these of them it removed itself: where another one is missing nothing may
  // be sent any more, as whoever gets the list takes that for the job's doing. kRefused.
  std::optional<std::set<std::string>> removed;
  // Only what there is, without what is in it: no digests, `stored` is what the disk says. But what
  // the job has open is read where it has at most so many bytes.
  bool names_only = false;
  std::uint64_t needed_bytes_max = 0;
};

// Whether the file of a ledger's record has another content than it came with. What cannot be read
// counts as changed, what is no file as unchanged.
[[nodiscard]] bool was_changed(const transfer::LedgerRecord& record);

// Of `placed` what is missing; what cannot be looked at is not.
[[nodiscard]] base::Result<std::set<std::string>> missing_files(const JobTreeSpec& spec);

class JobTree {
 public:
  using Content = transfer::JobFilesSender::Content;
  // `before`: the round before, or none. kRefused, kTooLarge, kInvalid: a sentence with the path;
  // kTimeout: `cancelled` became true. With files that change meanwhile it does what it can.
  [[nodiscard]] static base::Result<std::shared_ptr<JobTree>> collect(
      const JobTreeSpec& spec, const JobTree* before, const std::atomic<bool>& cancelled);

  [[nodiscard]] std::shared_ptr<const Content> content() const { return content_; }
  // Exactly `size` bytes; behind the end of a file that became shorter zeros.
  [[nodiscard]] base::Result<base::Bytes> read(const transfer::JobFilesSender::Read& what);
  struct Inode {
    std::uint64_t device = 0;
    std::uint64_t number = 0;
  };
  [[nodiscard]] const Inode& inode(std::uint32_t entry) const { return inodes_[entry]; }

 private:
  using Key = std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::int64_t, std::int64_t,
                         std::int64_t, std::int64_t>;
  struct Known {
    Key key;
    transfer::ChunkHashes chunks;
    std::uint64_t stored = 0;
  };
  class Collector;
  JobTree() = default;

  JobTreeSpec spec_;
  std::shared_ptr<Content> content_ = std::make_shared<Content>();
  std::vector<Inode> inodes_;
  std::map<std::string, Known> known_;  // of files that a next round need not hash again
  std::string open_path_;
  Fd open_;
};

// What a tree consists of, for the ledgers.
[[nodiscard]] std::vector<LeftFile> left_of(const JobTree& tree);

}  // namespace machine
