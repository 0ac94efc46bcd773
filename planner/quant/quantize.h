// A model as a quantizer leaves it: each weight with the dtype and the scales that the tool of a scheme gives it.
//
// A quantized tensor keeps its name and its logical shape; Tensor::dtype becomes the packed type and Tensor::scales the
// bytes of scales, zero points and codes, so that Tensor::bytes() is exact and a weight stays one thing to place and to
// copy. What a scheme leaves alone keeps its dtype (llama.cpp's: fp32 for vectors). Activations and caches go on in the
// dtype of before (Model::compute_dtype).
//
// Which tensors (transformers 5.23 for the schemes of torch; the experts of a layer are modules of their own in
// checkpoints and count as such, although transformers 5 stacks them while loading):
//   kLinear    Linear and Conv1D modules, but not: the output head, a module with a tied parameter, the module of the
//              model's last parameter when that is a weight, T5's `wo`. Stacks of llama4, which transformers unstacks.
//   kBlocks    Linear modules inside no-split blocks whose sizes are multiples of 32 (gptq) or of the group (awq).
//   kMatrices  kLinear, and all stacks.
//   kExperts   stacks and modules of routed experts, whose k is a multiple of 32.
//   kGgml      see ggml_mix.h.
#pragma once

#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/model/request.h"
#include "planner/quant/scheme.h"
#include "planner/quant/tensor_role.h"

namespace stowage {

// The model then has no files: its bytes are in none of them. kInvalidInput for a model whose files are quantized
// already, and where nothing would be quantized (mxfp4 without experts).
Status Quantize(Model& model, const QuantScheme& scheme);

// What Model::WeightBytes would be after Quantize; `facts` are FactsOf(model).
Result<Bytes> QuantizedWeightBytes(const Model& model, const std::vector<TensorFacts>& facts,
                                   const QuantScheme& scheme);

// Applies what --dtype said: Request::dtype (SetDType), Request::quantization (a name of QuantSchemes()), or nothing; then,
// without files, the scheme that the config names (Model::stored_scheme).
Status ApplyFormat(Model& model, const Request& request);

// What from_pretrained without a dtype wasted before transformers 5 loaded the checkpoint's: every floating weight in
// fp32. 0 when the weights are fp32 or quantized.
Bytes WasteOfFp32(const Model& model);

}  // namespace stowage
