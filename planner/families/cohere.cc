#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

void Attention(DecoderTree& t, bool qk_norm) {
  t.tree.Enter("self_attn", "CohereAttention");
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  if (qk_norm) {
    t.Norm("q_norm", {t.s.heads, t.s.head_dim});
    t.Norm("k_norm", {t.s.kv_heads, t.s.head_dim});
  }
  t.tree.Leave();
}

// Attention and MLP read the same norm and run side by side.
void Layer(DecoderTree& t, bool qk_norm) {
  Attention(t, qk_norm);
  t.GatedMlp("mlp", "CohereMLP", t.s.intermediate);
  t.Norm("input_layernorm", {t.s.hidden});
}

}  // namespace

Result<Model> BuildCohere(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {40, 8192, 22528, 64, 0, 0, 256000, 8192, 1e-5, 5e5, true};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Cohere", "CohereModel"));
  c.mlp_bias = false;
  c.norm_class = "CohereLayerNorm";
  c.forward.parallel = true;
  STOWAGE_TRY(c.forward.logit_scale, config.NumberOr("logit_scale", 0.0625, Range<double>{0, 1e9}));
  STOWAGE_TRY(const bool qk_norm, config.BoolOr("use_qk_norm", false));
  return BuildDecoder(
      c, [qk_norm](DecoderTree& t, std::int64_t) { Layer(t, qk_norm); }, std::move(name), config.where());
}

}  // namespace stowage
