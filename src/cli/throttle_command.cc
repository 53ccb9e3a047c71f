// tern throttle: how much CPU time a job gets.
#include <CLI/CLI.hpp>
#include <charconv>

#include "cli/context.h"
#include "cli/text.h"

namespace cli {
namespace {

// "50" or "50%"; "off" is 0. False: neither that nor "auto".
bool read_word(const std::string& word, std::optional<std::uint32_t>& percent) {
  if (word == "auto") return true;
  percent = 0;
  if (word == "off") return true;
  const std::size_t digits = word.ends_with('%') ? word.size() - 1 : word.size();
  const char* const end = word.data() + digits;
  const auto [stop, error] = std::from_chars(word.data(), end, *percent);
  return digits > 0 && stop == end && error == std::errc{} && *percent >= 1 &&
         *percent <= control::kThrottlePercentMax;
}

int throttle(Context& context, control::ThrottleRequest request, const std::string& word) {
  const auto job = control::check_reference(request.job);
  if (!job) return usage(context, job.error().detail);
  if (!read_word(word, request.percent)) {
    return usage(context, word +
                              " is neither a percentage of one CPU (1 to 100000, more than 100 "
                              "for several CPUs) nor off nor auto");
  }
  return ask_and_show(context, request, [&](const std::string& data) {
    const auto node = control::parse_kill(data);
    if (!node) return report(context, node.error());
    const std::string it = request.job + " on " + node->node;
    if (request.dry_run) {
      context.err.notice("would throttle " + it);
    } else if (!request.percent) {
      context.err.notice("the rules decide again about " + it);
    } else if (*request.percent == 0) {
      context.err.notice(it +
                         " is not throttled, and the rules leave it alone; hand it back to "
                         "them: tern throttle " +
                         request.job + " auto");
    } else {
      context.err.notice(it + " gets " + std::to_string(*request.percent) +
                         "% of one CPU until it moves, is parked or you lift that: tern throttle " +
                         request.job + " off");
    }
    return 0;
  });
}

}  // namespace

void add_throttle_command(CLI::App& root, Context& context, Commands& commands) {
  auto* app = add_command(
      root, context,
      {"throttle", "Give a job less CPU time, wherever it is", "tern throttle encode 50"});
  auto request = std::make_shared<control::ThrottleRequest>();
  auto word = std::make_shared<std::string>();
  app->add_option("JOB", request->job, "Id, its first digits, or name")->required();
  app->add_option(
         "PERCENT", *word,
         "Of one CPU, for all of its processes together: 50 is half of one, 200 is two. "
         "off: no throttle. Either holds, and no rule touches it, until the job moves or is "
         "parked. "
         "auto: as the rules say")
      ->required();
  app->add_flag("--dry-run", request->dry_run, "Only say which job on which node it would be");
  commands.push_back(
      {app, [request, word, &context] { return throttle(context, *request, *word); }});
}

}  // namespace cli
