#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

void Layer(DecoderTree& t, std::int64_t) {
  t.tree.Enter("self_attn", "MistralAttention");
  t.Projections(/*qkv_bias=*/false, /*o_bias=*/false);
  t.tree.Leave();
  t.GatedMlp("mlp", "MistralMLP", t.s.intermediate);
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

}  // namespace

Result<Model> BuildMistral(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {32, 4096, 14336, 32, 8, 0, 32000, 131072, 1e-6, 1e4};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Mistral", "MistralModel"));
  c.attention_bias = false;  // the class has none, whatever the file says
  c.mlp_bias = false;
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 4096));
  STOWAGE_RETURN_IF_ERROR(ReadWindows(config, window, EveryLayer, c.shape));
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
