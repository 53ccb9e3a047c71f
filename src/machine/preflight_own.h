// The job's own files in a preflight at the sink: what is missing will come, and what stands in
// the way is said before anything is begun (transfer/job_files.h has the rules; the list with all
// of --dir is judged by JobPlacer::trial(), daemon/files_look.h, before the move begins too).
#pragma once

#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "machine/preflight.h"

namespace machine {

class OwnFiles {
 public:
  // Reads the ledgers that `policy` names; without one nothing is tern's.
  explicit OwnFiles(const LocalPolicy& policy);
  // Of a file that travels, as the job's user. Empty: it can come, or is what is needed; a
  // sentence: it cannot; none: its content is to be compared.
  [[nodiscard]] std::optional<std::string> judge(const RequiredFile& wanted) const;

 private:
  bool at_home_;
  std::set<std::tuple<std::string, std::uint64_t, std::uint64_t>> placed_;
};

}  // namespace machine
