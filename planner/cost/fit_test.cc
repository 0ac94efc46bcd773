// The formulas against machines that others measured (STOWAGE_SHARED/data/measured): fitted on half of the points, judged
// on the other half.
#include "planner/cost/fit.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "planner/cost/cost.h"
#include "planner/machine/hardware_table.h"

namespace stowage {
namespace {

using Row = std::map<std::string, std::string>;

std::vector<std::string> Fields(const std::string& line) {
  std::vector<std::string> out;
  std::stringstream stream(line.substr(0, line.find('\r')));
  for (std::string field; std::getline(stream, field, ',');) out.push_back(field);
  return out;
}

// Of a file below data/measured; nothing without it.
std::vector<Row> ReadTable(const std::string& name) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  std::ifstream file(fmt::format("{}/data/measured/{}", shared != nullptr ? shared : "", name));
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> names = Fields(line);
  std::vector<Row> out;
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = Fields(line);
    Row& row = out.emplace_back();
    for (std::size_t i = 0; i < std::min(names.size(), fields.size()); ++i) row[names[i]] = fields[i];
  }
  return out;
}

// Every second point, so that both halves cover the whole range.
template <class T>
std::vector<T> Half(const std::vector<T>& points, std::size_t first) {
  std::vector<T> out;
  for (std::size_t i = first; i < points.size(); i += 2) out.push_back(points[i]);
  return out;
}

// Llama-3.1-8B, 16 bits, as vLLM runs it: q, k, v in one matrix, gate and up in one.
constexpr double kHidden = 4096, kKv = 1024, kIntermediate = 14336, kVocab = 128256;
const std::map<std::string, std::pair<double, double>> kMatrices = {{"qkv_proj", {kHidden, kHidden + 2 * kKv}},
                                                                    {"o_proj", {kHidden, kHidden}},
                                                                    {"gate_up_proj", {kHidden, 2 * kIntermediate}},
                                                                    {"down_proj", {kIntermediate, kHidden}}};

MeasuredKernel Matmul(double m, double k, double n, Seconds time) {
  return {.flops = 2 * m * k * n, .bytes = 2 * (k * n + m * k + m * n), .time = time};
}

// Bytes per token that the kernels without a matrix move.
const std::map<std::string, double> kElementwise = {{"act_fn", 2 * 3 * kIntermediate},
                                                    {"layernorm", 2 * 4 * kHidden},
                                                    {"final_layernorm", 2 * 4 * kHidden},
                                                    {"rotary_emb", 2 * 2 * (kHidden + kKv)},
                                                    {"embedding", 2 * 2 * kHidden}};

class Rtx4090 : public testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = "llmservingsim_rtx4090_llama31_8b/";
    for (const Row& row : ReadTable(folder + "dense.csv")) Add(row, std::stod(row.at("tokens")));
    for (const Row& row : ReadTable(folder + "per_sequence.csv")) {
      if (row.at("layer") != "lm_head") continue;
      lm_head_.push_back(Matmul(std::stod(row.at("sequences")), kHidden, kVocab, Time(row)));
    }
    if (matmuls_.empty()) GTEST_SKIP() << "STOWAGE_SHARED has no measured tables";
    rate_ = ComputeOf(**FindCard("rtx4090"));
  }

  static Seconds Time(const Row& row) { return Seconds(std::stod(row.at("time_us")) * 1e-6); }

  void Add(const Row& row, double tokens) {
    const std::string& layer = row.at("layer");
    if (const auto matrix = kMatrices.find(layer); matrix != kMatrices.end()) {
      matmuls_.push_back(Matmul(tokens, matrix->second.first, matrix->second.second, Time(row)));
      by_layer_[layer].push_back(matmuls_.back());
    } else if (const auto small = kElementwise.find(layer); small != kElementwise.end()) {
      by_layer_[layer].push_back({.flops = 0, .bytes = tokens * small->second, .time = Time(row)});
    }
  }

  std::vector<MeasuredKernel> matmuls_, lm_head_;
  std::map<std::string, std::vector<MeasuredKernel>> by_layer_;
  ComputeRate rate_;
};

TEST_F(Rtx4090, PredictsTheMatmulsItWasNotFittedToWithinFivePercent) {
  const std::vector<MeasuredKernel> fitted = Half(matmuls_, 0), held = Half(matmuls_, 1);
  const ComputeRate fit = FitRoofline(fitted, rate_, DType::kBF16);
  fmt::print("fit on {}: {:.3f} of peak, {:.3f} of bandwidth, p {:.2f}, {:.2f} us; error {:.2f} %\n", fitted.size(),
             fit.flops_efficiency, fit.memory_efficiency, fit.smoothness, fit.launch.value() * 1e6,
             100 * MeanError(fitted, fit, DType::kBF16));
  fmt::print("held out {}: error {:.2f} %; with the table's constants {:.2f} %\n", held.size(),
             100 * MeanError(held, fit, DType::kBF16), 100 * MeanError(held, rate_, DType::kBF16));
  EXPECT_LE(MeanError(held, fit, DType::kBF16), 0.05);
  EXPECT_LE(MeanError(held, rate_, DType::kBF16), 0.05);
  EXPECT_LE(MeanError(fitted, fit, DType::kBF16), MeanError(fitted, rate_, DType::kBF16));
}

// What is not a matrix product is no part of the fit. Benchmarked over and over, the operands of these kernels stay in
// the card's 72 MB cache, so the roofline of its memory is an upper bound that large ones come near.
TEST_F(Rtx4090, SaysHowFarTheOtherKernelsAre) {
  const ComputeRate fit = FitRoofline(Half(matmuls_, 0), rate_, DType::kBF16);
  for (const auto& [layer, points] : by_layer_) {
    fmt::print("{:16} {:4} points, error {:6.1f} %\n", layer, points.size(),
               100 * MeanError(points, fit, DType::kBF16));
  }
  fmt::print("{:16} {:4} points, error {:6.1f} %\n", "lm_head", lm_head_.size(),
             100 * MeanError(lm_head_, fit, DType::kBF16));
  EXPECT_LE(MeanError(lm_head_, fit, DType::kBF16), 0.08);
  const MeasuredKernel& largest = by_layer_.at("act_fn").back();
  EXPECT_LE(MeanError(std::vector{largest}, fit, DType::kBF16), 0.25);
}

TEST_F(Rtx4090, PredictsDecodeAttentionFromTheBytesOfItsCache) {
  std::vector<MeasuredKernel> points;
  for (const Row& row : ReadTable("llmservingsim_rtx4090_llama31_8b/attention.csv")) {
    if (std::stod(row.at("prefill_chunk")) > 0) continue;
    const double sequences = std::stod(row.at("n_decode")), positions = std::stod(row.at("kv_decode"));
    points.push_back({.flops = 4 * sequences * positions * kHidden,
                      .bytes = 2 * sequences * (2 * positions * kKv + 2 * kHidden),
                      .time = Time(row)});
  }
  const ComputeRate fit = FitRoofline(Half(points, 0), rate_, DType::kBF16);
  fmt::print("decode attention: {:.3f} of bandwidth, {:.1f} us, held-out error {:.1f} % of {}\n", fit.memory_efficiency,
             fit.launch.value() * 1e6, 100 * MeanError(Half(points, 1), fit, DType::kBF16), points.size() / 2);
  EXPECT_LE(MeanError(Half(points, 1), fit, DType::kBF16), 0.2);
}

std::vector<MeasuredAllReduce> ReadAllReduces(const std::string& machine) {
  std::vector<MeasuredAllReduce> out;
  for (const Row& row : ReadTable("vidur_network/" + machine + ".all_reduce.csv")) {
    const int ranks = std::stoi(row.at("num_workers"));
    if (row.at("rank") != "0" || std::stoi(row.at("devices_per_node")) != ranks) continue;  // one machine
    out.push_back({.bytes = Bytes(std::stoll(row.at("size"))),
                   .ranks = ranks,
                   .time = Seconds(std::stod(row.at("time_stats.all_reduce.median")) * 1e-3)});
  }
  return out;
}

class AllReduceTable : public testing::TestWithParam<std::string> {};

TEST_P(AllReduceTable, IsPredictedByThreeConstantsForAllNumbersOfRanks) {
  const std::vector<MeasuredAllReduce> points = ReadAllReduces(GetParam());
  if (points.empty()) GTEST_SKIP() << "STOWAGE_SHARED has no measured tables";
  const TransferRate fit = FitAllReduce(Half(points, 0));
  const std::vector<MeasuredAllReduce> held = Half(points, 1);
  fmt::print("{}: start {:.1f} us, hop {:.2f} us, {:.0f} GB/s; held-out error {:.1f} % of {}\n", GetParam(),
             fit.start.value() * 1e6, fit.latency.value() * 1e6, fit.pinned.value() / 1e9, 100 * MeanError(held, fit),
             held.size());
  EXPECT_LE(MeanError(held, fit), 0.15);
}

INSTANTIATE_TEST_SUITE_P(Vidur, AllReduceTable, testing::Values("a100_dgx", "h100_dgx"),
                         [](const auto& info) { return info.param; });

TEST(FitRoofline, FindsTheConstantsThatMadeThePoints) {
  const ComputeRate truth = {.bf16 = FlopsPerSecond(100e12),
                             .memory = BytesPerSecond(1e12),
                             .flops_efficiency = 0.71,
                             .memory_efficiency = 0.83,
                             .smoothness = 2.6,
                             .launch = Seconds(7e-6)};
  std::mt19937 dice(1);
  std::uniform_real_distribution<double> exponent(0, 1);
  std::vector<MeasuredKernel> points;
  for (int i = 0; i < 300; ++i) {
    MeasuredKernel point{.flops = 1e8 * std::pow(1e5, exponent(dice)), .bytes = 1e5 * std::pow(1e5, exponent(dice))};
    Kernel kernel{.kind = KernelKind::kOpaque};
    kernel.flops = {point.flops};
    kernel.bytes = {static_cast<std::int64_t>(point.bytes)};
    point.time = Duration(kernel, 0, truth);
    points.push_back(point);
  }
  ComputeRate start = truth;
  start.flops_efficiency = start.memory_efficiency = start.smoothness = 1;
  const ComputeRate fit = FitRoofline(points, start, DType::kBF16);
  EXPECT_LE(MeanError(points, fit, DType::kBF16), 0.005);
  EXPECT_NEAR(fit.flops_efficiency, 0.71, 0.02);
  EXPECT_NEAR(fit.memory_efficiency, 0.83, 0.02);
  EXPECT_NEAR(fit.launch.value(), 7e-6, 0.5e-6);
}

TEST(FitRoofline, LeavesTheConstantsAloneWhenFourPointsAreNotThere) {
  const ComputeRate rate = {.bf16 = FlopsPerSecond(1e12), .memory = BytesPerSecond(1e12), .flops_efficiency = 0.5};
  const MeasuredKernel point{.flops = 1, .bytes = 1, .time = Seconds(1)};
  EXPECT_EQ(FitRoofline(std::vector(3, point), rate, DType::kBF16).flops_efficiency, 0.5);
}

TEST(FitAllReduce, FindsTheConstantsThatMadeThePoints) {
  const TransferRate truth = {.latency = Seconds(2e-6), .pinned = BytesPerSecond(200e9), .start = Seconds(20e-6)};
  std::vector<MeasuredAllReduce> points;
  for (const int ranks : {2, 4, 8}) {
    for (std::int64_t bytes = 1024; bytes <= (64 << 20); bytes *= 4) {
      points.push_back({Bytes(bytes), ranks, AllReduceDuration(Bytes(bytes), ranks, truth)});
    }
  }
  const TransferRate fit = FitAllReduce(points);
  EXPECT_LE(MeanError(points, fit), 0.005);
  EXPECT_NEAR(fit.pinned.value(), 200e9, 2e9);
}

}  // namespace
}  // namespace stowage
