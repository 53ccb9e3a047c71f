#include "compare/compare.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/crypto.h"
#include "compare/policy.h"

namespace compare {
namespace {

CompareOptions small() {
  CompareOptions options;
  options.nodes = 300;
  options.seed = 17;
  options.rounds = 60;
  options.protocol_nodes = 0;
  return options;
}

std::string output_of(const CompareOptions& options) {
  std::ostringstream out;
  std::ostringstream errors;
  EXPECT_EQ(run_compare(options, out, errors), 0);
  EXPECT_EQ(errors.str(), "");
  return out.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Compare, JsonIsOneObjectAPolicyInTheirOrder) {
  CompareOptions options = small();
  options.json = true;
  const auto lines = lines_of(output_of(options));
  ASSERT_EQ(lines.size(), policies().size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto object = nlohmann::json::parse(lines[i]);
    EXPECT_EQ(object["policy"], policies()[i].key);
    EXPECT_EQ(object["seed"], 17);
    EXPECT_EQ(object["jobs"], 3000);
    EXPECT_GE(object["jain_index"], 0.0);
    EXPECT_LE(object["jain_index"], 1.0);
    EXPECT_EQ(object["level_round"].is_null(), object["spread"] > 2) << lines[i];
  }
}

TEST(Compare, TheTableSaysSeedSizesAndStart) {
  const auto lines = lines_of(output_of(small()));
  EXPECT_EQ(lines[0],
            "seed 17, 300 nodes, 3000 unit jobs, start random, level at a spread of 2 or less");
  ASSERT_GE(lines.size(), policies().size() + 3);
  for (std::size_t i = 0; i < policies().size(); ++i) {
    EXPECT_TRUE(lines[i + 3].starts_with(policies()[i].title)) << lines[i + 3];
    EXPECT_EQ(lines[i + 3].size(), lines[2].size());  // the columns stand below each other
  }
}

TEST(Compare, OnePolicysDrawsDoNotShiftAnothers) {
  CompareOptions options = small();
  options.json = true;
  const auto all = lines_of(output_of(options));
  for (std::size_t i = 0; i < all.size(); ++i) {
    options.policies = {std::string(policies()[i].key)};
    EXPECT_EQ(output_of(options), all[i] + "\n");
  }
}

TEST(Compare, TheProtocolStandsBesideTheModelsOfItsSize) {
  ASSERT_TRUE(base::crypto::init());
  CompareOptions options = small();
  options.json = true;
  options.start = Start::kHalf;
  options.policies = {"protocol"};
  options.protocol_nodes = 6;
  const auto lines = lines_of(output_of(options));
  ASSERT_EQ(lines.size(), 3U);
  const std::string keys[] = {"triads", "triads-rules", "protocol"};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto object = nlohmann::json::parse(lines[i]);
    EXPECT_EQ(object["policy"], keys[i]);
    EXPECT_EQ(object["nodes"], 6);
    EXPECT_EQ(object["optimal_moves"], 30);
    EXPECT_EQ(object["seconds"].is_null(), i < 2);
  }
}

TEST(Compare, OptionsThatAreNoGoodAreRefusedWithASentence) {
  const auto refused = [](auto change) {
    CompareOptions options = small();
    change(options);
    std::ostringstream out;
    std::ostringstream errors;
    EXPECT_EQ(run_compare(options, out, errors), 2);
    EXPECT_EQ(out.str(), "");
    EXPECT_NE(errors.str(), "");
  };
  refused([](CompareOptions& o) { o.nodes = 2; });
  refused([](CompareOptions& o) { o.nodes = kNodesMax + 1; });
  refused([](CompareOptions& o) { o.rounds = 0; });
  refused([](CompareOptions& o) { o.protocol_nodes = 1; });
  refused([](CompareOptions& o) { o.protocol_nodes = 100'000; });
  refused([](CompareOptions& o) { o.loss_ppm = 1'000'001; });
  refused([](CompareOptions& o) { o.policies = {"quads"}; });
}

TEST(Compare, StartsHaveNames) {
  for (const Start start : {Start::kRandom, Start::kHalf, Start::kOne}) {
    EXPECT_EQ(start_from(start_name(start)), start);
  }
  EXPECT_EQ(start_from("two"), std::nullopt);
}

}  // namespace
}  // namespace compare
