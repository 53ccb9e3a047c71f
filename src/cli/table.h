// Columns for a person: aligned, no wider than the terminal, without padding at line ends. Pure.
#pragma once

#include <string>
#include <vector>

namespace cli {

enum class Colour { kPlain, kRed, kGreen, kYellow, kDim };
enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
  bool shrinks = false;  // gives way first when the terminal is too narrow
};

struct Cell {
  Cell(std::string t, Colour c = Colour::kPlain)  // NOLINT(google-explicit-constructor)
      : text(std::move(t)), colour(c) {}
  std::string text;
  Colour colour;
};

struct TableStyle {
  std::size_t width = 0;  // columns of the terminal; 0: no limit
  bool colour = false;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // One cell a column. Text is escaped here (cli/text.h).
  void row(std::vector<Cell> cells);
  [[nodiscard]] std::string render(const TableStyle& style) const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths(const TableStyle& style) const;
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace cli
