#include "planner/realize/torch_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace stowage::torch_eager {
namespace {

std::string_view LastComponent(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == path.npos ? path : path.substr(dot + 1);
}

double Float(std::int64_t n) { return static_cast<double>(n); }

}  // namespace

TorchWords::TorchWords(const Model& m, const Pass& p, TorchProgram* program)
    : model(m), s(m.shape), pass(p), dtype(program->dtype), eager(program), program_(program) {
  cache.resize(static_cast<std::size_t>(s.layers));
}

// ---- modules

void TorchWords::Fail(std::string what) {
  if (!status_.ok()) return;
  status_ = Error{ErrorCode::kInvalidInput, fmt::format("model '{}' {}", model.name, what)};
}

Status TorchWords::Refuse(std::string_view what) const {
  return Error{ErrorCode::kInvalidInput, fmt::format("the torch runtime of model '{}': {}", model.name, what)};
}

ModuleId TorchWords::FindChild(std::string_view name) const {
  const ModuleId parent = eager.Current();
  if (parent == kNoId) return kNoId;
  for (const ModuleId child : model.modules[parent].children) {
    if (LastComponent(model.modules[child].name) == name) return child;
  }
  return kNoId;
}

ModuleId TorchWords::Child(std::string_view name) {
  const ModuleId found = FindChild(name);
  if (found == kNoId) {
    const ModuleId parent = eager.Current();
    const std::string prefix = parent <= 0 ? "" : model.modules[parent].name + ".";
    Fail(fmt::format("has no module '{}{}'", prefix, name));
  }
  return found;
}

std::vector<ModuleId> TorchWords::Layers(std::string_view name) {
  const ModuleId list = Child(name);
  if (list == kNoId) return {};
  const std::vector<ModuleId>& layers = model.modules[list].children;
  if (layers.size() < cache.size()) Fail(fmt::format("has no module '{}.{}'", model.modules[list].name, layers.size()));
  return {layers.begin(), layers.begin() + static_cast<std::ptrdiff_t>(std::min(layers.size(), cache.size()))};
}

TensorId TorchWords::Own(ModuleId module, std::string_view name) const {
  if (module == kNoId) return kNoId;
  for (const TensorId id : model.modules[module].tensors) {
    if (LastComponent(model.tensors[id].name) == name) return id;
  }
  return kNoId;
}

Weights TorchWords::WeightsOf(ModuleId module) const {
  Weights weights;
  if (module == kNoId) return weights;
  for (const TensorId id : model.modules[module].tensors) {
    if (model.tensors[id].buffer) continue;
    if (weights.tensors.size() == 2) break;
    weights.tensors.push_back(id);
    weights.bytes += model.tensors[id].bytes();
  }
  return weights;
}

const Shape& TorchWords::WeightShape(ModuleId module) {
  if (module == kNoId) return no_shape_;
  for (const TensorId id : model.modules[module].tensors) {
    if (!model.tensors[id].buffer) return model.tensors[id].shape;
  }
  Fail(fmt::format("has no weight in module '{}'", model.modules[module].name));
  return no_shape_;
}

// ---- tensors

Ref TorchWords::To(const Ref& x, DType type) {
  if (x.spec().dtype == type) return x;
  return eager.Op("_to_copy.default", {x.spec().elements, type}, {&x});
}

// ---- modules that compute

Ref TorchWords::Embedding(std::string_view name, const Ref& ids) {
  const ModuleId module = Child(name);
  ModuleScope self(*this, module);
  const std::int64_t elements = ids.spec().elements.base * WeightShape(module).back();
  Weights table = WeightsOf(module);
  table.bytes = SizeOf(dtype, elements);
  return eager.Op("embedding.default", Of(elements), {&ids}, table);
}

Ref TorchWords::Linear(std::string_view name, const Ref& x) {
  const ModuleId module = Child(name);
  ModuleScope self(*this, module);
  const Shape& shape = WeightShape(module);  // [out, in]
  const Weights weights = WeightsOf(module);
  const std::string_view op = weights.tensors.size() > 1 ? "addmm.default" : "mm.default";
  const std::int64_t in = shape.back();
  if (in == 0 || x.spec().elements.base % in != 0) {
    Fail(fmt::format("has a weight of shape {} in '{}', which does not take {} elements", FormatShape(shape), name,
                     x.spec().elements.base));
    return x;
  }
  const std::int64_t out = x.spec().elements.base / in * shape.front();
  return eager.Op(op, Of(out), {&x}, weights, AffineFlops{2.0 * Float(out) * Float(in)});
}

Ref TorchWords::RmsNorm(std::string_view name, const Ref& x) {
  const ModuleId module = Child(name);
  ModuleScope self(*this, module);
  const std::int64_t width = Elements(WeightShape(module));
  if (width == 0) return x;
  const Count rows = {x.spec().elements.base / width};
  Ref hidden_states = To(x, DType::kF32);
  Ref squares = Unary("pow.Tensor_Scalar", hidden_states);
  Ref variance = eager.Op("mean.dim", {rows, DType::kF32}, {&squares});
  squares.Drop();
  Ref sum = Unary("add.Tensor", variance);
  Ref scale = Unary("rsqrt.default", sum);
  sum.Drop();
  Ref scaled = Mul(hidden_states, scale);
  scale.Drop();
  hidden_states = std::move(scaled);
  Ref narrow = To(hidden_states, dtype);
  Ref out = eager.Op("mul.Tensor", narrow.spec(), {&narrow}, WeightsOf(module));
  narrow.Drop();
  hidden_states.Drop();
  variance.Drop();
  return out;
}

Ref TorchWords::Activation(std::string_view name, const Ref& x) {
  const ModuleId module = FindChild(name);  // a tree without it: the event has no mark
  ModuleScope self(*this, module);
  const std::string& kind = module == kNoId ? "SiLUActivation" : model.modules[module].class_name;
  if (kind != "SiLUActivation" && !kind.empty()) {
    Fail(fmt::format("computes with {}, which the torch runtime does not know yet", kind));
  }
  return Unary("silu.default", x);
}

// ---- what decoders share

Ref TorchWords::TokenIds() {
  Ref input_ids = eager.Op("zeros.default", {{Rows()}, DType::kI64}, {});
  eager.SetRole(input_ids, TorchRole::kTokenIds);
  return input_ids;
}

Ref TorchWords::PositionIds() {
  const Spec spec = {{pass.tokens}, DType::kI64};
  Ref range = eager.Op("arange.default", spec, {});
  Ref position_ids = Unary("add.Tensor", range);
  range.Drop();
  return position_ids;
}

Rotary TorchWords::RotaryEmbedding(std::string_view name, const Ref& position_ids) {
  const ModuleId module = FindChild(name);
  ModuleScope self(*this, module);
  const TensorId buffer = Own(module, "inv_freq");
  std::int64_t half = (s.head_dim + 1) / 2;
  Ref positions = To(position_ids, DType::kF32);
  Weights inv_freq;  // a buffer: it stays on the device under every offload
  if (buffer != kNoId) {
    inv_freq.tensors.push_back(buffer);
    inv_freq.bytes = model.tensors[buffer].bytes();
    half = Elements(model.tensors[buffer].shape);
  }
  Ref freqs = eager.Op("mul.Tensor", {{pass.tokens * half}, DType::kF32}, {&positions}, inv_freq);
  positions.Drop();
  Ref emb = eager.Op("cat.default", {{pass.tokens * 2 * half}, DType::kF32}, {&freqs, &freqs});
  Ref raw = Unary("cos.default", emb);
  Ref cos = Unary("mul.Tensor", raw);  // * attention_scaling, be it 1
  raw.Drop();
  raw = Unary("sin.default", emb);
  Ref sin = Unary("mul.Tensor", raw);
  raw.Drop();
  Rotary result;
  result.cos = To(cos, dtype);
  result.sin = To(sin, dtype);
  freqs.Drop();
  emb.Drop();
  cos.Drop();
  sin.Drop();
  return result;
}

Ref TorchWords::RotateHalf(const Ref& x) {
  const std::int64_t first = x.spec().elements.base / s.head_dim * (s.head_dim / 2);
  const Ref x1 = x.View({first});
  const Ref x2 = x.View({x.spec().elements.base - first});
  Ref negative = Unary("neg.default", x2);
  Ref out = eager.Op("cat.default", x.spec(), {&negative, &x1});
  negative.Drop();
  return out;
}

Ref TorchWords::Rotate(const Ref& x, const Rotary& rotary) {
  Ref left = Mul(x, rotary.cos);
  Ref rotated = RotateHalf(x);
  Ref right = Mul(rotated, rotary.sin);
  rotated.Drop();
  Ref out = Add(left, right);
  left.Drop();
  right.Drop();
  return out;
}

void TorchWords::AdoptCache(std::int64_t width) {
  if (pass.past == 0 && pass.past_step == 0) return;
  const std::int64_t position = pass.batch * width;
  const Spec spec = {{pass.past * position, pass.past_step * position}, dtype};
  for (KeyValues& layer : cache) {
    layer.keys = eager.Adopt("past", spec, TorchRole::kCache);
    layer.values = eager.Adopt("past", spec, TorchRole::kCache);
  }
}

void TorchWords::AppendTo(Ref& cached, const Ref& states) {
  cached = eager.Op("cat.default", {cached.spec().elements + states.spec().elements, dtype}, {&cached, &states});
  eager.SetRole(cached, TorchRole::kCache);
}

KeyValues TorchWords::Append(std::size_t layer, const Ref& key, const Ref& value) {
  if (!pass.keeps_cache) return {key, value};
  KeyValues& kv = cache[layer];
  if (kv.keys.id() == kNoId) {  // lazy_initialization: two empty tensors
    kv.keys = eager.Empty("_to_copy.default", Of(0));
    kv.values = eager.Empty("_to_copy.default", Of(0));
  }
  AppendTo(kv.keys, key);
  AppendTo(kv.values, value);
  return kv;
}

Ref TorchWords::Attention(const Ref& query, const KeyValues& kv) {
  Ref out = eager.Empty("empty.memory_format", query.spec());
  Ref lse = eager.Empty("empty.memory_format", {{pass.batch * s.heads * pass.tokens}, DType::kF32});
  // Two products of 2 * head_dim flops per head and (query, visible key) pair.
  const double per_pair = 4.0 * Float(query.spec().elements.base / pass.tokens);
  const double t = Float(pass.tokens);
  const double pairs = t * Float(pass.past) + t * (t + 1) / 2;
  const AffineFlops flops = {per_pair * pairs, per_pair * t * Float(pass.past_step)};
  eager.Launch("scaled_dot_product_attention", {&query, &kv.keys, &kv.values}, {&lse, &out}, {}, flops);
  lse.Drop();
  return out;
}

// ---- what the caller holds

void TorchWords::KeepOutput(Ref ref) {
  eager.SetRole(ref, TorchRole::kLogits);
  eager.Keep(std::move(ref));
}

void TorchWords::KeepCache() {
  if (!pass.keeps_cache) return;
  for (KeyValues& layer : cache) {
    program_->cache.push_back(layer.keys.id());
    program_->cache.push_back(layer.values.id());
    eager.Keep(std::move(layer.keys));
    eager.Keep(std::move(layer.values));
  }
}

}  // namespace stowage::torch_eager
