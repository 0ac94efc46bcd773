#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

void Layer(DecoderTree& t, std::int64_t) {
  t.tree.Enter("self_attn", "Qwen3Attention");
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  t.Norm("q_norm", {t.s.head_dim});
  t.Norm("k_norm", {t.s.head_dim});
  t.tree.Leave();
  t.GatedMlp("mlp", "Qwen3MLP", t.s.intermediate);
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

}  // namespace

Result<Model> BuildQwen3(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {32, 4096, 22016, 32, 32, 128, 151936, 32768, 1e-6, 1e4};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Qwen3", "Qwen3Model"));
  c.fp8_scale = c.dtype;  // as in qwen2
  c.mlp_bias = false;
  STOWAGE_RETURN_IF_ERROR(ReadQwenWindows(config, c.shape));
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
