// Members of one mesh that connect to each other on one loop.
#pragma once

#include "daemon/links.h"
#include "identity/join.h"
#include "loop_rig.h"

namespace ternd::testing {

class Member {
 public:
  Member(loop::Loop& loop, const base::crypto::SignKey& root, const std::string& name)
      : keys(identity::NodeKeys::make(random_secret(), random_secret())) {
    identity::CertificateBody body;
    body.mesh = base::crypto::mesh_id_of(root.public_key);
    body.issuer = identity::root_issuer_id(root.public_key);
    body.name = name;
    body.sign_public = keys.sign.public_key;
    body.dh_public = keys.dh.public_key;
    const std::int64_t now = base::wall_seconds(loop::Loop::wall_now());
    body.not_before = static_cast<base::WallTime>(now - 60);
    body.not_after = static_cast<base::WallTime>(now + 3600);
    auto listening = loop::Listener::tcp(loop, loopback(), [this](auto stream) {
      if (links) links->accept(std::move(stream));
    });
    EXPECT_TRUE(listening.ok());
    listener = std::move(*listening);
    Links::Identity identity;
    identity.keys = keys.clone();
    identity.mesh = body.mesh;
    identity.root = root.public_key;
    identity.chain = identity::make_chain(body.mesh, {identity::issue(body, root)});
    identity.port = at().port;
    Links::Callbacks callbacks;
    callbacks.message = [this](base::NodeId from, const base::Endpoint& at,
                               const base::Bytes& message) {
      called_from = at;
      messages.emplace_back(from, std::string(base::as_text(message)));
    };
    callbacks.introduced = [this](const base::Bytes&, const base::Endpoint&, bool by_us) {
      ++introduced;
      called = by_us;
    };
    callbacks.contact_failed = [this](const base::Endpoint&) { ++failed_contacts; };
    callbacks.bulk = [this](BulkStream bulk) { bulks.push_back(std::move(bulk)); };
    callbacks.psk = [this](const base::TicketId& id) -> base::Result<base::Secret<32>> {
      if (id == ticket) return psk.clone();
      return base::fail(base::Code::kRefused, "no such ticket");
    };
    callbacks.join = [this](base::Bytes, const base::crypto::DhPublic&,
                            std::function<void(base::Bytes)> reply) {
      ++joins;
      reply(base::to_bytes(base::as_bytes("welcome")));
    };
    links =
        std::make_unique<Links>(loop, std::move(identity), base::null_log(), std::move(callbacks));
  }
  [[nodiscard]] base::NodeId id() const { return keys.id(); }
  [[nodiscard]] base::Endpoint at() const { return listener->local(); }
  void say(const Member& to, const std::string& text) {
    links->send(to.id(), {to.at()}, base::to_bytes(base::as_bytes(text)));
  }

  identity::NodeKeys keys;
  base::TicketId ticket{{5}};
  base::Secret<32> psk{base::Bytes(32, 9)};
  std::unique_ptr<loop::Listener> listener;
  std::unique_ptr<Links> links;
  std::vector<std::pair<base::NodeId, std::string>> messages;
  base::Endpoint called_from;
  std::vector<BulkStream> bulks;
  int introduced = 0;
  bool called = false;  // the last one, by this end
  int failed_contacts = 0;
  int joins = 0;
};

}  // namespace ternd::testing
