// Following the output of a job: tern run, tern attach, tern logs.
//
//   away ──connected──> attached ──final line──> done
//     ^───broke off────────┘
//
// Output goes to standard output and standard error byte by byte as the job wrote it. Every event
// names its offset, so that after the daemon restarted the session asks for what follows what it
// has written: nothing is missing, nothing comes twice. One notice tells of each break.
//
// For run and attach the first Ctrl-C passes SIGINT to the job, later ones say how to end it;
// SIGTERM and SIGHUP detach. While the daemon is away Ctrl-C detaches too, since nothing else can
// be done. The job goes on in all these cases.
#pragma once

#include <functional>
#include <string>

#include "cli/context.h"
#include "cli/waiting.h"

namespace cli {

struct SessionPlan {
  // The request that asks for output from these offsets on.
  std::function<control::Request(const std::array<std::uint64_t, 2>& from)> request;
  std::string job;                 // as the person knows it, for sentences
  SignalWatch* signals = nullptr;  // absent: signals end the program as usual
  bool exits_as_job = false;       // the job's exit code is ours
  bool reconnects = true;
  bool known_to_run = false;  // a daemon that does not answer now did so before
  int failure = 0;            // exit code of our own failures; 0: by kind
};

// The exit code.
int follow_output(Context& context, const SessionPlan& plan);

}  // namespace cli
