#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

void Layer(DecoderTree& t, std::int64_t) {
  t.tree.Enter("self_attn", "Starcoder2Attention");
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  t.tree.Leave();
  t.tree.Enter("mlp", "Starcoder2MLP");
  t.Linear("c_fc", t.s.intermediate, t.s.hidden, t.c.mlp_bias);
  t.Linear("c_proj", t.s.hidden, t.s.intermediate, t.c.mlp_bias);
  t.tree.Leaf("act", t.c.activation);
  t.tree.Leave();
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

}  // namespace

Result<Model> BuildStarcoder2(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {30, 3072, 12288, 24, 2, 0, 49152, 4096, 1e-5, 1e4, true, "gelu_pytorch_tanh"};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Starcoder2", "Starcoder2Model"));
  STOWAGE_TRY(c.attention_bias, config.BoolOr("use_bias", true));
  c.mlp_bias = c.attention_bias;
  c.norm_class = "LayerNorm";
  c.norm_bias = true;
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 0));
  STOWAGE_RETURN_IF_ERROR(ReadWindows(config, window, EveryLayer, c.shape));
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
