// What people ask about the mesh and the daemon itself; jobs are in host_jobs.cc.
#include <unistd.h>

#include <algorithm>

#include "base/overloaded.h"
#include "daemon/entropy.h"
#include "daemon/host.h"
#include "identity/join.h"

namespace ternd {
namespace {

using base::Code;
using base::fail;
using control::Exit;

constexpr std::int64_t kRootCertificateSeconds = 10LL * 365 * 24 * 3600;

const char* state_name(gossip::State state) {
  switch (state) {
    case gossip::State::kAlive:
      return "alive";
    case gossip::State::kSuspect:
      return "suspect";
    case gossip::State::kDead:
      return "dead";
    case gossip::State::kLeft:
      return "left";
  }
  return "dead";
}

control::NodeReport node_report(const node::StatusNode& one) {
  const gossip::NodeView& view = one.view;
  control::NodeReport report;
  report.id = view.id.hex();
  report.name = view.name;
  report.state = state_name(view.state);
  report.ratio_micros = view.fields.ratio_milli * 1000;
  report.effective_ratio_micros = view.fields.effective_milli * 1000;
  report.trit = view.fields.trit;
  report.cpus_millis = view.fields.cpus_milli;
  report.mem_total_bytes = view.fields.mem_total_bytes;
  report.mem_free_bytes = view.fields.mem_free_bytes;
  report.jobs = view.fields.jobs;
  report.parked = view.fields.parked;
  if (view.fields.seat) {
    static constexpr const char* kRoles[] = {"source", "coordinator", "sink"};
    report.seat = {view.fields.seat->triad.hex(),
                   kRoles[static_cast<std::size_t>(view.fields.seat->role)],
                   view.fields.seat->term.value};
  }
  base::Endpoint at = view.endpoint;
  if (at.port == 0 && !view.fields.addresses.empty()) at = view.fields.addresses.front();
  if (at.port != 0) report.address = at.text();
  report.version = view.fields.version;
  return report;
}

}  // namespace

void Host::serve(control::Request request, const std::shared_ptr<Client>& client) {
  if (stage_ != Stage::kRunning) return client->fail(Exit::kError, "the daemon is stopping");
  // What tells about the mesh anybody may ask; what changes it, root or the daemon's own user.
  const bool may_change = client->uid() == 0 || client->uid() == ::geteuid();
  const auto changes = [&](auto&& action) {
    if (!may_change) {
      return client->fail(Exit::kRefused, "only root or the daemon's user may do that",
                          "ask again with sudo, or use a node of your own: --state DIR");
    }
    action();
  };
  std::visit(
      base::Overloaded{
          [&](const control::PingRequest&) { answer_ping(client, std::nullopt); },
          [&](const control::UpRequest& r) { changes([&] { answer(r, client); }); },
          [&](const control::InviteRequest& r) { changes([&] { answer(r, client); }); },
          [&](const control::JoinRequest& r) { changes([&] { answer(r, client); }); },
          [&](const control::StatusRequest&) { answer_status(client); },
          [&](const control::JobsRequest&) { answer_jobs(client); },
          [&](const control::RunRequest& r) { answer(r, client); },
          [&](const control::AttachRequest& r) { follow(r.job, r.from, true, true, client); },
          [&](const control::LogsRequest& r) { follow(r.job, r.from, false, r.follow, client); },
          [&](const control::InputRequest& r) { answer(r, client); },
          [&](const control::KillRequest& r) { answer(r, client); },
          [&](const control::MigrateRequest& r) { answer(r, client); },
          [&](const control::ThrottleRequest& r) { answer(r, client); },
          [&](const control::ParkRequest& r) { answer(r, client); },
          [&](const control::WakeRequest& r) { answer(r, client); },
          [&](const control::AdoptRequest& r) { answer(r, client); },
          [&](const control::ResolveRequest& r) { changes([&] { answer(r, client); }); },
          [&](const control::DrainRequest& r) { changes([&] { answer(r, client); }); },
          [&](const control::EventsRequest& r) { answer(r, client); },
          [&](const control::DownRequest&) { changes([&] { answer_down(client); }); },
          [&](const control::ConfigRequest&) { answer_config(client); },
          [&](const control::MetricsRequest&) { answer_metrics(client); },
          [&](const control::ShareRequest& r) { answer(r, client); },
          [&](const control::InboxRequest&) { changes([&] { answer_inbox(client); }); },
          [&](const control::InboxAnswerRequest& r) { changes([&] { answer(r, client); }); },
          [&](const control::PolicyRequest&) { answer_policy(client); },
      },
      request);
}

bool Host::needs_member(const std::shared_ptr<Client>& client) const {
  if (node_) return true;
  client->fail(Exit::kError, "this node belongs to no mesh yet",
               "make one with: tern up, or join one with: tern join");
  return false;
}

void Host::answer_ping(const std::shared_ptr<Client>& client, std::optional<bool> created) {
  control::Ping ping;
  ping.pid = ::getpid();
  ping.version = TERN_VERSION;
  ping.name = node_ ? node_->name_of(node_->self()) : node_name();
  ping.member = node_ != nullptr;
  if (node_) {
    ping.id = node_->self().hex();
    ping.mesh = control::MeshName{base::crypto::mesh_id_of(root_).hex(), mesh_name_};
  }
  ping.created = created;
  ping.no_jobs = no_jobs_;
  ping.no_criu = no_criu_;
  client->done(control::to_json(ping));
}

// ---- identity

void Host::answer(const control::UpRequest& request, const std::shared_ptr<Client>& client) {
  if (node_) return answer_ping(client, false);
  if (records_.count("id/chain") != 0) {
    return client->fail(Exit::kError, "this node is being made a member just now; try again");
  }
  if (request.name) options_.name = *request.name;
  identity::Keyring keyring;
  keyring.node = identity::NodeKeys::make(random_secret(), random_secret());
  keyring.root = base::crypto::sign_key_from_seed(random_secret());
  const std::int64_t now = base::wall_seconds(loop::Loop::wall_now());
  identity::CertificateBody body;
  body.mesh = base::crypto::mesh_id_of(keyring.root->public_key);
  body.issuer = identity::root_issuer_id(keyring.root->public_key);
  body.name = node_name();
  body.sign_public = keyring.node.sign.public_key;
  body.dh_public = keyring.node.dh.public_key;
  body.roles = identity::kMember | identity::kInviter;
  body.not_before = static_cast<base::WallTime>(now - 3600);
  body.not_after = static_cast<base::WallTime>(now + kRootCertificateSeconds);
  body.serial = static_cast<std::uint64_t>(now);
  const base::Bytes chain = identity::make_chain(body.mesh, {identity::issue(body, *keyring.root)});
  const std::string mesh_name = body.name + "-mesh";
  store({{"id/keyring", base::to_bytes(identity::encode_keyring(keyring).view())},
         {"id/root", base::to_bytes(keyring.root->public_key)},
         {"id/mesh_name", base::to_bytes(base::as_bytes(mesh_name))},
         {"id/chain", chain}},
        [this, client] {
          if (base::Status started = start_node(); !started) return client->fail(started.error());
          answer_ping(client, true);
        });
}

void Host::answer(const control::InviteRequest& request, const std::shared_ptr<Client>& client) {
  if (!needs_member(client)) return;
  const identity::Certificate* mine = node_->roster().find(node_->self());
  auto own = identity::verify(chain_, root_, loop::Loop::wall_now());
  const bool may = keyring_->root || (own && own->body.is_inviter());
  if (!may && (mine == nullptr || !mine->body.is_inviter())) {
    return client->fail(Exit::kRefused, "this node may not invite",
                        "invite from the node that made the mesh, or one invited with --inviter");
  }
  if (request.inviter && !keyring_->root) {
    return client->fail(Exit::kRefused, "only the node that made the mesh can make inviters");
  }
  const base::WallTime now = loop::Loop::wall_now();
  identity::Ticket ticket;
  ticket.secret = random_secret();
  ticket.mesh = base::crypto::mesh_id_of(root_);
  ticket.expires = static_cast<base::WallTime>(base::wall_seconds(now) + request.seconds);
  ticket.addresses = own_addresses();
  if (ticket.addresses.empty()) {
    return client->fail(Exit::kError, "this machine has no address that others could reach",
                        "give one with: tern daemon --listen ADDR:PORT");
  }
  if (base::Status opened = tickets_.open(ticket, now); !opened) {
    return client->fail(opened.error());
  }
  std::vector<machine::StoreWrite> writes = {{"id/tickets", tickets_.encode()}};
  if (request.inviter) writes.push_back({"inviter/" + ticket.id().hex(), base::Bytes{1}});
  control::InviteReport report;
  report.ticket = ticket.text();
  report.expires_in_seconds = request.seconds;
  for (const base::Endpoint& address : ticket.addresses) report.addresses.push_back(address.text());
  store(std::move(writes), [client, report] { client->done(control::to_json(report)); });
}

void Host::answer(const control::JoinRequest& request, const std::shared_ptr<Client>& client) {
  auto ticket = identity::Ticket::parse(request.ticket.reveal());
  if (!ticket) return client->fail(ticket.error());
  if (joining_) return client->fail(Exit::kError, "another join is under way");
  if (node_) {
    if (base::crypto::mesh_id_of(root_) == ticket->mesh) {
      return client->fail(Exit::kError, "this node is a member of that mesh already");
    }
    if (node_->roster().size() > 1 || !node_->jobs().all().empty()) {
      return client->fail(Exit::kRefused, "this node belongs to another mesh, with members or jobs",
                          "use another --state folder for the new mesh");
    }
  }
  auto shared = std::make_shared<identity::Ticket>(std::move(*ticket));
  // Root may name anybody, such as the person who used sudo; others mean themselves.
  Trusted trust;
  if (request.trust) trust = client->uid() == 0 ? request.trust_uid.value_or(0) : client->uid();
  // The same keys are used when a join is tried again: the ticket is bound to them.
  if (records_.count("id/joining") != 0) return try_join(shared, 0, trust, client);
  identity::Keyring fresh;
  fresh.node = identity::NodeKeys::make(random_secret(), random_secret());
  store({{"id/joining", base::to_bytes(identity::encode_keyring(fresh).view())}},
        [this, shared, trust, client] { try_join(shared, 0, trust, client); });
}

void Host::try_join(std::shared_ptr<identity::Ticket> ticket, std::size_t address, Trusted trust,
                    const std::shared_ptr<Client>& client) {
  auto keyring = identity::decode_keyring(records_["id/joining"]);
  if (!keyring) return client->fail(keyring.error());
  if (ticket->addresses.empty()) {
    return client->fail(Exit::kError, "the ticket names no address", "ask for a new ticket");
  }
  const base::Endpoint at = ticket->addresses[address];
  client->line(control::progress_line("asking " + at.text()));
  const base::Bytes request =
      identity::encode_join_request(keyring->node, ticket->id(), node_name());
  joining_ = std::make_unique<Joining>(
      loop_, at, udp_->local(), ticket->mesh, keyring->node, ticket->id(), ticket->psk(), request,
      [this, ticket, address, trust, client, alive = alive_](base::Result<base::Bytes> reply) {
        if (!*alive) return;
        // Not from within the stream's own callback.
        auto answer = std::make_shared<base::Result<base::Bytes>>(std::move(reply));
        loop::run_blocking(
            loop_, [] {},
            [this, ticket, address, trust, client, answer, alive] {
              if (!*alive) return;
              joining_.reset();
              if (*answer) return joined(**answer, *ticket, trust, client);
              if (address + 1 < ticket->addresses.size()) {
                return try_join(ticket, address + 1, trust, client);
              }
              const bool refused = answer->error().code == Code::kRefused;
              client->fail(refused ? Exit::kRefused : Exit::kUnreachable,
                           "could not join: " + answer->error().detail,
                           refused ? "ask for a new ticket: they work once and expire" : "");
            });
      });
}

void Host::joined(const base::Bytes& reply, const identity::Ticket& ticket, Trusted trust,
                  const std::shared_ptr<Client>& client) {
  auto decoded = identity::decode_join_reply(reply);
  if (!decoded) return client->fail(decoded.error());
  auto keyring = identity::decode_keyring(records_["id/joining"]);
  if (!keyring) return client->fail(keyring.error());
  auto certificate =
      identity::check_join_reply(*decoded, ticket.mesh, keyring->node, loop::Loop::wall_now());
  if (!certificate) {
    return client->fail(certificate.error(), "ask for a new ticket: they work once and expire");
  }
  std::vector<machine::StoreWrite> writes;
  for (const auto& [key, value] : records_) {
    if (key.rfind("member/", 0) == 0 || key.rfind("peer/", 0) == 0 || key.rfind("addr/", 0) == 0) {
      writes.push_back({key, std::nullopt});
    }
  }
  writes.push_back({"id/joining", std::nullopt});
  writes.push_back({"id/tickets", std::nullopt});
  writes.push_back({"id/keyring", base::to_bytes(identity::encode_keyring(*keyring).view())});
  writes.push_back({"id/root", base::to_bytes(decoded->root)});
  writes.push_back({"id/chain", decoded->chain});
  const std::string mesh_name =
      decoded->mesh_name.empty() ? ticket.mesh.brief() + "-mesh" : decoded->mesh_name;
  writes.push_back({"id/mesh_name", base::to_bytes(base::as_bytes(mesh_name))});
  const auto& addresses = decoded->addresses.empty() ? ticket.addresses : decoded->addresses;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    writes.push_back({"peer/" + std::to_string(i), base::to_bytes(addresses[i].packed())});
  }
  control::JoinReport report;
  report.mesh = {ticket.mesh.hex(), mesh_name};
  report.id = certificate->id.hex();
  report.name = certificate->body.name;
  if (trust) {
    base::Bytes uids(4);
    base::put_le32(uids, *trust);
    writes.push_back({"policy/uids", uids});
    report.trusted_uid = *trust;
  }
  store(std::move(writes), [this, client, report] {
    // A mesh of one that this node had before is given up.
    share_out_.reset();
    share_in_.reset();
    sampler_.reset();
    adopt_.reset();
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
    events_.clear();
    node_.reset();
    ++node_life_;
    tickets_ = {};
    if (base::Status started = start_node(); !started) return client->fail(started.error());
    client->done(control::to_json(report));
  });
}

// ---- looking around

void Host::answer_status(const std::shared_ptr<Client>& client) {
  if (!needs_member(client)) return;
  const node::Status status = node_->status();
  control::Status report;
  report.mesh = {base::crypto::mesh_id_of(root_).hex(), mesh_name_};
  report.sum = status.sum;
  report.rule = status.sum > 0 ? "shedding" : status.sum < 0 ? "waking" : "balanced";
  report.seats_sum_mod_3 = status.seats_sum_mod_3;
  report.self = node_->self().hex();
  for (const node::StatusNode& one : status.nodes) report.nodes.push_back(node_report(one));
  post(node::AskSentence{ask([client, report](const node::Reply& reply) mutable {
    report.sentence = reply.sentence;
    client->done(control::to_json(report));
  })});
}

void Host::answer(const control::EventsRequest& request, const std::shared_ptr<Client>& client) {
  for (const std::string& event : history_) {
    auto line = control::event_line(event);
    if (line) client->line(*line);
  }
  if (!request.follow) return client->done();
  client->endless();
  watchers_.push_back(client);
  // The client's connection keeps it alive; when that goes, so does this watcher.
}

void Host::answer_down(const std::shared_ptr<Client>& client) {
  down_ = client;
  stop();
}

void Host::answer_config(const std::shared_ptr<Client>& client) {
  client->done(control::settings_to_json(control::settings_of(options_)));
}

void Host::answer_metrics(const std::shared_ptr<Client>& client) {
  std::vector<std::pair<std::string, std::int64_t>> counters;
  const auto add = [&](std::string name, std::uint64_t value) {
    counters.emplace_back(std::move(name), static_cast<std::int64_t>(value));
  };
  if (node_) {
    const gossip::Counters& gossip = node_->counters();
    for (std::size_t i = 0; i < gossip::kDropKinds; ++i) {
      add("gossip_dropped_" + std::string(gossip::kDropNames[i]), gossip.dropped[i]);
    }
    add("gossip_datagrams_in", gossip.datagrams_in);
    add("gossip_datagrams_out", gossip.datagrams_out);
    add("gossip_bytes_in", gossip.bytes_in);
    add("gossip_bytes_out", gossip.bytes_out);
    add("gossip_digests_taken", gossip.digests_taken);
    add("members", node_->roster().size());
    add("jobs_known", node_->jobs().all().size());
    add_throttles(add);
  }
  if (out_) add("handovers_out", out_->attempts());
  if (share_out_) add("shares_out", share_out_->shares());
  if (share_in_) add("shares_in", share_in_->shares());
  if (copies_) {
    add("output_stalls", output_stalls_);
    add("keepers_silent", copies_->silent_keepers());
  }
  if (links_) {
    add("connections", links_->connections());
    add("connections_refused", links_->refused());
  }
  client->done(control::counters_to_json(counters));
}

base::Result<base::NodeId> Host::find_node(const std::string& reference) const {
  std::vector<base::NodeId> by_name;
  std::vector<base::NodeId> by_prefix;
  for (const node::StatusNode& one : node_->status().nodes) {
    if (one.view.name == reference) by_name.push_back(one.view.id);
    if (reference.size() >= 4 && one.view.id.hex().rfind(reference, 0) == 0) {
      by_prefix.push_back(one.view.id);
    }
  }
  const auto& found = by_name.empty() ? by_prefix : by_name;
  if (found.size() == 1) return found.front();
  if (found.empty()) return fail(Code::kNotFound, "no node is called " + reference);
  return fail(Code::kInvalid, "several nodes are called " + reference + "; use an id");
}

std::uint64_t Host::ask(Answer answer) {
  const std::uint64_t request = next_request_++;
  asked_[request] = std::move(answer);
  return request;
}

}  // namespace ternd
