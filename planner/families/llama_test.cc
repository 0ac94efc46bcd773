#include "planner/families/llama.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

#include "planner/families/families.h"

namespace stowage {
namespace {

constexpr const char* kTiny = R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8,
  "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
  "vocab_size": 10, "torch_dtype": "bfloat16"})";

Model Tiny(std::string extra = "") {
  std::string text = kTiny;
  if (!extra.empty()) text.insert(text.size() - 1, ", " + extra);
  Result<Model> model = BuildModel(*HfConfig::Parse(text, "config.json"), "tiny");
  EXPECT_TRUE(model) << model.error().message;
  return *std::move(model);
}

std::string Tree(const Model& model) {
  std::string out;
  for (const Module& m : model.modules) {
    out += m.name + " " + m.class_name;
    for (const TensorId id : m.tensors) {
      const Tensor& t = model.tensors[id];
      out += " " + t.name.substr(t.name.rfind('.') + 1) + FormatShape(t.shape) + std::string(Name(t.dtype));
      if (t.buffer) out += t.persistent ? " buffer" : " buffer not saved";
      if (t.tied_to != kNoId) out += " = " + model.tensors[t.tied_to].name;
    }
    out += "\n";
  }
  return out;
}

TEST(Llama, RegistersModulesAndTensorsAsTransformersDoes) {
  EXPECT_EQ(Tree(Tiny(R"("attention_bias": true, "tie_word_embeddings": true)")),
            R"( LlamaForCausalLM
model LlamaModel
model.embed_tokens Embedding weight[10, 8]bf16
model.layers ModuleList
model.layers.0 LlamaDecoderLayer
model.layers.0.self_attn LlamaAttention
model.layers.0.self_attn.q_proj Linear weight[8, 8]bf16 bias[8]bf16
model.layers.0.self_attn.k_proj Linear weight[4, 8]bf16 bias[4]bf16
model.layers.0.self_attn.v_proj Linear weight[4, 8]bf16 bias[4]bf16
model.layers.0.self_attn.o_proj Linear weight[8, 8]bf16 bias[8]bf16
model.layers.0.mlp LlamaMLP
model.layers.0.mlp.gate_proj Linear weight[12, 8]bf16
model.layers.0.mlp.up_proj Linear weight[12, 8]bf16
model.layers.0.mlp.down_proj Linear weight[8, 12]bf16
model.layers.0.mlp.act_fn SiLUActivation
model.layers.0.input_layernorm LlamaRMSNorm weight[8]bf16
model.layers.0.post_attention_layernorm LlamaRMSNorm weight[8]bf16
model.norm LlamaRMSNorm weight[8]bf16
model.rotary_emb LlamaRotaryEmbedding inv_freq[2]fp32 buffer not saved original_inv_freq[2]fp32 buffer not saved
lm_head Linear weight[10, 8]bf16 = model.embed_tokens.weight
)");
}

// The dump with the prefixes every line shares left out, so that a line fits a screen.
std::string ShortDump(const Model& model, const Pass& pass, std::int64_t cache_positions) {
  std::string text = Dump(*BuildOpGraph(model, pass, cache_positions), model);
  const std::pair<std::string_view, std::string_view> shorter[] = {
      {"model.layers.0.", ""},      {"self_attn.", ""},          {"post_attention_layernorm", "norm2"},
      {"input_layernorm", "norm1"}, {"activation_bytes", "act"}, {"weight_bytes", "weight"}};
  for (const auto& [from, to] : shorter) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos;) text.replace(at, from.size(), to);
  }
  return text;
}

TEST(Llama, PrefillOfATinyModelOpByOp) {
  const Pass pass{.kind = Pass::Kind::kPrefill, .batch = 1, .tokens = 3};
  EXPECT_EQ(ShortDump(Tiny(), pass, 4), R"(prefill(batch 1, tokens 3)
model.embed_tokens embedding (input_ids) -> (model.embed_tokens.out) w:model.embed_tokens.weight flops 0 weight 48 act 60
norm1 rms_norm (model.embed_tokens.out) -> (norm1.out) w:norm1.weight flops 96 weight 16 act 96
q_proj linear (norm1.out) -> (q_proj.out) w:q_proj.weight flops 384 weight 128 act 96
k_proj linear (norm1.out) -> (k_proj.out) w:k_proj.weight flops 192 weight 64 act 72
v_proj linear (norm1.out) -> (v_proj.out) w:v_proj.weight flops 192 weight 64 act 72
rope rope (q_proj.out, k_proj.out) -> (rotated_q, rotated_k) w:model.rotary_emb.inv_freq flops 108 weight 8 act 144
cache_append cache_append (rotated_k, v_proj.out) -> (keys, values) flops 0 weight 0 act 96
attention attention (rotated_q, keys, values) -> (attention.out) flops 192 weight 0 act 144
o_proj linear (attention.out) -> (o_proj.out) w:o_proj.weight flops 384 weight 128 act 96
attention_residual add (model.embed_tokens.out, o_proj.out) -> (attention_residual.out) flops 24 weight 0 act 144
norm2 rms_norm (attention_residual.out) -> (norm2.out) w:norm2.weight flops 96 weight 16 act 96
mlp.gate_proj linear (norm2.out) -> (mlp.gate_proj.out) w:mlp.gate_proj.weight flops 576 weight 192 act 120
mlp.up_proj linear (norm2.out) -> (mlp.up_proj.out) w:mlp.up_proj.weight flops 576 weight 192 act 120
mlp.act_fn silu (mlp.gate_proj.out) -> (mlp.act_fn.out) flops 144 weight 0 act 144
mlp.mul mul (mlp.act_fn.out, mlp.up_proj.out) -> (mlp.mul.out) flops 36 weight 0 act 216
mlp.down_proj linear (mlp.mul.out) -> (mlp.down_proj.out) w:mlp.down_proj.weight flops 576 weight 192 act 120
mlp_residual add (attention_residual.out, mlp.down_proj.out) -> (mlp_residual.out) flops 24 weight 0 act 144
model.last_token last_token (mlp_residual.out) -> (model.last_token.out) flops 0 weight 0 act 32
model.norm rms_norm (model.last_token.out) -> (model.norm.out) w:model.norm.weight flops 32 weight 16 act 32
lm_head linear (model.norm.out) -> (lm_head.out) w:lm_head.weight flops 160 weight 160 act 36
argmax argmax (lm_head.out) -> (next_ids) flops 10 weight 0 act 24
)");
}

TEST(Llama, DecodeOfATinyModelGrowsInAttentionOnly) {
  const Pass pass{.kind = Pass::Kind::kDecode, .batch = 2, .tokens = 1, .past = 3, .past_step = 1};
  EXPECT_EQ(ShortDump(Tiny(), pass, 4), R"(decode(batch 2, past 3)
model.embed_tokens embedding (input_ids) -> (model.embed_tokens.out) w:model.embed_tokens.weight flops 0 weight 32 act 40
norm1 rms_norm (model.embed_tokens.out) -> (norm1.out) w:norm1.weight flops 64 weight 16 act 64
q_proj linear (norm1.out) -> (q_proj.out) w:q_proj.weight flops 256 weight 128 act 64
k_proj linear (norm1.out) -> (k_proj.out) w:k_proj.weight flops 128 weight 64 act 48
v_proj linear (norm1.out) -> (v_proj.out) w:v_proj.weight flops 128 weight 64 act 48
rope rope (q_proj.out, k_proj.out) -> (rotated_q, rotated_k) w:model.rotary_emb.inv_freq flops 72 weight 8 act 96
cache_append cache_append (rotated_k, v_proj.out) -> (keys, values) flops 0 weight 0 act 64
attention attention (rotated_q, keys, values) -> (attention.out) flops 256+64i weight 0 act 192+32i
o_proj linear (attention.out) -> (o_proj.out) w:o_proj.weight flops 256 weight 128 act 64
attention_residual add (model.embed_tokens.out, o_proj.out) -> (attention_residual.out) flops 16 weight 0 act 96
norm2 rms_norm (attention_residual.out) -> (norm2.out) w:norm2.weight flops 64 weight 16 act 64
mlp.gate_proj linear (norm2.out) -> (mlp.gate_proj.out) w:mlp.gate_proj.weight flops 384 weight 192 act 80
mlp.up_proj linear (norm2.out) -> (mlp.up_proj.out) w:mlp.up_proj.weight flops 384 weight 192 act 80
mlp.act_fn silu (mlp.gate_proj.out) -> (mlp.act_fn.out) flops 96 weight 0 act 96
mlp.mul mul (mlp.act_fn.out, mlp.up_proj.out) -> (mlp.mul.out) flops 24 weight 0 act 144
mlp.down_proj linear (mlp.mul.out) -> (mlp.down_proj.out) w:mlp.down_proj.weight flops 384 weight 192 act 80
mlp_residual add (attention_residual.out, mlp.down_proj.out) -> (mlp_residual.out) flops 16 weight 0 act 96
model.norm rms_norm (mlp_residual.out) -> (model.norm.out) w:model.norm.weight flops 64 weight 16 act 64
lm_head linear (model.norm.out) -> (lm_head.out) w:lm_head.weight flops 320 weight 160 act 72
argmax argmax (lm_head.out) -> (next_ids) flops 20 weight 0 act 48
)");
}

TEST(Llama, AllLogitsKeepsEveryRow) {
  const Model model = Tiny();
  const Pass pass{.kind = Pass::Kind::kPrefill, .batch = 2, .tokens = 3, .all_logits = true};
  const OpGraph graph = *BuildOpGraph(model, pass, 3);
  EXPECT_EQ(graph.values[graph.logits].rows, 6);
  EXPECT_EQ(graph.values[graph.next_ids].rows, 2);
}

TEST(Llama, AModelWithoutAHeadEndsAtItsNorm) {
  std::string text = kTiny;
  text.replace(text.find("LlamaForCausalLM"), 16, "LlamaModel");
  const Model model = *BuildModel(*HfConfig::Parse(text, "config.json"), "tiny");
  EXPECT_EQ(model.tensors[0].name, "embed_tokens.weight");
  EXPECT_EQ(model.FindTensor("lm_head.weight"), kNoId);
  const OpGraph graph = *BuildOpGraph(model, {.kind = Pass::Kind::kPrefill, .batch = 1, .tokens = 3}, 3);
  EXPECT_EQ(graph.logits, kNoId);
  EXPECT_EQ(graph.ops.back().name, "norm");
  EXPECT_EQ(graph.values[graph.ops.back().outputs[0]].rows, 3);
}

TEST(Llama, ADTypeOfTheUserChangesParametersAndLeavesBuffers) {
  Model model = Tiny();
  const Bytes before = model.WeightBytes();
  SetDType(model, DType::kF32);
  EXPECT_EQ(model.WeightBytes(), 2 * before);
  EXPECT_EQ(CacheBytesPerPosition(model), Bytes(2 * 4 * 4));
  EXPECT_EQ(model.tensors[model.FindTensor("model.rotary_emb.inv_freq")].dtype, DType::kF32);
  SetDType(model, DType::kF16);
  EXPECT_EQ(model.tensors[model.FindTensor("model.rotary_emb.inv_freq")].dtype, DType::kF32);
}

TEST(Llama, RefusesAPassThatDoesNotFitTheCache) {
  const Model model = Tiny();
  const Pass pass{.kind = Pass::Kind::kDecode, .batch = 1, .tokens = 1, .past = 4};
  const Result<OpGraph> graph = BuildOpGraph(model, pass, 4);
  ASSERT_FALSE(graph);
  EXPECT_EQ(graph.error().message, "decode(batch 1, past 4): needs 5 positions, the cache has 4");
}

std::string ErrorWith(const std::string& from, const std::string& to) {
  std::string text = kTiny;
  text.replace(text.find(from), from.size(), to);
  const Result<Model> model = BuildModel(*HfConfig::Parse(text, "config.json"), "tiny");
  return model ? "accepted" : model.error().message;
}

TEST(Llama, AbsentFieldsTakeTheDefaultsOfTheClass) {
  const Result<Model> model = BuildModel(*HfConfig::Parse(R"({"model_type": "llama"})", "config.json"), "m");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->Parameters(), 6'738'415'616);  // Llama with 7B
}

TEST(Llama, RefusesAbsurdFields) {
  EXPECT_EQ(ErrorWith("LlamaForCausalLM", "LLaMAForCausalLM"), "accepted");
  EXPECT_EQ(ErrorWith(R"("vocab_size": 10)", R"("vocab_size": -1)"),
            "config.json: vocab_size is -1, must be in [1, 16777216]");
  EXPECT_EQ(ErrorWith(R"("num_hidden_layers": 1)", R"("num_hidden_layers": 1000000000000)"),
            "config.json: num_hidden_layers is 1000000000000, must be in [1, 10000]");
  EXPECT_EQ(ErrorWith(R"("num_attention_heads": 2)", R"("num_attention_heads": 3)"),
            "config.json: hidden_size 8 is not a multiple of num_attention_heads 3");
  EXPECT_EQ(ErrorWith(R"("num_key_value_heads": 1)", R"("num_key_value_heads": 3)"),
            "config.json: num_attention_heads 2 is not a multiple of num_key_value_heads 3");
  EXPECT_EQ(ErrorWith(R"("vocab_size")", R"("head_dim": 5, "vocab_size")"),
            "config.json: head_dim 5 is odd, rotary embedding needs pairs");
  EXPECT_EQ(ErrorWith("bfloat16", "int8"),
            "config.json: torch_dtype is \"int8\", not a floating-point type known here");
  EXPECT_EQ(ErrorWith("LlamaForCausalLM", "LlamaForTokens"),
            "config.json: architectures names LlamaForTokens, supported for llama are LlamaForCausalLM and LlamaModel");
}

TEST(Llama, ReadsEverySpellingOfRope) {
  const auto rope = [](const std::string& text) {
    const Model m = Tiny(text);
    return m.rope.type + " " + std::to_string(m.rope.factor) + " " + std::to_string(m.shape.rope_theta);
  };
  EXPECT_EQ(rope(R"("rope_theta": 500000.0, "rope_scaling": null)"), "default 1.000000 500000.000000");
  EXPECT_EQ(rope(R"("rope_theta": 9, "rope_scaling": {"type": "linear", "factor": 2})"), "linear 2.000000 9.000000");
  EXPECT_EQ(rope(R"("rope_parameters": {"rope_type": "linear", "factor": 4, "rope_theta": 7})"),
            "linear 4.000000 7.000000");
  EXPECT_EQ(
      rope(R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4})"),
      "llama3 8.000000 10000.000000");
  EXPECT_EQ(ErrorWith(R"("vocab_size")", R"("rope_scaling": {"type": "su", "factor": 2}, "vocab_size")"),
            "config.json: rope_scaling.type is \"su\", supported are default, linear, llama3, dynamic, longrope, yarn");
  EXPECT_EQ(ErrorWith(R"("vocab_size")", R"("rope_scaling": {"type": "linear"}, "vocab_size")"),
            "config.json: rope_scaling.factor is missing");
}

}  // namespace
}  // namespace stowage
