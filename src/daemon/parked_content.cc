#include "daemon/parked_content.h"

#include <utility>
#include <vector>

#include "daemon/park_file.h"

namespace ternd {
namespace {

using base::Code;
using base::Status;

constexpr std::size_t kBlock = 256 * 1024;  // of the file, at a time

struct Piece {
  enum class Kind { kBegin, kData, kEnd } kind = Kind::kData;
  std::uint32_t image = 0;
  std::string name;
  base::Bytes bytes;
};

class Pieces final : public ParkVisitor {
 public:
  Status begin(std::uint32_t image, const std::string& name) override {
    all.push_back({Piece::Kind::kBegin, image, name, {}});
    return {};
  }
  Status data(std::uint32_t image, base::ByteView bytes) override {
    all.push_back({Piece::Kind::kData, image, {}, base::to_bytes(bytes)});
    return {};
  }
  Status end(std::uint32_t image) override {
    all.push_back({Piece::Kind::kEnd, image, {}, {}});
    return {};
  }
  std::vector<Piece> all;
};

class ParkedContent final : public ContentSource {
 public:
  ParkedContent(loop::Loop& loop, const std::string& path, Callbacks callbacks)
      : run_(std::make_shared<Run>(loop, path, std::move(callbacks))) {
    read(run_);
  }
  ~ParkedContent() override { run_->gone = true; }
  void pause() override { run_->paused = true; }
  void resume() override {
    if (std::exchange(run_->paused, false) && !run_->reading) read(run_);
  }
  void cancel() override {
    run_->cancelled = true;
    resume();
  }

 private:
  struct Run {
    Run(loop::Loop& l, const std::string& p, Callbacks c)
        : loop(l), path(p), callbacks(std::move(c)) {}
    loop::Loop& loop;
    std::string path;
    Callbacks callbacks;
    std::unique_ptr<park_file::Reader> reader;
    bool reading = false;  // off the loop
    bool paused = false;
    bool cancelled = false;
    bool gone = false;
  };
  using Handle = std::shared_ptr<Run>;

  static void read(const Handle& run) {
    run->reading = true;
    auto pieces = std::make_shared<Pieces>();
    auto more = std::make_shared<base::Result<bool>>(false);
    loop::run_blocking(
        run->loop,
        [run, pieces, more] {
          if (!run->reader) {
            auto reader = park_file::Reader::open(run->path, UINT64_MAX);
            if (!reader) {
              *more = reader.error();
              return;
            }
            run->reader = std::move(*reader);
          }
          *more = run->reader->next(kBlock, *pieces);
        },
        [run, pieces, more] {
          run->reading = false;
          pass_on(run, *pieces, *more);
        });
  }

  static void pass_on(const Handle& run, const Pieces& pieces, const base::Result<bool>& more) {
    if (run->gone) return;
    const auto done = [&](const Status& status) { std::exchange(run->callbacks, {}).done(status); };
    if (run->cancelled) return done(base::fail(Code::kRefused, "cancelled"));
    if (!more) return done(more.error());
    for (const Piece& piece : pieces.all) {
      if (piece.kind == Piece::Kind::kBegin) run->callbacks.begin(piece.image, piece.name);
      if (piece.kind == Piece::Kind::kData) run->callbacks.data(piece.image, piece.bytes);
      if (piece.kind == Piece::Kind::kEnd) run->callbacks.end(piece.image);
      if (run->gone) return;
    }
    if (!*more) return done({});
    if (!run->paused || run->cancelled) read(run);
  }

  Handle run_;
};

}  // namespace

std::unique_ptr<ContentSource> start_parked_content(loop::Loop& loop, const std::string& path,
                                                    ContentSource::Callbacks callbacks) {
  return std::make_unique<ParkedContent>(loop, path, std::move(callbacks));
}

}  // namespace ternd
