#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

void Layer(DecoderTree& t, std::int64_t) {
  t.tree.Enter("self_attn", "Phi3Attention");
  t.Linear("o_proj", t.s.hidden, t.s.heads * t.s.head_dim);
  t.Linear("qkv_proj", (t.s.heads + 2 * t.s.kv_heads) * t.s.head_dim, t.s.hidden);  // rows q, then k, then v
  t.tree.Leave();
  t.tree.Enter("mlp", "Phi3MLP");
  t.Linear("gate_up_proj", 2 * t.s.intermediate, t.s.hidden);
  t.Linear("down_proj", t.s.hidden, t.s.intermediate);
  t.tree.Leaf("activation_fn", t.c.activation);
  t.tree.Leave();
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
  t.tree.Leaf("resid_attn_dropout", "Dropout");
  t.tree.Leaf("resid_mlp_dropout", "Dropout");
}

}  // namespace

Result<Model> BuildPhi3(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {32, 3072, 8192, 32, 0, 0, 32064, 4096, 1e-5, 1e4};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Phi3", "Phi3Model"));
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 0));
  STOWAGE_RETURN_IF_ERROR(ReadWindows(config, window, EveryLayer, c.shape));
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
