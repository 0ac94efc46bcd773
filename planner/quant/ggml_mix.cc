#include "planner/quant/ggml_mix.h"

#include <string_view>

namespace stowage {
namespace {

bool UseMoreBits(std::int64_t layer, std::int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

bool IsValueLike(TensorRole role) { return role == TensorRole::kValue || role == TensorRole::kQkv; }

class Mix {
 public:
  Mix(const Model& model, const std::vector<TensorFacts>& facts, const QuantScheme& scheme)
      : s_(model.shape),
        name_(scheme.name),
        most_(scheme.dtype),
        falcon_(model.family == "falcon" || model.family.starts_with("RefinedWeb")),
        is_70b_(Is70B(model)) {
    for (std::size_t t = 0; t < facts.size(); ++t) {
      if (model.tensors[t].buffer || model.tensors[t].tied_to != kNoId) continue;
      if (IsValueLike(facts[t].role) && !facts[t].vision) ++values_;
      if (facts[t].role == TensorRole::kOutput) has_output_ = true;
    }
  }

  DType Of(const TensorFacts& t) {
    const TensorRole role = t.role;
    if (role == TensorRole::kVector || role == TensorRole::kPositions || role == TensorRole::kRouter ||
        role == TensorRole::kConvolution) {
      return DType::kF32;
    }
    if (t.vision) return DType::kF16;
    const std::int64_t k = t.matrix.k;
    if (role == TensorRole::kOutput || (role == TensorRole::kTable && !has_output_)) return FallbackFor(Head(k), k);
    return FallbackFor(Wanted(t), k);
  }

 private:
  bool Is(std::string_view name) const { return name_ == name; }
  bool Groups4() const { return s_.kv_heads > 0 && s_.heads / s_.kv_heads >= 4; }
  // llama.cpp's LLM_TYPE_70B.
  static bool Is70B(const Model& model) {
    return model.shape.layers == 80 && model.shape.experts == 0 && model.shape.heads != model.shape.kv_heads &&
           (model.family == "llama" || model.family == "qwen2");
  }

  DType Head(std::int64_t k) const {
    if (falcon_ || k % Block(most_).elements != 0 || most_ == DType::kQ8_0) return DType::kQ8_0;
    return DType::kQ6_K;
  }

  DType Wanted(const TensorFacts& t) {
    if (IsValueLike(t.role)) return Value(value_++);
    if (t.role == TensorRole::kKey) return s_.experts == 8 ? DType::kQ8_0 : most_;
    if (t.role == TensorRole::kFfnDown) return Down(t.layer);
    if (t.role == TensorRole::kAttentionOutput) return Output();
    return most_;
  }

  DType Value(std::int64_t i) const {
    DType type = most_;
    if (Is("q2_k")) type = Groups4() ? DType::kQ4_K : DType::kQ3_K;
    if (Is("q3_k_m")) type = i < 2 ? DType::kQ5_K : DType::kQ4_K;
    if (Is("q3_k_l")) type = DType::kQ5_K;
    if ((Is("iq4_nl") || Is("iq4_xs")) && Groups4()) type = DType::kQ5_K;
    if ((Is("q4_k_m") || Is("q5_k_m")) && UseMoreBits(i, values_)) type = DType::kQ6_K;
    if (Is("q4_k_s") && i < 4) type = DType::kQ5_K;
    if (is_70b_ && (type == DType::kQ3_K || type == DType::kQ4_K)) type = DType::kQ5_K;
    return s_.experts == 8 ? DType::kQ8_0 : type;
  }

  DType Down(std::int64_t layer) const {
    const bool more = UseMoreBits(layer, s_.layers), first = layer < s_.layers / 8;
    const bool very_first = layer < s_.layers / 16;
    if (Is("q2_k")) return DType::kQ3_K;
    if (Is("q3_k_m")) return very_first ? DType::kQ5_K : !falcon_ || more ? DType::kQ4_K : DType::kQ3_K;
    if (Is("q3_k_l")) return falcon_ ? DType::kQ4_K : DType::kQ5_K;
    if (Is("q4_k_m") && falcon_) return very_first ? DType::kQ6_K : more ? DType::kQ5_K : DType::kQ4_K;
    if ((Is("q4_k_m") || Is("q5_k_m")) && more) return DType::kQ6_K;
    if ((Is("iq4_nl") || Is("iq4_xs")) && first) return DType::kQ5_K;
    if (Is("q4_k_s") && !falcon_ && first) return DType::kQ5_K;
    return most_;
  }

  DType Output() const {
    if (falcon_) return Is("q3_k_l") ? DType::kQ4_K : most_;
    if (s_.experts == 8) {
      for (const char* name : {"q2_k", "q3_k_s", "q3_k_m", "iq4_nl", "q4_k_s", "q4_k_m", "iq4_xs"}) {
        if (Is(name)) return DType::kQ5_K;
      }
      return most_;
    }
    if (Is("q2_k")) return DType::kQ3_K;
    if (Is("q3_k_m")) return DType::kQ4_K;
    if (Is("q3_k_l")) return DType::kQ5_K;
    return most_;
  }

  const TransformerShape& s_;
  const std::string_view name_;
  const DType most_;
  const bool falcon_, is_70b_;
  bool has_output_ = false;
  std::int64_t values_ = 0;  // attn_v and fused qkv tensors
  std::int64_t value_ = 0;   // of them, seen so far
};

}  // namespace

DType FallbackFor(DType wanted, std::int64_t k) {
  if (k % Block(wanted).elements == 0) return wanted;
  DType next = DType::kF16;
  if (wanted == DType::kIQ4_XS) next = DType::kIQ4_NL;
  if (wanted == DType::kQ2_K || wanted == DType::kQ3_K) next = DType::kQ4_0;
  if (wanted == DType::kQ4_K) next = DType::kQ5_0;
  if (wanted == DType::kQ5_K) next = DType::kQ5_1;
  if (wanted == DType::kQ6_K) next = DType::kQ8_0;
  return k % Block(next).elements == 0 ? next : DType::kF16;
}

std::vector<DType> GgmlTypes(const Model& model, const std::vector<TensorFacts>& facts, const QuantScheme& scheme) {
  Mix mix(model, facts, scheme);
  std::vector<DType> types;
  types.reserve(model.tensors.size());
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const Tensor& t = model.tensors[i];
    types.push_back(t.buffer || t.tied_to != kNoId ? t.dtype : mix.Of(facts[i]));
  }
  return types;
}

}  // namespace stowage
