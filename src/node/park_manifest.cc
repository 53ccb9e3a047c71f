#include "node/park_manifest.h"

#include "balance/limits.h"
#include "base/wire.h"
#include "node/limits.h"

namespace node {
namespace {
constexpr std::uint64_t kVersion = 1;
constexpr std::uint64_t kLaunchVersion = 2;  // 1 had no input
}  // namespace

base::Bytes encode(const ParkManifest& manifest) {
  base::Writer w;
  w.array(6).u64(kVersion).counter(manifest.epoch).i64(base::wall_seconds(manifest.since));
  w.i64(manifest.memory_bytes).bin(encode(manifest.metadata)).bin(manifest.requirement);
  return w.take();
}

base::Result<ParkManifest> decode_park_manifest(base::ByteView bytes) {
  base::Reader r(bytes);
  ParkManifest manifest;
  r.array_of(6);
  if (r.u64() != kVersion) r.reject("an unknown version of a parked job's manifest");
  manifest.epoch = r.counter<base::Epoch>();
  manifest.since = static_cast<base::WallTime>(r.i64());
  manifest.memory_bytes = r.i64();
  if (manifest.memory_bytes < 0) r.reject("a job without memory");
  const base::ByteView metadata = r.bin(kManifestSizeMax);
  manifest.requirement = base::to_bytes(r.bin(balance::kRequirementSizeMax));
  if (base::Status status = r.finish(); !status) return status.error();
  auto decoded = decode_move_metadata(metadata);
  if (!decoded) return decoded.error();
  manifest.metadata = std::move(*decoded);
  return manifest;
}

base::Bytes encode(const LaunchPlan& plan) {
  base::Writer w;
  w.array(4).u64(kLaunchVersion).u64(plan.umask).u64(static_cast<std::uint64_t>(plan.input));
  w.array(plan.env.size());
  for (const std::string& entry : plan.env) w.bin(base::as_bytes(entry));
  return w.take();
}

base::Result<LaunchPlan> decode_launch_plan(base::ByteView bytes) {
  if (bytes.size() > kLaunchSizeMax) {
    return base::fail(base::Code::kTooLarge, "an environment is too large");
  }
  base::Reader r(bytes);
  LaunchPlan plan;
  r.array_of(4);
  if (r.u64() != kLaunchVersion) r.reject("an unknown version of a launch");
  plan.umask = static_cast<std::uint32_t>(r.u64(0777));
  plan.input = static_cast<LaunchInput>(r.u64(static_cast<std::uint64_t>(LaunchInput::kTerminal)));
  plan.env.resize(r.array(kLaunchVariablesMax));
  for (std::string& entry : plan.env) {
    entry = std::string(base::as_text(r.bin(kLaunchSizeMax)));
    const std::size_t equals = entry.find('=');
    const bool fine =
        equals != std::string::npos && equals > 0 && entry.find('\0') == std::string::npos;
    if (r.ok() && !fine) r.reject("an environment variable is not of the form NAME=VALUE");
  }
  if (base::Status status = r.finish(); !status) return status.error();
  return plan;
}

}  // namespace node
