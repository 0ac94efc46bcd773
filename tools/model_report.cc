#include "tools/model_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/machine/build_machine.h"
#include "planner/quant/fits.h"
#include "planner/quant/quantize.h"
#include "planner/realize/library_workspace.h"

namespace stowage {
namespace {

using Json = nlohmann::ordered_json;

// Counts once: neither a buffer nor another tensor's storage.
bool IsWeight(const Tensor& t) { return !t.buffer && t.tied_to == kNoId; }
bool IsSaved(const Tensor& t) { return t.persistent && t.tied_to == kNoId; }

// Names come from files: dump() must not throw on any of them.
std::string Dumped(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

// Weight bytes in each module and all below it.
std::vector<Bytes> ModuleBytes(const Model& model) {
  std::vector<Bytes> bytes(model.modules.size());
  for (std::size_t m = model.modules.size(); m-- > 0;) {  // children come after their parents
    for (const TensorId t : model.modules[m].tensors) {
      if (IsWeight(model.tensors[t])) bytes[m] += model.tensors[t].bytes();
    }
    if (model.modules[m].parent != kNoId) bytes[model.modules[m].parent] += bytes[m];
  }
  return bytes;
}

struct Facts {
  std::int64_t tensors = 0;
  const Tensor* largest_tensor = nullptr;  // the first of the largest
  ModuleId largest_layer = 0;              // likewise, of modules with tensors of their own
  Bytes largest_layer_bytes;
  ModuleId largest_block = kNoId;  // likewise; kNoId: no block
  Bytes largest_block_bytes;
  std::map<std::string, Bytes, std::less<>> dtypes;
};

Facts Collect(const Model& model) {
  Facts f;
  for (const Tensor& t : model.tensors) {
    if (!IsWeight(t)) continue;
    ++f.tensors;
    f.dtypes[std::string(Name(t.dtype))] += t.bytes();
    if (f.largest_tensor == nullptr || t.bytes() > f.largest_tensor->bytes()) f.largest_tensor = &t;
  }
  for (const Tensor& t : model.unloaded) {
    ++f.tensors;
    f.dtypes[std::string(Name(t.dtype))] += t.bytes();
  }
  const std::vector<Bytes> bytes = ModuleBytes(model);
  const std::vector<std::string>& classes = model.no_split_classes;
  for (std::size_t m = 0; m < model.modules.size(); ++m) {
    Bytes own;
    for (const TensorId t : model.modules[m].tensors) {
      if (IsWeight(model.tensors[t])) own += model.tensors[t].bytes();
    }
    if (own > f.largest_layer_bytes) {
      f.largest_layer = static_cast<ModuleId>(m);
      f.largest_layer_bytes = own;
    }
    if (std::find(classes.begin(), classes.end(), model.modules[m].class_name) == classes.end()) continue;
    if (f.largest_block != kNoId && bytes[m] <= f.largest_block_bytes) continue;
    f.largest_block = static_cast<ModuleId>(m);
    f.largest_block_bytes = bytes[m];
  }
  return f;
}

std::vector<std::string> NamesOf(const Model& model, const std::vector<TensorId>& ids) {
  std::vector<std::string> names;
  for (const TensorId id : ids) names.push_back(model.tensors[id].name);
  return names;
}

// Without a card at hand: most have the smaller workspace.
constexpr int kUsualCapability = 89, kHopper = 90;

// Rows of what a request needs beside the weights.
void AddMemoryRows(const Model& model, const Request& request, std::vector<std::vector<std::string>>& rows) {
  const RequestMemory m = MemoryOf(model, request);
  rows.push_back({"request", fmt::format("batch {}, {} prompt and {} new tokens", request.batch,
                                         FormatCount(request.prompt_tokens), FormatCount(request.new_tokens))});
  rows.push_back({"  cache", fmt::format("{} (computed)", FormatBytes(m.kv))});
  rows.push_back({"  activations",
                  fmt::format("{} (computed: the widest moment of a fused prefill)", FormatBytes(m.activations))});
  rows.push_back({"  logits", fmt::format("{} (computed: of the last position)", FormatBytes(m.logits))});
  rows.push_back({"  context", fmt::format("{} (assumed: the largest CUDA context seen, ollama's reserve)",
                                           FormatBytes(kCudaContext))});
  rows.push_back({"  workspace",
                  fmt::format("{}, on Hopper and Blackwell {} (published: torch's for cuBLAS; the native "
                              "runtime takes none)",
                              FormatBytes(CublasWorkspace(kUsualCapability)), FormatBytes(CublasWorkspace(kHopper)))});
}

Json MemoryJson(const Model& model, const Request& request) {
  const RequestMemory m = MemoryOf(model, request);
  return {{"batch", request.batch},
          {"prompt_tokens", request.prompt_tokens},
          {"new_tokens", request.new_tokens},
          {"kv_bytes", m.kv.value()},
          {"activations_bytes", m.activations.value()},
          {"logits_bytes", m.logits.value()},
          {"context_bytes", kCudaContext.value()},
          {"torch_workspace_bytes", CublasWorkspace(kUsualCapability).value()}};
}

Json TensorJson(std::string_view name, DType dtype, const Shape& shape, std::int64_t bytes) {
  Json j;
  j["name"] = name;
  j["dtype"] = Name(dtype);
  j["shape"] = shape;
  j["bytes"] = bytes;
  return j;
}

// What an index alone tells.
std::string NamesOnlyText(const Model& model) {
  std::string out;
  const std::string stated = model.stated_bytes ? FormatBytes(*model.stated_bytes) + " stated by the index" : "unknown";
  for (const auto& [key, value] :
       {std::pair("model", fmt::format("{} ({})", model.name, model.class_name)),
        std::pair("weights", fmt::format("{}, in {} tensors of unknown shapes", stated, model.tensors.size())),
        std::pair("files", "none read: " + model.origin)}) {
    out += fmt::format("{:<14}  {}\n", key, value);
  }
  return out;
}

std::string FilesText(const Model& model) {
  if (!model.quantization.empty()) return "none: quantized by " + model.quantization + "'s rules";
  const std::string origin = model.origin.empty() ? "the config" : model.origin;
  if (model.files.empty()) return "none: sizes follow from " + origin;
  return fmt::format("{}: {}", FormatCount(static_cast<std::int64_t>(model.files.size())), origin);
}

std::string NotesText(const Model& model) {
  std::string out;
  for (const std::string& note : model.notes) out += fmt::format("{:<14}  {}\n", "note", note);
  return out;
}

}  // namespace

std::string SummaryText(const Model& model, const Request& request) {
  if (model.names_only) return NamesOnlyText(model) + NotesText(model);
  const Facts f = Collect(model);
  std::vector<std::string> dtypes;
  for (const auto& [name, bytes] : f.dtypes) dtypes.push_back(fmt::format("{} {}", FormatBytes(bytes), name));
  std::vector<std::vector<std::string>> rows = {
      {"model", fmt::format("{} ({})", model.name, model.class_name)},
      {"parameters", FormatCount(model.Parameters())},
      {"weights",
       fmt::format("{} in {} tensors ({})", FormatBytes(model.CheckpointBytes()), f.tensors, Join(dtypes, ", "))},
      {"largest tensor", fmt::format("{} {} {}", f.largest_tensor->name, FormatShape(f.largest_tensor->shape),
                                     FormatBytes(f.largest_tensor->bytes()))}};
  const Module& layer = model.modules[f.largest_layer];
  rows.push_back(
      {"largest layer", fmt::format("{} ({}) {}", layer.name, layer.class_name, FormatBytes(f.largest_layer_bytes))});
  if (f.largest_block != kNoId) {
    const Module& block = model.modules[f.largest_block];
    rows.push_back(
        {"largest block", fmt::format("{} ({}) {}", block.name, block.class_name, FormatBytes(f.largest_block_bytes))});
  }
  if (!model.unloaded.empty()) {
    Bytes unloaded;
    for (const Tensor& t : model.unloaded) unloaded += t.bytes();
    rows.push_back({"not loaded", fmt::format("{} of the files, from {} on: no class uses them", FormatBytes(unloaded),
                                              model.unloaded[0].name)});
  }
  for (const auto& group : model.tied_groups) rows.push_back({"tied", Join(NamesOf(model, group), " = ")});
  const Bytes cache = CacheBytesPerPosition(model);
  rows.push_back({"cache", cache > Bytes(0) ? fmt::format("{} per token", FormatBytes(cache))
                                            : fmt::format("unknown for {}: weights only", model.family)});
  if (const Bytes waste = WasteOfFp32(model); waste > Bytes(0)) {
    rows.push_back({"fp32 waste", fmt::format("{} if loaded in torch's default dtype (transformers before 5: without "
                                              "torch_dtype)",
                                              FormatBytes(waste))});
  }
  rows.push_back({"files", FilesText(model)});
  if (cache > Bytes(0)) AddMemoryRows(model, request, rows);
  std::string out;
  for (const auto& row : rows) out += fmt::format("{:<14}  {}\n", row[0], row[1]);
  return out + NotesText(model);
}

std::string SummaryJson(const Model& model, const Request& request) {
  const Facts f = Collect(model);
  Json j;
  j["name"] = model.name;
  j["family"] = model.family;
  j["parameters"] = model.Parameters();
  j["weights_bytes"] = model.CheckpointBytes().value();
  j["tensors"] = f.tensors;
  j["largest_tensor"] = {{"name", f.largest_tensor->name}, {"bytes", f.largest_tensor->bytes().value()}};
  if (model.names_only) {
    for (const char* key : {"parameters", "largest_tensor"}) j[key] = nullptr;
    if (!model.stated_bytes) j["weights_bytes"] = nullptr;
  }
  j["largest_block"] = nullptr;
  if (f.largest_block != kNoId) {
    const Module& block = model.modules[f.largest_block];
    j["largest_block"] = {{"name", block.name}, {"class", block.class_name}, {"bytes", f.largest_block_bytes.value()}};
  }
  j["no_split_classes"] = model.no_split_classes;
  j["tied_groups"] = Json::array();
  for (const auto& group : model.tied_groups) j["tied_groups"].push_back(NamesOf(model, group));
  j["dtypes"] = Json::object();
  for (const auto& [name, bytes] : f.dtypes) {
    if (!model.names_only) j["dtypes"][name] = bytes.value();
  }
  j["kv_bytes_per_token"] = CacheBytesPerPosition(model).value();
  j["quantization"] = nullptr;
  if (!model.quantization.empty()) j["quantization"] = model.quantization;
  const Module& layer = model.modules[f.largest_layer];
  j["largest_layer"] = {{"name", layer.name}, {"class", layer.class_name}, {"bytes", f.largest_layer_bytes.value()}};
  j["fp32_waste_bytes"] = WasteOfFp32(model).value();
  j["memory"] = MemoryJson(model, request);
  j["source"] = model.origin;
  j["notes"] = model.notes;
  return Dumped(j);
}

std::string TreeText(const Model& model) {
  const std::vector<Bytes> bytes = ModuleBytes(model);
  std::string out;
  std::vector<int> depth(model.modules.size());
  for (std::size_t i = 0; i < model.modules.size(); ++i) {
    const Module& m = model.modules[i];
    if (m.parent != kNoId) depth[i] = depth[m.parent] + 1;
    const std::string own = m.name.substr(m.name.rfind('.') + 1);
    out += fmt::format("{:{}}{}{}{}", "", 2 * depth[i], own, own.empty() ? "" : " ", m.class_name);
    for (const TensorId id : m.tensors) {
      const Tensor& t = model.tensors[id];
      out += fmt::format("  {} {} {}", t.name.substr(t.name.rfind('.') + 1), FormatShape(t.shape), Name(t.dtype));
      if (t.buffer) out += t.persistent ? " (buffer)" : " (buffer, not saved)";
      if (t.tied_to != kNoId) out += " = " + model.tensors[t.tied_to].name;
    }
    if (!m.children.empty() && bytes[i] > Bytes(0)) out += "  " + FormatBytes(bytes[i]);
    out += "\n";
  }
  return out;
}

std::string TreeJson(const Model& model) {
  const std::vector<Bytes> bytes = ModuleBytes(model);
  Json j = Json::array();
  for (std::size_t i = 0; i < model.modules.size(); ++i) {
    const Module& m = model.modules[i];
    Json row;
    row["name"] = m.name;
    row["class"] = m.class_name;
    row["bytes"] = bytes[i].value();
    row["tensors"] = NamesOf(model, m.tensors);
    j.push_back(std::move(row));
  }
  return Dumped(j);
}

std::string TensorsText(const Model& model) {
  if (model.names_only) {
    std::string names;
    for (const Tensor& t : model.tensors) names += t.name + "\n";
    return names;
  }
  std::vector<std::vector<std::string>> rows = {{"bytes", "dtype", "name", "shape"}};
  for (const Tensor& t : model.tensors) {
    if (!IsSaved(t)) continue;
    rows.push_back({FormatCount(t.bytes().value()), std::string(Name(t.dtype)), t.name, FormatShape(t.shape)});
  }
  for (const Tensor& t : model.unloaded) {
    rows.push_back({FormatCount(t.bytes().value()), std::string(Name(t.dtype)), t.name, FormatShape(t.shape)});
  }
  return AlignTable(rows);
}

std::string TensorsJson(const Model& model) {
  Json j = Json::array();
  for (const Tensor& t : model.tensors) {
    if (model.names_only) {
      j.push_back({{"name", t.name}, {"dtype", nullptr}, {"shape", nullptr}, {"bytes", nullptr}});
      continue;
    }
    if (IsSaved(t)) j.push_back(TensorJson(t.name, t.dtype, t.shape, t.bytes().value()));
  }
  for (const Tensor& t : model.unloaded) j.push_back(TensorJson(t.name, t.dtype, t.shape, t.bytes().value()));
  return Dumped(j);
}

std::string HeaderText(const SafetensorsHeader& header) {
  std::vector<std::vector<std::string>> rows = {{"offset", "bytes", "dtype", "name", "shape"}};
  for (const StoredTensor& t : header.tensors) {
    rows.push_back(
        {FormatCount(t.offset), FormatCount(t.bytes), std::string(Name(t.dtype)), t.name, FormatShape(t.shape)});
  }
  std::string out = fmt::format("{} tensors, data from byte {}\n", header.tensors.size(), header.data_begin);
  for (const auto& [key, value] : header.metadata) out += fmt::format("{} = {}\n", key, value);
  return out + AlignTable(rows);
}

std::string HeaderJson(const SafetensorsHeader& header) {
  Json j;
  j["data_begin"] = header.data_begin;
  j["metadata"] = Json::object();
  for (const auto& [key, value] : header.metadata) j["metadata"][key] = value;
  j["tensors"] = Json::array();
  for (const StoredTensor& t : header.tensors) {
    Json row = TensorJson(t.name, t.dtype, t.shape, t.bytes);
    row["offset"] = t.offset;
    j["tensors"].push_back(std::move(row));
  }
  return Dumped(j);
}

std::string IndexText(const CheckpointIndex& index) {
  std::vector<std::int64_t> counts(index.files.size());
  for (const CheckpointIndex::Entry& e : index.entries) ++counts[e.file];
  std::string out = fmt::format("{} tensors in {} shards, {}\n", index.entries.size(), index.files.size(),
                                index.total_size ? FormatBytes(*index.total_size) + " stated" : "no size stated");
  for (std::size_t i = 0; i < counts.size(); ++i) out += fmt::format("{:>6}  {}\n", counts[i], index.files[i]);
  for (const CheckpointIndex::Entry& e : index.entries) out += fmt::format("{}  {}\n", e.tensor, index.files[e.file]);
  return out;
}

std::string IndexJson(const CheckpointIndex& index) {
  Json j;
  j["total_size"] = nullptr;
  if (index.total_size) j["total_size"] = index.total_size->value();
  j["shards"] = index.files;
  j["tensors"] = Json::array();
  for (const CheckpointIndex::Entry& e : index.entries) {
    j["tensors"].push_back({{"name", e.tensor}, {"shard", index.files[e.file]}});
  }
  return Dumped(j);
}

}  // namespace stowage
