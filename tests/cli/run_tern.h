// Runs the program as a person would: another process, its own descriptors, arguments and signals.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>
#include <vector>

namespace cli {

struct Ran {
  int exit = -1;    // the exit code, or -1
  int signal = 0;   // what ended it, or 0
  std::string out;  // standard output
  std::string err;  // standard error
};

struct How {
  std::string input;
  bool terminal = false;   // standard output is one, 60 columns wide
  bool close_out = false;  // nobody reads standard output
  bool no_out = false;     // it is not even open
  std::vector<std::string> environment;
  std::string signal_when;  // once standard error holds this...
  int signal = 0;           // ...it gets this signal
};

inline Ran run_tern(const std::vector<std::string>& arguments, const How& how = {}) {
  std::array<int, 2> in{}, out{}, err{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) std::abort();
  if (how.terminal) {
    winsize size{24, 60, 0, 0};
    if (::openpty(&out[0], &out[1], nullptr, nullptr, &size) != 0) std::abort();
    (void)::fcntl(out[0], F_SETFD, FD_CLOEXEC);
    (void)::fcntl(out[1], F_SETFD, FD_CLOEXEC);
  } else if (::pipe2(out.data(), O_CLOEXEC) != 0) {
    std::abort();
  }
  std::vector<std::string> words = arguments;
  words.insert(words.begin(), "tern");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<std::string> variables = how.environment;
  variables.insert(variables.end(), {"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TERM=xterm"});
  std::vector<char*> envp;
  for (std::string& variable : variables) envp.push_back(variable.data());
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Without input there is none to pass on to a job.
  if (how.input.empty()) {
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  } else {
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  }
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  if (how.no_out) posix_spawn_file_actions_addclose(&actions, 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  // As from a person's shell, whatever this process was started with (nohup, a background job).
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&signals, signal);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  if (::posix_spawn(&pid, TERN_UNDER_TEST, &actions, &attributes, argv.data(), envp.data()) != 0) {
    std::abort();
  }
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  for (const int fd : {in[0], out[1], err[1]}) ::close(fd);
  (void)!::write(in[1], how.input.data(), how.input.size());
  ::close(in[1]);
  Ran ran;
  bool signalled = false;
  if (how.close_out) ::close(out[0]);
  std::array<pollfd, 2> fds = {pollfd{how.close_out ? -1 : out[0], POLLIN, 0},
                               pollfd{err[0], POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    (void)::poll(fds.data(), fds.size(), -1);
    for (std::size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      std::array<char, 65536> buffer;
      const ssize_t got = ::read(fds[i].fd, buffer.data(), buffer.size());
      if (got <= 0) {
        ::close(fds[i].fd);
        fds[i].fd = -1;
      } else {
        (i == 0 ? ran.out : ran.err).append(buffer.data(), static_cast<std::size_t>(got));
        if (!signalled && how.signal != 0 && ran.err.find(how.signal_when) != std::string::npos) {
          signalled = ::kill(pid, how.signal) == 0;
        }
      }
    }
  }
  int status = 0;
  (void)::waitpid(pid, &status, 0);
  if (WIFEXITED(status)) ran.exit = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ran.signal = WTERMSIG(status);
  return ran;
}

}  // namespace cli
