#include <utility>
#include <vector>

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
Status ReadSlidingLayers(const HfConfig& config, TransformerShape& s) {
  STOWAGE_TRY(const bool slides, config.BoolOr("use_sliding_window", false));
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 0));
  STOWAGE_TRY(const std::int64_t interval, config.IntOr("no_rope_layer_interval", 4, kSizes));
  STOWAGE_TRY(const std::vector<std::int64_t> rope, config.IntsOr("no_rope_layers"));
  const auto no_rope = [&](std::int64_t i) {
    return i < static_cast<std::int64_t>(rope.size()) ? rope[static_cast<std::size_t>(i)] == 0
                                                      : (i + 1) % interval == 0;
  };
  return ReadWindows(config, slides ? window : 0, no_rope, s);
}

}  // namespace

Result<Model> BuildSmolLm3(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {36, 2048, 11008, 16, 4, 0, 128256, 32768, 1e-6, 2e6, true};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "SmolLM3", "SmolLM3Model"));
  STOWAGE_RETURN_IF_ERROR(ReadSlidingLayers(config, c.shape));
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
