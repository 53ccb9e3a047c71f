#include "tidy_checks.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string_view>

namespace tidy {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kColumnsMax = 100;
constexpr std::size_t kLinesMax = 500;
// Files that may be longer, each with its reason.
const std::map<std::string, std::string> kLongFiles = {
    {"tests/e2e/harness.py", "one fixture; the tests read it as one vocabulary"},
    {"tests/transfer/image_check_test.cc", "one refusal after another over one fixture"},
    {"tests/transfer/secure_stream_test.cc", "one protocol, its cases share their rig"},
};
const std::set<std::string> kModules = {
    "base", "identity", "probe",   "gossip", "balance", "transfer", "control", "node", "loop",
    "bus",  "init",     "machine", "criu",   "daemon",  "cli",      "main",    "sim"};
const std::set<std::string> kCores = {"base",    "identity", "probe",   "gossip",
                                      "balance", "transfer", "control", "node"};
// Hosts that anybody can reach. Others are somebody's own machine, mirror or proxy.
const std::set<std::string> kPublicHosts = {"github.com",
                                            "criu.org",
                                            "www.apache.org",
                                            "apache.org",
                                            "noiseprotocol.org",
                                            "raft.github.io",
                                            "docs.kernel.org",
                                            "www.kernel.org",
                                            "man7.org",
                                            "www.rfc-editor.org",
                                            "datatracker.ietf.org",
                                            "www.debian.org",
                                            "doc.libsodium.org",
                                            "libuv.org",
                                            "docs.libuv.org",
                                            "llvm.org",
                                            "prng.di.unimi.it",
                                            "localhost",
                                            "127.0.0.1",
                                            "download.opensuse.org",
                                            "api.github.com",
                                            "www.cs.cornell.edu",
                                            "arxiv.org",
                                            "www.w3.org"};

bool is_in(const std::string& path, std::string_view folder) { return path.starts_with(folder); }
bool is_header(const std::string& path) { return path.ends_with(".h"); }
bool is_cpp(const std::string& path) {
  return is_header(path) || path.ends_with(".cc") || path.ends_with(".c");
}
bool is_doc(const std::string& path) { return path.ends_with(".md"); }
std::string module_of(const std::string& path) {
  if (!is_in(path, "src/")) return {};
  return path.substr(4, path.find('/', 4) - 4);
}
bool is_core(const std::string& path) { return is_cpp(path) && kCores.contains(module_of(path)); }

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Comments and the insides of literals as blanks, so that prose about time() is no call of it.
std::string code_only(const std::string& text) {
  std::string out = text;
  std::string until;  // what ends the part that is being blanked; empty in code
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (until.empty()) {
      const bool after_word = i > 0 && (std::isalnum(static_cast<unsigned char>(text[i - 1])) != 0);
      if (text.compare(i, 2, "//") == 0) until = "\n";
      if (text.compare(i, 2, "/*") == 0) until = "*/";
      if (text.compare(i, 2, "R\"") == 0 && !after_word) {
        const std::size_t open = text.find('(', i);
        if (open != std::string::npos) until = ")" + text.substr(i + 2, open - i - 2) + "\"";
        i = std::min(open, text.size() - 1);
        continue;
      }
      if (text[i] == '"') until = "\"";
      if (text[i] == '\'' && !after_word) until = "'";  // after a digit it parts thousands
      continue;
    }
    if (text.compare(i, until.size(), until) == 0) {
      i += until.size() - 1;
      until.clear();
      continue;
    }
    const bool escapes = until == "\"" || until == "'";
    if (text[i] != '\n') out[i] = ' ';
    if (escapes && text[i] == '\\' && i + 1 < text.size()) out[++i] = ' ';
  }
  return out;
}

struct Rule {
  const char* name;
  bool (*applies)(const std::string& path);
  bool in_code;  // looked for in code_only(); else in the text as it is
  std::regex pattern;
  const char* fix;
};

bool in_cpp(const std::string& path) { return is_cpp(path); }
// Tests may share a helper of their own folder; everything else is found by its module.
bool in_built(const std::string& path) { return is_cpp(path) && !is_in(path, "tests/"); }
bool in_all(const std::string&) { return true; }
// What other modules see; x_internal.h and internal.h are for their own folder only.
bool in_src_header(const std::string& path) {
  return is_header(path) && is_in(path, "src/") && !path.ends_with("internal.h");
}
bool in_tests(const std::string& path) { return is_cpp(path) && is_in(path, "tests/"); }
bool in_core_but_check(const std::string& path) {
  return is_core(path) && path != "src/base/check.cc";
}
bool not_doc(const std::string& path) { return !is_doc(path); }
// Shell has commands that break worse than they wrap.
bool is_wrapped(const std::string& path) {
  return is_cpp(path) || path.ends_with(".cmake") || path.ends_with("CMakeLists.txt");
}

// A call by name, bare or as ::name or std::name, but no method and no other class's function.
std::string call(const std::string& names) {
  return R"((^|[^\w.>:])(std)?(::)?()" + names + R"()\s*\()";
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> kRules = {
      {"core header", is_core, true,
       std::regex(R"(#\s*include\s*<(iostream|fstream|filesystem|thread|mutex|shared_mutex|future|)"
                  R"(condition_variable|random|ctime|time\.h|uv\.h|spdlog/.*|unistd\.h|fcntl\.h|)"
                  R"(dirent\.h|netdb\.h|poll\.h|signal\.h|pthread\.h|sys/.*|netinet/.*|arpa/.*|)"
                  R"(linux/.*)>)"),
       "a core does no I/O: let the host do it and bring the outcome in as an event"},
      {"core call", is_core, true,
       std::regex(call("time|clock|gettimeofday|clock_gettime|getenv|secure_getenv|rand|srand|"
                       "random|drand48|getrandom|fopen|socket|usleep|nanosleep|getpid|system")),
       "time, randomness and the environment come in as arguments (base::Time, base::Rng)"},
      {"core clock", is_core, true,
       std::regex(R"(::now\s*\(|\b(system|steady|high_resolution)_clock\b)"),
       "take a base::Time argument; the host reads the clock"},
      {"core randomness", is_core, true,
       std::regex(R"(\brandombytes|\brandom_device\b|\bstd::\w+_distribution\b|\bmt19937)"),
       "use the base::Rng that was passed in; keys and seeds arrive as arguments"},
      {"core exception", is_core, true, std::regex(R"(\bthrow\b)"),
       "return base::Result, or CHECK if only our bug can cause it"},
      {"core thread", is_core, true,
       std::regex(R"(\bstd::(thread|jthread|mutex|async|atomic)\b|\bthread_local\b)"),
       "cores are driven by one caller; threads belong to the host"},
      {"core output", in_core_but_check, true,
       std::regex(R"(\bstd::(cout|cerr|clog)\b|\b(printf|fprintf|puts)\s*\()"),
       "write to the base::Log that was passed in"},
      {"relative include", in_cpp, false, std::regex(R"(^\s*#\s*include\s*"\.)"),
       "include \"module/file.h\""},
      {"include without module", in_built, false, std::regex(R"(^\s*#\s*include\s*"[^/"]*")"),
       "include \"module/file.h\", also within one folder"},
      {"third party in a header", in_src_header, true,
       std::regex(R"(#\s*include\s*<(msgpack|sodium|uv\.h|spdlog|nlohmann|toml\+\+|CLI/|)"
                  R"(gtest|gmock))"),
       "include it in the .cc file; hide its types behind ours"},
      {"sleep in a test", in_tests, true,
       std::regex(R"(\bsleep_(for|until)\b|)" + call("sleep|usleep|nanosleep")),
       "wait for the thing itself (an event, a descriptor, a state), with a bound"},
      {"unfinished", in_all, false,
       std::regex("\\b(TO"
                  "DO|FIX"
                  "ME|X"
                  "XX)\\b"),
       "do it now or open an issue"},
      {"tab", not_doc, false, std::regex("\t"), "indent with spaces"},
      {"trailing blank", not_doc, false, std::regex(R"([ \t]+$)"), "remove it"},
      {"path of one machine", in_all, false,
       std::regex(R"((^|[\s"'=(:`])/()"
                  "wo"
                  R"(rk|home|Users|root)/\w\w)"),
       "name it relative to the checkout, or take it from an argument"},
  };
  return kRules;
}

void check_lines(const File& file, std::vector<Finding>& findings) {
  const std::vector<std::string> text = lines_of(file.text);
  const std::vector<std::string> code = is_cpp(file.path) ? lines_of(code_only(file.text)) : text;
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const Rule& rule : rules()) {
      if (!rule.applies(file.path)) continue;
      if (!std::regex_search(rule.in_code ? code[i] : text[i], rule.pattern)) continue;
      findings.push_back({file.path, i + 1, std::string(rule.name) + ": " + rule.fix});
    }
    const auto columns = static_cast<std::size_t>(
        std::count_if(text[i].begin(), text[i].end(), [](char c) { return (c & 0xc0) != 0x80; }));
    if (columns > kColumnsMax && is_wrapped(file.path)) {
      findings.push_back({file.path, i + 1, "line over 100 columns: run clang-format, or wrap it"});
    }
  }
  if (text.size() > kLinesMax && not_doc(file.path) && !kLongFiles.contains(file.path)) {
    findings.push_back({file.path, text.size(),
                        "file over 500 lines: split it by concern, or list it with a reason"});
  }
}

void check_header(const File& file, std::vector<Finding>& findings) {
  if (!is_header(file.path)) return;
  if (code_only(file.text).find("#pragma once") != std::string::npos) return;
  findings.push_back(
      {file.path, 1, "no include guard: add #pragma once after the opening comment"});
}

void check_modules(const File& file, std::vector<Finding>& findings) {
  if (!is_cpp(file.path) || !is_in(file.path, "src/")) return;
  static const std::regex kInclude("^\\s*#\\s*include\\s*\"([^./\"][^/\"]*)/");
  const std::vector<std::string> lines = lines_of(file.text);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::smatch match;
    if (!std::regex_search(lines[i], match, kInclude) || kModules.contains(match[1])) continue;
    findings.push_back({file.path, i + 1,
                        "include of no module of ours: third-party headers go in <>, ours begin "
                        "with their module's name"});
  }
}

// As far as text shows it: a range-for or begin() over a name that the file itself, or its header,
// declares as unordered.
void check_unordered(const File& file, const std::string& header, std::vector<Finding>& findings) {
  if (!is_core(file.path)) return;
  static const std::regex kDeclared(
      R"(unordered_(?:multi)?(?:map|set)\s*<[^;{}()]*>\s*(\w+)\s*[;{=])");
  std::set<std::string> names;
  for (const std::string& text : {code_only(file.text), code_only(header)}) {
    for (std::sregex_iterator it(text.begin(), text.end(), kDeclared), end; it != end; ++it) {
      names.insert((*it)[1]);
    }
  }
  const std::vector<std::string> code = lines_of(code_only(file.text));
  for (const std::string& name : names) {
    const std::regex walked(R"(for\s*\(.*:\s*)" + name + R"(\s*\)|\b)" + name +
                            R"(\.c?begin\s*\()");
    for (std::size_t i = 0; i < code.size(); ++i) {
      if (!std::regex_search(code[i], walked)) continue;
      findings.push_back({file.path, i + 1,
                          "iteration over an unordered container: its order differs between "
                          "libraries; use std::map, or sort first"});
    }
  }
}

void check_hosts(const File& file, std::vector<Finding>& findings) {
  static const std::regex kUrl(R"([a-z]+://(?:[^/@\s"']*@)?([A-Za-z0-9.-]+))");
  const std::vector<std::string> lines = lines_of(file.text);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    for (std::sregex_iterator it(lines[i].begin(), lines[i].end(), kUrl), end; it != end; ++it) {
      if (kPublicHosts.contains((*it)[1])) continue;
      findings.push_back({file.path, i + 1,
                          "host " + (*it)[1].str() +
                              ": fetch through the package manager's own settings, or add the "
                              "public host to kPublicHosts"});
    }
  }
}

bool lists_file(const std::string& cmake_text, const std::string& name) {
  for (std::string line : lines_of(cmake_text)) {
    line.resize(std::min(line.find('#'), line.size()));
    std::istringstream words(line);
    for (std::string word; std::getline(words, word, ' ');) {
      const std::size_t start = word.find_last_of("/(") + 1;
      if (word.substr(start, word.find(')', start) - start) == name) return true;
    }
  }
  return false;
}

// Every source is built: listed in the CMakeLists.txt of its folder, of one above it, or in cmake/.
// Headers of modules too, since only listed ones are checked to stand alone.
void check_listed(const File& file, const std::map<std::string, std::string>& texts,
                  std::vector<Finding>& findings) {
  const bool is_source = is_cpp(file.path) && !is_header(file.path);
  if (!is_source && !in_src_header(file.path)) return;
  const std::string name = file.path.substr(file.path.rfind('/') + 1);
  for (const auto& [path, text] : texts) {
    const bool is_list = path.ends_with("CMakeLists.txt");
    const bool is_above = is_list && is_in(file.path, path.substr(0, path.rfind('/') + 1));
    if (!is_above && !path.ends_with(".cmake")) continue;
    if (lists_file(text, name)) return;
    // A folder that is no module (static programs) has no public headers.
    if (!is_source && is_above && text.find("add_executable(") != std::string::npos) return;
  }
  findings.push_back({file.path, 1, "in no CMakeLists.txt: list it, or delete it"});
}

// What a person wrote: sources, build files, scripts and docs; no recorded data.
bool is_wanted(const std::string& path) {
  if (is_in(path, "tests/vectors/") || is_in(path, "tests/fuzz/corpus/")) return false;
  const std::string extension = fs::path(path).extension().string();
  if (extension.empty()) return is_in(path, "scripts/") || is_in(path, ".ci/");
  static const std::set<std::string> kExtensions = {".cc", ".h",  ".c",  ".cmake",
                                                    ".sh", ".py", ".md", ".txt"};
  if (extension == ".txt") return path.ends_with("CMakeLists.txt");
  return kExtensions.contains(extension);
}

}  // namespace

std::vector<Finding> check_tree(const std::vector<File>& files) {
  std::map<std::string, std::string> texts;
  for (const File& file : files) texts[file.path] = file.text;
  std::vector<Finding> findings;
  for (const File& file : files) {
    check_lines(file, findings);
    check_header(file, findings);
    check_modules(file, findings);
    const fs::path header = fs::path(file.path).replace_extension(".h");
    check_unordered(file, texts[header.string()], findings);
    check_hosts(file, findings);
    check_listed(file, texts, findings);
  }
  return findings;
}

std::vector<File> read_tree(const fs::path& top) {
  std::vector<File> files;
  for (auto it = fs::recursive_directory_iterator(top); it != fs::recursive_directory_iterator();
       ++it) {
    const std::string path = it->path().lexically_relative(top).generic_string();
    const std::string name = it->path().filename().string();
    if (it->is_directory() && (name.starts_with("build") || name == ".git")) {
      it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file() || !is_wanted(path)) continue;
    std::ifstream in(it->path(), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    files.push_back({path, text.str()});
  }
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.path < b.path; });
  return files;
}

const std::set<std::string>& modules() { return kModules; }
const std::set<std::string>& cores() { return kCores; }

}  // namespace tidy
