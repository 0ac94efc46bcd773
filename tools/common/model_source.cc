#include "tools/common/model_source.h"

#include <cstdlib>

#include "planner/formats/file.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string Expanded(const std::string& path) {
  const std::string home = Variable("HOME");
  if (home.empty() || (path != "~" && !path.starts_with("~/"))) return path;
  return home + path.substr(1);
}

}  // namespace

std::string HubCacheFolder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string folder = Variable(name); !folder.empty()) return Expanded(folder);
  }
  if (const std::string home = Variable("HF_HOME"); !home.empty()) return JoinPath(Expanded(home), "hub");
  if (const std::string cache = Variable("XDG_CACHE_HOME"); !cache.empty()) {
    return JoinPath(Expanded(cache), "huggingface/hub");
  }
  const std::string home = Variable("HOME");
  return home.empty() ? "" : JoinPath(home, ".cache/huggingface/hub");
}

Result<Model> LoadNamedModel(const std::string& what) { return LoadModel(what, HubCacheFolder()); }

}  // namespace stowage
