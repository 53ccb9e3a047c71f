#include "transfer/image_rewrite.h"

#include <algorithm>

namespace transfer::images {

using base::Bytes;
using base::ByteView;
using protobuf::Field;
using protobuf::WireType;

namespace {

constexpr std::size_t kMagics = 8;

void put_varint(Bytes& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) out.push_back(static_cast<std::uint8_t>(value | 0x80U));
  out.push_back(static_cast<std::uint8_t>(value));
}

void put(Bytes& out, const Field& field) {
  put_varint(out, (std::uint64_t{field.number} << 3U) | static_cast<std::uint64_t>(field.type));
  const auto fixed = [&](std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      out.push_back(static_cast<std::uint8_t>(field.value >> (8 * i)));
    }
  };
  switch (field.type) {
    case WireType::kVarint:
      return put_varint(out, field.value);
    case WireType::kFixed64:
      return fixed(8);
    case WireType::kFixed32:
      return fixed(4);
    case WireType::kBytes:
      put_varint(out, field.bytes.size());
      out.insert(out.end(), field.bytes.begin(), field.bytes.end());
  }
}

}  // namespace

void append(Bytes& message, const Field& field) { put(message, field); }

Bytes whole(const Image& image) {
  Bytes out;
  for (const Buffer& chunk : image.chunks) {
    out.insert(out.end(), chunk.view().begin(), chunk.view().end());
  }
  return out;
}

Bytes changed(ByteView message, const std::function<void(Field&)>& change) {
  Bytes out;
  protobuf::Reader reader(message);
  while (auto field = reader.next()) {
    change(*field);
    put(out, *field);
  }
  return out;
}

void each_entry(ByteView image, const std::function<void(ByteView)>& visit) {
  if (image.size() < kMagics) return;
  for (image = image.subspan(kMagics); image.size() >= 4;) {
    const std::size_t size = base::get_le32(image);
    if (size > image.size() - 4) return;
    visit(image.subspan(4, size));
    image = image.subspan(4 + size);
  }
}

void add_entry(Image& image, ByteView entry) {
  Buffer buffer(4 + entry.size());
  base::put_le32(buffer.mutable_view(), static_cast<std::uint32_t>(entry.size()));
  std::copy(entry.begin(), entry.end(), buffer.mutable_view().begin() + 4);
  image.size += buffer.size();
  image.chunks.push_back(std::move(buffer));
}

void rewrite(Image& image, const std::function<Bytes(ByteView)>& change) {
  const Bytes old = whole(image);
  Bytes fresh = base::to_bytes(ByteView(old).first(std::min(kMagics, old.size())));
  each_entry(old, [&](ByteView entry) {
    const Bytes now = change(entry);
    if (now.empty()) return;
    Bytes size(4);
    base::put_le32(size, static_cast<std::uint32_t>(now.size()));
    fresh.insert(fresh.end(), size.begin(), size.end());
    fresh.insert(fresh.end(), now.begin(), now.end());
  });
  image.chunks.clear();
  image.size = fresh.size();
  if (fresh.empty()) return;
  Buffer buffer(fresh.size());
  std::copy(fresh.begin(), fresh.end(), buffer.mutable_view().begin());
  image.chunks.push_back(std::move(buffer));
}

void rewrite_where(Image& image, const std::function<bool(ByteView)>& wanted,
                   const std::function<Bytes(ByteView)>& change) {
  bool any = false;
  each_entry(whole(image), [&](ByteView entry) { any = any || wanted(entry); });
  if (!any) return;
  rewrite(image,
          [&](ByteView entry) { return wanted(entry) ? change(entry) : base::to_bytes(entry); });
}

}  // namespace transfer::images
