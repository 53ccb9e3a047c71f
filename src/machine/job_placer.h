// A job's files on the sink: the work that transfer::JobFilesReceiver orders. Blocking; used by one
// thread at a time. Everything is done with the rights of the job's user.
//
// A file comes under a hidden name in the folder where it belongs, is synced (many at once), noted
// in the ledger (machine/ledger_files.h) and only then renamed, without replacing anything but what
// tern put there; home's own is first moved aside. In the final round what came in the first is
// mended in place: nobody uses it before the job is let go. Whatever happens, undo_ledgers() takes
// it back. So it is with folders of home's that the job removed, and with modes and times that it
// changed: all that the job left is there when finish() of the final round is.
//
// Of a disk's reserve (inbox.h) it takes nothing, but for a while up to half for what takes the
// place of an older version; what is mended in place needs no more than it grows.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "machine/file_user.h"
#include "machine/ledger_files.h"
#include "transfer/job_files_flow.h"

namespace machine {

struct PlacerSpec {
  std::string ledgers;  // folder
  base::JobId job;
  base::Epoch epoch;
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> gids;  // the user's first one first
  bool at_home = false;
  bool groups_known = false;  // else `gids` are the sender's word, and are checked
  bool ended = false;         // the job has: its files have no other place to go to
  std::string dir;            // of trial() alone: the folder named with --dir; empty: none
};

// Where two versions of a file lie side by side at home.
struct LaidBeside {
  std::vector<std::string> beside;  // the job's, of what was changed at home
  std::vector<std::string> kept;    // home's own, of what is a folder now and was none, or was one
};

inline constexpr std::size_t kSyncEachMax = 64;  // files; more are synced with their whole disk
inline constexpr std::uint64_t kTrialReadMax = 64ULL << 20;  // bytes of one file

class JobPlacer {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<JobPlacer>> open(const PlacerSpec& spec);

  // Whether such a list, mostly without digests (JobTreeSpec::names_only), could come, as far as
  // that can be told without them: a sentence why not, or none. Changes nothing. What the job has
  // open is the preflight's to judge (preflight_own.h), but at home. Errors as of open() and
  // plan().
  [[nodiscard]] static base::Result<std::string> trial(
      const PlacerSpec& spec, std::shared_ptr<const transfer::JobFileList> list,
      const std::atomic<bool>& cancelled);

  struct Plan {
    std::string refusal;                // empty: all can come
    bool full = false;                  // it is that there is no room: later there may be
    std::vector<std::uint32_t> wanted;  // files, ascending
    std::map<std::uint32_t, transfer::ChunkHashes> have;
  };
  // Makes folders where nothing is refused. kTimeout: `cancelled` became true.
  [[nodiscard]] base::Result<Plan> plan(std::shared_ptr<const transfer::JobFileList> list,
                                        bool final, const std::atomic<bool>& cancelled);
  // Of the files that plan() wanted. kFull: the disk is, but for its reserve (kInboxReserveMax),
  // whatever the list said; kStale: not what the list says.
  [[nodiscard]] base::Status chunk(const transfer::ChunkAt& at, base::ByteView bytes);
  [[nodiscard]] base::Status holes(const transfer::ChunkAt& first, std::uint32_t count);
  [[nodiscard]] base::Status end(std::uint32_t entry);
  [[nodiscard]] base::Status finish();
  [[nodiscard]] const LaidBeside& laid() const { return laid_; }
  [[nodiscard]] const std::vector<std::string>& beside() const { return laid_.beside; }

 private:
  using Inode = std::pair<std::uint64_t, std::uint64_t>;
  struct Known {  // a file that is here, and its content
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    std::int64_t changed_seconds = 0;
    std::int64_t changed_nanos = 0;
    transfer::ChunkHashes chunks;
  };
  struct Stamp {  // of what stands where something is to come
    Inode inode;
    std::int64_t size = 0;
    std::int64_t seconds = 0;  // mtime
    std::int64_t nanos = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  struct Coming {
    transfer::Verdict verdict = transfer::Verdict::kMake;
    std::string fresh;  // the hidden name; empty: mended in place
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
  };
  struct Look {
    transfer::FoundFile found;
    Fd fd;  // of a file, readable
    Stamp stamp;
  };
  explicit JobPlacer(PlacerSpec spec) : spec_(std::move(spec)) {}
  [[nodiscard]] base::Status read_others();
  [[nodiscard]] base::Result<std::string> judge(const std::atomic<bool>& cancelled);
  [[nodiscard]] base::Result<Look> look(const transfer::JobFile& wanted,
                                        const std::atomic<bool>& cancelled);
  [[nodiscard]] bool trial_needs_content(const transfer::JobFile& wanted, Look& look) const;
  [[nodiscard]] base::Status look_at_file(const transfer::JobFile& wanted, Look& look,
                                          const std::atomic<bool>& cancelled);
  [[nodiscard]] static Stamp stamp_of(const struct stat& info);
  [[nodiscard]] static base::Result<base::Bytes> read_chunk(int fd, std::uint64_t chunk,
                                                            std::uint64_t size);
  [[nodiscard]] transfer::JobFile with_content(const transfer::JobFile& file) const;
  [[nodiscard]] bool linked(const transfer::JobFile& wanted, const Inode& inode) const;
  [[nodiscard]] bool comes_below(const std::string& path) const;
  [[nodiscard]] bool left_as(const std::string& path, const base::crypto::Hash256& digest) const;
  [[nodiscard]] bool mends(const std::string& path, const struct stat& info) const;
  [[nodiscard]] std::uint64_t gives_back(std::uint32_t entry, const struct stat& info) const;
  [[nodiscard]] std::string space_refusal() const;
  [[nodiscard]] std::string make_room() const;
  [[nodiscard]] base::Status take_room(std::uint64_t bytes);
  [[nodiscard]] bool has_place(std::uint32_t chunk, std::uint64_t bytes) const;
  [[nodiscard]] base::Status make_folders();
  [[nodiscard]] base::Result<std::string> keep_name(const std::string& path) const;
  [[nodiscard]] base::Status keep_home(std::uint32_t entry, int parent);
  [[nodiscard]] base::Status open_file(std::uint32_t entry);
  [[nodiscard]] base::Status open_fresh(std::uint32_t entry, Fd& parent);
  [[nodiscard]] base::Status fill(std::uint32_t entry);
  [[nodiscard]] base::Status look_after(const transfer::JobFile& file, int fd) const;
  [[nodiscard]] base::Status sync_files();
  [[nodiscard]] base::Status make_links();
  [[nodiscard]] base::Status note_coming(std::uint32_t entry, const Coming& coming);
  [[nodiscard]] base::Status make_hard_links();
  [[nodiscard]] base::Status name(std::uint32_t entry, const Coming& coming);
  [[nodiscard]] base::Status replace(const std::string& path, int parent, const Coming& coming);
  [[nodiscard]] base::Status take_back(std::uint32_t entry, int parent, const Coming& coming);
  [[nodiscard]] base::Status name_beside(const std::string& path, int parent,
                                         const std::string& fresh);
  void named_anew(const std::string& path, const struct stat& info);
  [[nodiscard]] base::Status remove_gone();
  [[nodiscard]] base::Status put_aside(const std::string& path);
  [[nodiscard]] bool folder_gone(const std::string& path) const;
  [[nodiscard]] base::Status remove_folders();
  [[nodiscard]] base::Status set_marks();
  [[nodiscard]] bool below_dir(const std::string& path) const;
  [[nodiscard]] base::Status finish_folders();
  [[nodiscard]] base::Status note(const transfer::LedgerRecord& record);
  [[nodiscard]] std::string fresh_name(std::uint32_t entry) const;
  // Of home's own file while its new version is not settled.
  [[nodiscard]] std::string aside_name(const std::string& path) const;

  PlacerSpec spec_;
  std::unique_ptr<LedgerFile> ledger_;
  std::shared_ptr<const transfer::JobFileList> list_;
  bool final_ = false;
  bool trial_ = false;
  std::map<std::string, Inode> placed_;                   // by this handover
  std::map<std::string, Inode> folders_;                  // made by it
  std::set<std::pair<std::string, Inode>> for_this_job_;  // by earlier ones
  std::set<std::pair<std::string, Inode>> for_others_;
  struct AsLeft {
    base::crypto::Hash256 digest{};
    std::string marks;
  };
  std::map<std::string, AsLeft> left_;   // home's own, as it left
  std::set<std::string> fresh_folders_;  // noted in the ledger
  std::map<std::string, Known> known_;
  std::map<std::uint32_t, transfer::Verdict> verdicts_;  // but kUse and kMark
  std::map<std::uint32_t, Inode> marked_;                // kMark
  std::map<std::uint32_t, Stamp> found_;                 // where something stands
  std::map<std::uint32_t, std::string> keep_as_;         // and what it is called then (kKept)
  std::map<std::uint32_t, Coming> coming_;
  std::set<std::string> touched_;  // folders to sync
  LaidBeside laid_;
  std::map<std::string, std::string> beside_of_;  // the last of them, by the path that was wanted

  // Bytes until a disk is looked at again; apart for what takes the place of something else.
  std::map<std::pair<std::uint64_t, bool>, std::uint64_t> room_;

  bool sync_each_ = true;
  struct Unsynced {
    std::string path;
    Fd file;  // open since before anything was written: syncfs(2) tells what failed since
  };
  std::map<std::uint64_t, Unsynced> unsynced_;  // by device the first of its files

  // ---- the file that is open
  std::optional<std::uint32_t> at_;
  std::uint64_t device_ = 0;
  std::uint64_t covered_ = 0;  // bytes of it that take the place of others
  Fd file_;
  Fd base_;  // what it is made from, where that is another file
  transfer::ChunkHashes base_chunks_;
  transfer::ChunkHashes chunks_;
  std::vector<bool> came_;
};

}  // namespace machine
