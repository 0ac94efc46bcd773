#include "planner/families/llama.h"

#include <utility>

#include "planner/families/module_tree.h"

namespace stowage {
namespace {

void AddNorm(ModuleTree& tree, std::string_view name, const LlamaConfig& c) {
  tree.Enter(name, "LlamaRMSNorm");
  tree.Param("weight", {c.shape.hidden}, c.dtype);
  tree.Leave();
}

void AddLayer(ModuleTree& tree, std::int64_t index, const LlamaConfig& c) {
  const TransformerShape& s = c.shape;
  tree.Enter(std::to_string(index), "LlamaDecoderLayer");
  tree.Enter("self_attn", "LlamaAttention");
  tree.Linear("q_proj", s.heads * s.head_dim, s.hidden, c.dtype, c.attention_bias);
  tree.Linear("k_proj", s.kv_heads * s.head_dim, s.hidden, c.dtype, c.attention_bias);
  tree.Linear("v_proj", s.kv_heads * s.head_dim, s.hidden, c.dtype, c.attention_bias);
  tree.Linear("o_proj", s.hidden, s.heads * s.head_dim, c.dtype, c.attention_bias);
  tree.Leave();
  tree.Enter("mlp", "LlamaMLP");
  tree.Linear("gate_proj", s.intermediate, s.hidden, c.dtype, c.mlp_bias);
  tree.Linear("up_proj", s.intermediate, s.hidden, c.dtype, c.mlp_bias);
  tree.Linear("down_proj", s.hidden, s.intermediate, c.dtype, c.mlp_bias);
  tree.Leaf("act_fn", "SiLUActivation");
  tree.Leave();
  AddNorm(tree, "input_layernorm", c);
  AddNorm(tree, "post_attention_layernorm", c);
  tree.Leave();
}

// The content of LlamaModel; returns the embedding table.
TensorId AddBody(ModuleTree& tree, const LlamaConfig& c) {
  tree.Enter("embed_tokens", "Embedding");
  const TensorId table = tree.Param("weight", {c.shape.vocab, c.shape.hidden}, c.dtype);
  tree.Leave();
  tree.Enter("layers", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddLayer(tree, i, c);
  tree.Leave();
  AddNorm(tree, "norm", c);
  tree.Enter("rotary_emb", "LlamaRotaryEmbedding");
  tree.Buffer("inv_freq", {c.shape.head_dim / 2}, DType::kF32, /*persistent=*/false);
  tree.Buffer("original_inv_freq", {c.shape.head_dim / 2}, DType::kF32, /*persistent=*/false);
  tree.Leave();
  return table;
}

}  // namespace

Model BuildLlama(const LlamaConfig& config, std::string name) {
  Model model;
  model.name = std::move(name);
  model.family = "llama";
  model.class_name = config.head ? "LlamaForCausalLM" : "LlamaModel";
  model.shape = config.shape;
  model.rope = config.rope;
  model.attention_bias = config.attention_bias;
  model.mlp_bias = config.mlp_bias;
  model.no_split_classes = {"LlamaDecoderLayer"};

  ModuleTree tree(model);
  tree.Enter("", model.class_name);
  if (config.head) {
    tree.Enter("model", "LlamaModel");
    const TensorId table = AddBody(tree, config);
    tree.Leave();
    tree.Enter("lm_head", "Linear");
    const TensorId head = tree.Param("weight", {config.shape.vocab, config.shape.hidden}, config.dtype);
    tree.Leave();
    if (config.tie_word_embeddings) {
      model.tensors[head].tied_to = table;
      model.tied_groups = {{table, head}};
    }
  } else {
    AddBody(tree, config);
  }
  return model;
}

}  // namespace stowage
