// transformers' modeling_gptj.py (5.23): eager attention in fp32; each layer copies its whole table of positions before it
// picks the rows it needs; neighbours rotate, keys before queries; a block returns its attention's weights, which the
// model holds until the next block is done.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

struct Attended {
  Ref output, weights;
};

struct Inputs {
  std::size_t layer;
  const Ref& mask;
  const Ref& position_ids;
};

// sin and cos of the positions: views of one gathered table.
struct SinCos {
  Ref embed_positions, repeated_position_ids, sincos;
};

SinCos Angles(TorchWords& t, const Ref& position_ids) {
  const ModuleId self = t.eager.Current();
  const TensorId buffer = t.Own(self, "embed_positions");
  SinCos out;
  if (buffer == kNoId) {
    t.Fail(fmt::format("has no buffer '{}.embed_positions'", self == kNoId ? "" : t.model.modules[self].name));
    return out;
  }
  const Tensor& table = t.model.tensors[buffer];
  Weights positions;  // a buffer: it stays on the device under every offload
  positions.tensors.push_back(buffer);
  positions.bytes = table.bytes();
  out.embed_positions = t.eager.Op("repeat.default", {{Elements(table.shape)}, table.dtype}, {}, positions);
  const std::int64_t elements = t.pass.tokens * table.shape.back();
  out.repeated_position_ids = t.eager.Op("repeat.default", {{elements}, DType::kI64}, {&position_ids});
  Ref rows = t.eager.Op("gather.default", {{elements}, table.dtype}, {&out.repeated_position_ids});
  out.sincos = t.To(rows, t.dtype);
  rows.Drop();
  return out;
}

// apply_rotary_pos_emb of rows of `width`
Ref Turn(TorchWords& t, const Ref& x, const Ref& sincos, std::int64_t width) {
  const Spec repeated = t.Of(t.pass.tokens * width);
  Ref sin = t.eager.Op("clone.default", repeated, {&sincos});
  Ref cos = t.eager.Op("clone.default", repeated, {&sincos});
  Ref left = t.Mul(x, cos);
  const Ref odd = x.View(x.spec().elements / width * (width / 2));
  Ref negative = t.Unary("neg.default", odd);
  Ref turned = t.eager.Op("stack.default", x.spec(), {&negative, &odd});
  negative.Drop();
  Ref right = t.Mul(turned, sin);
  turned.Drop();
  Ref out = t.Add(left, right);
  left.Drop();
  right.Drop();
  sin.Drop();
  cos.Drop();
  return out;
}

// matmul() folds batch and heads, which copies what lies token by token.
Ref Folded(TorchWords& t, const Ref& x, bool by_token) {
  return by_token && t.pass.batch > 1 && t.pass.tokens > 1 && t.s.heads > 1 ? t.Unary("clone.default", x) : x;
}

// GPTJAttention._attn
Attended Attend(TorchWords& t, const Ref& query_states, const KeyValues& kv, const Ref& mask) {
  Ref query = t.To(query_states, DType::kF32);
  Ref key = t.To(kv.keys, DType::kF32);
  const std::int64_t width = t.s.heads * t.s.head_dim;
  const Spec scores = {kv.keys.spec().elements / width * (t.pass.tokens * t.s.heads), DType::kF32};
  const double dim = 2.0 * static_cast<double>(t.s.head_dim);
  const AffineFlops flops = {dim * static_cast<double>(scores.elements.base),
                             dim * static_cast<double>(scores.elements.step)};
  const bool by_token = !t.pass.keeps_cache;  // a cache lies head by head
  Ref folded_query = Folded(t, query, true);
  Ref folded_key = Folded(t, key, by_token);
  Ref weights = t.eager.Op("bmm.default", scores, {&folded_query, &folded_key}, {}, flops);
  folded_query.Drop();
  folded_key.Drop();
  Ref next = t.Unary("div.Tensor", weights);
  weights = std::move(next);
  next = t.Add(weights, mask);
  weights = std::move(next);
  next = t.Softmax(weights);
  weights = std::move(next);
  next = t.To(weights, t.dtype);
  weights = std::move(next);
  Attended out;
  out.weights = t.Identity("attn_dropout", weights);
  weights.Drop();
  Ref folded_value = Folded(t, kv.values, by_token);
  out.output = t.eager.Op("bmm.default", query_states.spec(), {&out.weights, &folded_value}, {}, flops);
  folded_value.Drop();
  query.Drop();
  key.Drop();
  return out;
}

Attended Attention(TorchWords& t, const Ref& hidden_states, const Inputs& in) {
  ModuleScope self(t, "attn");
  Ref query = t.Linear("q_proj", hidden_states);
  Ref key = t.Linear("k_proj", hidden_states);
  Ref value = t.Linear("v_proj", hidden_states);
  SinCos angles = Angles(t, in.position_ids);
  const std::int64_t dim = t.s.head_dim;
  const std::int64_t rotary_dim = angles.sincos.spec().elements.base / t.pass.tokens;
  Ref k_pass = key;
  Ref q_pass = query;
  Ref k_rot = Turn(t, key.View(key.spec().elements / dim * rotary_dim), angles.sincos, rotary_dim);
  Ref q_rot = Turn(t, query.View(query.spec().elements / dim * rotary_dim), angles.sincos, rotary_dim);
  key = t.eager.Op("cat.default", k_pass.spec(), {&k_rot, &k_pass});
  query = t.eager.Op("cat.default", q_pass.spec(), {&q_rot, &q_pass});
  KeyValues kv = t.Append(in.layer, key, value);
  key = std::move(kv.keys);
  value = std::move(kv.values);
  Attended out = Attend(t, query, {key, value, {}}, in.mask);
  if (t.pass.tokens > 1 && t.s.heads > 1) out.output = t.Unary("clone.default", out.output);
  out.output = t.Linear("out_proj", out.output);
  out.output = t.Identity("resid_dropout", out.output);
  for (Ref* local : {&query, &key, &value, &angles.embed_positions, &angles.repeated_position_ids, &angles.sincos,
                     &k_rot, &k_pass, &q_rot, &q_pass}) {
    local->Drop();
  }
  return out;
}

Ref Mlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref hidden_states = t.Linear("fc_in", x);
  hidden_states = t.Activation("act", hidden_states);
  hidden_states = t.Linear("fc_out", hidden_states);
  hidden_states = t.Identity("dropout", hidden_states);
  return hidden_states;
}

Attended Block(TorchWords& t, const Ref& x, const Inputs& in) {
  Ref hidden_states = t.LayerNorm("ln_1", x);
  Attended attended = Attention(t, hidden_states, in);
  Ref feed_forward = Mlp(t, hidden_states);
  Ref both = t.Add(attended.output, feed_forward);
  Ref sum = t.Add(both, x);
  both.Drop();
  hidden_states = std::move(sum);
  attended.output.Drop();
  feed_forward.Drop();
  return {std::move(hidden_states), std::move(attended.weights)};
}

// GPTJModel.forward
Ref Body(TorchWords& t, const Ref& input_ids) {
  Ref inputs_embeds = t.Embedding("wte", input_ids);
  Ref position_ids = t.PositionIds();
  Ref causal_mask = t.EagerMask(0, t.KeyCount());
  Ref hidden_states = t.Identity("drop", inputs_embeds);
  const std::vector<ModuleId> blocks = t.Layers("h");
  Attended outputs;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    Attended output;
    {
      ModuleScope block(t, blocks[i]);
      output = Block(t, hidden_states, {i, causal_mask, position_ids});
    }
    outputs.weights = std::move(output.weights);
    outputs.output = std::move(output.output);
    hidden_states = outputs.output;
  }
  hidden_states = t.LayerNorm("ln_f", hidden_states);
  for (Ref* local : {&position_ids, &inputs_embeds, &causal_mask, &outputs.weights, &outputs.output}) local->Drop();
  return hidden_states;
}

}  // namespace

Status ForwardGptJ(TorchWords& t) {
  for (const Tensor& tensor : t.model.tensors) {
    if (!tensor.name.ends_with("embed_positions")) continue;
    if (tensor.shape.back() <= t.s.head_dim) break;
    return t.Refuse(fmt::format("{} dimensions rotate in heads of {}", tensor.shape.back(), t.s.head_dim));
  }
  return RunCausal(t, Body, {.body = "transformer", .embed = "wte"}, t.s.heads * t.s.head_dim);
}

}  // namespace stowage::torch_eager
