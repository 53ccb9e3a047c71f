#include "probe/terminals.h"

#include <utmp.h>

#include <algorithm>
#include <cstring>

namespace probe {
namespace {

bool is_plain(const std::string& line) {
  const auto fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/';
  };
  return !line.empty() && line.front() != '/' && std::all_of(line.begin(), line.end(), fine);
}

}  // namespace

std::vector<std::string> parse_utmp(base::ByteView bytes) {
  std::vector<std::string> out;
  for (; bytes.size() >= sizeof(utmp); bytes = bytes.subspan(sizeof(utmp))) {
    utmp record{};
    std::memcpy(&record, bytes.data(), sizeof record);
    if (record.ut_type != USER_PROCESS || out.size() >= kTerminalsMax) continue;
    const std::string line(record.ut_line, ::strnlen(record.ut_line, sizeof record.ut_line));
    if (is_plain(line)) out.push_back(line);
  }
  return out;
}

}  // namespace probe
