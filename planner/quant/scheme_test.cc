#include "planner/quant/scheme.h"

#include <gtest/gtest.h>

#include <string>

namespace stowage {
namespace {

std::string NameOf(std::string_view text) {
  const QuantScheme* scheme = FindScheme(text);
  return scheme == nullptr ? "" : std::string(scheme->name);
}

TEST(Scheme, CaseAndSeparatorsAreForgiven) {
  EXPECT_EQ(NameOf("Q4_K_M"), "q4_k_m");
  EXPECT_EQ(NameOf("q4-k-m"), "q4_k_m");
  EXPECT_EQ(NameOf("Q4_K"), "q4_k_m");
  EXPECT_EQ(NameOf("GGUF:Q8_0"), "q8_0");
  EXPECT_EQ(NameOf("NF4"), "nf4");
  EXPECT_EQ(NameOf("load_in_8bit"), "int8");
  EXPECT_EQ(NameOf("LLM.int8"), "int8");
  EXPECT_EQ(NameOf("gptq-int4"), "gptq");
  EXPECT_EQ(NameOf("AWQ"), "awq");
  EXPECT_EQ(NameOf("float8_e4m3fn"), "fp8");
  EXPECT_EQ(NameOf("torchao-int4"), "int4-torchao");
  EXPECT_EQ(NameOf("q9_k"), "");
  EXPECT_EQ(NameOf(""), "");
}

TEST(Scheme, EveryNameAndNothingElseIsASchemeOfItsOwn) {
  for (const QuantScheme& scheme : QuantSchemes()) EXPECT_EQ(NameOf(scheme.name), scheme.name);
}

TEST(NumberFormat, IsNothingAPlainTypeOrAScheme) {
  EXPECT_FALSE(ParseNumberFormat("auto")->dtype);
  EXPECT_EQ(ParseNumberFormat("auto")->scheme, nullptr);
  EXPECT_EQ(ParseNumberFormat("bfloat16")->dtype, DType::kBF16);
  EXPECT_EQ(ParseNumberFormat("torch.float16")->dtype, DType::kF16);
  EXPECT_EQ(ParseNumberFormat("FP32")->dtype, DType::kF32);
  EXPECT_EQ(ParseNumberFormat("float64")->dtype, DType::kF64);
  EXPECT_EQ(ParseNumberFormat("half")->dtype, DType::kF16);
  EXPECT_EQ(ParseNumberFormat("nf4")->scheme, FindScheme("nf4"));
}

TEST(NumberFormat, AnUnknownOneListsTheKnown) {
  EXPECT_EQ(
      ParseNumberFormat("int3").error().message,
      "'int3' is not known; known are auto, fp64, fp32, fp16, bf16, q8_0, int8, int8-row, fp8, fp8-row, q6_k, q5_1, "
      "q5_k_m, q5_k_s, q5_0, q4_1, q4_k_m, q4_k_s, q4_0, iq4_nl, iq4_xs, nf4, fp4, hqq, nvfp4, int4, int4-torchao, "
      "gptq, awq, nf4-double, mxfp4, q3_k_l, q3_k_m, q3_k_s, q2_k");
}

}  // namespace
}  // namespace stowage
