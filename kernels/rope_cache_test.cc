#include "kernels/rope_cache.h"

#include <cmath>

#include "kernels/rope_frequencies.h"
#include "kernels/testing/backend.h"
#include "kernels/testing/tensor.h"

namespace stowage::kernels::testing {
namespace {

struct Problem {
  Problem(const Backend& backend, Dtype dtype, const RopeCacheArgs& shape, std::mt19937& random)
      : frequencies(backend, Dtype::kF32, shape.head_dim / 2),
        q(backend, dtype, std::int64_t{shape.tokens} * shape.batch * shape.heads * shape.head_dim),
        k(backend, dtype, std::int64_t{shape.tokens} * shape.batch * shape.kv_heads * shape.head_dim),
        v(backend, dtype, k.count()),
        k_cache(backend, dtype, std::int64_t{shape.max_positions} * shape.batch * shape.kv_heads * shape.head_dim),
        v_cache(backend, dtype, k_cache.count()),
        args(shape) {
    q.Random(random);
    k.Random(random);
    v.Random(random);
    k_cache.Random(random);
    v_cache.Random(random);
    const std::vector<float> values = ComputeInvFreq(10000.0, shape.head_dim);
    std::memcpy(frequencies.data(), values.data(), values.size() * sizeof(float));
    args.dtype = dtype;
    args.inv_freq = static_cast<const float*>(frequencies.data());
    args.q = q.data();
    args.k = k.data();
    args.v = v.data();
    args.k_cache = k_cache.data();
    args.v_cache = v_cache.data();
  }
  Tensor frequencies, q, k, v, k_cache, v_cache;
  RopeCacheArgs args;
};

TEST_P(KernelTest, RopeCacheMatchesTheReferenceAndLeavesOtherPositionsAlone) {
  for (int trial = 0; trial < 18; ++trial) {
    const Dtype dtype = kDtypes[trial % 3];
    const int kv_heads = Uniform(1, 3);
    RopeCacheArgs shape = {.tokens = Uniform(1, 6),
                           .past = trial % 4 == 0 ? 0 : Uniform(0, 3000),
                           .batch = Uniform(1, 3),
                           .heads = kv_heads * Uniform(1, 4),
                           .kv_heads = kv_heads,
                           .head_dim = 2 * Uniform(1, 70)};
    shape.max_positions = shape.past + shape.tokens + Uniform(0, 2);
    Problem want(backend(), dtype, shape, random_);
    Problem got(backend(), dtype, shape, random_);
    for (auto member : {&Problem::q, &Problem::k, &Problem::v, &Problem::k_cache, &Problem::v_cache}) {
      (got.*member).CopyFrom(want.*member);
    }
    ASSERT_EQ(ReferenceRopeCache(want.args), kOk);
    ASSERT_TRUE(Run(backend().table.rope_cache, got.args));
    // Two units of cosf and sinf and one product in fp32; cosine, product and sum rounded here and in the reference.
    const double tolerance = 10 * (8 * kFp32Roundoff + 6 * UnitRoundoff(dtype));
    for (std::int64_t i = 0; i < got.q.count(); ++i) {
      ASSERT_TRUE(Near(got.q[i], want.q[i], tolerance, Name(dtype) + " q " + std::to_string(i)));
    }
    const std::int64_t row = std::int64_t{shape.batch} * shape.kv_heads * shape.head_dim;
    for (std::int64_t i = 0; i < got.k_cache.count(); ++i) {
      const bool fresh = i >= shape.past * row && i < (shape.past + shape.tokens) * row;
      ASSERT_TRUE(Near(got.k_cache[i], want.k_cache[i], fresh ? tolerance : 0, "k_cache " + std::to_string(i)));
    }
    ASSERT_TRUE(got.v_cache.SameBytes(want.v_cache));
    ASSERT_TRUE(got.q.GuardsIntact() && got.k_cache.GuardsIntact() && got.v_cache.GuardsIntact());
  }
}

TEST_P(KernelTest, RopeCacheMayFindKeysAndValuesInTheirPlace) {
  const RopeCacheArgs shape = {
      .tokens = 3, .past = 2, .batch = 2, .heads = 4, .kv_heads = 2, .head_dim = 16, .max_positions = 5};
  Problem apart(backend(), Dtype::kBF16, shape, random_);
  Problem in_place(backend(), Dtype::kBF16, shape, random_);
  for (auto member : {&Problem::q, &Problem::k_cache, &Problem::v_cache}) (in_place.*member).CopyFrom(apart.*member);
  const std::int64_t first = 2 * 2 * 2 * 16;
  std::memcpy(in_place.k_cache.At(first), apart.k.data(), apart.k.count() * 2);
  std::memcpy(in_place.v_cache.At(first), apart.v.data(), apart.v.count() * 2);
  in_place.args.k = in_place.k_cache.At(first);
  in_place.args.v = in_place.v_cache.At(first);
  ASSERT_TRUE(Run(backend().table.rope_cache, apart.args));
  ASSERT_TRUE(Run(backend().table.rope_cache, in_place.args));
  EXPECT_TRUE(in_place.k_cache.SameBytes(apart.k_cache));
  EXPECT_TRUE(in_place.v_cache.SameBytes(apart.v_cache));
}

TEST_P(KernelTest, RopeCacheRefusesToWriteBeyondTheCache) {
  const RopeCacheArgs shape = {
      .tokens = 3, .past = 3, .batch = 1, .heads = 2, .kv_heads = 2, .head_dim = 4, .max_positions = 5};
  Problem problem(backend(), Dtype::kF32, shape, random_);
  EXPECT_EQ(backend().table.rope_cache(problem.args, nullptr), kInvalidValue);
}

}  // namespace
}  // namespace stowage::kernels::testing
