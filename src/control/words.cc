// Signals, names and references as people write them (declared in control/request.h).
#include <algorithm>

#include "control/request.h"

namespace control {
namespace {

using base::Code;
using base::fail;

struct SignalName {
  std::string_view name;
  int number;
};

// Numbers of Linux on x86 and ARM (signal(7)); written out, so that a request means the same
// wherever it is read.
constexpr SignalName kSignals[] = {
    {"HUP", 1},   {"INT", 2},     {"QUIT", 3},  {"ILL", 4},     {"TRAP", 5},  {"ABRT", 6},
    {"BUS", 7},   {"FPE", 8},     {"KILL", 9},  {"USR1", 10},   {"SEGV", 11}, {"USR2", 12},
    {"PIPE", 13}, {"ALRM", 14},   {"TERM", 15}, {"STKFLT", 16}, {"CHLD", 17}, {"CONT", 18},
    {"STOP", 19}, {"TSTP", 20},   {"TTIN", 21}, {"TTOU", 22},   {"URG", 23},  {"XCPU", 24},
    {"XFSZ", 25}, {"VTALRM", 26}, {"PROF", 27}, {"WINCH", 28},  {"IO", 29},   {"PWR", 30},
    {"SYS", 31}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_name_character(char c) {
  return is_digit(c) || is_letter(c) || c == '.' || c == '_' || c == '-';
}

}  // namespace

base::Result<int> parse_signal(std::string_view text) {
  const auto unknown = [] {
    return fail(Code::kInvalid, "there is no such signal; TERM, INT, KILL or a number is meant");
  };
  if (text.empty() || text.size() > 16) return unknown();
  if (std::all_of(text.begin(), text.end(), is_digit)) {
    if (text.size() > 2) return unknown();
    int number = 0;
    for (const char c : text) number = number * 10 + (c - '0');
    const bool reserved = number == 32 || number == 33;  // glibc's own: nptl(7)
    if (number < 1 || number > 64 || reserved) return unknown();
    return number;
  }
  std::string name(text);
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (const SignalName& known : kSignals) {
    if (known.name == name) return known.number;
  }
  return unknown();
}

std::string signal_name(int number) {
  for (const SignalName& known : kSignals) {
    if (known.number == number) return std::string(known.name);
  }
  return std::to_string(number);
}

base::Status check_reference(std::string_view reference) {
  if (reference.empty() || reference.size() > kReferenceBytesMax ||
      !std::all_of(reference.begin(), reference.end(), is_name_character)) {
    return fail(Code::kInvalid,
                "that is neither a name nor an id: letters, digits, '.', '_' and '-' are meant");
  }
  return {};
}

base::Status check_offer(std::string_view offer) {
  const auto is_hex = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); };
  if (offer.size() < 4 || offer.size() > kShareIdDigits ||
      !std::all_of(offer.begin(), offer.end(), is_hex)) {
    return fail(Code::kInvalid,
                "that is no id of an offer, which tern inbox shows: 4 digits of it "
                "or more are meant");
  }
  return {};
}

base::Status check_name(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax ||
      !std::all_of(name.begin(), name.end(), is_name_character) ||
      !(is_digit(name[0]) || is_letter(name[0]))) {
    return fail(Code::kInvalid,
                "a name is 1 to 64 letters, digits, '.', '_' and '-', and starts with a letter or "
                "digit");
  }
  if (name == "best" || name == "home" || name == "here") {
    return fail(Code::kInvalid, "\"" + std::string(name) + "\" has a meaning of its own in tern");
  }
  return {};
}

}  // namespace control
