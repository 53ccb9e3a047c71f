#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sim/generate.h"
#include "sim/settled.h"
#include "sim/world.h"

int main(int argc, char** argv) {
  using namespace sim;
  std::uint64_t first = 1, last = 1;
  std::uint32_t nodes = 0;
  FaultMode mode = FaultMode::kSwarm;
  long secs = 0;
  if (argc > 1) first = last = strtoull(argv[1], nullptr, 10);
  if (argc > 2) last = strtoull(argv[2], nullptr, 10);
  if (argc > 3) nodes = static_cast<std::uint32_t>(atoi(argv[3]));
  if (argc > 4)
    mode = strcmp(argv[4], "none") == 0   ? FaultMode::kNone
           : strcmp(argv[4], "some") == 0 ? FaultMode::kSome
                                          : FaultMode::kSwarm;
  if (argc > 5) secs = atol(argv[5]);
  if (!base::crypto::init()) return 1;
  FaultCounts sum{};
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    Wanted w;
    w.seed = seed;
    w.nodes = nodes;
    w.faults = mode;
    w.faulty = std::chrono::seconds(secs);
    Scenario s = generate(w);
    auto t0 = std::chrono::steady_clock::now();
    World world(s, QueueKind::kHeap);
    world.run_until(s.faulty);
    world.end_faults();
    world.run_until(s.faulty + s.settle);
    if (world.promises().violations().empty()) check_settled(world);
    auto wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
    for (std::size_t i = 0; i < kFaultKinds; ++i) sum[i] += world.faults()[i];
    const auto& c = world.counts();
    std::printf(
        "seed %lu nodes %u sec %ld events %lu steps %lu commits %lu ended %lu lost %lu hash %s "
        "wall %.3f (%.0f ev/s)\n",
        seed, s.nodes, (s.faulty + s.settle).count() / 1000000, c.events, c.steps, c.commits,
        c.jobs_ended, c.jobs_lost, world.trace().hex().c_str(), wall, double(c.events) / wall);
    if (first == last)
      for (std::uint32_t h = 0; h < world.hosts(); ++h) {
        const auto* n = world.node(h);
        if (n == nullptr) {
          std::printf("  n%u down\n", h);
          continue;
        }
        auto st = n->status();
        std::printf("  n%u settled %ld effective %ld raw %ld trit %d seat %d copies:", h,
                    world.machine(h).settled_ratio_micros() / 1000,
                    st.effective_ratio_micros / 1000, st.ratio_micros / 1000, int(st.trit),
                    st.seat ? 1 : 0);
        for (const auto& cp : world.machine(h).copies())
          std::printf(" %u%s(threads %ld mem %ldM arrived %.1f)", cp.job, cp.frozen ? "F" : "",
                      world.jobs()[cp.job].plan.threads,
                      world.jobs()[cp.job].plan.memory_bytes >> 20,
                      double((world.jobs()[cp.job].arrived - kWorldBegins).count()) / 1e6);
        std::printf("\n     sees:");
        for (const auto& v : st.nodes)
          std::printf(" n%u=%s@%s", world.host_of(v.view.id),
                      v.view.state == gossip::State::kAlive     ? "A"
                      : v.view.state == gossip::State::kSuspect ? "S"
                      : v.view.state == gossip::State::kDead    ? "D"
                                                                : "L",
                      v.view.endpoint.text().c_str());
        std::printf("\n");
      }
    if (first == last)
      for (const auto& f : s.faults)
        std::printf("  fault %.3f %s n%u for %.3f\n", double(f.at.count()) / 1e6,
                    std::string(fault_name(f.fault)).c_str(), f.node,
                    double(f.length.count()) / 1e6);
    if (first == last)
      for (std::size_t i = 0; i < kFaultKinds; ++i)
        if (s.rate_ppm[i])
          std::printf("  rate %s %u\n", std::string(fault_name(static_cast<Fault>(i))).c_str(),
                      s.rate_ppm[i]);
    for (const auto& v : world.promises().violations()) {
      std::printf("  BROKEN %s at %.3f n%u: %s\n", v.promise.c_str(), double(v.at.count()) / 1e6,
                  v.node, v.detail.c_str());
      if (first == last)
        for (auto& l : world.last_events(v.node)) std::printf("      %s\n", l.c_str());
    }
  }
  for (std::size_t i = 0; i < kFaultKinds; ++i)
    std::printf("%s %lu, ", std::string(fault_name(static_cast<Fault>(i))).c_str(), sum[i]);
  std::printf("\n");
}
