#include "daemon/adopt_desk.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "criu/restore_session.h"
#include "daemon/copies_internal.h"
#include "daemon/held_launch.h"
#include "daemon/image_admission.h"
#include "daemon/image_set_source.h"
#include "daemon/job_folder.h"
#include "daemon/job_name.h"
#include "daemon/live_dump.h"
#include "daemon/retry.h"
#include "machine/cgroup.h"
#include "node/limits.h"
#include "node/park_manifest.h"
#include "transfer/adopted_images.h"

namespace ternd {

using base::Code;
using base::fail;
using base::Result;
using base::Status;

namespace {

constexpr base::Duration kAgain = std::chrono::seconds(1);
constexpr std::size_t kCommandMax = 4 << 20;         // of a /proc/PID/cmdline
constexpr std::uint64_t kAdoptRuns = 2'000'000;      // told apart from those of handovers and parks
constexpr std::uint64_t kImagesReserve = 64U << 20;  // of images, beside the tree's memory

std::vector<std::string> command_of(pid_t pid, const std::string& name) {
  std::vector<std::string> argv;
  const std::string path = "/proc/" + std::to_string(pid) + "/cmdline";
  const auto text = machine::read_small_file(path, kCommandMax);
  for (std::size_t at = 0; text && at < text->size();) {
    const std::size_t end = std::min(text->find('\0', at), text->size());
    argv.push_back(text->substr(at, end - at));
    at = end + 1;
  }
  if (argv.empty() || argv.front().empty()) argv = {name};
  return described_command(argv);
}

pid_t pid_max() {
  constexpr pid_t kUsual = 32768;
  auto text = machine::read_small_file("/proc/sys/kernel/pid_max", 64);
  return text ? static_cast<pid_t>(std::strtol(text->c_str(), nullptr, 10)) : kUsual;
}

std::string join(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) text += (text.empty() ? "" : "; ") + sentence;
  return text;
}

}  // namespace

struct AdoptDesk::Hashes {
  std::mutex one_at_a_time;
  machine::FileHashes files;
};

struct AdoptDesk::Task {
  node::JobSpec spec;
  base::Epoch epoch;
  std::string dir;
  std::string group;  // of the original
  std::string job_cgroup;
  Asker asker;
  bool terminal = false;  // it leaves one
  AdoptJournal journal;
  machine::ProcessTree tree;  // frozen
  std::unique_ptr<ContentSource> content;
  std::map<std::uint32_t, std::string> names;  // of the images that are under way
  transfer::ImageSet images;
  bool fitting = false;    // off the loop, which has the images
  std::uint64_t room = 0;  // bytes that the images may still take
  std::shared_ptr<SetSource> source;
  machine::ProcessName init;
  std::unique_ptr<criu::RestoreSession> session;
  std::unique_ptr<criu::CopyTask> release;
  std::unique_ptr<loop::Timer> retry;
  Launched done;
  std::string failed;
  bool restart = false;  // it was committed by an earlier life
};

AdoptDesk::AdoptDesk(loop::Loop& loop, const Paths& paths, const machine::Helpers& helpers,
                     Copies& copies, base::Log& log, std::string criu_missing, Callbacks callbacks)
    : loop_(loop),
      paths_(paths),
      helpers_(helpers),
      copies_(copies),
      log_(log),
      criu_missing_(std::move(criu_missing)),
      callbacks_(std::move(callbacks)),
      hashes_(std::make_shared<Hashes>()) {}

AdoptDesk::~AdoptDesk() {
  *alive_ = false;
  for (const auto& [job, task] : tasks_) {  // work off the loop may hold one for longer
    task->content.reset();
    task->session.reset();
    task->release.reset();
    task->retry.reset();
  }
}

void AdoptDesk::off_loop(const Handle& task, std::function<Status()> work,
                         std::function<void(const Status&)> done) {
  loop::run_blocking(loop_, std::move(work),
                     [task, done = std::move(done), alive = alive_](const Status& status) {
                       if (*alive) done(status);
                     });
}

void AdoptDesk::again(const Handle& task, std::function<void()> what) {
  retry_after(loop_, task, kAgain, std::move(what));
}

machine::AdoptView AdoptDesk::view(const Asker& asker) const {
  machine::AdoptView view;
  view.asker = {asker.uid, {::getpid(), asker.program}};
  view.leave_terminal = asker.leave_terminal;
  view.criu_missing = criu_missing_;
  view.memory_available = callbacks_.memory_available();
  return view;
}

void AdoptDesk::look(pid_t pid, const Asker& asker, Then then) {
  auto answer = std::make_shared<Result<Looked>>(Looked{});
  loop::run_blocking(
      loop_,
      [pid, answer, view = view(asker), hashes = hashes_] {
        const std::lock_guard lock(hashes->one_at_a_time);
        auto tree = machine::read_tree("/proc", pid);
        if (!tree) {
          *answer = tree.error();
          return;
        }
        Looked looked;
        looked.look = machine::look_at_tree(*tree, view, hashes->files);
        looked.argv = command_of(pid, tree->root().relatives.name);
        std::error_code error;
        looked.cwd =
            std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/cwd", error).string();
        looked.tree = std::move(*tree);
        *answer = std::move(looked);
      },
      [answer, then = std::move(then), alive = alive_] {
        if (*alive) then(std::move(*answer));
      });
}

void AdoptDesk::prepare(const base::JobId& job, const machine::TreeProcess& root,
                        const Asker& asker, std::function<void(Status)> then) {
  auto task = std::make_shared<Task>();
  task->dir = paths_.job(job);
  task->group = adoption::group_of(paths_, job);
  task->asker = asker;
  task->journal.root = root.pid;
  task->journal.start_ticks = root.relatives.start_ticks;
  tasks_[job] = task;
  const auto work = [task]() -> Status {
    if (Status made = job_folder::make(task->dir); !made) return made;
    const std::string jobs = task->dir.substr(0, task->dir.rfind('/'));
    if (Status synced = job_folder::sync_folder(jobs); !synced) return synced;
    return adoption::write(task->dir, task->journal);
  };
  off_loop(task, work, [this, job, then = std::move(then)](const Status& status) {
    if (!status) drop(job);
    then(status);
  });
}

void AdoptDesk::drop(const base::JobId& job) {
  tasks_.erase(job);
  copies_.forget(job);
}

void AdoptDesk::launch(const node::JobSpec& spec, base::Epoch epoch, Launched done) {
  const Handle task = tasks_.at(spec.id);
  task->spec = spec;
  task->epoch = epoch;
  task->job_cgroup = paths_.job_cgroup(spec.id, epoch);
  task->done = std::move(done);
  const auto work = [task, view = view(task->asker), hashes = hashes_, roots = copies_.roots(),
                     root = paths_.init_root(spec.id)]() -> Status {
    if (Status gathered = gather(*task, view, hashes); !gathered) return gathered;
    return roots->claim(task->spec.id, task->epoch, root);
  };
  off_loop(task, work, [this, task](const Status& status) {
    status ? dump(task) : give_up(task, status.error().detail);
  });
}

// Off the loop: the tree stands still, and nothing is in the way.
Status AdoptDesk::gather(Task& task, const machine::AdoptView& view,
                         const std::shared_ptr<Hashes>& hashes) {
  auto tree = machine::read_tree("/proc", task.journal.root);
  if (!tree) return tree.error();
  for (const machine::TreeProcess& one : tree->processes) {
    task.journal.origins[one.pid] = one.cgroup;
  }
  if (Status written = adoption::write(task.dir, task.journal); !written) return written;
  // Asked again of what it has become, and before it is touched: it may be another job by now.
  const auto no = machine::tree_obstacles(*tree, view.asker);
  if (!no.empty()) return fail(Code::kRefused, join(no));
  auto taken = adoption::take(task.group, task.journal);
  if (!taken) return taken.error();
  task.tree = std::move(*taken);
  const machine::TreeProcess& root = task.tree.root();
  if (root.uids[0] != task.spec.uid || root.gids[0] != task.spec.gid ||
      root.groups != task.spec.groups) {
    return fail(Code::kRefused, "it has become another user's meanwhile; try again");
  }
  // Now its groups are ours; whose it is, and what it has open, cannot change any more.
  machine::ProcessTree where_it_was = task.tree;
  for (machine::TreeProcess& one : where_it_was.processes) one.cgroup.clear();
  machine::AdoptView still = view;
  still.stands_still = true;
  const std::lock_guard lock(hashes->one_at_a_time);
  const machine::AdoptLook look = machine::look_at_tree(where_it_was, still, hashes->files);
  if (!look.obstacles.empty()) return fail(Code::kRefused, join(look.obstacles));
  task.terminal = look.terminal;
  task.journal.stopped = machine::stopped_members(task.group);
  task.room = static_cast<std::uint64_t>(task.tree.rss_bytes()) + kImagesReserve;
  return {};
}

void AdoptDesk::dump(const Handle& task) {
  LiveDumpSpec spec;
  spec.job = task->spec.id;
  spec.epoch = task->epoch;
  spec.run = kAdoptRuns + ++runs_;
  spec.copy.job = task->spec.id;
  spec.copy.cgroup = task->group;
  spec.copy.init.pid = task->journal.root;
  spec.shell_job = task->tree.of_a_shell() || task->terminal;
  spec.uid = task->spec.uid;
  spec.gid = task->spec.gid;
  std::weak_ptr<Task> weak = task;
  ContentSource::Callbacks callbacks;
  callbacks.begin = [weak](std::uint32_t image, const std::string& name) {
    auto strong = weak.lock();
    // Clocks stay as they are on this machine; a namespace for them would be one inside the job's.
    if (!strong || name.starts_with("timens-")) return;
    strong->names[image] = name;
    strong->images[name];
  };
  callbacks.data = [weak](std::uint32_t image, base::ByteView bytes) {
    auto strong = weak.lock();
    if (!strong) return;
    const auto name = strong->names.find(image);
    if (name == strong->names.end()) return;
    if (bytes.size() > strong->room) {
      strong->failed = "its checkpoint is larger than its memory";
      return strong->content->cancel();
    }
    strong->room -= bytes.size();
    transfer::Buffer piece(bytes.size());
    std::copy(bytes.begin(), bytes.end(), piece.mutable_view().begin());
    transfer::Image& to = strong->images[name->second];
    to.size += bytes.size();
    to.chunks.push_back(std::move(piece));
  };
  callbacks.end = [weak](std::uint32_t image) {
    auto strong = weak.lock();
    if (!strong) return;
    const auto name = strong->names.find(image);
    if (name != strong->names.end()) strong->images[name->second].ended = true;
  };
  callbacks.done = [this, weak](const Status& status) {
    auto strong = weak.lock();
    if (!strong) return;
    if (!status) {
      const std::string why = strong->failed.empty() ? status.error().detail : strong->failed;
      return give_up(strong, "it cannot be checkpointed: " + why);
    }
    const auto& threads = strong->tree.root().threads;
    transfer::forget_parent_death(strong->images, {threads.begin(), threads.end()});
    if (strong->spec.uid != 0) transfer::set_no_new_privileges(strong->images);
    fit(strong);
  };
  task->content = start_live_dump(loop_, paths_, log_, std::move(spec), std::move(callbacks));
}

void AdoptDesk::fit(const Handle& task) {
  task->fitting = true;
  const auto work = [task]() -> Status {
    go_on(task->images);
    return {};
  };
  off_loop(task, work, [this, task](const Status& /*status*/) {
    if (!std::exchange(task->fitting, false)) return;  // withdrawn
    task->source = std::make_shared<SetSource>(std::move(task->images));
    restore(task);
  });
}

void AdoptDesk::restore(const Handle& task) {
  const auto launch = [task, children = copies_.children(), helpers = helpers_,
                       root = paths_.init_root(task->spec.id)]() -> Status {
    machine::JobSpec start = start_of(task->spec, node::LaunchPlan{}, helpers, root);
    start.adopted = task->journal.root;
    auto init = launch_capsule(start, task->job_cgroup, *children);
    if (!init) return init.error();
    task->init = *init;
    return {};
  };
  off_loop(task, launch, [this, task](const Status& status) {
    if (!status) return give_up(task, status.error().detail);
    if (task->terminal) {
      const std::string init = "/proc/" + std::to_string(task->init.pid) + "/fd/";
      transfer::leave_terminals(task->source->images(), {"/dev/null", init + "1", init + "2"});
    }
    criu::RestoreSpec spec;
    spec.program = paths_.criu;
    spec.owner = paths_.owner();
    spec.job_cgroup = task->job_cgroup;
    spec.capsule = {helpers_.enter_path, helpers_.procview_path, task->init,
                    machine::free_numbers(task->tree.numbers(), pid_max()),
                    task->tree.of_a_shell()};
    std::weak_ptr<Task> weak = task;
    auto session = criu::RestoreSession::start(
        loop_.raw(), spec, *task->source, [this, weak](const Result<criu::HeldCopy>& copy) {
          auto strong = weak.lock();
          if (!strong) return;
          if (copy) return commit(strong);
          const std::string original = strong->session->original_error();
          if (!original.empty()) {
            log_.warn("criu_restore_failed", {{"job", strong->spec.id.hex()}, {"criu", original}});
          }
          give_up(strong, "its copy cannot be made: " + copy.error().detail);
        });
    if (!session) return give_up(task, session.error().detail);
    task->session = std::move(*session);
  });
}

void AdoptDesk::commit(const Handle& task) {
  auto sure = std::make_shared<bool>(true);
  const auto work = [task, sure]() -> Status {
    AdoptJournal committed = task->journal;
    committed.committed = true;
    Status written = adoption::write(task->dir, committed);
    if (written) task->journal.committed = true;
    if (written) return written;
    const auto said = adoption::read(task->dir);
    *sure = said && *said && !(*said)->committed;
    return written;
  };
  off_loop(task, work, [this, task, sure](const Status& status) {
    task->content.reset();
    task->session.reset();  // a held copy stays held
    task->source.reset();
    if (status) return end_original(task);
    if (*sure) return give_up(task, "it cannot be noted on the disk: " + status.error().detail);
    // The mark may have its name: a start of the daemon would kill the original on its word.
    log_.error("adoption_not_noted",
               {{"job", task->spec.id.hex()}, {"why", status.error().detail}});
    again(task, [this, task] { commit(task); });
  });
}

// From here on the copy is the job.
void AdoptDesk::end_original(const Handle& task) {
  off_loop(
      task, [task] { return adoption::end_original(task->group); },
      [this, task](const Status& status) {
        if (status) return let_go(task);
        log_.error("original_stays",
                   {{"job", task->spec.id.hex()}, {"why", status.error().detail}});
        again(task, [this, task] { end_original(task); });
      });
}

void AdoptDesk::let_go(const Handle& task) {
  const std::vector<pid_t> stopped(task->journal.stopped.begin(), task->journal.stopped.end());
  task->release = criu::release_copy(
      loop_.raw(), task->job_cgroup, stopped, [this, task, alive = alive_](const Status& status) {
        if (!*alive) return;
        // kNotFound: it ran, ended and is gone.
        if (!status && status.error().code != Code::kNotFound) {
          log_.error("adoption_incomplete",
                     {{"job", task->spec.id.hex()}, {"why", status.error().detail}});
          return again(task, [this, task] { let_go(task); });
        }
        finish(task);
      });
}

void AdoptDesk::finish(const Handle& task) {
  const auto tidy = [this, task](const Status&) {
    off_loop(
        task, [task] { return adoption::remove(task->dir); },
        [this, task](const Status& status) {
          if (!status) {
            log_.warn("adoption_journal_stays",
                      {{"job", task->spec.id.hex()}, {"why", status.error().detail}});
          }
          tasks_.erase(task->spec.id);
          if (task->restart) return copies_.attend(task->spec, task->epoch);
          log_.info("adopted", {{"job", task->spec.id.hex()}, {"pid", task->journal.root}});
          const CopyView* copy = copies_.find(task->spec.id);
          const auto done = std::exchange(task->done, nullptr);
          done(copy != nullptr ? copy->init : task->init);
        });
  };
  if (task->restart) return tidy({});
  copies_.settle(task->spec.id, task->epoch, [tidy, alive = alive_](const Status& status) {
    if (*alive) tidy(status);
  });
}

// Before it is committed only.
void AdoptDesk::give_up(const Handle& task, const std::string& reason) {
  log_.warn("adoption_failed", {{"job", task->spec.id.hex()}, {"why", reason}});
  task->failed = reason;
  task->session.reset();
  task->release = criu::discard_copy(
      loop_.raw(), task->job_cgroup, [this, task, alive = alive_](const Status& status) {
        if (!*alive) return;
        if (status) return put_back(task);
        log_.error("discard_failed",
                   {{"job", task->spec.id.hex()}, {"why", status.error().detail}});
        again(task, [this, task] { give_up(task, task->failed); });
      });
}

void AdoptDesk::put_back(const Handle& task) {
  auto now = std::make_shared<std::string>();
  const auto work = [task, now, roots = copies_.roots(),
                     root = paths_.init_root(task->spec.id)]() -> Status {
    if (Status back = adoption::put_back(task->group, task->journal); !back) return back;
    *now = adoption::what_became(task->journal, task->failed);
    roots->drop(task->spec.id, task->epoch, root);
    return adoption::remove(task->dir);
  };
  off_loop(task, work, [this, task, now](const Status& status) {
    if (!status) {
      log_.error("original_not_put_back",
                 {{"job", task->spec.id.hex()}, {"why", status.error().detail}});
      return again(task, [this, task] { put_back(task); });
    }
    task->content.reset();
    tasks_.erase(task->spec.id);
    const auto done = std::exchange(task->done, nullptr);
    done(fail(Code::kRefused, task->failed + *now));
  });
}

void AdoptDesk::withdraw() {
  for (const auto& [job, task] : tasks_) {
    if (!task->content || task->source) continue;  // not dumping
    task->failed = "the daemon is told to stop";
    task->content->cancel();
    // A file that does not answer may hold it up for good.
    if (std::exchange(task->fitting, false)) give_up(task, "the daemon is told to stop");
  }
}

bool AdoptDesk::attend(const node::JobSpec& spec, base::Epoch epoch) {
  auto journal = adoption::read(paths_.job(spec.id));
  if (!journal) {
    log_.error("adoption_unreadable", {{"job", spec.id.hex()}, {"why", journal.error().detail}});
    return false;
  }
  if (!*journal) return false;
  if (!(*journal)->committed) {  // recover() has put it back
    (void)adoption::remove(paths_.job(spec.id)).ok();
    callbacks_.withdrawn(spec.id, adoption::original_lives(**journal));
    return true;
  }
  auto task = std::make_shared<Task>();
  task->spec = spec;
  task->epoch = epoch;
  task->dir = paths_.job(spec.id);
  task->group = adoption::group_of(paths_, spec.id);
  task->job_cgroup = paths_.job_cgroup(spec.id, epoch);
  task->journal = **journal;
  task->restart = true;
  tasks_[spec.id] = task;
  end_original(task);
  return true;
}

}  // namespace ternd
