// The folder that files from other nodes come into, and the hidden place in it where they wait
// until they are whole. Blocking; one object may be used by several threads, each at another stage.
//
//   INBOX/name                          arrived: verified, synced, renamed here, never over
//   anything INBOX/.tern-partial/<key>/offer     whose it is, as the daemon wrote it; its time is
//   the last try
//                            /tree/     what has come so far, under the sender's names
//                            /delivered which tops were about to be renamed (machine/arrival.h)
//                      <key>.gone      a stage that is being removed; nobody goes on with it
//
// The folder may belong to another user than the daemon's where that is root: what arrives then
// becomes hers. The hidden place is the daemon's alone (0700); everything goes by descriptors from
// there, so nobody can lead it elsewhere by a link.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "machine/fd.h"

namespace machine {

inline constexpr char kPartialName[] = ".tern-partial";
inline constexpr char kTreeName[] = "tree";
inline constexpr char kDeliveredName[] = "delivered";
inline constexpr char kGoneSuffix[] = ".gone";
inline constexpr std::size_t kInboxListMax = 1000;
inline constexpr std::size_t kOfferRecordMax = 4096;
// Left free for the machine's own use: a twentieth of the disk, at most this much.
inline constexpr std::uint64_t kInboxReserveMax = std::uint64_t{1} << 30;
// Bytes that may still come to a disk, beside that; or, of what gives as much back soon, beside
// half of it.
[[nodiscard]] std::uint64_t room_of(const struct statvfs& disk, bool for_a_while = false);

struct InboxItem {
  std::string name;  // bytes
  bool folder = false;
  std::uint64_t size = 0;       // of a file
  std::int64_t changed_at = 0;  // wall seconds; when it arrived (ctime)
};
struct InboxStage {
  std::string key;
  base::Bytes offer;
  std::int64_t tried_at = 0;  // wall seconds
};
struct InboxRoom {
  std::uint64_t bytes = 0;  // that may still come
  std::uint64_t files = 0;
};
struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

class Inbox {
 public:
  // Makes it where it is missing, 0700. kRefused: somebody else than its owner could lead the way
  // there elsewhere (machine/guarded_folder.h), or the hidden place is not the daemon's own.
  [[nodiscard]] static base::Result<std::shared_ptr<Inbox>> open(const std::string& path);

  [[nodiscard]] base::Result<InboxRoom> room() const;
  [[nodiscard]] base::Result<std::vector<InboxItem>> list() const;  // what arrived, newest first
  [[nodiscard]] base::Result<std::vector<InboxStage>> stages() const;
  // Makes the stage if it is not there, and notes the try.
  [[nodiscard]] base::Status keep_stage(const std::string& key, base::ByteView offer) const;
  // At once for whoever looks, also where this process is killed meanwhile.
  [[nodiscard]] base::Status remove_stage(const std::string& key) const;
  // What a process that was killed left: of stages that were being removed, and stages of nobody's
  // offer. Not while one is being made elsewhere.
  [[nodiscard]] base::Status remove_remains() const;
  // Gives back its room on the disk. Where tops may have arrived, the note of them stays.
  [[nodiscard]] base::Status empty_stage(const std::string& key) const;
  [[nodiscard]] std::uint64_t staged_bytes(const std::string& key) const;  // on the disk

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int folder() const { return folder_.get(); }
  [[nodiscard]] int partial() const { return partial_.get(); }
  [[nodiscard]] const std::optional<Owner>& owner() const { return owner_; }

 private:
  Inbox() = default;
  std::string path_;
  Fd folder_;
  Fd partial_;
  std::optional<Owner> owner_;  // whom what arrives is given to
};

// ---- beside it, for arrivals

// A folder below `at`, not through a link.
[[nodiscard]] base::Result<Fd> open_folder(int at, const std::string& path);
[[nodiscard]] base::Result<std::vector<std::string>> names_in(int folder);
// A file or a whole folder, whatever is in it. kOk if it is not there.
[[nodiscard]] base::Status remove_tree(int at, const std::string& name);
// Written whole, synced, renamed.
[[nodiscard]] base::Status write_file(int at, const std::string& name, base::ByteView bytes);
[[nodiscard]] base::Result<base::Bytes> read_file(int at, const std::string& name,
                                                  std::size_t size_max);

}  // namespace machine
