// What the files of HandoverIn share: one attempt.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "criu/restore_session.h"
#include "daemon/files_in.h"
#include "daemon/handover_in.h"
#include "daemon/image_set_source.h"
#include "transfer/image_stream.h"

namespace ternd {

struct HandoverIn::Attempt {
  balance::HandoverId id;
  base::NodeId source;
  std::unique_ptr<PeerStream> stream;
  std::unique_ptr<FilesIn> files;  // once the source spoke of some
  bool files_failed = false;       // it was told why, and ends the attempt
  std::optional<transfer::ImageReceiver> receiver;
  std::uint64_t memory_free = 0;      // bytes, when it began
  std::uint64_t memory_room = 0;      // and what of that it may take
  std::shared_ptr<SetSource> images;  // shared with work off the loop
  std::vector<transfer::OutputTail> tails;
  node::MoveMetadata metadata;
  std::unique_ptr<criu::RestoreSession> session;
  std::unique_ptr<criu::CopyTask> task;
  int working = 0;  // off the loop, at its images or its folder
  bool sealed = false;
  bool admitted = false;
  bool restoring = false;
  bool held = false;
  bool releasing = false;
  bool discarding = false;
  bool failed = false;
  base::Time progress_told{};
};

struct HandoverIn::Early {
  BulkStream bulk;
  std::optional<transfer::ImageHello> hello;
  std::unique_ptr<loop::Timer> patience;
  std::optional<transfer::Buffer> first;
};

// Takes back what came with that handover. Blocking.
[[nodiscard]] base::Status undo_files(const std::string& folder, const balance::HandoverId& id);

}  // namespace ternd
