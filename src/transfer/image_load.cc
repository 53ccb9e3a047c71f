#include "transfer/image_load.h"

#include <algorithm>
#include <string>

#include "transfer/image_check.h"

namespace transfer::criu {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::Result;
using base::Status;

// Of an unlinked file only the head is looked at; what follows are its contents.
constexpr std::size_t kGhostHeadMax = 8192;

Bytes head_of(const Image& image, std::size_t size_max) {
  Bytes out;
  for (const Buffer& chunk : image.chunks) {
    const ByteView part = chunk.view().first(std::min(chunk.size(), size_max - out.size()));
    out.insert(out.end(), part.begin(), part.end());
    if (out.size() == size_max) break;
  }
  return out;
}

Status take_magic(ByteView& rest, std::uint32_t magic) {
  if (rest.size() < 4 || base::get_le32(rest) != magic) {
    return fail(Code::kInvalid, "not the magic number of its kind");
  }
  rest = rest.subspan(4);
  return {};
}

Status take_entries(ByteView rest, const ImageRule& rule, LoadedImage& out) {
  while (!rest.empty()) {
    if (rest.size() < 4) return fail(Code::kInvalid, "an entry is cut short");
    const std::size_t size = base::get_le32(rest);
    rest = rest.subspan(4);
    if (size > rest.size()) return fail(Code::kInvalid, "an entry is cut short");
    const ByteView entry = rest.first(size);
    rest = rest.subspan(size);
    const bool head = rule.first != nullptr && out.entries.empty();
    if (auto checked = protobuf::check(entry, head ? *rule.first : *rule.entry); !checked) {
      return checked;
    }
    out.entries.push_back(entry);
    if (rule.raw == RawBytes::kAfterOne) return {};
    if (rule.raw != RawBytes::kPerEntry) continue;
    const std::uint64_t raw = protobuf::number_of(entry, rule.size_field);
    if (raw > rest.size()) return fail(Code::kInvalid, "contents are cut short");
    rest = rest.subspan(static_cast<std::size_t>(raw));
  }
  return {};
}

Status load_one(const Image& image, const ImageRule& rule, LoadedImages& all, LoadedImage& out) {
  out.size = image.size;
  if (rule.raw == RawBytes::kAll) return {};
  if (rule.raw == RawBytes::kAfterOne) {
    all.bytes.push_back(head_of(image, kGhostHeadMax));
  } else {
    auto contents = image_contents(image, kCheckedImageMax);
    if (!contents) return contents.error();
    all.bytes.push_back(std::move(*contents));
  }
  ByteView rest = all.bytes.back();
  if (rule.kind != ImageKind::kInventory) {  // the one image without the common magic
    if (auto magic = take_magic(rest, kCommonMagic); !magic) return magic;
  }
  if (auto magic = take_magic(rest, rule.magic); !magic) return magic;
  return take_entries(rest, rule, out);
}

}  // namespace

const LoadedImage* LoadedImages::find(ImageKind kind, std::uint64_t number) const {
  const auto at = images.find({kind, number});
  return at == images.end() ? nullptr : &at->second;
}

Result<LoadedImages> load_images(const ImageSet& images) {
  LoadedImages all;
  std::size_t total = 0;
  for (const auto& [name, image] : images) {
    const auto known = image_of_name(name);
    if (!known) return fail(Code::kRefused, name + ": images of this kind are not taken");
    LoadedImage& out = all.images[{known->rule->kind, known->number}];
    if (auto loaded = load_one(image, *known->rule, all, out); !loaded) {
      return fail(loaded.error().code, name + ": " + loaded.error().detail);
    }
    if (known->rule->raw != RawBytes::kAll) total += all.bytes.back().size();
    if (total > kCheckedTotalMax) return fail(Code::kTooLarge, "the images are too large");
  }
  return all;
}

}  // namespace transfer::criu
