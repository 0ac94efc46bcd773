// The families that work row by row or element by element.
#include <cmath>
#include <limits>

#include "kernels/testing/backend.h"
#include "kernels/testing/tensor.h"

namespace stowage::kernels::testing {
namespace {

TEST_P(KernelTest, EmbeddingCopiesTheRowsOfTheIds) {
  for (const Dtype dtype : kDtypes) {
    for (const int hidden : {1, 8, 37, 128}) {
      Tensor table(backend(), dtype, 11 * hidden);
      Tensor ids(backend(), Dtype::kF32, 4);  // storage of 4 int32
      Tensor out(backend(), dtype, 4 * hidden);
      table.Random(random_);
      const std::int32_t values[] = {10, 0, 3, 3};
      std::memcpy(ids.data(), values, sizeof values);
      const EmbeddingArgs args = {.dtype = dtype,
                                  .rows = 4,
                                  .hidden = hidden,
                                  .vocab = 11,
                                  .ids = static_cast<const std::int32_t*>(ids.data()),
                                  .table = table.data(),
                                  .out = out.data()};
      ASSERT_TRUE(Run(backend().table.embedding, args));
      for (int i = 0; i < 4 * hidden; ++i) EXPECT_EQ(out[i], table[values[i / hidden] * hidden + i % hidden]);
      EXPECT_TRUE(out.GuardsIntact());
    }
  }
}

TEST_P(KernelTest, EmbeddingOfAnUnknownIdIsAnErrorOrNan) {
  Tensor table(backend(), Dtype::kBF16, 4 * 16);
  table.Random(random_);
  for (const std::int32_t bad : {-1, 4}) {
    Tensor ids(backend(), Dtype::kF32, 3);
    Tensor counter(backend(), Dtype::kF32, 1);
    Tensor out(backend(), Dtype::kBF16, 3 * 16);
    const std::int32_t values[] = {1, bad, 2};
    std::memcpy(ids.data(), values, sizeof values);
    std::memset(counter.data(), 0, 4);
    const EmbeddingArgs args = {.dtype = Dtype::kBF16,
                                .rows = 3,
                                .hidden = 16,
                                .vocab = 4,
                                .ids = static_cast<const std::int32_t*>(ids.data()),
                                .table = table.data(),
                                .out = out.data(),
                                .bad_ids = static_cast<std::int32_t*>(counter.data())};
    EXPECT_EQ(ReferenceEmbedding(args), kTokenOutOfRange);
    const int code = backend().table.embedding(args, nullptr);
    if (code == kTokenOutOfRange) continue;  // host: told at once
    ASSERT_EQ(code, kOk);
    ASSERT_EQ(backend().synchronize(), kOk);
    EXPECT_EQ(*args.bad_ids, 1);
    for (int i = 0; i < 3 * 16; ++i) EXPECT_EQ(std::isnan(out[i]), i / 16 == 1) << i;
  }
}

TEST_P(KernelTest, RmsNormMatchesTheReferenceOnRandomShapes) {
  for (int trial = 0; trial < 24; ++trial) {
    const Dtype dtype = kDtypes[trial % 3];
    const int rows = Uniform(1, 5);
    const int hidden = trial < 3 ? 1 : Uniform(1, 700);
    Tensor x(backend(), dtype, std::int64_t{rows} * hidden);
    Tensor weight(backend(), dtype, hidden, trial % 4);
    Tensor want(backend(), dtype, x.count());
    Tensor got(backend(), dtype, x.count(), trial % 3);
    x.Random(random_, trial % 2 ? 30.0f : 0.01f);
    weight.Random(random_);
    RmsNormArgs args = {.dtype = dtype,
                        .rows = rows,
                        .hidden = hidden,
                        .eps = 1e-5f,
                        .x = x.data(),
                        .weight = weight.data(),
                        .y = want.data()};
    ASSERT_EQ(ReferenceRmsNorm(args), kOk);
    args.y = got.data();
    ASSERT_TRUE(Run(backend().table.rms_norm, args));
    // Half the relative error of the mean, some operations, and two roundings here and in the reference.
    const double relative = (hidden / 2.0 + 8) * kFp32Roundoff + 4 * UnitRoundoff(dtype);
    for (std::int64_t i = 0; i < got.count(); ++i) {
      const double tolerance = relative * std::abs(want[i]) + 4 * Underflow(dtype);
      ASSERT_TRUE(Near(got[i], want[i], tolerance, Name(dtype) + " element " + std::to_string(i)));
    }
    ASSERT_TRUE(got.GuardsIntact());
  }
}

TEST_P(KernelTest, RmsNormMayOverwriteItsInput) {
  Tensor x(backend(), Dtype::kBF16, 2 * 300);
  Tensor weight(backend(), Dtype::kBF16, 300);
  Tensor apart(backend(), Dtype::kBF16, 2 * 300);
  x.Random(random_);
  weight.Random(random_);
  RmsNormArgs args = {.dtype = Dtype::kBF16, .rows = 2, .hidden = 300, .x = x.data(), .weight = weight.data()};
  args.y = apart.data();
  ASSERT_TRUE(Run(backend().table.rms_norm, args));
  args.y = x.data();
  ASSERT_TRUE(Run(backend().table.rms_norm, args));
  EXPECT_TRUE(x.SameBytes(apart));
}

TEST_P(KernelTest, SiluMulMatchesTheReference) {
  for (int trial = 0; trial < 12; ++trial) {
    const Dtype dtype = kDtypes[trial % 3];
    const std::int64_t count = trial < 3 ? 1 : Uniform(1, 5000);
    Tensor gate(backend(), dtype, count, trial % 5);
    Tensor up(backend(), dtype, count);
    Tensor want(backend(), dtype, count);
    Tensor got(backend(), dtype, count, trial % 2);
    gate.Random(random_, 4.0f);
    up.Random(random_);
    if (count > 3) {
      gate.Set(0, -200);  // exp overflows to infinity: silu is -0
      gate.Set(1, 200);
    }
    SiluMulArgs args = {.dtype = dtype, .count = count, .gate = gate.data(), .up = up.data(), .out = want.data()};
    ASSERT_EQ(ReferenceSiluMul(args), kOk);
    args.out = got.data();
    ASSERT_TRUE(Run(backend().table.silu_mul, args));
    for (std::int64_t i = 0; i < count; ++i) {
      // expf is good to 2 units; silu and the product are each rounded here and in the reference. Below fp32's range of
      // exp(-gate) silu is zero here and tiny in the reference.
      const double tolerance = (8 * kFp32Roundoff + 4 * UnitRoundoff(dtype)) * std::abs(want[i]) +
                               4 * (Underflow(dtype) + 1e-36) * (1 + std::abs(up[i]));
      ASSERT_TRUE(Near(got[i], want[i], tolerance, Name(dtype) + " element " + std::to_string(i)));
    }
    ASSERT_TRUE(got.GuardsIntact());
  }
}

TEST_P(KernelTest, ArgmaxPicksTheLowestOfEqualAndNanBeforeAll) {
  struct Case {
    const char* what;
    int vocab;
    std::vector<std::pair<int, float>> values;  // over a background of -1
    int want;
  };
  const Case cases[] = {
      {"a single element", 1, {}, 0},
      {"all equal", 5000, {}, 0},
      {"two equal maxima", 5000, {{4999, 3}, {77, 3}, {78, 3}}, 77},
      {"the last", 4097, {{4096, 1}}, 4096},
      {"minus infinity everywhere but one", 40, {{33, -0.5f}}, 33},
      {"a NaN", 3000, {{5, 100}, {2000, NAN}, {2500, NAN}}, 2000},
      {"infinity", 3000, {{9, INFINITY}, {10, INFINITY}}, 9},
  };
  for (const Dtype dtype : kDtypes) {
    for (const Case& c : cases) {
      Tensor logits(backend(), dtype, c.vocab);
      Tensor out(backend(), Dtype::kF32, 1);
      for (int i = 0; i < c.vocab; ++i) logits.Set(i, -1);
      for (const auto& [index, value] : c.values) logits.Set(index, value);
      const ArgmaxArgs args = {.dtype = dtype,
                               .rows = 1,
                               .vocab = c.vocab,
                               .logits = logits.data(),
                               .out = static_cast<std::int32_t*>(out.data())};
      ASSERT_TRUE(Run(backend().table.argmax, args));
      EXPECT_EQ(args.out[0], c.want) << c.what << " " << Name(dtype);
      ASSERT_EQ(ReferenceArgmax(args), kOk);
      EXPECT_EQ(args.out[0], c.want) << "reference: " << c.what;
    }
  }
}

TEST_P(KernelTest, ArgmaxMatchesTheReferenceOnRandomRows) {
  for (int trial = 0; trial < 9; ++trial) {
    const Dtype dtype = kDtypes[trial % 3];
    const int vocab = Uniform(1, 9000);
    Tensor logits(backend(), dtype, 3 * vocab);
    Tensor got(backend(), Dtype::kF32, 3);
    Tensor want(backend(), Dtype::kF32, 3);
    logits.Random(random_);  // 16-bit types give many ties
    ArgmaxArgs args = {.dtype = dtype, .rows = 3, .vocab = vocab, .logits = logits.data()};
    args.out = static_cast<std::int32_t*>(want.data());
    ASSERT_EQ(ReferenceArgmax(args), kOk);
    args.out = static_cast<std::int32_t*>(got.data());
    ASSERT_TRUE(Run(backend().table.argmax, args));
    EXPECT_TRUE(got.SameBytes(want)) << vocab;
    EXPECT_TRUE(got.GuardsIntact());
  }
}

TEST_P(KernelTest, ConvertGivesTheBitsOfTheReference) {
  for (const Dtype from_dtype : kDtypes) {
    for (const Dtype to_dtype : kDtypes) {
      for (const int count : {1, 3, 16, 70000}) {
        Tensor from(backend(), from_dtype, count, count % 2);
        Tensor want(backend(), to_dtype, count);
        Tensor got(backend(), to_dtype, count);
        if (ElementBytes(from_dtype) == 2) {  // every 16-bit pattern, NaNs and subnormals included
          for (int i = 0; i < count; ++i) {
            const auto bits = static_cast<std::uint16_t>(i);
            std::memcpy(from.At(i), &bits, 2);
          }
        } else {
          for (int i = 0; i < count; ++i) {  // random bit patterns; ties and ranges of fp16 are likelier than by chance
            std::uint32_t bits = random_();
            if (i % 3 == 0) bits = (bits & 0x8fffffffu) | 0x30000000u;
            if (i % 2 == 0) bits = (bits & 0xffffe000u) | 0x1000u;
            std::memcpy(from.At(i), &bits, 4);
          }
        }
        ConvertArgs args = {
            .from_dtype = from_dtype, .to_dtype = to_dtype, .count = count, .from = from.data(), .to = want.data()};
        ASSERT_EQ(ReferenceConvert(args), kOk);
        args.to = got.data();
        ASSERT_TRUE(Run(backend().table.convert, args));
        for (int i = 0; i < count; ++i) {
          if (std::isnan(want[i]) && std::isnan(got[i])) continue;  // payloads may differ
          ASSERT_EQ(std::memcmp(want.At(i), got.At(i), ElementBytes(to_dtype)), 0)
              << Name(from_dtype) << " to " << Name(to_dtype) << " element " << i << ": " << from[i] << " became "
              << got[i] << ", want " << want[i];
        }
        ASSERT_TRUE(got.GuardsIntact());
      }
    }
  }
}

}  // namespace
}  // namespace stowage::kernels::testing
