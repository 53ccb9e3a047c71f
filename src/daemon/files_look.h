// Whether a job's files could come to a sink, asked before anything of a move is begun: the source
// sends the list that the first round of the move would send (transfer/job_files.h), without
// digests (but for home, which has its own files, of what the job has open), and the sink, which
// changes nothing, answers `ready` or `refuse`. In a connection of its own, whose hello says so.
//
//   source  ask() --> looking (off the loop) --> connecting --> sending --> told
//   sink    take() -> listing -> looking (off the loop) -> answered, closed
//
// What is not heard in kFilesLookPatience is no obstacle, nor is a sink that knows no such question
// or refuses the job for another reason, which the preflight says: the rounds of the move look
// again, at more.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "daemon/files_out.h"
#include "daemon/links.h"
#include "daemon/paths.h"
#include "node/job_wire.h"
#include "transfer/image_stream.h"

namespace ternd {

inline constexpr base::Duration kFilesLookPatience = std::chrono::seconds(8);  // of either end
inline constexpr std::size_t kFilesLooksMax = 8;  // at once, of each end; more are not looked at

inline constexpr std::ptrdiff_t kFilesLooksOfPeerMax = 2;

class FilesLook {
 public:
  struct Callbacks {
    std::function<std::vector<base::Endpoint>(const base::NodeId&)> addresses;
    std::function<std::string(const node::JobSpec&)> refusal;  // policy; empty: welcome
    std::function<bool(const base::JobId&)> home_is_here;
    // The job, if its home is here and that peer is its host.
    std::function<std::optional<node::JobSpec>(const base::JobId&, const base::NodeId&)> expected;
  };
  using Then = std::function<void(const std::string& obstacle)>;  // none: empty
  FilesLook(loop::Loop& loop, const Paths& paths, Links& links, Callbacks callbacks);
  ~FilesLook();
  // `then` once, unless this goes before.
  void ask(const base::NodeId& sink, const node::JobSpec& spec, FilesOut::List list, Then then);
  void take(BulkStream bulk, const transfer::ImageHello& hello);  // its first record said that

 private:
  struct Asking;
  struct Asked;
  using AskingHandle = std::shared_ptr<Asking>;
  using AskedHandle = std::shared_ptr<Asked>;
  void connect(const AskingHandle& asking);
  void on_connected(const AskingHandle& asking, base::Result<BulkStream> bulk);
  void pump(const AskingHandle& asking);
  void on_answer(const AskingHandle& asking, base::ByteView record);
  void told(const AskingHandle& asking, const std::string& obstacle);
  void on_record(const AskedHandle& asked, base::ByteView record);
  void look(const AskedHandle& asked);
  [[nodiscard]] std::optional<node::JobSpec> welcome(const Asked& asked) const;
  void close(const AskedHandle& asked);
  template <typename Handle>
  void forget(std::list<Handle>& all, const Handle& one);

  loop::Loop& loop_;
  const Paths& paths_;
  Links& links_;
  Callbacks callbacks_;
  std::list<AskingHandle> asking_;
  std::list<AskedHandle> asked_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
