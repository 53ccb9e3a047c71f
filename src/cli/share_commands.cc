// tern share, inbox, policy: files to other nodes, and what this one does for others.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <tuple>

#include "base/crypto.h"
#include "cli/context.h"
#include "cli/share_session.h"
#include "cli/text.h"

namespace cli {
namespace {

using control::Exit;

// The same for the same paths, so that the same command again goes on where it was.
std::string share_id(const machine::ShareSource& source) {
  base::Bytes all;
  for (const auto& [top, root] : source.roots) {
    all.insert(all.end(), root.begin(), root.end());
    all.push_back(0);
  }
  return base::to_hex(base::crypto::hash128({base::as_bytes("tern share"), all}));
}

std::string files_text(const machine::ShareSource& source) {
  const std::uint32_t files = source.manifest.files();
  return (files == 1 ? "1 file" : std::to_string(files) + " files") + " (" +
         bytes_text(source.manifest.bytes()) + ")";
}

int show_trial(Context& context, const machine::ShareSource& source, const std::string& data) {
  const auto target = control::parse_share_target(data);
  if (!target) return report(context, target.error());
  context.err.notice("would send " + files_text(source) + " to " + target->to_name +
                     (target->waits ? ", once somebody there has said yes" : ""));
  context.err.notice("Do it: the same without --dry-run");
  return 0;
}

int share(Context& context, const std::vector<std::string>& paths,
          const std::optional<std::string>& to, bool dry_run) {
  if (paths.empty()) return usage(context, "what is to be shared? See: tern share --help");
  if (std::find(paths.begin(), paths.end(), "") != paths.end()) {
    return usage(context,
                 "an empty word names no file (a variable that is not set?); see: tern share "
                 "--help");
  }
  const auto node = to ? control::check_reference(*to) : base::Status();
  if (!node) return usage(context, node.error().detail);
  if (base::Status ready = base::crypto::init(); !ready) return report(context, ready.error());
  const auto source = machine::find_share(paths);
  if (!source) {
    context.err.notice(source.error().detail);
    return static_cast<int>(Exit::kError);
  }
  for (const std::string& sentence : source->skipped) context.err.notice(sentence);
  if (source->skipped_count > source->skipped.size()) {
    context.err.notice("and " + std::to_string(source->skipped_count - source->skipped.size()) +
                       " more that were left out");
  }
  control::ShareRequest request;
  request.id = share_id(*source);
  request.label = source->manifest.entry(0).name;
  request.tops = source->roots.size();
  request.entries = source->manifest.size();
  request.bytes = source->manifest.bytes();
  request.disk_bytes = source->disk_bytes;
  request.to = to;
  request.dry_run = dry_run;
  if (dry_run) {
    return ask_and_show(context, request, [&](const std::string& data) {
      return show_trial(context, *source, data);
    });
  }
  return ShareSession(context, *source, std::move(request)).run();
}

// ---- the inbox

int show_inbox(Context& context, const std::string& data) {
  const auto inbox = control::parse_inbox(data);
  if (!inbox) return report(context, inbox.error());
  Table table({{"ID"},
               {"STATE"},
               {"NAME", Align::kLeft, true},
               {"FROM"},
               {"SIZE", Align::kRight},
               {"HERE", Align::kRight}});
  bool waits = false;
  for (const control::InboxItem& item : inbox->items) {
    const bool waiting = item.state == "waiting";
    waits = waits || waiting;
    const std::string from = item.user.empty() ? item.from : item.user + "@" + item.from;
    const std::string more =
        item.items > 1 ? " and " + std::to_string(item.items - 1) + " more" : std::string();
    const std::string size = item.folder ? "" : bytes_text(item.bytes);
    const bool whole = item.state == "arrived";
    table.row({item.id,
               {item.state, waiting ? Colour::kYellow : Colour::kPlain},
               item.name + (item.folder ? "/" : "") + more,
               from,
               size,
               whole ? "" : bytes_text(item.received_bytes)});
  }
  if (!inbox->items.empty()) context.out.write(table.render(context.out.style()));
  context.err.notice(inbox->items.empty() ? "nothing is in the inbox, " + inbox->path
                                          : "what arrived is in " + inbox->path);
  if (waits) context.err.notice("Take one: tern inbox accept ID, or not: tern inbox refuse ID");
  return 0;
}

int show_answer(Context& context, const std::string& data, bool accept) {
  const auto item = control::parse_inbox_item(data);
  if (!item) return report(context, item.error());
  context.err.notice((accept ? "accepted " : "refused ") + item->name + " from " + item->from);
  context.err.notice(accept ? "It comes now, or when the sender tries again; see it: tern inbox"
                            : "Whatever had come of it is gone");
  return 0;
}

int inbox(Context& context, const std::string& action, const std::string& offer) {
  if (action.empty()) {
    return ask_and_show(context, control::InboxRequest{},
                        [&](const std::string& data) { return show_inbox(context, data); });
  }
  const bool accept = action == "accept";
  if ((!accept && action != "refuse") || offer.empty()) {
    return usage(context, "that is: tern inbox, tern inbox accept ID, or tern inbox refuse ID");
  }
  if (const auto checked = control::check_offer(offer); !checked) {
    return usage(context, checked.error().detail);
  }
  return ask_and_show(context, control::InboxAnswerRequest{offer, accept},
                      [&](const std::string& data) { return show_answer(context, data, accept); });
}

// ---- policies

// What guests do for a setting of the owner's (node/owner.h).
std::string guests_do(const std::string& yield) {
  if (yield == "nothing") return "stay, and may come";
  if (yield == "refuse") return "stay, and no more come";
  if (yield == "throttle") return "get half of what they used, and no more come";
  if (yield == "pause") return "stand still, and no more come";
  if (yield == "send-home") return "leave, and no more come";
  return yield == "drain" ? "leave, as do the jobs at home here, and no more come" : yield;
}

int show_policy(Context& context, const std::string& data) {
  const auto policy = control::parse_policy(data);
  if (!policy) return report(context, policy.error());
  std::string users;
  for (const std::int64_t uid : policy->uids) {
    users += (users.empty() ? "" : ", ") + std::to_string(uid);
  }
  const std::string files = policy->share == "yes" ? "taken, into " + policy->inbox
                            : policy->share == "ask"
                                ? "taken once you said yes (tern inbox), into " + policy->inbox
                                : "not taken";
  Table table({{"FOR OTHERS"}, {"HERE", Align::kLeft, true}, {"SETTING"}});
  const auto row = [&](const std::string& what, const std::string& here, const std::string& key) {
    table.row({Cell(what), Cell(here), Cell(key)});
  };
  row("files", files, "share, inbox");
  row("jobs", policy->jobs ? "may come" : "none: " + policy->no_jobs, "");
  row("jobs of users", users.empty() ? "of nobody" : "of uid " + users, "policy-uids");
  row("jobs of root", policy->root_jobs ? "may come" : "none", "allow-root-jobs");
  for (const auto& [cause, yield, key] :
       {std::tuple("guests while the owner is active", policy->owner_active, "owner-active"),
        std::tuple("guests on battery", policy->on_battery, "on-battery"),
        std::tuple("guests when that is low", policy->battery_low, "battery-low"),
        std::tuple("guests on a metered network", policy->on_metered, "on-metered"),
        std::tuple("guests before sleep", policy->on_sleep, "on-sleep")}) {
    if (!yield.empty()) row(cause, guests_do(yield), key);
  }
  context.out.write(table.render(context.out.style()));
  context.err.notice("Change it in tern.toml (which one: tern config), then: tern down && tern up");
  return 0;
}

}  // namespace

void add_share_commands(CLI::App& root, Context& context, Commands& commands) {
  auto* share_app =
      add_command(root, context,
                  {"share", "Send files and folders to the least loaded peer that takes them",
                   "tern share report.pdf photos/ --to laptop"});
  auto paths = std::make_shared<std::vector<std::string>>();
  auto to = std::make_shared<std::string>();
  auto dry_run = std::make_shared<bool>(false);
  share_app->add_option("PATH", *paths, "Files and folders")->required();
  share_app->add_option("--to", *to, "Name or id of the node (default: the least loaded)");
  share_app->add_flag("--dry-run", *dry_run, "Only ask who would take it");
  commands.push_back({share_app, [=, &context] {
                        // One that is named, though with nothing, is not whoever has the least to
                        // do.
                        const bool named = share_app->count("--to") > 0;
                        const auto node = named ? std::optional(*to) : std::nullopt;
                        return share(context, *paths, node, *dry_run);
                      }});

  auto* inbox_app = add_command(
      root, context,
      {"inbox", "What came from other nodes, and what waits for a yes", "tern inbox accept 3fa9"});
  auto action = std::make_shared<std::string>();
  auto offer = std::make_shared<std::string>();
  inbox_app->add_option("ACTION", *action, "accept or refuse; without it: lists");
  inbox_app->add_option("ID", *offer, "Of an offer, or its first digits");
  commands.push_back(
      {inbox_app, [action, offer, &context] { return inbox(context, *action, *offer); }});

  auto* policy_app =
      add_command(root, context, {"policy", "What this node does for others", "tern policy"});
  commands.push_back({policy_app, [&context] {
                        return ask_and_show(
                            context, control::PolicyRequest{},
                            [&](const std::string& data) { return show_policy(context, data); });
                      }});
}

}  // namespace cli
