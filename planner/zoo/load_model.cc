#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/families/attach.h"
#include "planner/families/families.h"
#include "planner/families/gguf.h"
#include "planner/families/stored_scheme.h"
#include "planner/families/weights_only.h"
#include "planner/formats/checkpoint.h"
#include "planner/formats/checkpoint_index.h"
#include "planner/formats/file.h"
#include "planner/formats/gguf_checkpoint.h"
#include "planner/formats/hf_config.h"
#include "planner/formats/module_tree_file.h"
#include "planner/zoo/hub_cache.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

std::string ConfigIn(const std::string& folder) { return JoinPath(folder, "config.json"); }

Result<Model> BuildFrom(const HfConfig& config, std::string name) {
  STOWAGE_TRY(Model model, BuildModel(config, std::move(name)));
  model.origin = config.where();
  return model;
}

// The config of `folder` if a family knows it; else `why` says why there is none.
Result<std::optional<HfConfig>> KnownConfig(const std::string& folder, std::string& why) {
  const std::string path = ConfigIn(folder);
  why = "there is no config.json";
  if (!IsFile(path)) return std::optional<HfConfig>();
  STOWAGE_TRY(HfConfig config, HfConfig::Read(path));
  STOWAGE_TRY(const std::string type, config.StringOr("model_type", ""));
  why = type.empty() ? "config.json has no model_type" : fmt::format("model_type \"{}\" is not known", type);
  if (!IsKnownFamily(type)) return std::optional<HfConfig>();
  return std::optional(std::move(config));
}

Result<Model> Attached(const HfConfig& config, const Checkpoint& files, const std::string& where,
                       const std::string& name) {
  STOWAGE_TRY(Model model, BuildModel(config, name));
  STOWAGE_RETURN_IF_ERROR(AttachCheckpoint(model, files, where));
  return model;
}

// The config.json of `folder` with the weights of `checkpoint`, a file or an index; the weights alone where no family
// can make anything of the config.
Result<Model> LoadWithWeights(const std::string& folder, const std::string& checkpoint, const std::string& name) {
  STOWAGE_TRY(const Checkpoint files, ReadCheckpoint(checkpoint));
  std::string why;
  STOWAGE_TRY(const std::optional<HfConfig> config, KnownConfig(folder, why));
  if (!config) {
    if (files.tensors.empty()) return Error{ErrorCode::kInvalidInput, checkpoint + ": has no tensors, and " + why};
    Model model = ModelFromHeaders(files, name, why);
    model.origin = checkpoint;
    return model;
  }
  Result<Model> model = Attached(*config, files, checkpoint, name);
  if (!model) {  // packed weights have names and shapes of their own; the headers know them
    STOWAGE_TRY(const std::string method, QuantMethod(*config));
    if (method.empty() || method == "fp8" || method == "mxfp4" || files.tensors.empty()) return model;
    model = ModelFromHeaders(files, name, fmt::format("its weights are packed by \"{}\"", method));
  }
  model->origin = checkpoint;
  return model;
}

// An index whose shards are pickles: they are code, and are not read.
Result<Model> LoadNames(const std::string& folder, const std::string& path, const std::string& name) {
  STOWAGE_TRY(const CheckpointIndex index, ReadCheckpointIndex(path));
  if (index.entries.empty()) return Error{ErrorCode::kInvalidInput, path + ": lists no tensors"};
  std::string why;
  STOWAGE_TRY(const std::optional<HfConfig> config, KnownConfig(folder, why));
  const std::string shards =
      fmt::format("{} tensors in {} shards, which are not read", index.entries.size(), index.files.size());
  if (!config) {
    Model model = ModelFromNames(index, name, why);
    model.origin = path;
    model.notes.push_back(fmt::format("The index names {}, and {}: no shapes are known.", shards, why));
    return model;
  }
  STOWAGE_TRY(Model model, BuildModel(*config, name));
  STOWAGE_RETURN_IF_ERROR(CheckNames(model, index, path));
  model.origin = path;
  model.notes.push_back(fmt::format("The index names {}: shapes and dtypes are those of config.json.", shards));
  if (index.total_size && *index.total_size != model.CheckpointBytes()) {
    model.notes.push_back(fmt::format("The index states {} B in all, config.json describes {} B.",
                                      FormatCount(index.total_size->value()),
                                      FormatCount(model.CheckpointBytes().value())));
  }
  model.stated_bytes = index.total_size;
  return model;
}

Result<Model> LoadIndex(const std::string& path, const std::string& name) {
  STOWAGE_TRY(const CheckpointIndex index, ReadCheckpointIndex(path));
  const bool pickles = !index.files.empty() && std::none_of(index.files.begin(), index.files.end(),
                                                            [](const auto& f) { return f.ends_with(".safetensors"); });
  return pickles ? LoadNames(FolderName(path), path, name) : LoadWithWeights(FolderName(path), path, name);
}

// A config.json, or an index under a name of its own.
Result<Model> LoadJson(const std::string& path) {
  const bool usual = BaseName(path) == "config.json";
  std::string name = BaseName(usual ? FolderName(path) : path);
  if (path.ends_with(".index.json")) return LoadIndex(path, BaseName(FolderName(path)));
  if (Result<CheckpointIndex> index = ReadCheckpointIndex(path)) return LoadIndex(path, name);
  STOWAGE_TRY(const HfConfig config, HfConfig::Read(path));
  return BuildFrom(config, std::move(name));
}

Result<Model> LoadGguf(const std::string& path) {
  STOWAGE_TRY(GgufCheckpoint checkpoint, ReadGgufCheckpoint(path));
  STOWAGE_TRY(Model model, BuildGgufModel(std::move(checkpoint)));
  model.origin = path;
  return model;
}

// The only GGUF model of a folder; a split one counts once.
Result<Model> LoadOnlyGguf(const std::string& folder) {
  std::vector<std::string> files;
  std::vector<std::string> names = NamesIn(folder);
  for (const std::string& name : names) {
    const std::size_t part = name.rfind("-of-");
    const bool later = part != std::string::npos && part >= 6 && name.substr(part - 6, 6) != "-00001";
    if (name.ends_with(".gguf") && !later) files.push_back(name);
  }
  if (files.size() == 1) return LoadGguf(JoinPath(folder, files[0]));
  if (files.size() > 1) {
    const std::size_t count = files.size();
    files.resize(std::min<std::size_t>(count, 5));
    return Error{ErrorCode::kInvalidInput, fmt::format("{}: holds {} GGUF models, name one of them: {}{}", folder,
                                                       count, Join(files, ", "), count > 5 ? ", ..." : "")};
  }
  if (std::find(names.begin(), names.end(), "model_index.json") != names.end()) {
    return Error{ErrorCode::kInvalidInput,
                 folder + ": is a pipeline of several models (model_index.json); name the folder of one of them"};
  }
  return Error{ErrorCode::kIo, folder + ": has no config.json, and no weights in safetensors or GGUF files"};
}

Result<Model> LoadFolder(const std::string& folder, const std::string& name) {
  if (const auto checkpoint = FindCheckpoint(folder)) return LoadWithWeights(folder, *checkpoint, name);
  if (const auto index = FindPickleIndex(folder)) return LoadNames(folder, *index, name);
  if (!IsFile(ConfigIn(folder))) return LoadOnlyGguf(folder);
  STOWAGE_TRY(const HfConfig config, HfConfig::Read(ConfigIn(folder)));
  STOWAGE_TRY(Model model, BuildFrom(config, name));
  if (IsFile(JoinPath(folder, "pytorch_model.bin"))) {
    model.notes.push_back("pytorch_model.bin is not read (a pickle is code): sizes follow from config.json.");
  }
  return model;
}

bool HasWeights(const std::string& folder) {
  if (FindCheckpoint(folder) || FindPickleIndex(folder)) return true;
  const std::vector<std::string> names = NamesIn(folder);
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(".gguf") || name == "pytorch_model.bin"; });
}

Result<Model> LoadSnapshot(const std::string& hub, const HubId& id, const HubSnapshot& snapshot) {
  Result<Model> model = LoadFolder(snapshot.folder, BaseName(id.repo));
  if (!model) {
    std::string text = fmt::format("{}@{} in the Hugging Face cache: {}", id.repo, id.revision, model.error().message);
    if (IsHubDownloadIncomplete(hub, id)) text += "; its download has not ended";
    if (IsInZoo(id.repo)) text += fmt::format("; without files, '{}' is known too", ZooName(id.repo));
    return Error{model.error().code, std::move(text)};
  }
  model->origin = fmt::format("Hugging Face cache, {}@{}: {}", id.repo, id.revision, model->origin);
  return model;
}

// The cached snapshot of a repository id, where it should be taken: it has weights, or the zoo does not know the name.
Result<std::optional<Model>> LoadCached(const std::string& what, const std::string& hub) {
  const std::optional<HubId> id = ParseHubId(what);
  const bool in_zoo = IsInZoo(what);
  // "llama-8b" is a name of ours, not a repository.
  if (!id || (in_zoo && !id->has_revision && id->repo.find('/') == std::string::npos)) return std::optional<Model>();
  STOWAGE_TRY(const std::optional<HubSnapshot> snapshot, FindHubSnapshot(hub, *id));
  if (!snapshot || (in_zoo && !id->has_revision && !HasWeights(snapshot->folder))) return std::optional<Model>();
  STOWAGE_TRY(Model model, LoadSnapshot(hub, *id, *snapshot));
  return std::optional(std::move(model));
}

bool LooksLikeAPath(const std::string& what) {
  return what.starts_with('/') || what.starts_with('.') || what.starts_with('~') || what.ends_with('/') ||
         what.ends_with(".json") || what.ends_with(".safetensors") || what.ends_with(".gguf");
}

}  // namespace

Result<Model> LoadModel(const std::string& what, const std::string& hub) {
  if (IsFolder(what)) {
    for (const char* ending : {".safetensors", ".gguf", ".json"}) {
      if (what.ends_with(ending)) return Error{ErrorCode::kInvalidInput, what + ": is a folder, not a file"};
    }
    return LoadFolder(what, BaseName(what));
  }
  if (IsFile(what)) {
    if (what.ends_with(".modules.json")) {
      STOWAGE_TRY(Model model, ReadModuleTree(what));
      model.origin = what;
      return model;
    }
    if (what.ends_with(".gguf")) return LoadGguf(what);
    if (what.ends_with(".safetensors")) return LoadWithWeights(FolderName(what), what, BaseName(FolderName(what)));
    if (what.ends_with(".json")) return LoadJson(what);
    return Error{ErrorCode::kInvalidInput, what + ": is none of *.safetensors, *.gguf, *.json"};
  }
  if (LooksLikeAPath(what) && !IsInZoo(what)) {
    return Error{ErrorCode::kIo, fmt::format("'{}': no such file or folder", what)};
  }
  STOWAGE_TRY(std::optional<Model> cached, LoadCached(what, hub));
  if (cached) return *std::move(cached);
  Result<Model> known = ZooModel(what);
  if (!known && !hub.empty() && ParseHubId(what)) known.error().message += fmt::format("; nor is it in {}", hub);
  return known;
}

}  // namespace stowage
