#include "criu/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <vector>

#include "criu/log_errors.h"
#include "machine/spawn.h"

namespace criu {
namespace {

constexpr std::size_t kOutputMax = 64 * 1024;
constexpr machine::Patience kPatience = std::chrono::seconds(10);
constexpr const char* kNextStep = "; run scripts/install-criu to fetch one that works";

struct Output {
  int status = 0;  // as of wait(2)
  std::string text;
};

// Both output streams of a short program, up to a limit; one that hangs is killed.
base::Result<Output> output_of(const std::string& program, const std::vector<std::string>& words) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return machine::io_error("make a pipe");
  const machine::Fd from(ends[0]);
  machine::Fd to(ends[1]);
  machine::SpawnSpec spec;
  spec.program = program;
  spec.argv = {program};
  spec.argv.insert(spec.argv.end(), words.begin(), words.end());
  spec.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  spec.fds = {{to.get(), 1}, {to.get(), 2}};
  spec.dir = "/";
  auto child = machine::spawn(spec);
  if (!child) return child.error();
  to.reset();
  Output out;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (bool open = true; open;) {
    const auto left =
        std::chrono::ceil<machine::Patience>(deadline - std::chrono::steady_clock::now());
    pollfd one{from.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&one, 1, static_cast<int>(left.count())) == 0) break;
    char buffer[4096];
    const ssize_t got = machine::retry([&] { return ::read(from.get(), buffer, sizeof buffer); });
    open = got > 0 && out.text.size() < kOutputMax;
    if (got > 0) out.text.append(buffer, static_cast<std::size_t>(got));
  }
  const auto left =
      std::chrono::ceil<machine::Patience>(deadline - std::chrono::steady_clock::now());
  auto status = machine::wait_for_end(*child, std::max(left, machine::Patience(1)));
  if (!status) {
    ::kill(child->pid, SIGKILL);  // not reaped yet, so still its PID
    auto killed = machine::wait_for_end(*child, kPatience);
    return base::fail(killed ? base::Code::kTimeout : killed.error().code,
                      program + " did not answer");
  }
  out.status = *status;
  return out;
}

base::Result<Program> probe_program(const std::string& path) {
  if (::access(path.c_str(), X_OK) != 0) {
    return base::fail(base::Code::kNotFound, path + " is missing or cannot be executed");
  }
  auto output = output_of(path, {"--version"});
  if (!output) return output.error();
  auto version = parse_version(output->text);
  if (!version) return base::fail(base::Code::kUnsupported, path + " does not tell its version");
  if (*version < kVersionMin) {
    return base::fail(base::Code::kUnsupported, path + " is CRIU " + version->text() + ", but " +
                                                    kVersionMin.text() + " or newer is needed");
  }
  return Program{path, *version};
}

std::vector<std::string> candidates(const Search& search) {
  std::vector<std::string> found;
  for (std::string_view rest = search.path; !rest.empty();) {
    const std::size_t colon = rest.find(':');
    const std::string_view folder = rest.substr(0, colon);
    rest.remove_prefix(colon == std::string_view::npos ? rest.size() : colon + 1);
    if (!folder.starts_with('/')) continue;  // relative: whoever chose our folder chose the program
    const std::string path = std::string(folder) + "/criu";
    if (::access(path.c_str(), X_OK) == 0) {
      found.push_back(path);
      break;  // as a shell would
    }
  }
  found.emplace_back("/opt/tern/criu/criu");
  if (search.data_home.starts_with('/')) found.push_back(search.data_home + "/tern/criu/criu");
  return found;
}

}  // namespace

std::string Version::text() const {
  std::string out = std::to_string(major) + "." + std::to_string(minor);
  if (patch != 0) out += "." + std::to_string(patch);
  return out;
}

base::Result<Version> parse_version(std::string_view text) {
  const std::size_t mark = text.find("Version:");
  if (mark == std::string_view::npos) return base::fail(base::Code::kInvalid, "no version");
  std::string_view rest = text.substr(mark + 8);
  rest.remove_prefix(std::min(rest.find_first_not_of(" \tv"), rest.size()));
  Version version;
  int* const parts[] = {&version.major, &version.minor, &version.patch};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), *parts[i]);
    if (code != std::errc() || *parts[i] < 0) {
      return base::fail(base::Code::kInvalid, "a version that is no number");
    }
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (rest.empty() || rest[0] != '.') {
      if (i == 0) return base::fail(base::Code::kInvalid, "a version without a dot");
      break;
    }
    rest.remove_prefix(1);
  }
  return version;
}

Search search_from_environment() {
  const auto get = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  Search search;
  search.path = get("PATH");
  search.data_home = get("XDG_DATA_HOME");
  if (search.data_home.empty() && !get("HOME").empty()) {
    search.data_home = get("HOME") + "/.local/share";
  }
  return search;
}

base::Result<Program> find_program(const Search& search) {
  if (!search.explicit_path.empty()) {
    auto program = probe_program(search.explicit_path);
    if (program) return program;
    return base::fail(base::Code::kUnsupported, program.error().detail + kNextStep);
  }
  std::string why;
  for (const std::string& path : candidates(search)) {
    auto program = probe_program(path);
    if (program) return program;
    if (program.error().code == base::Code::kNotFound) continue;
    why += (why.empty() ? "" : ", ") + program.error().detail;
  }
  if (why.empty()) why = "there is no CRIU on this machine, which moving jobs needs";
  return base::fail(base::Code::kUnsupported, why + kNextStep);
}

base::Status check_program(const Program& program) {
  auto output = output_of(program.path, {"check", "--no-default-config"});
  if (!output) return base::fail(base::Code::kUnsupported, output.error().detail);
  if (WIFEXITED(output->status) && WEXITSTATUS(output->status) == 0) return {};
  LogErrors errors = find_errors(output->text);
  if (errors.message.empty()) errors.message = output->text.substr(0, output->text.find('\n'));
  return base::fail(base::Code::kUnsupported,
                    "CRIU " + program.version.text() + " does not work here: " + errors.message);
}

}  // namespace criu
