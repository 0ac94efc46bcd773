// A network as its checkpoint and its Python class describe it: modules in registration order, each with the tensors it
// owns. No shapes of activations and no devices here.
//
//   model                    LlamaForCausalLM
//   |- model                 LlamaModel
//   |  |- embed_tokens       Embedding          weight [V, h]
//   |  |- layers
//   |  |  `- 0               LlamaDecoderLayer  <- a no-split block: computed whole on one device
//   ...
// Registration order is observable: accelerate's placement walks modules and tensors in exactly this order.
// Long because it is one noun, read as a whole: every stage reads a model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/units.h"
#include "planner/model/dtype.h"
#include "planner/model/shape.h"

namespace stowage {

using TensorId = std::int32_t;
using ModuleId = std::int32_t;
inline constexpr std::int32_t kNoId = -1;

using Shape = std::vector<std::int64_t>;
std::int64_t Elements(const Shape& shape);    // 1 for a scalar
std::string FormatShape(const Shape& shape);  // "[4096, 14336]"

// Where a tensor's bytes are in a checkpoint.
struct FileSlice {
  std::int32_t file = kNoId;  // index into Model::files
  std::int64_t offset = 0;    // from the start of the file
  DType dtype = DType::kF32;  // as stored; the tensor's own dtype may differ (--dtype)
};

struct Tensor {
  std::string name;  // exact state-dict name: "model.layers.0.mlp.up_proj.weight"
  Shape shape;
  DType dtype = DType::kF32;    // what it is computed with and takes in memory
  ModuleId module = kNoId;      // the module that owns it
  bool buffer = false;          // a buffer, not a parameter
  bool persistent = true;       // false: not in any checkpoint (rope tables, masks)
  TensorId tied_to = kNoId;     // the tensor whose storage this one shares; kNoId: storage of its own
  int weights_per_element = 1;  // what Parameters() counts: 2 for packed 4-bit blocks, 0 for quantization scales
  // Quantization scales, zero points and codes that go wherever the elements go. They are part of the tensor, so that no
  // placement, copy or row tile parts a weight from its scales. (Files may store them as tensors of their own; then they
  // are tensors here too, and this is 0.)
  Bytes scales;
  std::optional<FileSlice> source;  // absent without a checkpoint

  Bytes bytes() const { return SizeOf(dtype, Elements(shape)) + scales; }
  std::int64_t Rows() const { return shape.size() < 2 ? 1 : shape[0]; }
  // A row with its share of the scales, rounded up: what all rows share (a code table) may count some bytes twice.
  Bytes RowBytes() const { return Bytes((bytes().value() + Rows() - 1) / Rows()); }
};

struct Module {
  std::string name;        // dotted path; "" for the root
  std::string class_name;  // "LlamaDecoderLayer"
  ModuleId parent = kNoId;
  std::vector<ModuleId> children;  // registration order
  std::vector<TensorId> tensors;   // own parameters first, then own buffers, each in registration order
  ModuleId same_as = kNoId;        // the first registration of the same Python object; its tensors are tied to that's
};

struct Model {
  std::string name;        // what the user called it, or the folder's name
  std::string family;      // model_type: "llama"
  std::string class_name;  // "LlamaForCausalLM"
  TransformerShape shape;
  RopeScaling rope;
  ForwardFacts forward;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::string stored_scheme;           // its files are quantized so, if there are any, but its tensors here are not yet
  std::string quantization;            // the scheme that Quantize (planner/quant) applied; "": as the checkpoint has it
  std::optional<DType> compute_dtype;  // of activations and caches, when the first tensor's is another
  std::vector<Module> modules;         // [0] is the root; parents before children, in registration order (pre-order)
  std::vector<Tensor> tensors;         // in the order of a walk over the modules
  std::vector<std::vector<TensorId>> tied_groups;  // each group: the owner first
  std::vector<std::string> no_split_classes;       // transformers' _no_split_modules
  // In the checkpoint, but not loaded by the class (the multi-token-prediction layers of DeepSeek): no module, no memory.
  std::vector<Tensor> unloaded;
  std::vector<std::string> files;  // checkpoint files, absolute or relative as given; empty without weights
  // Of an index whose shards are not read: metadata.total_size; and whether not even a config gives shapes (all are [0]).
  std::optional<Bytes> stated_bytes;
  bool names_only = false;
  std::string origin;              // where it came from, for the user: "the zoo's facts of meta-llama/Llama-3.1-8B"
  std::vector<std::string> notes;  // sentences for the user: where files and config differ, what was not read

  // What is in memory: every tensor once (tied ones share), buffers included when asked.
  Bytes WeightBytes() const;        // parameters only, a tied weight once
  std::int64_t Parameters() const;  // weights, a tied one once
  // The tensor data of the checkpoint: every saved tensor once, the unloaded ones included; stated_bytes if there are.
  Bytes CheckpointBytes() const;
  DType ComputeDType() const;  // compute_dtype, else the first unpacked floating one, the embedding's
  // The no-split block a module lies in (itself or an ancestor), or kNoId.
  ModuleId BlockOf(ModuleId module) const;
  TensorId FindTensor(std::string_view name) const;  // kNoId when absent; linear
  ModuleId FindModule(std::string_view name) const;  // kNoId when absent; linear
};

}  // namespace stowage
