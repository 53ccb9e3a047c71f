// A job's files as the sink hears of them, as the source hears back, and the ledger beside them;
// the first byte picks which, the rest are records of u16 size and bytes.
#include <algorithm>

#include "base/check.h"
#include "transfer/file_ledger.h"
#include "transfer/job_files_flow.h"

using base::ByteView;
using namespace transfer;

namespace {

std::optional<ByteView> next(ByteView& rest) {
  if (rest.size() < 2) return std::nullopt;
  const std::size_t size = std::min<std::size_t>(rest[0] + 256U * rest[1], rest.size() - 2);
  const ByteView record = rest.subspan(2, size);
  rest = rest.subspan(2 + size);
  return record;
}

void feed_receiver(ByteView rest) {
  JobFilesReceiver receiver;
  while (const auto record = next(rest)) {
    auto orders = receiver.feed(*record);
    if (!orders) return;
    for (const auto& order : *orders) {
      const JobFileList& list = *receiver.list();
      if (std::holds_alternative<JobFilesReceiver::Plan>(order)) {
        std::vector<std::uint32_t> wanted;
        for (std::uint32_t i = 0; i < list.size(); ++i) {
          CHECK(valid_job_path(list.at(i).path));
          CHECK(!in_system_folder(list.at(i).path));
          if (list.at(i).kind == JobFileKind::kFile) wanted.push_back(i);
        }
        receiver.planned(wanted);
      } else if (const auto* chunk = std::get_if<JobFilesReceiver::Chunk>(&order)) {
        const std::uint64_t offset = std::uint64_t{chunk->at.chunk} * kJobChunk;
        CHECK(offset + chunk->bytes.size() <= list.at(chunk->at.entry).size);
      } else if (const auto* holes = std::get_if<JobFilesReceiver::Holes>(&order)) {
        const std::uint64_t end = std::uint64_t{holes->first.chunk} + holes->count;
        CHECK(end * kJobChunk <= list.at(holes->first.entry).size);
      } else if (std::holds_alternative<JobFilesReceiver::Finish>(order)) {
        receiver.finished();
      }
    }
  }
}

void feed_sender(ByteView rest) {
  auto content = std::make_shared<JobFilesSender::Content>();
  JobFile file;
  file.path = "/home/a";
  file.size = 2 * kJobChunk;
  CHECK(content->list.add(file).ok());
  content->chunks.push_back({zero_chunk_hash(), {}});
  JobFilesSender sender({false, {}}, content);
  while (const auto record = next(rest)) {
    for (int steps = 0; steps < 16; ++steps) {
      const JobFilesSender::Step step = sender.next();
      if (const auto* read = std::get_if<JobFilesSender::Read>(&step)) {
        CHECK(sender.got(base::Bytes(read->size)).ok());
      }
    }
    if (!sender.feed(*record)) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = base::crypto::init().ok();
  CHECK(ready);
  if (size == 0) return 0;
  const ByteView rest(data + 1, size - 1);
  if (data[0] % 3 == 0) {
    feed_receiver(rest);
  } else if (data[0] % 3 == 1) {
    feed_sender(rest);
  } else {
    base::Bytes again;
    for (const LedgerRecord& record : decode_ledger(rest)) {
      const base::Bytes one = encode(record);
      again.insert(again.end(), one.begin(), one.end());
    }
    (void)decode_ledger(again);
  }
  return 0;
}
