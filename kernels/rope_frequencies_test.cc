// Goldens: LlamaRotaryEmbedding(config).inv_freq of transformers 5.23 with torch 2.15 on a CPU, printed with float.hex.
#include "kernels/rope_frequencies.h"

#include <gtest/gtest.h>

#include <cmath>

namespace stowage::kernels {
namespace {

const std::vector<float> kLlama2Of7B = {
    0x1p0f,          0x1.bb5faep-1f,  0x1.7ff222p-1f,  0x1.4c7bcp-1f,   0x1.1feb34p-1f,  0x1.f2a79ep-2f,
    0x1.afd136p-2f,  0x1.75f036p-2f,  0x1.43d136p-2f,  0x1.186a08p-2f,  0x1.e5a846p-3f,  0x1.a48fdap-3f,
    0x1.6c310ep-3f,  0x1.3b608p-3f,   0x1.111aeep-3f,  0x1.d8ffacp-4f,  0x1.99999ap-4f,  0x1.62b2fp-4f,
    0x1.33281ap-4f,  0x1.09fc9ap-4f,  0x1.ccab84p-5f,  0x1.8eec7ep-5f,  0x1.59742ap-5f,  0x1.2b269p-5f,
    0x1.030dc6p-5f,  0x1.c0a9a4p-6f,  0x1.84869ep-6f,  0x1.507316p-6f,  0x1.235a72p-6f,  0x1.f89a66p-7f,
    0x1.b4f7e4p-7f,  0x1.7a6622p-7f,  0x1.47ae14p-7f,  0x1.1bc25ap-7f,  0x1.eb736p-8f,   0x1.a9942ap-8f,
    0x1.708938p-8f,  0x1.3f2398p-8f,  0x1.145ceep-8f,  0x1.dea41cp-9f,  0x1.9e7c7p-9f,   0x1.66ee1ep-9f,
    0x1.36d21ap-9f,  0x1.0d28dep-9f,  0x1.d22a5p-10f,  0x1.93aeb8p-10f, 0x1.5d931cp-10f, 0x1.2eb81cp-10f,
    0x1.0624dep-10f, 0x1.c603c4p-11f, 0x1.892918p-11f, 0x1.547688p-11f, 0x1.26d42cp-11f, 0x1.fe9f58p-12f,
    0x1.ba2e4ap-12f, 0x1.7ee9aep-12f, 0x1.4b96cp-12f,  0x1.1f24e4p-12f, 0x1.f1502ap-13f, 0x1.aea7c8p-13f,
    0x1.74eea6p-13f, 0x1.42f22cp-13f, 0x1.17a8e4p-13f, 0x1.e459c4p-14f};

const std::vector<float> kLlama31Of8B = {
    0x1p0f,          0x1.a11582p-1f,  0x1.53c38cp-1f,  0x1.14c708p-1f,  0x1.c2ef78p-2f,  0x1.6f56fap-2f,
    0x1.2b3dc6p-2f,  0x1.e788c2p-3f,  0x1.8d276p-3f,   0x1.43874p-3f,   0x1.078d4p-3f,   0x1.ad6338p-4f,
    0x1.5dc95ap-4f,  0x1.1cf13p-4f,   0x1.d03ccep-5f,  0x1.7a2d08p-5f,  0x1.34119p-5f,   0x1.f5ea7ep-6f,
    0x1.98de92p-6f,  0x1.4d1272p-6f,  0x1.0f5386p-6f,  0x1.ba0dd8p-7f,  0x1.681adap-7f,  0x1.2558fep-7f,
    0x1.ddee9ep-8f,  0x1.8554ecp-8f,  0x1.3d2804p-8f,  0x1.025c6ap-8f,  0x1.a4ee4p-9f,   0x1.1bfa0cp-9f,
    0x1.67a23ap-10f, 0x1.c12f3cp-11f, 0x1.132ba4p-11f, 0x1.47e21p-12f,  0x1.765ba4p-13f, 0x1.90d10cp-14f,
    0x1.46831ap-14f, 0x1.09fb7ep-14f, 0x1.b15902p-15f, 0x1.610332p-15f, 0x1.1f91fp-15f,  0x1.d484dep-16f,
    0x1.7da9e8p-16f, 0x1.36e8eap-16f, 0x1.fa8b86p-17f, 0x1.9ca3eap-17f, 0x1.5024d6p-17f, 0x1.11d41ep-17f,
    0x1.be2188p-18f, 0x1.6b6d0ep-18f, 0x1.280d96p-18f, 0x1.e257p-19f,   0x1.88ec2p-19f,  0x1.4014d2p-19f,
    0x1.04be68p-19f, 0x1.a8d01p-20f,  0x1.5a0f4ep-20f, 0x1.19e8p-20f,   0x1.cb4a9ap-21f, 0x1.76258ep-21f,
    0x1.30c94ep-21f, 0x1.f09184p-22f, 0x1.94836p-22f,  0x1.4985fep-22f};

const std::vector<float> kLlama32Of1B = {
    0x1p0f,          0x1.53c38cp-1f,  0x1.c2ef78p-2f, 0x1.2b3dc6p-2f,  0x1.8d276p-3f,   0x1.078d4p-3f,
    0x1.5dc95ap-4f,  0x1.d03ccep-5f,  0x1.34119p-5f,  0x1.98de92p-6f,  0x1.0f5386p-6f,  0x1.681adap-7f,
    0x1.ddee9ep-8f,  0x1.3d2804p-8f,  0x1.a4ee4p-9f,  0x1.524f36p-10f, 0x1.c26c4p-12f,  0x1.9731eep-14f,
    0x1.46831ap-16f, 0x1.b15902p-17f, 0x1.1f91fp-17f, 0x1.7da9e8p-18f, 0x1.fa8b86p-19f, 0x1.5024d6p-19f,
    0x1.be2188p-20f, 0x1.280d96p-20f, 0x1.88ec2p-21f, 0x1.04be68p-21f, 0x1.5a0f4ep-22f, 0x1.cb4a9ap-23f,
    0x1.30c94ep-23f, 0x1.94836p-24f};

const std::vector<float> kLinearBy3 = {0x1.555556p-2f, 0x1.afc19ep-4f,  0x1.111112p-5f,  0x1.5967b2p-7f,
                                       0x1.b4e81ap-9f, 0x1.1452f6p-10f, 0x1.5d867ep-12f, 0x1.ba1e56p-14f};

// torch's powf may be one unit in the last place off the correctly rounded one; nothing may be further.
void ExpectWithinOneUnit(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_LE(std::abs(got[i] - want[i]), std::nextafter(want[i], INFINITY) - want[i]) << "frequency " << i;
  }
}

TEST(RopeFrequencies, AgreeWithTransformersForLlama2) {
  ExpectWithinOneUnit(ComputeInvFreq(10000.0, 128), kLlama2Of7B);
}

TEST(RopeFrequencies, AgreeWithTransformersForLlama31) {
  const RopeScaling scaling = {.kind = RopeScaling::Kind::kLlama3, .factor = 8};
  ExpectWithinOneUnit(ComputeInvFreq(500000.0, 128, scaling), kLlama31Of8B);
}

TEST(RopeFrequencies, AgreeWithTransformersForLlama32) {
  const RopeScaling scaling = {.kind = RopeScaling::Kind::kLlama3, .factor = 32};
  ExpectWithinOneUnit(ComputeInvFreq(500000.0, 64, scaling), kLlama32Of1B);
}

TEST(RopeFrequencies, AgreeWithTransformersForLinearScaling) {
  const RopeScaling scaling = {.kind = RopeScaling::Kind::kLinear, .factor = 3};
  ExpectWithinOneUnit(ComputeInvFreq(10000.0, 16, scaling), kLinearBy3);
}

TEST(RopeFrequencies, OfAnOddHeadAreEmpty) { EXPECT_TRUE(ComputeInvFreq(10000.0, 7).empty()); }

}  // namespace
}  // namespace stowage::kernels
