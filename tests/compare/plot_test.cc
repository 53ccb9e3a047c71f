#include "plot/plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "base/crypto.h"
#include "plot/gossip_curves.h"
#include "plot/svg.h"
#include "plot/ticks.h"

namespace plot {
namespace {

// Enough of XML 1.0 (§2.1, §3.1) to say why a text is not well-formed; empty if it is. Elements
// nest, attributes are quoted and named once, '&' opens a known entity, '<' stands in no value.
class XmlReader {
 public:
  explicit XmlReader(const std::string& text) : text_(text) {}
  std::string why_not() {
    while (at_ < text_.size() && why_.empty()) text_[at_] == '<' ? tag() : plain();
    if (why_.empty() && !open_.empty()) why_ = "never closed: " + open_.back();
    if (why_.empty() && roots_ != 1) why_ = "not one root";
    return why_;
  }

 private:
  void plain() {
    const char c = text_[at_++];
    if (open_.empty() && std::isspace(static_cast<unsigned char>(c)) == 0) why_ = "text outside";
    if (c == '&') entity();
  }
  void entity() {
    for (const std::string name : {"amp;", "lt;", "gt;", "quot;", "apos;"}) {
      if (text_.compare(at_, name.size(), name) == 0) return;
    }
    why_ = "a bare '&' before " + text_.substr(at_, 10);
  }
  std::string word() {
    const std::size_t from = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '-')) {
      ++at_;
    }
    if (from == at_) why_ = "no name at " + text_.substr(from, 10);
    return text_.substr(from, at_ - from);
  }
  bool take(const std::string& what) {
    if (text_.compare(at_, what.size(), what) != 0) return false;
    at_ += what.size();
    return true;
  }
  void tag() {
    ++at_;
    if (take("/")) {
      const std::string name = word();
      if (open_.empty() || open_.back() != name) why_ = "closes out of order: " + name;
      if (why_.empty()) open_.pop_back();
      if (!take(">")) why_ = "no end of /" + name;
      return;
    }
    const std::string name = word();
    if (open_.empty()) ++roots_;
    std::vector<std::string> seen;
    while (take(" ") && why_.empty()) {
      const std::string attribute = word();
      if (std::find(seen.begin(), seen.end(), attribute) != seen.end())
        why_ = "twice: " + attribute;
      seen.push_back(attribute);
      if (!take("=\"")) why_ = "no value: " + attribute;
      while (at_ < text_.size() && text_[at_] != '"' && why_.empty()) {
        if (text_[at_] == '<') why_ = "'<' in the value of " + attribute;
        if (text_[at_++] == '&') entity();
      }
      ++at_;
    }
    if (take("/>")) return;
    if (!take(">")) why_ = "no end of " + name;
    open_.push_back(name);
  }

  const std::string& text_;
  std::size_t at_ = 0;
  int roots_ = 0;
  std::vector<std::string> open_;
  std::string why_;
};

std::string why_not_xml(const std::string& text) { return XmlReader(text).why_not(); }

TEST(XmlReader, SeesWhatIsWrong) {
  EXPECT_EQ(why_not_xml("<a b=\"1\"><c/>x &amp; y</a>\n"), "");
  for (const std::string bad : {"<a>", "<a></b>", "<a b=1/>", "<a b=\"1\" b=\"2\"/>", "<a>&</a>",
                                "<a b=\"<\"/>", "<a/><b/>", "x<a/>", "<a b=\"&x;\"/>", ""}) {
    EXPECT_NE(why_not_xml(bad), "") << bad;
  }
}

Chart small_chart() {
  Panel panel{"a & b", {"x <1>", 0, 10, false, {}}, {"y", 1, 100, true, {}}, {}, {}};
  panel.series.push_back({"\"s\"", 0, true, true, false, {{0, 1}, {5, 10}, {10, 100}}});
  panel.guides.push_back({0, 10, 10, 10, "g"});
  return {"Title & more", "seed 7", "note <n>", {panel}};
}

TEST(Svg, IsWellFormedWhateverTheWordsAre) {
  const std::string svg = render(small_chart());
  EXPECT_EQ(why_not_xml(svg), "");
  EXPECT_NE(svg.find("<title>Title &amp; more</title>"), std::string::npos);
  EXPECT_EQ(svg, render(small_chart()));
  Chart control = small_chart();
  control.title = "a\x01\x1f";
  EXPECT_EQ(render(control).find('\x01'), std::string::npos);
}

TEST(Svg, ALogAxisPutsEqualRatiosAtEqualDistances) {
  const std::string svg = render(small_chart());
  const std::size_t at = svg.find("points=\"", svg.find("class=\"p\""));
  ASSERT_NE(at, std::string::npos);
  double x[3];
  double y[3];
  ASSERT_EQ(std::sscanf(svg.c_str() + at + 8, "%lf,%lf %lf,%lf %lf,%lf", &x[0], &y[0], &x[1], &y[1],
                        &x[2], &y[2]),
            6);
  EXPECT_NEAR(x[1] - x[0], x[2] - x[1], 0.11);
  EXPECT_NEAR(y[0] - y[1], y[1] - y[2], 0.11);
  EXPECT_GT(y[0], y[2]);
}

TEST(Svg, PointsOutsideTheAxesAreLeftOut) {
  Chart chart = small_chart();
  const std::string before = render(chart);
  chart.panels[0].series[0].points.push_back({11, 5});
  chart.panels[0].series[0].points.push_back({5, 0});  // a log axis has no such place
  chart.panels[0].series[0].points.push_back({5, std::nan("")});
  chart.panels[0].guides.push_back({11, 2, 11, 50, "far"});
  EXPECT_EQ(render(chart), before);
}

TEST(Ticks, AreRound) {
  const auto labels = [](const std::vector<Tick>& ticks) {
    std::string out;
    for (const Tick& tick : ticks) out += tick.label + " ";
    return out;
  };
  EXPECT_EQ(labels(linear_ticks(0, 10, 5)), "0 2 4 6 8 10 ");
  EXPECT_EQ(labels(linear_ticks(0, 0.3, 6)), "0 0.05 0.1 0.15 0.2 0.25 0.3 ");
  EXPECT_EQ(labels(log_ticks(0.1, 1000)), "0.1 1 10 100 1,000 ");
  EXPECT_EQ(labels(log_ticks(1, 50)), "1 2 5 10 20 50 ");
  EXPECT_EQ(tick_text(1234567), "1,234,567");
  EXPECT_EQ(number_text(2.50, 2), "2.5");
  EXPECT_EQ(number_text(-0.001, 2), "0");
}

// Pittel 1987: log2 n + ln n rounds and a few; never fewer than log2 n, since who know at most
// double.
TEST(Rumour, ReachesAllInAboutLog2PlusLnRounds) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    for (const std::uint32_t nodes : {100U, 1000U, 10'000U}) {
      const Curve curve = rumour_curve(nodes, sim::Draws(seed));
      const auto rounds = static_cast<double>(curve.size() - 1);
      EXPECT_EQ(curve.back().second, 1.0);
      EXPECT_GE(rounds, std::log2(nodes));
      EXPECT_NEAR(rounds, std::log2(nodes) + std::log(nodes), 5);
      for (std::size_t i = 1; i < curve.size(); ++i) {
        EXPECT_LE(curve[i].second, 2 * curve[i - 1].second + 1e-12);
      }
    }
  }
}

TEST(Spreading, OfRealNodesReachesAllAndViewsAreSeldomBehind) {
  ASSERT_TRUE(base::crypto::init());
  const Spreading seen = watch_spreading({5, 3, 0});
  EXPECT_GE(seen.changes, 20);
  EXPECT_LT(seen.informed.front().second, 1.0);
  EXPECT_EQ(seen.informed.back().second, 1.0);
  EXPECT_GT(seen.behind.front().second, 0.0);
  EXPECT_LT(seen.behind.front().second, 0.01);
}

TEST(Plot, EachFigureIsWellFormedAndSaysSeedAndSizes) {
  ASSERT_TRUE(base::crypto::init());
  for (const std::string_view name : figure_names()) {
    SCOPED_TRACE(name);
    PlotOptions options;
    options.figure = name;
    options.of.nodes = 300;
    options.of.seed = 23;
    options.of.world_nodes = 4;
    std::ostringstream out;
    std::ostringstream errors;
    EXPECT_EQ(run_plot(options, out, errors), 0) << errors.str();
    EXPECT_EQ(why_not_xml(out.str()), "");
    EXPECT_NE(out.str().find("seed 23"), std::string::npos);
    EXPECT_NE(out.str().find("nodes"), std::string::npos);
    EXPECT_EQ(out.str().find("nan"), std::string::npos);
    EXPECT_EQ(out.str().find("inf\""), std::string::npos);
  }
}

TEST(Plot, OptionsThatAreNoGoodAreRefusedWithASentence) {
  const auto refused = [](auto change) {
    PlotOptions options;
    change(options);
    std::ostringstream out;
    std::ostringstream errors;
    EXPECT_EQ(run_plot(options, out, errors), 2);
    EXPECT_EQ(out.str(), "");
    EXPECT_NE(errors.str(), "");
  };
  refused([](PlotOptions& o) { o.figure = "pie"; });
  refused([](PlotOptions& o) { o.of.nodes = 2; });
  refused([](PlotOptions& o) { o.of.world_nodes = 3; });
  refused([](PlotOptions& o) { o.of.world_nodes = 1000; });
  refused([](PlotOptions& o) { o.of.loss_ppm = 2'000'000; });
}

}  // namespace
}  // namespace plot
