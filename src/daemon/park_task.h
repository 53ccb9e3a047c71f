// What park_desk.cc and park_wake.cc share; for them alone.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "criu/restore_session.h"
#include "daemon/live_dump.h"
#include "daemon/park_desk.h"
#include "daemon/park_file.h"
#include "daemon/parked_images.h"

namespace ternd {

// Runs of CRIU for parks are told apart from those of handovers, whose epochs may be the same.
inline constexpr std::uint64_t kParkRuns = 1'000'000;

struct ParkDesk::Task {
  base::JobId job;
  base::Epoch epoch;
  std::string dir;
  node::Rested told;
  base::Time phase_began{};
  std::unique_ptr<loop::Timer> retry;
  node::ParkManifest manifest;
  // park
  std::uint64_t memory = 0;
  std::unique_ptr<park_file::Writer> writer;
  std::unique_ptr<ContentSource> content;         // until nothing of CRIU is left
  std::map<std::uint32_t, std::uint32_t> images;  // the content's numbers to the file's
  std::vector<std::function<base::Status()>> pieces;
  std::size_t waiting = 0;  // bytes in them
  bool froze = false;
  bool paused = false;
  bool writing = false;  // off the loop, with the writer
  bool dumped = false;
  std::string failed;  // why; empty while it did not
  base::Time frozen_at{};
  // wake
  std::shared_ptr<ParkedImages> source;  // shared with work off the loop
  std::unique_ptr<criu::RestoreSession> session;
  std::unique_ptr<criu::CopyTask> release;
};

[[nodiscard]] inline node::jobs::ParkedFacts facts_of(const node::ParkManifest& manifest) {
  return {manifest.metadata.queued, manifest.since, manifest.memory_bytes,
          manifest.metadata.spec.load_micros, manifest.metadata.spec.cpu_micros};
}

}  // namespace ternd
