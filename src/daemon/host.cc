// The daemon's life. Making a node of it: host_node.cc; its end: host_stop.cc; actions:
// host_actions.cc; people: host_people.cc, host_jobs.cc.
#include "daemon/host.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "criu/leftovers.h"
#include "criu/program.h"
#include "daemon/entropy.h"
#include "daemon/job_folder.h"
#include "identity/join.h"
#include "machine/cgroup.h"

namespace ternd {
namespace {

using base::Code;
using base::fail;
using base::Status;

Status make_dir(const std::string& path, mode_t mode) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(Code::kIo, "cannot make the folder " + path + ": " + error.message());
  if (::chmod(path.c_str(), mode) != 0 && errno != EPERM) {
    return fail(Code::kIo, "cannot protect the folder " + path + ": " + std::strerror(errno));
  }
  return {};
}

}  // namespace

Host::Host(const control::DaemonOptions& options, base::Log& log)
    : options_(options), log_(log), trusted_uids_(options.policy_uids) {}

Host::~Host() {
  *alive_ = false;
  // Whatever refers to the node or to the loop goes before them.
  share_out_.reset();
  share_in_.reset();
  control_.reset();
  services_.reset();
  sampler_.reset();
  adopt_.reset();
  park_.reset();
  preflight_.reset();
  files_home_.reset();
  files_look_.reset();
  files_beside_.reset();
  files_away_.reset();
  in_.reset();
  out_.reset();
  inputs_.reset();
  copies_.reset();
  links_.reset();
}

// ---- start

Status Host::start() {
  ::umask(022);
  // Root's jobs are everybody's: their init lies below the system's state folder, and with --state
  // so does the socket. What is private in there has permissions of its own.
  const bool root = ::geteuid() == 0;
  const mode_t state_mode = root ? 0711 : 0700;
  if (Status made = make_dir(options_.paths.state_dir, state_mode); !made) return made;
  paths_.state = options_.paths.state_dir;
  paths_.root = root;
  auto store = machine::Store::open(paths_.state, random_id<base::StoreId>());
  if (!store) return store.error();
  store_ = std::make_shared<machine::Store>(std::move(*store));
  records_ = store_->map();
  if (store_->tail_was_torn()) log_.warn("store_tail_cut", {{"state", paths_.state}});
  if (Status made = make_dir(paths_.jobs(), 0700); !made) return made;
  const control::SplitPath socket = control::split_path(options_.paths.socket);
  if (Status made = make_dir(socket.dir, socket.dir == paths_.state ? state_mode : 0755); !made) {
    return made;
  }
  if (Status ready = prepare_machine(); !ready) {
    no_jobs_ = ready.error().detail;
    log_.warn("no_jobs_here", {{"why", no_jobs_}});
  }
  if (Status opened = open_sockets(); !opened) return opened;
  for (const int number : {SIGTERM, SIGINT}) {
    signals_.push_back(std::make_unique<loop::Signal>(loop_, number, [this] { on_stop_signal(); }));
  }
  signals_.push_back(std::make_unique<loop::Signal>(loop_, SIGPIPE, [] {}));
  deadline_ = std::make_unique<loop::Timer>(loop_, [this] { post(node::Tick{}); });
  minute_ = std::make_unique<loop::Timer>(loop_, [this] {
    if (node_) post(node::WallClock{loop::Loop::wall_now()});
    if (services_) services_->look();
    minute_->start(std::chrono::minutes(1));
  });
  minute_->start(std::chrono::minutes(1));
  if (records_.count("id/chain") != 0) {
    if (Status started = start_node(); !started) return started;
  }
  auto control =
      ControlServer::start(loop_, options_.paths.socket, log_,
                           [this](control::Request request, std::shared_ptr<Client> client) {
                             serve(std::move(request), client);
                           });
  if (!control) return control.error();
  control_ = std::move(*control);
  log_.info("daemon_started", {{"state", paths_.state},
                               {"listen", udp_->local().text()},
                               {"member", node_ ? "yes" : "not yet"}});
  return {};
}

void Host::post(node::Event event) {
  events_.push_back(std::move(event));
  drain();
}

void Host::drain() {
  if (draining_ || !node_) return;
  draining_ = true;
  while (!events_.empty()) {
    const node::Event event = std::move(events_.front());
    events_.pop_front();
    for (const node::Action& action : node_->step(loop::Loop::now(), event)) perform(action);
  }
  draining_ = false;
  arm();
}

void Host::arm() {
  if (node_ && stage_ != Stage::kLeaving) deadline_->start_at(node_->next_deadline());
}

// ---- the store: one batch after another, those that wait are written together

void Host::store(std::vector<machine::StoreWrite> batch, std::function<void()> then) {
  // Tried again it would fail again, and everything behind it would wait.
  CHECK(machine::store_batch_size(batch) <= machine::kStoreBatchSizeMax);
  for (const machine::StoreWrite& write : batch) {
    if (write.value) {
      records_[write.key] = *write.value;
    } else {
      records_.erase(write.key);
    }
  }
  batches_.push_back({std::move(batch), std::move(then)});
  write_next();
}

void Host::write_next() {
  if (writing_ || batches_.empty()) return;
  writing_ = true;
  auto all = std::make_shared<std::vector<machine::StoreWrite>>();
  std::size_t size = 0;
  std::size_t count = 0;
  for (const Batch& batch : batches_) {
    const std::size_t batch_size = machine::store_batch_size(batch.writes);
    if (count > 0 && size + batch_size > machine::kStoreBatchSizeMax / 2) break;
    size += batch_size;
    ++count;
    all->insert(all->end(), batch.writes.begin(), batch.writes.end());
  }
  auto outcome = std::make_shared<Status>();
  loop::run_blocking(
      loop_,
      [store = store_, appending = appending_, all, outcome] {
        const std::lock_guard alone(*appending);
        *outcome = store->append(*all);
      },
      [this, count, outcome, alive = alive_] {
        if (!*alive) return;
        writing_ = false;
        if (!*outcome) {
          log_.error("store_failed", {{"why", outcome->error().detail}});
          if (store_->broken()) return fatal("the store's disk cannot be trusted any more");
          // A full disk: nothing that depends on this goes on; tried again until there is room.
          write_retry_ = std::make_unique<loop::Timer>(loop_, [this] { write_next(); });
          return write_retry_->start(std::chrono::seconds(1));
        }
        std::vector<std::function<void()>> thens;
        for (std::size_t i = 0; i < count; ++i) {
          thens.push_back(std::move(batches_.front().then));
          batches_.pop_front();
        }
        write_next();
        for (const auto& then : thens) {
          if (then) then();
        }
      });
}

// ---- the end

void Host::fatal(const std::string& why) {
  log_.error("daemon_cannot_go_on", {{"why", why}});
  exit_code_ = 1;
  leave();  // no handover can be brought to an end
}

int Host::run() {
  loop_.run();
  return exit_code_;
}

// ---- somebody with a ticket

void Host::on_join(const base::Bytes& request, const base::crypto::DhPublic& proven,
                   std::function<void(base::Bytes)> reply) {
  auto asked = identity::decode_join_request(request, proven);
  const auto refuse = [&](const base::Error& error) {
    log_.info("join_refused", {{"why", error.detail}});
    identity::JoinReply refused;
    refused.reason = error.detail.substr(0, identity::kReasonSizeMax);
    reply(asked ? identity::encode_join_reply(refused, asked->version)
                : identity::encode_join_reply(refused));
  };
  if (!asked) return refuse(asked.error());
  const base::WallTime now = loop::Loop::wall_now();
  Status redeemed = tickets_.redeem(asked->ticket, asked->sign_public, asked->dh_public, now);
  if (!redeemed) return refuse(redeemed.error());
  identity::CertificateBody body;
  body.mesh = base::crypto::mesh_id_of(root_);
  body.name = asked->name;
  body.sign_public = asked->sign_public;
  body.dh_public = asked->dh_public;
  body.not_before = static_cast<base::WallTime>(base::wall_seconds(now) - 3600);
  body.not_after = static_cast<base::WallTime>(base::wall_seconds(now) + 365LL * 24 * 3600);
  body.serial = static_cast<std::uint64_t>(base::wall_seconds(now));
  identity::JoinReply accepted;
  accepted.accepted = true;
  accepted.root = root_;
  accepted.addresses = own_addresses();
  accepted.mesh_name = mesh_name_;
  if (keyring_->root) {
    body.issuer = identity::root_issuer_id(root_);
    const std::string flag = "inviter/" + asked->ticket.hex();
    if (records_.count(flag) != 0) body.roles |= identity::kInviter;
    accepted.chain = identity::make_chain(body.mesh, {identity::issue(body, *keyring_->root)});
  } else {
    body.issuer = keyring_->node.id();
    auto mine = identity::split_chain(chain_);
    if (!mine) return refuse(mine.error());
    accepted.chain = identity::make_chain(
        body.mesh, {identity::issue(body, keyring_->node.sign), mine->front()});
  }
  log_.info("joined",
            {{"name", asked->name}, {"node", base::crypto::node_id_of(asked->sign_public).hex()}});
  // Stored, bound to the joiner's keys, before the reply: a ticket is redeemed once.
  store({{"id/tickets", tickets_.encode()}},
        [reply = std::move(reply), answer = identity::encode_join_reply(accepted, asked->version)] {
          reply(answer);
        });
}

}  // namespace ternd
