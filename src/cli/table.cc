#include "cli/table.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kShrunkMin = 4;

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::kPlain:
      return "";
    case Colour::kRed:
      return "\x1b[31m";
    case Colour::kGreen:
      return "\x1b[32m";
    case Colour::kYellow:
      return "\x1b[33m";
    case Colour::kDim:
      return "\x1b[2m";
  }
  return "";
}

}  // namespace

void Table::row(std::vector<Cell> cells) {
  CHECK(cells.size() == columns_.size());
  for (Cell& cell : cells) cell.text = escape_line(cell.text);
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths(const TableStyle& style) const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = display_width(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[i].text));
    out.push_back(width);
  }
  if (style.width == 0) return out;
  std::size_t total = std::accumulate(out.begin(), out.end(), kGap * (out.size() - 1));
  for (std::size_t i = columns_.size(); i-- > 0 && total > style.width;) {
    if (!columns_[i].shrinks || out[i] <= kShrunkMin) continue;
    const std::size_t less = std::min(total - style.width, out[i] - kShrunkMin);
    out[i] -= less;
    total -= less;
  }
  return out;
}

std::string Table::render(const TableStyle& style) const {
  const std::vector<std::size_t> width = widths(style);
  std::string out;
  const auto line = [&](const std::vector<Cell>& cells) {
    std::string text;
    std::size_t owed = 0;  // spaces, written only before more text
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string shown = clip(cells[i].text, width[i]);
      const std::size_t pad = width[i] - display_width(shown);
      if (columns_[i].align == Align::kRight) owed += pad;
      if (!shown.empty()) {
        text.append(owed, ' ');
        owed = 0;
        const bool coloured = style.colour && cells[i].colour != Colour::kPlain;
        text += coloured ? std::string(code_of(cells[i].colour)) + shown + "\x1b[0m" : shown;
      }
      if (columns_[i].align == Align::kLeft) owed += pad;
      owed += kGap;
    }
    out += text + "\n";
  };
  std::vector<Cell> titles;
  for (const Column& column : columns_) titles.emplace_back(column.title, Colour::kDim);
  line(titles);
  for (const auto& row : rows_) line(row);
  return out;
}

}  // namespace cli
