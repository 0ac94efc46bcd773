// transformers' modeling_gpt_oss.py (5.23). Facts of that text which decide the memory:
//  - Attention is eager: a float mask at every pass, scores of every head and key, beside them one column of sinks.
//  - The scores' softmax is returned as attn_weights; the layer's `_` keeps it until the MLP returns its own second
//    result.
//  - Keys and values are repeated for every query head.
#include <tuple>
#include <utility>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_experts.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

double Float(std::int64_t n) { return static_cast<double>(n); }

Ref GptOssNorm(TorchWords& t, std::string_view name, const Ref& x) { return t.RmsNorm(name, x, /*wide=*/true); }

// cos and sin of half a head: emb is freqs.
Rotary GptOssRotary(TorchWords& t, const Ref& position_ids, bool /*sliding*/) {
  const ModuleId module = t.FindChild("rotary_emb");
  ModuleScope self(t, module);
  Weights inv_freq;
  std::int64_t half = t.s.head_dim / 2;
  if (const TensorId buffer = t.Own(module, "inv_freq"); buffer != kNoId) {
    inv_freq.tensors.push_back(buffer);
    inv_freq.bytes = t.model.tensors[buffer].bytes();
    half = Elements(t.model.tensors[buffer].shape);
  }
  Ref positions = t.To(position_ids, DType::kF32);
  Ref freqs = t.eager.Op("mul.Tensor", {{t.pass.tokens * half}, DType::kF32}, {&positions}, inv_freq);
  positions.Drop();
  const auto scaled = [&](std::string_view op) {
    const Ref raw = t.Unary(op, freqs);
    return t.Unary("mul.Tensor", raw);
  };
  Ref cos = scaled("cos.default");
  Ref sin = scaled("sin.default");
  Rotary out;
  out.cos = t.To(cos, t.dtype);
  out.sin = t.To(sin, t.dtype);
  freqs.Drop();
  cos.Drop();
  sin.Drop();
  return out;
}

// _apply_rotary_emb
Ref RotateHalves(TorchWords& t, const Ref& x, const Rotary& rotary) {
  const Ref half = x.View(x.spec().elements / 2);
  const auto turn = [&](std::string_view op) {
    Ref left = t.Mul(half, rotary.cos);
    Ref right = t.Mul(half, rotary.sin);
    Ref out = t.Binary(op, left, right);
    left.Drop();
    right.Drop();
    return out;
  };
  Ref first = turn("sub.Tensor");
  Ref second = turn("add.Tensor");
  Ref out = t.eager.Op("cat.default", x.spec(), {&first, &second});
  first.Drop();
  second.Drop();
  return out;
}

// repeat_kv, then the reshape of torch.matmul: with one key-value head the first is a view and the second copies it
// for more than one sequence.
struct Repeated {
  Ref states;
  bool copied_by_matmul = false;
};

Repeated Repeat(TorchWords& t, const Ref& states) {
  const std::int64_t groups = t.s.heads / t.s.kv_heads;
  if (groups == 1) return {states};
  if (t.s.kv_heads == 1) return {states, t.pass.batch > 1};
  return {t.eager.Op("clone.default", {states.spec().elements * groups, t.dtype}, {&states})};
}

// torch.matmul(left, states or their transpose).
Ref MatMul(TorchWords& t, const Ref& left, const Repeated& right, Count elements, Count depth) {
  Ref copy;
  const Ref* states = &right.states;
  if (right.copied_by_matmul) {
    copy = t.eager.Op("clone.default", {states->spec().elements * t.s.heads, t.dtype}, {states});
    states = &copy;
  }
  // Of elements or depth, one grows with the cache.
  const AffineFlops flops = {
      2.0 * Float(elements.base) * Float(depth.base),
      2.0 * Float(elements.step) * Float(depth.base) + 2.0 * Float(elements.base) * Float(depth.step)};
  return t.eager.Op("bmm.default", {elements, t.dtype}, {&left, states}, {}, flops);
}

// eager_attention_forward. `weights` is what it returns beside the output.
Ref EagerAttention(TorchWords& t, const Ref& query, const KeyValues& kv, const Ref& mask, Ref& weights) {
  const TensorId sinks = t.Own(t.eager.Current(), "sinks");
  const std::int64_t rows = t.Rows() * t.s.heads;
  Repeated key = Repeat(t, kv.keys);
  Repeated value = Repeat(t, kv.values);
  const Count keys = kv.keys.spec().elements / (t.pass.batch * t.s.kv_heads * t.s.head_dim);
  Ref scores;
  {
    const Ref product = MatMul(t, query, key, keys * rows, {t.s.head_dim});
    scores = t.Unary("mul.Tensor", product);
  }
  {
    Ref masked = t.Add(scores, mask);
    scores = std::move(masked);
  }
  Weights sink_weight;
  if (sinks == kNoId) {
    t.Fail("has no weight 'sinks' in its attention");
  } else {
    sink_weight.tensors.push_back(sinks);
    sink_weight.bytes = t.model.tensors[sinks].bytes();
  }
  const Spec wide = {(keys + Count{1}) * rows, t.dtype};
  Ref combined = t.eager.Op("cat.default", wide, {&scores}, sink_weight);
  {
    Ref largest = t.eager.Empty("max.dim", t.Of(rows));
    Ref where = t.eager.Empty("max.dim", {{rows}, DType::kI64});
    t.eager.Launch("max.dim", {&combined}, {&largest, &where}, {},
                   {Float(wide.elements.base), Float(wide.elements.step)});
    where.Drop();
    Ref shifted = t.Binary("sub.Tensor", combined, largest);
    largest.Drop();
    combined = std::move(shifted);
  }
  weights = t.Unary("_softmax.default", combined);
  scores.Drop();
  Ref out = MatMul(t, weights.View(keys * rows), value, {rows * t.s.head_dim}, keys);
  if (t.pass.tokens > 1 && t.s.heads > 1) {  // transpose(1, 2).contiguous()
    Ref contiguous = t.Unary("clone.default", out);
    out = std::move(contiguous);
  }
  key.states.Drop();
  value.states.Drop();
  combined.Drop();
  return out;
}

Ref Attention(TorchWords& t, const Ref& hidden_states, const LayerInput& in, Ref& weights) {
  ModuleScope self(t, "self_attn");
  Ref query = t.Linear("q_proj", hidden_states);
  Ref key = t.Linear("k_proj", hidden_states);
  Ref value = t.Linear("v_proj", hidden_states);
  {
    Ref q_embed = RotateHalves(t, query, in.rotary);
    Ref k_embed = RotateHalves(t, key, in.rotary);
    query = std::move(q_embed);
    key = std::move(k_embed);
  }
  KeyValues kv = t.Append(in.index, key, value);
  key = kv.keys;
  value = kv.values;
  kv = {};
  Ref attn_output = EagerAttention(t, query, {key, value, {}}, in.mask, weights);
  attn_output = t.Linear("o_proj", attn_output);
  query.Drop();
  key.Drop();
  value.Drop();
  return attn_output;
}

Routing Route(TorchWords& t, const Ref& hidden_states) {
  ModuleScope self(t, "router");
  const ModuleId module = t.eager.Current();
  const std::int64_t experts = t.WeightShape(module).front();
  const AffineFlops flops = {2.0 * Float(t.Rows()) * Float(experts) * Float(t.WeightShape(module).back())};
  Routing out;
  out.logits = t.eager.Op("addmm.default", t.Of(t.Rows() * experts), {&hidden_states}, t.WeightsOf(module), flops);
  Ref top;
  std::tie(top, out.indices) = TopK(t, out.logits, t.Rows() * t.s.experts_per_token);
  out.weights = t.Unary("_softmax.default", top);
  return out;
}

// `scores` is what the MLP returns beside its output.
Ref Mlp(TorchWords& t, const Ref& x, Ref& scores) {
  ModuleScope self(t, "mlp");
  Routing routing = Route(t, x);
  Ref out = RunExperts(t, "experts", x, routing, ExpertsText::kGptOss);
  routing.logits.Drop();
  scores = std::move(routing.weights);
  routing.indices.Drop();
  return out;
}

Ref Layer(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref ignored;  // Python's _
  Ref hidden_states = GptOssNorm(t, "input_layernorm", x);
  hidden_states = Attention(t, hidden_states, in, ignored);
  Ref sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual = hidden_states;
  hidden_states = GptOssNorm(t, "post_attention_layernorm", hidden_states);
  Ref scores;
  hidden_states = Mlp(t, hidden_states, scores);
  ignored = std::move(scores);
  sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual.Drop();
  ignored.Drop();
  return hidden_states;
}

}  // namespace

Status ForwardGptOss(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckRouter(t));
  return ForwardDecoder(t, {.layer = Layer,
                            .masks = MaskText::kByTypeAlone,
                            .norm = GptOssNorm,
                            .rotary = GptOssRotary,
                            .own_frequencies = true,
                            .eager = true});
}

}  // namespace stowage::torch_eager
