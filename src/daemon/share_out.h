// The sender's daemon in a share: finds who takes it, then passes records between the person's
// program, which reads the files (cli/share_session.h), and the peer (daemon/share_in.h).
//
//   asking one peer after another --accepted--> passing on --over--> over
//     \__ nobody accepts: exit 6; the one that was named does not: 5; it does not answer: 4
//
// A peer that first asks its owner is left for last, and then waited for. Whoever took a share that
// broke off is asked first when the same command comes again, as it has a part of it. A peer that
// says nothing for kShareSilence is given up, and one that does not answer an offer for
// kOfferPatience. Who shares the same with the same peer while that is under way waits for it, and
// then shares it once more. The peer hears that this daemon lives while a program compares a large
// file.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "control/share_report.h"
#include "daemon/control_server.h"
#include "daemon/links.h"
#include "transfer/share_wire.h"

namespace ternd {

inline constexpr base::Duration kOfferPatience = std::chrono::seconds(15);
inline constexpr base::Duration kShareSilence = std::chrono::seconds(30);
inline constexpr base::Duration kShareAliveEvery = std::chrono::seconds(5);
inline constexpr std::size_t kUnfinishedKept = 256;  // whom they went to; any is forgotten for more

class ShareOut {
 public:
  struct Peer {
    base::NodeId id;
    std::string name;
    std::vector<base::Endpoint> at;
  };
  struct Order {
    transfer::ShareOffer offer;
    std::vector<Peer> peers;  // in the order in which they are asked
    bool named = false;       // there is one, and a person named it
    std::string not_asked;    // why others were not; may be empty
  };
  ShareOut(loop::Loop& loop, Links& links, base::Log& log);
  ~ShareOut();

  void start(Order order, const std::shared_ptr<Client>& client);
  // Tells everybody that it ends here for now.
  void stop();
  [[nodiscard]] std::size_t shares() const { return relays_.size(); }

 private:
  struct Relay;
  using Handle = std::shared_ptr<Relay>;
  using Unfinished = std::pair<std::uint32_t, transfer::ShareId>;
  void ask_next(const Handle& relay);
  void ask(const Handle& relay, const Peer& peer);
  void on_connected(const Handle& relay, base::Result<BulkStream> bulk);
  void on_record(const Handle& relay, transfer::Buffer record);
  void on_answer(const Handle& relay, const transfer::ShareAnswer& answer);
  void accepted(const Handle& relay);
  void refused(const Handle& relay, const std::string& why, bool unreachable);
  void nobody(const Handle& relay);
  void on_input(const Handle& relay, base::ByteView bytes);
  [[nodiscard]] std::size_t forward(const Handle& relay, base::ByteView bytes);
  void on_room(const Handle& relay);
  void on_failed(const Handle& relay, const base::Error& error);
  void fail(const Handle& relay, control::Exit exit, const std::string& why,
            const std::string& next = {});
  void end(const Handle& relay);
  void put_unfinished_first(Order& order) const;
  [[nodiscard]] bool goes_elsewhere(const Handle& relay) const;
  void start_next();
  void look();

  Links& links_;
  base::Log& log_;
  std::list<Handle> relays_;
  std::map<Unfinished, base::NodeId> unfinished_;
  loop::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
