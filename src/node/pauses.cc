#include "node/pauses.h"

#include <algorithm>

#include "node/event.h"

namespace node {

std::vector<Pauses::Order> Pauses::tend(base::Time now, bool pause,
                                        const std::map<base::JobId, base::Epoch>& guests,
                                        const std::vector<JobSample>& seen,
                                        std::uint64_t& next_token) {
  std::erase_if(guests_, [&](const auto& known) {
    const auto guest = guests.find(known.first);
    return guest == guests.end() || guest->second != known.second.stay;
  });
  std::vector<Order> orders;
  for (const JobSample& sample : seen) {
    const auto here = guests.find(sample.job);
    if (here == guests.end()) continue;
    Guest& guest = guests_[sample.job];
    guest.stay = here->second;
    if (guest.stands == false && !guest.asked) guest.load_micros = sample.load_micros;
    if (guest.asked || guest.stands == pause || now < guest.again) continue;
    guest.asked = Order{next_token++, sample.job, pause};
    orders.push_back(*guest.asked);
  }
  return orders;
}

std::optional<Pauses::Order> Pauses::answered(base::Time now, std::uint64_t token, bool ok) {
  for (auto& [job, guest] : guests_) {
    if (!guest.asked || guest.asked->token != token) continue;
    const Order order = *guest.asked;
    guest.asked.reset();
    const bool before = guest.stands.value_or(false);
    guest.stands = ok ? std::optional(order.on) : std::nullopt;
    guest.again = ok ? base::Time::min() : now + kPauseRetry;
    return ok && before == order.on ? std::nullopt : std::optional(order);
  }
  return std::nullopt;
}

bool Pauses::is_paused(const base::JobId& job) const {
  const auto found = guests_.find(job);
  return found != guests_.end() && found->second.stands == true;
}

std::size_t Pauses::count() const {
  return static_cast<std::size_t>(
      std::count_if(guests_.begin(), guests_.end(),
                    [](const auto& guest) { return guest.second.stands == true; }));
}

void Pauses::count_as_before(JobSample& job) const {
  const auto found = guests_.find(job.job);
  if (found == guests_.end() || found->second.stands != true) return;
  job.load_micros = std::max(job.load_micros, found->second.load_micros);
}

}  // namespace node
