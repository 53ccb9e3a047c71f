// A mesh that knows itself with one job, and what people ask of it.
#pragma once

#include <gtest/gtest.h>

#include "node_world.h"

namespace node::testing {

using base::JobId;
using namespace std::chrono_literals;

inline World::Options nodes(std::size_t count) {
  World::Options options;
  options.nodes = count;
  return options;
}

inline std::uint64_t migrate(World& world, std::size_t asked, std::size_t host, const JobId& job,
                             std::optional<std::size_t> target, std::uint32_t uid = 0) {
  return world.post(asked, [&](std::uint64_t request) {
    MigrateJob order{request, uid, job, world.id(host), {}};
    if (target) order.target = world.id(*target);
    return order;
  });
}

// A mesh that knows itself, and a job that runs on node 0, its home.
struct Fixture {
  explicit Fixture(std::uint64_t seed, const World::Options& options) : world(seed, options) {
    EXPECT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
    world.run(8s);  // digests of the first samples
    job = world.run_job(0);
    EXPECT_TRUE(world.run_until([&] { return world.where(job) == 0; }, 5s));
  }
  void settle() { EXPECT_EQ(world.violations, std::vector<std::string>{}); }
  World world;
  JobId job;
};

inline std::uint64_t kill(World& world, std::size_t asked, std::size_t host, const JobId& job) {
  return world.post(asked, [&](std::uint64_t request) {
    return KillJob{request, 1000, job, world.id(host), 15};
  });
}

}  // namespace node::testing
