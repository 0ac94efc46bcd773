#include <utility>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

// w1 is the gate, w3 up, w2 down.
void Expert(DecoderTree& t, std::int64_t e) {
  t.tree.Enter(std::to_string(e), "MixtralBlockSparseTop2MLP");
  t.Linear("w1", t.s.intermediate, t.s.hidden);
  t.Linear("w2", t.s.hidden, t.s.intermediate);
  t.Linear("w3", t.s.intermediate, t.s.hidden);
  t.tree.Leaf("act_fn", t.c.activation);
  t.tree.Leave();
}

void Layer(DecoderTree& t, std::int64_t) {
  t.tree.Enter("self_attn", "MixtralAttention");
  t.Projections(/*qkv_bias=*/false, /*o_bias=*/false);
  t.tree.Leave();
  t.tree.Enter("block_sparse_moe", "MixtralSparseMoeBlock");
  t.Router("gate", "MixtralTopKRouter");
  t.tree.Enter("experts", "ModuleList");
  for (std::int64_t e = 0; e < t.s.experts; ++e) Expert(t, e);
  t.tree.Leave();
  t.tree.Leave();
  t.Norm("input_layernorm", {t.s.hidden});
  t.Norm("post_attention_layernorm", {t.s.hidden});
}

}  // namespace

Result<Model> BuildMixtral(const HfConfig& config, std::string name) {
  constexpr DecoderDefaults kDefaults = {32, 4096, 14336, 32, 8, 0, 32000, 131072, 1e-5, 1e6};
  STOWAGE_TRY(DecoderConfig c, ReadDecoderConfig(config, kDefaults, "Mixtral", "MixtralModel"));
  STOWAGE_TRY(c.shape.experts, ReadSize(config, {"num_local_experts", "num_experts"}, 8, kExperts));
  STOWAGE_TRY(c.shape.experts_per_token, config.IntOr("num_experts_per_tok", 2, kExperts));
  c.forward.router.normalized = true;
  STOWAGE_TRY(c.forward.router.keeps_logits, config.BoolOr("output_router_logits", false));
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 0));
  STOWAGE_RETURN_IF_ERROR(ReadWindows(config, window, EveryLayer, c.shape));
  return BuildDecoder(c, Layer, std::move(name), config.where());
}

}  // namespace stowage
