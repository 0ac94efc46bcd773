#include "planner/families/decoder.h"

#include <fmt/format.h>

#include <utility>

namespace stowage {
namespace {

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// should_convert_module of transformers: a pattern names the module, one above it, or the end of its path.
bool Skips(const Fp8& fp8, const std::string& path) {
  for (const std::string& pattern : fp8.skip) {
    if (path.starts_with(pattern) || path.ends_with(pattern)) return true;
  }
  return false;
}

void AddRotary(DecoderTree& t) {
  const std::int64_t half = (t.c.rotary_dims + 1) / 2;
  t.tree.Enter("rotary_emb", t.c.prefix + t.c.class_infix + "RotaryEmbedding");
  if (t.c.prefix == "Gemma3") {
    // One table per kind of layer that occurs, in alphabetical order.
    bool full = t.s.windows.empty();
    bool sliding = false;
    for (const std::int64_t w : t.s.windows) (w > 0 ? sliding : full) = true;
    for (const auto& [present, kind] : {std::pair(full, "full"), std::pair(sliding, "sliding")}) {
      if (!present) continue;
      for (const char* table : {"inv_freq", "original_inv_freq"}) {
        t.tree.Buffer(fmt::format("{}_attention_{}", kind, table), {half}, DType::kF32, /*persistent=*/false);
      }
    }
  } else {
    t.tree.Buffer("inv_freq", {half}, DType::kF32, /*persistent=*/false);
    t.tree.Buffer("original_inv_freq", {half}, DType::kF32, /*persistent=*/false);
  }
  t.tree.Leave();
}

TensorId AddBody(DecoderTree& t, const LayerFunction& layer) {
  t.tree.Enter("embed_tokens", t.c.scaled_embedding ? t.c.prefix + "TextScaledWordEmbedding" : "Embedding");
  const TensorId table = t.tree.Param("weight", {t.s.vocab, t.s.hidden}, t.c.dtype);
  if (t.c.scaled_embedding) t.tree.Buffer("embed_scale", {}, t.c.dtype, /*persistent=*/false);
  t.tree.Leave();
  t.tree.Enter("layers", "ModuleList");
  for (std::int64_t i = 0; i < t.s.layers; ++i) {
    t.tree.Enter(std::to_string(i), t.c.prefix + t.c.class_infix + "DecoderLayer");
    layer(t, i);
    t.tree.Leave();
  }
  t.tree.Leave();
  t.Norm("norm", {t.s.hidden});
  AddRotary(t);
  return table;
}

}  // namespace

void DecoderTree::Norm(std::string_view name, Shape shape) {
  tree.Enter(name, c.norm_class);
  tree.Param("weight", shape, c.dtype);
  if (c.norm_bias) tree.Param("bias", shape, c.dtype);
  tree.Leave();
}

void DecoderTree::Linear(std::string_view name, std::int64_t out, std::int64_t in, bool bias) {
  if (!c.fp8 || Skips(*c.fp8, tree.path() + "." + std::string(name))) return tree.Linear(name, out, in, c.dtype, bias);
  tree.Enter(name, "FP8Linear");
  tree.Param("weight", {out, in}, DType::kF8E4M3);
  const TensorId scale =
      tree.Param("weight_scale_inv", {CeilDiv(out, c.fp8->rows), CeilDiv(in, c.fp8->columns)}, c.fp8_scale);
  model_.tensors[scale].weights_per_element = 0;
  if (bias) tree.Param("bias", {out}, c.dtype);
  tree.Leave();
}

void DecoderTree::Projections(bool qkv_bias, bool o_bias) {
  Linear("q_proj", s.heads * s.head_dim, s.hidden, qkv_bias);
  Linear("k_proj", s.kv_heads * s.head_dim, s.hidden, qkv_bias);
  Linear("v_proj", s.kv_heads * s.head_dim, s.hidden, qkv_bias);
  Linear("o_proj", s.hidden, s.heads * s.head_dim, o_bias);
}

void DecoderTree::GatedMlp(std::string_view name, std::string class_name, std::int64_t intermediate,
                           std::string_view activation) {
  tree.Enter(name, std::move(class_name));
  Linear("gate_proj", intermediate, s.hidden, c.mlp_bias);
  Linear("up_proj", intermediate, s.hidden, c.mlp_bias);
  Linear("down_proj", s.hidden, intermediate, c.mlp_bias);
  tree.Leaf(activation, c.activation);
  tree.Leave();
}

void DecoderTree::Experts(const std::string& class_name, std::int64_t count, std::int64_t intermediate) {
  tree.Enter("experts", "ModuleList");
  for (std::int64_t e = 0; e < count; ++e) GatedMlp(std::to_string(e), class_name, intermediate);
  tree.Leave();
}

void DecoderTree::Router(std::string_view name, std::string class_name) {
  tree.Enter(name, std::move(class_name));
  tree.Param("weight", {s.experts, s.hidden}, c.dtype);
  tree.Leave();
}

Status CheckExperts(const TransformerShape& shape, const std::string& where) {
  if (shape.experts * shape.layers <= kMaxExperts) return OkStatus();
  return Error{ErrorCode::kInvalidInput, fmt::format("{}: {} layers of {} experts are beyond {} experts", where,
                                                     shape.layers, shape.experts, kMaxExperts)};
}

void AddDecoder(DecoderTree& t, const LayerFunction& layer) {
  if (!t.c.head) {
    AddBody(t, layer);
    return;
  }
  t.tree.Enter("model", t.c.body);
  const TensorId table = AddBody(t, layer);
  t.tree.Leave();
  t.tree.Enter("lm_head", "Linear");
  const TensorId head = t.tree.Param("weight", {t.s.vocab, t.s.hidden}, t.c.dtype);
  t.tree.Leave();
  if (t.c.tied) {
    t.model().tensors[head].tied_to = table;
    t.model().tied_groups = {{table, head}};
  }
}

Result<Model> BuildDecoder(const DecoderConfig& config, const LayerFunction& layer, std::string name,
                           const std::string& where) {
  STOWAGE_RETURN_IF_ERROR(CheckExperts(config.shape, where));
  Model model;
  model.name = std::move(name);
  model.family = config.family;
  model.class_name = config.head ? config.prefix + "ForCausalLM" : config.body;
  model.shape = config.shape;
  model.rope = config.rope;
  model.forward = config.forward;
  model.attention_bias = config.attention_bias;
  model.mlp_bias = config.mlp_bias;
  model.no_split_classes = {config.prefix + config.class_infix + "DecoderLayer"};
  DecoderTree t(model, config);
  t.tree.Enter("", model.class_name);
  AddDecoder(t, layer);
  return model;
}

}  // namespace stowage
