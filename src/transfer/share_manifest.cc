#include "transfer/share_manifest.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace transfer {
namespace {

using base::Code;
using base::fail;
using base::Status;

// At most `size` bytes of a name, cut between UTF-8 sequences where it is UTF-8.
std::string_view cut(std::string_view text, std::size_t size) {
  if (text.size() <= size) return text;
  std::size_t end = size;
  for (int back = 0; back < 4 && end > 1; ++back) {
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80) return text.substr(0, end);
    --end;
  }
  return text.substr(0, size);
}

Status check_kind(const ShareEntry& entry) {
  if (entry.mode > kShareModeBits) return fail(Code::kInvalid, "a mode of more than permissions");
  if (entry.mtime_nanos > 999999999) return fail(Code::kInvalid, "an impossible time");
  if (entry.kind != EntryKind::kFile && entry.size != 0) {
    return fail(Code::kInvalid, "a size where there is no file");
  }
  if (entry.kind != EntryKind::kLink && !entry.link.empty()) {
    return fail(Code::kInvalid, "a target where there is no link");
  }
  return {};
}

}  // namespace

Status check_share_name(std::string_view name) {
  if (name.empty()) return fail(Code::kInvalid, "has no name");
  if (name.size() > kShareNameMax) return fail(Code::kInvalid, "has a name of over 255 bytes");
  if (name == "." || name == "..") return fail(Code::kInvalid, "is no name of its own");
  if (name.find('/') != std::string_view::npos) return fail(Code::kInvalid, "has a slash in it");
  if (name.find('\0') != std::string_view::npos) return fail(Code::kInvalid, "has a zero in it");
  return {};
}

bool link_stays_inside(std::string_view target, std::size_t folders) {
  if (target.empty() || target.size() > kShareLinkMax || target.front() == '/') return false;
  if (target.find('\0') != std::string_view::npos) return false;
  bool named = false;
  while (!target.empty()) {
    const std::size_t slash = target.find('/');
    const std::string_view part = target.substr(0, slash);
    target.remove_prefix(slash == std::string_view::npos ? target.size() : slash + 1);
    if (part == "..") {
      if (named || folders == 0) return false;
      --folders;
    } else if (!part.empty() && part != ".") {
      named = true;
    }
  }
  return true;
}

namespace {

// What follows "two" in "two (3)"; 1: nothing does. A year in brackets is no such number.
unsigned number_of(std::string_view stem) {
  const std::size_t open = stem.rfind(" (");
  if (open == std::string_view::npos || open == 0 || stem.back() != ')') return 1;
  const std::string_view digits = stem.substr(open + 2, stem.size() - open - 3);
  if (digits.empty() || digits.size() > 3 || digits[0] == '0') return 1;
  unsigned number = 0;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return 1;
    number = number * 10 + static_cast<unsigned>(digit - '0');
  }
  return number;
}

}  // namespace

std::string numbered_name(std::string_view name, unsigned number, bool folder) {
  constexpr std::size_t kExtensionMax = 16;
  const std::size_t dot = folder ? std::string_view::npos : name.rfind('.');
  const bool has_extension = dot != std::string_view::npos && dot != 0 &&
                             name.size() - dot <= kExtensionMax && dot + 1 < name.size();
  const std::string_view extension = has_extension ? name.substr(dot) : std::string_view();
  std::string_view stem = has_extension ? name.substr(0, dot) : name;
  const unsigned own = number_of(stem);
  if (own > 1) stem = stem.substr(0, stem.rfind(" ("));
  const std::string mark = " (" + std::to_string(own + number - 1) + ")";
  const std::size_t room = kShareNameMax - mark.size() - extension.size();
  return std::string(cut(stem, room)) + mark + std::string(extension);
}

Status ShareManifest::add(ShareEntry entry) {
  if (entries_.size() >= kShareEntriesMax) {
    return fail(Code::kTooLarge, "more than " + std::to_string(kShareEntriesMax) +
                                     " files and folders in one share");
  }
  if (Status named = check_share_name(entry.name); !named) {
    return fail(Code::kInvalid, "an entry " + named.error().detail);
  }
  if (Status kind = check_kind(entry); !kind) return kind;
  const bool top = entry.parent == kNoParent;
  if (top && entry.kind == EntryKind::kLink) return fail(Code::kInvalid, "a link alone");
  if (!top &&
      (entry.parent >= entries_.size() || entries_[entry.parent].kind != EntryKind::kFolder ||
       tops_[entry.parent] != tops_.back())) {
    return fail(Code::kInvalid, "an entry without its folder");
  }
  const std::uint32_t depth = top ? 0 : depths_[entry.parent] + 1;
  const std::size_t path = entry.name.size() + (top ? 0 : path_sizes_[entry.parent] + 1);
  if (depth > kShareDepthMax || path > kSharePathMax) {
    return fail(Code::kTooLarge, "folders nested too deep, or a path that is too long");
  }
  if (entry.kind == EntryKind::kLink && !link_stays_inside(entry.link, depth - 1)) {
    return fail(Code::kInvalid, "a link that leads out of what is shared");
  }
  if (entry.size > kShareBytesMax - bytes_)
    return fail(Code::kTooLarge, "more bytes than there are");
  names_ += entry.name.size() + entry.link.size();
  if (names_ > kShareNamesMax) return fail(Code::kTooLarge, "more than 32 MiB of names");
  tops_.push_back(top ? static_cast<std::uint32_t>(entries_.size()) : tops_[entry.parent]);
  depths_.push_back(depth);
  path_sizes_.push_back(static_cast<std::uint32_t>(path));
  bytes_ += entry.size;
  files_ += entry.kind == EntryKind::kFile ? 1 : 0;
  entries_.push_back(std::move(entry));
  return {};
}

Status ShareManifest::seal() {
  if (entries_.empty()) return fail(Code::kInvalid, "a share of nothing");
  std::vector<std::uint32_t> order(entries_.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto key = [this](std::uint32_t i) {
    return std::tie(entries_[i].parent, entries_[i].name);
  };
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); });
  const auto twice = std::adjacent_find(order.begin(), order.end(),
                                        [&](auto a, auto b) { return key(a) == key(b); });
  if (twice != order.end()) return fail(Code::kInvalid, "two entries of the same name");
  return {};
}

std::vector<std::uint32_t> ShareManifest::tops() const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t i = 0; i < size(); ++i) {
    if (entries_[i].parent == kNoParent) out.push_back(i);
  }
  return out;
}

std::string ShareManifest::path(std::uint32_t index) const {
  std::string out = entries_[index].name;
  for (std::uint32_t up = entries_[index].parent; up != kNoParent; up = entries_[up].parent) {
    out.insert(0, entries_[up].name + "/");
  }
  return out;
}

base::crypto::Hash256 ShareManifest::digest_of_top(std::uint32_t top) const {
  base::crypto::Hasher hasher;
  for (std::uint32_t i = top; i < size() && tops_[i] == top; ++i) {
    const ShareEntry& entry = entries_[i];
    const std::uint64_t parent = entry.parent == kNoParent ? 0 : entry.parent - top + 1;
    const std::uint64_t fields[] = {static_cast<std::uint64_t>(entry.kind),
                                    parent,
                                    entry.mode,
                                    static_cast<std::uint64_t>(entry.mtime_seconds),
                                    entry.mtime_nanos,
                                    entry.size,
                                    entry.name.size(),
                                    entry.link.size()};
    base::Bytes fixed(sizeof fields);
    for (std::size_t f = 0; f < std::size(fields); ++f) {
      base::put_le64(base::MutableByteView(fixed).subspan(f * 8), fields[f]);
    }
    hasher.add(fixed);
    hasher.add(base::as_bytes(entry.name));
    hasher.add(base::as_bytes(entry.link));
  }
  return hasher.finish();
}

}  // namespace transfer
