// A seeded world: machines, a network, disks, and on each machine the very node::Node that the
// daemon hosts. Everything that happens is an event in one queue, ordered by (time, sequence);
// nothing of the machine that simulates leaks in (no clock, no addresses, no unordered iteration),
// so a scenario gives the same trace hash wherever it runs.
//
//   world.cc         the loop, lives of daemons, what a step asks for
//   world_net.cc     datagrams, connections, what a link does to them
//   world_jobs.cc    disks, jobs, output, people
//   world_moves.cc   CRIU's stand-in: source and sink of a handover
//   world_faults.cc  scheduled faults
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "identity/keys.h"
#include "node/node.h"
#include "sim/draw.h"
#include "sim/event.h"
#include "sim/event_queue.h"
#include "sim/faults.h"
#include "sim/liar.h"
#include "sim/machine.h"
#include "sim/promises.h"
#include "sim/scenario.h"
#include "sim/store.h"
#include "sim/trace.h"

namespace sim {

// What the owner of each machine does to guests there, by its index.
[[nodiscard]] node::OwnerPolicy owner_policy(std::uint32_t index);

inline constexpr base::Time kWorldBegins{std::chrono::hours(1)};
inline constexpr base::WallTime kWallBegins{1'800'000'000};
inline constexpr base::Duration kSampleEvery = std::chrono::seconds(5);  // as the kernel does
inline constexpr std::size_t kWatchedHostsMax = 64;  // in larger worlds it would cost memory
inline constexpr std::uint32_t kUser = 1000;         // whose all jobs are
inline constexpr std::size_t kSlotsInPiece = 256;    // of events

enum class Incoming : std::uint8_t { kReceiving, kSealed, kHeld, kReleased, kGone };

// One attempt as SINK's machine has it. Held copies outlive the daemon, what was being received
// does not.
struct Arrival {
  Incoming state = Incoming::kReceiving;
  std::uint64_t life = 0;
  node::MoveMetadata metadata;
  base::Time ordered{};  // when it was first told to let the copy go
  base::Time held_at{};  // since when there is a restored copy; of one that is gone too
};

struct Spool {  // of stdout; at home this is the log
  std::uint64_t base = 0;
  std::uint64_t end = 0;
};

struct WorldCounts {
  std::uint64_t events = 0;
  std::uint64_t steps = 0;
  std::uint64_t ticks = 0;
  std::uint64_t early_ticks = 0;  // of these: before the node's deadline
  std::uint64_t datagrams = 0;
  std::uint64_t datagram_bytes = 0;
  std::uint64_t messages = 0;
  std::uint64_t message_bytes = 0;
  std::uint64_t commits = 0;
  std::uint64_t ping_pongs = 0;  // a job came back to where it was less than 2 minutes before
  std::uint64_t jobs_ended = 0;
  std::uint64_t jobs_lost = 0;
  std::uint64_t starts = 0;
  std::uint64_t looks = 0;     // people asked for jobs or a log,
  std::uint64_t downs = 0;     // stopped a daemon,
  std::uint64_t resolves = 0;  // or resolved a job
  std::uint64_t throttles = 0;
  std::uint64_t drains = 0;
};

class World {
 public:
  // `log` is given what the nodes say, each line opened by its host; null: nobody listens.
  World(const Scenario& scenario, QueueKind queue, base::Log* log = nullptr);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Until that time since the beginning, or the first broken promise if `stop_at_breach`.
  void run_until(base::Duration end, bool stop_at_breach = true);
  // No new faults; what lasts ends, for all but the outsiders: they are off from now on. Legal
  // once.
  void end_faults(const std::vector<std::uint32_t>& outsiders = {});

  // Told before and after each step of a node: what it costs apart from the world.
  void watch_steps(void (*watch)(bool inside)) { watch_steps_ = watch; }

  [[nodiscard]] base::Duration elapsed() const { return now_ - kWorldBegins; }
  [[nodiscard]] base::Time now() const { return now_; }
  [[nodiscard]] const Scenario& scenario() const { return scenario_; }
  [[nodiscard]] const WorldCounts& counts() const { return counts_; }
  [[nodiscard]] const FaultCounts& faults() const { return faults_; }
  [[nodiscard]] Trace trace() const { return trace_; }
  [[nodiscard]] const Promises& promises() const { return promises_; }
  [[nodiscard]] Promises& promises() { return promises_; }
  [[nodiscard]] std::uint32_t hosts() const { return static_cast<std::uint32_t>(hosts_.size()); }
  [[nodiscard]] const node::Node* node(std::uint32_t host) const {
    return hosts_[host]->node.get();
  }
  [[nodiscard]] const base::NodeId& id(std::uint32_t host) const { return hosts_[host]->id; }
  [[nodiscard]] const base::StoreId& store(std::uint32_t host) const { return hosts_[host]->store; }
  [[nodiscard]] const Machine& machine(std::uint32_t host) const { return hosts_[host]->machine; }
  [[nodiscard]] bool lies(std::uint32_t host) const { return hosts_[host]->lies != 0; }
  [[nodiscard]] bool is_clone(std::uint32_t host) const { return host >= scenario_.nodes; }
  [[nodiscard]] std::uint64_t life(std::uint32_t host) const { return hosts_[host]->life; }
  // What it has stored of itself, its jobs and its agreements.
  [[nodiscard]] const Records& disk(std::uint32_t host) const {
    return hosts_[host]->disk.synced.own();
  }
  // Load that came and went with jobs in this life, as far as a load average has not seen it yet.
  struct Moved {
    std::int64_t sum_micros = 0;
    std::int64_t all_micros = 0;  // in and out, added
  };
  [[nodiscard]] Moved moved(std::uint32_t host) const;
  [[nodiscard]] base::Time born(std::uint32_t host) const { return hosts_[host]->born; }
  [[nodiscard]] bool is_off(std::uint32_t host) const { return hosts_[host]->stopped; }
  // When a copy last came, went, froze or thawed, anywhere.
  [[nodiscard]] base::Time last_change() const { return last_change_; }
  // When `host` last took a datagram of `from`; only in small worlds.
  [[nodiscard]] base::Time heard(std::uint32_t host, std::uint32_t from) const {
    const std::vector<base::Time>& heard = hosts_[host]->heard;
    return from < heard.size() ? heard[from] : base::Time{};
  }
  [[nodiscard]] base::Endpoint endpoint_of(std::uint32_t host) const;
  // Whether `host` was given the present address of `other` when its life began, or has reached it
  // there, in whatever life. Only in small worlds.
  [[nodiscard]] bool knows_where(std::uint32_t host, std::uint32_t other) const;
  [[nodiscard]] base::Time quiet_since() const { return quiet_since_; }  // kNever: not yet
  [[nodiscard]] bool asleep(std::uint32_t host) const { return hosts_[host]->frozen_until > now_; }
  [[nodiscard]] base::Time woke(std::uint32_t host) const { return hosts_[host]->frozen_until; }
  // Somebody came to this machine, or it ran on battery, once.
  [[nodiscard]] bool has_owner(std::uint32_t host) const {
    return hosts_[host]->owner_plan != kNobody;
  }
  [[nodiscard]] const std::vector<JobTruth>& jobs() const { return jobs_; }
  [[nodiscard]] std::uint32_t job_index(const base::JobId& id) const;  // kNobody
  [[nodiscard]] std::uint32_t host_of(const base::NodeId& id) const;   // kNobody
  // That can run, frozen and held ones too; not an original of an older epoch than ran since.
  [[nodiscard]] std::size_t copies_of(std::uint32_t job) const;
  [[nodiscard]] std::uint32_t runs_at(std::uint32_t job) const;    // kNobody
  [[nodiscard]] std::uint32_t parked_at(std::uint32_t job) const;  // kNobody
  [[nodiscard]] const std::map<balance::HandoverId, Arrival>& incoming(std::uint32_t host) const {
    return hosts_[host]->incoming;
  }
  [[nodiscard]] const std::map<std::uint32_t, Spool>& spools(std::uint32_t host) const {
    return hosts_[host]->spools;
  }
  // The last things that happened at a host, oldest first, as text.
  [[nodiscard]] std::vector<std::string> last_events(std::uint32_t host) const;

 private:
  class HostLog;
  // Sets the process's cryptography while the world lives: one world at a time.
  struct Crypto {
    explicit Crypto(bool real);
    ~Crypto();
    Crypto(const Crypto&) = delete;
    Crypto& operator=(const Crypto&) = delete;
  };
  struct Pending {  // a batch that is not on the disk yet
    node::Persist batch;
    // Of one change that is shared: its record, in place of the change. There are hundreds while a
    // mesh is met.
    std::optional<std::uint32_t> known;
  };
  struct Disk {
    Store synced;
    std::deque<Pending> pending;  // oldest first
    base::Time free_at{};
    base::Time full_until{};
    Store snapshot;
    bool has_snapshot = false;
  };
  struct Happening {
    base::Duration at{};
    std::string what;
  };
  struct HostDice {
    Dice latency, message, disk, operation, entropy;
  };
  struct Host {
    Host(const Draws& draws, std::uint32_t index, const NodeShape& shape);
    base::NodeId id;
    base::StoreId store;
    std::uint32_t identity = 0;  // whose keys it has: its own index, but for a clone
    identity::NodeKeys keys;
    base::Bytes chain;
    std::unique_ptr<HostLog> log;
    // What each event reads lies together (fetch_ahead()).
    std::unique_ptr<node::Node> node;
    std::uint64_t life = 0;     // counts starts; also of stops, so that nothing old fits
    base::Time frozen_until{};  // paused, or the lid is closed
    base::Time slow_until{};    // events cost time
    base::Time busy_until{};
    base::Time tick_at = base::kNever;
    base::Time deadline = base::kNever;  // the node's own, by its clock
    std::uint16_t port = 7333;
    Machine machine;
    Disk disk;
    std::map<balance::HandoverId, Arrival> incoming;
    std::map<base::JobId, balance::HandoverId> storing;
    // By job: a daemon does one thing to a copy after the other, as it was told to.
    std::map<std::uint32_t, base::Time> copy_free_at;
    std::map<std::uint32_t, Spool> spools;
    std::uint32_t early = 0;
    std::uint32_t spins = 0;
    std::vector<Event> waiting;  // for its end, in their order
    bool is_hidden = false;
    std::int64_t drift_ppm = 0;
    std::int64_t wall_offset = 0;  // seconds
    std::uint64_t lies = 0;        // a bit for each Fault of lying
    std::optional<Liar> liar;
    base::Time second_began{};
    std::uint32_t sent_in_second = 0;              // datagrams, since then
    std::set<std::uint64_t> taken;                 // doubled datagrams, by Datagram::twin
    std::vector<base::Time> heard;                 // by host: when a datagram of it was last taken
    std::map<std::uint32_t, std::uint16_t> seeds;  // given in this life: hosts and their ports
    std::map<std::uint32_t, std::uint16_t> met;    // reached, or seen alive there
    HostDice dice;
    std::vector<Dice> fault_dice;    // by World::rate_ranks_; empty until one is thrown
    std::vector<Happening> history;  // a ring; `happened` is the next one's place
    std::uint32_t happened = 0;
    std::uint32_t stops = 0;
    std::uint64_t stopping = 0;  // the life that was told to end
    base::Duration down_for{};   // after that
    base::Time down_until{};
    bool stopped = false;  // stays down: it said Fatal, or is an outsider
    bool output_due = false;
    base::Time born{};  // this life
    node::OwnerSample owner = {};
    std::uint32_t owner_plan = kNobody;  // whose doing that is
    std::uint32_t owner_samples = 0;     // in a row that asked for a pause
    Moved moved;
    base::Time moved_at{};
    std::map<std::uint32_t, int> exits;  // wait statuses of copies that ended by themselves here
  };
  struct Cut {  // an active partition
    std::uint64_t salt = 0;
    std::uint32_t part_ppm = 0;
    bool one_way = false;
    std::uint32_t only = kNobody;  // kIsolate
    std::uint32_t plan = 0;
  };
  struct Link {  // a TCP connection between two hosts, in one direction of messages
    std::uint64_t generation = 0;
    base::Time open_at{};
    base::Time last{};
    base::Time used{};
    base::Time stalled_until{};
    std::uint32_t stops[2] = {};  // of its ends when it was last looked at
  };

  // ---- world.cc
  void dispatch(Event& event);
  void fetch_ahead(const Due& due) const;
  [[nodiscard]] Event& slot(std::uint32_t index) const {
    return (*pieces_[index / kSlotsInPiece])[index % kSlotsInPiece];
  }
  void hash_event(const Event& event);
  void put(base::Time at, std::uint32_t host, std::uint64_t life, Payload payload);
  void later(std::uint32_t host, base::Duration in, Payload payload);  // this life only
  void start(std::uint32_t host);
  void stop(std::uint32_t host, bool keep_writes);
  void give(std::uint32_t host, const node::Event& event);
  void perform(std::uint32_t host, node::Action& action);
  void tick(std::uint32_t host);
  void arm(std::uint32_t host, base::Time next);
  [[nodiscard]] base::Time local(const Host& host) const;
  [[nodiscard]] base::WallTime wall(const Host& host) const;
  void note(std::uint32_t host, std::string what);
  [[nodiscard]] bool strikes(std::uint32_t host, Fault fault);  // a rate's draw, counted
  void count(Fault fault) { ++faults_[static_cast<std::size_t>(fault)]; }
  [[nodiscard]] identity::NodeKeys stranger_keys() const;
  void make_host(std::uint32_t index, std::uint32_t identity);

  // ---- world_net.cc
  void send_datagram(std::uint32_t host, node::SendDatagram& action);
  void send_message(std::uint32_t host, node::SendMessage& action);
  void contact(std::uint32_t host, const base::Endpoint& to);
  [[nodiscard]] std::uint32_t host_at(const base::Endpoint& endpoint) const;  // kNobody
  [[nodiscard]] bool cut(std::uint32_t from, std::uint32_t to);               // counted
  [[nodiscard]] base::Duration way(std::uint32_t from, std::uint32_t to, std::size_t bytes,
                                   Dice& dice);
  void deliver(std::uint32_t host, Datagram& datagram);
  void meets(std::uint32_t host, std::uint32_t other);
  void lie_in(std::uint32_t from, std::uint32_t to, Datagram& datagram);
  Link& refreshed(std::uint32_t from, std::uint32_t to, Link& link) const;
  [[nodiscard]] std::optional<base::Bytes> lie(std::uint32_t host, std::uint32_t to,
                                               const base::Bytes& bytes);

  // ---- world_jobs.cc
  void persist(std::uint32_t host, node::Persist batch);
  void synced(std::uint32_t host);
  void apply(std::uint32_t host, const Pending& pending);
  void perform_job(std::uint32_t host, const node::jobs::Action& action);
  void job_done(std::uint32_t host, const node::jobs::Action& action);
  void action_done(std::uint32_t host, const node::Action& action);
  // world_parked.cc
  void rests(std::uint32_t host, const node::jobs::Park& order);
  void wakes(std::uint32_t host, const node::jobs::Wake& order);
  void let_go(std::uint32_t host, std::uint32_t job, const char* how);
  void removes(std::uint32_t host, const node::jobs::Remove& order);
  [[nodiscard]] bool attends_parked(std::uint32_t host, std::uint32_t job);
  void queue_up(std::uint32_t host, std::uint32_t job, node::JobSpec spec);
  void drop_orphans(std::uint32_t host);
  void read_spool(std::uint32_t host, const node::jobs::ReadSpool& order);
  void append_home(std::uint32_t host, const node::jobs::AppendHome& order);
  void tell_growth(std::uint32_t host, std::uint32_t job);
  void grow_spools(std::uint32_t host);
  void limit(std::uint32_t host, const node::LimitCpu& order);
  // ---- world_owner.cc
  void owner_comes(std::uint32_t host, std::uint32_t plan);
  void owner_goes(std::uint32_t host, std::uint32_t plan);
  void pause(std::uint32_t host, const node::PauseJob& order);
  void look_at_guests(std::uint32_t host);
  // ---- world_jobs.cc
  void person_rests(const PersonPlan& plan);
  void sample(std::uint32_t host);
  void schedule_end(std::uint32_t host);
  void jobs_end(std::uint32_t host);
  void end_copy(std::uint32_t host, std::uint32_t job, int wait_status);
  void add_copy(std::uint32_t host, std::uint32_t job, base::Epoch epoch, std::int64_t load,
                const char* how);
  void freeze(std::uint32_t host, std::uint32_t job, const balance::HandoverId& id);
  void comes_to(std::uint32_t job, std::uint32_t host);
  void lose_if_last(std::uint32_t job);
  void lose(std::uint32_t job);
  void has_moved(std::uint32_t host, std::int64_t load_micros);

  // ---- world_people.cc
  void job_arrives(std::uint32_t job);
  void person_speaks(std::uint32_t person);
  void orders(const PersonPlan& plan);
  void throttles(const PersonPlan& plan);
  void drains(std::uint32_t person);
  void lifts_drain(std::uint32_t person);
  void asks_jobs(std::uint32_t host);
  void asks_log(const PersonPlan& plan);
  void stops(const PersonPlan& plan);
  void goes_on_stopping(std::uint32_t host, StopDue due);
  [[nodiscard]] bool is_elsewhere(std::uint32_t job, std::uint32_t host) const;
  void resolves(std::uint32_t job);

  // ---- world_moves.cc
  void perform_move(std::uint32_t host, const balance::Action& action);
  void move_done(std::uint32_t host, const MoveDone& done);
  void source_done(std::uint32_t host, const balance::FreezeAndStream& order, std::uint32_t stage);
  void sink_restores(std::uint32_t host, const balance::Restore& order);
  void seal_arrives(std::uint32_t host, SealArrives arrives);
  void release(std::uint32_t host, const balance::ReleaseCopy& order);
  void discard(std::uint32_t host, const balance::HandoverId& id);
  void thaw(std::uint32_t host, const balance::HandoverId& id);
  void kill_original(std::uint32_t host, const balance::KillOriginal& order);
  void report(std::uint32_t host, const balance::Event& event);
  [[nodiscard]] bool was_released(const balance::HandoverId& id) const;
  [[nodiscard]] bool runs_or_moves(std::uint32_t job, base::Epoch epoch) const;
  void break_sink(std::uint32_t source, const base::NodeId& sink, const balance::HandoverId& id);

  // ---- world_faults.cc
  void fault_begins(std::uint32_t index);
  void fault_ends(std::uint32_t index);
  void wake(std::uint32_t host);
  void power_loss(std::uint32_t host);
  void clone(std::uint32_t host);

  Scenario scenario_;
  Draws draws_;
  base::Log* log_;
  void (*watch_steps_)(bool inside) = nullptr;
  Crypto crypto_;
  base::crypto::SignKey root_;
  base::Time now_ = kWorldBegins;
  std::unique_ptr<EventQueue> queue_;
  // In pieces that stay where they are: what grows by copying is there twice for a moment.
  std::vector<std::unique_ptr<std::array<Event, kSlotsInPiece>>> pieces_;
  std::vector<std::uint32_t> free_slots_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::unordered_map<base::NodeId, std::uint32_t> by_id_;  // looked up only
  std::array<std::uint8_t, kFaultKinds> rate_ranks_{};     // among the kinds with a rate
  std::size_t rates_ = 0;
  Shelf shelf_;
  std::vector<JobTruth> jobs_;
  std::unordered_map<base::JobId, std::uint32_t> job_by_id_;  // looked up only
  std::map<balance::HandoverId, node::MoveMetadata> streams_;
  std::unordered_map<std::uint64_t, Link> links_;  // looked up only
  std::vector<Cut> cuts_;
  std::map<std::uint32_t, base::Time> clogged_;        // host to when its packets come
  std::map<std::uint32_t, std::uint32_t> slow_links_;  // host to plan
  std::map<std::uint32_t, std::uint32_t> holes_;
  std::map<std::uint32_t, std::uint32_t> udp_blocked_;
  bool faults_over_ = false;
  std::uint64_t next_request_ = 1;
  std::uint64_t next_twin_ = 1;
  base::Time quiet_since_ = base::kNever;
  base::Time last_change_{};
  Trace trace_;
  WorldCounts counts_;
  FaultCounts faults_{};
  std::shared_ptr<gossip::Pool> pool_;
  Promises promises_;
};

}  // namespace sim
