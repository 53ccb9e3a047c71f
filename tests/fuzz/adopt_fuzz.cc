// What is read before a process is adopted: lines of /proc, which it can name as it likes, and the
// note on an adoption that comes back from a disk.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "daemon/adopt_journal.h"
#include "machine/adopt_look.h"
#include "machine/adopt_tree.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto relatives = machine::parse_relatives(text);
  if (relatives) CHECK(relatives->parent >= 0 && relatives->name.size() < size);
  for (const auto& [inode, name] : machine::bound_unix_sockets(text)) CHECK(!name.empty());
  for (const std::string& memory : machine::nameless_shared_memory(text)) CHECK(!memory.empty());
  CHECK(machine::owners_of_ipc(text, 4).size() <= size);
  CHECK(machine::tern_group_of(text).job.size() <= 8);
  const auto journal = ternd::decode_adopt_journal({data, size});
  if (!journal) return 0;
  CHECK(journal->root > 1);
  CHECK(ternd::decode_adopt_journal(ternd::encode(*journal)).ok());
  return 0;
}
