#include "cli/context.h"

namespace cli {

using base::Code;
using control::Exit;

base::Result<control::Final> ask(Context& context, const control::Request& request,
                                 const Ask& how) {
  auto connection = Connection::open(context.paths.socket);
  if (!connection) return connection.error();
  return ask_on(context, *connection, request, how);
}

base::Result<control::Final> ask_on(Context& context, Connection& connection,
                                    const control::Request& request, const Ask& how) {
  const auto sent = connection.send(request);
  if (!sent) return sent.error();
  for (;;) {
    auto response = connection.wait(how.patience);
    context.err.end_progress();
    if (!response) return response.error();
    if (auto* final = std::get_if<control::Final>(&*response)) return std::move(*final);
    if (const auto* progress = std::get_if<control::Progress>(&*response)) {
      context.err.progress(progress->sentence);
    } else if (how.on_event) {
      const auto taken = how.on_event(std::get<control::Event>(*response));
      if (!taken) return taken.error();
    }
  }
}

int report(Context& context, const base::Error& error) {
  context.err.notice(error.detail);
  const bool no_daemon = error.code == Code::kUnreachable || error.code == Code::kTimeout;
  return static_cast<int>(no_daemon ? Exit::kNoDaemon : Exit::kError);
}

int report(Context& context, const control::Final& final) {
  context.err.notice(final.error);
  if (!final.next.empty()) context.err.notice(final.next);
  return static_cast<int>(final.exit);
}

int usage(Context& context, std::string_view sentence) {
  context.err.notice(sentence);
  return kUsageExit;
}

}  // namespace cli
