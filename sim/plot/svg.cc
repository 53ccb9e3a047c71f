#include "plot/svg.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace plot {
namespace {

constexpr double kWidth = 960;
constexpr double kEdge = 20;
constexpr double kRight = 16;  // of each panel
constexpr double kAxisRoom = 52;
constexpr double kLetter = 6.6;  // typical width at 12 px
constexpr double kLegendLine = 20;
constexpr double kNoteLine = 17;
constexpr double kMarkGap = 11;  // between marks on one line

// Light first; what only asks for less light than usual gets the second. Names, not variables:
// converters do not know those.
constexpr const char* kStyle = R"(
text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;font-size:12px;fill:#1f2328}
.t{font-size:17px;font-weight:600}.p{font-size:13px;font-weight:600}.d{fill:#59636e}
.bg{fill:#ffffff}.grid{stroke:#e4e8ec;stroke-width:1}.axis{stroke:#8c959f;stroke-width:1}
.guide{stroke:#59636e;stroke-width:1;stroke-dasharray:2 3;fill:none}
.l{fill:none;stroke-width:2;stroke-linejoin:round}.m{stroke-width:1.5}
.s0{stroke:#0072b2;fill:#0072b2}.s1{stroke:#d55e00;fill:#d55e00}.s2{stroke:#009e73;fill:#009e73}
.s3{stroke:#b5649a;fill:#b5649a}.s4{stroke:#c98500;fill:#c98500}.s5{stroke:#3a9fd8;fill:#3a9fd8}
.s6{stroke:#6e7781;fill:#6e7781}.s7{stroke:#1f2328;fill:#1f2328}
.l.s0,.l.s1,.l.s2,.l.s3,.l.s4,.l.s5,.l.s6,.l.s7{fill:none}.h{fill:#ffffff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.d{fill:#9da7b1}.bg{fill:#0d1117}
.grid{stroke:#232a33}.axis{stroke:#6e7681}.guide{stroke:#9da7b1}
.s0{stroke:#4aa8e0;fill:#4aa8e0}.s1{stroke:#f0883e;fill:#f0883e}.s2{stroke:#2ec49a;fill:#2ec49a}
.s3{stroke:#db8fc0;fill:#db8fc0}.s4{stroke:#e6b422;fill:#e6b422}.s5{stroke:#8fd0f5;fill:#8fd0f5}
.s6{stroke:#9da7b1;fill:#9da7b1}.s7{stroke:#e6edf3;fill:#e6edf3}.h{fill:#0d1117}
.l.s0,.l.s1,.l.s2,.l.s3,.l.s4,.l.s5,.l.s6,.l.s7{fill:none}}
)";
constexpr const char* kDashes[kStyles] = {"", "", "7 3", "2 3", "9 3 2 3", "5 2", "3 3", ""};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;  // XML 1.0 has no others
    }
  }
  return out;
}

std::string px(double value) { return number_text(value, 1); }

std::size_t letters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

double width_of(const std::string& text) { return kLetter * static_cast<double>(letters(text)); }

struct Place {
  double x = 0;
  double y = 0;
};

std::string text_at(Place at, const std::string& text, const std::string& rest) {
  return "<text x=\"" + px(at.x) + "\" y=\"" + px(at.y) + "\"" + (rest.empty() ? "" : " ") + rest +
         ">" + escaped(text) + "</text>\n";
}

std::string line(Place from, Place to, const char* style) {
  return "<line class=\"" + std::string(style) + "\" x1=\"" + px(from.x) + "\" y1=\"" + px(from.y) +
         "\" x2=\"" + px(to.x) + "\" y2=\"" + px(to.y) + "\"/>\n";
}

std::string mark(Place at, int style, bool hollow) {
  const std::string cls = "class=\"m s" + std::to_string(style) + (hollow ? " h" : "") + "\"";
  const auto path = [&](const std::string& d) { return "<path " + cls + " d=\"" + d + "\"/>\n"; };
  const std::string at_text = "M" + px(at.x) + " ";
  switch (style % 4) {
    case 0:
      return "<circle " + cls + " cx=\"" + px(at.x) + "\" cy=\"" + px(at.y) + "\" r=\"3.5\"/>\n";
    case 1:  // diamond
      return path(at_text + px(at.y - 4.6) + "l4.6 4.6l-4.6 4.6l-4.6 -4.6z");
    case 2:  // triangle
      return path(at_text + px(at.y - 4.4) + "l4.2 7.4h-8.4z");
    default:  // square
      return path("M" + px(at.x - 3.2) + " " + px(at.y - 3.2) + "h6.4v6.4h-6.4z");
  }
}

class PanelPainter {
 public:
  PanelPainter(const Panel& panel, Place corner, Place size)
      : panel_(panel), corner_(corner), size_(size) {
    CHECK(panel.x.low < panel.x.high);
    CHECK(panel.y.low < panel.y.high);
  }

  std::string paint() {
    out_ += text_at({corner_.x, corner_.y - 12}, panel_.title, "class=\"p\"");
    paint_axes();
    for (const Guide& guide : panel_.guides) paint_guide(guide);
    for (const Series& series : panel_.series) paint_series(series);
    return out_;
  }

 private:
  static double share(const Axis& axis, double value) {
    if (!axis.log) return (value - axis.low) / (axis.high - axis.low);
    return std::log(value / axis.low) / std::log(axis.high / axis.low);
  }
  [[nodiscard]] Place place(double x, double y) const {
    return {corner_.x + share(panel_.x, x) * size_.x,
            corner_.y + (1 - share(panel_.y, y)) * size_.y};
  }
  [[nodiscard]] static bool inside(const Axis& axis, double value) {
    if (axis.log && value <= 0) return false;
    const double at = share(axis, value);
    return at >= -1e-9 && at <= 1 + 1e-9;
  }
  static std::vector<Tick> ticks_of(const Axis& axis, int wanted) {
    if (!axis.ticks.empty()) return axis.ticks;
    return axis.log ? log_ticks(axis.low, axis.high) : linear_ticks(axis.low, axis.high, wanted);
  }

  void paint_axes() {
    const double bottom = corner_.y + size_.y;
    for (const Tick& tick : ticks_of(panel_.x, 8)) {
      const double x = place(tick.at, panel_.y.low).x;
      out_ += line({x, corner_.y}, {x, bottom}, "grid");
      out_ += text_at({x, bottom + 17}, tick.label, "text-anchor=\"middle\" class=\"d\"");
    }
    for (const Tick& tick : ticks_of(panel_.y, 6)) {
      const double y = place(panel_.x.low, tick.at).y;
      out_ += line({corner_.x, y}, {corner_.x + size_.x, y}, "grid");
      out_ += text_at({corner_.x - 7, y + 4}, tick.label, "text-anchor=\"end\" class=\"d\"");
    }
    out_ += line({corner_.x, bottom}, {corner_.x + size_.x, bottom}, "axis");
    out_ +=
        text_at({corner_.x + size_.x / 2, bottom + 38}, panel_.x.title, "text-anchor=\"middle\"");
    // The y axis is named at its top, where it is read without turning the head.
    if (!panel_.y.title.empty()) {
      out_ += text_at({corner_.x + size_.x, corner_.y - 12}, panel_.y.title,
                      "text-anchor=\"end\" class=\"d\"");
    }
  }

  void paint_guide(const Guide& guide) {
    const bool shown = inside(panel_.x, guide.x1) && inside(panel_.x, guide.x2) &&
                       inside(panel_.y, guide.y1) && inside(panel_.y, guide.y2);
    if (!shown) return;
    const Place from = place(guide.x1, guide.y1);
    const Place to = place(guide.x2, guide.y2);
    out_ += line(from, to, "guide");
    const bool upright = std::abs(to.x - from.x) < 1;
    const double wide = width_of(guide.label);
    const bool fits = to.x + wide + 6 < corner_.x + size_.x;
    if (upright) {  // at its foot, where curves that rise to the right leave room
      out_ += text_at({from.x + (fits ? 4 : -4), from.y - 6}, guide.label,
                      fits ? "class=\"d\"" : "text-anchor=\"end\" class=\"d\"");
    } else {
      out_ += text_at({to.x - 3, to.y - 5}, guide.label, "text-anchor=\"end\" class=\"d\"");
    }
  }

  void paint_series(const Series& series) {
    CHECK(series.style < kStyles);
    std::vector<Place> places;
    for (const auto& [x, y] : series.points) {
      if (inside(panel_.x, x) && inside(panel_.y, y)) places.push_back(place(x, y));
    }
    if (series.line && places.size() > 1) {
      out_ += "<polyline class=\"l s" + std::to_string(series.style) + "\"";
      const std::string dash = kDashes[series.style];
      if (!dash.empty()) out_ += " stroke-dasharray=\"" + dash + "\"";
      out_ += " points=\"";
      for (const Place& at : places) out_ += px(at.x) + "," + px(at.y) + " ";
      out_.back() = '"';
      out_ += "/>\n";
    }
    if (!series.marks) return;
    double last = -kMarkGap;
    for (const Place& at : places) {
      if (series.line && at.x - last < kMarkGap) continue;  // a string of pearls hides its line
      last = at.x;
      out_ += mark(at, series.style, series.hollow);
    }
  }

  const Panel& panel_;
  Place corner_;
  Place size_;
  std::string out_;
};

// Returns how many lines it took.
int paint_legend(const Chart& chart, double top, std::string& out) {
  std::vector<std::string> seen;
  Place at{kEdge, top};
  int lines = 0;
  for (const Panel& panel : chart.panels) {
    for (const Series& series : panel.series) {
      if (series.label.empty()) continue;
      if (std::find(seen.begin(), seen.end(), series.label) != seen.end()) continue;
      seen.push_back(series.label);
      const double wide = width_of(series.label) + 56;
      if (lines == 0) lines = 1;
      if (at.x + wide > kWidth - kEdge) {
        at = {kEdge, at.y + kLegendLine};
        ++lines;
      }
      if (series.line) {
        const std::string dash = kDashes[series.style];
        out += "<polyline class=\"l s" + std::to_string(series.style) + "\"" +
               (dash.empty() ? "" : " stroke-dasharray=\"" + dash + "\"") + " points=\"" +
               px(at.x) + "," + px(at.y - 4) + " " + px(at.x + 26) + "," + px(at.y - 4) + "\"/>\n";
      }
      if (series.marks) out += mark({at.x + 13, at.y - 4}, series.style, series.hollow);
      out += text_at({at.x + 33, at.y}, series.label, "");
      at.x += wide;
    }
  }
  return lines;
}

std::vector<std::string> wrapped(const std::string& text, double wide) {
  std::vector<std::string> lines;
  std::string rest = text;
  const auto room = static_cast<std::size_t>(wide / kLetter);
  while (rest.size() > room && rest.rfind(' ', room) != std::string::npos) {
    const std::size_t cut = rest.rfind(' ', room);
    lines.push_back(rest.substr(0, cut));
    rest.erase(0, cut + 1);
  }
  if (!rest.empty()) lines.push_back(rest);
  return lines;
}

}  // namespace

std::string render(const Chart& chart) {
  CHECK(!chart.panels.empty());
  std::string body = text_at({kEdge, 32}, chart.title, "class=\"t\"");
  body += text_at({kEdge, 52}, chart.subtitle, "class=\"d\"");
  const double legend = 80;
  const int lines = paint_legend(chart, legend, body);
  const double top = legend + kLegendLine * lines + 20;
  const auto count = static_cast<double>(chart.panels.size());
  const double each = (kWidth - 2 * kEdge) / count;
  for (std::size_t i = 0; i < chart.panels.size(); ++i) {
    const Place corner{kEdge + each * static_cast<double>(i) + chart.left_margin, top};
    const Place size{each - chart.left_margin - kRight, static_cast<double>(chart.panel_height)};
    body += PanelPainter(chart.panels[i], corner, size).paint();
  }
  double height = top + chart.panel_height + kAxisRoom;
  for (const std::string& note : wrapped(chart.note, kWidth - 2 * kEdge)) {
    body += text_at({kEdge, height + 12}, note, "class=\"d\"");
    height += kNoteLine;
  }
  height += 14;
  const std::string size = px(kWidth) + "\" height=\"" + px(height);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + px(kWidth) + " " +
         px(height) + "\" width=\"" + size + "\" role=\"img\">\n<title>" + escaped(chart.title) +
         "</title>\n<desc>" + escaped(chart.subtitle + ". " + chart.note) + "</desc>\n<style>" +
         kStyle + "</style>\n<rect class=\"bg\" width=\"" + size + "\" rx=\"8\"/>\n" + body +
         "</svg>\n";
}

}  // namespace plot
