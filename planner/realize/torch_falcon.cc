// transformers' modeling_falcon.py (5.23). Its linear layers add their bias apart. A mask is always made. The new
// architecture (40b, 180b) repeats keys and values for the heads of a group before they are cached, so its cache is as
// large as with one key-value head for each head.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "planner/realize/torch_alibi.h"
#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

struct Inputs {
  std::size_t layer;
  const Ref& mask;
  const Rotary& rotary;
};

bool Grouped(const TorchWords& t) { return t.s.cached_heads > 0; }

// FalconLinear: input @ weight.T, then + bias.
Ref FalconLinear(TorchWords& t, std::string_view name, const Ref& x) {
  const ModuleId module = t.Child(name);
  const TensorId bias = t.Own(module, "bias");
  if (bias == kNoId) return t.Linear(name, x);
  ModuleScope self(t, module);
  const Shape& shape = t.WeightShape(module);
  if (shape.back() == 0 || x.spec().elements.base % shape.back() != 0) {
    t.Fail(fmt::format("has a weight of shape {} in '{}', which does not take {} elements", FormatShape(shape), name,
                       x.spec().elements.base));
    return x;
  }
  Weights weight = t.WeightsOf(module);
  Weights added;
  added.tensors.push_back(bias);
  added.bytes = t.model.tensors[bias].bytes();
  weight.bytes -= added.bytes;
  const std::int64_t out = x.spec().elements.base / shape.back() * shape.front();
  Ref hidden_states = t.eager.Op("mm.default", t.Of(out), {&x}, weight,
                                 AffineFlops{2.0 * static_cast<double>(out) * static_cast<double>(shape.back())});
  Ref sum = t.eager.Op("add.Tensor", hidden_states.spec(), {&hidden_states}, added);
  hidden_states.Drop();
  return sum;
}

struct Heads3 {
  Ref query, key, value;
};

// fused_qkv[..., [i]]: an index that comes from the host.
Ref PickHead(TorchWords& t, const Ref& fused_qkv, std::int64_t elements) {
  const Ref heads = fused_qkv.View({elements});
  Ref index = t.eager.Op("_to_copy.default", {{1}, DType::kI64}, {});
  Ref picked = t.eager.Op("index.Tensor", t.Of(elements), {&heads, &index});
  index.Drop();
  return picked;
}

Heads3 SplitHeads(TorchWords& t, const Ref& fused_qkv) {
  const std::int64_t dim = t.s.head_dim;
  Heads3 out;
  out.query = fused_qkv.View({t.Rows() * t.s.heads * dim});
  if (!Grouped(t) && t.s.kv_heads == t.s.heads && t.s.heads > 1) {
    out.key = out.query;
    out.value = out.query;
    return out;
  }
  out.key = PickHead(t, fused_qkv, t.Rows() * t.s.kv_heads * dim);
  out.value = PickHead(t, fused_qkv, t.Rows() * t.s.kv_heads * dim);
  if (!Grouped(t)) return out;
  out.key = out.key.View(out.query.spec().elements);
  out.value = out.value.View(out.query.spec().elements);
  if (t.s.kv_heads == 1 || t.s.kv_heads == t.s.heads) return out;  // flatten() is a view
  Ref query = t.Unary("clone.default", out.query);
  Ref key = t.Unary("clone.default", out.key);
  Ref value = t.Unary("clone.default", out.value);
  out.query = std::move(query);
  out.key = std::move(key);
  out.value = std::move(value);
  return out;
}

Ref Attention(TorchWords& t, const Ref& hidden_states, const Inputs& in) {
  ModuleScope self(t, "self_attention");
  Ref fused_qkv = FalconLinear(t, "query_key_value", hidden_states);
  Heads3 split = SplitHeads(t, fused_qkv);
  if (!t.model.forward.alibi) {
    Ref q_embed = t.Rotate(split.query, in.rotary, t.s.head_dim);
    Ref k_embed = t.Rotate(split.key, in.rotary, t.s.head_dim);
    split.query = std::move(q_embed);
    split.key = std::move(k_embed);
  }
  KeyValues kv = t.Append(in.layer, split.key, split.value);
  split.key = std::move(kv.keys);
  split.value = std::move(kv.values);
  const std::int64_t cached = Grouped(t) ? t.s.heads : t.s.kv_heads;
  Ref attn_output = t.FusedKernel(split.query, split.key, split.value, in.mask, {t.s.heads, cached, t.s.head_dim});
  attn_output = FalconLinear(t, "dense", attn_output);
  fused_qkv.Drop();
  split.query.Drop();
  split.key.Drop();
  split.value.Drop();
  return attn_output;
}

Ref Mlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref hidden = FalconLinear(t, "dense_h_to_4h", x);
  Ref act = t.Activation("act", hidden);
  hidden.Drop();
  return FalconLinear(t, "dense_4h_to_h", act);
}

Ref Layer(TorchWords& t, const Ref& hidden_states, const Inputs& in) {
  const bool parallel = t.model.forward.parallel;
  Ref residual = hidden_states;
  const bool two = Grouped(t) && t.FindChild("ln_attn") != kNoId;
  Ref attention_layernorm_out = t.LayerNorm(two ? "ln_attn" : "input_layernorm", hidden_states);
  Ref mlp_layernorm_out = two ? t.LayerNorm("ln_mlp", hidden_states) : attention_layernorm_out;
  Ref attention_output = Attention(t, attention_layernorm_out, in);
  if (!parallel) {
    Ref sum = t.Add(residual, attention_output);
    residual = std::move(sum);
    mlp_layernorm_out = t.LayerNorm("post_attention_layernorm", residual);
  }
  Ref mlp_output = Mlp(t, mlp_layernorm_out);
  if (parallel) {  // mlp_output += attention_output
    t.eager.Launch("add_.Tensor", {&mlp_output, &attention_output}, {&mlp_output}, {},
                   AffineFlops{static_cast<double>(mlp_output.spec().elements.base)});
  }
  Ref output = t.Add(residual, mlp_output);
  for (Ref* local : {&residual, &attention_layernorm_out, &mlp_layernorm_out, &attention_output, &mlp_output}) {
    local->Drop();
  }
  return output;
}

struct AlibiBias {
  Ref alibi, mask;
};

// build_alibi_tensor of a mask of ones; it is made in bf16 whatever the model's dtype.
AlibiBias MakeAlibi(TorchWords& t) {
  AlibiBias out;
  const Count positions = t.KeyCount() * t.pass.batch;
  out.mask = t.eager.Op("ones.default", {positions, DType::kI64}, {});
  AlibiSlopes made = MakeAlibiSlopes(t);
  Ref sum = t.Unary("cumsum.default", out.mask);
  Ref less = t.Unary("sub.Tensor", sum);
  sum.Drop();
  Ref arange_tensor = t.Mul(less, out.mask);
  less.Drop();
  Ref narrow = t.To(made.slopes, DType::kBF16);
  Ref alibi = t.eager.Op("mul.Tensor", {positions * t.s.heads, DType::kBF16}, {&narrow, &arange_tensor});
  narrow.Drop();
  out.alibi = t.To(alibi, t.dtype);
  for (Ref* local :
       {&made.base, &made.powers, &made.slopes, &made.extra_base, &made.extra_powers, &arange_tensor, &alibi}) {
    local->Drop();
  }
  return out;
}

// The mask as a float table, with the biases in it: one for every head.
Ref MaskedAlibi(TorchWords& t, const Ref& alibi, Ref causal_mask) {
  Ref zero = t.eager.Op("full.default", t.Of(1), {});
  Ref least = t.eager.Op("scalar_tensor.default", t.Of(1), {});
  Ref table =
      t.eager.Op("where.self", {causal_mask.spec().elements * t.pass.batch, t.dtype}, {&causal_mask, &zero, &least});
  least.Drop();
  zero.Drop();
  causal_mask = std::move(table);
  Ref scaled = t.Unary("div.Tensor", alibi);
  Ref hidden = t.eager.Op("lt.Scalar", {causal_mask.spec().elements, DType::kBool}, {&causal_mask});
  Ref masked = t.eager.Op("masked_fill.Scalar", {causal_mask.spec().elements * t.s.heads, t.dtype}, {&scaled, &hidden});
  scaled.Drop();
  hidden.Drop();
  causal_mask.Drop();
  return masked;
}

// FalconModel.forward
Ref Body(TorchWords& t, const Ref& input_ids) {
  Ref inputs_embeds = t.Embedding("word_embeddings", input_ids);
  AlibiBias bias;
  if (t.model.forward.alibi) bias = MakeAlibi(t);
  Ref position_ids = t.PositionIds();
  Ref causal_mask = t.SdpaMask(0, t.KeyCount());
  if (t.model.forward.alibi) causal_mask = MaskedAlibi(t, bias.alibi, std::move(causal_mask));
  Ref hidden_states = inputs_embeds;
  Rotary rotary = t.RotaryEmbedding("rotary_emb", position_ids);
  const std::vector<ModuleId> layers = t.Layers("h");
  Ref outputs;  // a tuple: it holds the last rows beside `hidden_states`
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Ref output;
    {
      ModuleScope layer(t, layers[i], &bias.alibi);
      output = Layer(t, hidden_states, {i, causal_mask, rotary});
    }
    outputs = std::move(output);
    hidden_states = outputs;
  }
  hidden_states = t.LayerNorm("ln_f", hidden_states);
  for (Ref* local :
       {&position_ids, &inputs_embeds, &bias.alibi, &bias.mask, &causal_mask, &rotary.cos, &rotary.sin, &outputs}) {
    local->Drop();
  }
  return hidden_states;
}

}  // namespace

Status ForwardFalcon(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckDecoder(t));
  if (Grouped(t) && !t.model.forward.parallel) {
    return t.Refuse("new_decoder_architecture without parallel_attn: transformers' own class fails on it");
  }
  if (t.model.forward.alibi && t.pass.reserved > 0) {
    return t.Refuse("alibi over a static cache: transformers' own class fails on it");
  }
  const std::int64_t cached = Grouped(t) ? t.s.heads : t.s.kv_heads;
  return RunCausal(t, Body, {.body = "transformer", .embed = "word_embeddings"}, cached * t.s.head_dim);
}

}  // namespace stowage::torch_eager
