#include "control/settings_file.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "control/limits.h"
#include "control/request.h"

// The whole library is its header. It asserts what it should report (3.3.0 aborts at "x = [ }", and
// with NDEBUG assumes that it cannot be): without the assertion the next check finds the mistake.
#undef NDEBUG
#define TOML_ASSERT(expr) static_assert(true)
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace control {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;

constexpr std::size_t kShownBytesMax = 200;  // of what the file or the library says

// ---- one value each; an error says what would be right, without the key

base::Error meant(std::string what) { return fail(Code::kInvalid, std::move(what) + " is meant"); }

Result<std::string> text_of(const toml::node& node) {
  const auto text = node.value_exact<std::string>();
  if (!text || text->find('\0') != std::string::npos) return meant("a text in quotes");
  return *text;
}

Result<std::string> path_of(const toml::node& node) {
  auto path = text_of(node);
  if (path && path->starts_with('/') && path->size() < kPathBytesMax) return path;
  return meant("an absolute path in quotes");
}

Result<bool> boolean_of(const toml::node& node) {
  const auto value = node.value_exact<bool>();
  if (!value) return meant("true or false");
  return *value;
}

Result<std::int64_t> whole_of(const toml::node& node, std::int64_t min, std::int64_t max) {
  const auto value = node.value_exact<std::int64_t>();
  if (value && *value >= min && *value <= max) return *value;
  return meant("a whole number from " + std::to_string(min) + " to " + std::to_string(max));
}

// The parsers of the command line name the option; here its key stands before the sentence already.
base::Error without_option(const base::Error& error, const std::string& key) {
  std::string text = error.detail;
  if (text.starts_with("--" + key)) text.erase(0, 2 + key.size());
  if (text.starts_with(": ")) text.erase(0, 2);
  if (text.starts_with(" is ")) text.erase(0, 4);
  return fail(error.code, std::move(text));
}

template <typename T, typename To>
Status put(Result<T> value, To& to) {
  if (!value) return value.error();
  to = *std::move(value);
  return {};
}

template <typename T, typename To>
Status put_parsed(const toml::node& node, const char* key, Result<T> (*parse)(std::string_view),
                  To& to) {
  const auto text = text_of(node);
  if (!text) return text.error();
  auto value = parse(*text);
  if (!value) return without_option(value.error(), key);
  to = *std::move(value);
  return {};
}

Status put_name(const toml::node& node, std::optional<std::string>& to) {
  auto text = text_of(node);
  if (!text) return text.error();
  if (auto checked = check_name(*text); !checked) return checked;
  to = *std::move(text);
  return {};
}

Status put_peers(const toml::node& node, std::vector<base::Endpoint>& to) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > kPeersMax) {
    return meant("a list of at most " + std::to_string(kPeersMax) +
                 " addresses, such as [\"192.0.2.7:7333\"],");
  }
  to.clear();
  for (const toml::node& element : *list) {
    base::Endpoint peer;
    if (auto status = put_parsed(element, "peer", parse_peer, peer); !status) return status;
    to.push_back(peer);
  }
  return {};
}

Status put_uids(const toml::node& node, std::vector<std::uint32_t>& to) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > kPolicyUidsMax) {
    return meant("a list of at most " + std::to_string(kPolicyUidsMax) + " uids, such as [1000],");
  }
  to.clear();
  for (const toml::node& element : *list) {
    const auto uid = whole_of(element, 0, UINT32_MAX - 1);  // the last one means "none"
    if (!uid) return uid.error();
    to.push_back(static_cast<std::uint32_t>(*uid));
  }
  return {};
}

Status put_cpus(const toml::node& node, std::optional<std::int64_t>& to) {
  const auto cpus = node.is_number() ? node.value<double>() : std::nullopt;
  constexpr double kMax = 4096;
  if (!cpus || !(*cpus >= 0.001) || !(*cpus <= kMax)) return meant("a number from 0.001 to 4096");
  to = std::llround(*cpus * 1000);
  return {};
}

struct Key {
  const char* name;
  Status (*put)(const toml::node& node, DaemonOptions& to);
};
using Node = toml::node;
using Options = DaemonOptions;

constexpr Key kKeys[] = {
    {"name", [](const Node& n, Options& to) { return put_name(n, to.name); }},
    {"listen",
     [](const Node& n, Options& to) { return put_parsed(n, "listen", parse_listen, to.listen); }},
    {"peer", [](const Node& n, Options& to) { return put_peers(n, to.peers); }},
    {"discovery", [](const Node& n, Options& to) { return put(boolean_of(n), to.discovery); }},
    {"load-source",
     [](const Node& n, Options& to) {
       return put_parsed(n, "load-source", parse_load_source, to.load_source);
     }},
    {"load-window",
     [](const Node& n, Options& to) {
       return put(whole_of(n, 1, kLoadWindowSecondsMax), to.load_window_seconds);
     }},
    {"cgroup", [](const Node& n, Options& to) { return put_name(n, to.cgroup); }},
    {"criu", [](const Node& n, Options& to) { return put(path_of(n), to.criu); }},
    {"allow-root-jobs",
     [](const Node& n, Options& to) { return put(boolean_of(n), to.allow_root_jobs); }},
    {"policy-uids", [](const Node& n, Options& to) { return put_uids(n, to.policy_uids); }},
    {"owner-active",
     [](const Node& n, Options& to) {
       return put_parsed(n, "owner-active", parse_yield_word, to.owner_active);
     }},
    {"on-battery",
     [](const Node& n, Options& to) {
       return put_parsed(n, "on-battery", parse_yield_word, to.on_battery);
     }},
    {"battery-low",
     [](const Node& n, Options& to) {
       return put_parsed(n, "battery-low", parse_yield_word, to.battery_low);
     }},
    {"on-metered",
     [](const Node& n, Options& to) {
       return put_parsed(n, "on-metered", parse_yield_word, to.on_metered);
     }},
    {"on-sleep",
     [](const Node& n, Options& to) {
       return put_parsed(n, "on-sleep", parse_yield_word, to.on_sleep);
     }},
    {"share", [](const Node& n,
                 Options& to) { return put_parsed(n, "share", parse_share_policy, to.share); }},
    {"inbox", [](const Node& n, Options& to) { return put(path_of(n), to.inbox); }},
    {"output-limit",
     [](const Node& n, Options& to) {
       return put_parsed(n, "output-limit", parse_output_limit, to.output_limit_bytes);
     }},
    {"log-level",
     [](const Node& n, Options& to) {
       return put_parsed(n, "log-level", parse_log_level, to.log_level);
     }},
    {"log-file", [](const Node& n, Options& to) { return put(path_of(n), to.log_file); }},
    {"cpus", [](const Node& n, Options& to) { return put_cpus(n, to.cpus_millis); }},
};

std::string known_keys() {
  std::string out;
  for (const Key& key : kKeys) out += (out.empty() ? "" : ", ") + std::string(key.name);
  return out;
}

// A key as it stands in the file, fit for one line of a terminal.
std::string shown(std::string_view key) {
  std::string out(key.substr(0, kShownBytesMax));
  for (char& c : out) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return out;
}

Status apply(DaemonOptions& options, const std::string& name, const toml::node& node) {
  const auto* const key = std::find_if(std::begin(kKeys), std::end(kKeys),
                                       [&](const Key& one) { return one.name == name; });
  if (key == std::end(kKeys)) {
    return fail(Code::kInvalid, "there is no setting of this name; there are: " + known_keys());
  }
  DaemonOptions overridden;  // checked, and of no further use
  const bool given = options.given.contains(name);
  if (auto status = key->put(node, given ? overridden : options); !status) return status;
  if (!given) options.from_file.insert(name);
  return {};
}

// The text as the library may see it, or the first line that it must not: its tables of letters
// beyond ASCII run into undefined behaviour at some of them (3.3.0, U+FEF7). Where a line begins as
// a comment they are blanked out; a text over several lines, where that could be none, is no
// setting.
base::Result<std::string> in_ascii(std::string_view text, toml::source_index& line) {
  std::string out(text);
  bool comment = false;
  bool blank = true;  // so far, this line
  line = 1;
  for (char& c : out) {
    if (c == '\n') {
      ++line;
      comment = false;
      blank = true;
    } else if (blank && c != ' ' && c != '\t') {
      blank = false;
      comment = c == '#';
    }
    if (static_cast<unsigned char>(c) < 0x80) continue;
    if (!comment) return fail(Code::kInvalid, "letters beyond ASCII belong into lines of comment");
    c = '?';
  }
  return out;
}

}  // namespace

base::Status apply_settings(DaemonOptions& options, std::string_view text,
                            const std::string& path) {
  if (text.size() > kSettingsBytesMax) {
    return fail(Code::kTooLarge,
                path + ": more than " + std::to_string(kSettingsBytesMax / 1024) + " KiB");
  }
  const auto at = [&](toml::source_index line, const std::string& what) {
    return fail(Code::kInvalid, path + ":" + std::to_string(line) + ": " + what);
  };
  toml::source_index line_read = 0;
  const auto ascii = in_ascii(text, line_read);
  if (!ascii) return at(line_read, ascii.error().detail);
  toml::table table;
  try {
    table = toml::parse(*ascii);
  } catch (const toml::parse_error& error) {
    return at(error.source().begin.line, shown(error.description()));
  }
  // The table is sorted by name; people read from the top.
  std::optional<base::Error> first;
  toml::source_index first_line = 0;
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    const base::Status status = apply(options, name, node);
    const toml::source_index line = key.source().begin.line;
    if (status || (first && line >= first_line)) continue;
    first = at(line, shown(name) + ": " + status.error().detail);
    first_line = line;
  }
  if (first) return *first;
  return {};
}

}  // namespace control
