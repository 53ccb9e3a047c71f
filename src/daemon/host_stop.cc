// How the daemon ends (host.h, "Stop").
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "daemon/host.h"

namespace ternd {
namespace {

constexpr const char* kWhatToDo =
    "start this daemon again (tern up) and it goes on; if the other nodes are lost for good, then: "
    "tern resolve JOB --run-here";
constexpr base::Duration kLookAgain = std::chrono::milliseconds(20);

}  // namespace

void Host::on_stop_signal() {
  if (stage_ == Stage::kRunning) return stop();
  log_.warn("daemon_ends_at_once", {{"why", "a second signal"}});
  // As a kill -9, which every part survives: whatever runs off the loop is not waited for.
  std::_Exit(1);
}

void Host::stop() {
  if (stage_ != Stage::kRunning) return;
  log_.info("daemon_stopping", {});
  stage_ = Stage::kFinishing;
  stop_by_ = loop::Loop::now() + kStopPatience;
  if (node_) post(node::Stopping{false});
  if (files_home_) files_home_->tell_now();
  finish_handovers();
}

void Host::finish_handovers() {
  if (stage_ != Stage::kFinishing) return;
  const base::Time now = loop::Loop::now();
  if (!withdrawing_ && now >= stop_by_) {
    withdrawing_ = true;
    stop_by_ = now + kWithdrawPatience;
    if (park_) park_->withdraw();
    if (adopt_) adopt_->withdraw();
    if (node_) post(node::Stopping{true});
    if (stage_ != Stage::kFinishing) return;  // the node's word may have been its last
  }
  const auto unsettled = node_ ? node_->unsettled() : std::vector<balance::Balance::Unsettled>();
  const bool of_use = std::any_of(unsettled.begin(), unsettled.end(), [&](const auto& u) {
    return !u.waits_for_others || !(withdrawing_ || u.lingers);
  });
  // A job that is being parked or woken stands still meanwhile.
  const bool rests = (park_ && park_->busy() > 0) || (adopt_ && adopt_->busy() > 0);
  const bool done = !of_use && !rests && ends_to_tell() == 0;
  if (done || (withdrawing_ && now >= stop_by_)) return leave();
  tell_unsettled();
  stop_timer_ = std::make_unique<loop::Timer>(loop_, [this] { finish_handovers(); });
  stop_timer_->start(kLookAgain);
}

// Home has acknowledged the end of those that are forgotten.
std::size_t Host::ends_to_tell() const {
  const base::Time until = stop_by_ - kStopPatience + kTellEndsPatience;
  if (!files_home_ || withdrawing_ || loop::Loop::now() >= until) return 0;
  const std::vector<base::JobId>& jobs = files_home_->told_now();
  return static_cast<std::size_t>(std::count_if(jobs.begin(), jobs.end(), [&](const auto& job) {
    return node_->jobs().find(job) != nullptr;
  }));
}

void Host::tell_unsettled() {
  std::string told;
  for (const auto& one : node_->unsettled()) {
    if (!told.empty()) told += "; ";
    told += "job " + one.job.brief() + (one.source ? " moves to " : " comes from ") +
            node_->name_of(one.other) + (withdrawing_ ? ", which is being given up" : "");
  }
  if (park_ && park_->busy() > 0) {
    told += (told.empty() ? "" : "; ") + std::to_string(park_->busy()) +
            (park_->busy() == 1 ? " job is" : " jobs are") + " being parked or woken" +
            (withdrawing_ ? ", which is being given up" : "");
  }
  if (adopt_ && adopt_->busy() > 0) {
    told += (told.empty() ? "" : "; ") + std::to_string(adopt_->busy()) +
            (adopt_->busy() == 1 ? " process is" : " processes are") + " being adopted";
  }
  if (const std::size_t ends = ends_to_tell(); ends > 0) {
    told += (told.empty() ? "" : "; ") + std::string("home is told of the end of ") +
            (ends == 1 ? "a job" : std::to_string(ends) + " jobs");
  }
  if (told == std::exchange(said_unsettled_, told)) return;
  const base::Duration left = std::max(stop_by_ - loop::Loop::now(), base::Duration(0));
  const std::int64_t seconds = std::chrono::ceil<std::chrono::seconds>(left).count();
  log_.info("waiting_for", {{"what", told}, {"seconds_at_most", seconds}});
  if (down_) {
    down_->line(
        control::progress_line("waiting, " + std::to_string(seconds) + " s at most: " + told));
  }
}

void Host::leave() {
  if (stage_ == Stage::kLeaving) return;
  for (const auto& one : node_ ? node_->unsettled() : std::vector<balance::Balance::Unsettled>()) {
    const std::string other = node_->name_of(one.other);
    stays_.push_back(
        "job " + one.job.brief() +
        (one.source ? " stays frozen here: its move to " : " stays held here: its move from ") +
        other +
        (one.lingers ? " is decided, and only that node can say what became of it"
                     : " is not decided, and only the other nodes can decide it"));
  }
  for (const base::JobId& job : park_ ? park_->parking() : std::vector<base::JobId>()) {
    stays_.push_back("job " + job.brief() + " stands still here: it was being parked");
  }
  if (adopt_ && adopt_->busy() > 0) {
    stays_.emplace_back("a process stands still here: it was being adopted");
  }
  if (node_) post(node::Leave{});
  stage_ = Stage::kLeaving;
  stop_by_ = loop::Loop::now() + kLeavePatience;
  if (deadline_) deadline_->stop();
  if (minute_) minute_->stop();
  sampler_.reset();
  if (services_) services_->delay_sleep(false);
  if (down_) {
    control::DownReport report;
    if (copies_) report.jobs_left_running = copies_->all().size();
    if (files_home_) report.files_wait = files_home_->waiting().size();
    if (stays_.empty()) {
      down_->done(control::to_json(report));
    } else {
      down_->fail(control::Exit::kError, "stopped, but " + stays_.front(), kWhatToDo);
    }
    down_.reset();
  }
  if (share_out_) share_out_->stop();
  share_in_.reset();  // what came so far stays, to be gone on with
  if (control_) control_->stop_listening();
  continue_leaving();
}

void Host::continue_leaving() {
  const bool late = loop::Loop::now() >= stop_by_;
  const bool answered = !control_ || control_->idle();
  const std::size_t working = loop::blocking_in_flight();
  if (!late && (!answered || working > 0 || writing_)) {
    stop_timer_ = std::make_unique<loop::Timer>(loop_, [this] { continue_leaving(); });
    return stop_timer_->start(kLookAgain);
  }
  if (late) {
    log_.warn("stopped_waiting", {{"blocking_work", static_cast<std::uint64_t>(working)},
                                  {"unanswered_clients", answered ? 0 : 1},
                                  {"unwritten", static_cast<std::uint64_t>(batches_.size())}});
  }
  log_.info("daemon_stopped", {});
  for (const std::string& what : stays_)
    log_.warn("job_stays", {{"what", what}, {"do", kWhatToDo}});
  loop_.stop();
}

}  // namespace ternd
