// The standard input of jobs, on its way from who types or pipes it to the node that has the job.
// Who counts it, and why nothing is missing or comes twice, is said in init/contract.h: this core
// sends what was not taken yet, until it was, to wherever the job is. It stores nothing; after a
// restart the program in front of the person (cli) comes again and goes on where the job is.
//
// A desk is one such program, attached to this node:
//
//   Open -> asking ──state──> claiming ──own session──> open ──> over: closed, taken over, refused
//
// A desk keeps what was not taken, at most kInputWindow bytes from `taken` on; more is not asked
// for, so a job that does not read holds up its writer. A message that brings no answer is followed
// by a question after kInputAskMin, then twice as long, at most kInputAskMax; the answer to the
// newest message says how far the host holds the input, and what it lacks is sent again.
//
// The newest who opened a desk feeds the job: its session is greater than any before (the high half
// counts, the low half is chance and stays with the program), and the desk before is told that it
// is over. A program that comes again gets a new session, too: an init tells of that only behind
// all that was sent before it, so `taken` is then beyond what is still on its way.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "node/job_wire.h"
#include "node/limits.h"

namespace node::inputs {

// ---- events

struct Open {
  std::uint64_t desk = 0;
  base::JobId job;
  std::uint32_t uid = 0;      // of who asks
  base::NodeId host;          // who has the job, by the last AskJobs
  std::uint64_t session = 0;  // as before a restart; 0: a new program
  std::uint32_t salt = 0;     // chance
};
struct Put {  // continues where the desk's input ends; not more than kInputWindow past `taken`
  std::uint64_t desk = 0;
  std::uint64_t offset = 0;
  base::Bytes bytes;
};
struct End {  // of the stream, at `offset`
  std::uint64_t desk = 0;
  std::uint64_t offset = 0;
};
struct Window {  // a terminal's size has changed
  std::uint64_t desk = 0;
  TerminalSize size;
};
struct Close {
  std::uint64_t desk = 0;
};
struct Moved {  // answers Said::kSought
  std::uint64_t desk = 0;
  base::NodeId host;
};
struct Peer {
  base::NodeId from;
  InputReply reply;
};
struct Tick {};
using Event = std::variant<Open, Put, End, Window, Close, Moved, Peer, Tick>;

// ---- actions

struct Send {
  base::NodeId to;
  Input message;
};
struct Said {
  enum What {
    kOpen,      // the desk feeds the job from `taken` on
    kTaken,     // the job was given everything up to `taken`
    kSought,    // the job is not where it was: Moved is waited for
    kClosed,    // over: the job reads no more
    kReplaced,  // over: somebody else feeds it now
    kRefused,   // over, and `sentence` says why
  };
  std::uint64_t desk = 0;
  base::JobId job;
  What what = kTaken;
  std::uint64_t session = 0;
  std::uint64_t taken = 0;
  bool terminal = false;
  std::string sentence;
  [[nodiscard]] bool over() const { return what >= kClosed; }
};
using Action = std::variant<Send, Said>;
using Actions = std::vector<Action>;

class Inputs {
 public:
  explicit Inputs(base::NodeId self) : self_(self) {}
  [[nodiscard]] Actions step(base::Time now, const Event& event);
  [[nodiscard]] base::Time next_deadline() const;
  // Jobs that desks feed. Their hosts, where this node knows them, are to be told after each event
  // that may have changed them: a desk asks at once at a new one.
  [[nodiscard]] std::vector<base::JobId> jobs() const;
  [[nodiscard]] Actions host_is(base::Time now, base::JobId job, base::NodeId host);
  [[nodiscard]] bool empty() const { return desks_.empty(); }

 private:
  enum class Stage { kAsking, kClaiming, kOpen };
  struct Desk {
    std::uint64_t id = 0;
    base::JobId job;
    std::uint32_t uid = 0;
    base::NodeId host;
    Stage stage = Stage::kAsking;
    std::uint64_t session = 0;  // while it asks: the one before
    std::uint32_t salt = 0;     // of its queries
    std::uint64_t taken = 0;
    base::Bytes bytes;  // from `taken` on
    std::uint64_t sent = 0;
    std::uint64_t lacked = 0;  // what was held when more was sent again, and when that was
    base::Time lacked_at{};
    std::optional<std::uint64_t> end;
    bool end_sent = false;
    bool ended = false;                  // and init has passed it on
    std::optional<TerminalSize> window;  // until the job has it
    std::uint64_t window_query = 0;
    std::uint64_t query = 0;  // of the newest message
    base::Time said_at{};
    base::Duration patience = kInputAskMin;
    base::Time sought_at{};
    [[nodiscard]] std::uint64_t filled() const { return taken + bytes.size(); }
    [[nodiscard]] bool waits() const {
      return stage != Stage::kOpen || taken < sent || (end_sent && !ended) || window.has_value();
    }
  };
  void on(base::Time now, const Open& event);
  void on(base::Time now, const Put& event);
  void on(base::Time now, const End& event);
  void on(base::Time now, const Window& event);
  void on(base::Time now, const Close& event);
  void on(base::Time now, const Moved& event);
  void on(base::Time now, const Peer& event);
  void on(base::Time now, const Tick& event);
  void hear(base::Time now, Desk& desk, const InputReply& reply);
  void hear_session(base::Time now, Desk& desk, const InputReply& reply);
  void hear_taken(base::Time now, Desk& desk, const InputReply& reply);
  void pump(base::Time now, Desk& desk);
  void say(base::Time now, Desk& desk, InputKind kind, std::uint64_t offset, base::Bytes bytes);
  void tell(const Desk& desk, Said::What what, std::string sentence = {});
  void finish(Desk& desk, Said::What what, std::string sentence = {});
  [[nodiscard]] Desk* find(std::uint64_t desk);
  void sweep();

  base::NodeId self_;
  std::map<std::uint64_t, Desk> desks_;
  std::vector<std::uint64_t> over_;
  std::uint32_t next_query_ = 1;  // and a desk's salt before it
  Actions actions_;
};

}  // namespace node::inputs
