#include <fmt/format.h>

#include <string>
#include <utility>

#include "planner/families/attach.h"
#include "planner/families/families.h"
#include "planner/families/gguf.h"
#include "planner/families/weights_only.h"
#include "planner/formats/checkpoint.h"
#include "planner/formats/file.h"
#include "planner/formats/gguf_checkpoint.h"
#include "planner/formats/hf_config.h"
#include "planner/formats/module_tree_file.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

Result<Model> LoadConfig(const std::string& path, std::string name) {
  STOWAGE_TRY(const HfConfig config, HfConfig::Read(path));
  return BuildModel(config, std::move(name));
}

// The config.json of `folder` with the weights of `checkpoint`, a file or an index; the weights alone where no family
// can make anything of the config.
Result<Model> LoadWithWeights(const std::string& folder, const std::string& checkpoint) {
  STOWAGE_TRY(const Checkpoint files, ReadCheckpoint(checkpoint));
  const std::string config_path = JoinPath(folder, "config.json");
  const auto headers_only = [&](const std::string& why) -> Result<Model> {
    if (files.tensors.empty()) return Error{ErrorCode::kInvalidInput, checkpoint + ": has no tensors, and " + why};
    return ModelFromHeaders(files, BaseName(folder), why);
  };
  if (!IsFile(config_path)) return headers_only("there is no config.json");
  STOWAGE_TRY(const HfConfig config, HfConfig::Read(config_path));
  STOWAGE_TRY(const std::string type, config.StringOr("model_type", ""));
  if (!IsKnownFamily(type)) return headers_only(fmt::format("model_type \"{}\" is not known", type));
  STOWAGE_TRY(Model model, BuildModel(config, BaseName(folder)));
  STOWAGE_RETURN_IF_ERROR(AttachCheckpoint(model, files, checkpoint));
  return model;
}

Result<Model> LoadGguf(const std::string& path) {
  STOWAGE_TRY(GgufCheckpoint checkpoint, ReadGgufCheckpoint(path));
  return BuildGgufModel(std::move(checkpoint));
}

bool LooksLikeAPath(const std::string& what) {
  return what.starts_with('/') || what.starts_with('.') || what.starts_with('~') || what.ends_with('/') ||
         what.ends_with(".json") || what.ends_with(".safetensors") || what.ends_with(".gguf");
}

}  // namespace

Result<Model> LoadModel(const std::string& what) {
  if (IsFolder(what)) {
    if (const auto checkpoint = FindCheckpoint(what)) return LoadWithWeights(what, *checkpoint);
    return LoadConfig(JoinPath(what, "config.json"), BaseName(what));
  }
  if (IsFile(what)) {
    if (what.ends_with(".modules.json")) return ReadModuleTree(what);
    if (what.ends_with(".gguf")) return LoadGguf(what);
    if (what.ends_with(".safetensors") || what.ends_with(".index.json")) return LoadWithWeights(FolderName(what), what);
    const bool usual = BaseName(what) == "config.json";
    return LoadConfig(what, BaseName(usual ? FolderName(what) : what));
  }
  if (LooksLikeAPath(what) && !IsInZoo(what)) {
    return Error{ErrorCode::kIo, fmt::format("'{}': no such file or folder", what)};
  }
  return ZooModel(what);
}

}  // namespace stowage
