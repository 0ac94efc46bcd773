#include "tests/peer/device_map_case.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "planner/solve/accelerate/infer.h"
#include "tests/peer/module_tree_json.h"

namespace stowage {
namespace {

using accelerate::BalancedMaxMemory;
using accelerate::InferOptions;
using accelerate::Inferred;
using accelerate::MaxMemory;
using accelerate::ModuleSizes;
using accelerate::PlacementTree;
using accelerate::Rules;
using accelerate::SizeOptions;
using nlohmann::json;

Result<SizeOptions> ReadSizeOptions(const json& test) {
  SizeOptions sizes;
  if (test.value("rules", "accelerate") == "transformers") sizes.rules = Rules::kTransformers;
  if (test.contains("dtype")) {
    STOWAGE_TRY(sizes.dtype, accelerate::BytesPerElement(test["dtype"].get<std::string>()));
  }
  if (test.contains("special")) {
    for (const auto& [name, dtype] : test["special"].items()) {
      STOWAGE_TRY(const accelerate::Number bytes, accelerate::BytesPerElement(dtype.get<std::string>()));
      sizes.special.emplace(name, bytes);
    }
  }
  return sizes;
}

Result<json> Run(const json& test) {
  STOWAGE_TRY(const Model model, ReadPeerTree(test["tree"].dump()));
  const PlacementTree tree = accelerate::TreeOf(model);
  STOWAGE_TRY(const SizeOptions size_options, ReadSizeOptions(test));
  json result;
  const ModuleSizes sizes = ComputeModuleSizes(tree, size_options);
  json names = json::array();
  for (const accelerate::NodeId node : sizes.counted) {
    names.push_back({tree.nodes[node].name, sizes.bytes[node].Text()});
  }
  result["sizes"] = std::move(names);

  InferOptions options{.no_split = test.value("no_split", std::vector<std::string>()),
                       .sizes = size_options,
                       .clean = test.value("clean", true),
                       .offload_buffers = test.value("offload_buffers", false),
                       .fallback = test.value("fallback", false)};
  STOWAGE_TRY(options.max_memory, accelerate::ReadMaxMemory(test["max_memory"].dump()));
  const std::string strategy = test.value("strategy", "sequential");
  if (strategy != "sequential") {
    STOWAGE_TRY(options.max_memory, BalancedMaxMemory(tree, options.max_memory,
                                                      {.sizes = size_options,
                                                       .no_split = options.no_split,
                                                       .low_zero = strategy == "balanced_low_0",
                                                       .found = test.value("found", false)}));
  }
  json budgets = json::array();
  for (const auto& [device, value] : options.max_memory) budgets.push_back({Name(device), value.Text()});
  result["budgets"] = std::move(budgets);
  STOWAGE_TRY(const Inferred inferred, InferDeviceMap(tree, options));
  result["map"] = json::object();
  for (const auto& [name, device] : inferred.map) result["map"][name] = Name(device);
  result["skipped"] = json::array();
  for (const auto& [device, bytes] : inferred.skipped) result["skipped"].push_back({Name(device), bytes.Text()});
  if (inferred.homeless_buffers) result["homeless"] = inferred.homeless_buffers->Text();
  if (!inferred.ties_apart.empty()) result["ties_apart"] = inferred.ties_apart.size();
  return result;
}

// "… (KeyError)" -> "KeyError".
std::string ExceptionName(const std::string& message) {
  const std::size_t open = message.rfind('(');
  if (!message.ends_with(")") || open == std::string::npos) return message;
  return message.substr(open + 1, message.size() - open - 2);
}

}  // namespace

std::string RunDeviceMapCase(std::string_view text) {
  const json test = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!test.is_object()) return R"({"error": "not a test"})";
  const Result<json> result = Run(test);
  if (!result) return json{{"error", ExceptionName(result.error().message)}}.dump();
  return result->dump();
}

}  // namespace stowage
