#include <algorithm>
#include <utility>
#include <vector>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

constexpr std::int64_t kDense = 0;  // in place of an expert's width: a dense MLP

void Layer(DecoderTree& t, std::int64_t width) {
  t.tree.Enter("self_attn", "Qwen3MoeAttention");
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  t.Norm("q_norm", {t.s.head_dim});
  t.Norm("k_norm", {t.s.head_dim});
  t.tree.Leave();
  if (width == kDense) {
    t.GatedMlp("mlp", "Qwen3MoeMLP", t.s.intermediate);
  } else {
    t.tree.Enter("mlp", "Qwen3MoeSparseMoeBlock");
    t.Experts("Qwen3MoeMLP", t.s.experts, width);
    t.Router("gate", "Qwen3MoeTopKRouter");
    t.tree.Leave();
  }
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

// A layer is dense in mlp_only_layers, off the beat of decoder_sparse_step, and everywhere without experts.
// Returns the width of an expert per layer.
Result<std::vector<std::int64_t>> ReadExperts(const HfConfig& config, DecoderConfig& c) {
  STOWAGE_TRY(c.shape.experts, ReadSize(config, {"num_local_experts", "num_experts"}, 128, kExperts));
  STOWAGE_TRY(c.shape.experts_per_token, config.IntOr("num_experts_per_tok", 8, kExperts));
  STOWAGE_TRY(const std::int64_t width, config.IntOr("moe_intermediate_size", 768, kSizes));
  STOWAGE_TRY(const std::int64_t step, config.IntOr("decoder_sparse_step", 1, kSizes));
  STOWAGE_TRY(const std::vector<std::int64_t> dense, config.IntsOr("mlp_only_layers"));
  std::vector<std::int64_t> widths;
  for (std::int64_t i = 0; i < c.shape.layers; ++i) {
    const bool sparse = c.shape.experts > 0 && (i + 1) % step == 0 && std::ranges::find(dense, i) == dense.end();
    widths.push_back(sparse ? width : kDense);
  }
  return widths;
}

}  // namespace

Result<Model> BuildQwen3Moe(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {24, 2048, 6144, 32, 4, 0, 151936, 32768, 1e-6, 1e4};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Qwen3Moe", "Qwen3MoeModel"));
  c.fp8_scale = c.dtype;  // as in qwen2
  c.mlp_bias = false;
  STOWAGE_TRY(const std::vector<std::int64_t> widths, ReadExperts(config, c));
  STOWAGE_TRY(const bool slides, config.BoolOr("use_sliding_window", false));
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 4096));
  STOWAGE_RETURN_IF_ERROR(ReadWindows(config, slides ? window : 0, EveryLayer, c.shape));
  STOWAGE_TRY(c.forward.router.normalized, config.BoolOr("norm_topk_prob", false));
  STOWAGE_TRY(c.forward.router.keeps_logits, config.BoolOr("output_router_logits", false));
  const LayerFunction layer = [&](DecoderTree& t, std::int64_t i) { Layer(t, widths[static_cast<std::size_t>(i)]); };
  return BuildDecoder(c, layer, std::move(name), config.where());
}

}  // namespace stowage
