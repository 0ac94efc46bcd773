#include "planner/families/headed.h"

namespace stowage {

Result<TransformerShape> ReadGptShape(const HfConfig& config, const GptDefaults& defaults) {
  TransformerShape s;
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers", "n_layer"}, defaults.layers, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size", "n_embd"}, defaults.hidden, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"n_inner"}, 4 * s.hidden, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads", "n_head"}, defaults.heads, kHeadRange));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, defaults.vocab, kVocabRange));
  STOWAGE_TRY(s.max_positions,
              ReadSize(config, {"max_position_embeddings", "n_positions"}, defaults.positions, kPositionRange));
  STOWAGE_TRY(s.norm_eps, config.NumberOr("layer_norm_epsilon", 1e-5, Range<double>{0, 1}));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.kv_heads = s.heads;
  s.head_dim = s.hidden / s.heads;
  return s;
}

void AddHeaded(ModuleTree& tree, const Headed& c, const std::function<TensorId()>& add_body) {
  tree.Enter("", c.class_name);
  if (c.class_name == c.base_class) {
    add_body();
    return;
  }
  tree.Enter("transformer", c.base_class);
  const TensorId table = add_body();
  tree.Leave();
  tree.Enter("lm_head", "Linear");
  const TensorId head = tree.Param("weight", {c.vocab, c.hidden}, c.dtype);
  if (c.head_bias) tree.Param("bias", {c.vocab}, c.dtype);
  tree.Leave();
  if (c.tied) tree.Tie(table, head);
}

}  // namespace stowage
