#include "cli/context.h"

namespace cli {

using base::Code;
using control::Exit;

base::Result<Connection> connect(Context& context) {
  control::Paths& paths = context.paths;
  auto own = Connection::open(paths.socket);
  if (own) paths.system_socket.clear();
  if (own || own.error().code != Code::kUnreachable || paths.system_socket.empty()) return own;
  auto systems = Connection::open(paths.system_socket);
  if (systems) {
    paths.socket = paths.system_socket;
    paths.system_socket.clear();
    return systems;
  }
  if (systems.error().code != Code::kUnreachable) return systems;
  return base::fail(Code::kUnreachable, "no tern daemon answers at " + paths.socket +
                                            " nor, for the whole machine, at " +
                                            paths.system_socket +
                                            "; start one with: tern up, or sudo tern up");
}

bool is_systems(const Context& context) {
  return context.environment.uid != 0 && context.paths.socket == control::kSystemSocket;
}

base::Result<control::Final> ask(Context& context, const control::Request& request,
                                 const Ask& how) {
  auto connection = connect(context);
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
