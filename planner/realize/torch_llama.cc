// transformers' modeling_llama.py (5.23) as a sequence of references. Each function here is the Python method of that
// name, statement by statement; read the two side by side. What Python drops implicitly is dropped here by name.
//
// Facts of that text which decide the memory:
//  - RMSNorm works in fp32: in a 16-bit model each norm holds three fp32 activations at once.
//  - `residual` keeps the layer's input alive through the attention, and the caller's `hidden_states` keeps it through
//    the whole layer; `inputs_embeds` and the rotary tables live until the model returns.
//  - apply_rotary_pos_emb returns both results before q and k are assigned: the unrotated pair outlives the rotation.
//  - A DynamicCache grows by concatenation: while one layer's keys are appended, old and new keys coexist.
//  - Without a mask argument no causal mask is made (is_causal does it), and the fused kernel groups queries itself, so
//    keys and values are not repeated per query head.
//  - lm_head runs on every position: logits_to_keep is 0 unless generate() asks.
#include <fmt/format.h>

#include <string>

#include "planner/realize/torch.h"
#include "planner/realize/torch_eager.h"
#include "planner/realize/torch_llama_modules.h"

namespace stowage {
namespace {

using torch_eager::Count;
using torch_eager::Eager;
using torch_eager::LayerModules;
using torch_eager::LlamaModules;
using torch_eager::Ref;
using torch_eager::Spec;
using torch_eager::Weights;

class LlamaForward {
 public:
  LlamaForward(const Model& model, const LlamaModules& modules, const Pass& pass, DType dtype, Eager& eager)
      : model_(model), s_(model.shape), m_(modules), pass_(pass), dtype_(dtype), eager_(eager) {}

  void Run();

 private:
  struct Cached {
    Ref keys, values;
  };
  struct Rotary {
    Ref cos, sin;
  };

  std::int64_t Rows() const { return pass_.batch * pass_.tokens; }
  Spec Of(std::int64_t elements) const { return {{elements}, dtype_}; }
  Weights WeightsOf(ModuleId module) const;
  Ref To(const Ref& x, DType dtype);
  Ref Mul(const Ref& a, const Ref& b) { return eager_.Op("mul.Tensor", a.spec(), {&a, &b}); }
  Ref Add(const Ref& a, const Ref& b) { return eager_.Op("add.Tensor", a.spec(), {&a, &b}); }
  Ref Linear(ModuleId module, const Ref& x, std::int64_t in, std::int64_t out);
  Ref RotateHalf(const Ref& x);
  Ref Rotate(const Ref& x, const Rotary& rotary);
  void AppendTo(Ref& cached, const Ref& states);

  void AdoptCache();
  Ref PositionIds();
  Rotary RotaryEmbedding(const Ref& position_ids);
  Ref RmsNorm(ModuleId module, const Ref& x);
  Ref Attention(const LayerModules& m, const Ref& hidden_states, const Rotary& rotary, Cached& cache);
  Ref ScaledDotProductAttention(const Ref& query, const Cached& cache);
  Ref Mlp(const LayerModules& m, const Ref& x);
  Ref DecoderLayer(const LayerModules& m, const Ref& x, const Rotary& rotary, Cached& cache);
  Ref Base(const Ref& input_ids);

  const Model& model_;
  const TransformerShape& s_;
  const LlamaModules& m_;
  const Pass& pass_;
  const DType dtype_;
  Eager& eager_;
  std::vector<Cached> cache_;
};

Weights LlamaForward::WeightsOf(ModuleId module) const {
  Weights weights;
  for (const TensorId id : model_.modules[module].tensors) {
    if (model_.tensors[id].buffer) continue;
    weights.tensors.push_back(id);
    weights.bytes += model_.tensors[id].bytes();
  }
  return weights;
}

// x.to(dtype): x itself when it has that dtype.
Ref LlamaForward::To(const Ref& x, DType dtype) {
  if (x.spec().dtype == dtype) return x;
  return eager_.Op("_to_copy.default", {x.spec().elements, dtype}, {&x});
}

// nn.Linear of a contiguous [batch, tokens, in]: one mm, or one addmm with a bias.
Ref LlamaForward::Linear(ModuleId module, const Ref& x, std::int64_t in, std::int64_t out) {
  eager_.Enter(module);
  const Weights weights = WeightsOf(module);
  const std::string_view op = weights.tensors.size() > 1 ? "addmm.default" : "mm.default";
  const AffineFlops flops = {2.0 * static_cast<double>(Rows()) * static_cast<double>(in) * static_cast<double>(out)};
  Ref y = eager_.Op(op, Of(Rows() * out), {&x}, weights, flops);
  eager_.Exit(module);
  return y;
}

Ref LlamaForward::RmsNorm(ModuleId module, const Ref& x) {
  eager_.Enter(module);
  const Count rows = {Rows()};
  Ref hidden_states = To(x, DType::kF32);
  Ref squares = eager_.Op("pow.Tensor_Scalar", hidden_states.spec(), {&hidden_states});
  Ref variance = eager_.Op("mean.dim", {rows, DType::kF32}, {&squares});
  squares.Drop();
  Ref sum = eager_.Op("add.Tensor", variance.spec(), {&variance});
  Ref scale = eager_.Op("rsqrt.default", sum.spec(), {&sum});
  sum.Drop();
  Ref scaled = Mul(hidden_states, scale);
  scale.Drop();
  hidden_states = std::move(scaled);
  Ref narrow = To(hidden_states, dtype_);
  Ref out = eager_.Op("mul.Tensor", narrow.spec(), {&narrow}, WeightsOf(module));
  narrow.Drop();
  hidden_states.Drop();
  variance.Drop();
  eager_.Exit(module);
  return out;
}

// torch.arange(tokens) + past; one row for all sequences.
Ref LlamaForward::PositionIds() {
  const Spec spec = {{pass_.tokens}, DType::kI64};
  Ref range = eager_.Op("arange.default", spec, {});
  Ref position_ids = eager_.Op("add.Tensor", spec, {&range});
  range.Drop();
  return position_ids;
}

LlamaForward::Rotary LlamaForward::RotaryEmbedding(const Ref& position_ids) {
  eager_.Enter(m_.rotary);
  const std::int64_t half = (s_.head_dim + 1) / 2;
  Ref positions = To(position_ids, DType::kF32);
  Weights inv_freq;  // a buffer: it stays on the device under every offload
  if (m_.rotary != kNoId && !model_.modules[m_.rotary].tensors.empty()) {
    inv_freq.tensors.push_back(model_.modules[m_.rotary].tensors.front());
    inv_freq.bytes = model_.tensors[inv_freq.tensors[0]].bytes();
  }
  Ref freqs = eager_.Op("mul.Tensor", {{pass_.tokens * half}, DType::kF32}, {&positions}, inv_freq);
  positions.Drop();
  Ref emb = eager_.Op("cat.default", {{pass_.tokens * 2 * half}, DType::kF32}, {&freqs, &freqs});
  Ref raw = eager_.Op("cos.default", emb.spec(), {&emb});
  Ref cos = eager_.Op("mul.Tensor", raw.spec(), {&raw});  // * attention_scaling, be it 1
  raw.Drop();
  raw = eager_.Op("sin.default", emb.spec(), {&emb});
  Ref sin = eager_.Op("mul.Tensor", raw.spec(), {&raw});
  raw.Drop();
  Rotary result;
  result.cos = To(cos, dtype_);
  result.sin = To(sin, dtype_);
  freqs.Drop();
  emb.Drop();
  cos.Drop();
  sin.Drop();
  eager_.Exit(m_.rotary);
  return result;
}

Ref LlamaForward::RotateHalf(const Ref& x) {
  const std::int64_t first = x.spec().elements.base / s_.head_dim * (s_.head_dim / 2);
  const Ref x1 = x.View({first});
  const Ref x2 = x.View({x.spec().elements.base - first});
  Ref negative = eager_.Op("neg.default", x2.spec(), {&x2});
  Ref out = eager_.Op("cat.default", x.spec(), {&negative, &x1});
  negative.Drop();
  return out;
}

// (x * cos) + (rotate_half(x) * sin)
Ref LlamaForward::Rotate(const Ref& x, const Rotary& rotary) {
  Ref left = Mul(x, rotary.cos);
  Ref rotated = RotateHalf(x);
  Ref right = Mul(rotated, rotary.sin);
  rotated.Drop();
  Ref out = Add(left, right);
  left.Drop();
  right.Drop();
  return out;
}

void LlamaForward::AppendTo(Ref& cached, const Ref& states) {
  cached = eager_.Op("cat.default", {cached.spec().elements + states.spec().elements, dtype_}, {&cached, &states});
  eager_.SetRole(cached, TorchRole::kCache);
}

// The recorder's stand-in for the fused kernels: the output, and the log-sum-exp that inference throws away.
Ref LlamaForward::ScaledDotProductAttention(const Ref& query, const Cached& cache) {
  Ref out = eager_.Empty("empty.memory_format", query.spec());
  Ref lse = eager_.Empty("empty.memory_format", {{pass_.batch * s_.heads * pass_.tokens}, DType::kF32});
  // Two products of 2 * head_dim flops per head and (query, visible key) pair.
  const double per_pair = 4.0 * static_cast<double>(s_.head_dim * s_.heads * pass_.batch);
  const auto t = static_cast<double>(pass_.tokens);
  const double pairs = t * static_cast<double>(pass_.past) + t * (t + 1) / 2;
  const AffineFlops flops = {per_pair * pairs, per_pair * t * static_cast<double>(pass_.past_step)};
  eager_.Launch("scaled_dot_product_attention", {&query, &cache.keys, &cache.values}, {&lse, &out}, {}, flops);
  lse.Drop();
  return out;
}

Ref LlamaForward::Attention(const LayerModules& m, const Ref& hidden_states, const Rotary& rotary, Cached& cache) {
  eager_.Enter(m.attention);
  const std::int64_t q_width = s_.heads * s_.head_dim;
  const std::int64_t kv_width = s_.kv_heads * s_.head_dim;
  Ref query = Linear(m.q, hidden_states, s_.hidden, q_width);
  Ref key = Linear(m.k, hidden_states, s_.hidden, kv_width);
  Ref value = Linear(m.v, hidden_states, s_.hidden, kv_width);
  {
    Ref q_embed = Rotate(query, rotary);
    Ref k_embed = Rotate(key, rotary);
    query = std::move(q_embed);
    key = std::move(k_embed);
  }
  if (cache.keys.id() == kNoId) {  // DynamicLayer.lazy_initialization: two empty tensors
    cache.keys = eager_.Empty("_to_copy.default", Of(0));
    cache.values = eager_.Empty("_to_copy.default", Of(0));
  }
  AppendTo(cache.keys, key);
  AppendTo(cache.values, value);
  key = cache.keys;  // key_states, value_states = past_key_values.update(...)
  value = cache.values;
  Ref attn_output = ScaledDotProductAttention(query, cache);
  attn_output = Linear(m.o, attn_output, q_width, s_.hidden);
  query.Drop();
  key.Drop();
  value.Drop();
  eager_.Exit(m.attention);
  return attn_output;
}

Ref LlamaForward::Mlp(const LayerModules& m, const Ref& x) {
  eager_.Enter(m.mlp);
  Ref gate = Linear(m.gate, x, s_.hidden, s_.intermediate);
  eager_.Enter(m.act);
  Ref act = eager_.Op("silu.default", gate.spec(), {&gate});
  eager_.Exit(m.act);
  gate.Drop();
  Ref up = Linear(m.up, x, s_.hidden, s_.intermediate);
  Ref product = Mul(act, up);
  act.Drop();
  up.Drop();
  Ref down = Linear(m.down, product, s_.intermediate, s_.hidden);
  product.Drop();
  eager_.Exit(m.mlp);
  return down;
}

Ref LlamaForward::DecoderLayer(const LayerModules& m, const Ref& x, const Rotary& rotary, Cached& cache) {
  eager_.Enter(m.layer);
  Ref residual = x;
  Ref hidden_states = RmsNorm(m.input_norm, x);
  hidden_states = Attention(m, hidden_states, rotary, cache);
  hidden_states = Add(residual, hidden_states);
  residual = hidden_states;
  hidden_states = RmsNorm(m.post_norm, hidden_states);
  hidden_states = Mlp(m, hidden_states);
  hidden_states = Add(residual, hidden_states);
  residual.Drop();
  eager_.Exit(m.layer);
  return hidden_states;
}

Ref LlamaForward::Base(const Ref& input_ids) {
  eager_.Enter(m_.base);
  eager_.Enter(m_.embed);
  Weights table = WeightsOf(m_.embed);
  table.bytes = SizeOf(dtype_, Rows() * s_.hidden);
  Ref inputs_embeds = eager_.Op("embedding.default", Of(Rows() * s_.hidden), {&input_ids}, table);
  eager_.Exit(m_.embed);
  Ref position_ids = PositionIds();
  Ref hidden_states = inputs_embeds;
  Rotary rotary = RotaryEmbedding(position_ids);
  for (std::size_t i = 0; i < m_.layers.size(); ++i) {
    hidden_states = DecoderLayer(m_.layers[i], hidden_states, rotary, cache_[i]);
  }
  hidden_states = RmsNorm(m_.norm, hidden_states);
  position_ids.Drop();
  inputs_embeds.Drop();
  rotary.cos.Drop();
  rotary.sin.Drop();
  eager_.Exit(m_.base);
  return hidden_states;
}

void LlamaForward::AdoptCache() {
  cache_.resize(m_.layers.size());
  if (pass_.past == 0 && pass_.past_step == 0) return;
  const std::int64_t position = pass_.batch * s_.kv_heads * s_.head_dim;
  const Spec spec = {{pass_.past * position, pass_.past_step * position}, dtype_};
  for (Cached& layer : cache_) {
    layer.keys = eager_.Adopt("past", spec, TorchRole::kCache);
    layer.values = eager_.Adopt("past", spec, TorchRole::kCache);
  }
}

void LlamaForward::Run() {
  AdoptCache();
  Ref input_ids = eager_.Op("zeros.default", {{Rows()}, DType::kI64}, {});
  eager_.SetRole(input_ids, TorchRole::kTokenIds);
  if (m_.head != kNoId) eager_.Enter(m_.root);
  Ref out = Base(input_ids);
  if (m_.head != kNoId) {
    Ref logits = Linear(m_.head, out, s_.hidden, s_.vocab);
    out = std::move(logits);
    eager_.Exit(m_.root);
  }
  eager_.SetRole(out, TorchRole::kLogits);
  input_ids.Drop();
  eager_.Keep(std::move(out));
  for (Cached& layer : cache_) {
    eager_.Keep(std::move(layer.keys));
    eager_.Keep(std::move(layer.values));
  }
}

Status CheckSupported(const Model& model, const Pass& pass) {
  const auto refuse = [&](std::string what) -> Status {
    return Error{ErrorCode::kInvalidInput, fmt::format("the torch runtime of model '{}': {}", model.name, what)};
  };
  if (model.family != "llama")
    return refuse(fmt::format("family '{}' is not realized yet, only llama is", model.family));
  if (model.rope.type == "dynamic" || model.rope.type == "longrope") {
    return refuse(fmt::format("rope '{}' recomputes its frequencies, which is not realized yet", model.rope.type));
  }
  if (pass.batch < 1) return refuse(fmt::format("batch is {}, at least 1 is needed", pass.batch));
  if (pass.tokens < 1) return refuse(fmt::format("a pass of {} tokens, at least 1 is needed", pass.tokens));
  if (pass.past < 0) return refuse(fmt::format("a cache of {} positions", pass.past));
  if (pass.past > 0 && pass.tokens > 1) {
    return refuse(
        fmt::format("{} new tokens over a cache of {} need a mask, which is not realized yet", pass.tokens, pass.past));
  }
  return OkStatus();
}

}  // namespace

Result<TorchProgram> RealizeTorch(const Model& model, const Pass& pass) {
  STOWAGE_RETURN_IF_ERROR(CheckSupported(model, pass));
  STOWAGE_TRY(const LlamaModules modules, torch_eager::FindModules(model));
  const std::vector<TensorId>& table = model.modules[modules.embed].tensors;
  if (table.empty()) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("model '{}': module '{}' has no weight", model.name, model.modules[modules.embed].name)};
  }
  TorchProgram program;
  program.pass = pass;
  program.dtype = model.tensors[table.front()].dtype;
  program.events.reserve(static_cast<std::size_t>(model.shape.layers) * 150 + 64);
  Eager eager(&program);
  LlamaForward(model, modules, pass, program.dtype, eager).Run();
  program.cache.assign(program.kept.begin() + 1, program.kept.end());
  return program;
}

}  // namespace stowage
