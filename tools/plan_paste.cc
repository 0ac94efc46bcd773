#include "tools/plan_paste.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/strategy/closed_form.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

constexpr std::int64_t kBatch = 512;  // llama.cpp's physical batch (-ub)
constexpr std::string_view kAuto = "\"auto\"";

Bytes BudgetOf(const Machine& machine, std::string_view pool) {
  return machine.pools[static_cast<std::size_t>(machine.FindPool(pool))].budget;
}

// Whole hundredths of a GB, rounded down, as accelerate reads it.
std::string SizeText(Bytes bytes) {
  const std::int64_t hundredths = std::max<std::int64_t>(bytes.value(), 0) / 10'000'000;
  return fmt::format("{}.{:02}GB", hundredths / 100, hundredths % 100);
}

std::string HubId(const Model& model) {
  for (const ZooEntry& entry : ZooEntries()) {
    if (entry.name == model.name && model.files.empty()) return entry.hub_id;
  }
  return model.name;
}

// What transformers keeps on gpu0 beside weights; the copies of offloaded weights come on top of it, one tensor at a time.
Bytes BesideWeights(const PlanningTask& task, const RequestSizes& sizes) {
  return sizes.buffers + sizes.kv.value_or(Bytes(0)) + sizes.torch_activations.value_or(Bytes(0)) +
         task.machine->Reserved("gpu0");
}

// What from_pretrained is to compute with; "auto" where most of a checkpoint is in a format that nothing computes with.
std::string DTypeText(const Model& model) {
  const DType main = model.quantization.empty() ? MainDType(model) : model.ComputeDType();
  const bool computes = main == DType::kF64 || main == DType::kF32 || main == DType::kF16 || main == DType::kBF16;
  return computes ? fmt::format("torch.{}", TorchName(main)) : std::string(kAuto);
}

// The quantization_config of a --dtype that transformers makes while loading; empty: it makes none of it.
std::string QuantizationText(const Model& model, bool resident) {
  const std::string& scheme = model.quantization;
  std::string bits;
  if (scheme == "int8") bits = "load_in_8bit=True";
  if (scheme == "fp4" || scheme.starts_with("nf4")) {
    bits = fmt::format(R"(load_in_4bit=True, bnb_4bit_quant_type="{}", bnb_4bit_compute_dtype={})", scheme.substr(0, 3),
                       DTypeText(model));
  }
  if (scheme == "nf4-double") bits += ", bnb_4bit_use_double_quant=True";
  if (!bits.empty()) {
    return fmt::format("BitsAndBytesConfig({}{})", bits, resident ? "" : ", llm_int8_enable_fp32_cpu_offload=True");
  }
  if (scheme == "int8-row") return R"(QuantoConfig(weights="int8"))";
  if (scheme == "int4") return R"(QuantoConfig(weights="int4"))";
  if (scheme == "hqq") return "HqqConfig(nbits=4, group_size=64)";
  return "";
}

void AddQuantization(const Model& model, bool resident, PasteBlock& out) {
  if (model.quantization.empty()) return;
  const std::string config = QuantizationText(model, resident);
  if (config.empty()) {
    out.notes.push_back(
        fmt::format("from_pretrained does not make {}: name a checkpoint that holds it.", model.quantization));
    return;
  }
  out.lines.push_back(fmt::format("    quantization_config={},", config));
  if (!resident && config.starts_with("BitsAndBytes")) {
    out.notes.emplace_back(
        "bitsandbytes leaves modules that are offloaded as they are, in dtype: they take more there.");
  }
}

PasteBlock Transformers(const PlanningTask& task, bool resident) {
  const Model& model = *task.model;
  const RequestSizes sizes = SizesOf(model, task.request);
  const std::string loader =
      model.class_name.ends_with("ForCausalLM") ? std::string("AutoModelForCausalLM") : model.class_name;
  PasteBlock out{.title = "transformers"};
  out.lines.push_back(loader + ".from_pretrained(");
  out.lines.push_back(fmt::format("    \"{}\",", HubId(model)));
  const bool simulated = model.quantization.empty() && DTypeText(model) != kAuto;  // eager torch, with such weights
  if (!simulated) resident = BesideWeights(task, sizes) + sizes.weights <= BudgetOf(*task.machine, "gpu0");
  out.lines.push_back(fmt::format("    dtype={},", DTypeText(model)));
  AddQuantization(model, resident, out);
  if (resident) {
    out.lines.emplace_back("    device_map={\"\": 0},");
    out.lines.emplace_back(")");
    return out;
  }
  // Of several GPUs each is taken to need beside weights what one would.
  Bytes room;
  std::string rooms;
  for (std::size_t g = 0; g < std::max<std::size_t>(1, task.machine->gpus.size()); ++g) {
    const std::string gpu = fmt::format("gpu{}", g);
    const Bytes here = BudgetOf(*task.machine, gpu) - BesideWeights(task, sizes) - sizes.largest_tensor;
    room += std::max(here, Bytes(0));
    rooms += fmt::format("{}: \"{}\", ", g, SizeText(here));
  }
  const Bytes host = BudgetOf(*task.machine, "host") - task.machine->Reserved("host");
  out.lines.emplace_back("    device_map=\"auto\",");
  out.lines.push_back(fmt::format("    max_memory={{{}\"cpu\": \"{}\"}},", rooms, SizeText(host)));
  out.lines.emplace_back(")");
  const Bytes moved = std::max(Bytes(0), sizes.weights - std::max(room, Bytes(0)));
  std::string note =
      "max_memory is for weights: what the budget of gpu0 leaves beside cache, activations, context and one offloaded "
      "tensor.";
  if (moved > Bytes(0)) {
    note += fmt::format(" At least {} of weights are offloaded, by whole modules, and copied for each token.",
                        FormatBytes(moved));
  }
  out.notes.push_back(std::move(note));
  const std::int32_t link = task.machine->FindResource("gpu0.h2d");
  if (link < 0 || !task.machine->resources[static_cast<std::size_t>(link)].transfer) return out;
  const BytesPerSecond rate = task.machine->resources[static_cast<std::size_t>(link)].transfer->pageable;
  if (rate.value() > 0 && moved > Bytes(0)) {
    out.notes.push_back(
        fmt::format("The copies alone take {} a token, at {}; plan --strategy device-map:auto shows the map.",
                    FormatSeconds(moved / rate), FormatRate(rate)));
  }
  return out;
}

// ---- llama.cpp ----

struct GgufLayers {
  std::vector<Bytes> blocks;   // experts included
  std::vector<Bytes> experts;  // of each block
  Bytes output;                // the head and its norm; the table, where it serves as head
};

GgufLayers LayersOf(const Model& model) {
  GgufLayers out;
  Bytes table;
  bool head = false;
  for (const Tensor& t : model.tensors) {
    if (t.tied_to != kNoId) continue;
    std::size_t block = 0;
    if (t.name.starts_with("blk.")) {
      for (std::size_t i = 4; i < t.name.size() && t.name[i] >= '0' && t.name[i] <= '9' && block < 100'000; ++i) {
        block = block * 10 + static_cast<std::size_t>(t.name[i] - '0');
      }
      if (out.blocks.size() <= block) {
        out.blocks.resize(block + 1);
        out.experts.resize(block + 1);
      }
      out.blocks[block] += t.bytes();
      if (t.name.find("_exps.") != std::string::npos) out.experts[block] += t.bytes();
    } else if (t.name.starts_with("output")) {
      out.output += t.bytes();
      head |= t.name == "output.weight";
    } else if (t.name == "token_embd.weight") {
      table = t.bytes();
    }
  }
  if (!head) out.output += table;
  return out;
}

// max of the output's and the feed-forward's phase, in fp32, with the mask of the whole context.
Bytes ComputeBuffer(const PlanningTask& task, bool output) {
  const TransformerShape& s = task.model->shape;
  if (s.layers == 0) return Bytes(0);  // not known
  const std::int64_t rows = std::min(kBatch, task.request.prompt_tokens * task.request.batch);
  const std::int64_t context = (task.request.CachePositions() + 255) / 256 * 256;
  const std::int64_t forward =
      4 * rows * (3 * s.intermediate + 2 * s.hidden + s.heads * s.head_dim) + 2 * rows * context;
  return Bytes(output ? std::max(forward, 4 * rows * (s.vocab + s.hidden)) : forward);
}

Bytes CacheOfOneBlock(const PlanningTask& task) {
  const std::int64_t context = (task.request.CachePositions() + 255) / 256 * 256;
  return LayerCacheBytesPerPosition(*task.model) * context * task.request.batch;
}

PasteBlock LlamaCpp(const PlanningTask& task) {
  const LlamaCppSplit split = SplitForLlamaCpp(task);
  PasteBlock out{.title = "llama.cpp"};
  std::string command =
      fmt::format("llama-cli -m {} -c {} -ngl {}", task.model->files.empty() ? task.model->name : task.model->files[0],
                  task.request.prompt_tokens + task.request.new_tokens, split.gpu_layers);
  if (split.expert_blocks > 0) {
    std::string blocks;
    for (std::int64_t i = 0; i < split.expert_blocks; ++i) blocks += fmt::format("{}{}", i > 0 ? "|" : "", i);
    command += fmt::format(R"( -ot "blk\.({})\.ffn_.*_exps\.=CPU")", blocks);
  }
  out.lines.push_back(std::move(command));
  const std::string where = split.gpu_layers == split.layers ? "all layers, the output among them,"
                            : split.gpu_layers == 0          ? std::string("nothing")
                                                             : fmt::format("the output and the last {} of {} blocks",
                                                                           split.gpu_layers - 1, split.layers - 1);
  out.notes.push_back(
      fmt::format("-ngl {} of {}: {} on the GPU, {} of {} with the context; -ngl counts the output first.",
                  split.gpu_layers, split.layers, where, FormatBytes(split.gpu), FormatBytes(split.budget)));
  if (split.expert_blocks > 0) {
    out.notes.push_back(fmt::format(
        "-ot keeps the experts of the first {} blocks in host memory, where they are computed.", split.expert_blocks));
  }
  if (task.model->shape.layers == 0) {
    out.notes.emplace_back(
        "Caches and compute buffers of this architecture are not known and not counted: leave room.");
  }
  return out;
}

}  // namespace

LlamaCppSplit SplitForLlamaCpp(const PlanningTask& task) {
  const GgufLayers layers = LayersOf(*task.model);
  const auto blocks = static_cast<std::int64_t>(layers.blocks.size());
  LlamaCppSplit out{.layers = blocks + 1, .budget = BudgetOf(*task.machine, "gpu0")};
  const Bytes cache = CacheOfOneBlock(task), reserved = task.machine->Reserved("gpu0");
  Bytes experts, all = layers.output + reserved + ComputeBuffer(task, true);
  for (std::int64_t i = 0; i < blocks; ++i) {
    all += layers.blocks[static_cast<std::size_t>(i)] + cache;
    experts += layers.experts[static_cast<std::size_t>(i)];
  }
  if (all - experts <= out.budget) {  // all layers; the experts of the first blocks make room where they must
    out.gpu_layers = out.layers;
    for (; all > out.budget; ++out.expert_blocks) all -= layers.experts[static_cast<std::size_t>(out.expert_blocks)];
    out.gpu = all;
    return out;
  }
  Bytes sum = layers.output + reserved + ComputeBuffer(task, true);
  if (sum > out.budget) {
    out.gpu = reserved;
    return out;
  }
  out.gpu = sum;
  out.gpu_layers = 1;
  for (std::int64_t i = blocks - 1; i >= 0; --i) {
    sum += layers.blocks[static_cast<std::size_t>(i)] + cache;
    if (sum > out.budget) break;
    out.gpu = sum;
    ++out.gpu_layers;
  }
  return out;
}

std::vector<PasteBlock> PasteFor(const PlanningTask& task, bool resident) {
  const Model& model = *task.model;
  if (model.family.starts_with("gguf/")) return {LlamaCpp(task)};
  if (model.class_name.empty() || model.class_name.starts_with("weights only") || model.shape.layers == 0) return {};
  return {Transformers(task, resident)};
}

}  // namespace stowage
