// Following the output of a job: tern run, tern attach, tern logs.
//
//   away ──connected──> attached ──final line──> done
//     ^───broke off────────┘
//
// Output goes to standard output and standard error byte by byte as the job wrote it. Every event
// names its offset, so that after the daemon restarted the session asks for what follows what it
// has written: nothing is missing, nothing comes twice. One notice tells of each break. A job that
// was named is meant by its id from its first output on. A daemon that is back learns anew which
// jobs of others there are, so that it knows of none is not the last word within a minute.
//
// For run and attach the first Ctrl-C passes SIGINT to the job, later ones say how to end it;
// SIGTERM and SIGHUP detach. While the daemon is away Ctrl-C detaches too, since nothing else can
// be done. The job goes on in all these cases.
//
// With a pump our standard input goes to the job meanwhile (cli/input_pump.h): it is told the id,
// too, and waits as long. When nobody reads our standard output any more, a job of `tern run` is
// told so, by the SIGPIPE that it would have got itself (ends_with_reader).
#pragma once

#include <functional>
#include <string>

#include "cli/context.h"
#include "cli/input_pump.h"
#include "cli/waiting.h"

namespace cli {

struct SessionPlan {
  // The request that asks for output from these offsets on.
  std::function<control::Request(const std::string& job, const std::array<std::uint64_t, 2>& from)>
      request;
  std::string job;                 // as the person knows it, for sentences
  SignalWatch* signals = nullptr;  // absent: signals end the program as usual
  InputPump* input = nullptr;      // absent: nothing is passed on
  bool ends_with_reader = false;
  bool exits_as_job = false;  // the job's exit code is ours
  bool reconnects = true;
  bool known_to_run = false;  // a daemon that does not answer now did so before
  int failure = 0;            // exit code of our own failures; 0: by kind
};

// Where two versions of a file of a job's lie side by side, as of control::JobReport.
struct BesideLists {
  const std::vector<std::string>& beside;
  const std::vector<std::string>& kept;
  std::uint64_t more = 0;
};
// A notice for each path, of `shown_max` at most, and one of how many more there are.
void tell_beside(Context& context, const std::string& job, const BesideLists& lists,
                 std::size_t shown_max);

// The exit code.
int follow_output(Context& context, const SessionPlan& plan);

}  // namespace cli
