// The sending end of a share, behind the offer's acceptance: a pure machine that says what to read
// next and fills records. Its host (cli/share_session.h) reads the files, as whoever shares them.
//
//   manifest -> (receiver looks what it has) -> files -> results -> over
//     any phase --stop, or a mistake of the receiver's--> failed
//
//   for (;;) step = next();  carry it out;  tell;
//     Flush   write some of output(), consume() it
//     Open    open the file and compare it with its entry; with `check` read the first `have.bytes`
//             of it into a FileDigest; opened(), or dropped()
//     Read    up to room().size() bytes from `offset` into room(): got() that many, hole() of zeros
//             that are not stored, or dropped()
//     Close   whether the file is still as it was: closed(), or dropped()
//     Wait    nothing to do before feed()
//     Over    the receiver has told all; or failed()
//
// Output is frames of u16 size and record, as the daemon takes them (control/request.h, "share").
// What a drop concerns does not arrive, nor does its top: a folder arrives whole or not at all.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/file_digest.h"
#include "transfer/share_wire.h"

namespace transfer {

inline constexpr std::size_t kFrameHeaderSize = 2;

class ShareSender {
 public:
  struct Flush {};
  struct Open {
    std::uint32_t entry = 0;
    std::optional<ShareHave> check;
  };
  struct Read {
    std::uint32_t entry = 0;
    std::uint64_t offset = 0;
    std::uint64_t left = 0;  // of the file
  };
  struct Close {
    std::uint32_t entry = 0;
  };
  struct Wait {};
  struct Over {};
  using Step = std::variant<Flush, Open, Read, Close, Wait, Over>;

  explicit ShareSender(ShareManifest manifest);  // sealed

  [[nodiscard]] Step next();
  // `prefix`: of the bytes that Open asked for, if it did.
  void opened(std::optional<base::FileDigest> prefix = std::nullopt);
  [[nodiscard]] base::MutableByteView room();  // behind a Read; valid until the next call
  void got(std::size_t count);                 // 1..room().size(), at most `left`
  void hole(std::uint64_t count);              // 1..left
  void closed();
  void dropped(const std::string& reason);
  // One record of the receiver's. An error: it does not keep to the protocol; failed() says so too.
  [[nodiscard]] base::Status feed(base::ByteView record);

  [[nodiscard]] base::ByteView output() const { return {out_.get() + out_at_, out_end_ - out_at_}; }
  void consume(std::size_t count);

  [[nodiscard]] const ShareManifest& manifest() const { return manifest_; }
  [[nodiscard]] const std::string& failed() const { return failed_; }  // empty: not so
  [[nodiscard]] bool has_results() const { return has_results_; }
  // Of each top that arrived, its name there, or why it did not; also from drops here.
  [[nodiscard]] const std::map<std::uint32_t, ShareResult>& results() const { return results_; }
  [[nodiscard]] bool sending() const { return phase_ == Phase::kFiles; }
  [[nodiscard]] std::uint64_t bytes_done() const {
    return done_;
  }                                                               // those that were there included
  [[nodiscard]] std::uint64_t bytes_had() const { return had_; }  // there from an earlier attempt
  [[nodiscard]] std::uint32_t current() const { return at_; }     // the entry that is being sent

 private:
  enum class Phase { kManifest, kAwaitReady, kFiles, kAwaitResults, kAwaitOver, kOver };
  enum class File { kNone, kOpening, kReading, kClosing };
  [[nodiscard]] bool full() const;
  [[nodiscard]] std::size_t used() const;  // of the record that is being filled
  void make_record(std::size_t size);
  void grow_record(std::size_t size);
  void put(const base::Bytes& message);  // with its header
  void next_file();
  [[nodiscard]] Step next_of_file();
  [[nodiscard]] base::Status take(const ShareMessage& message);
  [[nodiscard]] base::Status take_have(base::ByteView body);
  [[nodiscard]] base::Status take_results(base::ByteView body);

  ShareManifest manifest_;
  Phase phase_ = Phase::kManifest;
  File file_ = File::kNone;
  std::uint32_t at_ = 0;       // in the manifest's entries
  std::uint64_t offset_ = 0;   // in the file
  std::uint64_t counted_ = 0;  // of it, in done_
  base::FileDigest digest_;
  std::optional<base::crypto::Hash256> whole_;  // of a file that is there already
  std::map<std::uint32_t, ShareHave> have_;
  std::map<std::uint32_t, ShareResult> results_;
  bool has_results_ = false;
  std::size_t told_ = 0;  // results, by the receiver
  std::string failed_;
  std::uint64_t done_ = 0;
  std::uint64_t had_ = 0;

  std::unique_ptr<std::uint8_t[]> out_;
  std::size_t out_at_ = 0;
  std::size_t out_end_ = 0;
  std::optional<std::size_t> record_;  // where the frame that is being filled begins
};

}  // namespace transfer
