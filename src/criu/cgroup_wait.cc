#include "criu/cgroup_wait.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "criu/loop_watch.h"
#include "machine/cgroup.h"
#include "machine/fd.h"

namespace criu {
namespace {

base::Error failed(const std::string& what) {
  if (errno == ENODEV) errno = ENOENT;  // kernfs: removed while open
  return machine::io_error(what);
}

base::Status write_file(const std::string& path, std::string_view value) {
  const machine::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return failed("open " + path);
  if (::write(fd.get(), value.data(), value.size()) < 0) return failed("write " + path);
  return {};
}

bool events_say(const machine::CgroupEvents& events, CgroupState state) {
  switch (state) {
    case CgroupState::kEmpty:
      return !events.populated;
    case CgroupState::kFrozen:
      return events.frozen;
    case CgroupState::kThawed:
      return !events.frozen;
  }
  CHECK(false);  // every state is above
}

const char* name_of(CgroupState state) {
  switch (state) {
    case CgroupState::kEmpty:
      return "end";
    case CgroupState::kFrozen:
      return "freeze";
    case CgroupState::kThawed:
      return "thaw";
  }
  CHECK(false);  // every state is above
}

// Reading also arms the next notification.
base::Result<bool> read_events(int fd, CgroupState state) {
  std::array<char, 256> buffer{};
  const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), 0);
  if (got < 0) return failed("read cgroup.events");
  auto events = machine::parse_cgroup_events({buffer.data(), static_cast<std::size_t>(got)});
  if (!events) return events.error();
  return events_say(*events, state);
}

}  // namespace

struct CgroupWait::Impl : std::enable_shared_from_this<Impl> {
  ~Impl() { watch.stop(); }  // before the descriptor closes
  void look();
  void finish(base::Status status) {
    watch.stop();
    alarm.stop();
    if (Done callback = std::exchange(done, nullptr)) callback(std::move(status));
  }
  CgroupState wanted = CgroupState::kEmpty;
  std::string cgroup;
  machine::Fd fd;
  FdWatch watch;
  Alarm alarm;
  Done done;
};

void CgroupWait::Impl::look() {
  auto state = read_events(fd.get(), wanted);
  if (state && !*state) return;
  if (!state && !(state.error().code == base::Code::kNotFound && wanted == CgroupState::kEmpty)) {
    return finish(state.error());
  }
  finish({});
}

CgroupWait::CgroupWait() = default;
CgroupWait::~CgroupWait() { stop(); }
CgroupWait::CgroupWait(CgroupWait&&) noexcept = default;
CgroupWait& CgroupWait::operator=(CgroupWait&& other) noexcept {
  stop();
  impl_ = std::move(other.impl_);
  return *this;
}

void CgroupWait::stop() {
  if (!impl_) return;
  impl_->done = nullptr;
  impl_->watch.stop();
  impl_->alarm.stop();
  impl_.reset();
}

void CgroupWait::start(uv_loop_s* loop, const std::string& cgroup, CgroupState wanted,
                       base::Duration patience, Done done) {
  stop();
  impl_ = std::make_shared<Impl>();
  impl_->wanted = wanted;
  impl_->cgroup = cgroup;
  impl_->done = std::move(done);
  std::weak_ptr<Impl> weak = impl_;
  auto later = [&](base::Status status) {
    impl_->alarm.start(loop, base::Duration::zero(), [weak, status] {
      if (auto self = weak.lock()) self->finish(status);
    });
  };
  impl_->fd = machine::Fd(::open((cgroup + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  if (!impl_->fd.valid()) {
    const base::Error error = failed("open " + cgroup);
    const bool gone = error.code == base::Code::kNotFound && wanted == CgroupState::kEmpty;
    return later(gone ? base::Status() : base::Status(error));
  }
  // The first look comes from the loop too: a kernfs file that was not read yet counts as changed.
  auto look = [weak] {
    if (auto self = weak.lock()) self->look();
  };
  if (base::Status status = impl_->watch.start(loop, impl_->fd.get(), Wants::kChange, look);
      !status) {
    return later(status);
  }
  impl_->alarm.start(loop, patience, [weak, wanted] {
    auto self = weak.lock();
    if (!self) return;
    self->finish(base::fail(base::Code::kTimeout, "the processes in " + self->cgroup + " did not " +
                                                      name_of(wanted) + " in time"));
  });
}

base::Status remove_cgroup(const std::string& cgroup) {
  auto opened = machine::Cgroup::open(cgroup);
  if (!opened && opened.error().code == base::Code::kNotFound) return {};
  return opened ? opened->remove() : opened.error();
}

base::Status kill_cgroup(const std::string& cgroup) {
  base::Status status = write_file(cgroup + "/cgroup.kill", "1");
  if (!status && status.error().code == base::Code::kNotFound) return {};
  return status;
}

base::Status freeze_cgroup(const std::string& cgroup, bool frozen) {
  return write_file(cgroup + "/cgroup.freeze", frozen ? "1" : "0");
}

}  // namespace criu
