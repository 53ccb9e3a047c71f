#include "machine/keeper_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace machine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kWaitingMax = 1024;  // messages that nobody took while call() waited

base::Error gone() { return base::fail(base::Code::kUnreachable, "the job's keeper is gone"); }

base::Status wait_readable(int fd, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<Patience>(deadline - Clock::now()).count();
    pollfd one{fd, POLLIN, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::clamp<long>(left, 0, 60'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return io_error("wait for the job's keeper");
    if (ready == 0 && left <= 0) {
      return base::fail(base::Code::kTimeout, "the job's keeper does not answer");
    }
  }
}

}  // namespace

// By way of /proc/self/fd: sun_path has 108 bytes, a folder's path may have more.
base::Result<KeeperClient> KeeperClient::connect(const std::string& job_dir) {
  const Fd folder(retry([&] { return ::open(job_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); }));
  if (!folder.valid()) return io_error("open " + job_dir);
  const std::string path = "/proc/self/fd/" + std::to_string(folder.get()) + "/keeper.sock";
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return io_error("make a socket");
  if (retry([&] {
        return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
      }) != 0) {
    return base::fail(base::Code::kUnreachable,
                      std::string("no keeper listens for the job: ") + std::strerror(errno));
  }
  return KeeperClient(std::move(socket));
}

base::Result<std::uint32_t> KeeperClient::send(init::Op op, std::uint32_t stream) {
  const init::Request request{init::kControlMagic, op, ++last_id_, stream};
  const ssize_t sent =
      retry([&] { return ::send(socket_.get(), &request, sizeof request, MSG_NOSIGNAL); });
  // A part of so few bytes, or a full buffer, is a keeper that stopped listening long ago.
  if (sent != static_cast<ssize_t>(sizeof request)) return gone();
  return last_id_;
}

base::Result<std::optional<init::Message>> KeeperClient::receive() {
  init::Message message = {};
  char* const at = reinterpret_cast<char*>(&message);
  std::copy(heard_.begin(), heard_.end(), at);
  const ssize_t size = retry(
      [&] { return ::recv(socket_.get(), at + heard_.size(), sizeof message - heard_.size(), 0); });
  if (size < 0 && errno == EAGAIN) return std::optional<init::Message>();
  if (size <= 0) return gone();
  const std::size_t total = heard_.size() + static_cast<std::size_t>(size);
  if (total < sizeof message) {
    heard_.assign(at, total);
    return std::optional<init::Message>();
  }
  heard_.clear();
  if (message.magic != init::kControlMagic) {
    return base::fail(base::Code::kInvalid, "the job's keeper talks nonsense");
  }
  if (message.kind == init::MessageKind::kGrew) {
    (void)send(init::Op::kMore);  // to a keeper that is gone: what it said before may still come
  }
  return std::optional<init::Message>(message);
}

base::Result<std::optional<init::Message>> KeeperClient::next() {
  if (waiting_.empty()) return receive();
  std::optional<init::Message> first = waiting_.front();
  waiting_.pop_front();
  return first;
}

base::Result<init::Message> KeeperClient::call(init::Op op, Patience patience,
                                               std::uint32_t stream) {
  const auto deadline = Clock::now() + patience;
  auto id = send(op, stream);
  if (!id) return id.error();
  for (;;) {
    auto message = receive();
    if (!message) return message.error();
    if (!message->has_value()) {
      if (auto ready = wait_readable(fd(), deadline); !ready) return ready.error();
      continue;
    }
    const init::Message& heard = **message;
    if (heard.kind == init::MessageKind::kReply && heard.id == *id) {
      if ((heard.flags & init::kFlagRefused) != 0) {
        return base::fail(base::Code::kRefused, "the job's keeper refuses that now");
      }
      return heard;
    }
    // Of growth only the newest matters, and it is in every message.
    if (waiting_.size() < kWaitingMax && heard.kind != init::MessageKind::kGrew) {
      waiting_.push_back(heard);
    }
  }
}

base::Result<init::Message> KeeperClient::wait_for(init::MessageKind kind, Patience patience) {
  const auto deadline = Clock::now() + patience;
  for (;;) {
    auto message = next();
    if (!message) return message.error();
    if (!message->has_value()) {
      if (auto ready = wait_readable(fd(), deadline); !ready) return ready.error();
    } else if ((*message)->kind == kind) {
      return **message;
    }
  }
}

}  // namespace machine
