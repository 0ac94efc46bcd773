#include "planner/families/attach.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::size_t kShownDifferences = 5;

// Buffers that old versions of transformers stored and new ones compute.
bool IsToleratedLeftover(std::string_view name) {
  constexpr std::array kBuffers = {"rotary_emb.inv_freq", ".attn.bias",   ".attn.masked_bias",
                                   ".attention.bias",     ".masked_bias", "embeddings.position_ids"};
  return std::any_of(kBuffers.begin(), kBuffers.end(), [&](const char* ending) { return name.ends_with(ending); });
}

// transformers' base_model_prefix: "transformer" of GPT2LMHeadModel, and the one that GPT2Model would lie under.
std::string BasePrefix(const Model& model) {
  for (const auto& [family, prefix] : {std::pair("opt", "model"), std::pair("gpt_neox", "gpt_neox"),
                                       std::pair("bert", "bert"), std::pair("vit", "vit")}) {
    if (model.family == family) return prefix;
  }
  for (const char* family : {"gpt2", "gptj", "bloom", "falcon"}) {
    if (model.family == family) return "transformer";
  }
  return "";
}

// A checkpoint of the base class has the names of the class with a head less its prefix, and the other way round.
class StoredNames {
 public:
  StoredNames(const Model& model, const Checkpoint& checkpoint) : prefix_(BasePrefix(model)) {
    if (!prefix_.empty()) prefix_ += '.';
    by_name_.reserve(checkpoint.tensors.size());
    for (std::size_t i = 0; i < checkpoint.tensors.size(); ++i) by_name_.emplace(checkpoint.tensors[i].name, i);
  }

  std::optional<std::size_t> Find(const std::string& name) const {
    auto it = by_name_.find(name);
    if (it == by_name_.end() && !prefix_.empty()) {
      it = name.starts_with(prefix_) ? by_name_.find(std::string_view(name).substr(prefix_.size()))
                                     : by_name_.find(prefix_ + name);
    }
    if (it == by_name_.end()) return std::nullopt;
    return it->second;
  }

  // What lies outside the base prefix in a file of a class with a head, while `model` has none.
  bool IsHeadOf(const Model& model, std::string_view name) const {
    if (prefix_.empty() || name.starts_with(prefix_)) return false;
    const std::vector<ModuleId>& top = model.modules[0].children;
    return std::none_of(top.begin(), top.end(), [&](ModuleId m) {
      return name.starts_with(model.modules[m].name + ".") || model.modules[m].name + "." == prefix_;
    });
  }

 private:
  std::unordered_map<std::string_view, std::size_t> by_name_;
  std::string prefix_;
};

Error Differ(std::vector<std::string> differences, const std::string& where) {
  const std::size_t count = differences.size();
  if (count > kShownDifferences) differences.resize(kShownDifferences);
  std::string text = fmt::format("{}: {} tensor{} differ{} from what config.json describes: {}", where, count,
                                 count == 1 ? "" : "s", count == 1 ? "s" : "", Join(differences, "; "));
  if (count > kShownDifferences) text += fmt::format("; and {} more", count - kShownDifferences);
  return {ErrorCode::kInvalidInput, std::move(text)};
}

// One stored tensor serves its whole tied group.
void ShareTies(Model& model) {
  for (const std::vector<TensorId>& group : model.tied_groups) {
    Tensor& owner = model.tensors[group[0]];
    for (const TensorId id : group) {
      if (!owner.source && model.tensors[id].source) {
        owner.source = model.tensors[id].source;
        owner.dtype = owner.source->dtype;
      }
    }
    for (const TensorId id : group) {
      model.tensors[id].source = owner.source;
      model.tensors[id].dtype = owner.dtype;
    }
  }
}

}  // namespace

Status AttachCheckpoint(Model& model, const Checkpoint& checkpoint, const std::string& where) {
  const StoredNames stored(model, checkpoint);
  std::vector<std::string> differences;
  std::vector<bool> used(checkpoint.tensors.size());
  for (Tensor& t : model.tensors) {
    const std::optional<std::size_t> found = stored.Find(t.name);
    if (!found) continue;
    const CheckpointTensor& c = checkpoint.tensors[*found];
    used[*found] = true;
    if (c.shape != t.shape) {
      differences.push_back(fmt::format("'{}' is {} in {}, {} by the config", t.name, FormatShape(c.shape),
                                        checkpoint.files[c.source.file], FormatShape(t.shape)));
    } else if (!t.buffer && !IsFloating(t.dtype) && c.source.dtype != t.dtype) {
      differences.push_back(
          fmt::format("'{}' is stored as {}, {} by the config", t.name, Name(c.source.dtype), Name(t.dtype)));
    } else if (!t.buffer && IsFloating(t.dtype) && !IsFloating(c.source.dtype)) {
      differences.push_back(
          fmt::format("'{}' is stored as {}, not a floating-point type", t.name, Name(c.source.dtype)));
    } else if (t.persistent) {
      t.source = c.source;
      t.dtype = c.source.dtype;
    }
  }
  ShareTies(model);
  // Of what no class loads, files resaved by transformers hold nothing.
  std::erase_if(model.unloaded, [&](Tensor& t) {
    const std::optional<std::size_t> found = stored.Find(t.name);
    if (!found) return true;
    const CheckpointTensor& c = checkpoint.tensors[*found];
    used[*found] = c.shape == t.shape;  // else it is reported as unexpected
    t.source = c.source;
    t.dtype = c.source.dtype;
    return false;
  });
  for (const Tensor& t : model.tensors) {
    if (t.persistent && t.tied_to == kNoId && !t.source && !stored.Find(t.name)) {
      differences.push_back(fmt::format("'{}' {} is missing", t.name, FormatShape(t.shape)));
    }
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    const CheckpointTensor& c = checkpoint.tensors[i];
    if (used[i] || IsToleratedLeftover(c.name) || stored.IsHeadOf(model, c.name)) continue;
    differences.push_back(fmt::format("'{}' {} is unexpected", c.name, FormatShape(c.shape)));
  }
  if (!differences.empty()) return Differ(std::move(differences), where);
  model.files = checkpoint.files;
  return OkStatus();
}

}  // namespace stowage
