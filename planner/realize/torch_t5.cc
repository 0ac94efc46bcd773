// transformers' modeling_t5.py and modeling_umt5.py (5.23): the encoders (T5EncoderModel and its kin). Facts of that text
// which decide the memory:
//  - Attention gets its position bias as a mask of every head and pair of positions, copied to a contiguous table in
//    each layer. T5 and mT5 compute the bias once and hold on to it; UMT5 computes one per layer.
//  - In fp16 each half of a block is clamped.
#include <utility>

#include "planner/realize/torch_encoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

// T5LayerNorm. Unlike Llama's, the rows themselves are widened by the product with an fp32 column, not before it.
Ref Norm(TorchWords& t, std::string_view name, const Ref& x) {
  const ModuleId module = t.Child(name);
  ModuleScope self(t, module);
  const std::int64_t width = Elements(t.WeightShape(module));
  if (width == 0) return x;
  Ref wide = t.To(x, DType::kF32);
  Ref squares = t.Unary("pow.Tensor_Scalar", wide);
  wide.Drop();
  Ref variance = t.eager.Op("mean.dim", {x.spec().elements / width, DType::kF32}, {&squares});
  squares.Drop();
  Ref sum = t.Unary("add.Tensor", variance);
  Ref scale = t.Unary("rsqrt.default", sum);
  sum.Drop();
  Ref hidden_states = t.eager.Op("mul.Tensor", {x.spec().elements, DType::kF32}, {&x, &scale});
  scale.Drop();
  hidden_states = t.To(hidden_states, t.dtype);
  Ref out = t.eager.Op("mul.Tensor", hidden_states.spec(), {&hidden_states}, t.WeightsOf(module));
  hidden_states.Drop();
  variance.Drop();
  return out;
}

// 32 buckets or so: a row of the bias table for each pair of positions.
class Buckets {
 public:
  Buckets(TorchWords& t, bool umt5) : t_(t), umt5_(umt5), pairs_{t.pass.tokens * t.pass.tokens} {}

  // UMT5 names the logarithm; T5 keeps it a temporary.
  Ref Of(const Ref& relative_position) {
    Ref positive = t_.eager.Op("gt.Scalar", {pairs_, DType::kBool}, {&relative_position});
    Ref chain = t_.To(positive, DType::kI64);
    positive.Drop();
    Next("mul.Tensor", chain);
    Next("add.Tensor", chain);
    Ref relative_buckets = std::move(chain);
    Ref distance = t_.Unary("abs.default", relative_position);
    Ref is_small = t_.eager.Op("lt.Scalar", {pairs_, DType::kBool}, {&distance});
    chain = t_.To(distance, DType::kF32);
    for (const std::string_view op : {"div.Tensor", "log.default", "div.Tensor", "mul.Tensor"}) Next(op, chain);
    Ref log_ratio = umt5_ ? chain : Ref();
    Ref narrow = t_.To(chain, DType::kI64);
    chain = std::move(narrow);
    Next("add.Tensor", chain);
    Ref if_large = std::move(chain);
    Ref limit = t_.Unary("full_like.default", if_large);
    Ref least = t_.Binary("minimum.default", if_large, limit);
    limit.Drop();
    if_large = std::move(least);
    {
      const Ref chosen = t_.eager.Op("where.self", {pairs_, DType::kI64}, {&is_small, &distance, &if_large});
      t_.eager.Launch("add_.Tensor", {&relative_buckets, &chosen}, {&relative_buckets}, {}, {});
    }
    distance.Drop();
    is_small.Drop();
    log_ratio.Drop();
    if_large.Drop();
    return relative_buckets;
  }

 private:
  void Next(std::string_view op, Ref& x) {
    Ref next = t_.Unary(op, x);
    x = std::move(next);
  }

  TorchWords& t_;
  const bool umt5_;
  const Count pairs_;
};

// compute_bias: [1, heads, tokens, tokens], a permuted view of the table's rows.
Ref ComputeBias(TorchWords& t, bool umt5) {
  const Spec row = {{t.pass.tokens}, DType::kI64};
  Ref range = t.eager.Op("arange.default", row, {});
  Ref context_position = t.Unary("add.Tensor", range);
  range.Drop();
  Ref memory_position = t.eager.Op("arange.default", row, {});
  const Spec pairs = {{t.pass.tokens * t.pass.tokens}, DType::kI64};
  Ref relative_position = t.eager.Op("sub.Tensor", pairs, {&memory_position, &context_position});
  Ref buckets = Buckets(t, umt5).Of(relative_position);
  Ref values = t.Embedding("relative_attention_bias", buckets);
  for (Ref* local : {&context_position, &memory_position, &relative_position, &buckets}) local->Drop();
  return values;
}

// `bias` is computed where it is empty; T5 hands it on.
Ref Attention(TorchWords& t, const Ref& hidden_states, Ref& bias, bool umt5) {
  ModuleScope self(t, "SelfAttention");
  Ref query = t.Linear("q", hidden_states);
  Ref key = t.Linear("k", hidden_states);
  Ref value = t.Linear("v", hidden_states);
  if (t.FindChild("relative_attention_bias") != kNoId) bias = ComputeBias(t, umt5);
  Ref attn_output;
  {
    // create_position_bias_mask(...).contiguous()
    const bool contiguous = t.s.heads == 1 || t.pass.tokens == 1;
    const Ref mask = contiguous ? bias : t.Unary("clone.default", bias);
    attn_output = FusedAttention(t, query, key, value, mask, {t.s.heads, t.pass.tokens, {t.pass.tokens}});
  }
  Ref projected = t.Linear("o", attn_output);
  attn_output = std::move(projected);
  query.Drop();
  key.Drop();
  value.Drop();
  if (umt5) bias.Drop();
  return attn_output;
}

Ref SelfAttention(TorchWords& t, const Ref& hidden_states, Ref& bias, bool umt5) {
  Ref normed_hidden_states = Norm(t, "layer_norm", hidden_states);
  Ref attention_output = Attention(t, normed_hidden_states, bias, umt5);
  attention_output = t.Identity("dropout", attention_output);
  Ref sum = t.Add(hidden_states, attention_output);
  if (umt5) {  // attention_output is a tuple there, which goes with the locals
    normed_hidden_states.Drop();
    attention_output.Drop();
    return sum;
  }
  attention_output = std::move(sum);
  normed_hidden_states.Drop();
  return attention_output;
}

Ref GatedActDense(TorchWords& t, const Ref& x) {
  Ref hidden_gelu;
  {
    Ref gate = t.Linear("wi_0", x);
    hidden_gelu = t.Activation("act", gate);
  }
  Ref hidden_linear = t.Linear("wi_1", x);
  Ref hidden_states = t.Mul(hidden_gelu, hidden_linear);
  hidden_states = t.Identity("dropout", hidden_states);
  Ref out = t.Linear("wo", hidden_states);
  hidden_states = std::move(out);
  hidden_gelu.Drop();
  hidden_linear.Drop();
  return hidden_states;
}

Ref ActDense(TorchWords& t, const Ref& x) {
  Ref hidden_states = t.Linear("wi", x);
  Ref next = t.Activation("act", hidden_states);
  hidden_states = std::move(next);
  hidden_states = t.Identity("dropout", hidden_states);
  next = t.Linear("wo", hidden_states);
  hidden_states = std::move(next);
  return hidden_states;
}

Ref FeedForward(TorchWords& t, const Ref& hidden_states) {
  Ref forwarded_states = Norm(t, "layer_norm", hidden_states);
  {
    Ref dense;
    {
      ModuleScope self(t, "DenseReluDense");
      dense = t.FindChild("wi_0") != kNoId ? GatedActDense(t, forwarded_states) : ActDense(t, forwarded_states);
    }
    forwarded_states = std::move(dense);
  }
  forwarded_states = t.Identity("dropout", forwarded_states);
  Ref out = t.Add(hidden_states, forwarded_states);
  forwarded_states.Drop();
  return out;
}

// if hidden_states.dtype == torch.float16: hidden_states = torch.clamp(hidden_states, -clamp_value, clamp_value)
void Clamp(TorchWords& t, Ref& hidden_states, Ref& clamp_value) {
  if (t.dtype != DType::kF16) return;
  const Spec scalar = {{1}, DType::kF32};
  Ref infinite = t.eager.Op("isinf.default", {hidden_states.spec().elements, DType::kBool}, {&hidden_states});
  Ref any = t.eager.Op("any.default", {{1}, DType::kBool}, {&infinite});
  infinite.Drop();
  Ref less = t.eager.Op("scalar_tensor.default", scalar, {});
  Ref most = t.eager.Op("scalar_tensor.default", scalar, {});
  Ref value = t.eager.Op("where.self", scalar, {&any, &less, &most});
  less.Drop();
  most.Drop();
  any.Drop();
  clamp_value = std::move(value);
  Ref least = t.Unary("neg.default", clamp_value);
  Ref clamped = t.eager.Op("clamp.Tensor", hidden_states.spec(), {&hidden_states, &least, &clamp_value});
  least.Drop();
  hidden_states = std::move(clamped);
}

Ref Block(TorchWords& t, const Ref& x, Ref& bias, bool umt5) {
  const std::vector<ModuleId> halves = Members(t, "layer");
  if (halves.size() != 2) {
    t.Fail("has a block of another number of parts than two");
    return x;
  }
  Ref hidden_states, clamp_value;
  {
    ModuleScope attention(t, halves[0]);
    hidden_states = SelfAttention(t, x, bias, umt5);
  }
  Clamp(t, hidden_states, clamp_value);
  Ref out;
  {
    ModuleScope feed_forward(t, halves[1]);
    out = FeedForward(t, hidden_states);
  }
  hidden_states = std::move(out);
  Clamp(t, hidden_states, clamp_value);
  clamp_value.Drop();
  return hidden_states;
}

Ref Stack(TorchWords& t, const Ref& input_ids, bool umt5) {
  ModuleScope self(t, "encoder");
  Ref inputs_embeds = t.Embedding("embed_tokens", input_ids);
  Ref hidden_states = t.Identity("dropout", inputs_embeds);
  Ref position_bias;
  for (const ModuleId module : Members(t, "block")) {
    Ref layer_output;
    {
      ModuleScope block(t, module);
      layer_output = Block(t, hidden_states, position_bias, umt5);
    }
    hidden_states = std::move(layer_output);
  }
  Ref normed = Norm(t, "final_layer_norm", hidden_states);
  hidden_states = std::move(normed);
  hidden_states = t.Identity("dropout", hidden_states);
  inputs_embeds.Drop();
  position_bias.Drop();
  return hidden_states;
}

}  // namespace

Status ForwardT5(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckIsPrefill(t));
  Ref input_ids = t.TokenIds();
  Ref out;
  {
    ModuleScope root(t, 0);
    out = Stack(t, input_ids, t.model.family == "umt5");
  }
  input_ids.Drop();
  t.KeepOutput(std::move(out));
  return OkStatus();
}

}  // namespace stowage::torch_eager
