// A job that rests on the disk: the files of its folder, and how they become durable. Blocking;
// off the loop.
//
//   park-e<epoch>.part   being written; means nothing, except that a park was under way here and
//                        the job's processes may stand still for it
//   park-e<epoch>        the job is parked (or queued): whatever else of it is alive is not the
//   job.
//                        Its first appearance, on the disk, is the moment at which it is parked
//   rests-e<epoch>       the file has been there: if it is not, and no woken-e<epoch> is, then
//                        somebody took it away, and nobody has the job any more
//   woken-e<epoch>       the copy that was made from it may have run: the file is of no more use
//
// Epochs are those under which the job was parked. rests-e goes before the file, durably. After a
// mark woken-e the file goes first, durably, and the mark then, so that an old file never comes
// back as the job.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "daemon/park_format.h"
#include "machine/fd.h"
#include "transfer/image_stream.h"

namespace ternd::park_file {

struct State {
  std::optional<base::Epoch> parked;  // the newest file
  bool woken = false;                 // and its mark
  bool parking = false;               // a .part of any epoch
  std::string missing;                // its file, which somebody took away; empty: nobody did
};
// What the folder says of epochs up to `newest`. An error is not "none".
[[nodiscard]] base::Result<State> look(const std::string& dir, base::Epoch newest);
[[nodiscard]] std::string path(const std::string& dir, base::Epoch epoch);

class Writer {
 public:
  // kExists: one is being written, or the job is parked.
  [[nodiscard]] static base::Result<std::unique_ptr<Writer>> create(const std::string& dir,
                                                                    base::Epoch epoch);
  void begin(const node::ParkManifest& manifest);  // first
  [[nodiscard]] ParkEncoder& encoder() { return *encoder_; }
  [[nodiscard]] base::Status flush();  // what the encoder has; "no space" is said in a sentence
  // All is on the disk when this returns ok, and has its name; the name is on the disk after
  // settle(). From here on the job is parked, if anybody asks the folder.
  [[nodiscard]] base::Status commit();
  [[nodiscard]] base::Status settle();  // to be repeated until it is ok
  [[nodiscard]] std::uint64_t stored_bytes() const { return stored_; }

 private:
  Writer(std::string dir, base::Epoch epoch, machine::Fd file)
      : dir_(std::move(dir)), epoch_(epoch), file_(std::move(file)) {}
  std::string dir_;
  base::Epoch epoch_;
  machine::Fd file_;
  std::optional<ParkEncoder> encoder_;
  std::uint64_t stored_ = 0;
};

// Of one that was not committed, whatever its epoch; on the disk.
[[nodiscard]] base::Status remove_parts(const std::string& dir);

class Reader {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<Reader>> open(const std::string& path,
                                                                  std::uint64_t data_max);
  // The next `size` bytes of the file. False: that was all of it, and the hash is right.
  [[nodiscard]] base::Result<bool> next(std::size_t size, ParkVisitor& visitor);
  [[nodiscard]] const std::optional<node::ParkManifest>& manifest() const {
    return decoder_.manifest();
  }

 private:
  Reader(machine::Fd file, std::uint64_t size, std::uint64_t data_max, std::string path)
      : file_(std::move(file)), decoder_(size, data_max), path_(std::move(path)) {}
  machine::Fd file_;
  ParkDecoder decoder_;
  std::string path_;
};

// Reads and checks the whole file; what the visitor saw counts only after ok. kNotFound: no file.
[[nodiscard]] base::Result<node::ParkManifest> read(const std::string& path, std::uint64_t data_max,
                                                    ParkVisitor& visitor);
// The head alone, unchecked: for what is shown and planned.
[[nodiscard]] base::Result<node::ParkManifest> read_manifest(const std::string& path);

struct Loaded {
  node::ParkManifest manifest;
  transfer::ImageSet images;
  // Of pages that were not kept: to be read again (parked_images.h).
  std::map<std::string, base::crypto::Hash256, std::less<>> not_kept;
  std::uint64_t bytes = 0;
  std::uint64_t stored_bytes = 0;
};
// Keeps no more than `pages_max` bytes of pages, but for processes that have less than half of
// that, and those beyond the first few: each image that is not kept is read from the file's
// beginning again.
inline constexpr std::size_t kNotKeptMax = 4;
[[nodiscard]] base::Result<Loaded> load(const std::string& path, std::uint64_t data_max,
                                        std::uint64_t pages_max = UINT64_MAX);

[[nodiscard]] base::Status mark_woken(const std::string& dir, base::Epoch epoch);
// The file and its marks, in their order, of all epochs up to `newest`; on the disk.
[[nodiscard]] base::Status remove(const std::string& dir, base::Epoch newest);
// Bytes that the disk of that folder has for us.
[[nodiscard]] base::Result<std::uint64_t> free_bytes(const std::string& dir);

}  // namespace ternd::park_file
