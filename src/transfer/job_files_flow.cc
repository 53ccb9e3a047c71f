#include "transfer/job_files_flow.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::Result;
using base::Status;

base::Error odd(const char* what) { return fail(Code::kInvalid, what); }

std::size_t chunk_size(const JobFile& file, std::uint32_t chunk) {
  return static_cast<std::size_t>(
      std::min(kJobChunk, file.size - std::uint64_t{chunk} * kJobChunk));
}

}  // namespace

// ---- sender

JobFilesSender::JobFilesSender(JobFilesBegin begin, std::shared_ptr<const Content> content)
    : begin_(std::move(begin)), content_(std::move(content)) {
  CHECK(content_->chunks.size() == content_->list.size());
}

JobFilesSender::Step JobFilesSender::next() {
  switch (at_) {
    case At::kBegin:
      at_ = At::kList;
      return Send{encode_job_begin(begin_)};
    case At::kList:
      if (listed_ < content_->list.size()) return Send{encode_job_entries(content_->list, listed_)};
      at_ = At::kWaitReady;
      return Send{job_files_message(JobFilesType::kSealed)};
    case At::kFiles:
      return next_of_files();
    case At::kWaitReady:
    case At::kWaitPlaced:
      return Wait{};
    case At::kOver:
      break;
  }
  return Over{};
}

// The end of the chunks of zeros that begin there.
std::uint32_t JobFilesSender::hole_from(std::uint32_t first) const {
  const ChunkHashes& own = content_->chunks[wanted_[sending_]];
  std::uint32_t end = first;
  while (end < own.size() && own[end] == zero_chunk_hash()) ++end;
  return end;
}

JobFilesSender::Step JobFilesSender::next_of_files() {
  if (sending_ == wanted_.size()) {
    at_ = At::kWaitPlaced;
    return Send{job_files_message(JobFilesType::kAll)};
  }
  const std::uint32_t entry = wanted_[sending_];
  if (sent_ < bytes_.size()) {
    const std::size_t size = std::min(bytes_.size() - sent_, kJobPieceMax);
    Bytes record = encode_job_chunk_header({entry, chunk_});
    const ByteView piece = ByteView(bytes_).subspan(sent_, size);
    record.insert(record.end(), piece.begin(), piece.end());
    sent_ += size;
    if (sent_ == bytes_.size()) {
      bytes_.clear();
      sent_ = 0;
      ++chunk_;
    }
    return Send{std::move(record)};
  }
  const ChunkHashes& own = content_->chunks[entry];
  const auto there = have_.find(entry);
  while (there != have_.end() && chunk_ < own.size() && chunk_ < there->second.size() &&
         own[chunk_] == there->second[chunk_]) {
    ++chunk_;
  }
  if (chunk_ == own.size()) {
    ++sending_;
    chunk_ = 0;
    return Send{encode_job_end(entry)};
  }
  if (const std::uint32_t end = hole_from(chunk_); end > chunk_) {
    const std::uint32_t first = std::exchange(chunk_, end);
    return Send{encode_job_holes({entry, first}, end - first)};
  }
  return Read{{entry, chunk_},
              std::uint64_t{chunk_} * kJobChunk,
              chunk_size(content_->list.at(entry), chunk_)};
}

Status JobFilesSender::got(Bytes chunk) {
  const std::uint32_t entry = wanted_[sending_];
  CHECK(chunk.size() == chunk_size(content_->list.at(entry), chunk_));
  if (begin_.final && chunk_hash(chunk) != content_->chunks[entry][chunk_]) {
    return fail(Code::kStale, content_->list.at(entry).path +
                                  " was changed by another program while it was sent");
  }
  bytes_ = std::move(chunk);
  sent_ = 0;
  return {};
}

Status JobFilesSender::take_want(ByteView body) {
  auto entries = decode_job_want(body);
  if (!entries) return entries.error();
  for (const std::uint32_t entry : *entries) {
    const bool known =
        entry < content_->list.size() && content_->list.at(entry).kind == JobFileKind::kFile;
    if (!known || (!wanted_.empty() && entry <= wanted_.back())) {
      return odd("the sink wants files that there are not");
    }
    wanted_.push_back(entry);
  }
  return {};
}

Status JobFilesSender::take_have(ByteView body) {
  auto part = decode_job_have(body);
  if (!part) return part.error();
  const bool known = part->entry < content_->list.size() &&
                     part->first + part->hashes.size() <= content_->chunks[part->entry].size();
  ChunkHashes* all = known ? &have_[part->entry] : nullptr;
  if (all == nullptr || all->size() != part->first) return odd("the sink has odd files");
  all->insert(all->end(), part->hashes.begin(), part->hashes.end());
  return {};
}

Status JobFilesSender::feed(ByteView record) {
  ++heard_;
  if (record.empty()) return odd("an empty record about files");
  const ByteView body = record.subspan(1);
  const auto type = static_cast<JobFilesType>(record[0]);
  if (type == JobFilesType::kAlive && body.empty()) return {};
  if (auto refusal = refusal_in(record)) return *refusal;
  if (at_ == At::kWaitReady && type == JobFilesType::kWant) return take_want(body);
  if (at_ == At::kWaitReady && type == JobFilesType::kHave) return take_have(body);
  if (at_ == At::kWaitReady && type == JobFilesType::kReady && body.empty()) {
    at_ = At::kFiles;
    return {};
  }
  if (at_ == At::kWaitPlaced && type == JobFilesType::kPlaced && body.empty()) {
    at_ = At::kOver;
    return {};
  }
  return odd("the sink does not keep to the order of a job's files");
}

// ---- receiver

Result<std::vector<JobFilesReceiver::Order>> JobFilesReceiver::feed(ByteView record) {
  if (phase_ == Phase::kFailed) return odd("the job's files were refused before");
  std::vector<Order> orders;
  if (Status taken = take(record, orders); !taken) {
    phase_ = Phase::kFailed;
    return taken.error();
  }
  return orders;
}

Status JobFilesReceiver::take(ByteView record, std::vector<Order>& orders) {
  if (record.empty()) return odd("an empty record about files");
  const ByteView body = record.subspan(1);
  const auto type = static_cast<JobFilesType>(record[0]);
  if (phase_ == Phase::kIdle && type == JobFilesType::kBegin) return take_begin(body);
  if (phase_ == Phase::kListing && type == JobFilesType::kEntries) {
    auto entries = decode_job_entries(body);
    if (!entries) return entries.error();
    for (JobFile& file : *entries) {
      if (Status added = list_->add(std::move(file)); !added) return added;
    }
    return {};
  }
  if (phase_ == Phase::kListing && type == JobFilesType::kSealed && body.empty()) {
    phase_ = Phase::kPlanning;
    orders.emplace_back(Plan{});
    return {};
  }
  if (phase_ == Phase::kFiles) {
    if (type == JobFilesType::kChunk) return take_chunk(body, orders);
    if (type == JobFilesType::kHoles) return take_holes(body, orders);
    if (type == JobFilesType::kEnd) return take_end(body, orders);
    if (type == JobFilesType::kAll && body.empty() && receiving_ == wanted_.size()) {
      phase_ = Phase::kFinishing;
      orders.emplace_back(Finish{});
      return {};
    }
  }
  return odd("the source does not keep to the order of a job's files");
}

Status JobFilesReceiver::take_begin(ByteView body) {
  auto begin = decode_job_begin(body);
  if (!begin) return begin.error();
  if ((rounds_ > 0 && begin_.final) || rounds_ >= kJobRoundsMax)
    return odd("a job's files begin once more");
  if (rounds_ > 0) begin->who = std::move(begin_.who);  // said once
  begin_ = std::move(*begin);
  list_ = std::make_shared<JobFileList>();
  wanted_.clear();
  receiving_ = 0;
  ++rounds_;
  phase_ = Phase::kListing;
  return {};
}

Status JobFilesReceiver::expect(std::uint32_t entry, std::uint32_t chunk) const {
  const bool fits = receiving_ < wanted_.size() && entry == wanted_[receiving_] &&
                    chunk >= next_chunk_ && chunk < chunks_of(list_->at(entry).size);
  return fits ? Status() : Status(odd("a piece of no file that is wanted"));
}

Status JobFilesReceiver::take_chunk(ByteView body, std::vector<Order>& orders) {
  if (body.size() <= 8) return odd("a piece of a file of an odd size");
  const ChunkAt at{base::get_le32(body), base::get_le32(body.subspan(4))};
  if (Status expected = expect(at.entry, at.chunk); !expected) return expected;
  const bool begun = !bytes_of_chunk_.empty();
  if (begun && at.chunk != next_chunk_) return odd("half a chunk of a file");
  const ByteView piece = body.subspan(8);
  const std::size_t size = chunk_size(list_->at(at.entry), at.chunk);
  if (piece.size() > size - bytes_of_chunk_.size()) return odd("a chunk that is too long");
  next_chunk_ = at.chunk;
  bytes_of_chunk_.insert(bytes_of_chunk_.end(), piece.begin(), piece.end());
  bytes_ += piece.size();
  if (bytes_of_chunk_.size() < size) return {};
  orders.emplace_back(Chunk{at, std::exchange(bytes_of_chunk_, {})});
  ++next_chunk_;
  return {};
}

Status JobFilesReceiver::take_holes(ByteView body, std::vector<Order>& orders) {
  if (body.size() != 12 || !bytes_of_chunk_.empty()) return odd("holes of an odd size");
  const ChunkAt at{base::get_le32(body), base::get_le32(body.subspan(4))};
  const std::uint32_t count = base::get_le32(body.subspan(8));
  if (Status expected = expect(at.entry, at.chunk); !expected) return expected;
  if (count == 0 || count > list_->at(at.entry).size / kJobChunk - at.chunk) {
    return odd("holes beyond their file");
  }
  orders.emplace_back(Holes{at, count});
  next_chunk_ = at.chunk + count;
  return {};
}

Status JobFilesReceiver::take_end(ByteView body, std::vector<Order>& orders) {
  if (body.size() != 4 || !bytes_of_chunk_.empty()) return odd("the end of half a chunk");
  const std::uint32_t entry = base::get_le32(body);
  if (receiving_ >= wanted_.size() || entry != wanted_[receiving_]) {
    return odd("the end of no file that is wanted");
  }
  orders.emplace_back(End{entry});
  ++receiving_;
  next_chunk_ = 0;
  return {};
}

void JobFilesReceiver::planned(std::vector<std::uint32_t> wanted) {
  CHECK(phase_ == Phase::kPlanning);
  wanted_ = std::move(wanted);
  phase_ = Phase::kFiles;
}

void JobFilesReceiver::finished() {
  CHECK(phase_ == Phase::kFinishing);
  phase_ = Phase::kIdle;
}

}  // namespace transfer
