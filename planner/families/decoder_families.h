// The decoder-only families of decoder.h: one function and one file each. Sources: the classes of transformers 5.23 and,
// where files differ from them, the public checkpoints.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildMistral(const HfConfig& config, std::string name);     // llama with a sliding window, absent: 4096
Result<Model> BuildMixtral(const HfConfig& config, std::string name);     // block_sparse_moe.experts.e.w1, w2, w3
Result<Model> BuildQwen2(const HfConfig& config, std::string name);       // llama with biases on q, k, v
Result<Model> BuildQwen3(const HfConfig& config, std::string name);       // + q_norm, k_norm [d]; d 128 by default
Result<Model> BuildQwen3Moe(const HfConfig& config, std::string name);    // + experts but in mlp_only_layers
Result<Model> BuildGemma(const HfConfig& config, std::string name);       // gemma: scaled embedding, tied
Result<Model> BuildGemma2(const HfConfig& config, std::string name);      // + norms around the MLP; every second slides
Result<Model> BuildGemma3Text(const HfConfig& config, std::string name);  // + q_norm, k_norm; five of six slide
Result<Model> BuildGemma3(const HfConfig& config, std::string name);      // with a SigLIP tower, see gemma3.cc
Result<Model> BuildPhi3(const HfConfig& config, std::string name);        // fused qkv_proj and gate_up_proj
Result<Model> BuildStarcoder2(const HfConfig& config, std::string name);  // LayerNorm, plain MLP, biases (use_bias)
Result<Model> BuildOlmo2(const HfConfig& config, std::string name);       // norms after the blocks; q_norm [H d]
Result<Model> BuildSmolLm3(const HfConfig& config, std::string name);     // llama, tied, some layers without rope
Result<Model> BuildCohere(const HfConfig& config, std::string name);      // one norm a layer, use_qk_norm [H, d]
Result<Model> BuildDeepseek(const HfConfig& config, std::string name);    // deepseek_v2, deepseek_v3, kimi_k2: MLA
Result<Model> BuildGptOss(const HfConfig& config, std::string name);      // sinks, biases, experts in MXFP4 or bf16
Result<Model> BuildLlama4Text(const HfConfig& config, std::string name);  // chunked attention, stacked experts
Result<Model> BuildLlama4(const HfConfig& config, std::string name);      // with a vision tower, see llama4.cc

}  // namespace stowage
