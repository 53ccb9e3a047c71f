#include "cli/completion.h"

#include <CLI/CLI.hpp>

namespace cli {
namespace {

std::vector<const CLI::App*> commands_of(const CLI::App& root) {
  return root.get_subcommands([](const CLI::App*) { return true; });
}

std::string options_of(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) out += (out.empty() ? "--" : " --") + name;
  }
  return out;
}

std::string bash_script(const CLI::App& root) {
  std::string names;
  std::string cases;
  for (const CLI::App* app : commands_of(root)) {
    names += (names.empty() ? "" : " ") + app->get_name();
    cases += "    " + app->get_name() + ") words=\"" + options_of(*app) + "\" ;;\n";
  }
  return "_tern() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} command= words= i\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case ${COMP_WORDS[i]} in\n"
         "      --state) ((i++)) ;;\n"
         "      -*) ;;\n"
         "      *) command=${COMP_WORDS[i]}; break ;;\n"
         "    esac\n"
         "  done\n"
         "  case $command in\n"
         "    '') words=\"" +
         names + " --state --help --version\" ;;\n" + cases +
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
         "}\n"
         "complete -o default -F _tern tern\n";
}

// Descriptions are ours: no quotes, no line breaks (a test holds them to it).
std::string fish_script(const CLI::App& root) {
  std::string out = "complete -c tern -f\n";
  for (const CLI::App* app : commands_of(root)) {
    const std::string& name = app->get_name();
    out += "complete -c tern -n __fish_use_subcommand -a " + name + " -d '" +
           app->get_description() + "'\n";
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& flag : option->get_lnames()) {
        out += "complete -c tern -n '__fish_seen_subcommand_from " + name + "' -l " + flag +
               " -d '" + option->get_description() + "'\n";
      }
    }
  }
  return out;
}

}  // namespace

std::string completion_script(const CLI::App& root, const std::string& shell) {
  if (shell == "bash") return bash_script(root);
  if (shell == "fish") return fish_script(root);
  if (shell != "zsh") return {};
  return "#compdef tern\nautoload -U +X bashcompinit && bashcompinit\n" + bash_script(root);
}

}  // namespace cli
