// transformers' modeling_deepseek_v2.py and _v3.py (5.23; kimi_k2 runs the latter). Facts of that text which decide the
// memory:
//  - The cache holds a latent and a rotary key a position; at every pass kv_b_proj expands all of them to keys and values
//    of every head, which are gone after the layer.
//  - The router computes in fp32, its weight included, and keeps its logits until the block returns.
//  - V3 rotates neighbours (rope_interleave), V2 in complex numbers.
#include <fmt/format.h>

#include <tuple>
#include <utility>

#include "planner/realize/torch_complex_rope.h"
#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_experts.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

double Float(std::int64_t n) { return static_cast<double>(n); }

enum class Version { kV2, kV3 };

// ---- attention

// apply_rotary_pos_emb_interleave for one of the two.
Ref RotateNeighbours(TorchWords& t, const Ref& x, const Rotary& rotary) {
  const Ref half = x.View(x.spec().elements / 2);
  const Ref cos = rotary.cos.View(rotary.cos.spec().elements / 2);
  const Ref sin = rotary.sin.View(rotary.sin.spec().elements / 2);
  const auto turn = [&](std::string_view op) {
    Ref left = t.Mul(half, cos);
    Ref right = t.Mul(half, sin);
    Ref out = t.Binary(op, left, right);
    left.Drop();
    right.Drop();
    return out;
  };
  Ref first = turn("sub.Tensor");
  Ref second = turn("add.Tensor");
  Ref out = t.eager.Op("cat.default", x.spec(), {&first, &second});
  second.Drop();  // a list lets go of its last item first
  first.Drop();
  return out;
}

// expand_kv: the keys of all heads; `value` becomes the projected latents, which hold the values.
Ref ExpandKv(TorchWords& t, const Ref& latents, const Ref& rotary_keys, Ref& value) {
  Ref kv_nope = t.Linear("kv_b_proj", latents);
  const std::int64_t nope = t.s.head_dim - t.s.rope_head_dim;
  const Count positions = latents.spec().elements / t.s.kv_lora_rank;
  const Count keys = positions * t.s.heads * t.s.head_dim;
  Ref key_states = t.eager.Empty("new_empty.default", {keys, t.dtype});
  const Ref k_nope = kv_nope.View(positions * t.s.heads * nope);
  const Ref expanded = rotary_keys.View(positions * t.s.rope_head_dim);
  t.eager.Launch("copy_.default", {&k_nope}, {&key_states}, {}, {});
  t.eager.Launch("copy_.default", {&expanded}, {&key_states}, {}, {});
  const std::int64_t width = kv_nope.spec().elements.base / std::max<std::int64_t>(1, positions.base);
  value = kv_nope.View(positions * (width - t.s.heads * nope));
  return key_states;
}

// As TorchWords::SdpaAttention, with values narrower than keys.
Ref FusedAttention(TorchWords& t, const Ref& query, const Ref& all_keys, const Ref& all_values, const Ref& mask) {
  const bool masked = mask.id() != kNoId;
  const Count all = all_keys.spec().elements / (t.pass.batch * t.s.heads * t.s.head_dim);
  const bool cut = !masked && t.pass.reserved > 0 && t.pass.tokens > 1;
  const Count seen = cut ? Count{t.pass.tokens} : all;
  const auto part = [&](const Ref& x) { return cut ? x.View(x.spec().elements / all.base * seen.base) : x; };
  const Ref key = part(all_keys), value = part(all_values);
  const std::int64_t value_dim =
      value.spec().elements.base / std::max<std::int64_t>(1, seen.base * t.pass.batch * t.s.heads);
  Ref out = t.eager.Empty("empty.memory_format", t.Of(t.Rows() * t.s.heads * value_dim));
  Ref lse = t.eager.Empty("empty.memory_format", {{t.Rows() * t.s.heads}, DType::kF32});
  const double per_pair = 2.0 * Float(t.pass.batch * t.s.heads) * Float(t.s.head_dim + value_dim);
  const double tokens = Float(t.pass.tokens);
  const double pairs = tokens * Float(seen.base) - (masked ? 0 : tokens * (tokens - 1) / 2);
  const AffineFlops flops = {per_pair * pairs, per_pair * tokens * Float(seen.step)};
  if (masked) {
    t.eager.Launch("scaled_dot_product_attention", {&query, &key, &value, &mask}, {&lse, &out}, {}, flops);
  } else {
    t.eager.Launch("scaled_dot_product_attention", {&query, &key, &value}, {&lse, &out}, {}, flops);
  }
  lse.Drop();
  return out;
}

Ref Queries(TorchWords& t, const Ref& hidden_states) {
  if (t.FindChild("q_a_proj") == kNoId) return t.Linear("q_proj", hidden_states);
  Ref latent = t.Linear("q_a_proj", hidden_states);
  Ref normed = t.RmsNorm("q_a_layernorm", latent);
  latent.Drop();
  Ref out = t.Linear("q_b_proj", normed);
  normed.Drop();
  return out;
}

template <Version kVersion>
Ref Attention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "self_attn");
  const std::int64_t rope = t.s.rope_head_dim;
  Ref q_states = Queries(t, hidden_states);
  Ref q_pass = q_states.View({t.Rows() * t.s.heads * (t.s.head_dim - rope)});
  Ref q_rot = q_states.View({t.Rows() * t.s.heads * rope});
  Ref compressed_kv = t.Linear("kv_a_proj_with_mqa", hidden_states);
  Ref split = compressed_kv.View({t.Rows() * t.s.kv_lora_rank});
  Ref k_rot = compressed_kv.View({t.Rows() * rope});
  Ref kv_nope = t.RmsNorm("kv_a_layernorm", split);
  if constexpr (kVersion == Version::kV3) split.Drop();  // it is kv_nope there, and is assigned
  {
    std::pair<Ref, Ref> rotated;
    if constexpr (kVersion == Version::kV2) {
      rotated = RotateComplex(t, q_rot, k_rot, in.rotary.cos, ComplexText::kOneByOne);
    } else if (t.model.rope.interleaved) {
      rotated = {RotateNeighbours(t, q_rot, in.rotary), {}};
      rotated.second = RotateNeighbours(t, k_rot, in.rotary);
    } else {
      rotated = {t.Rotate(q_rot, in.rotary, rope), {}};
      rotated.second = t.Rotate(k_rot, in.rotary, rope);
    }
    q_rot = std::move(rotated.first);
    k_rot = std::move(rotated.second);
  }
  const KeyValues kv = t.Append(in.index, kv_nope, k_rot);
  kv_nope = kv.keys;
  k_rot = kv.values;
  const Spec queries = t.Of(t.Rows() * t.s.heads * t.s.head_dim);
  Ref query_states = t.eager.Op("cat.default", queries, {&q_pass, &q_rot});
  Ref value_states;
  Ref key_states = ExpandKv(t, kv_nope, k_rot, value_states);
  Ref attn_output = FusedAttention(t, query_states, key_states, value_states, in.mask);
  attn_output = t.Linear("o_proj", attn_output);
  for (Ref* local : {&q_states, &q_pass, &q_rot, &compressed_kv, &split, &kv_nope, &k_rot, &query_states, &key_states,
                     &value_states}) {
    local->Drop();
  }
  return attn_output;
}

// ---- experts

// router_logits = F.linear(hidden_states.type(torch.float32), self.weight.type(torch.float32))
Ref RouterLogits(TorchWords& t, const Ref& hidden_states) {
  const ModuleId module = t.eager.Current();
  const Weights weight = t.WeightsOf(module);
  const std::int64_t experts = t.WeightShape(module).front();
  const std::int64_t width = t.WeightShape(module).back();
  const Spec logits = {{t.Rows() * experts}, DType::kF32};
  const AffineFlops flops = {2.0 * Float(t.Rows()) * Float(experts) * Float(width)};
  if (t.dtype == DType::kF32) return t.eager.Op("mm.default", logits, {&hidden_states}, weight, flops);
  Ref wide_rows = t.To(hidden_states, DType::kF32);
  Ref wide_weight = t.eager.Op("_to_copy.default", {{experts * width}, DType::kF32}, {}, weight);
  Ref out = t.eager.Op("mm.default", logits, {&wide_rows, &wide_weight}, {}, flops);
  wide_rows.Drop();
  wide_weight.Drop();
  return out;
}

// The locals of the choice of groups, which live until the router returns.
struct GroupChoice {
  Ref scores, indices, mask, spread;
  void Drop() {
    for (Ref* local : {&scores, &indices, &mask, &spread}) local->Drop();
  }
};

// From the scores of the groups to scores of the experts of chosen groups; `fill` elsewhere.
Ref FillOtherGroups(TorchWords& t, const Ref& scores, GroupChoice& choice) {
  const RouterFacts& router = t.model.forward.router;
  const std::int64_t rows = t.Rows();
  choice.indices = TopK(t, choice.scores, rows * router.groups_per_token).second;
  choice.mask = t.Unary("zeros_like.default", choice.scores);
  t.eager.Launch("scatter_.value", {&choice.indices}, {&choice.mask}, {}, {});
  const bool view = router.groups == 1 || router.groups == t.s.experts;  // reshape of an expanded tensor
  choice.spread =
      view ? choice.mask.View(scores.spec().elements) : t.eager.Op("clone.default", scores.spec(), {&choice.mask});
  Ref chosen = t.To(choice.spread, DType::kBool);
  Ref others = t.Unary("bitwise_not.default", chosen);
  chosen.Drop();
  Ref out = t.eager.Op("masked_fill.Scalar", scores.spec(), {&scores, &others});
  others.Drop();
  return out;
}

Routing RouteV3(TorchWords& t, const Ref& hidden_states) {
  ModuleScope self(t, "gate");
  const RouterFacts& router = t.model.forward.router;
  const std::int64_t picks = t.Rows() * t.s.experts_per_token;
  Routing out;
  out.logits = RouterLogits(t, hidden_states);
  Ref scores = t.Unary("sigmoid.default", out.logits);
  Ref for_choice = t.Unary("add.Tensor", scores);
  GroupChoice groups;
  {
    auto [best, unused] = TopK(t, for_choice, t.Rows() * router.groups * 2);
    unused.Drop();
    groups.scores = t.eager.Op("sum.dim_IntList", {{t.Rows() * router.groups}, DType::kF32}, {&best});
  }
  for_choice = FillOtherGroups(t, for_choice, groups);
  out.indices = TopK(t, for_choice, picks).second;
  out.weights = t.eager.Op("gather.default", {{picks}, DType::kF32}, {&scores, &out.indices});
  Ref denominator;
  if (router.normalized) {
    Ref sum = t.eager.Op("sum.dim_IntList", {{t.Rows()}, DType::kF32}, {&out.weights});
    denominator = t.Unary("add.Tensor", sum);
    sum.Drop();
    t.eager.Launch("div_.Tensor", {&out.weights, &denominator}, {&out.weights}, {}, {Float(picks)});
  }
  out.weights = t.Unary("mul.Tensor", out.weights);
  scores.Drop();
  for_choice.Drop();
  groups.Drop();
  denominator.Drop();
  return out;
}

Routing RouteV2(TorchWords& t, const Ref& hidden_states) {
  ModuleScope self(t, "gate");
  const RouterFacts& router = t.model.forward.router;
  Routing out;
  out.logits = RouterLogits(t, hidden_states);
  Ref scores = t.Unary("_softmax.default", out.logits);
  GroupChoice groups;
  if (router.groups > 0) {
    const std::int64_t count = t.Rows() * router.groups;
    groups.scores = t.eager.Empty("max.dim", {{count}, DType::kF32});
    Ref unused = t.eager.Empty("max.dim", {{count}, DType::kI64});
    t.eager.Launch("max.dim", {&scores}, {&groups.scores, &unused}, {}, {Float(scores.spec().elements.base)});
    unused.Drop();
    scores = FillOtherGroups(t, scores, groups);
  }
  std::tie(out.weights, out.indices) = TopK(t, scores, t.Rows() * t.s.experts_per_token);
  out.weights = t.Unary("mul.Tensor", out.weights);
  scores.Drop();
  groups.Drop();
  return out;
}

template <Version kVersion>
Ref Moe(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Routing routing = kVersion == Version::kV2 ? RouteV2(t, x) : RouteV3(t, x);
  Ref hidden_states = RunExperts(t, "experts", x, routing, ExpertsText::kGated);
  Ref shared = GatedMlp(t, x, "shared_experts");
  Ref sum = t.Add(hidden_states, shared);
  shared.Drop();
  hidden_states = std::move(sum);
  routing.logits.Drop();
  routing.weights.Drop();
  routing.indices.Drop();
  return hidden_states;
}

// ---- layers

template <Version kVersion>
Ref Layer(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref hidden_states = t.RmsNorm("input_layernorm", x);
  hidden_states = Attention<kVersion>(t, hidden_states, in);
  hidden_states = t.Add(residual, hidden_states);
  residual = hidden_states;
  hidden_states = t.RmsNorm("post_attention_layernorm", hidden_states);
  hidden_states = IsSparse(t, "mlp") ? Moe<kVersion>(t, hidden_states) : GatedMlp(t, hidden_states);
  hidden_states = t.Add(residual, hidden_states);
  residual.Drop();
  return hidden_states;
}

Status CheckSupported(const TorchWords& t, Version version) {
  const TransformerShape& s = t.s;
  const RouterFacts& router = t.model.forward.router;
  STOWAGE_RETURN_IF_ERROR(CheckRouter(t));
  if (s.kv_heads != s.heads) {
    return t.Refuse(fmt::format("{} key-value heads beside {} heads of latent attention", s.kv_heads, s.heads));
  }
  if (s.experts == 0 || router.groups == 0) return OkStatus();
  const std::int64_t fewest = version == Version::kV3 ? 2 : 1;  // V3 adds the two best of a group
  const bool fits = s.experts % router.groups == 0 && s.experts / router.groups >= fewest &&
                    router.groups_per_token >= 1 && router.groups_per_token <= router.groups;
  if (fits) return OkStatus();
  return t.Refuse(
      fmt::format("{} of {} groups of {} experts cannot be chosen", router.groups_per_token, router.groups, s.experts));
}

}  // namespace

Status ForwardDeepseekV2(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckSupported(t, Version::kV2));
  return ForwardDecoder(
      t, {.layer = Layer<Version::kV2>, .norm = RmsNorm, .rotary = ComplexRotaryEmbedding, .own_frequencies = true});
}

Status ForwardDeepseekV3(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckSupported(t, Version::kV3));
  return ForwardDecoder(t, {.layer = Layer<Version::kV3>, .norm = RmsNorm});
}

}  // namespace stowage::torch_eager
