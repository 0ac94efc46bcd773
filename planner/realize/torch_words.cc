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

ModuleId ChildOf(const Model& model, ModuleId parent, std::string_view name) {
  for (const ModuleId child : model.modules[parent].children) {
    if (LastComponent(model.modules[child].name) == name) return child;
  }
  return kNoId;
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
  return parent == kNoId ? kNoId : ChildOf(model, parent, name);
}

ModuleId TorchWords::FindPath(std::string_view path) const {
  ModuleId at = eager.Current();
  while (at != kNoId && !path.empty()) {
    const std::size_t dot = path.find('.');
    at = ChildOf(model, at, path.substr(0, dot));
    path = dot == path.npos ? std::string_view() : path.substr(dot + 1);
  }
  return at;
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
  const Count elements = ids.spec().elements * WeightShape(module).back();
  Weights table = WeightsOf(module);
  table.bytes = SizeOf(dtype, elements.base);
  return eager.Op("embedding.default", {elements, dtype}, {&ids}, table);
}

Ref TorchWords::Linear(std::string_view name, const Ref& x) {
  const ModuleId module = Child(name);
  ModuleScope self(*this, module);
  const Shape& shape = WeightShape(module);  // [out, in]
  if (module != kNoId && model.modules[module].class_name == "FP8Linear") {
    Fail(fmt::format("has fp8 weights in '{}', which the torch runtime does not realize yet", name));
  }
  const Weights weights = WeightsOf(module);
  const std::string_view op = weights.tensors.size() > 1 ? "addmm.default" : "mm.default";
  const bool transposed = module != kNoId && model.modules[module].class_name == "Conv1D";  // [in, out]
  const std::int64_t in = transposed ? shape.front() : shape.back();
  if (in == 0 || x.spec().elements.base % in != 0) {
    Fail(fmt::format("has a weight of shape {} in '{}', which does not take {} elements", FormatShape(shape), name,
                     x.spec().elements.base));
    return x;
  }
  const Count out = x.spec().elements / in * (transposed ? shape.back() : shape.front());
  const AffineFlops flops = {2.0 * Float(out.base) * Float(in), 2.0 * Float(out.step) * Float(in)};
  return eager.Op(op, {out, dtype}, {&x}, weights, flops);
}

Ref TorchWords::Identity(std::string_view name, const Ref& x) {
  ModuleScope self(*this, FindChild(name));
  return x;
}

Ref TorchWords::RmsNorm(std::string_view name, const Ref& x, bool wide) {
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
  Ref out = wide ? hidden_states : To(hidden_states, dtype);
  Ref product = eager.Op("mul.Tensor", out.spec(), {&out}, WeightsOf(module));
  if (wide) {
    out = To(product, dtype);
    product.Drop();
  } else {
    out = std::move(product);
  }
  hidden_states.Drop();
  variance.Drop();
  return out;
}

Ref TorchWords::LayerNorm(std::string_view name, const Ref& x) {
  const ModuleId module = Child(name);
  ModuleScope self(*this, module);
  const Shape& shape = module == kNoId || model.modules[module].tensors.empty() ? Shape{s.hidden} : WeightShape(module);
  const std::int64_t width = Elements(shape);
  if (width == 0) return x;
  const Spec rows = {x.spec().elements / width, DType::kF32};
  Ref out = eager.Empty("native_layer_norm.default", x.spec());
  Ref mean = eager.Empty("native_layer_norm.default", rows);
  Ref rstd = eager.Empty("native_layer_norm.default", rows);
  eager.Launch("native_layer_norm.default", {&x}, {&out}, WeightsOf(module),
               AffineFlops{8 * Float(x.spec().elements.base)});
  return out;
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
  // The first layer says how many were before: in a tensor, if it is static and without a window.
  const bool counted = pass.reserved > 0 && pass.past > 0 && !cache.empty() && Window(0) == 0;
  Ref position_ids = counted ? eager.Op("add.Tensor", spec, {&range, &cache[0].scalar}) : Unary("add.Tensor", range);
  range.Drop();
  return position_ids;
}

// ---- what the caller holds

void TorchWords::KeepOutput(Ref ref) {
  eager.SetRole(ref, TorchRole::kLogits);
  eager.Keep(std::move(ref));
}

void TorchWords::SetFirstPassDiffers() { program_->own_text = pass.past > 0; }

void TorchWords::KeepCache() {
  if (!pass.keeps_cache) return;
  for (const KeyValues& layer : cache) {
    program_->cache.push_back(layer.keys.id());
    program_->cache.push_back(layer.values.id());
    if (pass.reserved > 0) program_->cache.push_back(layer.scalar.id());
  }
  // A Python list lets go of its last item first.
  for (auto layer = cache.rbegin(); layer != cache.rend(); ++layer) {
    eager.Keep(std::move(layer->keys));
    eager.Keep(std::move(layer->values));
    if (layer->scalar.id() != kNoId) eager.Keep(std::move(layer->scalar));
  }
}

void TorchWords::AdoptCrossed(CrossCaches& crossed, const CrossSizes& sizes) {
  crossed.encoded = eager.Adopt("past", sizes.encoded, TorchRole::kCache);
  for (std::size_t i = 0; i < cache.size(); ++i) {
    for (Ref* own : {&cache[i].keys, &cache[i].values}) *own = eager.Adopt("past", sizes.own, TorchRole::kCache);
    for (Ref* cross : {&crossed.layers[i].keys, &crossed.layers[i].values}) {
      *cross = eager.Adopt("past", sizes.cross, TorchRole::kCache);
    }
  }
}

KeyValues TorchWords::AppendCrossed(KeyValues& cross, const Ref& key, const Ref& value) {
  if (!pass.keeps_cache) return {key, value, {}};
  Ref no_keys = eager.Empty("_to_copy.default", Of(0));
  Ref no_values = eager.Empty("_to_copy.default", Of(0));
  const auto fill = [&](Ref& empty, const Ref& states) {
    Ref out = eager.Op("cat.default", states.spec(), {&empty, &states});
    eager.SetRole(out, TorchRole::kCache);
    empty.Drop();
    return out;
  };
  cross.keys = fill(no_keys, key);
  cross.values = fill(no_values, value);
  return cross;
}

void TorchWords::KeepCrossed(CrossCaches crossed) {
  eager.SetRole(crossed.encoded, TorchRole::kCache);
  program_->crossed = true;
  program_->cache = {crossed.encoded.id()};
  for (std::size_t i = 0; i < cache.size(); ++i) {
    for (const KeyValues* kv : {&cache[i], &crossed.layers[i]}) {
      program_->cache.push_back(kv->keys.id());
      program_->cache.push_back(kv->values.id());
    }
  }
  for (std::vector<KeyValues>* caches : {&cache, &crossed.layers}) {
    for (auto layer = caches->rbegin(); layer != caches->rend(); ++layer) {
      eager.Keep(std::move(layer->keys));
      eager.Keep(std::move(layer->values));
    }
  }
  eager.Keep(std::move(crossed.encoded));
}

void TorchWords::KeepModel() {
  for (Ref& held : held_by_model_) eager.Keep(std::move(held));
}

}  // namespace stowage::torch_eager
