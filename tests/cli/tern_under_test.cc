// The program with a daemon that answers ping and up, then ends; named "stays", it
// waits for down. TERN_TEST_LEARNS is cli::Hooks::daemon_learns in milliseconds.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cli/cli.h"

namespace {

int run_daemon(const control::DaemonOptions& options) {
  for (const std::string& argument : control::daemon_arguments(options)) {
    (void)std::fprintf(stderr, "[%s]", argument.c_str());
  }
  (void)std::fputs("\n", stderr);
  if (options.name == "broken") {
    (void)std::fputs("the port is taken\n", stderr);
    return 1;
  }
  if (!options.name) return 42;
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, options.paths.socket.c_str(), options.paths.socket.size() + 1);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 1;
  (void)::listen(listener, 4);
  bool more = true;
  for (int served = 1; more; ++served) {
    const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    std::string request;
    char byte = 0;
    while (::read(client, &byte, 1) == 1 && byte != '\n') request += byte;
    more = options.name == "stays" ? request.find("\"down\"") == request.npos : served < 2;
    const std::string answer = "{\"ok\":true,\"data\":{\"pid\":" + std::to_string(::getpid()) +
                               ",\"name\":\"desk\",\"mesh\":{\"id\":\"aa\",\"name\":\"home\"},"
                               "\"created\":true,\"jobs_left_running\":2}}\n";
    (void)::send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
    ::close(client);
  }
  return 0;
}

// A machine without CRIU, if its daemon were to look for it at /missing.
std::vector<control::Check> examine(const control::DaemonOptions& options) {
  const control::Check logind{"logind", true, "not there", "", /*note=*/true};
  if (options.criu != "/missing") return {{"CRIU", true, "4.2", ""}, logind};
  return {{"root", true, "yes", ""}, logind, {"CRIU", false, "there is none", "get one"}};
}

}  // namespace

int main(int argc, char** argv) {
  cli::Hooks hooks{run_daemon, examine};
  if (const char* learns = std::getenv("TERN_TEST_LEARNS"); learns != nullptr) {
    hooks.daemon_learns = std::chrono::milliseconds(std::stoi(learns));
  }
  return cli::run_cli(argc, argv, hooks);
}
