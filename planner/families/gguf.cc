#include "planner/families/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace stowage {
namespace {

// Limits far above every published model; they keep all products of sizes inside 64 bits.
constexpr std::int64_t kMostLayers = 10'000;
constexpr std::int64_t kMostWidth = 1 << 20;
constexpr std::int64_t kMostVocab = 1 << 24;
constexpr std::int64_t kMostPositions = std::int64_t{1} << 31;

// "blk.12" of "blk.12.attn_q.weight", "enc.blk.0" of "enc.blk.0.ffn_up.weight"; empty for a tensor in no layer.
std::string_view LayerOf(std::string_view name) {
  const std::size_t blk = name.starts_with("blk.") ? 0 : name.find(".blk.");
  if (blk == std::string_view::npos) return {};
  const std::size_t number = blk + (blk == 0 ? 4 : 5);
  std::size_t end = number;
  while (end < name.size() && std::isdigit(static_cast<unsigned char>(name[end])) != 0) ++end;
  return end > number && end < name.size() && name[end] == '.' ? name.substr(0, end) : std::string_view();
}

std::string_view UpToLastDot(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(0, dot);
}

// Modules come as the names do; PutInPreOrder sorts them, and the tensors, where the file's order is another. Made for
// files of a million tensors: names are looked up as views into the tensors, whose vector must not grow meanwhile.
class TreeBuilder {
 public:
  TreeBuilder(Model& model, std::size_t tensors) : model_(model) {
    model_.tensors.reserve(tensors);
    known_.reserve(tensors);
    model_.modules.push_back({"", "Gguf", kNoId, {}, {}});
  }

  void Add(CheckpointTensor&& source) {
    const auto id = static_cast<TensorId>(model_.tensors.size());
    Tensor& t = model_.tensors.emplace_back();
    t.name = std::move(source.name);
    t.shape = std::move(source.shape);
    t.dtype = source.source.dtype;
    t.source = source.source;
    t.module = ModuleFor(t.name);
    model_.modules[t.module].tensors.push_back(id);
  }

  void PutInPreOrder() {
    std::vector<ModuleId> order;
    order.reserve(model_.modules.size());
    Visit(0, order);
    bool sorted = std::is_sorted(order.begin(), order.end());
    TensorId last = kNoId;
    for (const ModuleId m : order) {
      for (const TensorId t : model_.modules[m].tensors) sorted = sorted && t > std::exchange(last, t);
    }
    if (!sorted) Renumber(order);
  }

 private:
  ModuleId ModuleFor(std::string_view tensor) {
    const std::string_view layer = LayerOf(tensor);
    const std::string_view own = UpToLastDot(tensor);
    if (layer.empty()) return Child(0, own, "GgufOp");
    if (layer != last_layer_) {
      last_layer_ = layer;
      last_layer_id_ = Child(Child(0, UpToLastDot(layer), "GgufLayers"), layer, "GgufLayer");
    }
    return own == layer ? last_layer_id_ : Child(last_layer_id_, own, "GgufOp");
  }

  ModuleId Child(ModuleId parent, std::string_view name, const char* class_name) {
    const auto [it, is_new] = known_.try_emplace(name, static_cast<ModuleId>(model_.modules.size()));
    if (is_new) {
      model_.modules.push_back({std::string(name), class_name, parent, {}, {}});
      model_.modules[parent].children.push_back(it->second);
    }
    return it->second;
  }

  // At most four deep.
  void Visit(ModuleId from, std::vector<ModuleId>& order) const {
    order.push_back(from);
    for (const ModuleId child : model_.modules[from].children) Visit(child, order);
  }

  void Renumber(const std::vector<ModuleId>& order) {
    std::vector<ModuleId> place(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) place[order[i]] = static_cast<ModuleId>(i);
    std::vector<Module> modules;
    std::vector<Tensor> tensors;
    modules.reserve(order.size());
    tensors.reserve(model_.tensors.size());
    for (const ModuleId from : order) {
      Module& m = modules.emplace_back(std::move(model_.modules[from]));
      if (m.parent != kNoId) m.parent = place[m.parent];
      for (ModuleId& child : m.children) child = place[child];
      for (TensorId& t : m.tensors) {
        tensors.push_back(std::move(model_.tensors[t]));
        tensors.back().module = place[from];
        t = static_cast<TensorId>(tensors.size() - 1);
      }
    }
    model_.modules = std::move(modules);
    model_.tensors = std::move(tensors);
  }

  Model& model_;
  std::unordered_map<std::string_view, ModuleId> known_;
  std::string_view last_layer_;  // the layer of the tensor before: files have them together
  ModuleId last_layer_id_ = kNoId;
};

class LlamaKeys {
 public:
  LlamaKeys(const GgufMetadata& metadata, const std::string& where) : metadata_(metadata), where_(where) {}

  // A whole number that every layer shares, in [1, most]; `fallback` (if positive) when the key is absent.
  Result<std::int64_t> Count(std::string_view key, std::int64_t most, std::int64_t fallback = 0) const {
    const std::string full = fmt::format("llama.{}", key);
    if (metadata_.Find(full) == nullptr && fallback > 0) return fallback;
    const std::vector<std::int64_t> values = metadata_.Integers(full);
    if (values.empty()) return Error{ErrorCode::kInvalidInput, fmt::format("{}: has no {}, a number", where_, full)};
    for (const std::int64_t v : values) {
      // 0 heads or widths are those of layers without attention or FFN.
      if (v < (values.size() > 1 ? 0 : 1) || v > most) {
        return Error{ErrorCode::kInvalidInput, fmt::format("{}: {} is {}, not in [1, {}]", where_, full, v, most)};
      }
    }
    return AllEqual(values) ? values[0] : 0;
  }

  double NumberOr(std::string_view key, double fallback) const {
    return metadata_.Number(fmt::format("llama.{}", key)).value_or(fallback);
  }

 private:
  static bool AllEqual(const std::vector<std::int64_t>& values) {
    return std::all_of(values.begin(), values.end(), [&](std::int64_t v) { return v == values[0]; });
  }

  const GgufMetadata& metadata_;
  const std::string& where_;
};

// All zeros where layers differ.
Result<TransformerShape> ReadLlamaShape(const GgufMetadata& metadata, const std::string& where) {
  const LlamaKeys keys(metadata, where);
  TransformerShape s;
  STOWAGE_TRY(s.layers, keys.Count("block_count", kMostLayers));
  STOWAGE_TRY(s.hidden, keys.Count("embedding_length", kMostWidth));
  STOWAGE_TRY(s.intermediate, keys.Count("feed_forward_length", kMostWidth));
  STOWAGE_TRY(s.heads, keys.Count("attention.head_count", kMostWidth));
  STOWAGE_TRY(s.max_positions, keys.Count("context_length", kMostPositions));
  if (s.layers * s.hidden * s.intermediate * s.heads == 0) return TransformerShape{};
  STOWAGE_TRY(s.kv_heads, keys.Count("attention.head_count_kv", kMostWidth, s.heads));
  if (s.kv_heads == 0) return TransformerShape{};
  const std::int64_t usual = std::max<std::int64_t>(s.hidden / s.heads, 1);
  STOWAGE_TRY(s.head_dim, keys.Count("attention.key_length", kMostWidth, usual));
  STOWAGE_TRY(const std::int64_t value_dim, keys.Count("attention.value_length", kMostWidth, usual));
  if (value_dim != s.head_dim) return TransformerShape{};
  const GgufValue* tokens = metadata.Find("tokenizer.ggml.tokens");
  const std::int64_t listed = tokens != nullptr && tokens->type == GgufType::kArray ? tokens->count : 0;
  STOWAGE_TRY(s.vocab, keys.Count("vocab_size", kMostVocab, listed));
  s.norm_eps = keys.NumberOr("attention.layer_norm_rms_epsilon", s.norm_eps);
  s.rope_theta = keys.NumberOr("rope.freq_base", s.rope_theta);
  return s;
}

}  // namespace

Result<Model> BuildGgufModel(GgufCheckpoint checkpoint) {
  Model model;
  const std::string& where = checkpoint.files.files[0];
  if (checkpoint.files.tensors.empty()) {
    return Error{ErrorCode::kInvalidInput, where + ": holds no tensors: a vocabulary, not a model"};
  }
  const std::string architecture(checkpoint.metadata.Text("general.architecture").value_or("unknown"));
  model.name = checkpoint.stem;
  model.family = "gguf/" + architecture;
  model.class_name = "Gguf";
  model.no_split_classes = {"GgufLayer"};
  if (architecture == "llama") {
    STOWAGE_TRY(model.shape, ReadLlamaShape(checkpoint.metadata, where));
  }
  TreeBuilder tree(model, checkpoint.files.tensors.size());
  for (CheckpointTensor& t : checkpoint.files.tensors) tree.Add(std::move(t));
  tree.PutInPreOrder();
  model.files = std::move(checkpoint.files.files);
  return model;
}

}  // namespace stowage
