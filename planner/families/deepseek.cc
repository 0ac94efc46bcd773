// DeepSeek V2 and V3 (R1, Kimi K2): latent attention and experts with shared ones beside them. With n/r/v the nope, rope
// and value dims of a head, c = kv_lora_rank, a = q_lora_rank:
//
//   self_attn   q_a_proj [a, h]  q_a_layernorm [a]  q_b_proj [H (n + r), a]      (a null: q_proj [H (n + r), h])
//               kv_a_proj_with_mqa [c + r, h]  kv_a_layernorm [c]  kv_b_proj [H (n + v), c]  o_proj [h, H v]
//   mlp         layers below first_k_dense_replace: gate, up, down
//               others: experts.e, gate [E, h] (V3: + e_score_correction_bias fp32 [E]), shared_experts
//
// The correction bias is a parameter in the published code and its counts, a saved buffer in transformers 5.
//
// Files of V3 and R1 also hold num_nextn_predict_layers layers past the last for multi-token prediction; no class loads
// them: Model::unloaded. In fp8 files the gate, norms, embedding, head and the eh_proj of those layers stay as they are.
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

struct Mla {
  std::int64_t q_rank, nope, rope, value;
};

struct Moe {
  std::int64_t dense_layers, width, shared;
  bool correction_bias;
};

struct Deepseek {
  DecoderConfig c;
  Mla mla;
  Moe moe;
  std::int64_t predict_layers = 0;
};

void Attention(DecoderTree& t, const Mla& mla) {
  const TransformerShape& s = t.s;
  const std::int64_t key = mla.nope + mla.rope;
  t.tree.Enter("self_attn", t.c.prefix + "Attention");
  if (mla.q_rank == 0) {
    t.Linear("q_proj", s.heads * key, s.hidden);
  } else {
    t.Linear("q_a_proj", mla.q_rank, s.hidden, t.c.attention_bias);
    t.Norm("q_a_layernorm", {mla.q_rank});
    t.Linear("q_b_proj", s.heads * key, mla.q_rank);
  }
  t.Linear("kv_a_proj_with_mqa", s.kv_lora_rank + mla.rope, s.hidden, t.c.attention_bias);
  t.Norm("kv_a_layernorm", {s.kv_lora_rank});
  t.Linear("kv_b_proj", s.heads * (mla.nope + mla.value), s.kv_lora_rank);
  t.Linear("o_proj", s.hidden, s.heads * mla.value, t.c.attention_bias);
  t.tree.Leave();
}

void Sparse(DecoderTree& t, const Moe& moe) {
  const std::string mlp = t.c.prefix + "MLP";
  const bool v2 = t.c.prefix == "DeepseekV2";
  t.tree.Enter("mlp", v2 ? "DeepseekV2Moe" : "DeepseekV3MoE");
  t.Experts(mlp, t.s.experts, moe.width);
  t.tree.Enter("gate", t.c.prefix + "TopkRouter");
  t.tree.Param("weight", {t.s.experts, t.s.hidden}, t.c.dtype);
  if (moe.correction_bias) t.tree.Param("e_score_correction_bias", {t.s.experts}, DType::kF32);
  t.tree.Leave();
  if (moe.shared > 0) t.GatedMlp("shared_experts", mlp, moe.shared * moe.width);
  t.tree.Leave();
}

void Layer(DecoderTree& t, const Deepseek& d, std::int64_t index) {
  Attention(t, d.mla);
  if (index < d.moe.dense_layers) {
    t.GatedMlp("mlp", t.c.prefix + "MLP", t.s.intermediate);
  } else {
    Sparse(t, d.moe);
  }
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

// model.layers.<layers + k>, as the files have them.
std::vector<Tensor> PredictLayers(const Deepseek& d) {
  Model scratch;
  DecoderTree t(scratch, d.c);
  t.tree.Enter("", "");
  t.tree.Enter("model", "");
  t.tree.Enter("layers", "");
  for (std::int64_t k = 0; k < d.predict_layers; ++k) {
    t.tree.Enter(std::to_string(t.s.layers + k), "");
    t.tree.Enter("embed_tokens", "Embedding");
    t.tree.Param("weight", {t.s.vocab, t.s.hidden}, t.c.dtype);
    t.tree.Leave();
    t.Norm("enorm", {t.s.hidden});
    t.Norm("hnorm", {t.s.hidden});
    t.tree.Linear("eh_proj", t.s.hidden, 2 * t.s.hidden, t.c.dtype, false);
    Layer(t, d, t.s.layers + k);
    t.tree.Enter("shared_head", "");
    t.Norm("norm", {t.s.hidden});
    t.tree.Linear("head", t.s.vocab, t.s.hidden, t.c.dtype, false);
    t.tree.Leave();
    t.tree.Leave();
  }
  for (Tensor& tensor : scratch.tensors) tensor.module = kNoId;
  return std::move(scratch.tensors);
}

Result<Mla> ReadMla(const HfConfig& config, TransformerShape& s) {
  Mla m;
  STOWAGE_TRY(m.q_rank, config.IsNull("q_lora_rank") ? Result<std::int64_t>(std::int64_t{0})
                                                     : config.IntOr("q_lora_rank", 1536, kSizes));
  STOWAGE_TRY(s.kv_lora_rank, config.IntOr("kv_lora_rank", 512, kSizes));
  STOWAGE_TRY(m.nope, config.IntOr("qk_nope_head_dim", 128, kSizes));
  STOWAGE_TRY(m.rope, config.IntOr("qk_rope_head_dim", 64, kSizes));
  STOWAGE_TRY(m.value, config.IntOr("v_head_dim", 128, kSizes));
  s.rope_head_dim = m.rope;
  s.head_dim = m.nope + m.rope;
  if (s.heads * (m.nope + std::max(m.rope, m.value)) > kSizes.most) {
    return config.Bad("qk_nope_head_dim", "is too large for this many heads");
  }
  return m;
}

Result<Moe> ReadMoe(const HfConfig& config, bool v2, TransformerShape& s) {
  Moe m;
  m.correction_bias = !v2;
  STOWAGE_TRY(s.experts,
              ReadSize(config, {"n_routed_experts", "num_experts", "num_local_experts"}, v2 ? 64 : 256, kExperts));
  STOWAGE_TRY(s.experts_per_token, config.IntOr("num_experts_per_tok", 8, kExperts));
  STOWAGE_TRY(m.width, config.IntOr("moe_intermediate_size", v2 ? 1407 : 2048, kSizes));
  STOWAGE_TRY(m.shared, ReadNullable(config, "n_shared_experts", v2 ? 2 : 1));
  STOWAGE_TRY(m.dense_layers, ReadNullable(config, "first_k_dense_replace", v2 ? 0 : 3));
  if (m.shared * m.width > kSizes.most) return config.Bad("n_shared_experts", "makes shared experts too wide");
  return m;
}

// V2 has groups when topk_method is "group_limited_greedy", V3 always.
Status ReadRouter(const HfConfig& config, bool v2, RouterFacts& router) {
  STOWAGE_TRY(router.keeps_logits, config.BoolOr("output_router_logits", false));
  STOWAGE_TRY(const std::string method, config.StringOr("topk_method", "greedy"));
  if (v2) {
    if (method == "greedy") return OkStatus();
    if (method != "group_limited_greedy") {
      return config.Bad("topk_method", fmt::format("is \"{}\", not greedy or group_limited_greedy", method));
    }
  } else {
    STOWAGE_TRY(router.normalized, config.BoolOr("norm_topk_prob", true));
  }
  STOWAGE_TRY(router.groups, config.IntOr("n_group", v2 ? 1 : 8, kExperts));
  STOWAGE_TRY(router.groups_per_token, config.IntOr("topk_group", v2 ? 1 : 4, kExperts));
  return OkStatus();
}

}  // namespace

Result<Model> BuildDeepseek(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kV2 = {32, 4096, 11008, 32, 0, 64, 102400, 2048, 1e-6, 1e4};
  constexpr DecoderDefaults kV3 = {61, 7168, 18432, 128, 0, 64, 129280, 4096, 1e-6, 1e4};
  STOWAGE_TRY(const std::string type, config.String("model_type"));
  const bool v2 = type == "deepseek_v2";
  const std::string prefix = v2 ? "DeepseekV2" : "DeepseekV3";
  Deepseek d;
  STOWAGE_TRY(d.c, ReadDecoderConfig(config, v2 ? kV2 : kV3, prefix, prefix + "Model"));
  if (!v2) d.c.mlp_bias = false;
  STOWAGE_TRY(d.mla, ReadMla(config, d.c.shape));
  STOWAGE_TRY(d.moe, ReadMoe(config, v2, d.c.shape));
  STOWAGE_RETURN_IF_ERROR(ReadRouter(config, v2, d.c.forward.router));
  d.c.rotary_dims = d.mla.rope;
  STOWAGE_TRY(d.c.rope.interleaved, config.BoolOr("rope_interleave", true));
  STOWAGE_TRY(d.predict_layers, config.IntOr("num_nextn_predict_layers", 0, Range<std::int64_t>{0, 16}));
  const LayerFunction layer = [&](DecoderTree& t, std::int64_t i) { Layer(t, d, i); };
  STOWAGE_TRY(Model model, BuildDecoder(d.c, layer, std::move(name), config.where()));
  if (d.c.head) model.unloaded = PredictLayers(d);
  return model;
}

}  // namespace stowage
