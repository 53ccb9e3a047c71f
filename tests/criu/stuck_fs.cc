#include "stuck_fs.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace criu_test {
namespace {

constexpr std::uint64_t kFileNode = 2;
constexpr std::size_t kRequestMax = FUSE_MIN_READ_BUFFER * 4;

fuse_attr attributes_of(std::uint64_t node) {
  fuse_attr attributes{};
  attributes.ino = node;
  attributes.size = 4096;
  attributes.nlink = 1;
  attributes.mode = node == kFileNode ? S_IFREG | 0755 : S_IFDIR | 0755;
  return attributes;
}

void answer(int device, std::uint64_t request, int error, const void* body, std::size_t size) {
  std::uint8_t out[sizeof(fuse_out_header) + 256];
  fuse_out_header head{};
  head.len = static_cast<std::uint32_t>(sizeof head + size);
  head.error = -error;
  head.unique = request;
  std::memcpy(out, &head, sizeof head);
  if (size > 0) std::memcpy(out + sizeof head, body, size);
  (void)!::write(device, out, head.len);
}

void answer_other(int device, const fuse_in_header& head) {
  if (head.opcode == FUSE_INIT) {
    fuse_init_out out{};
    out.major = FUSE_KERNEL_VERSION;
    out.minor = 31;
    out.max_write = 4096;
    answer(device, head.unique, 0, &out, sizeof out);
  } else if (head.opcode == FUSE_LOOKUP) {
    fuse_entry_out out{};
    out.nodeid = kFileNode;
    out.entry_valid = out.attr_valid = 1000;
    out.attr = attributes_of(kFileNode);
    answer(device, head.unique, 0, &out, sizeof out);
  } else if (head.opcode == FUSE_GETATTR) {
    fuse_attr_out out{};
    out.attr_valid = 1000;
    out.attr = attributes_of(head.nodeid);
    answer(device, head.unique, 0, &out, sizeof out);
  } else if (head.opcode == FUSE_OPEN || head.opcode == FUSE_OPENDIR) {
    const fuse_open_out out{};
    answer(device, head.unique, 0, &out, sizeof out);
  } else if (head.opcode != FUSE_FORGET && head.opcode != FUSE_BATCH_FORGET &&
             head.opcode != FUSE_INTERRUPT) {
    answer(device, head.unique, ENOSYS, nullptr, 0);
  }
}

}  // namespace

StuckFs::StuckFs(std::string at)
    : at_(std::move(at)),
      device_(::open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK)),
      asked_(::eventfd(0, EFD_CLOEXEC)),
      ended_(::eventfd(0, EFD_CLOEXEC)) {
  const std::string options =
      "fd=" + std::to_string(device_.get()) + ",rootmode=40000,user_id=0,group_id=0";
  if (!device_.valid() || ::mkdir(at_.c_str(), 0755) != 0) return;
  if (::mount("stuck", at_.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) return;
  server_ = std::thread([this] { serve(); });
}

StuckFs::~StuckFs() {
  if (valid()) {
    (void)::umount2(at_.c_str(), MNT_DETACH);
    (void)!::eventfd_write(ended_.get(), 1);
    server_.join();
  }
  device_.reset();
  (void)::rmdir(at_.c_str());
}

void StuckFs::serve() const {
  for (;;) {
    pollfd both[] = {{device_.get(), POLLIN, 0}, {ended_.get(), POLLIN, 0}};
    if (::poll(both, 2, -1) < 0 && errno != EINTR) return;
    if (both[1].revents != 0) return;
    alignas(fuse_in_header) std::uint8_t request[kRequestMax];
    const ssize_t got = ::read(device_.get(), request, sizeof request);
    if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
    if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) return;
    fuse_in_header head{};
    std::memcpy(&head, request, sizeof head);
    if (head.opcode == FUSE_READ) {
      (void)!::eventfd_write(asked_.get(), 1);
    } else {
      answer_other(device_.get(), head);
    }
  }
}

bool StuckFs::await_read() const {
  pollfd one{asked_.get(), POLLIN, 0};
  return ::poll(&one, 1, 30'000) == 1;
}

}  // namespace criu_test
