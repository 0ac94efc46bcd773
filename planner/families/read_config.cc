#include "planner/families/read_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "planner/base/text.h"

namespace stowage {
namespace {

// transformers 5.23, activations.py.
constexpr std::array<std::pair<const char*, const char*>, 20> kActivations = {{
    {"gelu", "GELUActivation"},
    {"gelu_10", "ClippedGELUActivation"},
    {"gelu_accurate", "AccurateGELUActivation"},
    {"gelu_fast", "FastGELUActivation"},
    {"gelu_new", "NewGELUActivation"},
    {"gelu_python", "GELUActivation"},
    {"gelu_python_tanh", "GELUTanh"},
    {"gelu_pytorch_tanh", "GELUTanh"},
    {"hardswish", "Hardswish"},
    {"laplace", "LaplaceActivation"},
    {"leaky_relu", "LeakyReLU"},
    {"linear", "LinearActivation"},
    {"mish", "MishActivation"},
    {"quick_gelu", "QuickGELUActivation"},
    {"relu", "ReLU"},
    {"relu2", "ReLUSquaredActivation"},
    {"relu6", "ReLU6"},
    {"silu", "SiLUActivation"},
    {"swish", "SiLU"},
    {"tanh", "Tanh"},
}};

}  // namespace

Result<std::int64_t> ReadSize(const HfConfig& config, std::initializer_list<const char*> keys, std::int64_t absent,
                              Range<std::int64_t> range) {
  for (const char* key : keys) {
    if (config.Has(key)) return config.Int(key, range);
  }
  return absent;
}

Result<DType> ReadStoredDType(const HfConfig& config, DType absent) {
  const char* key = config.Has("dtype") ? "dtype" : "torch_dtype";
  if (!config.Has(key)) return absent;
  STOWAGE_TRY(const std::string name, config.String(key));
  const std::optional<DType> dtype = ParseDType(name);
  if (!dtype || !IsFloating(*dtype)) {
    return config.Bad(key, fmt::format("is \"{}\", not a floating-point type known here", name));
  }
  return *dtype;
}

std::string ActivationClass(const std::string& activation) {
  const auto it =
      std::find_if(kActivations.begin(), kActivations.end(), [&](const auto& a) { return activation == a.first; });
  return it == kActivations.end() ? "" : it->second;
}

Result<std::string> ReadActivation(const HfConfig& config, const char* key, std::string absent) {
  STOWAGE_TRY(const std::string name, config.StringOr(key, std::move(absent)));
  std::string found = ActivationClass(name);
  if (found.empty()) return config.Bad(key, fmt::format("is \"{}\", not an activation known here", name));
  return found;
}

Result<std::string> ReadClass(const HfConfig& config, std::initializer_list<const char*> known) {
  STOWAGE_TRY(const std::vector<std::string> architectures, config.StringsOr("architectures"));
  if (architectures.empty()) return std::string(*known.begin());
  if (std::find(known.begin(), known.end(), architectures[0]) != known.end()) return architectures[0];
  return config.Bad("architectures", fmt::format("names {}, supported here: {}", architectures[0],
                                                 Join(std::vector<std::string>(known.begin(), known.end()), ", ")));
}

Status CheckHeads(const HfConfig& config, std::int64_t hidden, std::int64_t heads) {
  if (hidden % heads == 0) return OkStatus();
  return Error{ErrorCode::kInvalidInput, fmt::format("{}: hidden size {} is not a multiple of {} attention heads",
                                                     config.where(), hidden, heads)};
}

}  // namespace stowage
