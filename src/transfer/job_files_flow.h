// The two ends of a job's files on their way (job_files.h), as pure machines; each round is one of
// each. Their hosts read and write.
//
//   sender    listing --sealed--> waiting --ready--> files --all--> waiting --placed--> over
//   receiver  idle --begin--> listing --sealed--> planning --planned()--> files --all--> finishing
//                  ^------------------------------------------------------finished()--------+
//   Any mistake of the peer's, and its refusal, fail an end for good.
//
// In a round that is not final the job runs: what was hashed may be other by the time it is read,
// and the final round sends that again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "transfer/job_files.h"

namespace transfer {

class JobFilesSender {
 public:
  struct Content {
    JobFileList list;
    std::vector<ChunkHashes> chunks;  // of each entry; of what is no file none
  };
  struct Send {  // then next() again
    base::Bytes record;
  };
  struct Read {  // then got()
    ChunkAt at;
    std::uint64_t offset = 0;
    std::size_t size = 0;
  };
  struct Wait {};
  struct Over {};
  using Step = std::variant<Send, Read, Wait, Over>;

  JobFilesSender(JobFilesBegin begin, std::shared_ptr<const Content> content);
  // Not after failed().
  [[nodiscard]] Step next();
  // Of exactly the size that Read asked for. kStale: in the final round another content than was
  // hashed.
  [[nodiscard]] base::Status got(base::Bytes chunk);
  [[nodiscard]] base::Status feed(base::ByteView record);       // kRefused, kFull: the sink's words
  [[nodiscard]] std::uint64_t heard() const { return heard_; }  // records of the sink

 private:
  enum class At { kBegin, kList, kWaitReady, kFiles, kWaitPlaced, kOver };
  [[nodiscard]] Step next_of_files();
  [[nodiscard]] base::Status take_want(base::ByteView body);
  [[nodiscard]] base::Status take_have(base::ByteView body);
  [[nodiscard]] std::uint32_t hole_from(std::uint32_t first) const;

  JobFilesBegin begin_;
  std::shared_ptr<const Content> content_;
  At at_ = At::kBegin;
  std::uint32_t listed_ = 0;
  std::vector<std::uint32_t> wanted_;  // ascending
  std::map<std::uint32_t, ChunkHashes> have_;
  std::size_t sending_ = 0;  // in wanted_
  std::uint32_t chunk_ = 0;  // of that
  base::Bytes bytes_;        // of the chunk that is on its way
  std::size_t sent_ = 0;
  std::uint64_t heard_ = 0;
};

class JobFilesReceiver {
 public:
  enum class Phase { kIdle, kListing, kPlanning, kFiles, kFinishing, kFailed };
  struct Plan {};  // of list(): what is here; then planned()
  struct Chunk {   // whole
    ChunkAt at;
    base::Bytes bytes;
  };
  struct Holes {
    ChunkAt first;
    std::uint32_t count = 0;
  };
  struct End {
    std::uint32_t entry = 0;
  };
  struct Finish {};  // then finished()
  using Order = std::variant<Plan, Chunk, Holes, End, Finish>;

  // Any error is final.
  [[nodiscard]] base::Result<std::vector<Order>> feed(base::ByteView record);
  void planned(std::vector<std::uint32_t> wanted);  // ascending
  void finished();

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] const JobFilesBegin& begin() const { return begin_; }
  [[nodiscard]] std::size_t rounds() const { return rounds_; }  // begun
  // Unchanged from Plan until the next round begins.
  [[nodiscard]] const std::shared_ptr<JobFileList>& list() const { return list_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  [[nodiscard]] base::Status take(base::ByteView record, std::vector<Order>& orders);
  [[nodiscard]] base::Status take_begin(base::ByteView body);
  [[nodiscard]] base::Status take_chunk(base::ByteView body, std::vector<Order>& orders);
  [[nodiscard]] base::Status take_holes(base::ByteView body, std::vector<Order>& orders);
  [[nodiscard]] base::Status take_end(base::ByteView body, std::vector<Order>& orders);
  [[nodiscard]] base::Status expect(std::uint32_t entry, std::uint32_t chunk) const;

  Phase phase_ = Phase::kIdle;
  JobFilesBegin begin_;
  std::size_t rounds_ = 0;
  std::shared_ptr<JobFileList> list_ = std::make_shared<JobFileList>();
  std::vector<std::uint32_t> wanted_;
  std::size_t receiving_ = 0;     // in wanted_
  std::uint32_t next_chunk_ = 0;  // of that; what is left out is here already
  base::Bytes bytes_of_chunk_;
  std::uint64_t bytes_ = 0;
};

}  // namespace transfer
