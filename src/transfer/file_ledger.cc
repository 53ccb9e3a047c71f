#include "transfer/file_ledger.h"

#include <algorithm>

#include "base/wire.h"
#include "transfer/job_files.h"

namespace transfer {
namespace {

constexpr std::size_t kRecordMax = 2 * kJobPathMax + 256;
constexpr std::size_t kCheckSize = 8;

base::Result<LedgerRecord> decode(base::ByteView body) {
  base::Reader r(body);
  LedgerRecord record;
  r.array_of(6);
  record.kind = r.enumeration(LedgerKind::kMarks);
  record.path = std::string(base::as_text(r.bin(kJobPathMax)));
  record.other = std::string(base::as_text(r.bin(kJobPathMax)));
  record.device = r.u64();
  record.inode = r.u64();
  record.digest = r.fixed<32>();
  if (base::Status status = r.finish(); !status) return status.error();
  return record;
}

}  // namespace

base::Bytes encode(const LedgerRecord& record) {
  base::Writer w;
  w.array(6).u64(static_cast<std::uint64_t>(record.kind)).bin(base::as_bytes(record.path));
  w.bin(base::as_bytes(record.other)).u64(record.device).u64(record.inode).bin(record.digest);
  const base::Bytes& body = w.bytes();
  base::Bytes out(4);
  base::put_le32(out, static_cast<std::uint32_t>(body.size()));
  out.insert(out.end(), body.begin(), body.end());
  const auto check = base::crypto::hash256({body});
  out.insert(out.end(), check.begin(), check.begin() + kCheckSize);
  return out;
}

std::vector<LedgerRecord> decode_ledger(base::ByteView bytes) {
  std::vector<LedgerRecord> out;
  while (bytes.size() > 4) {
    const std::size_t size = base::get_le32(bytes);
    if (size > kRecordMax || bytes.size() < 4 + size + kCheckSize) break;
    const base::ByteView body = bytes.subspan(4, size);
    const auto check = base::crypto::hash256({body});
    if (!std::equal(check.begin(), check.begin() + kCheckSize, body.end())) break;
    auto record = decode(body);
    if (!record) break;
    out.push_back(std::move(*record));
    bytes = bytes.subspan(4 + size + kCheckSize);
  }
  return out;
}

}  // namespace transfer
