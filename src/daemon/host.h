// The daemon: one libuv loop that hosts a node::Node and carries out its actions.
//
//   sockets, timers, disk, copies, CRIU  --events-->  Node  --actions-->  the same
//
// Events that arise while actions are carried out wait in a queue: all actions of one step are done
// before the next event. Slow work runs in libuv's pool or in processes of its own.
//
// Identity. A state folder without one holds a daemon without a node: `tern up` makes identity and
// mesh, `tern join` fetches a certificate; both are stored before the node starts. Keys in the
// store: "id/keyring", "id/chain", "id/root", "id/mesh_name", "id/tickets", "policy/uids",
// "incarnation"; the rest is the node's (node/node.h).
//
// Stop (SIGTERM, SIGINT, `tern down`). Jobs go on under their keepers.
//   finishing  no new requests and nothing new begins, but everything goes on: a handover here that
//              has begun is waited for, at most kStopPatience, since its job stands still. Then
//              what may still be withdrawn is, at most kWithdrawPatience. The end of a job that was
//              to be told with its files at home is told without, at most kTellEndsPatience.
//   leaving    the node says that it leaves; what runs off the loop and clients that are owed an
//              answer are waited for, at most kLeavePatience.
// What is waited for is named. A job that has to stay frozen, since only the others can decide its
// handover, is named in the last lines, with what to do. A second signal ends the daemon at once.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "bus/services.h"
#include "control/adopt_report.h"
#include "control/daemon_options.h"
#include "control/report.h"
#include "daemon/adopt_desk.h"
#include "daemon/control_server.h"
#include "daemon/copies.h"
#include "daemon/files_away.h"
#include "daemon/files_beside.h"
#include "daemon/files_home.h"
#include "daemon/files_look.h"
#include "daemon/handover_in.h"
#include "daemon/handover_out.h"
#include "daemon/job_inputs.h"
#include "daemon/links.h"
#include "daemon/output_limit.h"
#include "daemon/park_desk.h"
#include "daemon/paths.h"
#include "daemon/preflight_desk.h"
#include "daemon/sampler.h"
#include "daemon/share_in.h"
#include "daemon/share_out.h"
#include "identity/ticket.h"
#include "loop/handles.h"
#include "machine/store.h"
#include "node/node.h"

namespace ternd {

inline constexpr base::Duration kStopPatience = std::chrono::seconds(15);
inline constexpr base::Duration kWithdrawPatience = std::chrono::seconds(6);
inline constexpr base::Duration kTellEndsPatience = std::chrono::seconds(3);
inline constexpr base::Duration kLeavePatience = std::chrono::seconds(6);
inline constexpr std::size_t kEventsKept = 1024;  // for `tern events`; the oldest go

// Why that folder cannot be named with --dir; empty: it can.
[[nodiscard]] std::string dir_refusal(const std::string& dir);

class Host {
 public:
  Host(const control::DaemonOptions& options, base::Log& log);
  ~Host();
  // Opens the store, the sockets and, where there is an identity, the node.
  [[nodiscard]] base::Status start();
  // Until it was told to stop. The process's exit code.
  int run();

 private:
  struct PendingRun {               // what launching needs and nobody stores
    std::vector<std::string> argv;  // whole; its description may say less
    std::vector<std::string> env;
    unsigned umask = 022;
    control::JobInput input = control::JobInput::kNothing;
    std::shared_ptr<Client> client;
    std::optional<std::string> on;
  };
  using Trusted = std::optional<std::uint32_t>;  // uid of tern join --trust
  using Answer = std::function<void(const node::Reply&)>;

  // host.cc
  [[nodiscard]] base::Status prepare_machine();
  [[nodiscard]] base::Status keep_cgroup();
  [[nodiscard]] base::Status find_limits();
  [[nodiscard]] base::Status open_sockets();
  [[nodiscard]] base::Status start_node();
  void start_jobs();
  void sweep_job_folders();
  // host_stop.cc
  void on_stop_signal();
  void stop();
  void finish_handovers();
  [[nodiscard]] std::size_t ends_to_tell() const;
  void tell_unsettled();
  void leave();
  void continue_leaving();

  // host.cc
  void post(node::Event event);
  void drain();
  void arm();
  void fatal(const std::string& why);
  void store(std::vector<machine::StoreWrite> batch, std::function<void()> then);
  void write_next();
  [[nodiscard]] std::vector<base::Endpoint> own_addresses() const;
  [[nodiscard]] std::string node_name() const;
  void on_join(const base::Bytes& request, const base::crypto::DhPublic& proven,
               std::function<void(base::Bytes)> reply);

  // host_actions.cc
  void perform(const node::Action& action);
  void perform_handover(const balance::Action& action);
  void perform_job(const node::jobs::Action& action);
  void launch(const node::jobs::Launch& order);
  void happened(const node::Happened& event);
  void look_at_job(const node::CollectNeeds& asked);
  void look_at_machine(const node::CheckNeeds& asked);
  [[nodiscard]] std::string refusal(const node::JobSpec& spec) const;
  [[nodiscard]] std::string dir_of(const base::JobId& job) const;
  [[nodiscard]] bool home_is_here(const base::JobId& job) const;
  // `over`: it ended here; what moved on took its files with it (HandoverOut::kill).
  void tidy_files(const base::JobId& job, bool over);
  void sweep_files();
  void lie_beside(const base::JobId& job, const machine::LaidBeside& laid);
  void files_stay_away(const base::JobId& job, const base::Error& why);
  void forget_files_away(const base::JobId& job);
  void start_files_home();
  void look_at_files(const base::JobId& job, const base::NodeId& sink,
                     const base::Bytes& requirement, FilesLook::Then then);
  void collect(const balance::CollectRequirement& order);
  void job_said(const base::JobId& job, const std::string& what);
  void job_ended(const base::JobId& job, std::int32_t wait_status, node::StreamEnds ends);

  // host_people.cc, host_jobs.cc
  void serve(control::Request request, const std::shared_ptr<Client>& client);
  void answer_ping(const std::shared_ptr<Client>& client, std::optional<bool> created);
  void answer(const control::UpRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::InviteRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::JoinRequest& request, const std::shared_ptr<Client>& client);
  void answer_status(const std::shared_ptr<Client>& client);
  void answer_jobs(const std::shared_ptr<Client>& client);
  void answer(const control::RunRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::KillRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::ThrottleRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::MigrateRequest& request, const std::shared_ptr<Client>& client);
  void migrate_job(const control::MigrateRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::DrainRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::ParkRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::WakeRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::ResolveRequest& request, const std::shared_ptr<Client>& client);
  void answer(const control::EventsRequest& request, const std::shared_ptr<Client>& client);
  void answer_down(const std::shared_ptr<Client>& client);
  // host_share.cc
  void start_shares();
  // host_owner.cc
  void start_services();
  void add_owner_signs(node::OwnerSample& owner) const;
  // host_adopt.cc
  void start_adopting();
  void answer(const control::AdoptRequest& request, const std::shared_ptr<Client>& client);
  struct AdoptHow {
    bool to_move = false;  // at once: what it would meet then stands in the way
  };
  void adopt(const control::AdoptRequest& request, const std::shared_ptr<Client>& client,
             AdoptHow how, std::function<void(const control::AdoptReport&)> then);
  void begin_adopting(const control::AdoptRequest& request, const AdoptDesk::Looked& found,
                      control::AdoptReport report, const std::shared_ptr<Client>& client,
                      std::function<void(const control::AdoptReport&)> then);
  [[nodiscard]] static std::optional<std::uint32_t> process_meant(const std::string& reference);
  void migrate_number(const control::MigrateRequest& request, std::uint32_t pid,
                      const std::shared_ptr<Client>& client);
  void migrate_process(const control::MigrateRequest& request, std::uint32_t pid,
                       const std::shared_ptr<Client>& client);
  void answer(const control::ShareRequest& request, const std::shared_ptr<Client>& client);
  void offer(transfer::ShareOffer offer, const std::optional<std::string>& to,
             const std::shared_ptr<Client>& client);
  void answer_inbox(const std::shared_ptr<Client>& client);
  void answer(const control::InboxAnswerRequest& request, const std::shared_ptr<Client>& client);
  void answer_policy(const std::shared_ptr<Client>& client);
  [[nodiscard]] std::string why_no_guests() const;  // empty: it takes them
  void answer_config(const std::shared_ptr<Client>& client);
  void answer_metrics(const std::shared_ptr<Client>& client);
  void add_throttles(const std::function<void(std::string, std::uint64_t)>& add) const;
  struct Follow;
  void follow(const std::string& job, std::array<std::uint64_t, 2> from, bool until_exit,
              bool wait_for_more, const std::shared_ptr<Client>& client);
  void read_spool(const node::jobs::ReadSpool& order);
  void append_home(const node::jobs::AppendHome& order);
  void output_stalls(const node::jobs::OutputStalls& stall);
  void log_grew(const base::JobId& job, int stream, std::uint64_t end);
  void follow_step(const std::shared_ptr<Follow>& follow);
  void on_log(const std::shared_ptr<Follow>& follow, const node::Reply& reply);
  // host_inputs.cc
  struct Desk;
  void answer(const control::InputRequest& request, const std::shared_ptr<Client>& client);
  void on_input_line(std::uint64_t desk, const std::string& line);
  void desk_said(const node::inputs::Said& said);
  void seek(std::uint64_t desk);
  void try_join(std::shared_ptr<identity::Ticket> ticket, std::size_t address, Trusted trust,
                const std::shared_ptr<Client>& client);
  void joined(const base::Bytes& reply, const identity::Ticket& ticket, Trusted trust,
              const std::shared_ptr<Client>& client);
  void ask_jobs(std::function<void(const node::JobsAnswer&)> then);
  void find_job(const std::string& reference, const std::shared_ptr<Client>& client,
                std::function<void(const node::JobInfo&)> then);
  [[nodiscard]] base::Result<base::NodeId> find_node(const std::string& reference) const;
  [[nodiscard]] std::uint64_t ask(Answer answer);
  [[nodiscard]] std::uint64_t ask_and_pass_on(const std::shared_ptr<Client>& client);
  void enqueue(const control::RunRequest& request, node::JobSpec spec,
               const node::Node::Placement& placement, const std::shared_ptr<Client>& client);
  struct MoveHow {
    bool trial = false;
    bool tcp_close = false;  // connections may be closed
  };
  void move(const node::JobInfo& job, std::optional<base::NodeId> target, MoveHow how,
            const std::shared_ptr<Client>& client);
  [[nodiscard]] bool needs_member(const std::shared_ptr<Client>& client) const;
  [[nodiscard]] bool needs_jobs(const std::shared_ptr<Client>& client) const;

  control::DaemonOptions options_;
  base::Log& log_;
  loop::Loop loop_;
  Paths paths_;
  machine::Helpers helpers_;
  std::string criu_version_;
  std::string no_criu_;  // why there is none
  std::string no_jobs_;  // why this machine runs no jobs; empty where it does

  std::shared_ptr<machine::Store> store_;
  std::shared_ptr<std::mutex> appending_ = std::make_shared<std::mutex>();
  machine::StoreMap records_;  // as the store will be once all queued batches are written
  struct Batch {
    std::vector<machine::StoreWrite> writes;
    std::function<void()> then;
  };
  std::deque<Batch> batches_;
  bool writing_ = false;
  std::unique_ptr<loop::Timer> write_retry_;

  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<loop::UdpSocket> udp_;
  std::unique_ptr<loop::Listener> tcp_;
  std::vector<std::unique_ptr<loop::Signal>> signals_;
  std::unique_ptr<loop::Timer> deadline_;
  std::unique_ptr<loop::Timer> minute_;
  std::unique_ptr<loop::Timer> stop_timer_;

  std::optional<identity::Keyring> keyring_;
  base::Bytes chain_;
  base::crypto::SignPublic root_{};
  std::string mesh_name_;
  identity::TicketBook tickets_;
  std::vector<std::uint32_t> trusted_uids_;
  std::unique_ptr<Joining> joining_;

  std::unique_ptr<node::Node> node_;
  std::uint64_t node_life_ = 0;  // grows when a join replaces the node: ids of its batches repeat
  std::unique_ptr<Links> links_;
  std::unique_ptr<Copies> copies_;
  std::unique_ptr<OutputLimit> output_limit_;  // with copies_
  std::uint64_t output_stalls_ = 0;
  std::unique_ptr<JobInputs> inputs_;
  std::unique_ptr<HandoverOut> out_;
  std::unique_ptr<HandoverIn> in_;
  std::unique_ptr<FilesHome> files_home_;
  std::unique_ptr<FilesLook> files_look_;
  std::unique_ptr<FilesBeside> files_beside_;
  std::unique_ptr<FilesAway> files_away_;
  std::set<base::JobId> ended_here_;  // of other homes, until they are forgotten
  std::unique_ptr<PreflightDesk> preflight_;
  std::unique_ptr<ParkDesk> park_;
  std::unique_ptr<AdoptDesk> adopt_;
  std::unique_ptr<Sampler> sampler_;
  std::unique_ptr<bus::Services> services_;
  std::unique_ptr<ShareOut> share_out_;
  std::unique_ptr<ShareIn> share_in_;

  std::deque<node::Event> events_;
  bool draining_ = false;
  enum class Stage { kRunning, kFinishing, kLeaving };
  Stage stage_ = Stage::kRunning;
  bool withdrawing_ = false;
  int exit_code_ = 0;
  base::Time stop_by_{};
  std::string said_unsettled_;      // what is waited for, as it was told last
  std::vector<std::string> stays_;  // sentences about jobs that stay frozen
  std::shared_ptr<Client> down_;    // of `tern down`

  std::uint64_t next_request_ = 1;
  std::map<std::uint64_t, Answer> asked_;
  std::map<base::JobId, PendingRun> launching_;
  std::vector<std::shared_ptr<Follow>> follows_;
  std::map<std::uint64_t, std::shared_ptr<Desk>> desks_;
  std::deque<std::string> history_;  // JSON objects of `tern events`
  std::vector<std::weak_ptr<Client>> watchers_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
