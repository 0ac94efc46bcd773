#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

void Layer(DecoderTree& t, std::int64_t) {
  t.tree.Enter("self_attn", "Olmo2Attention");
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  t.Norm("q_norm", {t.s.heads * t.s.head_dim});
  t.Norm("k_norm", {t.s.kv_heads * t.s.head_dim});
  t.tree.Leave();
  t.GatedMlp("mlp", "Olmo2MLP", t.s.intermediate);
  t.Norm("post_attention_layernorm", {t.s.hidden});
  t.Norm("post_feedforward_layernorm", {t.s.hidden});
}

}  // namespace

Result<Model> BuildOlmo2(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {32, 4096, 11008, 32, 0, 0, 50304, 2048, 1e-5, 1e4};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Olmo2", "Olmo2Model"));
  c.mlp_bias = false;
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
