#include "kernels/linear.h"

#include <cmath>

#include "kernels/testing/backend.h"
#include "kernels/testing/tensor.h"

namespace stowage::kernels::testing {
namespace {

struct Problem {
  Problem(const Backend& backend, Dtype dtype, int rows, int k, int n, bool with_bias, bool accumulate,
          std::mt19937& random)
      : x(backend, dtype, std::int64_t{rows} * k),
        weight(backend, dtype, std::int64_t{n} * k),
        bias(backend, dtype, n),
        before(backend, dtype, std::int64_t{rows} * n) {
    x.Random(random);
    weight.Random(random, 1.0f / std::sqrt(static_cast<float>(k)));
    bias.Random(random);
    if (accumulate) before.Random(random);  // otherwise y stays poisoned
    args = {.dtype = dtype,
            .rows = rows,
            .k = k,
            .n = n,
            .row_begin = 0,
            .row_end = n,
            .x = x.data(),
            .weight = weight.data(),
            .bias = with_bias ? bias.data() : nullptr,
            .accumulate = accumulate};
  }

  std::string Text() const {
    return Name(args.dtype) + " rows " + std::to_string(args.rows) + " k " + std::to_string(args.k) + " n " +
           std::to_string(args.n);
  }

  // Rounding of every partial sum of k products and the two addends, then one rounding here and one in the reference.
  double Tolerance(std::int64_t row, std::int64_t column, double want) const {
    double magnitudes = 0;
    for (int i = 0; i < args.k; ++i) magnitudes += std::abs(double{x[row * args.k + i]} * weight[column * args.k + i]);
    if (args.bias) magnitudes += std::abs(bias[column]);
    if (args.accumulate) magnitudes += std::abs(before[row * args.n + column]);
    return (args.k + 2) * kFp32Roundoff * magnitudes + 2 * UnitRoundoff(args.dtype) * std::abs(want) +
           2 * Underflow(args.dtype);
  }

  Tensor x, weight, bias, before;
  LinearArgs args;  // without y
};

using Kernel = int (*)(const LinearArgs&, void*);

std::vector<Kernel> Kernels(const Backend& backend) {
  std::vector<Kernel> kernels = {backend.table.linear};
  if (backend.linear_tiled) kernels.push_back(backend.linear_tiled);
  return kernels;
}

TEST_P(KernelTest, LinearMatchesTheReferenceOnRandomShapes) {
  for (int trial = 0; trial < 36; ++trial) {
    const Dtype dtype = kDtypes[trial % 3];
    const int rows = trial < 24 ? Uniform(1, 9) : Uniform(10, 70);
    Problem problem(backend(), dtype, rows, Uniform(1, 300), Uniform(1, 70), trial % 2 == 0, trial % 4 < 2, random_);
    Tensor want(backend(), dtype, problem.before.count());
    want.CopyFrom(problem.before);
    LinearArgs args = problem.args;
    args.y = want.data();
    ASSERT_EQ(ReferenceLinear(args), kOk);
    for (Kernel kernel : Kernels(backend())) {
      Tensor got(backend(), dtype, problem.before.count());
      got.CopyFrom(problem.before);
      args.y = got.data();
      ASSERT_TRUE(Run(kernel, args)) << problem.Text();
      for (std::int64_t i = 0; i < got.count(); ++i) {
        const double tolerance = problem.Tolerance(i / args.n, i % args.n, want[i]);
        ASSERT_TRUE(Near(got[i], want[i], tolerance, problem.Text() + " element " + std::to_string(i)));
      }
      ASSERT_TRUE(got.GuardsIntact()) << problem.Text();
    }
  }
}

// The weight in tiles of the given size, each copied to an address of its own as a ring would hold it.
void RunInTiles(const Backend& backend, Kernel kernel, const Problem& problem, int tile, Tensor& y) {
  for (int begin = 0; begin < problem.args.n; begin += tile) {
    LinearArgs args = problem.args;
    args.row_begin = begin;
    args.row_end = std::min(begin + tile, args.n);
    const std::int64_t count = std::int64_t{args.row_end - begin} * args.k;
    Tensor slot(backend, args.dtype, count, begin % 5);  // 0..4 elements off alignment
    std::memcpy(slot.data(),
                static_cast<const char*>(args.weight) + std::int64_t{begin} * args.k * ElementBytes(args.dtype),
                count * ElementBytes(args.dtype));
    args.weight = slot.data();
    args.y = y.data();
    ASSERT_EQ(kernel(args, nullptr), kOk);
    ASSERT_EQ(backend.synchronize(), kOk);
  }
}

TEST_P(KernelTest, LinearInRowTilesGivesTheBytesOfTheWhole) {
  struct Case {
    Dtype dtype;
    int rows, k;
    std::vector<int> tiles;
  };
  const Case cases[] = {{Dtype::kF32, 1, 64, {1, 13}},   {Dtype::kF32, 13, 35, {32}}, {Dtype::kF16, 3, 83, {2, 66}},
                        {Dtype::kF16, 66, 24, {40}},     {Dtype::kBF16, 8, 64, {9}},  {Dtype::kBF16, 5, 300, {13}},
                        {Dtype::kBF16, 66, 19, {5, 32}}, {Dtype::kF32, 2, 1030, {7}}};
  for (const Case& c : cases) {
    Problem problem(backend(), c.dtype, c.rows, c.k, 67, true, true, random_);
    for (Kernel kernel : Kernels(backend())) {
      Tensor whole(backend(), c.dtype, problem.before.count());
      whole.CopyFrom(problem.before);
      LinearArgs args = problem.args;
      args.y = whole.data();
      ASSERT_TRUE(Run(kernel, args));
      for (const int tile : c.tiles) {
        if (kernel == backend().linear_tiled && c.k > 100) continue;  // slow in emulation, and nothing new
        Tensor tiled(backend(), c.dtype, problem.before.count());
        tiled.CopyFrom(problem.before);
        RunInTiles(backend(), kernel, problem, tile, tiled);
        ASSERT_TRUE(tiled.SameBytes(whole)) << problem.Text() << " in tiles of " << tile;
        ASSERT_TRUE(tiled.GuardsIntact());
      }
    }
  }
}

TEST_P(KernelTest, LinearLeavesColumnsOutsideTheTileAlone) {
  Problem problem(backend(), Dtype::kBF16, 5, 40, 30, false, false, random_);
  Tensor y(backend(), Dtype::kBF16, 5 * 30);
  LinearArgs args = problem.args;
  args.row_begin = 11;
  args.row_end = 19;
  args.weight = problem.weight.At(11 * 40);
  args.y = y.data();
  for (Kernel kernel : Kernels(backend())) {
    ASSERT_TRUE(Run(kernel, args));
    for (std::int64_t i = 0; i < y.count(); ++i) EXPECT_EQ(std::isnan(y[i]), i % 30 < 11 || i % 30 >= 19) << i;
  }
}

TEST_P(KernelTest, LinearRefusesATileOutsideTheMatrix) {
  Problem problem(backend(), Dtype::kF32, 2, 8, 4, false, false, random_);
  LinearArgs args = problem.args;
  args.y = problem.before.data();
  args.row_end = 5;
  for (Kernel kernel : Kernels(backend())) EXPECT_EQ(kernel(args, nullptr), kInvalidValue);
}

}  // namespace
}  // namespace stowage::kernels::testing
