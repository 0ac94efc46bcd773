// Which number formats of a model fit into one device, everything resident: the closed form behind "which quantizations
// fit", and behind the memory section of `inspect summary`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planner/model/model.h"
#include "planner/model/request.h"

namespace stowage {

// What a request needs beside the weights, as the native runtime lays it out for a decoder: exact for llama, and an
// estimate of the same form for every other family. Zeros for a model without a TransformerShape.
//   activations  batch * prompt rows (kv none: the whole context) of the widest moment, the largest of
//                  2 h + 2 intermediate                     residual and its norm beside gate and up
//                  2 h + 2 k expert, h + k (h + expert)     the same of a row's k experts; their results
//                  2 h + (heads + 2 kv_heads) head_dim      q, k and v
//   logits       of the last position of each sequence (of all prompt positions with Request::all_logits)
// The two are never alive at once.
struct RequestMemory {
  Bytes kv;
  Bytes activations;
  Bytes logits;
  Bytes total() const { return kv + (activations < logits ? logits : activations); }
};
RequestMemory MemoryOf(const Model& model, const Request& request);

struct FormatFit {
  std::string_view name;   // what to give --dtype; "auto" for the model as it is
  std::string_view about;  // "bitsandbytes nf4, blocks of 64"
  Bytes weights;
  Bytes needed;  // weights, RequestMemory::total() and `reserved`
  bool fits = false;
};

// The model as it is first, then the formats that people use and that change it, from the most bytes to the fewest; only
// the first for a model that is quantized already. `budget` is all of the device, `reserved` what context and libraries
// take of it. Linear in the tensors.
std::vector<FormatFit> FormatsThatFit(const Model& model, const Request& request, Bytes budget, Bytes reserved);

}  // namespace stowage
