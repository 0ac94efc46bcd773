// gpt-oss. Experts are stacked in files too. Published files hold them in MXFP4 (quantization_config): 32 weights of a
// row share a scale; each byte of a block holds two. The bf16 form is transposed against it:
//
//   bf16    gate_up_proj [E, h, 2 I]             down_proj [E, I, h]
//   MXFP4   gate_up_proj_blocks [E, 2 I, h / 32, 16], _scales [E, 2 I, h / 32]     down_proj_blocks [E, h, I / 32, 16] ...
//
// Everything else is in the model's dtype, bf16 when quantized and none is named.
#include <fmt/format.h>

#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

constexpr std::int64_t kBlock = 32;  // weights a scale

void Packed(DecoderTree& t, const std::string& name, std::int64_t rows, std::int64_t columns) {
  const TensorId blocks = t.tree.Param(name + "_blocks", {t.s.experts, rows, columns / kBlock, kBlock / 2}, DType::kU8);
  const TensorId scales = t.tree.Param(name + "_scales", {t.s.experts, rows, columns / kBlock}, DType::kU8);
  t.model().tensors[blocks].weights_per_element = 2;
  t.model().tensors[scales].weights_per_element = 0;
}

void Experts(DecoderTree& t, bool packed) {
  const TransformerShape& s = t.s;
  t.tree.Enter("experts", packed ? "Mxfp4GptOssExperts" : "GptOssExperts");
  if (packed) {
    Packed(t, "gate_up_proj", 2 * s.intermediate, s.hidden);
  } else {
    t.tree.Param("gate_up_proj", {s.experts, s.hidden, 2 * s.intermediate}, t.c.dtype);
  }
  t.tree.Param("gate_up_proj_bias", {s.experts, 2 * s.intermediate}, t.c.dtype);
  if (packed) {
    Packed(t, "down_proj", s.hidden, s.intermediate);
  } else {
    t.tree.Param("down_proj", {s.experts, s.intermediate, s.hidden}, t.c.dtype);
  }
  t.tree.Param("down_proj_bias", {s.experts, s.hidden}, t.c.dtype);
  t.tree.Leave();
}

void Layer(DecoderTree& t, bool packed) {
  t.tree.Enter("self_attn", "GptOssAttention");
  t.tree.Param("sinks", {t.s.heads}, t.c.dtype);
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  t.tree.Leave();
  t.tree.Enter("mlp", "GptOssMLP");
  t.tree.Enter("router", "GptOssTopKRouter");
  t.tree.Param("weight", {t.s.experts, t.s.hidden}, t.c.dtype);
  t.tree.Param("bias", {t.s.experts}, t.c.dtype);
  t.tree.Leave();
  Experts(t, packed);
  t.tree.Leave();
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

}  // namespace

Result<Model> BuildGptOss(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {36, 2880, 2880, 64, 8, 64, 201088, 131072, 1e-5, 150000};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "GptOss", "GptOssModel"));
  STOWAGE_TRY(c.attention_bias, config.BoolOr("attention_bias", true));
  STOWAGE_TRY(const HfConfig quantization, config.ObjectOr("quantization_config"));
  STOWAGE_TRY(const std::string method, quantization.StringOr("quant_method", ""));
  const bool packed = method == "mxfp4";
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, packed ? DType::kBF16 : DType::kF32));
  STOWAGE_TRY(c.shape.experts, ReadSize(config, {"num_local_experts", "num_experts"}, 128, kExperts));
  STOWAGE_TRY(c.shape.experts_per_token, ReadSize(config, {"num_experts_per_tok", "experts_per_token"}, 4, kExperts));
  if (packed && (c.shape.hidden % kBlock != 0 || c.shape.intermediate % kBlock != 0)) {
    return config.Bad("hidden_size", fmt::format("{} and intermediate_size {} must be multiples of {} for mxfp4",
                                                 c.shape.hidden, c.shape.intermediate, kBlock));
  }
  STOWAGE_TRY(c.forward.router.keeps_logits, config.BoolOr("output_router_logits", false));
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 128));
  STOWAGE_RETURN_IF_ERROR(ReadWindows(
      config, window, [](std::int64_t i) { return i % 2 == 0; }, c.shape));
  const LayerFunction layer = [packed](DecoderTree& t, std::int64_t) { Layer(t, packed); };
  return BuildDecoder(c, layer, std::move(name), config.where());
}

}  // namespace stowage
