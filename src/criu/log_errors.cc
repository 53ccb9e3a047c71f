#include "criu/log_errors.h"

#include <array>

#include "criu/limits.h"

namespace criu {
namespace {

struct Known {
  std::string_view part;      // of CRIU's text
  std::string_view sentence;  // ours; CRIU's text follows in brackets
};

constexpr std::array kKnown = {
    Known{": File exists", "a process number that the job needs is taken here"},
    Known{"external unix socket", "it is connected by a unix socket to a program outside the job"},
    Known{"External socket is used",
          "it is connected by a unix socket to a program outside the job"},
    Known{"half of stream unix connection",
          "it is connected by a unix socket to a program outside the job"},
    Known{"Connected TCP socket", "it has an open TCP connection, which only --tcp-close closes"},
    Known{"ghost file", "a deleted file that it has open is too large to travel along"},
    Known{"has bad size", "a file that it uses has another size here"},
    Known{"has bad mode", "a file that it uses has other permissions here"},
    Known{"build-id", "a program or library that it uses is another version here"},
    Known{"on restore: No such file", "a file that it uses was removed here; put it back"},
    Known{"file locks are hold", "it holds file locks, which cannot move"},
    Known{"lock!", "a file that it has locked is locked here by another program"},
    Known{"SysVIPC shmem", "it shares System V memory with programs outside the job"},
    Known{"userfaultfd", "it uses userfaultfd, which cannot move"},
    Known{"io_uring", "it uses io_uring, which cannot move"},
    Known{"Can't dump file", "it has a kind of file open that cannot move"},
    Known{"is being traced", "another program traces it"},
    Known{"Address already in use", "a network port that it listens on is taken here"},
    Known{"Cannot allocate memory", "there is not enough memory"},
    Known{"No space left on device", "there is not enough memory or disk space"},
    Known{"Operation not permitted", "CRIU lacks a permission"},
};

bool is_echo(std::string_view text) {
  return text.find("RLIMIT_NOFILE") != std::string_view::npos ||
         text.find("Dumping FAILED") != std::string_view::npos ||
         text.find("Restoring FAILED") != std::string_view::npos;
}

std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c < ' ' || c == 0x7f) c = '?';  // negative: bytes of UTF-8 or rubbish, both too
  }
  return out;
}

std::string sentence_for(std::string_view text) {
  for (const Known& known : kKnown) {
    if (text.find(known.part) != std::string_view::npos) {
      return std::string(known.sentence) + " (CRIU: " + printable(text) + ")";
    }
  }
  return "CRIU: " + printable(text);
}

}  // namespace

LogErrors find_errors(std::string_view log) {
  LogErrors found;
  while (!log.empty()) {
    const std::size_t end = log.find('\n');
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(end == std::string_view::npos ? log.size() : end + 1);
    const std::size_t mark = line.find("Error (");
    if (mark == std::string_view::npos) continue;
    const std::size_t colon = line.find("): ", mark);
    if (colon == std::string_view::npos) continue;
    const std::string_view text = line.substr(colon + 3);
    if (is_echo(text)) continue;
    if (found.message.empty()) found.message = sentence_for(text.substr(0, kErrorTextMax / 4));
    const std::string_view kept = line.substr(mark, kErrorTextMax / 4);
    if (found.original.size() + kept.size() + 1 > kErrorTextMax) continue;
    if (!found.original.empty()) found.original += '\n';
    found.original += printable(kept);
  }
  return found;
}

}  // namespace criu
