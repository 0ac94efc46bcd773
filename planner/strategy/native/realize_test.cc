#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "planner/families/families.h"
#include "planner/realize/native.h"
#include "planner/strategy/testing/random_task.h"

namespace stowage {
namespace {

Result<NativeProgram> Program(const Model& model, const Pass& pass, std::int64_t positions) {
  STOWAGE_TRY(const OpGraph graph, BuildOpGraph(model, pass, positions));
  return RealizeNative(model, graph);
}

std::string DumpOf(const Model& model, const Pass& pass, std::int64_t positions) {
  const Result<NativeProgram> program = Program(model, pass, positions);
  return program ? Dump(*program, model) : program.error().message;
}

TEST(RealizeNative, PrefillOfATinyLlamaReadsLikeThis) {
  const Request request{.batch = 1, .prompt_tokens = 3, .new_tokens = 3};
  EXPECT_EQ(DumpOf(TinyLlamaModel({}), PrefillOf(request), request.CachePositions()), R"(prefill(batch 1, tokens 3)
model.embed_tokens embedding tokens[0:12] model.embed_tokens.weight[0:640] -> model.embed_tokens.out[0:48]
model.layers.0.input_layernorm rms_norm model.embed_tokens.out[0:48] model.layers.0.input_layernorm.weight[0:16] -> model.layers.0.input_layernorm.out[0:48]
model.layers.0.self_attn.q_proj linear model.layers.0.input_layernorm.out[0:48] model.layers.0.self_attn.q_proj.weight[0:128] -> model.layers.0.self_attn.q_proj.out[0:48]
model.layers.0.self_attn.k_proj linear model.layers.0.input_layernorm.out[0:48] model.layers.0.self_attn.k_proj.weight[0:64] -> model.layers.0.self_attn.k_proj.out[0:24]
model.layers.0.self_attn.v_proj linear model.layers.0.input_layernorm.out[0:48] model.layers.0.self_attn.v_proj.weight[0:64] -> model.layers.0.self_attn.v_proj.out[0:24]
model.layers.0.self_attn.rope rope_cache model.layers.0.self_attn.q_proj.out[0:48] model.layers.0.self_attn.k_proj.out[0:24] model.layers.0.self_attn.v_proj.out[0:24] model.rotary_emb.inv_freq[0:8] -> model.layers.0.self_attn.q_proj.out[0:48] keys.0[0:24] values.0[0:24]
model.layers.0.self_attn.attention attention model.layers.0.self_attn.q_proj.out[0:48] keys.0[0:24] values.0[0:24] -> model.layers.0.self_attn.attention.out[0:48]
model.layers.0.self_attn.o_proj linear += model.layers.0.self_attn.attention.out[0:48] model.layers.0.self_attn.o_proj.weight[0:128] model.embed_tokens.out[0:48] -> model.embed_tokens.out[0:48]
model.layers.0.post_attention_layernorm rms_norm model.embed_tokens.out[0:48] model.layers.0.post_attention_layernorm.weight[0:16] -> model.layers.0.post_attention_layernorm.out[0:48]
model.layers.0.mlp.gate_proj linear model.layers.0.post_attention_layernorm.out[0:48] model.layers.0.mlp.gate_proj.weight[0:384] -> model.layers.0.mlp.gate_proj.out[0:144]
model.layers.0.mlp.up_proj linear model.layers.0.post_attention_layernorm.out[0:48] model.layers.0.mlp.up_proj.weight[0:384] -> model.layers.0.mlp.up_proj.out[0:144]
model.layers.0.mlp.mul silu_mul model.layers.0.mlp.gate_proj.out[0:144] model.layers.0.mlp.up_proj.out[0:144] -> model.layers.0.mlp.gate_proj.out[0:144]
model.layers.0.mlp.down_proj linear += model.layers.0.mlp.gate_proj.out[0:144] model.layers.0.mlp.down_proj.weight[0:384] model.embed_tokens.out[0:48] -> model.embed_tokens.out[0:48]
model.norm rms_norm model.embed_tokens.out[32:16] model.norm.weight[0:16] -> model.norm.out[0:16]
lm_head linear model.norm.out[0:16] lm_head.weight[0:640] -> lm_head.out[0:80]
argmax argmax lm_head.out[0:80] -> tokens[12:4]
activation model.embed_tokens.out 48 [0, 13]
activation model.layers.0.input_layernorm.out 48 [1, 4]
activation model.layers.0.self_attn.q_proj.out 48 [2, 6]
activation model.layers.0.self_attn.k_proj.out 24 [3, 5]
activation model.layers.0.self_attn.v_proj.out 24 [4, 5]
activation model.layers.0.self_attn.attention.out 48 [6, 7]
activation model.layers.0.post_attention_layernorm.out 48 [8, 10]
activation model.layers.0.mlp.gate_proj.out 144 [9, 12]
activation model.layers.0.mlp.up_proj.out 144 [10, 11]
activation model.norm.out 16 [13, 14]
activation lm_head.out 80 [14, 15]
)");
}

TEST(RealizeNative, DecodeOfATinyLlamaReadsLikeThis) {
  const Request request{.batch = 1, .prompt_tokens = 3, .new_tokens = 3};
  EXPECT_EQ(DumpOf(TinyLlamaModel({}), DecodeOf(request), request.CachePositions()), R"(decode(batch 1, past 3)
model.embed_tokens embedding tokens[12+4i:4] model.embed_tokens.weight[0:640] -> model.embed_tokens.out[0:16]
model.layers.0.input_layernorm rms_norm model.embed_tokens.out[0:16] model.layers.0.input_layernorm.weight[0:16] -> model.layers.0.input_layernorm.out[0:16]
model.layers.0.self_attn.q_proj linear model.layers.0.input_layernorm.out[0:16] model.layers.0.self_attn.q_proj.weight[0:128] -> model.layers.0.self_attn.q_proj.out[0:16]
model.layers.0.self_attn.k_proj linear model.layers.0.input_layernorm.out[0:16] model.layers.0.self_attn.k_proj.weight[0:64] -> model.layers.0.self_attn.k_proj.out[0:8]
model.layers.0.self_attn.v_proj linear model.layers.0.input_layernorm.out[0:16] model.layers.0.self_attn.v_proj.weight[0:64] -> model.layers.0.self_attn.v_proj.out[0:8]
model.layers.0.self_attn.rope rope_cache model.layers.0.self_attn.q_proj.out[0:16] model.layers.0.self_attn.k_proj.out[0:8] model.layers.0.self_attn.v_proj.out[0:8] model.rotary_emb.inv_freq[0:8] -> model.layers.0.self_attn.q_proj.out[0:16] keys.0[24+8i:8] values.0[24+8i:8]
model.layers.0.self_attn.attention attention model.layers.0.self_attn.q_proj.out[0:16] keys.0[0:32+8i] values.0[0:32+8i] -> model.layers.0.self_attn.attention.out[0:16]
model.layers.0.self_attn.o_proj linear += model.layers.0.self_attn.attention.out[0:16] model.layers.0.self_attn.o_proj.weight[0:128] model.embed_tokens.out[0:16] -> model.embed_tokens.out[0:16]
model.layers.0.post_attention_layernorm rms_norm model.embed_tokens.out[0:16] model.layers.0.post_attention_layernorm.weight[0:16] -> model.layers.0.post_attention_layernorm.out[0:16]
model.layers.0.mlp.gate_proj linear model.layers.0.post_attention_layernorm.out[0:16] model.layers.0.mlp.gate_proj.weight[0:384] -> model.layers.0.mlp.gate_proj.out[0:48]
model.layers.0.mlp.up_proj linear model.layers.0.post_attention_layernorm.out[0:16] model.layers.0.mlp.up_proj.weight[0:384] -> model.layers.0.mlp.up_proj.out[0:48]
model.layers.0.mlp.mul silu_mul model.layers.0.mlp.gate_proj.out[0:48] model.layers.0.mlp.up_proj.out[0:48] -> model.layers.0.mlp.gate_proj.out[0:48]
model.layers.0.mlp.down_proj linear += model.layers.0.mlp.gate_proj.out[0:48] model.layers.0.mlp.down_proj.weight[0:384] model.embed_tokens.out[0:16] -> model.embed_tokens.out[0:16]
model.norm rms_norm model.embed_tokens.out[0:16] model.norm.weight[0:16] -> model.norm.out[0:16]
lm_head linear model.norm.out[0:16] lm_head.weight[0:640] -> lm_head.out[0:80]
argmax argmax lm_head.out[0:80] -> tokens[16+4i:4]
activation model.embed_tokens.out 16 [0, 13]
activation model.layers.0.input_layernorm.out 16 [1, 4]
activation model.layers.0.self_attn.q_proj.out 16 [2, 6]
activation model.layers.0.self_attn.k_proj.out 8 [3, 5]
activation model.layers.0.self_attn.v_proj.out 8 [4, 5]
activation model.layers.0.self_attn.attention.out 16 [6, 7]
activation model.layers.0.post_attention_layernorm.out 16 [8, 10]
activation model.layers.0.mlp.gate_proj.out 48 [9, 12]
activation model.layers.0.mlp.up_proj.out 48 [10, 11]
activation model.norm.out 16 [13, 14]
activation lm_head.out 80 [14, 15]
)");
}

// A decode phase seen from its first pass, moved to any later one, is that pass realized by itself.
TEST(AtPasses, OfTheFirstPassEqualsRealizingTheLaterPassDirectly) {
  EXPECT_TRUE(rc::check([] {
    TestTask test = RandomTask(*rc::gen::arbitrary<std::uint64_t>());
    test.request.new_tokens = 40;
    const std::int64_t positions = test.request.CachePositions();
    const Pass pass = DecodeOf(test.request);
    const auto first = *rc::gen::inRange<std::int64_t>(0, 30);
    const auto stride = *rc::gen::inRange<std::int64_t>(0, 9);
    Pass later = pass;
    later.past += first;
    later.past_step = stride;
    const Result<NativeProgram> a = Program(test.model, pass, positions), b = Program(test.model, later, positions);
    RC_ASSERT(a.ok() && b.ok());
    RC_ASSERT(a->kernels.size() == b->kernels.size());
    for (std::size_t k = 0; k < a->kernels.size(); ++k) {
      const Kernel moved = AtPasses(a->kernels[k].kernel, first, stride);
      RC_ASSERT(moved == b->kernels[k].kernel);
      RC_ASSERT(DependsOnPass(a->kernels[k].kernel) || moved == a->kernels[k].kernel);
      std::vector<Operand> reads, writes;
      for (const Operand& o : a->kernels[k].reads) reads.push_back(AtPasses(o, first, stride));
      for (const Operand& o : a->kernels[k].writes) writes.push_back(AtPasses(o, first, stride));
      RC_ASSERT(reads == b->kernels[k].reads);
      RC_ASSERT(writes == b->kernels[k].writes);
    }
  }));
}

TEST(RowTile, TilesOfAMatrixAddUpToTheWhole) {
  EXPECT_TRUE(rc::check([] {
    const TestTask test = RandomTask(*rc::gen::arbitrary<std::uint64_t>());
    const Result<NativeProgram> program = Program(test.model, PrefillOf(test.request), test.request.CachePositions());
    RC_ASSERT(program.ok());
    for (const NativeKernel& whole : program->kernels) {
      if (whole.kernel.kind != KernelKind::kLinear) continue;
      double flops = 0;
      std::int64_t at = 0, weight_bytes = 0, moved = 0, tiles = 0;
      std::int64_t next_bytes = 0;  // where the next tile's rows must begin in the matrix
      while (at < whole.kernel.n) {
        const std::int64_t end = std::min(whole.kernel.n, at + *rc::gen::inRange<std::int64_t>(1, 200));
        const NativeKernel tile = RowTile(whole, whole.kernel.n, at, end);
        RC_ASSERT(tile.kernel.row_begin == at && tile.kernel.row_end == end && tile.kernel.n == whole.kernel.n);
        RC_ASSERT(tile.reads[0] == whole.reads[0] && tile.writes == whole.writes);
        RC_ASSERT(tile.reads[1].offset.base == next_bytes);
        next_bytes += tile.reads[1].bytes.base;
        for (std::size_t r = 1; r <= (whole.kernel.has_bias ? 2u : 1u); ++r) weight_bytes += tile.reads[r].bytes.base;
        flops += tile.kernel.flops.base;
        moved += tile.kernel.bytes.base;
        at = end;
        ++tiles;
      }
      std::int64_t expected = 0;
      for (std::size_t r = 1; r <= (whole.kernel.has_bias ? 2u : 1u); ++r) expected += whole.reads[r].bytes.base;
      RC_ASSERT(weight_bytes == expected);
      RC_ASSERT(std::abs(flops - whole.kernel.flops.base) <= 1e-9 * whole.kernel.flops.base);
      // Every tile reads the input again; nothing else is moved twice.
      RC_ASSERT(moved - (tiles - 1) * whole.reads[0].bytes.base == whole.kernel.bytes.base);
    }
  }));
}

}  // namespace
}  // namespace stowage
