#include "planner/families/attach.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::size_t kShownDifferences = 5;

bool IsToleratedLeftover(std::string_view name) { return name.ends_with("rotary_emb.inv_freq"); }

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
  std::unordered_map<std::string_view, TensorId> stored;
  stored.reserve(checkpoint.tensors.size());
  for (std::size_t i = 0; i < checkpoint.tensors.size(); ++i) {
    stored.emplace(checkpoint.tensors[i].name, static_cast<TensorId>(i));
  }
  std::vector<std::string> differences;
  std::vector<bool> used(checkpoint.tensors.size());
  for (Tensor& t : model.tensors) {
    const auto it = stored.find(t.name);
    if (it == stored.end()) continue;
    const CheckpointTensor& c = checkpoint.tensors[it->second];
    used[it->second] = true;
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
    const auto it = stored.find(t.name);
    if (it == stored.end()) return true;
    const CheckpointTensor& c = checkpoint.tensors[it->second];
    used[it->second] = c.shape == t.shape;  // else it is reported as unexpected
    t.source = c.source;
    t.dtype = c.source.dtype;
    return false;
  });
  for (const Tensor& t : model.tensors) {
    if (t.persistent && t.tied_to == kNoId && !t.source && !stored.contains(t.name)) {
      differences.push_back(fmt::format("'{}' {} is missing", t.name, FormatShape(t.shape)));
    }
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    const CheckpointTensor& c = checkpoint.tensors[i];
    if (used[i] || IsToleratedLeftover(c.name)) continue;
    differences.push_back(fmt::format("'{}' {} is unexpected", c.name, FormatShape(c.shape)));
  }
  if (!differences.empty()) return Differ(std::move(differences), where);
  model.files = checkpoint.files;
  return OkStatus();
}

}  // namespace stowage
