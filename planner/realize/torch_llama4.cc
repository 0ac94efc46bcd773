// transformers' modeling_llama4.py (5.23), the text model; an image is never given. Facts of that text which decide the
// memory:
//  - A sparse layer runs every expert on every row: the rows are repeated once per expert, scaled by router scores of
//    which most are zero. That is exact, whatever the routing.
//  - Queries and keys rotate in fp32, as complex numbers. Layers without rope scale their queries instead.
//  - Layers with rope see chunks. A mask is only made when a chunk ends within the pass or its cache.
#include <fmt/format.h>

#include <utility>

#include "planner/realize/torch_complex_rope.h"
#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_experts.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

double Float(std::int64_t n) { return static_cast<double>(n); }

// x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps), for rows of `width`, narrowed.
Ref Norm(TorchWords& t, const Ref& x, std::int64_t width) {
  Ref wide = t.To(x, DType::kF32);
  Ref squares = t.Unary("pow.Tensor_Scalar", wide);
  Ref a = t.eager.Op("mean.dim", {x.spec().elements / width, DType::kF32}, {&squares});
  squares.Drop();
  Ref b = t.Unary("add.Tensor", a);
  a = std::move(b);
  b = t.Unary("rsqrt.default", a);
  a = std::move(b);
  Ref out = t.Mul(wide, a);
  a.Drop();
  wide.Drop();
  return t.To(out, t.dtype);
}

Ref RmsNorm4(TorchWords& t, std::string_view name, const Ref& x) {
  const ModuleId module = t.Child(name);
  ModuleScope self(t, module);
  const std::int64_t width = Elements(t.WeightShape(module));
  if (width == 0) return x;
  Ref output = Norm(t, x, width);
  return t.eager.Op("mul.Tensor", output.spec(), {&output}, t.WeightsOf(module));
}

Ref QkNorm(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "qk_norm");
  return Norm(t, x, t.s.head_dim);
}

// torch.log1p(torch.floor((positions.float() + 1.0) / floor_scale)) * attn_scale + 1.0
Ref AttentionScales(TorchWords& t, const Ref& positions) {
  Ref a = t.To(positions, DType::kF32);
  for (const std::string_view op :
       {"add.Tensor", "div.Tensor", "floor.default", "log1p.default", "mul.Tensor", "add.Tensor"}) {
    Ref b = t.Unary(op, a);
    a = std::move(b);
  }
  return a;
}

Ref Attention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "self_attn");
  Ref query = t.Linear("q_proj", hidden_states);
  Ref key = t.Linear("k_proj", hidden_states);
  Ref value = t.Linear("v_proj", hidden_states);
  const bool rotates = t.model.forward.rotates.empty() || t.model.forward.rotates[in.index];
  if (rotates) {
    auto [q, k] = RotateComplex(t, query, key, in.rotary.cos, ComplexText::kTogether);
    query = std::move(q);
    key = std::move(k);
  }
  if (t.FindChild("qk_norm") != kNoId) {
    query = QkNorm(t, query);
    key = QkNorm(t, key);
  }
  Ref positions, scales;
  if (t.model.forward.tempers && !rotates) {
    positions = t.PositionIds();
    scales = AttentionScales(t, positions);
    Ref wide = t.eager.Op("mul.Tensor", {query.spec().elements, DType::kF32}, {&query, &scales});
    Ref narrow = t.To(wide, t.dtype);
    wide.Drop();
    query = std::move(narrow);
  }
  KeyValues kv = t.Append(in.index, key, value);
  key = kv.keys;
  value = kv.values;
  Ref attn_output = t.SdpaAttention(query, {key, value, {}}, in.mask, t.heads());
  kv = {};
  attn_output = t.Linear("o_proj", attn_output);
  for (Ref* local : {&query, &key, &value, &positions, &scales}) local->Drop();
  return attn_output;
}

// Returns the scores, and the logits in `logits`.
Ref Route(TorchWords& t, const Ref& hidden_states, Ref& logits) {
  ModuleScope self(t, "router");
  const ModuleId module = t.eager.Current();
  const std::int64_t experts = t.WeightShape(module).front();
  const AffineFlops flops = {2.0 * Float(t.Rows()) * Float(experts) * Float(t.WeightShape(module).back())};
  logits = t.eager.Op("mm.default", t.Of(t.Rows() * experts), {&hidden_states}, t.WeightsOf(module), flops);
  auto [values, indices] = TopK(t, logits, t.Rows() * t.s.experts_per_token);
  Ref scores = t.Unary("full_like.default", logits);
  t.eager.Launch("scatter_.src", {&indices, &values}, {&scores}, {}, {});
  Ref wide = t.To(scores, DType::kF32);
  Ref sigmoid = t.Unary("sigmoid.default", wide);
  wide.Drop();
  Ref narrow = t.To(sigmoid, t.dtype);
  sigmoid.Drop();
  scores = std::move(narrow);
  values.Drop();
  indices.Drop();
  return scores;
}

// torch.bmm over all experts.
Ref Multiply(TorchWords& t, std::string_view name, const Ref& x) {
  const TensorId id = t.Own(t.eager.Current(), name);
  if (id == kNoId || t.model.tensors[id].shape.size() != 3) {
    t.Fail(fmt::format("has no stacked weight '{}'", name));
    return x;
  }
  const Shape& shape = t.model.tensors[id].shape;  // [E, in, out]
  Weights weights;
  weights.tensors.push_back(id);
  weights.bytes = t.model.tensors[id].bytes();
  const std::int64_t out = x.spec().elements.base / shape[1] * shape[2];
  return t.eager.Op("bmm.default", t.Of(out), {&x}, weights, AffineFlops{2.0 * Float(out) * Float(shape[1])});
}

Ref Experts(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "experts");
  Ref gate_up = Multiply(t, "gate_up_proj", x);
  const Ref gate = gate_up.View(gate_up.spec().elements / 2);
  Ref act = t.Activation("act_fn", gate);
  Ref product = t.Mul(gate, act);  // up * act
  act.Drop();
  Ref next_states = Multiply(t, "down_proj", product);
  product.Drop();
  return next_states;
}

Ref Moe(TorchWords& t, const Ref& hidden_states, Ref& logits) {
  ModuleScope self(t, "feed_forward");
  Ref scores = Route(t, hidden_states, logits);
  const std::int64_t experts = t.s.experts;
  Ref routed_in = t.eager.Op("repeat.default", {hidden_states.spec().elements * experts, t.dtype}, {&hidden_states});
  // transpose(0, 1).reshape(-1, 1) copies unless one of the two dimensions is 1
  Ref column = t.Rows() == 1 || experts == 1 ? scores : t.Unary("clone.default", scores);
  Ref scaled = t.Mul(routed_in, column);
  column.Drop();
  routed_in = std::move(scaled);
  Ref routed_out = Experts(t, routed_in);
  Ref out = GatedMlp(t, hidden_states, "shared_expert", "activation_fn");
  {
    const AffineFlops adds = {Float(routed_out.spec().elements.base)};
    const Ref sum = t.eager.Op("sum.dim_IntList", hidden_states.spec(), {&routed_out}, {}, adds);
    t.eager.Launch("add_.Tensor", {&out, &sum}, {&out}, {}, {Float(out.spec().elements.base)});
  }
  scores.Drop();
  routed_in.Drop();
  routed_out.Drop();
  return out;
}

Ref Layer(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref hidden_states = RmsNorm4(t, "input_layernorm", x);
  Ref attention_states = Attention(t, hidden_states, in);
  Ref sum = t.Add(residual, attention_states);
  hidden_states = std::move(sum);
  residual = hidden_states;
  hidden_states = RmsNorm4(t, "post_attention_layernorm", hidden_states);
  Ref logits;
  hidden_states = IsSparse(t, "feed_forward") ? Moe(t, hidden_states, logits)
                                              : GatedMlp(t, hidden_states, "feed_forward", "activation_fn");
  sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual.Drop();
  attention_states.Drop();
  logits.Drop();
  return hidden_states;
}

// create_chunked_causal_mask: the table of left padding, and a mask of its own for every sequence where a chunk ends.
Ref ChunkedMask(TorchWords& t) {
  Ref left_padding = t.eager.Op("zeros.default", {{t.pass.batch}, DType::kI64}, {});
  if (!t.NeedsSlidingMask()) return {};
  std::size_t layer = 0;
  while (t.Window(layer) == 0) ++layer;
  const Count keys = t.CachedPositions(layer);
  const auto arange = [&](Count n) { return t.eager.Op("arange.default", {n, DType::kI64}, {}); };
  const auto shifted = [&](Count n) {
    const Ref range = arange(n);
    return t.Unary("add.Tensor", range);
  };
  Ref batch_arange = arange({t.pass.batch});
  Ref head_arange = arange({1});
  Ref q_arange = shifted({t.pass.tokens});
  Ref kv_arange = shifted(keys);
  // (idx - left_padding[batch_idx]) // chunk_size
  const auto chunk_of = [&](const Ref& idx) {
    Ref padding = t.eager.Op("index.Tensor", {{t.pass.batch}, DType::kI64}, {&left_padding, &batch_arange});
    Ref place = t.eager.Op("sub.Tensor", {idx.spec().elements * t.pass.batch, DType::kI64}, {&idx, &padding});
    padding.Drop();
    return t.Unary("floor_divide.default", place);
  };
  const Spec table = {keys * t.Rows(), DType::kBool};
  Ref result = t.eager.Op("new_ones.default", {{1}, DType::kBool}, {});
  Ref kv_chunk = chunk_of(kv_arange);
  Ref q_chunk = chunk_of(q_arange);
  Ref same = t.eager.Op("eq.Tensor", table, {&kv_chunk, &q_chunk});
  kv_chunk.Drop();
  q_chunk.Drop();
  Ref both = t.eager.Op("bitwise_and.Tensor", table, {&result, &same});
  same.Drop();
  result = std::move(both);
  Ref causal = t.eager.Op("le.Tensor", {keys * t.pass.tokens, DType::kBool}, {&kv_arange, &q_arange});
  both = t.eager.Op("bitwise_and.Tensor", table, {&result, &causal});
  causal.Drop();
  result = std::move(both);
  for (Ref* local : {&batch_arange, &head_arange, &q_arange, &kv_arange, &left_padding}) local->Drop();
  return result;
}

constexpr DecoderText kText = {.layer = Layer,
                               .masks = MaskText::kByType,
                               .norm = RmsNorm4,
                               .rotary = ComplexRotaryEmbedding,
                               .own_frequencies = true,
                               .sliding_mask = ChunkedMask};

// Llama4ForConditionalGeneration.forward embeds the ids itself.
void ForwardConditional(TorchWords& t) {
  AdoptDecoderCache(t);
  Ref input_ids = t.TokenIds();
  Ref out;
  {
    ModuleScope root(t, 0);
    Ref inputs_embeds;
    {
      ModuleScope embed_tokens(t, t.model.FindModule("language_model.model.embed_tokens"));
      inputs_embeds =
          t.eager.Op("embedding.default", t.Of(t.Rows() * t.s.hidden), {&input_ids}, t.WeightsOf(t.eager.Current()));
    }
    {
      ModuleScope language_model(t, "language_model");
      Ref hidden_states;
      {
        ModuleScope model(t, "model");
        hidden_states = DecoderBody(t, kText, input_ids, &inputs_embeds);
      }
      out = t.Linear("lm_head", hidden_states);
      hidden_states.Drop();
    }
    inputs_embeds.Drop();
  }
  input_ids.Drop();
  t.KeepOutput(std::move(out));
  t.KeepCache();
}

}  // namespace

Status ForwardLlama4(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckRouter(t));
  STOWAGE_RETURN_IF_ERROR(CheckDecoder(t, kText.own_frequencies));
  if (t.s.windows.empty()) return t.Refuse("no layer sees chunks, whose mask the class makes all the same");
  if (t.model.class_name != "Llama4ForConditionalGeneration") return ForwardDecoder(t, kText);
  ForwardConditional(t);
  return OkStatus();
}

}  // namespace stowage::torch_eager
