// The cache, the masks and the attention of transformers 5.23 (cache_utils.py, masking_utils.py,
// integrations/sdpa_attention.py) in the words of torch_words.h.
#include <algorithm>
#include <utility>

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {
namespace {

double Float(std::int64_t n) { return static_cast<double>(n); }

}  // namespace

// ---- the cache

std::int64_t TorchWords::Reserved(std::size_t layer) const {
  const std::int64_t window = Window(layer);
  return window == 0 ? pass.reserved : std::min(window, pass.reserved);
}

Count TorchWords::CachedPositions(std::size_t layer) const {
  if (pass.reserved > 0) return {pass.past == 0 ? std::max(Reserved(layer), pass.tokens) : Reserved(layer)};
  const std::int64_t window = Window(layer);
  if (window == 0 || pass.past + 1 < window || pass.past == 0) return KeyCount();
  return {window};
}

void TorchWords::AdoptCache(std::int64_t key_width, std::int64_t value_width) {
  if (pass.past == 0 && pass.past_step == 0) return;
  for (std::size_t i = 0; i < cache.size(); ++i) {
    const std::int64_t window = Window(i);
    const bool full = window > 0 && pass.past + 1 >= window;
    const Count positions = {pass.past, pass.past_step};
    const bool fixed = pass.reserved > 0;
    const Count seen = fixed ? Count{Reserved(i)} : full ? Count{window - 1} : positions;
    const Count stored = fixed || (full && pass.past_step > 0) ? seen : positions;  // of a phase: as RealizeTorch says
    const auto adopt = [&](std::int64_t width) {
      const std::int64_t position = pass.batch * width;
      return eager.Adopt("past", {stored * position, dtype}, TorchRole::kCache).View(seen * position);
    };
    cache[i].keys = adopt(key_width);
    cache[i].values = adopt(value_width);
    if (fixed) cache[i].scalar = eager.Adopt("past", {{1}, DType::kI64}, TorchRole::kCache);
  }
}

KeyValues TorchWords::AppendStatic(std::size_t layer, const Ref& key, const Ref& value) {
  KeyValues& kv = cache[layer];
  const std::int64_t reserved = Reserved(layer);
  const auto in_place = [&](std::string_view op, const Ref& states, const Ref& index, const Ref& to) {
    const Ref written = to.View(states.spec().elements);
    eager.Launch(op, {&states, &index}, {&written}, {}, {});
  };
  if (kv.keys.id() == kNoId) {  // lazy_initialization
    const auto zeros = [&](const Ref& states) {
      return eager.Op("zeros.default", {states.spec().elements / pass.tokens * reserved, dtype}, {});
    };
    kv.keys = zeros(key);
    kv.values = zeros(value);
    kv.scalar = eager.Op("_to_copy.default", {{1}, DType::kI64}, {});
    for (const Ref* ref : {&kv.keys, &kv.values, &kv.scalar}) eager.SetRole(*ref, TorchRole::kCache);
  }
  if (Window(layer) > 0 && pass.past >= reserved) {
    Ref new_keys = Unary("roll.default", kv.keys);
    Ref new_values = Unary("roll.default", kv.values);
    Ref index = eager.Op("_to_copy.default", {{1}, DType::kI64}, {});
    in_place("index_put_.default", key, index, new_keys);
    in_place("index_put_.default", value, index, new_values);
    eager.Launch("copy_.default", {&new_keys}, {&kv.keys}, {}, {});
    eager.Launch("copy_.default", {&new_values}, {&kv.values}, {}, {});
    new_keys.Drop();
    new_values.Drop();
    index.Drop();
  } else if (pass.past + pass.tokens > reserved) {  // a prompt longer than the window: its end is kept, all of it used
    eager.Launch("copy_.default", {&key}, {&kv.keys}, {}, {});
    eager.Launch("copy_.default", {&value}, {&kv.values}, {}, {});
    return {key, value, {}};
  } else {
    Ref range = eager.Op("arange.default", {{pass.tokens}, DType::kI64}, {});
    Ref cache_position = Binary("add.Tensor", range, kv.scalar);
    range.Drop();
    eager.Launch("add_.Tensor", {&kv.scalar}, {&kv.scalar}, {}, {1});
    in_place("index_copy_.default", key, cache_position, kv.keys);
    in_place("index_copy_.default", value, cache_position, kv.values);
    cache_position.Drop();
  }
  return {kv.keys, kv.values, {}};
}

KeyValues TorchWords::Append(std::size_t layer, const Ref& key, const Ref& value) {
  if (!pass.keeps_cache) return {key, value, {}};
  if (pass.reserved > 0) return AppendStatic(layer, key, value);
  KeyValues& kv = cache[layer];
  const bool slides = Window(layer) > 0;
  if (kv.keys.id() == kNoId) {  // lazy_initialization: two empty tensors
    kv.keys = eager.Empty("_to_copy.default", Of(0));
    kv.values = eager.Empty("_to_copy.default", Of(0));
    if (slides) {
      kv.scalar = eager.Empty("_to_copy.default", {{1}, DType::kI64});
      eager.SetRole(kv.scalar, TorchRole::kCache);
    }
  }
  const auto grow = [&](const Ref& cached, const Ref& states) {
    Ref out = eager.Op("cat.default", {cached.spec().elements + states.spec().elements, dtype}, {&cached, &states});
    eager.SetRole(out, TorchRole::kCache);
    return out;
  };
  if (!slides) {
    kv.keys = grow(kv.keys, key);
    kv.values = grow(kv.values, value);
    return {kv.keys, kv.values, {}};
  }
  // A sliding layer keeps a slice of what it returns, so the storage is the same.
  KeyValues full;
  full.keys = grow(kv.keys, key);
  full.values = grow(kv.values, value);
  kv.keys = full.keys;
  kv.values = full.values;
  return full;
}

// ---- masks

bool TorchWords::NeedsSlidingMask() const {
  const auto slides = [](std::int64_t window) { return window > 0; };
  const auto first = std::find_if(s.windows.begin(), s.windows.end(), slides);
  if (first == s.windows.end()) return false;
  if (pass.reserved > 0) return pass.tokens == 1 || pass.reserved >= *first;
  return pass.past + pass.tokens >= *first;
}

Ref TorchWords::CausalMask() {
  if (pass.reserved == 0 || pass.tokens > 1) return {};
  for (std::size_t i = 0; i < cache.size(); ++i) {
    if (Window(i) == 0) return SdpaMask(0, CachedPositions(i));
  }
  return SdpaMask(0, CachedPositions(0));
}

// sdpa_mask(): which positions a query may see, [batch, 1, tokens, keys] of which [tokens, keys] is stored.
Ref TorchWords::SdpaMask(std::int64_t window, Count keys) {
  const auto arange = [&](Count n) { return eager.Op("arange.default", {n, DType::kI64}, {}); };
  Ref batch_arange = arange({pass.batch});
  Ref head_arange = arange({1});
  Ref range = arange({pass.tokens});
  Ref q_arange = Unary("add.Tensor", range);
  range.Drop();
  range = arange(keys);
  Ref kv_arange = Unary("add.Tensor", range);
  range.Drop();
  if (window == 0) NoteOffset(batch_arange, kv_arange);
  const Spec table = {keys * pass.tokens, DType::kBool};
  Ref result;
  if (window > 0) {  // and_masks(sliding_window_overlay, causal_mask_function)
    result = eager.Op("new_ones.default", {{1}, DType::kBool}, {});
    Ref start = Unary("sub.Tensor", q_arange);
    Ref inside = eager.Op("gt.Tensor", table, {&kv_arange, &start});
    start.Drop();
    Ref both = eager.Op("bitwise_and.Tensor", table, {&result, &inside});
    inside.Drop();
    result = std::move(both);
    Ref causal = eager.Op("le.Tensor", table, {&kv_arange, &q_arange});
    both = eager.Op("bitwise_and.Tensor", table, {&result, &causal});
    causal.Drop();
    result = std::move(both);
  } else {
    result = eager.Op("le.Tensor", table, {&kv_arange, &q_arange});
  }
  batch_arange.Drop();
  head_arange.Drop();
  q_arange.Drop();
  kv_arange.Drop();
  eager.SetView(result, {keys * Rows(), DType::kBool});
  return result;
}

// _preprocess_mask_arguments() asks the first layer without a window; those with one count in a number beside the tensor.
void TorchWords::NoteOffset(const Ref& first, const Ref& last) {
  if (pass.reserved == 0 || pass.past == 0) return;
  for (std::size_t layer = 0; layer < cache.size(); ++layer) {
    if (Window(layer) > 0) continue;
    program_->offsets.push_back({cache[layer].scalar.id(), first.id(), last.id()});
    return;
  }
}

// eager_mask(): 0 where a query may look, the dtype's minimum elsewhere.
Ref TorchWords::EagerMask(std::int64_t window, Count keys) {
  Ref mask = SdpaMask(window, keys);
  Ref zero = eager.Op("zeros.default", Of(1), {});
  Ref least = eager.Op("scalar_tensor.default", Of(1), {});
  Ref table = eager.Op("where.self", {keys * Rows(), dtype}, {&mask, &zero, &least});
  least.Drop();
  zero.Drop();
  if (window == 0 && !program_->offsets.empty()) program_->offsets.back().last = mask.id();
  mask.Drop();
  return table;
}

// ---- attention

// repeat_kv: a copy for each query head of a group. One head alone is expanded without a copy.
Ref TorchWords::RepeatKv(const Ref& x, Heads heads) {
  const std::int64_t groups = heads.groups();
  if (groups == 1) return x;
  if (heads.key == 1) return x.View(x.spec().elements * groups);
  return eager.Op("clone.default", {x.spec().elements * groups, x.spec().dtype}, {&x});
}

// The recorder's stand-in for the fused kernels: the output, and the log-sum-exp that inference throws away.
Ref TorchWords::FusedKernel(const Ref& query, const Ref& all_keys, const Ref& all_values, const Ref& mask,
                            Heads heads) {
  // A prompt over a static cache: what comes behind it is cut off.
  const bool cut = pass.reserved > 0 && pass.tokens > 1 && mask.id() == kNoId;
  const auto seen_of = [&](const Ref& all) {
    const Count prompt = {Rows() * heads.key * heads.dim};
    return cut && all.spec().elements.base > prompt.base ? all.View(prompt) : all;
  };
  const Ref keys = seen_of(all_keys), values = seen_of(all_values);
  Ref out = eager.Empty("empty.memory_format", query.spec());
  Ref lse = eager.Empty("empty.memory_format", {{Rows() * heads.query}, DType::kF32});
  // Two products of 2 * head_dim flops per head and (query, key) pair. Without a mask the kernel skips what is_causal
  // hides; with one it computes every pair.
  const double per_pair = 4.0 * Float(query.spec().elements.base / pass.tokens);
  const Count seen = keys.spec().elements / std::max<std::int64_t>(1, pass.batch * heads.key * heads.dim);
  const double t = Float(pass.tokens);
  const double hidden = mask.id() == kNoId ? t * (t - 1) / 2 : 0;
  const AffineFlops flops = {per_pair * (t * Float(seen.base) - hidden), per_pair * t * Float(seen.step)};
  if (mask.id() == kNoId) {
    eager.Launch("scaled_dot_product_attention", {&query, &keys, &values}, {&lse, &out}, {}, flops);
  } else {
    eager.Launch("scaled_dot_product_attention", {&query, &keys, &values, &mask}, {&lse, &out}, {}, flops);
  }
  lse.Drop();
  return out;
}

Ref TorchWords::SdpaAttention(const Ref& query, const KeyValues& kv, const Ref& mask, Heads heads) {
  const bool kernel_groups = mask.id() == kNoId && heads.dim <= 256;  // use_gqa_in_sdpa
  if (heads.groups() == 1 || kernel_groups) return FusedKernel(query, kv.keys, kv.values, mask, heads);
  if (pass.tokens > 1) {
    const Ref key = RepeatKv(kv.keys, heads);
    const Ref value = RepeatKv(kv.values, heads);
    return FusedKernel(query, key, value, mask, {heads.query, heads.query, heads.dim});
  }
  // pack_gqa: the heads of a group become rows of one; the output comes back in another order.
  Ref packed = FusedKernel(query, kv.keys, kv.values, mask, heads);
  if (heads.key == 1) return packed;
  return Unary("clone.default", packed);
}

TorchWords::Attended TorchWords::EagerAttention(const Ref& query, const KeyValues& kv, const Ref& mask, Heads heads) {
  Ref key_states = RepeatKv(kv.keys, heads);
  Ref value_states = RepeatKv(kv.values, heads);
  const Count keys = key_states.spec().elements / std::max<std::int64_t>(1, pass.batch * heads.query * heads.dim);
  const Spec scores = {keys * (Rows() * heads.query), dtype};
  const AffineFlops flops = {2.0 * Float(heads.dim * scores.elements.base),
                             2.0 * Float(heads.dim * scores.elements.step)};
  // matmul() folds batch and heads, which copies a query that lies token by token.
  Ref folded = query;
  if (pass.batch > 1 && pass.tokens > 1 && heads.query > 1) folded = Unary("clone.default", query);
  // So does it an expanded head of several sequences.
  const bool expanded = heads.key == 1 && heads.query > 1 && pass.batch > 1;
  Ref folded_keys = expanded ? Unary("clone.default", key_states) : key_states;
  Ref weights = eager.Op("bmm.default", scores, {&folded, &folded_keys}, {}, flops);
  folded.Drop();
  folded_keys.Drop();
  const auto next = [&](std::string_view op, const Ref* other = nullptr) {
    Ref result = other == nullptr ? Unary(op, weights) : Binary(op, weights, *other);
    weights = std::move(result);
  };
  next("mul.Tensor");
  if (model.forward.score_softcap > 0) {
    next("div.Tensor");
    next("tanh.default");
    next("mul.Tensor");
  }
  if (mask.id() != kNoId) next("add.Tensor", &mask);
  Ref soft = Softmax(weights);
  Ref narrow = To(soft, dtype);
  soft.Drop();
  weights = std::move(narrow);
  Attended out;
  Ref folded_values = expanded ? Unary("clone.default", value_states) : value_states;
  out.output = eager.Op("bmm.default", query.spec(), {&weights, &folded_values}, {}, flops);
  folded_values.Drop();
  if (pass.tokens > 1 && heads.query > 1) {  // transpose(1, 2).contiguous()
    Ref contiguous = Unary("clone.default", out.output);
    out.output = std::move(contiguous);
  }
  out.weights = std::move(weights);
  key_states.Drop();
  value_states.Drop();
  return out;
}

// softmax(scores, dim=-1, dtype=float32). On a GPU it widens fp16 by itself, anything else is widened first.
Ref TorchWords::Softmax(const Ref& scores) {
  const AffineFlops flops = {4 * Float(scores.spec().elements.base), 4 * Float(scores.spec().elements.step)};
  if (scores.spec().dtype == DType::kF16) {
    return eager.Op("_softmax.default", {scores.spec().elements, DType::kF32}, {&scores}, {}, flops);
  }
  Ref wide = To(scores, DType::kF32);
  return eager.Op("_softmax.default", wide.spec(), {&wide}, {}, flops);
}

}  // namespace stowage::torch_eager
