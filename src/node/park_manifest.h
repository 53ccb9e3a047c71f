// What stands at the head of a parked job's file (daemon/park_file.h), and how a job that waits to
// be started is to be launched.
//
//   manifest  [version = 1, epoch, parked at (wall seconds), memory bytes, stored metadata,
//              requirement of a sink (machine/requirement.h)]
//   launch    [version = 2, umask <= 0777, input: 0 none, 1 pipe, 2 terminal, [K=V ...] <= 8192],
//             at most kLaunchSizeMax
//
// Both are read back from a disk that may be damaged, and the second also comes from a peer: limits
// as for everything from outside.
#pragma once

#include <string>
#include <vector>

#include "node/move_metadata.h"

namespace node {

inline constexpr std::size_t kManifestSizeMax = 128 * 1024;
inline constexpr std::size_t kLaunchVariablesMax = 8192;
inline constexpr std::size_t kLaunchSizeMax = std::size_t{1} << 20;
// The one image of a job that was never started: its LaunchPlan.
inline constexpr const char* kLaunchImage = "tern-launch";

struct ParkManifest {
  MoveMetadata metadata;
  base::Epoch epoch;  // under which it was parked
  base::WallTime since{};
  std::int64_t memory_bytes = 0;  // that it held when it was frozen
  base::Bytes requirement;        // of a node where it is to wake; opaque here
  friend bool operator==(const ParkManifest&, const ParkManifest&) = default;
};

enum class LaunchInput : std::uint8_t { kNothing, kPipe, kTerminal };  // kNothing: /dev/null

struct LaunchPlan {
  std::uint32_t umask = 022;
  std::vector<std::string> env;  // K=V; bytes, without zeros
  LaunchInput input = LaunchInput::kNothing;
  friend bool operator==(const LaunchPlan&, const LaunchPlan&) = default;
};

[[nodiscard]] base::Bytes encode(const ParkManifest& manifest);
[[nodiscard]] base::Result<ParkManifest> decode_park_manifest(base::ByteView bytes);
[[nodiscard]] base::Bytes encode(const LaunchPlan& plan);
[[nodiscard]] base::Result<LaunchPlan> decode_launch_plan(base::ByteView bytes);

}  // namespace node
