// fabricate: random weights in the real layout of a model, as small as asked.
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/text.h"
#include "planner/machine/size.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/model_source.h"
#include "tools/common/options.h"
#include "tools/fabricate_model.h"

namespace stowage {
namespace {

struct Arguments {
  std::string model;
  std::string out;
  FabricateOptions options;
  bool json = false;
};

void AddSize(CommandLine& line, const char* flag, std::optional<std::int64_t>* target, std::int64_t most,
             const char* help) {
  line.Option(
      flag,
      [=](const std::string& text) -> Status {
        std::int64_t n = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
        if (error != std::errc() || end != text.data() + text.size() || n < 1 || n > most) {
          return Error{ErrorCode::kInvalidInput, fmt::format("'{}' is not a whole number in [1, {}]", text, most)};
        }
        *target = n;
        return OkStatus();
      },
      help);
}

void AddOptions(CommandLine& line, Arguments& a) {
  FabricateOptions& o = a.options;
  AddModelOption(line, &a.model);
  line.Option("--out", &a.out, "folder to write");
  line.Require("--out");
  AddSize(line, "--layers", &o.layers, 10'000, "number of layers");
  AddSize(line, "--hidden", &o.hidden, 1 << 20, "hidden size; heads and MLP follow");
  AddSize(line, "--vocab", &o.vocab, 1 << 24, "size of the vocabulary");
  AddSize(line, "--heads", &o.heads, 1 << 14, "query heads");
  AddSize(line, "--kv-heads", &o.kv_heads, 1 << 14, "key and value heads");
  AddSize(line, "--intermediate", &o.intermediate, 1 << 20, "width of the MLP");
  line.Option(
      "--dtype",
      [&o](const std::string& text) -> Status {
        o.dtype = ParseDType(text);
        if (o.dtype) return OkStatus();
        return Error{ErrorCode::kInvalidInput, fmt::format("'{}' is not a dtype; bf16, fp16 and fp32 are", text)};
      },
      "bf16, fp16 or fp32 (default: the model's)");
  line.Option(
      "--max-shard-size",
      [&o](const std::string& text) -> Status {
        STOWAGE_TRY(const Bytes size, ParseSize(text));
        if (size.value() < 1) return Error{ErrorCode::kInvalidInput, "must be at least 1 byte"};
        o.max_shard_bytes = size.value();
        return OkStatus();
      },
      "new file beyond this size (default: 5GB)");
}

std::string JsonReport(const Model& model, const std::string& out, const std::vector<std::string>& files) {
  const TransformerShape& s = model.shape;
  nlohmann::ordered_json j;
  j["folder"] = out;
  j["files"] = files;
  j["parameters"] = model.Parameters();
  j["weights_bytes"] = model.WeightBytes().value();
  j["layers"] = s.layers;
  j["hidden"] = s.hidden;
  j["heads"] = s.heads;
  j["kv_heads"] = s.kv_heads;
  j["head_dim"] = s.head_dim;
  j["intermediate"] = s.intermediate;
  j["vocab"] = s.vocab;
  j["dtype"] = std::string(Name(model.tensors[0].dtype));
  j["tied"] = !model.tied_groups.empty();
  return j.dump(2) + "\n";
}

Result<int> Fabricate(int argc, char** argv) {
  Arguments a;
  CommandLine line("fabricate", "writes a model folder with random weights in the real layout");
  AddOptions(line, a);
  std::int64_t seed = 0;
  bool tied = false;
  line.Option("--seed", &seed, 0, INT64_MAX, "seed of the weights");
  line.Flag("--tied", &tied, "share the embedding with the head");
  AddJsonOption(line, &a.json);
  line.Example("fabricate --model llama-8b --layers 4 --hidden 512 --vocab 2048 --out DIR", "a small Llama");
  line.Example("fabricate --model llama-3.2-1b --max-shard-size 500MB --out DIR", "full size, in several files");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  a.options.seed = static_cast<std::uint64_t>(seed);
  if (tied) a.options.tied = true;

  STOWAGE_TRY(const Model base, LoadNamedModel(a.model));
  if (base.family.starts_with("gguf/")) {
    return Error{ErrorCode::kInvalidInput, a.model + ": model folders are not made from GGUF files"};
  }
  STOWAGE_TRY(const Model model, ShrinkModel(base, a.options));
  STOWAGE_TRY(const std::vector<std::string> files, WriteModelFolder(model, a.out, a.options));
  std::string text;
  if (a.json) {
    text = JsonReport(model, a.out, files);
  } else {
    text = fmt::format("{}\n{} parameters, {} in {} to {}\n", DescribeShape(model), FormatCount(model.Parameters()),
                       FormatBytes(model.WeightBytes()),
                       files.size() == 2 ? "1 file" : fmt::format("{} files", files.size() - 2), a.out);
  }
  STOWAGE_RETURN_IF_ERROR(Print(text));
  return 0;
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  return stowage::RunTool("fabricate", [&] { return stowage::Fabricate(argc, argv); });
}
