// Charts as SVG, written by ourselves: a title, panels side by side, axes, lines and marks, a
// legend. The drawing follows the reader's light or dark scheme by a style sheet of its own; the
// colours are Okabe and Ito's, which the colour-blind tell apart, and each series has a mark and a
// dash pattern besides. Same chart, same bytes.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "plot/ticks.h"

namespace plot {

inline constexpr int kStyles = 8;  // series of one chart that look different

struct Axis {
  std::string title;
  double low = 0;
  double high = 1;  // above low; of a log axis both are above 0
  bool log = false;
  std::vector<Tick> ticks;  // empty: round ones
};

struct Series {
  std::string label;  // one line of the legend for each label; empty: none
  int style = 0;      // below kStyles
  bool line = true;
  bool marks = true;
  bool hollow = false;                            // marks
  std::vector<std::pair<double, double>> points;  // outside the axes: left out
};

// A thin dashed straight line between two points, with a word at its end; left out unless both lie
// inside the axes.
struct Guide {
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  std::string label;
};

struct Panel {
  std::string title;
  Axis x;
  Axis y;
  std::vector<Series> series;
  std::vector<Guide> guides;
};

struct Chart {
  std::string title;
  std::string subtitle;       // seed and sizes
  std::string note;           // below; what a reader must know to read it right
  std::vector<Panel> panels;  // one to three
  int panel_height = 300;
  int left_margin = 62;  // of each panel, for what stands beside its y axis
};

[[nodiscard]] std::string render(const Chart& chart);

}  // namespace plot
