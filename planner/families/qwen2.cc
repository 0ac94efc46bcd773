#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

void Layer(DecoderTree& t, std::int64_t) {
  t.tree.Enter("self_attn", "Qwen2Attention");
  t.Projections(/*qkv_bias=*/true, /*o_bias=*/false);
  t.tree.Leave();
  t.GatedMlp("mlp", "Qwen2MLP", t.s.intermediate);
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

}  // namespace

Result<Model> BuildQwen2(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {32, 4096, 22016, 32, 32, 0, 151936, 32768, 1e-6, 1e4};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Qwen2", "Qwen2Model"));
  c.fp8_scale = c.dtype;  // the published fp8 files of Qwen keep scales in the model's dtype
  c.mlp_bias = false;
  STOWAGE_RETURN_IF_ERROR(ReadQwenWindows(config, c.shape));
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
