#include "kernels/attention.h"

#include <cmath>

#include "kernels/testing/backend.h"
#include "kernels/testing/tensor.h"

namespace stowage::kernels::testing {
namespace {

struct Problem {
  Problem(const Backend& backend, Dtype dtype, const AttentionArgs& shape, std::mt19937& random)
      : q(backend, dtype, std::int64_t{shape.tokens} * shape.batch * shape.heads * shape.head_dim),
        k(backend, dtype, std::int64_t{shape.past + shape.tokens + 2} * CacheRow(shape)),
        v(backend, dtype, k.count()),
        args(shape) {
    const std::int64_t seen = std::int64_t{shape.past + shape.tokens} * CacheRow(shape);
    q.Random(random);
    k.Random(random);
    v.Random(random);
    for (std::int64_t i = seen; i < k.count(); ++i) {  // what lies behind must not be looked at
      k.Set(i, NAN);
      v.Set(i, NAN);
    }
    args.dtype = dtype;
    args.q = q.data();
    args.k_cache = k.data();
    args.v_cache = v.data();
  }
  static int CacheRow(const AttentionArgs& shape) { return shape.batch * shape.kv_heads * shape.head_dim; }

  std::string Text() const {
    return Name(args.dtype) + " tokens " + std::to_string(args.tokens) + " past " + std::to_string(args.past) +
           " batch " + std::to_string(args.batch) + " heads " + std::to_string(args.heads) + "/" +
           std::to_string(args.kv_heads) + " head_dim " + std::to_string(args.head_dim);
  }

  // A score is off by the rounding of head_dim products, whose magnitudes add up to about 2/3 per dimension before the
  // scale; a weight by that and by expf; the sums over positions add theirs. Values are at most 4 deviations large.
  double Tolerance(double want) const {
    const double score = 1.5 * std::sqrt(static_cast<double>(args.head_dim));
    const double weight = (args.head_dim + 8) * kFp32Roundoff * score;
    const double positions = (args.past + args.tokens + 8) * kFp32Roundoff;
    return 4 * (weight + positions) + 2 * UnitRoundoff(args.dtype) * std::abs(want) + 2 * Underflow(args.dtype);
  }

  Tensor q, k, v;
  AttentionArgs args;
};

TEST_P(KernelTest, AttentionMatchesTheReferenceOnRandomShapes) {
  for (int trial = 0; trial < 24; ++trial) {
    const int kv_heads = Uniform(1, 3);
    const AttentionArgs shape = {.tokens = trial % 2 ? 1 : Uniform(1, 7),
                                 .past = trial % 5 == 0 ? 0 : Uniform(0, 150),
                                 .batch = Uniform(1, 3),
                                 .heads = kv_heads * Uniform(1, 3),
                                 .kv_heads = kv_heads,
                                 .head_dim = trial < 3   ? 256
                                             : trial < 6 ? 128
                                                         : 2 * Uniform(1, 70)};
    Problem problem(backend(), kDtypes[trial % 3], shape, random_);
    Tensor want(backend(), problem.args.dtype, problem.q.count());
    Tensor got(backend(), problem.args.dtype, problem.q.count());
    problem.args.out = want.data();
    ASSERT_EQ(ReferenceAttention(problem.args), kOk);
    problem.args.out = got.data();
    ASSERT_TRUE(Run(backend().table.attention, problem.args)) << problem.Text();
    for (std::int64_t i = 0; i < got.count(); ++i) {
      ASSERT_TRUE(Near(got[i], want[i], problem.Tolerance(want[i]), problem.Text() + " element " + std::to_string(i)));
    }
    ASSERT_TRUE(got.GuardsIntact()) << problem.Text();
  }
}

TEST_P(KernelTest, AttentionToOnePositionReturnsItsValue) {
  Problem problem(backend(), Dtype::kF32, {.tokens = 1, .batch = 2, .heads = 4, .kv_heads = 2, .head_dim = 6}, random_);
  Tensor got(backend(), Dtype::kF32, problem.q.count());
  problem.args.out = got.data();
  ASSERT_TRUE(Run(backend().table.attention, problem.args));
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 4; ++h) {
      for (int i = 0; i < 6; ++i) EXPECT_EQ(got[(b * 4 + h) * 6 + i], problem.v[(b * 2 + h / 2) * 6 + i]);
    }
  }
}

TEST_P(KernelTest, AttentionSurvivesScoresThatOverflowAnExponential) {
  Problem problem(backend(), Dtype::kF32,
                  {.tokens = 1, .past = 40, .batch = 1, .heads = 1, .kv_heads = 1, .head_dim = 4}, random_);
  for (int i = 0; i < 4; ++i) {
    problem.q.Set(i, 100);
    problem.k.Set(7 * 4 + i, 100);  // position 7 scores 20000, the others some hundreds at most
  }
  Tensor got(backend(), Dtype::kF32, 4);
  problem.args.out = got.data();
  ASSERT_TRUE(Run(backend().table.attention, problem.args));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(got[i], problem.v[7 * 4 + i]);
}

TEST_P(KernelTest, AttentionOfAChunkedPromptGivesTheBytesOfDecodingOneByOne) {
  const AttentionArgs shape = {.tokens = 5, .past = 20, .batch = 2, .heads = 4, .kv_heads = 2, .head_dim = 32};
  Problem problem(backend(), Dtype::kBF16, shape, random_);
  Tensor whole(backend(), Dtype::kBF16, problem.q.count());
  Tensor pieces(backend(), Dtype::kBF16, problem.q.count());
  problem.args.out = whole.data();
  ASSERT_TRUE(Run(backend().table.attention, problem.args));
  for (int t = 0; t < 5; ++t) {
    AttentionArgs args = problem.args;
    const std::int64_t first = t * problem.q.count() / 5;
    args.tokens = 1;
    args.past = 20 + t;
    args.q = problem.q.At(first);
    args.out = pieces.At(first);
    ASSERT_TRUE(Run(backend().table.attention, args));
  }
  EXPECT_TRUE(pieces.SameBytes(whole));
}

TEST_P(KernelTest, AttentionRefusesHeadsThatDoNotDivide) {
  Problem problem(backend(), Dtype::kF32, {.tokens = 1, .batch = 1, .heads = 3, .kv_heads = 2, .head_dim = 4}, random_);
  problem.args.out = problem.q.data();
  EXPECT_EQ(backend().table.attention(problem.args, nullptr), kInvalidValue);
}

}  // namespace
}  // namespace stowage::kernels::testing
