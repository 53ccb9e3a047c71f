// The daemon's end of a job's standard input (init/contract.h has the rules and the reasons).
//
// Nothing here waits, so it is fit for a loop. Whatever is lost with one of these, with a daemon or
// with a killed job, is only what init has not taken, which whoever feeds sends again.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "init/contract.h"
#include "machine/fd.h"
#include "machine/process_name.h"

namespace machine {

class InputClient {
 public:
  // kUnsupported: that job has no input (it was started without, or by an older tern, or came with
  // something else at those numbers); kNotFound: it is gone. Opens init's pipes by /proc, which
  // waits for nobody.
  [[nodiscard]] static base::Result<InputClient> open(const ProcessName& init);

  // Whole or not at all; false: no room now, wait until feed_fd() is writable. kUnreachable: init
  // is gone. `bytes`: at most kInputPieceMax.
  [[nodiscard]] base::Result<bool> put(init::InputKind kind, std::uint64_t session,
                                       std::uint64_t offset, base::ByteView bytes);
  // The newest state that init has told since the last call, if any. What somebody else of the
  // job's user may have written there is passed over.
  [[nodiscard]] std::optional<init::InputState> news();
  [[nodiscard]] int feed_fd() const { return feed_.get(); }  // stable for life
  [[nodiscard]] int news_fd() const { return news_.get(); }

 private:
  InputClient(Fd feed, Fd news) : feed_(std::move(feed)), news_(std::move(news)) {}
  Fd feed_;
  Fd news_;
};

// Of the bytes that came from a news pipe: the newest state in them. Exposed for tests.
[[nodiscard]] std::optional<init::InputState> newest_input_state(base::ByteView bytes);

}  // namespace machine
