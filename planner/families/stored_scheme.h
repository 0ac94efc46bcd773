// Which quantization a config.json says its files are in, where no family describes their tensors one by one.
//
//   quant_method                                                     scheme of planner/quant
//   gptq, bits 4, group_size 128                                     gptq
//   awq, bits 4, group_size 128                                      awq
//   bitsandbytes, load_in_8bit                                       int8
//   bitsandbytes, load_in_4bit, bnb_4bit_quant_type nf4 or fp4       nf4, fp4
//   … with bnb_4bit_use_double_quant                                 nf4-double
//   fp8, weight_block_size [128, 128], of llama                      fp8
//   fp8 of other decoders, mxfp4 of gpt-oss                          none: read by the families (decoder.h, gpt_oss.cc)
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"

namespace stowage {

// "": there is no quantization_config, or one that the families read. kInvalidInput for a method, a number of bits or a
// size of groups that no scheme stands for.
Result<std::string> StoredScheme(const HfConfig& config);

// The method of quantization_config, "bitsandbytes" where only its load_in_ flags are there; "": none.
Result<std::string> QuantMethod(const HfConfig& config);

}  // namespace stowage
