#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"
#include "planner/families/gemma3.h"

namespace stowage {
namespace {

void Mlp(DecoderTree& t) { t.GatedMlp("mlp", t.c.prefix + "MLP", t.s.intermediate); }

void Attention(DecoderTree& t, bool qk_norm) {
  t.tree.Enter("self_attn", t.c.prefix + "Attention");
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  if (qk_norm) {
    t.Norm("q_norm", {t.s.head_dim});
    t.Norm("k_norm", {t.s.head_dim});
  }
  t.tree.Leave();
}

void Layer1(DecoderTree& t, std::int64_t) {
  Attention(t, /*qk_norm=*/false);
  Mlp(t);
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

void Norms(DecoderTree& t) {
  for (const char* norm :
       {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
    t.Norm(norm, {t.s.hidden});
  }
}

void Layer2(DecoderTree& t, std::int64_t) {
  Attention(t, /*qk_norm=*/false);
  Mlp(t);
  Norms(t);
}

}  // namespace

Result<Model> BuildGemma(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {28,     3072, 24576, 16,  16,   256,
                                         256000, 8192, 1e-6,  1e4, true, "gelu_pytorch_tanh"};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Gemma", "GemmaModel"));
  c.scaled_embedding = true;
  c.mlp_bias = false;
  return BuildDecoder(c, Layer1, std::move(name), config.where());
}

Result<Model> BuildGemma2(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {26, 2304, 9216, 8, 4, 256, 256000, 8192, 1e-6, 1e4, true, "gelu_pytorch_tanh"};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Gemma2", "Gemma2Model"));
  c.scaled_embedding = true;
  c.mlp_bias = false;
  STOWAGE_TRY(c.forward.score_scale, ReadScoreScale(config));
  STOWAGE_TRY(c.forward.score_softcap, ReadSoftcap(config, "attn_logit_softcapping", 50));
  STOWAGE_TRY(c.forward.logit_softcap, ReadSoftcap(config, "final_logit_softcapping", 30));
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 4096));
  STOWAGE_RETURN_IF_ERROR(ReadWindows(
      config, window, [](std::int64_t i) { return i % 2 == 0; }, c.shape));
  return BuildDecoder(c, Layer2, std::move(name), config.where());
}

void Gemma3Layer(DecoderTree& t, std::int64_t) {
  Attention(t, /*qk_norm=*/true);
  Mlp(t);
  Norms(t);
}

Result<DecoderConfig> ReadGemma3Text(const HfConfig& config) {
  constexpr DecoderDefaults kDefaults = {26,     2304,   9216, 8,   4,    256,
                                         262208, 131072, 1e-6, 1e6, true, "gelu_pytorch_tanh"};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Gemma3", "Gemma3TextModel"));
  c.scaled_embedding = true;
  c.mlp_bias = false;
  STOWAGE_TRY(c.forward.score_scale, ReadScoreScale(config));
  STOWAGE_TRY(c.forward.score_softcap, ReadSoftcap(config, "attn_logit_softcapping", 0));
  STOWAGE_TRY(c.forward.logit_softcap, ReadSoftcap(config, "final_logit_softcapping", 0));
  STOWAGE_TRY(std::int64_t window, ReadNullable(config, "sliding_window", 4096));
  STOWAGE_TRY(const bool both_ways, config.BoolOr("use_bidirectional_attention", false));
  if (both_ways && window > 0) window = window / 2 + 1;
  STOWAGE_TRY(const std::int64_t pattern,
              ReadSize(config, {"sliding_window_pattern", "_sliding_window_pattern"}, 6, kSizes));
  STOWAGE_RETURN_IF_ERROR(ReadWindows(
      config, window, [pattern](std::int64_t i) { return (i + 1) % pattern != 0; }, c.shape));
  return c;
}

Result<Model> BuildGemma3Text(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const DecoderConfig c, ReadGemma3Text(config));
  STOWAGE_TRY(Model model, BuildDecoder(c, Gemma3Layer, std::move(name), config.where()));
  model.no_split_classes = Gemma3NoSplit();
  return model;
}

}  // namespace stowage
