#include "planner/quant/tensor_role.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace stowage {
namespace {

struct Named {
  std::string_view ending;  // of the module's name; a leading '.' makes it whole components
  TensorRole role;
};

// The first that matches. Spellings of transformers' classes: llama's, then gpt2's, gpt_neox's, opt's, bloom's,
// falcon's, gptj's, mixtral's, t5's, bert's, vit's.
constexpr std::array kByName = std::to_array<Named>({
    {".q_proj", TensorRole::kQuery},
    {".k_proj", TensorRole::kKey},
    {".v_proj", TensorRole::kValue},
    {".o_proj", TensorRole::kAttentionOutput},
    {".qkv_proj", TensorRole::kQkv},
    {".kv_b_proj", TensorRole::kMlaUp},
    {".down_proj", TensorRole::kFfnDown},
    {".query", TensorRole::kQuery},
    {".key", TensorRole::kKey},
    {".value", TensorRole::kValue},
    {".attention.output.dense", TensorRole::kAttentionOutput},
    {".output.dense", TensorRole::kFfnDown},
    {".c_attn", TensorRole::kQkv},
    {".attn.c_proj", TensorRole::kAttentionOutput},
    {".self_attn.c_proj", TensorRole::kAttentionOutput},
    {".mlp.c_proj", TensorRole::kFfnDown},
    {".query_key_value", TensorRole::kQkv},
    {"attention.dense", TensorRole::kAttentionOutput},
    {".dense_4h_to_h", TensorRole::kFfnDown},
    {".out_proj", TensorRole::kAttentionOutput},
    {".fc_out", TensorRole::kFfnDown},
    {".fc2", TensorRole::kFfnDown},
    {".w2", TensorRole::kFfnDown},
    {".DenseReluDense.wo", TensorRole::kFfnDown},
    {"Attention.q", TensorRole::kQuery},
    {"Attention.k", TensorRole::kKey},
    {"Attention.v", TensorRole::kValue},
    {"Attention.o", TensorRole::kAttentionOutput},
});

constexpr std::array kHeads = std::to_array<std::string_view>({"lm_head", "embed_out", "proj_out"});
constexpr std::array kPositionTables =
    std::to_array<std::string_view>({"wpe", "embed_positions", "position_embeddings", "position_embedding",
                                     "token_type_embeddings", "relative_attention_bias"});

std::string_view LastOf(std::string_view path) { return path.substr(path.rfind('.') + 1); }

bool IsRoutedExpert(const Model& model, const Tensor& tensor) {
  const std::string& path = model.modules[tensor.module].name;
  return path.find(".experts.") != std::string::npos || path.ends_with(".experts");
}

TensorRole RoleOf(const Model& model, const Tensor& tensor) {
  const Module& module = model.modules[tensor.module];
  const std::string_view last = LastOf(module.name);
  const std::string& of = module.class_name;
  if (tensor.shape.size() < 2 || tensor.name.ends_with("bias")) {
    return last == "relative_attention_bias" ? TensorRole::kPositions : TensorRole::kVector;
  }
  if (of.find("Conv") == 0 && of != "Conv1D") return TensorRole::kConvolution;
  if (of.find("Router") != std::string::npos || of.ends_with("Gate")) return TensorRole::kRouter;
  if (of.find("Norm") != std::string::npos) return TensorRole::kVector;
  if (std::find(kPositionTables.begin(), kPositionTables.end(), last) != kPositionTables.end()) {
    return TensorRole::kPositions;
  }
  if (of.find("Embedding") != std::string::npos) {
    return LastOf(tensor.name) == "weight" ? TensorRole::kTable : TensorRole::kPositions;
  }
  if (std::find(kHeads.begin(), kHeads.end(), last) != kHeads.end()) return TensorRole::kOutput;
  if (IsStacked(tensor)) {
    return LastOf(tensor.name).starts_with("down_proj") ? TensorRole::kFfnDown : TensorRole::kOther;
  }
  for (const Named& row : kByName) {
    if (module.name.ends_with(row.ending)) return row.role;
  }
  return of == "Linear" || of == "Conv1D" ? TensorRole::kOther : TensorRole::kPositions;
}

MatrixSize MatrixOf(const Model& model, const Tensor& tensor) {
  const Shape& s = tensor.shape;
  if (s.size() != 2 && s.size() != 3) return {};
  if (IsStacked(tensor)) return {s[0] * s[2], s[1]};
  if (model.modules[tensor.module].class_name == "Conv1D") return {s[1], s[0]};
  return {s[0], s[1]};
}

std::int64_t LayerOf(const Tensor& tensor) {
  const std::string_view name = tensor.name;
  for (std::size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
    std::int64_t layer = -1;
    const char* begin = name.data() + dot + 1;
    const auto [end, error] = std::from_chars(begin, name.data() + name.size(), layer);
    if (error == std::errc() && end != name.data() + name.size() && *end == '.') return layer;
  }
  return -1;
}

}  // namespace

bool IsStacked(const Tensor& tensor) { return tensor.shape.size() == 3; }

std::vector<TensorFacts> FactsOf(const Model& model) {
  std::vector<TensorFacts> out;
  out.reserve(model.tensors.size());
  for (const Tensor& t : model.tensors) {
    out.push_back({.role = RoleOf(model, t),
                   .matrix = MatrixOf(model, t),
                   .layer = LayerOf(t),
                   .routed_expert = IsRoutedExpert(model, t),
                   .vision = t.name.find("vision") != std::string::npos ||
                             t.name.find("multi_modal_projector") != std::string::npos});
  }
  return out;
}

}  // namespace stowage
