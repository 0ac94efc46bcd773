#include "planner/quant/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/families/families.h"
#include "planner/quant/ggml_mix.h"
#include "planner/quant/tensor_role.h"

namespace stowage {
namespace {

constexpr std::int64_t kBnbBlock = 64;
constexpr std::int64_t kNestedBlock = 256;
constexpr std::int64_t kGroup = 128;

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// What a tensor becomes.
struct Stored {
  DType dtype;
  std::int64_t scales = 0;  // and the padding of elements
};

// optimum-quanto: the largest of 128, 96, 64, 32 that divides k; without one a scale a row.
std::int64_t QuantoGroup(std::int64_t k) {
  for (std::int64_t group = kGroup; group >= 32; group -= 32) {
    if (k > group && k % group == 0) return group;
  }
  return k;
}

std::optional<Stored> StoreAs(const QuantScheme& scheme, MatrixSize m, std::int64_t value_bytes) {
  const std::int64_t n = m.rows * m.k, absmax = CeilDiv(n, kBnbBlock), groups = CeilDiv(m.k, kGroup);
  const std::string_view name = scheme.name;
  const auto stored = [&](std::int64_t scales) { return Stored{.dtype = scheme.dtype, .scales = scales}; };
  if (name == "int8" || name == "fp8-row") return stored(4 * m.rows);
  if (name == "int8-row") return stored(value_bytes * m.rows);
  if (name == "nf4" || name == "fp4") return stored(4 * absmax + 16 * 4);
  if (name == "nf4-double") return stored(absmax + 4 * CeilDiv(absmax, kNestedBlock) + 256 * 4 + 4 + 16 * 4);
  if (name == "int4") return stored(2 * value_bytes * m.rows * (m.k / QuantoGroup(m.k)));
  if (name == "int4-torchao") {
    const std::int64_t k = CeilDiv(m.k, 1024) * 1024, rows = CeilDiv(m.rows, 8) * 8;
    return stored(rows * (k / kGroup) * 4 + rows * k / 2 - CeilDiv(n, 2));
  }
  if (name == "hqq") return n % 64 == 0 ? std::optional(stored(n / 64 * 4)) : std::nullopt;
  if (name == "gptq") {
    if (m.k % 32 != 0 || m.rows % 32 != 0) return std::nullopt;
    return stored(m.rows * groups * 2 + m.rows / 2 * groups + 4 * m.k);
  }
  if (name == "awq") {
    if (m.k % kGroup != 0 || m.rows % 8 != 0) return std::nullopt;
    return stored(m.rows * groups * 2 + m.rows / 2 * groups);
  }
  if (name == "fp8") return stored(4 * CeilDiv(m.rows, kGroup) * groups);
  if (name == "nvfp4") return m.k % 16 == 0 ? std::optional(stored(m.rows * (m.k / 16) + 4)) : std::nullopt;
  if (name == "mxfp4") return m.k % 32 == 0 ? std::optional(stored(m.rows * (m.k / 32))) : std::nullopt;
  return std::nullopt;
}

// A stack is quantized matrix by matrix.
std::optional<Stored> StoreStack(const QuantScheme& scheme, const Tensor& t, std::int64_t value_bytes) {
  std::optional<Stored> one = StoreAs(scheme, {t.shape[2], t.shape[1]}, value_bytes);
  if (one) one->scales *= t.shape[0];
  return one;
}

// transformers' get_keys_to_not_convert: prefixes or endings of module names.
std::vector<std::string> KeysNotConverted(const Model& model) {
  std::vector<std::string> keys;
  const auto add = [&](std::string name) {
    if (name.ends_with(".weight")) name.resize(name.size() - 7);
    keys.push_back(std::move(name));
  };
  for (const std::vector<TensorId>& group : model.tied_groups) {
    for (const TensorId t : group) add(model.tensors[t].name);
  }
  const auto last = std::find_if(model.tensors.rbegin(), model.tensors.rend(),
                                 [](const Tensor& t) { return !t.buffer && t.tied_to == kNoId; });
  if (last != model.tensors.rend()) add(last->name);
  if (model.family.ends_with("t5")) keys.emplace_back("wo");  // T5PreTrainedModel._keep_in_fp32_modules
  return keys;
}

class TorchRules {
 public:
  TorchRules(const Model& model, const std::vector<TensorFacts>& facts, const QuantScheme& scheme)
      : model_(model),
        facts_(facts),
        scheme_(scheme),
        keys_(KeysNotConverted(model)),
        value_bytes_(SizeOf(model.ComputeDType(), 1).value()) {}

  std::optional<Stored> Of(TensorId id) const {
    const Tensor& t = model_.tensors[id];
    if (t.buffer || t.tied_to != kNoId || !IsFloating(t.dtype)) return std::nullopt;
    if (IsStacked(t)) {
      return QuantizesStack(t, facts_[id]) ? StoreStack(scheme_, t, value_bytes_) : std::nullopt;
    }
    return QuantizesMatrix(t, facts_[id]) ? StoreAs(scheme_, facts_[id].matrix, value_bytes_) : std::nullopt;
  }

 private:
  bool QuantizesMatrix(const Tensor& t, const TensorFacts& facts) const {
    const Module& m = model_.modules[t.module];
    if (t.shape.size() != 2 || (m.class_name != "Linear" && m.class_name != "Conv1D")) return false;
    if (scheme_.rule == QuantRule::kExperts) return facts.routed_expert;
    if (scheme_.rule == QuantRule::kBlocks) return model_.BlockOf(t.module) != kNoId;
    return facts.role != TensorRole::kOutput && std::none_of(keys_.begin(), keys_.end(), [&](const auto& key) {
             return m.name.ends_with(key) || m.name.starts_with(key + ".");
           });
  }

  bool QuantizesStack(const Tensor& t, const TensorFacts& facts) const {
    if (t.name.ends_with("bias") || !facts.routed_expert) return false;
    if (scheme_.rule == QuantRule::kMatrices || scheme_.rule == QuantRule::kExperts) return true;
    return model_.modules[t.module].class_name == "Llama4TextExperts";  // made Linear modules first
  }

  const Model& model_;
  const std::vector<TensorFacts>& facts_;
  const QuantScheme& scheme_;
  const std::vector<std::string> keys_;
  const std::int64_t value_bytes_;
};

Status CheckUnquantized(const Model& model) {
  if (model.family.starts_with("gguf/")) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} is a GGUF file, whose types are decided: --dtype auto keeps them", model.name)};
  }
  for (const Tensor& t : model.tensors) {
    if (t.buffer || (!IsPacked(t.dtype) && t.weights_per_element == 1 && t.scales == Bytes(0))) continue;
    return Error{ErrorCode::kInvalidInput, fmt::format("{} is quantized already ('{}' is {}): --dtype auto keeps it",
                                                       model.name, t.name, Name(t.dtype))};
  }
  return OkStatus();
}

// llama.cpp splits kv_b_proj: the keys' part is transposed, its rows are as long as a head without its rotary part.
std::int64_t MoreForMla(const TransformerShape& s, DType wanted, DType given) {
  const std::int64_t nope = s.head_dim - s.rope_head_dim, elements = s.heads * nope * s.kv_lora_rank;
  const std::int64_t more = SizeOf(FallbackFor(wanted, nope), elements).value() - SizeOf(given, elements).value();
  return more > 0 ? more : 0;
}

std::vector<std::optional<Stored>> StoreInGgml(const Model& model, const std::vector<TensorFacts>& facts,
                                               const QuantScheme& scheme) {
  const std::vector<DType> types = GgmlTypes(model, facts, scheme);
  std::vector<std::optional<Stored>> out(types.size());
  for (std::size_t i = 0; i < types.size(); ++i) {
    const Tensor& t = model.tensors[i];
    if (t.buffer || !IsFloating(t.dtype)) continue;
    Stored stored{.dtype = types[t.tied_to == kNoId ? i : static_cast<std::size_t>(t.tied_to)]};
    if (facts[i].role == TensorRole::kMlaUp) stored.scales = MoreForMla(model.shape, scheme.dtype, stored.dtype);
    out[i] = stored;
  }
  return out;
}

// By TensorId; nothing for a tensor that stays as it is.
Result<std::vector<std::optional<Stored>>> StoredBy(const Model& model, const std::vector<TensorFacts>& facts,
                                                    const QuantScheme& scheme) {
  STOWAGE_RETURN_IF_ERROR(CheckUnquantized(model));
  if (scheme.rule == QuantRule::kGgml) return StoreInGgml(model, facts, scheme);
  const TorchRules rules(model, facts, scheme);
  std::vector<std::optional<Stored>> out;
  for (std::size_t i = 0; i < facts.size(); ++i) out.push_back(rules.Of(static_cast<TensorId>(i)));
  if (std::any_of(out.begin(), out.end(), [](const auto& s) { return s.has_value(); })) return out;
  return Error{ErrorCode::kInvalidInput,
               fmt::format("{} ({}) quantizes nothing of {}", scheme.name, scheme.about, model.name)};
}

}  // namespace

Status Quantize(Model& model, const QuantScheme& scheme) {
  STOWAGE_TRY(const auto stored, StoredBy(model, FactsOf(model), scheme));
  model.compute_dtype = model.ComputeDType();
  model.quantization = scheme.name;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    Tensor& t = model.tensors[i];
    t.source.reset();
    if (!stored[i]) continue;
    t.dtype = stored[i]->dtype;
    t.scales = Bytes(stored[i]->scales);
  }
  model.files.clear();
  return OkStatus();
}

Result<Bytes> QuantizedWeightBytes(const Model& model, const std::vector<TensorFacts>& facts,
                                   const QuantScheme& scheme) {
  STOWAGE_TRY(const auto stored, StoredBy(model, facts, scheme));
  Bytes total;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const Tensor& t = model.tensors[i];
    if (t.buffer || t.tied_to != kNoId) continue;
    total += stored[i] ? SizeOf(stored[i]->dtype, Elements(t.shape)) + Bytes(stored[i]->scales) : t.bytes();
  }
  return total;
}

Status ApplyFormat(Model& model, const Request& request) {
  if (request.dtype) SetDType(model, *request.dtype);
  const bool as_stored = !request.dtype && request.quantization.empty() && model.files.empty();
  const std::string& name = as_stored ? model.stored_scheme : request.quantization;
  if (name.empty()) return OkStatus();
  const QuantScheme* scheme = FindScheme(name);
  if (scheme != nullptr) return Quantize(model, *scheme);
  return Error{ErrorCode::kInvalidInput, fmt::format("'{}' is no quantization scheme", name)};
}

Bytes WasteOfFp32(const Model& model) {
  Bytes waste;
  for (const Tensor& t : model.tensors) {
    if (t.buffer || t.tied_to != kNoId || t.weights_per_element != 1 || t.scales > Bytes(0)) continue;
    if (t.dtype != DType::kF16 && t.dtype != DType::kBF16) continue;
    waste += SizeOf(DType::kF32, Elements(t.shape)) - t.bytes();
  }
  return waste;
}

}  // namespace stowage
