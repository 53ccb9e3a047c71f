// Exit codes, of jobs and of commands.
#pragma once

#include <sys/wait.h>

#include <cstdint>

#include "control/response.h"

namespace ternd {

// Of a job, from waitpid's status, as shells give it.
inline int exit_code_of(std::int32_t wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// Of a command, from a node's reply.
inline control::Exit exit_of(int code) {
  switch (code) {
    case 4:
      return control::Exit::kUnreachable;
    case 5:
      return control::Exit::kRefused;
    case 6:
      return control::Exit::kNothingFits;
    default:
      return control::Exit::kError;
  }
}

}  // namespace ternd
