// What a host makes ready: the machine for jobs, the sockets, the node and what surrounds it.
#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "criu/leftovers.h"
#include "criu/program.h"
#include "daemon/entropy.h"
#include "daemon/host.h"
#include "daemon/job_folder.h"
#include "machine/cgroup.h"
#include "machine/init_root.h"

namespace ternd {
namespace {

using base::Code;
using base::fail;
using base::Status;

constexpr std::size_t kAddressesMax = 4;

std::map<base::JobId, node::StreamEnds> log_ends(const machine::StoreMap& records,
                                                 const Paths& paths) {
  std::map<base::JobId, node::StreamEnds> ends;
  for (auto it = records.lower_bound("job/"); it != records.end(); ++it) {
    if (it->first.rfind("job/", 0) != 0) break;
    auto id = base::JobId::from_hex_text(it->first.substr(4));
    if (!id) continue;
    // What a killed daemon wrote may not be on the disk yet, and home answers for it from now on.
    const std::string dir = paths.job(*id);
    node::StreamEnds& at = ends[*id] = job_folder::ends(dir);
    for (std::size_t s = 0; s < at.size(); ++s) {
      at[s] = job_folder::synced_end(dir, static_cast<int>(s)).value_or(at[s]);
    }
  }
  return ends;
}

machine::LoadSource machine_source(control::LoadSource source) {
  switch (source) {
    case control::LoadSource::kSystem:
      return machine::LoadSource::kSystem;
    case control::LoadSource::kCgroup:
      return machine::LoadSource::kCgroup;
    case control::LoadSource::kAuto:
      break;
  }
  return machine::LoadSource::kAuto;
}

}  // namespace

// What jobs need of this machine. An error is the sentence that people see when they want to run
// one; the rest of the daemon works without.
Status Host::prepare_machine() {
  auto own = machine::own_cgroup();
  if (!own) return own.error();
  std::string name = options_.cgroup.value_or("");
  if (name.empty()) {
    const auto hash = base::crypto::hash128({base::as_bytes(paths_.state)});
    name = base::to_hex(base::ByteView(hash).first(4));
  }
  paths_.cgroup = *own + (own->back() == '/' ? "" : "/") + "tern-" + name;
  auto root = machine::Cgroup::open_or_create(paths_.cgroup);
  if (root) {
    if (Status same = keep_cgroup(); !same) return same;
    root = machine::Cgroup::open_or_create(paths_.cgroup);
  }
  if (!root) {
    const std::string why = root.error().detail;
    paths_.cgroup.clear();
    return fail(Code::kUnsupported,
                "this daemon may not make control groups, so it runs no jobs (" + why +
                    "); start it as root");
  }
  // Whatever a killed daemon left of CRIU goes first; copies are judged by their handovers.
  std::set<std::string> keep;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(paths_.cgroup, error)) {
    const std::string group = entry.path().filename().string();
    if (group.rfind("job-", 0) != 0 || group.size() < 36) continue;
    if (records_.count("job/" + group.substr(4, 32)) != 0) keep.insert(group);
  }
  auto leftovers = criu::kill_leftovers(paths_.cgroup, keep);
  if (!leftovers) return leftovers.error();
  for (const std::string& group : leftovers->killed)
    log_.warn("leftover_killed", {{"cgroup", group}});
  for (const std::string& group : leftovers->remaining) {
    log_.error("leftover_remains", {{"cgroup", group}});
  }
  if (Status found = find_limits(); !found) return found;
  const char* home = ::getenv("HOME");
  const char* data = ::getenv("XDG_DATA_HOME");
  auto dir = machine::default_helpers_dir(::geteuid() == 0, home != nullptr ? home : "",
                                          data != nullptr ? data : "");
  if (!dir) return dir.error();
  auto helpers = machine::install_helpers(*dir);
  if (!helpers) return helpers.error();
  helpers_ = std::move(*helpers);
  paths_.helpers = *dir;
  paths_.guard = helpers_.guard_path;
  paths_.gentle = helpers_.gentle_path;
  if (paths_.root) machine::remove_unused_init_roots(paths_.helpers);
  criu::Search search = criu::search_from_environment();
  search.explicit_path = options_.criu.value_or("");
  auto program = criu::find_program(search);
  // A CRIU that does not work on this kernel would be found out with a job already frozen. Only
  // root may ask it.
  if (program && ::geteuid() == 0) {
    if (const auto works = criu::check_program(*program); !works) program = works.error();
  }
  if (program) {
    paths_.criu = program->path;
    criu_version_ = program->version.text();
  } else {
    // Jobs run; only moving them needs CRIU, and preflight says so.
    no_criu_ = program.error().detail;
    log_.warn("no_criu", {{"why", program.error().detail}});
  }
  return {};
}

// Where an earlier life made groups of version 1 they are found again, as in keep_cgroup(). Those
// of jobs that ended meanwhile go; the limits of the others the node says again.
Status Host::find_limits() {
  constexpr std::size_t kPrefix = 5;  // of "tern-<instance>"
  machine::LimitTools& limits = paths_.limits;
  limits = machine::find_limit_tools(paths_.cgroup, paths_.owner().substr(kPrefix), "",
                                     machine::may_renice());
  log_.info("throttling",
            {{"means", machine::limit_means_name(limits.means)}, {"why", limits.why}});
  if (limits.means != machine::LimitMeans::kQuota) return {};
  const std::string key = "host/quotas";
  const std::string before(base::as_text(records_[key]));
  if (before != limits.quota_root && machine::Cgroup::open(before)) {
    limits.quota_root = before;
    limits.quota_home = before.substr(0, before.rfind('/'));
  }
  machine::remove_unused_limits(limits, "");
  if (before == limits.quota_root) return {};
  records_[key] = base::to_bytes(base::as_bytes(limits.quota_root));
  return store_->append({{key, records_[key]}});
}

// A daemon that is started in another way (a shell, a service manager) stands in another group, and
// the jobs of its earlier life do not: they must not be taken for gone.
Status Host::keep_cgroup() {
  const std::string key = "host/cgroup";
  const auto stored = records_.find(key);
  if (stored != records_.end()) {
    const std::string before(base::as_text(stored->second));
    if (before == paths_.cgroup) return {};
    auto group = machine::Cgroup::open(before);
    auto events = group ? group->events() : base::Result<machine::CgroupEvents>(group.error());
    if (!events && events.error().code != Code::kNotFound) return events.error();
    if (events && events->populated) {
      log_.info("cgroup_kept", {{"cgroup", before}});
      paths_.cgroup = before;
      return {};
    }
  }
  records_[key] = base::to_bytes(base::as_bytes(paths_.cgroup));
  return store_->append({{key, records_[key]}});
}

Status Host::open_sockets() {
  base::Endpoint at = options_.listen;
  // Port 0: the kernel picks one for TCP, and UDP takes the same, unless somebody has it.
  for (int attempt = 0; attempt < 8; ++attempt) {
    auto tcp = loop::Listener::tcp(loop_, at, [this](std::unique_ptr<loop::Stream> stream) {
      if (links_) links_->accept(std::move(stream));
    });
    if (!tcp) return tcp.error();
    base::Endpoint same = at;
    same.port = (*tcp)->local().port;
    auto udp = loop::UdpSocket::bind(loop_, same,
                                     [this](const base::Endpoint& from, base::ByteView bytes) {
                                       if (node_ && stage_ != Stage::kLeaving) {
                                         post(node::DatagramIn{from, bytes});
                                       }
                                     });
    if (udp) {
      tcp_ = std::move(*tcp);
      udp_ = std::move(*udp);
      return {};
    }
    if (at.port != 0) return udp.error();
  }
  return fail(Code::kExists, "no port is free for both TCP and UDP");
}

// On the loop: asks the kernel's tables, neither disk nor network (2 to 4 ms with 1000 addresses).
std::vector<base::Endpoint> Host::own_addresses() const {
  const base::Endpoint local = udp_->local();
  const bool any =
      local.address == base::Endpoint{}.address || (local.is_v4() && local.address[12] == 0);
  if (!any) return {local};
  std::vector<base::Endpoint> found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return found;
  for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr) continue;
    base::Endpoint endpoint;
    if (item->ifa_addr->sa_family == AF_INET) {
      std::array<std::uint8_t, 4> v4{};
      std::memcpy(v4.data(), &reinterpret_cast<const sockaddr_in*>(item->ifa_addr)->sin_addr, 4);
      if (v4[0] == 127) continue;
      endpoint = base::Endpoint::v4(v4, local.port);
    } else if (item->ifa_addr->sa_family == AF_INET6 && !local.is_v4()) {
      const auto& v6 = reinterpret_cast<const sockaddr_in6*>(item->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6)) continue;
      std::memcpy(endpoint.address.data(), &v6, 16);
      endpoint.port = local.port;
    } else {
      continue;
    }
    found.push_back(endpoint);
  }
  ::freeifaddrs(list);
  // IPv4 first: what a ticket carries should work on most networks.
  std::stable_partition(found.begin(), found.end(),
                        [](const base::Endpoint& e) { return e.is_v4(); });
  if (found.size() > kAddressesMax) found.resize(kAddressesMax);
  return found;
}

std::string Host::node_name() const {
  std::string name = options_.name.value_or("");
  if (name.empty()) {
    char host[256] = {};
    if (::gethostname(host, sizeof(host) - 1) == 0) name = host;
  }
  std::string clean;
  for (const char c : name) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool fine = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ||
                      lower == '-' || lower == '.';
    clean.push_back(fine ? lower : '-');
  }
  while (!clean.empty() && (clean.front() == '-' || clean.front() == '.')) clean.erase(0, 1);
  clean = clean.substr(0, 63);
  while (!clean.empty() && (clean.back() == '-' || clean.back() == '.')) clean.pop_back();
  return clean.empty() ? "node" : clean;
}

// ---- the node

Status Host::start_node() {
  auto keyring = identity::decode_keyring(records_["id/keyring"]);
  if (!keyring) return keyring.error();
  const base::Bytes& root = records_["id/root"];
  if (root.size() != root_.size()) return fail(Code::kInvalid, "the stored mesh key is damaged");
  std::copy(root.begin(), root.end(), root_.begin());
  chain_ = records_["id/chain"];
  mesh_name_ = std::string(base::as_text(records_["id/mesh_name"]));
  if (records_.count("id/tickets") != 0) {
    auto tickets = identity::TicketBook::decode(records_["id/tickets"]);
    if (tickets) tickets_ = std::move(*tickets);
  }
  const base::Bytes& uids = records_["policy/uids"];
  for (std::size_t i = 0; i + 4 <= uids.size(); i += 4) {
    trusted_uids_.push_back(base::get_le32(base::ByteView(uids).subspan(i)));
  }
  keyring_ = std::move(*keyring);
  const base::WallTime wall = loop::Loop::wall_now();
  auto certificate = identity::verify(chain_, root_, wall);
  if (!certificate) {
    return fail(certificate.error().code,
                "this node's certificate does not hold: " + certificate.error().detail +
                    "; join again with a new ticket");
  }
  const base::Bytes& old = records_["incarnation"];
  base::Incarnation incarnation{(old.size() == 8 ? base::get_le64(old) : 0) + 1};
  base::Bytes counted(8);
  base::put_le64(counted, incarnation.value);
  // Before anybody hears of it: a start is counted once.
  {
    const std::lock_guard alone(*appending_);  // a batch may be under way off the loop
    if (Status stored = store_->append({{"incarnation", counted}}); !stored) return stored;
  }
  records_["incarnation"] = counted;

  Links::Identity who;
  who.keys = keyring_->node.clone();
  who.mesh = base::crypto::mesh_id_of(root_);
  who.root = root_;
  who.chain = chain_;
  who.port = udp_->local().port;
  who.from = udp_->local();
  Links::Callbacks callbacks;
  callbacks.message = [this](base::NodeId from, const base::Endpoint& at, base::Bytes message) {
    post(node::MessageIn{from, std::move(message), at});
  };
  callbacks.introduced = [this](const base::Bytes& chain, const base::Endpoint& at, bool called) {
    post(node::Introduced{chain, at, called});
  };
  callbacks.bulk = [this](BulkStream bulk) {
    if (in_) in_->take(std::move(bulk));
  };
  callbacks.share = [this](BulkStream bulk) {
    if (share_in_) share_in_->take(std::move(bulk));
  };
  callbacks.psk = [this](const identity::TicketId& ticket) {
    return tickets_.psk(ticket, loop::Loop::wall_now());
  };
  callbacks.join = [this](base::Bytes request, const base::crypto::DhPublic& proven,
                          std::function<void(base::Bytes)> reply) {
    on_join(request, proven, std::move(reply));
  };
  links_ = std::make_unique<Links>(loop_, std::move(who), log_, std::move(callbacks));

  node::Config config;
  config.keys = keyring_->node.clone();
  config.chain = chain_;
  config.root = root_;
  config.store = store_->id();
  config.incarnation = incarnation;
  fill_random(config.salt);
  config.gossip_secret = random_secret();
  config.seed = random_seed();
  config.version = TERN_VERSION;
  config.addresses = own_addresses();
  config.load_window = std::chrono::seconds(options_.load_window_seconds);
  config.accepts_jobs = no_jobs_.empty() && !paths_.criu.empty();
  if (!config.accepts_jobs) {
    config.why_no_jobs = (no_jobs_.empty() ? no_criu_ : no_jobs_) + " (there: tern doctor)";
  }
  config.no_throttle = no_jobs_;
  if (no_jobs_.empty() && paths_.limits.means == machine::LimitMeans::kNone) {
    config.no_throttle = paths_.limits.why;
  }
  config.wall = wall;
  const auto yield = [](const std::string& word) {
    auto parsed = node::parse_yield(word);  // checked where it was read
    return parsed ? *parsed : node::Yield::kNothing;
  };
  config.owner = {yield(options_.owner_active), yield(options_.on_battery),
                  yield(options_.battery_low), yield(options_.on_metered),
                  yield(options_.on_sleep)};
  config.people = {options_.allow_root_jobs, trusted_uids_};
  node_ =
      std::make_unique<node::Node>(std::move(config), records_, log_ends(records_, paths_), log_);
  start_jobs();
  start_shares();
  SamplerSettings settings;
  auto resolved = machine::ProcSource().resolve(machine_source(options_.load_source));
  settings.source = resolved ? *resolved : machine::LoadSource::kSystem;
  if (paths_.cgroup.empty()) settings.source = machine::LoadSource::kSystem;
  settings.window = std::chrono::seconds(options_.load_window_seconds);
  settings.cgroup = paths_.cgroup;
  settings.cpus_millis = options_.cpus_millis;
  sampler_ = std::make_unique<Sampler>(
      loop_, settings, copies_.get(),
      [this](const base::JobId& job) { return node_->jobs().find(job); },
      [this](node::Sample sample) {
        add_owner_signs(sample.owner);
        if (copies_) copies_->children()->reap();
        post(std::move(sample));
      });
  start_services();
  post(node::Start{wall});
  for (const base::Endpoint& peer : options_.peers) post(node::SeedPeer{peer});
  for (const auto& [key, value] : records_) {
    if (key.rfind("peer/", 0) != 0) continue;
    auto endpoint = base::Endpoint::unpack(value);
    if (endpoint) post(node::SeedPeer{*endpoint});
  }
  return {};
}

// Folders of jobs that the node never heard of: they were to be queued when the daemon died.
void Host::sweep_job_folders() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(paths_.jobs(), error)) {
    const std::string name = entry.path().filename().string();
    if (!base::JobId::from_hex_text(name) || records_.count("job/" + name) != 0) continue;
    std::error_code gone;
    std::filesystem::remove_all(entry.path(), gone);
    log_.info("job_folder_swept", {{"job", name}});
  }
}

void Host::start_jobs() {
  if (!no_jobs_.empty()) return;
  adoption::recover(paths_, log_);
  sweep_job_folders();
  Copies::Callbacks callbacks;
  callbacks.grew = [this](base::JobId job, node::StreamEnds bases, node::StreamEnds ends) {
    if (home_is_here(job)) {
      for (int stream = 0; stream < node::kStreams; ++stream) {
        log_grew(job, stream, ends[static_cast<std::size_t>(stream)]);
      }
    }
    post(node::JobNews{node::jobs::SpoolGrew{job, bases, ends}});
    for (const auto& follow : std::vector(follows_)) follow_step(follow);
  };
  callbacks.ended = [this](base::JobId job, std::int32_t wait_status, node::StreamEnds ends) {
    if (inputs_) inputs_->close(job);
    job_ended(job, wait_status, ends);
  };
  callbacks.vanished = [this](base::JobId job, const std::string& missing, node::StreamEnds ends) {
    log_.error("job_lost", {{"job", job.hex()}, {"missing", missing}});
    if (home_is_here(job)) return post(node::JobNews{node::jobs::Vanished{job, missing, ends}});
    // Home gets all of the output, and what it changed of its files, as of any that ended here.
    job_said(job, "lost: " + missing + " is not there any more");
    job_ended(job, SIGKILL, ends);
  };
  callbacks.trouble = [this](base::JobId job, const std::string& trouble) {
    log_.error("job_output", {{"job", job.hex()}, {"why", trouble}});
    job_said(job, trouble);
  };
  std::uint64_t limit = options_.output_limit_bytes;
  if (limit > 0 && !job_folder::can_trim(paths_.jobs())) {
    log_.warn("output_limit", {{"why", "none here: this file system cannot free a file's front"}});
    limit = 0;
  }
  copies_ = std::make_unique<Copies>(loop_, paths_, helpers_, log_, limit, std::move(callbacks));
  output_limit_ = std::make_unique<OutputLimit>(loop_, *copies_, log_, limit);
  inputs_ = std::make_unique<JobInputs>(
      loop_, [this](const base::JobId& job) { return copies_->find(job); },
      [this](node::JobFed fed) { post(std::move(fed)); });
  start_files_home();
  sweep_files();
  preflight_ = std::make_unique<PreflightDesk>(
      loop_, *copies_,
      PreflightPolicy{criu_version_, no_criu_, options_.allow_root_jobs, trusted_uids_,
                      paths_.state},
      paths_.files(),
      PreflightDesk::Facts{[this](const base::JobId& job) { return dir_of(job); },
                           [this](const base::JobId& job) { return home_is_here(job); }},
      [this](const balance::Event& event) { post(node::Handover{event}); });
  ParkDesk::Callbacks park;
  park.report = [this](node::Rested rested) {
    post(std::move(rested));
    if (sampler_) sampler_->soon();
  };
  park.describe = [this](const base::JobId& job) { return node_->describe(job); };
  park.memory_available = [this] { return sampler_ ? sampler_->memory_available() : 0; };
  park.in_handover = [this](const base::JobId& job) { return node_->in_doubt(job); };
  park.ended = [this](const base::JobId& job, std::int32_t wait_status, node::StreamEnds ends) {
    job_ended(job, wait_status, ends);
  };
  park_ = std::make_unique<ParkDesk>(loop_, paths_, helpers_, *copies_, *preflight_, log_,
                                     std::move(park));
  start_adopting();
  HandoverOut::Callbacks out;
  out.report = [this](const balance::Event& event) { post(node::Handover{event}); };
  out.describe = [this](const base::JobId& job) { return node_->describe(job); };
  out.addresses = [this](const base::NodeId& node) { return node_->addresses_of(node); };
  out.frozen = [this](const base::JobId& job) { post(node::JobFrozen{job}); };
  out.resting = [this](const base::JobId& job) { return park_->has(job); };
  out.parked = [this](const base::JobId& job, base::Epoch newest, HandoverOut::FoundParked then) {
    park_->find(job, newest, std::move(then));
  };
  out.home_is_here = [this](const base::JobId& job) { return home_is_here(job); };
  out_ = std::make_unique<HandoverOut>(loop_, paths_, *copies_, *links_, log_, std::move(out));
  HandoverIn::Callbacks in;
  in.report = [this](const balance::Event& event) { post(node::Handover{event}); };
  in.arrived = [this](const balance::HandoverId& id, const node::MoveMetadata& metadata) {
    post(node::MoveArrived{id, metadata.spec});
  };
  in.refusal = [this](const node::JobSpec& spec) { return refusal(spec); };
  in.node_name = [this] { return node_name(); };
  in.memory_available = [this] { return sampler_ ? sampler_->memory_available() : 0; };
  in.files_beside = [this](const base::JobId& job, const machine::LaidBeside& laid) {
    lie_beside(job, laid);
  };
  in.files_only = [this](BulkStream bulk, const transfer::ImageHello& hello) {
    const bool look = hello.kind == transfer::ImageHello::Kind::kFilesLook;
    if (look && files_look_) return files_look_->take(std::move(bulk), hello);
    if (!look && files_home_) files_home_->take(std::move(bulk), hello);
  };
  in.home_is_here = [this](const base::JobId& job) { return home_is_here(job); };
  in_ = std::make_unique<HandoverIn>(loop_, paths_, helpers_, *copies_, log_,
                                     options_.allow_root_jobs, std::move(in));
}

}  // namespace ternd
