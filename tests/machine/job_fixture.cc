#include "job_fixture.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/crypto.h"
#include "machine/init_root.h"

namespace machine {

bool in_ci() {
  const char* value = std::getenv("CI");
  return value != nullptr && std::string(value) == "true";
}

std::string why_no_jobs() {
  if (::geteuid() != 0) return "needs root: namespaces and control groups";
  auto own = own_cgroup();
  if (!own) return own.error().detail;
  const std::string path = *own + "/tern-test-try-" + std::to_string(::getpid());
  auto group = Cgroup::create(path);
  if (!group) return group.error().detail;
  auto removed = group->remove();
  return removed ? "" : removed.error().detail;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void JobTest::SetUp() {
  NEEDS_JOBS();
  ASSERT_TRUE(base::crypto::init().ok());
  std::string pattern = "/dev/shm/tern-job-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  dir_ = pattern;
  ASSERT_EQ(::chmod(dir_.c_str(), 0755), 0);
  job_dir_ = dir_ + "/job";
  ASSERT_EQ(::mkdir(job_dir_.c_str(), 0755), 0);
  auto helpers = install_helpers(dir_ + "/helpers");
  ASSERT_TRUE(helpers.ok()) << helpers.error().detail;
  helpers_ = *helpers;
  init_root_ = dir_ + "/helpers/root-test";
  ASSERT_TRUE(make_init_root(init_root_).ok());
  const std::string path = *own_cgroup() + "/tern-test-" + std::to_string(::getpid()) + "-" +
                           std::filesystem::path(dir_).filename().string();
  auto root = Cgroup::create(path);
  ASSERT_TRUE(root.ok()) << root.error().detail;
  root_ = std::move(*root);
  auto keepers = Cgroup::create(path + "/keepers");
  ASSERT_TRUE(keepers.ok()) << keepers.error().detail;
  keepers_ = std::move(*keepers);
  auto cgroup = Cgroup::create(path + "/job");
  ASSERT_TRUE(cgroup.ok()) << cgroup.error().detail;
  cgroup_ = std::move(*cgroup);
}

void JobTest::TearDown() {
  if (root_) {
    EXPECT_TRUE(root_->kill_all(kPatience).ok());
    if (job_) (void)wait_for_end(job_->process, kPatience);  // reaped by most tests already
    auto removed = root_->remove();
    EXPECT_TRUE(removed.ok()) << removed.error().detail;
  }
  if (!init_root_.empty()) {
    EXPECT_TRUE(remove_init_root(init_root_).ok());
  }
  std::error_code ignored;
  if (!dir_.empty()) std::filesystem::remove_all(dir_, ignored);
}

JobSpec JobTest::spec_of(std::vector<std::string> command) const {
  JobSpec spec;
  spec.init_path = helpers_.init_path;
  spec.command = std::move(command);
  spec.env = {"PATH=/usr/bin:/bin", "LC_ALL=C"};
  spec.dir = dir_;
  spec.init_root = init_root_;
  return spec;
}

void JobTest::start(const std::string& shell_command) {
  start(spec_of({"/bin/sh", "-c", shell_command}));
}

void JobTest::start(JobSpec spec) {
  auto job = start_job(spec, *cgroup_);
  ASSERT_TRUE(job.ok()) << job.error().detail;
  job_ = std::move(*job);
}

KeeperSpec JobTest::keeper_spec(bool paused) const {
  KeeperSpec spec;
  spec.keeper_path = helpers_.keeper_path;
  spec.job_dir = job_dir_;
  spec.init = job_->init;
  spec.paused = paused;
  spec.cgroup = &*keepers_;
  return spec;
}

void JobTest::start_keeper_running() {
  auto started = start_keeper(keeper_spec(), kPatience);
  ASSERT_TRUE(started.ok()) << started.error().detail;
}

KeeperClient JobTest::connect() {
  auto client = KeeperClient::connect(job_dir_);
  EXPECT_TRUE(client.ok()) << (client.ok() ? "" : client.error().detail);
  return std::move(*client);
}

init::ExitRecord JobTest::await_exit(KeeperClient& client) {
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  EXPECT_TRUE(exited.ok()) << (exited.ok() ? "" : exited.error().detail);
  auto record = read_exit(job_dir_);
  EXPECT_TRUE(record.ok()) << (record.ok() ? "" : record.error().detail);
  EXPECT_TRUE(wait_for_end(job_->process, kPatience).ok());
  EXPECT_TRUE(client.call(init::Op::kAcknowledgeExit, kPatience).ok());
  return record ? *record : init::ExitRecord{};
}

init::ExitRecord JobTest::run_to_end(const std::string& shell_command) {
  start(shell_command);
  start_keeper_running();
  auto client = connect();
  return await_exit(client);
}

std::string JobTest::output(const char* file) const { return read_file(job_dir_ + "/" + file); }

void JobTest::await_output(KeeperClient& client, std::uint64_t end, unsigned stream) {
  auto now = client.call(init::Op::kStatus, kPatience);
  ASSERT_TRUE(now.ok()) << now.error().detail;
  std::uint64_t reached = stream == 0 ? now->stdout_end : now->stderr_end;
  while (reached < end) {
    auto grew = client.wait_for(init::MessageKind::kGrew, kPatience);
    ASSERT_TRUE(grew.ok()) << grew.error().detail;
    reached = stream == 0 ? grew->stdout_end : grew->stderr_end;
  }
}

}  // namespace machine
