#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

void Layer(DecoderTree& t, std::int64_t) {
  t.tree.Enter("self_attn", "SmolLM3Attention");
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  t.tree.Leave();
  t.GatedMlp("mlp", "SmolLM3MLP", t.s.intermediate);
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

// Layers without rope slide, when anything does.
Status ReadSlidingLayers(const HfConfig& config, DecoderConfig& c) {
  STOWAGE_TRY(const bool slides, config.BoolOr("use_sliding_window", false));
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 0));
  STOWAGE_TRY(c.forward.rotates, ReadRotatingLayers(config, c.shape.layers));
  const auto no_rope = [&](std::int64_t i) { return !c.forward.rotates[static_cast<std::size_t>(i)]; };
  return ReadWindows(config, slides ? window : 0, no_rope, c.shape);
}

}  // namespace

Result<Model> BuildSmolLm3(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {36, 2048, 11008, 16, 4, 0, 128256, 32768, 1e-6, 2e6, true};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "SmolLM3", "SmolLM3Model"));
  STOWAGE_RETURN_IF_ERROR(ReadSlidingLayers(config, c));
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
