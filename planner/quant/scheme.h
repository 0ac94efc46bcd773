// Quantization schemes: what --dtype names beyond plain element types, and which bytes each puts beside the elements.
//
// For a matrix of n = rows * k elements, k being the inner dimension of the product:
//
//   scheme        elements   scales, zero points and codes, in bytes                     published as
//   int8          1          4 rows                                                      bitsandbytes LLM.int8: SCB
//   nf4, fp4      1/2        4 ceil(n/64) + 64                                           bitsandbytes: absmax, quant_map
//   nf4-double    1/2        a + 4 ceil(a/256) + 1024 + 4 + 64, a = ceil(n/64)           bnb_4bit_use_double_quant
//   int8-row      1          one value of the compute dtype a row                        torchao int8wo, quanto qint8
//   int4          1/2        2 values of it for each group of 128 (96, 64, 32) of k      quanto qint4
//   int4-torchao  1/2        4 rows k/128, k padded to 1024, rows to 8                   torchao int4wo (tinygemm)
//   hqq           1/2        4 n/64                                                      HQQ, nbits 4, group 64
//   gptq          1/2        rows g (2 + 1/2) + 4 k, g = ceil(k/128)                     GPTQ: scales, qzeros, g_idx
//   awq           1/2        rows g (2 + 1/2)                                            AWQ: scales, qzeros
//   fp8           1          4 ceil(rows/128) ceil(k/128)                                weight_scale_inv in fp32
//   fp8-row       1          4 rows                                                      torchao, vLLM: a scale a row
//   nvfp4         1/2        rows k/16 + 4                                               fp8 scales, one fp32
//   mxfp4         1/2        rows k/32                                                   E8M0 scales, experts only
//   q8_0, q4_k_m …           in ggml's blocks                                            llama.cpp, see ggml_mix.h
//
// Sources: bitsandbytes (functional.py, nn/modules.py), transformers 5.23 (quantizers/, integrations/), AutoGPTQ and
// AutoAWQ (their packed linear modules), optimum-quanto (QModuleMixin), torchao (tinygemm layout), llama.cpp. The sizes
// of int8 and gptq are checked against published checkpoints (quantize_test.cc).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "planner/base/result.h"
#include "planner/model/dtype.h"

namespace stowage {

// How a scheme treats the network; the tool whose rules decide which tensors stay as they are.
enum class QuantRule : std::uint8_t {
  kLinear,    // transformers: every Linear but the output head, tied modules and the last parameter's module
  kBlocks,    // GPTQ, AWQ: every Linear inside a no-split block
  kMatrices,  // fp8: kLinear, and the stacked weights of experts
  kExperts,   // mxfp4: the weights of routed experts alone
  kGgml,      // llama.cpp: nearly every matrix, in a mix of types
};

struct QuantScheme {
  std::string_view name;   // "nf4"
  std::string_view about;  // one line for --help and reports
  QuantRule rule;
  DType dtype;  // of quantized elements; of ggml mixes the type most tensors get
};

std::span<const QuantScheme> QuantSchemes();  // from the most bytes to the fewest

// Case, '-', '_', '.' and spaces do not count; aliases such as "load_in_8bit", "bnb-nf4", "gptq-int4", "Q4_K" do.
const QuantScheme* FindScheme(std::string_view text);

// What --dtype means: nothing ("auto"), a plain element type, or a scheme.
struct NumberFormat {
  std::optional<DType> dtype;
  const QuantScheme* scheme = nullptr;  // of the table above
};

// kInvalidInput lists what is known.
Result<NumberFormat> ParseNumberFormat(std::string_view text);
std::string KnownFormats();  // "auto, fp32, …, q2_k"

}  // namespace stowage
