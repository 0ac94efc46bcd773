#include <array>

#include "planner/zoo/zoo_rows.h"

namespace stowage {
namespace {

constexpr std::array<ZooRow, 34> kRows = {{
    {"mistral-7b-v0.1", "mistralai/Mistral-7B-v0.1", "",  //
     R"({"model_type": "mistral", "max_position_embeddings": 32768, "rms_norm_eps": 1e-05,
        "torch_dtype": "bfloat16"})"},
    {"mistral-7b-v0.3", "mistralai/Mistral-7B-v0.3", "mistral-7b",  //
     R"({"model_type": "mistral", "vocab_size": 32768, "max_position_embeddings": 32768, "rms_norm_eps": 1e-05,
        "rope_theta": 1000000.0, "sliding_window": null, "torch_dtype": "bfloat16"})"},
    {"mistral-small-24b", "mistralai/Mistral-Small-24B-Instruct-2501", "",  //
     R"({"model_type": "mistral", "num_hidden_layers": 40, "hidden_size": 5120, "intermediate_size": 32768,
        "head_dim": 128, "vocab_size": 131072, "max_position_embeddings": 32768, "rms_norm_eps": 1e-05,
        "rope_theta": 100000000.0, "sliding_window": null, "torch_dtype": "bfloat16"})"},
    {"devstral-small-24b", "mistralai/Devstral-Small-2507", "",  //
     R"({"model_type": "mistral", "num_hidden_layers": 40, "hidden_size": 5120, "intermediate_size": 32768,
        "head_dim": 128, "vocab_size": 131072, "rms_norm_eps": 1e-05, "rope_theta": 1000000000.0,
        "sliding_window": null, "torch_dtype": "bfloat16"})"},
    {"mixtral-8x7b", "mistralai/Mixtral-8x7B-v0.1", "",  //
     R"({"model_type": "mixtral", "max_position_embeddings": 32768, "torch_dtype": "bfloat16"})"},
    {"mixtral-8x22b", "mistralai/Mixtral-8x22B-v0.1", "",  //
     R"({"model_type": "mixtral", "num_hidden_layers": 56, "hidden_size": 6144, "intermediate_size": 16384,
        "num_attention_heads": 48, "max_position_embeddings": 65536, "torch_dtype": "bfloat16"})"},
    {"qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B", "",  //
     R"({"model_type": "qwen2", "num_hidden_layers": 24, "hidden_size": 896, "intermediate_size": 4864,
        "num_attention_heads": 14, "num_key_value_heads": 2, "rope_theta": 1000000.0,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16"})"},
    {"qwen2.5-1.5b", "Qwen/Qwen2.5-1.5B", "",  //
     R"({"model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 1536, "intermediate_size": 8960,
        "num_attention_heads": 12, "num_key_value_heads": 2, "max_position_embeddings": 131072,
        "rope_theta": 1000000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16"})"},
    {"qwen2.5-14b", "Qwen/Qwen2.5-14B", "",  //
     R"({"model_type": "qwen2", "num_hidden_layers": 48, "hidden_size": 5120, "intermediate_size": 13824,
        "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 152064,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "torch_dtype": "bfloat16"})"},
    {"qwen2.5-72b", "Qwen/Qwen2.5-72B", "",  //
     R"({"model_type": "qwen2", "num_hidden_layers": 80, "hidden_size": 8192, "intermediate_size": 29568,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 152064,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "torch_dtype": "bfloat16"})"},
    {"qwen3-0.6b", "Qwen/Qwen3-0.6B", "",  //
     R"({"model_type": "qwen3", "num_hidden_layers": 28, "hidden_size": 1024, "intermediate_size": 3072,
        "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 40960,
        "rope_theta": 1000000, "tie_word_embeddings": true, "torch_dtype": "bfloat16"})"},
    {"qwen3-1.7b", "Qwen/Qwen3-1.7B", "",  //
     R"({"model_type": "qwen3", "num_hidden_layers": 28, "hidden_size": 2048, "intermediate_size": 6144,
        "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 40960,
        "rope_theta": 1000000, "tie_word_embeddings": true, "torch_dtype": "bfloat16"})"},
    {"qwen3-8b", "Qwen/Qwen3-8B", "",  //
     R"({"model_type": "qwen3", "num_hidden_layers": 36, "intermediate_size": 12288, "num_key_value_heads": 8,
        "max_position_embeddings": 40960, "rope_theta": 1000000, "torch_dtype": "bfloat16"})"},
    {"qwen3-32b", "Qwen/Qwen3-32B", "",  //
     R"({"model_type": "qwen3", "num_hidden_layers": 64, "hidden_size": 5120, "intermediate_size": 25600,
        "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 40960,
        "rope_theta": 1000000, "torch_dtype": "bfloat16"})"},
    {"qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B", "",  //
     R"({"model_type": "qwen3_moe", "num_hidden_layers": 48, "head_dim": 128, "max_position_embeddings": 40960,
        "rope_theta": 1000000.0, "torch_dtype": "bfloat16"})"},
    {"qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B", "",  //
     R"({"model_type": "qwen3_moe", "num_hidden_layers": 94, "hidden_size": 4096, "intermediate_size": 12288,
        "num_attention_heads": 64, "head_dim": 128, "max_position_embeddings": 40960, "rope_theta": 1000000.0,
        "torch_dtype": "bfloat16", "moe_intermediate_size": 1536})"},
    {"qwen3-coder-480b-a35b", "Qwen/Qwen3-Coder-480B-A35B-Instruct", "",  //
     R"({"model_type": "qwen3_moe", "num_hidden_layers": 62, "hidden_size": 6144, "intermediate_size": 8192,
        "num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 262144,
        "rope_theta": 10000000, "torch_dtype": "bfloat16", "num_experts": 160, "moe_intermediate_size": 2560,
        "use_qk_norm": true})"},
    {"gemma-2b", "google/gemma-2b", "",  //
     R"({"model_type": "gemma", "num_hidden_layers": 18, "hidden_size": 2048, "intermediate_size": 16384,
        "num_attention_heads": 8, "num_key_value_heads": 1, "hidden_act": "gelu", "torch_dtype": "bfloat16"})"},
    {"gemma-2-2b", "google/gemma-2-2b", "",  //
     R"({"model_type": "gemma2", "torch_dtype": "float32"})"},
    {"gemma-2-9b", "google/gemma-2-9b", "",  //
     R"({"model_type": "gemma2", "num_hidden_layers": 42, "hidden_size": 3584, "intermediate_size": 14336,
        "num_attention_heads": 16, "num_key_value_heads": 8, "torch_dtype": "bfloat16"})"},
    {"gemma-3-1b", "google/gemma-3-1b-it", "",  //
     R"({"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "num_attention_heads": 4,
        "num_key_value_heads": 1, "vocab_size": 262144, "max_position_embeddings": 32768, "sliding_window": 512,
        "sliding_window_pattern": 6, "torch_dtype": "bfloat16"})"},
    {"gemma-3-12b", "google/gemma-3-12b-it", "",  //
     R"({"model_type": "gemma3", "torch_dtype": "bfloat16", "text_config": {"num_hidden_layers": 48,
        "hidden_size": 3840, "intermediate_size": 15360, "num_attention_heads": 16, "num_key_value_heads": 8,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
        "vision_config": {"num_hidden_layers": 27, "hidden_size": 1152, "intermediate_size": 4304,
        "num_attention_heads": 16, "image_size": 896, "patch_size": 14, "vision_use_head": false}})"},
    {"medgemma-27b", "google/medgemma-27b-it", "gemma-3-27b",  //
     R"({"model_type": "gemma3", "torch_dtype": "bfloat16", "text_config": {"num_hidden_layers": 62,
        "hidden_size": 5376, "intermediate_size": 21504, "num_attention_heads": 32, "num_key_value_heads": 16,
        "head_dim": 128, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        "torch_dtype": "bfloat16"}, "vision_config": {"num_hidden_layers": 27, "hidden_size": 1152,
        "intermediate_size": 4304, "num_attention_heads": 16, "torch_dtype": "bfloat16", "image_size": 896,
        "patch_size": 14, "vision_use_head": false}})"},
    {"phi-3-mini", "microsoft/Phi-3-mini-4k-instruct", "",  //
     R"({"model_type": "phi3", "sliding_window": 2047, "torch_dtype": "bfloat16"})"},
    {"starcoder2-7b", "bigcode/starcoder2-7b", "",  //
     R"({"model_type": "starcoder2", "num_hidden_layers": 32, "hidden_size": 4608, "intermediate_size": 18432,
        "num_attention_heads": 36, "num_key_value_heads": 4, "max_position_embeddings": 16384,
        "rope_theta": 1000000, "sliding_window": 4096, "torch_dtype": "bfloat16"})"},
    {"olmo-2-7b", "allenai/OLMo-2-1124-7B", "",  //
     R"({"model_type": "olmo2", "vocab_size": 100352, "max_position_embeddings": 4096, "rms_norm_eps": 1e-06,
        "rope_theta": 500000.0, "torch_dtype": "float32"})"},
    {"olmo-2-13b", "allenai/OLMo-2-1124-13B", "",  //
     R"({"model_type": "olmo2", "num_hidden_layers": 40, "hidden_size": 5120, "intermediate_size": 13824,
        "num_attention_heads": 40, "num_key_value_heads": 40, "vocab_size": 100352,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-06, "rope_theta": 500000.0, "torch_dtype": "float32"})"},
    {"smollm3-3b", "HuggingFaceTB/SmolLM3-3B", "",  //
     R"({"model_type": "smollm3", "max_position_embeddings": 65536, "rope_theta": 5000000.0,
        "torch_dtype": "bfloat16"})"},
    {"deepseek-v3", "deepseek-ai/DeepSeek-V3", "",  //
     R"({"model_type": "deepseek_v3", "max_position_embeddings": 163840, "rope_scaling": {"beta_fast": 32,
        "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096, "type": "yarn"}, "torch_dtype": "bfloat16",
        "num_nextn_predict_layers": 1, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128,
        128]}})"},
    {"deepseek-r1", "deepseek-ai/DeepSeek-R1", "",  //
     R"({"model_type": "deepseek_v3", "max_position_embeddings": 163840, "rope_scaling": {"beta_fast": 32,
        "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096, "type": "yarn"}, "torch_dtype": "bfloat16",
        "num_nextn_predict_layers": 1, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128,
        128]}})"},
    {"kimi-k2", "moonshotai/Kimi-K2-Instruct", "",  //
     R"({"model_type": "kimi_k2", "num_attention_heads": 64, "num_key_value_heads": 64, "vocab_size": 163840,
        "max_position_embeddings": 131072, "rope_theta": 50000.0, "rope_scaling": {"beta_fast": 1.0,
        "beta_slow": 1.0, "factor": 32.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096, "type": "yarn"}, "torch_dtype": "bfloat16",
        "n_routed_experts": 384, "first_k_dense_replace": 1, "quantization_config": {"quant_method": "fp8",
        "weight_block_size": [128, 128]}})"},
    {"gpt-oss-20b", "openai/gpt-oss-20b", "",  //
     R"({"model_type": "gpt_oss", "num_hidden_layers": 24, "rope_scaling": {"beta_fast": 32.0, "beta_slow": 1.0,
        "factor": 32.0, "original_max_position_embeddings": 4096, "rope_type": "yarn", "truncate": false},
        "num_local_experts": 32, "quantization_config": {"quant_method": "mxfp4"}})"},
    {"gpt-oss-120b", "openai/gpt-oss-120b", "",  //
     R"({"model_type": "gpt_oss", "rope_scaling": {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
        "original_max_position_embeddings": 4096, "rope_type": "yarn", "truncate": false},
        "quantization_config": {"quant_method": "mxfp4"}})"},
    {"llama-4-scout-17b-16e", "meta-llama/Llama-4-Scout-17B-16E", "llama-4-scout",  //
     R"({"model_type": "llama4", "torch_dtype": "bfloat16", "text_config": {"max_position_embeddings": 10485760,
        "rope_scaling": {"factor": 16.0, "high_freq_factor": 1.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "torch_dtype": "bfloat16"}})"},
}};

}  // namespace

std::span<const ZooRow> DecoderRows() { return kRows; }

}  // namespace stowage
