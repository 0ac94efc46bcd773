#include "tools/common/model_source.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "planner/families/families.h"
#include "planner/formats/file.h"
#include "planner/quant/quantize.h"
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

Result<Model> LoadInFormat(const std::string& what, const Request& request) {
  STOWAGE_TRY(Model model, LoadNamedModel(what));
  STOWAGE_RETURN_IF_ERROR(ApplyFormat(model, request));
  if (!request.dtype && request.quantization.empty()) return model;
  const std::string_view rest = Name(model.ComputeDType());
  if (const std::int64_t kept = KeepInFp32(model); kept > 0) {
    model.notes.push_back(fmt::format("from_pretrained keeps {} tensors in fp32 beside {}.", kept, rest));
  }
  return model;
}

}  // namespace stowage
