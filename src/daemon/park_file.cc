#include "daemon/park_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <vector>

#include "daemon/job_folder.h"

namespace ternd::park_file {
namespace {

using base::Code;
using base::Epoch;
using base::fail;
using base::Result;
using base::Status;
using machine::Fd;
using machine::io_error;

constexpr std::string_view kParked = "park-e";
constexpr std::string_view kPart = ".part";
constexpr std::string_view kRests = "rests-e";
constexpr std::string_view kWoken = "woken-e";
constexpr std::size_t kReadSize = 256 * 1024;

struct Found {
  std::vector<Epoch> parked;
  std::vector<Epoch> rests;
  std::vector<Epoch> woken;
  std::vector<std::string> parts;
};

bool number_of(std::string_view text, Epoch& epoch) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch.value);
  return error == std::errc() && end == text.data() + text.size();
}

Result<Found> list(const std::string& dir, Epoch newest) {
  Found found;
  std::error_code error;
  std::filesystem::directory_iterator entry(dir, error);
  if (error == std::errc::no_such_file_or_directory) return found;
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    Epoch epoch;
    if (name.starts_with(kParked) && name.ends_with(kPart)) {
      found.parts.push_back(entry->path().string());
    } else if (name.starts_with(kParked)) {
      if (number_of(std::string_view(name).substr(kParked.size()), epoch) && epoch <= newest) {
        found.parked.push_back(epoch);
      }
    } else if (name.starts_with(kRests)) {
      if (number_of(std::string_view(name).substr(kRests.size()), epoch) && epoch <= newest) {
        found.rests.push_back(epoch);
      }
    } else if (name.starts_with(kWoken)) {
      if (number_of(std::string_view(name).substr(kWoken.size()), epoch) && epoch <= newest) {
        found.woken.push_back(epoch);
      }
    }
  }
  if (error) return fail(Code::kIo, "cannot list " + dir + ": " + error.message());
  return found;
}

std::string mark_path(const std::string& dir, std::string_view mark, Epoch epoch) {
  return dir + "/" + std::string(mark) + std::to_string(epoch.value);
}

bool has(const std::vector<Epoch>& epochs, Epoch epoch) {
  return std::find(epochs.begin(), epochs.end(), epoch) != epochs.end();
}

// The images as they come, kept for CRIU, but for pages that are too many.
class ToMemory final : public ParkVisitor {
 public:
  ToMemory(Loaded& loaded, std::uint64_t pages_max)
      : loaded_(loaded), pages_max_(pages_max), pages_left_(pages_max) {}
  Status begin(std::uint32_t /*image*/, const std::string& name) override {
    images_.push_back({name, &loaded_.images[name], std::nullopt});
    return {};
  }
  Status data(std::uint32_t number, base::ByteView bytes) override {
    One& one = images_[number];
    loaded_.bytes += bytes.size();
    if (one.name.starts_with("pages-")) {
      if (!one.hasher && bytes.size() > pages_left_) let_go_largest();
      if (one.hasher) {
        one.hasher->add(bytes);
        return {};
      }
      pages_left_ -= std::min<std::uint64_t>(pages_left_, bytes.size());
    }
    transfer::Buffer chunk(bytes.size());
    std::memcpy(chunk.mutable_view().data(), bytes.data(), bytes.size());
    one.image->chunks.push_back(std::move(chunk));
    one.image->size += bytes.size();
    return {};
  }
  Status end(std::uint32_t number) override {
    One& one = images_[number];
    one.image->ended = true;
    if (one.hasher) forget(one);
    return {};
  }

 private:
  struct One {
    std::string name;
    transfer::Image* image = nullptr;  // in a map, whose nodes do not move
    std::optional<base::crypto::Hasher> hasher;
  };
  // Small ones stay, however many they are.
  void let_go_largest() {
    One* largest = nullptr;
    for (One& one : images_) {
      if (one.hasher || !one.name.starts_with("pages-")) continue;
      if (largest == nullptr || one.image->size > largest->image->size) largest = &one;
    }
    if (largest == nullptr || largest->image->size < pages_max_ / 2 || let_go_ >= kNotKeptMax) {
      return;
    }
    ++let_go_;
    largest->hasher.emplace();
    for (const transfer::Buffer& chunk : largest->image->chunks) {
      largest->hasher->add(chunk.view());
    }
    pages_left_ = std::min(pages_max_, pages_left_ + largest->image->size);
    largest->image->chunks.clear();
    if (largest->image->ended) forget(*largest);
  }
  void forget(One& one) {
    loaded_.not_kept[one.name] = one.hasher->finish();
    loaded_.images.erase(one.name);
  }

  Loaded& loaded_;
  const std::uint64_t pages_max_;
  std::uint64_t pages_left_;
  std::size_t let_go_ = 0;
  std::vector<One> images_;
};

Result<Fd> open_file(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file.valid()) return io_error("open " + path);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return io_error("look at " + path);
  if (!S_ISREG(info.st_mode)) return fail(Code::kInvalid, path + " is no file");
  return file;
}

std::uint64_t size_of(const Fd& file) {
  struct stat info {};
  return ::fstat(file.get(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

}  // namespace

Result<State> look(const std::string& dir, Epoch newest) {
  auto found = list(dir, newest);
  if (!found) return found.error();
  State state;
  state.parking = !found->parts.empty();
  const auto rests = std::max_element(found->rests.begin(), found->rests.end());
  if (rests != found->rests.end() && !has(found->woken, *rests) && !state.parking) {
    state.missing = path(dir, *rests);
  }
  if (found->parked.empty()) return state;
  state.parked = *std::max_element(found->parked.begin(), found->parked.end());
  state.woken = has(found->woken, *state.parked);
  state.missing.clear();
  return state;
}

std::string path(const std::string& dir, Epoch epoch) {
  return dir + "/" + std::string(kParked) + std::to_string(epoch.value);
}

// ---- writing

Result<std::unique_ptr<Writer>> Writer::create(const std::string& dir, Epoch epoch) {
  auto state = look(dir, epoch);
  if (!state) return state.error();
  if (state->parked && !state->woken) {
    return fail(Code::kExists, "the job has been parked here before");
  }
  // What is left of a wake that is over.
  if (Status clean = remove(dir, epoch); !clean) return clean.error();
  const std::string part = path(dir, epoch) + std::string(kPart);
  Fd file(::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return io_error("create " + part);
  return std::unique_ptr<Writer>(new Writer(dir, epoch, std::move(file)));
}

void Writer::begin(const node::ParkManifest& manifest) { encoder_.emplace(manifest); }

Status Writer::flush() {
  const base::Bytes bytes = encoder_->take_output();
  base::ByteView left = bytes;
  while (!left.empty()) {
    const ssize_t n =
        machine::retry([&] { return ::write(file_.get(), left.data(), left.size()); });
    if (n <= 0) {
      if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
        return fail(Code::kFull, "the disk of " + dir_ + " is full");
      }
      return io_error("write " + path(dir_, epoch_));
    }
    left = left.subspan(static_cast<std::size_t>(n));
    stored_ += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status Writer::commit() {
  if (Status whole = encoder_->finish(); !whole) return whole;
  if (Status written = flush(); !written) return written;
  const std::string name = path(dir_, epoch_);
  if (::fsync(file_.get()) != 0) return io_error("bring " + name + " to the disk");
  file_.reset();
  const std::string mark = mark_path(dir_, kRests, epoch_);
  const Fd rests(::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!rests.valid()) return io_error("create " + mark);
  if (::rename((name + std::string(kPart)).c_str(), name.c_str()) != 0) {
    return io_error("rename " + name);
  }
  return {};
}

Status Writer::settle() { return job_folder::sync_folder(dir_); }

Status remove_parts(const std::string& dir) {
  auto found = list(dir, Epoch{UINT64_MAX});
  if (!found) return found.error();
  if (found->parts.empty()) return {};
  // First the marks of those that did not come to their names: without its part a mark would say
  // that somebody took the file away.
  for (const Epoch epoch : found->rests) {
    const std::string mark = mark_path(dir, kRests, epoch);
    if (has(found->parked, epoch)) continue;
    if (::unlink(mark.c_str()) != 0 && errno != ENOENT) return io_error("remove " + mark);
  }
  if (Status synced = job_folder::sync_folder(dir); !synced) return synced;
  for (const std::string& part : found->parts) {
    if (::unlink(part.c_str()) != 0 && errno != ENOENT) return io_error("remove " + part);
  }
  return job_folder::sync_folder(dir);
}

// ---- reading

Result<std::unique_ptr<Reader>> Reader::open(const std::string& path, std::uint64_t data_max) {
  auto file = open_file(path);
  if (!file) return file.error();
  const std::uint64_t size = size_of(*file);
  return std::unique_ptr<Reader>(new Reader(std::move(*file), size, data_max, path));
}

Result<bool> Reader::next(std::size_t size, ParkVisitor& visitor) {
  base::Bytes block(size);
  const ssize_t n = machine::retry([&] { return ::read(file_.get(), block.data(), block.size()); });
  if (n < 0) return io_error("read " + path_);
  if (n == 0 && decoder_.done()) return false;
  if (n == 0) return fail(Code::kInvalid, "the parked job's file is damaged: it is too short");
  const base::ByteView bytes = base::ByteView(block).first(static_cast<std::size_t>(n));
  if (Status fed = decoder_.feed(bytes, visitor); !fed) return fed.error();
  return true;
}

Result<node::ParkManifest> read(const std::string& file_path, std::uint64_t data_max,
                                ParkVisitor& visitor) {
  auto reader = Reader::open(file_path, data_max);
  if (!reader) return reader.error();
  for (;;) {
    auto more = (*reader)->next(kReadSize, visitor);
    if (!more) return more.error();
    if (!*more) return *(*reader)->manifest();
  }
}

Result<node::ParkManifest> read_manifest(const std::string& file_path) {
  class Nothing final : public ParkVisitor {
    Status begin(std::uint32_t, const std::string&) override { return {}; }
    Status data(std::uint32_t, base::ByteView) override { return {}; }
    Status end(std::uint32_t) override { return {}; }
  } nothing;
  auto file = open_file(file_path);
  if (!file) return file.error();
  ParkDecoder decoder(size_of(*file), UINT64_MAX);
  base::Bytes block(4096);
  while (!decoder.manifest()) {
    const ssize_t n =
        machine::retry([&] { return ::read(file->get(), block.data(), block.size()); });
    if (n <= 0) return fail(Code::kInvalid, "the parked job's file is damaged: it is too short");
    const base::ByteView bytes = base::ByteView(block).first(static_cast<std::size_t>(n));
    const Status fed = decoder.feed(bytes, nothing);
    if (!fed && !decoder.manifest()) return fed.error();
  }
  return *decoder.manifest();
}

Result<Loaded> load(const std::string& file_path, std::uint64_t data_max, std::uint64_t pages_max) {
  Loaded loaded;
  ToMemory visitor(loaded, pages_max);
  auto manifest = read(file_path, data_max, visitor);
  if (!manifest) return manifest.error();
  loaded.manifest = std::move(*manifest);
  if (auto file = open_file(file_path)) loaded.stored_bytes = size_of(*file);
  return loaded;
}

// ---- marks

Status mark_woken(const std::string& dir, Epoch epoch) {
  return job_folder::write_file(dir, std::string(kWoken) + std::to_string(epoch.value), {});
}

Status remove(const std::string& dir, Epoch newest) {
  auto found = list(dir, newest);
  if (!found) return found.error();
  for (const Epoch epoch : found->rests) {
    const std::string mark = mark_path(dir, kRests, epoch);
    if (::unlink(mark.c_str()) != 0 && errno != ENOENT) return io_error("remove " + mark);
  }
  if (!found->rests.empty()) {
    if (Status synced = job_folder::sync_folder(dir); !synced) return synced;
  }
  for (const Epoch epoch : found->parked) {
    if (::unlink(path(dir, epoch).c_str()) != 0 && errno != ENOENT) {
      return io_error("remove " + path(dir, epoch));
    }
  }
  if (!found->parked.empty()) {
    if (Status synced = job_folder::sync_folder(dir); !synced) return synced;
  }
  for (const Epoch epoch : found->woken) (void)::unlink(mark_path(dir, kWoken, epoch).c_str());
  return found->woken.empty() ? Status() : job_folder::sync_folder(dir);
}

Result<std::uint64_t> free_bytes(const std::string& dir) {
  struct statvfs info {};
  if (::statvfs(dir.c_str(), &info) != 0) return io_error("look at the disk of " + dir);
  const std::uint64_t blocks = ::geteuid() == 0 ? info.f_bfree : info.f_bavail;
  return blocks * info.f_frsize;
}

}  // namespace ternd::park_file
