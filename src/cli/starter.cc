#include "cli/starter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "cli/waiting.h"

namespace cli {
namespace {

using base::Code;
using base::fail;
using machine::Fd;

constexpr std::chrono::seconds kStartPatience{30};
constexpr std::size_t kLogTailLines = 5;

base::Result<control::Ping> ping(Context& context) {
  Ask how;
  how.patience = std::chrono::seconds(5);
  auto final = ask(context, control::PingRequest{}, how);
  if (!final) return final.error();
  if (!final->ok) return fail(Code::kIo, final->error);
  return control::parse_ping(final->data);
}

// The folders that the daemon needs first: for its log, and to watch for its socket.
base::Status make_folders(const control::Paths& paths) {
  for (const std::string& dir : {paths.state_dir, control::split_path(paths.socket).dir}) {
    std::error_code error;
    const bool made = std::filesystem::create_directories(dir, error);
    if (error) return fail(Code::kIo, "cannot make " + dir + ": " + error.message());
    // State is for its owner; the system's socket folder is for everybody to look into.
    const mode_t mode =
        dir == paths.state_dir || paths.socket != control::kSystemSocket ? 0700 : 0755;
    if (made && ::chmod(dir.c_str(), mode) != 0) {
      return machine::io_error("set the permissions of " + dir);
    }
  }
  return {};
}

// Between fork and exec: only what is safe there (signal-safety(7)).
[[noreturn]] void become_daemon(int log, int nothing, char* const* argv) {
  (void)::setsid();
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGQUIT}) {
    (void)::signal(signal, SIG_DFL);
  }
  if (::dup2(nothing, 0) < 0 || ::dup2(log, 1) < 0 || ::dup2(log, 2) < 0) ::_exit(126);
  (void)::chdir("/");
  (void)::syscall(SYS_close_range, 3U, ~0U, 0U);
  ::execv("/proc/self/exe", argv);
  ::_exit(127);
}

base::Result<pid_t> spawn_daemon(const control::DaemonOptions& options) {
  const std::string log_path = options.paths.log_file();
  const Fd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.valid()) return machine::io_error("open " + log_path);
  const Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!nothing.valid()) return machine::io_error("open /dev/null");
  std::vector<std::string> arguments = control::daemon_arguments(options);
  arguments.insert(arguments.begin(), "tern");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return machine::io_error("start a process");
  if (pid == 0) become_daemon(log.get(), nothing.get(), argv.data());
  return pid;
}

std::string log_tail(const std::string& path, std::uintmax_t from) {
  std::ifstream file(path);
  file.seekg(static_cast<std::streamoff>(from));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
    if (lines.size() > kLogTailLines) lines.erase(lines.begin());
  }
  std::string out;
  for (const std::string& line : lines) out += (out.empty() ? "" : " / ") + line;
  return out;
}

base::Error ended(const std::string& log_path, std::uintmax_t log_from) {
  const std::string tail = log_tail(log_path, log_from);
  std::string sentence = "the daemon ended while it started";
  sentence += tail.empty() ? "; its log is empty: " + log_path : "; it said: " + tail;
  return fail(Code::kIo, std::move(sentence));
}

base::Result<control::Ping> wait_until_it_answers(Context& context, pid_t pid,
                                                  std::uintmax_t log_from) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  SocketRetry retry(context.paths.socket);
  const auto deadline = std::chrono::steady_clock::now() + kStartPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    auto answer = ping(context);
    if (answer) return answer;
    const Code code = answer.error().code;
    if (code != Code::kUnreachable && code != Code::kTimeout) return answer;
    if (!retry.wait(process.get())) continue;
    (void)machine::retry([&] { return ::waitpid(pid, nullptr, 0); });
    // It may have ended because another one, started at the same moment, was first.
    auto other = ping(context);
    if (other) return other;
    return ended(context.paths.log_file(), log_from);
  }
  return fail(Code::kTimeout,
              "the daemon was started but does not answer; its log is " + context.paths.log_file());
}

}  // namespace

base::Result<Started> ensure_daemon(Context& context, const control::DaemonOptions& options) {
  std::error_code absent;
  if (std::filesystem::exists(context.paths.state_dir, absent)) {
    context.paths.system_socket.clear();
  }
  auto answer = ping(context);
  if (answer) return Started{false, *std::move(answer)};
  if (answer.error().code != Code::kUnreachable) return answer.error();
  context.paths.system_socket.clear();  // from here on her own is meant
  const auto folders = make_folders(context.paths);
  if (!folders) return folders.error();
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(context.paths.log_file(), error);
  const auto pid = spawn_daemon(options);
  if (!pid) return pid.error();
  auto started = wait_until_it_answers(context, *pid, error ? 0 : size);
  if (!started) return started.error();
  return Started{true, *std::move(started)};
}

}  // namespace cli
