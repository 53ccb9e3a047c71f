#include "daemon/files_beside.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/wire.h"
#include "daemon/job_folder.h"
#include "machine/fd.h"
#include "transfer/job_files.h"

namespace ternd {
namespace {

using base::Result;
using base::Status;

constexpr std::uint64_t kVersion = 1;
constexpr const char* kName = "beside";
constexpr std::size_t kPathMax = transfer::kJobPathMax + 64;  // the mark that it has got
constexpr std::size_t kFileMax = 2 * kBesideMax * (kPathMax + 8);

void put(base::Writer& w, const std::vector<std::string>& paths) {
  w.array(paths.size());
  for (const std::string& path : paths) w.bin(base::as_bytes(path));
}

void get(base::Reader& r, std::vector<std::string>& paths) {
  const std::size_t count = r.array(kBesideMax);
  for (std::size_t i = 0; i < count && r.ok(); ++i) {
    paths.emplace_back(base::as_text(r.bin(kPathMax)));
  }
}

bool is_gone(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

}  // namespace

std::vector<std::string> beside_sentences(const machine::LaidBeside& laid) {
  std::vector<std::string> out;
  for (const std::string& path : laid.beside) {
    out.push_back(
        "a file was changed here while the job was away, and is kept; the job's version lies "
        "beside it: " +
        path);
  }
  for (const std::string& path : laid.kept) {
    out.push_back(
        "what was a file and is a folder now, or the other way, came home; what was here is kept "
        "beside it: " +
        path);
  }
  return out;
}

base::Bytes encode_beside(const machine::LaidBeside& laid) {
  base::Writer w;
  w.array(3).u64(kVersion);
  put(w, laid.beside);
  put(w, laid.kept);
  return w.take();
}

Result<machine::LaidBeside> decode_beside(base::ByteView bytes) {
  base::Reader r(bytes);
  machine::LaidBeside laid;
  r.array_of(3);
  if (r.u64() != kVersion) r.reject("made by a newer tern");
  get(r, laid.beside);
  get(r, laid.kept);
  if (Status finished = r.finish(); !finished) return finished.error();
  return laid;
}

std::size_t fit_beside(machine::LaidBeside& laid, BesideRoom& room) {
  std::size_t out = 0;
  for (std::vector<std::string>* paths : {&laid.beside, &laid.kept}) {
    std::size_t listed = 0;
    for (const std::string& path : *paths) {
      if (room.paths == 0 || path.size() > room.bytes) break;
      --room.paths;
      room.bytes -= path.size();
      ++listed;
    }
    out += paths->size() - listed;
    paths->resize(listed);
  }
  return out;
}

FilesBeside::FilesBeside(loop::Loop& loop, const Paths& paths, InFolder in_folder, base::Log& log)
    : loop_(loop),
      paths_(paths),
      in_folder_(std::move(in_folder)),
      log_(log),
      patience_(loop, [this] { looked(); }) {}

FilesBeside::~FilesBeside() {
  *alive_ = false;
  looked();
}

void FilesBeside::load(const base::JobId& job) {
  auto text = machine::read_small_file(paths_.job(job) + "/" + kName, kFileMax);
  if (!text) return;  // of most jobs there is none
  auto laid = decode_beside(base::as_bytes(*text));
  if (laid) known_[job] = std::move(*laid);
  if (!laid) {
    log_.warn("files_beside", {{"job", job.hex()}, {"why", laid.error().detail}});
  }
}

machine::LaidBeside FilesBeside::of(const base::JobId& job) const {
  const auto it = known_.find(job);
  if (it == known_.end()) return {};
  machine::LaidBeside laid = it->second;
  for (std::vector<std::string>* paths : {&laid.beside, &laid.kept}) {
    std::erase_if(*paths, [&](const std::string& path) { return gone_.contains(path); });
  }
  return laid;
}

void FilesBeside::look(std::function<void()> then) {
  if (known_.empty()) return then();
  if (waiting_.empty()) patience_.start(kBesideLook);
  waiting_.push_back(std::move(then));
  if (std::exchange(looks_, true)) return;
  std::vector<std::string> paths;
  for (const auto& [job, laid] : known_) {
    paths.insert(paths.end(), laid.beside.begin(), laid.beside.end());
    paths.insert(paths.end(), laid.kept.begin(), laid.kept.end());
  }
  auto gone = std::make_shared<std::set<std::string>>();
  loop::run_blocking(
      loop_,
      [paths = std::move(paths), gone] {
        std::copy_if(paths.begin(), paths.end(), std::inserter(*gone, gone->end()), is_gone);
      },
      [this, gone, alive = alive_] {
        if (!*alive) return;
        looks_ = false;
        gone_ = std::move(*gone);
        looked();
      });
}

void FilesBeside::looked() {
  patience_.stop();
  for (const auto& then : std::exchange(waiting_, {})) then();
}

void FilesBeside::merge(std::vector<std::string>& known, const std::vector<std::string>& more) {
  for (const std::string& path : more) gone_.erase(path);
  if (known.size() + more.size() > kBesideMax) {
    std::erase_if(known, [&](const std::string& path) { return gone_.contains(path); });
  }
  for (const std::string& path : more) {
    if (known.size() >= kBesideMax || path.size() > kPathMax) return;
    if (std::find(known.begin(), known.end(), path) == known.end()) known.push_back(path);
  }
}

void FilesBeside::add(const base::JobId& job, const machine::LaidBeside& laid) {
  if (laid.beside.empty() && laid.kept.empty()) return;
  machine::LaidBeside& known = known_[job];
  merge(known.beside, laid.beside);
  merge(known.kept, laid.kept);
  const auto work = [folder = paths_.job(job), bytes = encode_beside(known)] {
    return job_folder::write_file(folder, kName, bytes);
  };
  in_folder_(job, work, [this, job, alive = alive_](const Status& status) {
    if (!*alive || status) return;
    log_.warn("files_beside", {{"job", job.hex()}, {"why", status.error().detail}});
  });
}

}  // namespace ternd
