#include "machine/input_client.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <cstring>
#include <string>

#include "base/check.h"

namespace machine {
namespace {

constexpr std::size_t kReadMax = 64 * 1024;
constexpr std::uint32_t kFlagsKnown = init::kInputEnded | init::kInputClosed | init::kInputTerminal;

std::string path_of(const ProcessName& init, int fd) {
  return "/proc/" + std::to_string(init.pid) + "/fd/" + std::to_string(fd);
}

// A job that arrives may bring any files at these numbers: only what has no name and is a pipe is
// opened anew.
base::Result<Fd> open_pipe_of(const ProcessName& init, int fd, int flags) {
  const std::string path = path_of(init, fd);
  const Fd seen(retry([&] { return ::open(path.c_str(), O_PATH | O_CLOEXEC); }));
  if (!seen.valid()) return io_error("open the job's input");
  struct stat kind = {};
  struct statfs system = {};
  if (::fstat(seen.get(), &kind) != 0 || ::fstatfs(seen.get(), &system) != 0) {
    return io_error("look at the job's input");
  }
  if (!S_ISFIFO(kind.st_mode) || system.f_type != PIPEFS_MAGIC) {
    return base::fail(base::Code::kUnsupported, "what the job has for its input is no pipe");
  }
  const std::string again = "/proc/self/fd/" + std::to_string(seen.get());
  Fd end(retry([&] { return ::open(again.c_str(), flags | O_NONBLOCK | O_CLOEXEC); }));
  if (!end.valid()) return io_error("open the job's input");
  return end;
}

// Every init has it, until it ends.
bool has_status(const ProcessName& init) {
  struct stat status = {};
  return ::stat(path_of(init, init::kInitStatusWrite).c_str(), &status) == 0;
}

}  // namespace

base::Result<InputClient> InputClient::open(const ProcessName& init) {
  auto feed = open_pipe_of(init, init::kInitFeedWrite, O_WRONLY);
  auto news = open_pipe_of(init, init::kInitNewsRead, O_RDONLY);
  const bool missing = !feed && feed.error().code == base::Code::kNotFound;
  const bool gone = missing && !has_status(init);
  // If the name fits now, it fitted when they were opened. A zombie still has it.
  auto now = name_process(init.pid);
  if (!now || *now != init || gone) return base::fail(base::Code::kNotFound, "the job is gone");
  if (missing) {
    return base::fail(base::Code::kUnsupported, "the job was started without an input");
  }
  if (!feed) return feed.error();
  if (!news) return news.error();
  return InputClient(std::move(*feed), std::move(*news));
}

base::Result<bool> InputClient::put(init::InputKind kind, std::uint64_t session,
                                    std::uint64_t offset, base::ByteView bytes) {
  CHECK(bytes.size() <= init::kInputPieceMax);
  std::array<std::uint8_t, init::kInputFrameMax> raw;
  const init::InputFrame frame{init::kInputMagic, session, offset, kind,
                               static_cast<std::uint32_t>(bytes.size())};
  std::memcpy(raw.data(), &frame, sizeof frame);
  if (!bytes.empty()) std::memcpy(raw.data() + sizeof frame, bytes.data(), bytes.size());
  const std::size_t size = sizeof frame + bytes.size();
  const ssize_t wrote = retry([&] { return ::write(feed_.get(), raw.data(), size); });
  if (wrote == static_cast<ssize_t>(size)) return true;
  if (wrote < 0 && errno == EAGAIN) return false;
  return base::fail(base::Code::kUnreachable, "the job's input is gone");
}

std::optional<init::InputState> newest_input_state(base::ByteView bytes) {
  std::optional<init::InputState> newest;
  for (; bytes.size() >= sizeof(init::InputState);
       bytes = bytes.subspan(sizeof(init::InputState))) {
    init::InputState state = {};
    std::memcpy(&state, bytes.data(), sizeof state);
    const bool sound = state.magic == init::kInputMagic && (state.flags & ~kFlagsKnown) == 0 &&
                       state.taken <= INT64_MAX / 2 && state.session <= INT64_MAX;
    if (sound) newest = state;
  }
  return newest;
}

std::optional<init::InputState> InputClient::news() {
  std::array<std::uint8_t, kReadMax> raw;
  const ssize_t got = retry([&] { return ::read(news_.get(), raw.data(), raw.size()); });
  if (got <= 0) return std::nullopt;
  return newest_input_state(base::ByteView(raw).first(static_cast<std::size_t>(got)));
}

}  // namespace machine
