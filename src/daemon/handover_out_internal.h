// What the files of HandoverOut share: one attempt.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/handover_out.h"

namespace ternd {

struct HandoverOut::Piece {
  enum class Kind { kBegin, kData, kEnd, kTail } kind = Kind::kData;
  std::uint32_t image = 0;
  std::string name;
  std::uint8_t stream = 0;
  std::uint64_t offset = 0;
  base::Bytes bytes;
};

struct HandoverOut::Attempt {
  balance::HandoverId id;
  base::NodeId sink;
  std::unique_ptr<PeerStream> stream;
  base::crypto::Hash512 handshake_hash{};
  std::optional<transfer::ImageSender> sender;
  std::unique_ptr<ContentSource> content;  // until nothing of CRIU is left
  std::unique_ptr<FilesOut> files;
  std::function<void()> after_files;
  bool tcp_close = false;
  bool at_home = false;  // whose log answers for all output so far
  std::deque<Piece> backlog;
  std::size_t backlog_size = 0;
  std::map<std::uint32_t, std::uint16_t> images;  // the content's index to the stream's
  bool paused = false;
  bool content_done = false;
  bool tail_reading = false;
  bool tails_done = false;
  bool failed = false;
  bool ended = false;
  node::MoveMetadata metadata;
  node::StreamEnds tail_at{};
  std::optional<transfer::SealSummary> summary;
  std::optional<balance::SendSeal> seal_waits;  // for room in the stream
  bool sealed = false;
  base::Time progress_told{};
  std::function<void()> when_idle;  // asked to end: told when CRIU is gone
};

// The files of a parked job, as its file says; of one that runs HandoverOut looks itself.
[[nodiscard]] FilesOut::List parked_files(const node::JobSpec& spec, const base::Bytes& requirement,
                                          const std::string& ledgers);

}  // namespace ternd
