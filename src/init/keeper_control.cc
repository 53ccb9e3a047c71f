// The keeper's side of its socket (messages in init/contract.h). One client: the newest.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "init/keeper.h"
#include "init/sys.h"

namespace init {

// Bound by a relative name from inside the job folder: sun_path has 108 bytes, folders have more.
const char* Keeper::listen_on_socket() {
  constexpr char kName[] = "keeper.sock";
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, kName, sizeof kName);
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink(kName);  // a dead keeper's: we hold the lock
  if (listener_ < 0 ||
      bind(listener_, reinterpret_cast<const struct sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_, 4) != 0) {
    return "cannot listen on keeper.sock";
  }
  return nullptr;
}

void Keeper::accept_client() {
  const int fd =
      retry([this] { return accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); });
  if (fd < 0) return;
  struct ucred peer = {};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      (peer.uid != 0 && peer.uid != geteuid())) {
    close(fd);
    return;
  }
  drop_client();
  client_ = fd;
  may_tell_growth_ = true;
  if (state_ == State::kExited) send(MessageKind::kExited, 0, 0);
}

void Keeper::drop_client() {
  if (client_ >= 0) close(client_);
  client_ = -1;
  heard_size_ = 0;
}

void Keeper::hear_client() {
  const ssize_t size = retry([this] {
    return recv(client_, heard_ + heard_size_, sizeof heard_ - heard_size_, MSG_DONTWAIT);
  });
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) {
    drop_client();
    return;
  }
  heard_size_ += static_cast<std::size_t>(size);
  if (heard_size_ < sizeof heard_) return;
  heard_size_ = 0;
  Request request = {};
  std::memcpy(&request, heard_, sizeof request);
  if (request.magic != kControlMagic) {
    drop_client();
    return;
  }
  obey(request);
}

void Keeper::obey(const Request& request) {
  std::uint32_t flags = 0;
  switch (request.op) {
    case Op::kStatus:
      break;
    case Op::kPause:
      paused_ = true;
      break;
    case Op::kResume:
      paused_ = false;
      break;
    case Op::kCloseReader:
      if (request.stream > 1) flags = kFlagRefused;
      if (request.stream <= 1) close_reader(request.stream);
      break;
    case Op::kRetire:
      send(MessageKind::kReply, request.id, 0);
      _exit(0);
    case Op::kAcknowledgeExit:
      if (state_ == State::kExited) {
        send(MessageKind::kReply, request.id, 0);
        _exit(0);
      }
      flags = kFlagRefused;
      break;
    case Op::kMore:
      may_tell_growth_ = true;
      if (grew_) tell_growth();
      return;
    default:
      flags = kFlagRefused;
  }
  send(MessageKind::kReply, request.id, flags);
}

void Keeper::tell_growth() {
  if (client_ < 0 || !may_tell_growth_) return;
  may_tell_growth_ = false;
  grew_ = false;
  send(MessageKind::kGrew, 0, 0);
}

void Keeper::send(MessageKind kind, std::uint32_t id, std::uint32_t extra_flags) {
  if (client_ < 0) return;
  Message message = {kControlMagic,     kind, id, extra_flags, streams_[0].end(),
                     streams_[1].end(), 0,    0};
  if (paused_) message.flags |= kFlagPaused;
  if (!streams_[0].attached()) message.flags |= kFlagStdoutClosed;
  if (!streams_[1].attached()) message.flags |= kFlagStderrClosed;
  if (init_gone()) message.flags |= kFlagInitGone;
  if (state_ == State::kExited) {
    message.flags |= kFlagExited;
    message.wait_status = exit_.wait_status;
  }
  if (store_errno_ != 0) {
    message.flags |= kFlagStoreFailed;
    message.store_errno = store_errno_;
  }
  // A client that does not read its replies has 200 KB of them waiting and is none any more.
  if (::send(client_, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof message) {
    drop_client();
  }
}

}  // namespace init
