#include "planner/families/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "planner/families/families.h"

namespace stowage {
namespace {

double Triangle(std::int64_t n) { return static_cast<double>(n) * static_cast<double>(n + 1) / 2; }

struct Qkv {
  ValueId q, k, v;
};

bool Rotates(const GraphBuilder& g, std::int32_t layer) {
  const std::vector<bool>& rotates = g.model().forward.rotates;
  return !g.model().forward.alibi && (rotates.empty() || rotates[static_cast<std::size_t>(layer)]);
}

std::int64_t WindowOf(const GraphBuilder& g, std::int32_t layer) {
  const std::vector<std::int64_t>& windows = g.shape().windows;
  return windows.empty() ? 0 : windows[static_cast<std::size_t>(layer)];
}

// inv_freq of the kind of layer; gemma3 has one for layers with a window and one for the others.
TensorId RopeTable(const GraphBuilder& g, ModuleId body, std::int32_t layer) {
  const ModuleId rotary = g.Find(body, "rotary_emb");
  const TensorId one = g.OwnTensor(rotary, "inv_freq");
  if (one != kNoId) return one;
  return g.OwnTensor(rotary, WindowOf(g, layer) > 0 ? "sliding_attention_inv_freq" : "full_attention_inv_freq");
}

// Rows of q, k and v, split from one product where they are fused.
Qkv Project(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x) {
  const ModuleId fused = g.FindAny(module, {"qkv_proj", "query_key_value", "c_attn"});
  if (fused == kNoId) {
    const ValueId q = g.Linear(g.FindAny(module, {"q_proj", "q"}), layer, x);
    const ValueId k = g.Linear(g.FindAny(module, {"k_proj", "k"}), layer, x);
    return {q, k, g.Linear(g.FindAny(module, {"v_proj", "v"}), layer, x)};
  }
  const TransformerShape& s = g.shape();
  const ValueId qkv = g.Linear(fused, layer, x);
  const std::string& name = g.NameOf(module);
  const Qkv out = {g.Activation(name + ".q", g.rows(), s.heads * s.head_dim),
                   g.Activation(name + ".k", g.rows(), s.kv_heads * s.head_dim),
                   g.Activation(name + ".v", g.rows(), s.kv_heads * s.head_dim)};
  g.Emit(OpKind::kSplitHeads, name + ".split", module, layer, {qkv}, {out.q, out.k, out.v}, 0).activation_bytes = {};
  return out;
}

// Rotates `dims` of each head of q and k. gpt-j's tables are left out: the runtime computes its angles.
void Rope(GraphBuilder& g, ModuleId body, ModuleId module, std::int32_t layer, Qkv& qkv) {
  const TensorId table = RopeTable(g, body, layer);
  const TensorId positions = g.OwnTensor(module, "embed_positions");
  if (table == kNoId && positions == kNoId) return;
  const TransformerShape& s = g.shape();
  const std::int64_t dims = table != kNoId ? 2 * Elements(g.tensor(table).shape) : g.tensor(positions).shape[1];
  const std::string& name = g.NameOf(module);
  const ValueId q = g.Activation(name + ".rotated_q", g.rows(), g.value(qkv.q).width);
  const ValueId k = g.Activation(name + ".rotated_k", g.rows(), g.value(qkv.k).width);
  Op& op = g.Emit(OpKind::kRope, name + ".rope", module, layer, {qkv.q, qkv.k}, {q, k},
                  kRopeFlops * static_cast<double>(g.rows() * (s.heads + s.kv_heads) * dims));
  g.Use(op, table);
  qkv.q = q;
  qkv.k = k;
}

// The positions that the layer's cache has room for.
std::int64_t Kept(const GraphBuilder& g, std::int32_t layer) {
  if (IsEncoderDecoder(g.model())) return g.graph().cache_positions;  // cross attention's are beside them
  return CachedPositions(g.model(), layer, g.graph().cache_positions);
}

// Appends k and v (kNoId: latents alone); returns the whole cache, v kNoId likewise.
Qkv Append(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId k, ValueId v) {
  const std::string& name = g.NameOf(module);
  const std::int64_t batch = g.pass().batch;
  const std::int64_t kept = Kept(g, layer);
  Qkv out{kNoId, g.Add({name + ".keys", ValueKind::kKeys, g.dtype(), kept * batch, g.value(k).width, layer}), kNoId};
  if (v != kNoId) {
    out.v = g.Add({name + ".values", ValueKind::kValues, g.dtype(), kept * batch, g.value(v).width, layer});
  }
  std::vector<ValueId> in = {k}, to = {out.k};
  std::int64_t width = g.value(k).width;
  if (v != kNoId) {
    in.push_back(v);
    to.push_back(out.v);
    width += g.value(v).width;
  }
  Op& op = g.Emit(OpKind::kCacheAppend, name + ".cache_append", module, layer, std::move(in), std::move(to), 0);
  // Reads the new rows that are kept and writes as much; the rest of the cache stays untouched.
  const std::int64_t rows = std::min(g.pass().tokens, kept) * batch;
  op.activation_bytes = AffineBytes(2 * SizeOf(g.dtype(), rows * width));
  return out;
}

bool IsPlain(const GraphBuilder& g) {
  const ForwardFacts& f = g.model().forward;
  const double usual = 1 / std::sqrt(static_cast<double>(g.shape().head_dim));
  return !f.alibi && f.score_softcap == 0 && (f.score_scale == 0 || std::abs(f.score_scale - usual) < 1e-9);
}

// The window of a layer whose context outgrows it, else 0.
std::int64_t CuttingWindow(const GraphBuilder& g, std::int32_t layer) {
  const std::int64_t window = WindowOf(g, layer);
  return window < g.graph().cache_positions ? window : 0;
}

Seen SeenBy(const GraphBuilder& g, std::int32_t layer) {
  const std::int64_t window = CuttingWindow(g, layer);
  if (window == 0) return {Seen::Kind::kAll, 0};
  return {g.model().forward.chunked ? Seen::Kind::kChunk : Seen::Kind::kWindow, window};
}

// Attention with `per_pair` FLOPs a pair of query and key (all heads), reading `position` bytes a cached position. A
// pass longer than the window attends over its own keys and values, `fresh`.
ValueId AttendCached(GraphBuilder& g, OpKind kind, ModuleId module, std::int32_t layer, std::vector<ValueId> inputs,
                     std::int64_t width, double per_pair) {
  const Pass& pass = g.pass();
  const std::string name = g.NameOf(module) + ".attention";
  const ValueId q = inputs[0];
  std::int64_t position = 0;
  for (std::size_t i = 1; i < inputs.size(); ++i) position += SizeOf(g.dtype(), g.value(inputs[i]).width).value();
  position *= pass.batch;
  const ValueId out = g.Activation(name + ".out", g.rows(), width);
  Op& op = g.Emit(kind, name, module, layer, std::move(inputs), {out}, 0);
  const AffineFlops pairs = SeenBy(g, layer).Pairs(pass, g.graph().cache_positions);
  const double batch = static_cast<double>(pass.batch);
  op.flops = {per_pair * batch * pairs.base, per_pair * batch * pairs.step};
  op.window = CuttingWindow(g, layer);
  op.plain = IsPlain(g) && op.window == 0;
  op.activation_bytes = AffineBytes(g.value(q).bytes() + g.value(out).bytes());
  if (pass.tokens == 1) {  // one query: it reads what it sees
    op.activation_bytes.base += static_cast<std::int64_t>(pairs.base) * position;
    op.activation_bytes.step = static_cast<std::int64_t>(pairs.step * static_cast<double>(position));
  } else {
    op.activation_bytes.base += (pass.past + pass.tokens) * position;
    op.activation_bytes.step = pass.past_step * position;
  }
  return out;
}

// Whether this pass's rows are more than the layer's cache holds.
bool Overflows(const GraphBuilder& g, std::int32_t layer) { return g.pass().tokens > Kept(g, layer); }

ValueId Norm(GraphBuilder& g, ModuleId module, const char* name, std::int32_t layer, ValueId x) {
  const ModuleId norm = g.Find(module, name);
  return norm == kNoId ? x : g.Norm(norm, layer, x);
}

}  // namespace

std::int64_t Seen::Before(std::int64_t n) const {
  const auto triangle = [](std::int64_t m) { return m % 2 == 0 ? m / 2 * (m + 1) : (m + 1) / 2 * m; };
  if (kind_ == Kind::kAll) return triangle(n);
  if (kind_ == Kind::kWindow) return n <= size_ ? triangle(n) : triangle(size_) + (n - size_) * size_;
  return n / size_ * triangle(size_) + triangle(n % size_);
}

AffineFlops Seen::Pairs(const Pass& pass, std::int64_t end) const {
  const auto at = [&](std::int64_t past) { return static_cast<double>(Before(past + pass.tokens) - Before(past)); };
  const double first = at(pass.past);
  if (pass.past_step == 0) return {first, 0};
  if (kind_ == Kind::kAll) return {first, static_cast<double>(pass.tokens * pass.past_step)};
  const std::int64_t passes = std::max<std::int64_t>(1, (end - pass.past - pass.tokens) / pass.past_step + 1);
  const double n = static_cast<double>(passes);
  const double last = at(pass.past + (passes - 1) * pass.past_step);
  if (pass.tokens != 1 || pass.past_step != 1) return {last, 0};  // no phase of ours is like this; the most it can be
  const double sum = static_cast<double>(Before(end) - Before(pass.past));
  if (passes == 1) return {first, 0};
  if (kind_ == Kind::kWindow || last - first == n - 1) {
    // A growing, concave count: its mean is at least the middle of first and last, so the line starts above 0.
    const double step = 2 * (n * last - sum) / (n * (n - 1));
    return {last - step * (n - 1), step};
  }
  return {sum / n, 0};
}

ValueId SelfAttention(GraphBuilder& g, ModuleId body, ModuleId module, std::int32_t layer, ValueId x, TensorId bias) {
  const TransformerShape& s = g.shape();
  Qkv qkv = Project(g, module, layer, x);
  qkv.q = Norm(g, module, "q_norm", layer, qkv.q);
  qkv.k = Norm(g, module, "k_norm", layer, qkv.k);
  if (Rotates(g, layer)) Rope(g, body, module, layer, qkv);
  if (const ModuleId norm = g.Find(module, "qk_norm"); norm != kNoId) {  // llama4: after rope, one leaf for both
    qkv.q = g.Elementwise(OpKind::kL2Norm, g.NameOf(norm) + ".q", norm, layer, {qkv.q}, kNormFlops);
    qkv.k = g.Elementwise(OpKind::kL2Norm, g.NameOf(norm) + ".k", norm, layer, {qkv.k}, kNormFlops);
  }
  const Qkv cache = Append(g, module, layer, qkv.k, qkv.v);
  const Qkv& seen = Overflows(g, layer) ? qkv : cache;
  const ValueId out = AttendCached(g, OpKind::kAttention, module, layer, {qkv.q, seen.k, seen.v}, g.value(qkv.q).width,
                                   4.0 * static_cast<double>(s.heads * s.head_dim));
  for (const TensorId added : {bias, g.OwnTensor(module, "sinks")}) {
    if (added == kNoId) continue;
    g.Use(g.graph().ops.back(), added);
    g.graph().ops.back().plain = false;
  }
  return g.Linear(g.FindAny(module, {"o_proj", "out_proj", "dense", "c_proj", "o"}), layer, out);
}

ValueId CrossAttention(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x, ValueId encoded,
                       std::int64_t source) {
  const TransformerShape& s = g.shape();
  const std::string& name = g.NameOf(module);
  const std::int64_t batch = g.pass().batch, width = s.heads * s.head_dim;
  const auto cache = static_cast<std::int32_t>(s.layers) + layer;
  const ValueId q = g.Linear(g.FindAny(module, {"q_proj", "q"}), layer, x);
  const ValueId keys =
      g.Add({name + ".keys", ValueKind::kKeys, g.dtype(), source * batch, width, cache, /*fixed=*/true});
  const ValueId values =
      g.Add({name + ".values", ValueKind::kValues, g.dtype(), source * batch, width, cache, /*fixed=*/true});
  if (encoded != kNoId) {
    const ValueId k = g.Linear(g.FindAny(module, {"k_proj", "k"}), layer, encoded);
    const ValueId v = g.Linear(g.FindAny(module, {"v_proj", "v"}), layer, encoded);
    g.Emit(OpKind::kCacheAppend, name + ".cache_append", module, layer, {k, v}, {keys, values}, 0);
  }
  const ValueId out = g.Activation(name + ".attention.out", g.rows(), width);
  const double pairs = static_cast<double>(g.rows() * source);
  g.Emit(OpKind::kAttention, name + ".attention", module, layer, {q, keys, values}, {out},
         4 * static_cast<double>(width) * pairs)
      .plain = false;
  return g.Linear(g.FindAny(module, {"out_proj", "o"}), layer, out);
}

ValueId LatentAttention(GraphBuilder& g, ModuleId body, ModuleId module, std::int32_t layer, ValueId x) {
  const TransformerShape& s = g.shape();
  const std::int64_t c = s.kv_lora_rank, r = s.rope_head_dim, heads = s.heads;
  const std::string& name = g.NameOf(module);
  ValueId q;
  if (const ModuleId whole = g.Find(module, "q_proj"); whole != kNoId) {
    q = g.Linear(whole, layer, x);
  } else {
    const ValueId low = g.Linear(g.Find(module, "q_a_proj"), layer, x);
    q = g.Linear(g.Find(module, "q_b_proj"), layer, g.Norm(g.Find(module, "q_a_layernorm"), layer, low));
  }
  ValueId latent = g.Linear(g.Find(module, "kv_a_proj_with_mqa"), layer, x);
  latent = g.Norm(g.Find(module, "kv_a_layernorm"), layer, latent, c);
  const ValueId rotated_q = g.Activation(name + ".rotated_q", g.rows(), g.value(q).width);
  const ValueId rotated = g.Activation(name + ".latent", g.rows(), g.value(latent).width);
  Op& rope = g.Emit(OpKind::kRope, name + ".rope", module, layer, {q, latent}, {rotated_q, rotated},
                    kRopeFlops * static_cast<double>(g.rows() * (heads + 1) * r));
  rope.activation_bytes = AffineBytes(2 * SizeOf(g.dtype(), g.rows() * (heads + 1) * r));
  g.Use(rope, RopeTable(g, body, layer));
  const Qkv cache = Append(g, module, layer, rotated, kNoId);

  const ModuleId kv_b = g.Find(module, "kv_b_proj");
  const ModuleId o = g.Find(module, "o_proj");
  const std::int64_t width = g.tensor(g.OwnTensor(o, "weight")).shape[1];  // heads * v
  const double key = static_cast<double>(s.head_dim), v = static_cast<double>(width) / static_cast<double>(heads);
  const double h = static_cast<double>(heads);
  ValueId out;
  if (g.pass().past == 0) {
    const ValueId expanded = g.Linear(kv_b, layer, rotated);
    out = AttendCached(g, OpKind::kAttention, module, layer, {rotated_q, rotated, expanded}, width, 2 * h * (key + v));
    g.graph().ops.back().plain = false;
  } else {
    const double pair = 2 * h * static_cast<double>(2 * c + r);
    out = AttendCached(g, OpKind::kLatentAttention, module, layer, {rotated_q, cache.k}, width, pair);
    Op& op = g.graph().ops.back();
    for (const TensorId t : g.model().modules[static_cast<std::size_t>(kv_b)].tensors) g.Use(op, t);
    op.flops.base += 2.0 * static_cast<double>(g.rows()) *
                     static_cast<double>(Elements(g.tensor(g.OwnTensor(kv_b, "weight")).shape));
  }
  return g.Linear(o, layer, out);
}

ValueId Attend(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId q, ValueId k, ValueId v, bool causal,
               TensorId bias) {
  const std::string name = g.NameOf(module) + ".attention";
  const std::int64_t batch = g.pass().batch, width = g.value(q).width;
  const std::int64_t queries = g.value(q).rows / batch, keys = g.value(k).rows / batch;
  const ValueId out = g.Activation(name + ".out", g.value(q).rows, width);
  const double pairs = causal ? Triangle(queries) : static_cast<double>(queries) * static_cast<double>(keys);
  Op& op =
      g.Emit(OpKind::kAttention, name, module, layer, {q, k, v}, {out}, 4 * static_cast<double>(batch * width) * pairs);
  op.plain = false;
  g.Use(op, bias);
  return out;
}

}  // namespace stowage
