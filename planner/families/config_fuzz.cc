// A config.json as input. What is accepted must build, with sizes that do not overflow, and give op graphs.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "planner/base/check.h"
#include "planner/families/families.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const auto config = HfConfig::Parse(std::string_view(reinterpret_cast<const char*>(data), size), "input");
  if (!config) return 0;
  for (const char* key : {"num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers"}) {
    const auto layers = config->IntOr(key, 1, {1, 8});
    if (!layers) return 0;  // a deeper tree is only slower
  }
  const auto model = BuildModel(*config, "input");
  if (!model) return 0;
  STOWAGE_CHECK(model->Parameters() > 0 && model->WeightBytes() > Bytes(0));
  const auto graph = BuildOpGraph(*model, {.kind = Pass::Kind::kPrefill, .batch = 2, .tokens = 3}, 4);
  if (model->family == "llama") STOWAGE_CHECK(graph.ok() && !graph->ops.empty());
  return 0;
}
