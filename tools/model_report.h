// What `inspect` says about a model, as text and as JSON.
#pragma once

#include <string>

#include "planner/formats/checkpoint_index.h"
#include "planner/formats/safetensors.h"
#include "planner/model/model.h"
#include "planner/model/request.h"

namespace stowage {

// Parameters, bytes by dtype, the largest tensor, layer (module with tensors of its own) and block, ties, cache bytes per
// token, what fp32 would waste, and what the request needs beside the weights, each estimate with its origin. A tied
// weight counts once.
std::string SummaryText(const Model& model, const Request& request = {});
// {"name","family","parameters","weights_bytes","tensors","largest_tensor":{"name","bytes"},"largest_block":{"name",
//  "class","bytes"} or null,"no_split_classes","tied_groups":[[owner, others...]],"dtypes":{dtype: bytes},
//  "kv_bytes_per_token","quantization": scheme or null,"largest_layer": as largest_block,"fp32_waste_bytes",
//  "memory":{"batch","prompt_tokens","new_tokens","kv_bytes","activations_bytes","logits_bytes","context_bytes",
//  "torch_workspace_bytes"},"source","notes":[sentences]}; null where an index alone does not say
std::string SummaryJson(const Model& model, const Request& request = {});

// Modules in registration order, indented, each with its class, its own tensors and the bytes below it.
std::string TreeText(const Model& model);
std::string TreeJson(const Model& model);  // [{"name","class","bytes","tensors":[names]}], parents before children

// What a checkpoint of the model holds, in state-dict order: no tied copies, no buffers that are never saved.
std::string TensorsText(const Model& model);
std::string TensorsJson(const Model& model);  // [{"name","dtype","shape","bytes"}]; null where unknown

// The header of one safetensors file, in the order of the data.
std::string HeaderText(const SafetensorsHeader& header);
std::string HeaderJson(const SafetensorsHeader& header);  // {"data_begin","metadata","tensors":[{..., "offset"}]}

// An index: the shards with how many tensors each has, then the tensors in the order of the file.
std::string IndexText(const CheckpointIndex& index);
std::string IndexJson(
    const CheckpointIndex& index);  // {"total_size" or null,"shards":[names],"tensors":[{"name","shard"}]}

}  // namespace stowage
