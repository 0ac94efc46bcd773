#include <fmt/format.h>

#include <string>

#include "planner/families/families.h"
#include "planner/formats/file.h"
#include "planner/formats/hf_config.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

Result<Model> LoadConfig(const std::string& path, std::string name) {
  STOWAGE_TRY(const HfConfig config, HfConfig::Read(path));
  return BuildModel(config, std::move(name));
}

bool LooksLikeAPath(const std::string& what) {
  return what.starts_with('/') || what.starts_with('.') || what.starts_with('~') || what.ends_with('/') ||
         what.ends_with(".json") || what.ends_with(".safetensors");
}

}  // namespace

Result<Model> LoadModel(const std::string& what) {
  if (IsFolder(what)) return LoadConfig(JoinPath(what, "config.json"), BaseName(what));
  if (IsFile(what)) {
    std::string name = BaseName(what);
    if (name == "config.json") name = BaseName(FolderName(what));
    return LoadConfig(what, std::move(name));
  }
  if (LooksLikeAPath(what) && !IsInZoo(what)) {
    return Error{ErrorCode::kIo, fmt::format("'{}': no such file or folder", what)};
  }
  return ZooModel(what);
}

}  // namespace stowage
