#include "planner/realize/torch_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/base/check.h"

namespace stowage {
namespace {

std::string_view LastComponent(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == path.npos ? path : path.substr(dot + 1);
}

// "Mixtral" of MixtralForCausalLM and MixtralModel.
std::string ClassPrefix(std::string_view class_name) {
  for (const std::string_view end : {"ForCausalLM", "Model"}) {
    if (class_name.ends_with(end)) return std::string(class_name.substr(0, class_name.size() - end.size()));
  }
  return std::string(class_name);
}

// The three matrices of an expert, by either naming.
struct Expert {
  const Tensor* gate = nullptr;
  const Tensor* up = nullptr;
  const Tensor* down = nullptr;
};

class Rebuilder {
 public:
  Rebuilder(const Model& from, std::optional<DType> dtype)
      : from_(from),
        dtype_(dtype),
        to_(from),
        tensors_(from.tensors.size(), kNoId),
        modules_(from.modules.size(), kNoId) {
    to_.modules.clear();
    to_.tensors.clear();
    to_.tied_groups.clear();
    to_.unloaded.clear();
  }

  Result<Model> Run() {
    Copy(0, kNoId, "");
    if (!error_.empty()) return Error{ErrorCode::kInvalidInput, fmt::format("model '{}': {}", from_.name, error_)};
    Tie();
    return std::move(to_);
  }

 private:
  void Fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
  }

  const Module& Source(ModuleId id) const { return from_.modules[static_cast<std::size_t>(id)]; }

  ModuleId AddModule(std::string_view name, std::string class_name, ModuleId parent) {
    const auto id = static_cast<ModuleId>(to_.modules.size());
    std::string path = parent <= 0 ? std::string() : to_.modules[parent].name + ".";
    path += name;
    to_.modules.push_back({.name = std::move(path), .class_name = std::move(class_name), .parent = parent});
    if (parent != kNoId) to_.modules[parent].children.push_back(id);
    return id;
  }

  TensorId AddTensor(ModuleId module, std::string_view name, Tensor tensor) {
    const auto id = static_cast<TensorId>(to_.tensors.size());
    const std::string& path = to_.modules[module].name;
    tensor.name = path.empty() ? std::string(name) : path + "." + std::string(name);
    tensor.module = module;
    tensor.tied_to = kNoId;
    to_.tensors.push_back(std::move(tensor));
    to_.modules[module].tensors.push_back(id);
    return id;
  }

  void Copy(ModuleId id, ModuleId parent, std::string_view name) {
    const Module& module = Source(id);
    if (from_.class_name == "CLIPTextModel" && module.class_name == "CLIPTextTransformer") {
      for (const ModuleId child : module.children) Copy(child, parent, LastComponent(Source(child).name));
      return;
    }
    if (module.class_name == "Gemma3ForConditionalGeneration") return CopyGemma3(id);
    if (module.class_name == "ViTEncoder") return Copy(module.children.front(), parent, "layers");
    if (module.class_name == "ViTLayer") return CopyVitLayer(id, parent, name);
    const bool mixtral = module.class_name == "MixtralSparseMoeBlock";
    const ModuleId copy = AddModule(mixtral ? "mlp" : name, module.class_name, parent);
    modules_[id] = copy;
    if (dtype_ && module.class_name == "FP8Linear") to_.modules[copy].class_name = "Linear";
    if (module.same_as != kNoId) to_.modules[copy].same_as = modules_[module.same_as];
    for (const bool buffers : {false, true}) {
      for (const TensorId tensor : module.tensors) {
        if (IsBuffer(tensor) == buffers) CopyTensor(tensor, copy);
      }
    }
    for (const ModuleId child : module.children) {
      const std::string_view child_name = LastComponent(Source(child).name);
      if (child_name == "experts" && Source(child).class_name == "ModuleList") {
        StackExperts(child, copy);
      } else {
        Copy(child, copy, child_name);
      }
    }
  }

  // The module at `path` below `id`; the tree is of planner/families, which made it.
  ModuleId Below(ModuleId id, std::string_view path) const {
    const std::string name = Source(id).name + "." + std::string(path);
    for (ModuleId at = id; at < static_cast<ModuleId>(from_.modules.size()); ++at) {
      if (Source(at).name == name) return at;
    }
    return kNoId;
  }

  // Gemma 3 with its vision tower: what files have beside each other is one model, with the head after it.
  void CopyGemma3(ModuleId id) {
    modules_[id] = AddModule("", Source(id).class_name, kNoId);
    const auto model = AddModule("model", "Gemma3Model", modules_[id]);
    ModuleId text = kNoId;
    for (const ModuleId child : Source(id).children) {
      const std::string_view name = LastComponent(Source(child).name);
      if (name == "language_model") {
        text = child;
      } else if (name != "vision_tower") {
        Copy(child, model, name);
      } else {
        modules_[child] = AddModule(name, Source(child).class_name, model);
        for (const ModuleId part : Source(Source(child).children.front()).children) {
          Copy(part, modules_[child], LastComponent(Source(part).name));
        }
      }
    }
    if (text == kNoId) return Fail("has no language_model");
    for (const ModuleId part : Source(text).children) {
      const bool head = LastComponent(Source(part).name) == "lm_head";
      Copy(part, head ? modules_[id] : model, head ? "lm_head" : "language_model");
    }
  }

  void CopyVitLayer(ModuleId id, ModuleId parent, std::string_view name) {
    const ModuleId layer = AddModule(name, Source(id).class_name, parent);
    modules_[id] = layer;
    const auto copy = [&](std::string_view from, ModuleId to, std::string_view as) {
      const ModuleId source = Below(id, from);
      if (source == kNoId) return Fail(fmt::format("'{}' has no module '{}'", Source(id).name, from));
      Copy(source, to, as);
    };
    const ModuleId attention = AddModule("attention", "ViTAttention", layer);
    copy("attention.attention.query", attention, "q_proj");
    copy("attention.attention.key", attention, "k_proj");
    copy("attention.attention.value", attention, "v_proj");
    copy("attention.output.dense", attention, "o_proj");
    copy("layernorm_before", layer, "layernorm_before");
    copy("layernorm_after", layer, "layernorm_after");
    const ModuleId mlp = AddModule("mlp", "ViTMLP", layer);
    copy("intermediate.intermediate_act_fn", mlp, "activation_fn");
    copy("intermediate.dense", mlp, "fc1");
    copy("output.dense", mlp, "fc2");
    copy("output.dropout", layer, "dropout");
  }

  bool IsBuffer(TensorId id) const {
    const Tensor& tensor = from_.tensors[static_cast<std::size_t>(id)];
    return tensor.buffer || LastComponent(tensor.name) == "e_score_correction_bias";
  }

  // The dtype of a parameter: as asked for, else its own unless that is a packed one.
  DType Held(const Tensor& tensor) {
    if (dtype_) return IsFloating(tensor.dtype) || tensor.weights_per_element > 1 ? *dtype_ : tensor.dtype;
    if (tensor.weights_per_element != 1 || tensor.dtype == DType::kF8E4M3) {
      Fail(fmt::format("'{}' is packed; eager torch is only realized for plain weights (--dtype)", tensor.name));
    }
    return tensor.dtype;
  }

  void CopyTensor(TensorId id, ModuleId module) {
    const Tensor& source = from_.tensors[static_cast<std::size_t>(id)];
    if (dtype_ && source.weights_per_element == 0) return;  // a scale
    Tensor tensor = source;
    std::string_view name = LastComponent(source.name);
    const bool was_buffer = source.buffer;
    tensor.buffer = IsBuffer(id);
    if (!was_buffer || name == "embed_scale") tensor.dtype = Held(source);  // gemma's is made in the default dtype
    if (source.weights_per_element > 1 && name.ends_with("_blocks")) {      // mxfp4: [E, rows, columns / 32, 16]
      name.remove_suffix(std::string_view("_blocks").size());
      tensor.shape = {source.shape[0], source.shape[2] * source.shape[3] * 2, source.shape[1]};
      tensor.weights_per_element = 1;
      tensor.source.reset();
    }
    if (tensor.source && tensor.dtype != tensor.source->dtype && source.dtype == DType::kF8E4M3) tensor.source.reset();
    tensors_[id] = AddTensor(module, name, std::move(tensor));
  }

  const Tensor* WeightOf(ModuleId id) const {
    for (const TensorId tensor : Source(id).tensors) {
      if (LastComponent(from_.tensors[static_cast<std::size_t>(tensor)].name) == "weight") {
        return &from_.tensors[static_cast<std::size_t>(tensor)];
      }
    }
    return nullptr;
  }

  Expert ReadExpert(ModuleId id) const {
    Expert expert;
    for (const ModuleId child : Source(id).children) {
      const std::string_view name = LastComponent(Source(child).name);
      if (name == "gate_proj" || name == "w1") expert.gate = WeightOf(child);
      if (name == "up_proj" || name == "w3") expert.up = WeightOf(child);
      if (name == "down_proj" || name == "w2") expert.down = WeightOf(child);
    }
    return expert;
  }

  void StackExperts(ModuleId list, ModuleId parent) {
    const Module& experts = Source(list);
    const ModuleId copy = AddModule("experts", ClassPrefix(from_.class_name) + "Experts", parent);
    modules_[list] = copy;
    if (experts.children.empty()) return Fail(fmt::format("'{}' holds no experts", experts.name));
    const Expert first = ReadExpert(experts.children.front());
    for (const ModuleId child : experts.children) {
      const Expert expert = ReadExpert(child);
      const bool whole = expert.gate != nullptr && expert.up != nullptr && expert.down != nullptr;
      if (!whole || expert.gate->shape.size() != 2 || expert.gate->shape != first.gate->shape ||
          expert.up->shape != first.gate->shape || expert.down->shape != first.down->shape) {
        return Fail(fmt::format("'{}' is not like the experts beside it", Source(child).name));
      }
    }
    const auto count = static_cast<std::int64_t>(experts.children.size());
    Stack(copy, "gate_up_proj", *first.gate, {count, 2 * first.gate->shape[0], first.gate->shape[1]});
    Stack(copy, "down_proj", *first.down, {count, first.down->shape[0], first.down->shape[1]});
    for (const ModuleId child : Source(experts.children.front()).children) {
      const std::string_view name = LastComponent(Source(child).name);
      if (name == "act_fn") AddModule(name, Source(child).class_name, copy);
    }
  }

  void Stack(ModuleId module, std::string_view name, const Tensor& one, Shape shape) {
    Tensor stacked;
    stacked.shape = std::move(shape);
    stacked.dtype = Held(one);
    AddTensor(module, name, std::move(stacked));
  }

  void Tie() {
    for (std::size_t i = 0; i < from_.tensors.size(); ++i) {
      const TensorId owner = from_.tensors[i].tied_to;
      if (owner != kNoId && tensors_[i] != kNoId) to_.tensors[tensors_[i]].tied_to = tensors_[owner];
    }
    for (const std::vector<TensorId>& group : from_.tied_groups) {
      std::vector<TensorId> copy;
      for (const TensorId id : group) {
        STOWAGE_CHECK(tensors_[id] != kNoId);
        copy.push_back(tensors_[id]);
      }
      to_.tied_groups.push_back(std::move(copy));
    }
  }

  const Model& from_;
  const std::optional<DType> dtype_;
  Model to_;
  std::vector<TensorId> tensors_;  // of from_, in to_
  std::vector<ModuleId> modules_;
  std::string error_;
};

}  // namespace

Model WithoutProjection(Model model) {
  if (model.class_name != "CLIPTextModelWithProjection") return model;
  const ModuleId last = static_cast<ModuleId>(model.modules.size()) - 1;
  STOWAGE_CHECK(model.modules[last].name == "text_projection" && model.tensors.back().module == last);
  model.class_name = "CLIPTextModel";
  model.modules[0].class_name = model.class_name;
  model.modules[0].children.pop_back();
  model.modules.pop_back();
  model.tensors.pop_back();
  return model;
}

Result<Model> AsTransformersHolds(const Model& model, std::optional<DType> dtype) {
  return Rebuilder(model, dtype).Run();
}

}  // namespace stowage
