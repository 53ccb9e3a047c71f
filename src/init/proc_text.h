// What the guard reads of a process in /proc, as pure functions of the text (proc(5)).
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace init {

struct MapsLine {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  int rights = PROT_NONE;  // PROT_...
  bool shared = false;
};

// One line of /proc/PID/maps: "55d0-55d4 r-xp 00002000 fe:01 1234 /usr/bin/x". False: it is none.
inline bool parse_maps_line(const char* line, MapsLine* out) {
  char* at = nullptr;
  out->begin = std::strtoull(line, &at, 16);
  if (at == line || *at != '-') return false;
  const char* second = at + 1;
  out->end = std::strtoull(second, &at, 16);
  if (at == second || *at != ' ' || out->end <= out->begin) return false;
  if (strnlen(at, 6) < 6 || at[5] != ' ') return false;
  out->rights = (at[1] == 'r' ? PROT_READ : 0) | (at[2] == 'w' ? PROT_WRITE : 0) |
                (at[3] == 'x' ? PROT_EXEC : 0);
  out->shared = at[4] == 's';
  return true;
}

// Field 22 of /proc/PID/stat. The name before it may hold anything, parentheses too. 0: not found
// (no process but the first of a machine starts at tick 0).
inline std::uint64_t parse_start_ticks(const char* stat) {
  const char* at = std::strrchr(stat, ')');
  if (at == nullptr) return 0;
  for (int field = 2; field < 22; ++field) {
    at = std::strchr(at + 1, ' ');
    if (at == nullptr) return 0;
  }
  return std::strtoull(at + 1, nullptr, 10);
}

// A zombie, or on its last step: its state follows the name in /proc/PID/stat.
inline bool parse_dead(const char* stat) {
  const char* at = std::strrchr(stat, ')');
  return at != nullptr && at[1] == ' ' && (at[2] == 'Z' || at[2] == 'X');
}

// "TracerPid:\t123" in /proc/PID/status: by anyone.
inline bool parse_traced(const char* status) {
  constexpr char kName[] = "\nTracerPid:\t";
  const char* at = std::strstr(status, kName);
  return at != nullptr && std::strtoul(at + sizeof kName - 1, nullptr, 10) != 0;
}

// "Umask:\t0022" in /proc/PID/status. -1: not found.
inline int parse_umask(const char* status) {
  constexpr char kName[] = "\nUmask:\t";
  const char* at = std::strstr(status, kName);
  if (at == nullptr) return -1;
  at += sizeof kName - 1;
  char* end = nullptr;
  const unsigned long mask = std::strtoul(at, &end, 8);
  return end != at && mask <= 0777 ? static_cast<int>(mask) : -1;
}

// "frozen 1" in cgroup.events.
inline bool parse_frozen(const char* events) {
  const char* at = std::strstr(events, "frozen ");
  return at != nullptr && at[7] == '1';
}

}  // namespace init
