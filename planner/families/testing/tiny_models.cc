#include "planner/families/testing/tiny_models.h"

#include <array>

#include "planner/base/check.h"
#include "planner/families/families.h"
#include "planner/formats/hf_config.h"

namespace stowage {
namespace {

constexpr auto kConfigs = std::to_array<TinyConfig>({
    {"bert", R"({"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "intermediate_size": 32, "vocab_size": 40, "max_position_embeddings": 32})"},
    {"bloom", R"({"model_type": "bloom", "n_layer": 1, "hidden_size": 16, "n_head": 2, "vocab_size": 40})"},
    {"clip_text_model", R"({"model_type": "clip_text_model", "architectures": ["CLIPTextModelWithProjection"],
      "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40,
      "max_position_embeddings": 32, "projection_dim": 8})"},
    {"cohere", R"({"model_type": "cohere", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 4,
      "num_key_value_heads": 2, "intermediate_size": 24, "vocab_size": 40, "use_qk_norm": true,
      "torch_dtype": "bfloat16"})"},
    {"deepseek_v2", R"({"model_type": "deepseek_v2", "num_hidden_layers": 2, "hidden_size": 16,
      "num_attention_heads": 2, "intermediate_size": 24, "moe_intermediate_size": 8, "n_routed_experts": 4,
      "num_experts_per_tok": 2, "n_shared_experts": 2, "first_k_dense_replace": 1, "kv_lora_rank": 8, "q_lora_rank": null,
      "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 4, "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"deepseek_v3 fp8", R"({"model_type": "deepseek_v3", "num_hidden_layers": 1, "hidden_size": 16,
      "num_attention_heads": 2, "intermediate_size": 24, "moe_intermediate_size": 8, "n_routed_experts": 4,
      "num_experts_per_tok": 2, "n_shared_experts": 1, "first_k_dense_replace": 0, "kv_lora_rank": 8, "q_lora_rank": 12,
      "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 4, "vocab_size": 40, "torch_dtype": "bfloat16",
      "quantization_config": {"quant_method": "fp8", "weight_block_size": [8, 8]}})"},
    {"falcon", R"({"model_type": "falcon", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 4,
      "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"falcon 40b", R"({"model_type": "falcon", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 4,
      "num_kv_heads": 2, "new_decoder_architecture": true, "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"falcon alibi", R"({"model_type": "falcon", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 4,
      "alibi": true, "parallel_attn": false, "multi_query": false, "bias": true, "vocab_size": 40})"},
    {"gemma", R"({"model_type": "gemma", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 24, "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"gemma2", R"({"model_type": "gemma2", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 24, "vocab_size": 40, "sliding_window": 4,
      "torch_dtype": "bfloat16"})"},
    {"gemma3", R"({"model_type": "gemma3", "torch_dtype": "bfloat16", "text_config": {"num_hidden_layers": 1,
      "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 24,
      "vocab_size": 40}, "vision_config": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
      "image_size": 8, "patch_size": 4}})"},
    {"gemma3_text", R"({"model_type": "gemma3_text", "num_hidden_layers": 2, "hidden_size": 16,
      "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 24, "vocab_size": 40,
      "sliding_window": 4, "sliding_window_pattern": 2, "torch_dtype": "bfloat16"})"},
    {"gpt2", R"({"model_type": "gpt2", "n_layer": 1, "n_embd": 16, "n_head": 2, "vocab_size": 40,
      "n_positions": 32})"},
    {"gpt_neox", R"({"model_type": "gpt_neox", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "intermediate_size": 32, "vocab_size": 40, "torch_dtype": "float16"})"},
    {"gpt_oss", R"({"model_type": "gpt_oss", "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 32, "vocab_size": 40, "num_local_experts": 4,
      "num_experts_per_tok": 2, "sliding_window": 4, "torch_dtype": "bfloat16"})"},
    {"gpt_oss mxfp4", R"({"model_type": "gpt_oss", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 32, "vocab_size": 40, "num_local_experts": 4,
      "num_experts_per_tok": 1, "sliding_window": 4, "quantization_config": {"quant_method": "mxfp4"}})"},
    {"gptj", R"({"model_type": "gptj", "n_layer": 1, "n_embd": 16, "n_head": 2, "rotary_dim": 4, "vocab_size": 40,
      "n_positions": 32})"},
    {"kimi_k2", R"({"model_type": "kimi_k2", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "intermediate_size": 24, "moe_intermediate_size": 8, "n_routed_experts": 4, "num_experts_per_tok": 1,
      "n_shared_experts": 1, "first_k_dense_replace": 0, "kv_lora_rank": 8, "q_lora_rank": 12, "qk_nope_head_dim": 4,
      "qk_rope_head_dim": 2, "v_head_dim": 4, "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"llama", R"({"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "max_position_embeddings": 64,
      "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16"})"},
    {"llama4", R"({"model_type": "llama4", "torch_dtype": "bfloat16", "text_config": {"num_hidden_layers": 1,
      "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 8,
      "intermediate_size_mlp": 24, "vocab_size": 40, "num_local_experts": 4, "num_experts_per_tok": 1},
      "vision_config": {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
      "image_size": 28, "patch_size": 14}})"},
    {"llama4_text", R"({"model_type": "llama4_text", "num_hidden_layers": 2, "hidden_size": 16,
      "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 8,
      "intermediate_size_mlp": 24, "vocab_size": 40, "num_local_experts": 4, "interleave_moe_layer_step": 2,
      "no_rope_layer_interval": 2, "attention_chunk_size": 4, "torch_dtype": "bfloat16"})"},
    {"mistral", R"({"model_type": "mistral", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "sliding_window": 4,
      "torch_dtype": "bfloat16"})"},
    {"mixtral", R"({"model_type": "mixtral", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "num_local_experts": 4,
      "torch_dtype": "bfloat16"})"},
    {"mt5", R"({"model_type": "mt5", "num_layers": 1, "d_model": 16, "num_heads": 2, "d_kv": 4, "d_ff": 24,
      "vocab_size": 40})"},
    {"olmo2", R"({"model_type": "olmo2", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"opt", R"({"model_type": "opt", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "ffn_dim": 24,
      "vocab_size": 40, "max_position_embeddings": 32, "torch_dtype": "float16"})"},
    {"opt 350m", R"({"model_type": "opt", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "ffn_dim": 24, "vocab_size": 40, "max_position_embeddings": 32, "word_embed_proj_dim": 8,
      "do_layer_norm_before": false, "torch_dtype": "float16"})"},
    {"phi3", R"({"model_type": "phi3", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "sliding_window": 4,
      "torch_dtype": "bfloat16"})"},
    {"qwen2", R"({"model_type": "qwen2", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"qwen3", R"({"model_type": "qwen3", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 24, "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"qwen3_moe", R"({"model_type": "qwen3_moe", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 24, "moe_intermediate_size": 8, "num_experts": 4,
      "num_experts_per_tok": 3, "mlp_only_layers": [1], "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"smollm3", R"({"model_type": "smollm3", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "no_rope_layer_interval": 2,
      "torch_dtype": "bfloat16"})"},
    {"starcoder2", R"({"model_type": "starcoder2", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40, "torch_dtype": "bfloat16"})"},
    {"t5", R"({"model_type": "t5", "num_layers": 2, "d_model": 16, "num_heads": 2, "d_kv": 4, "d_ff": 24,
      "vocab_size": 40})"},
    {"t5 with its decoder", R"({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "num_layers": 2,
      "num_decoder_layers": 3, "d_model": 16, "num_heads": 2, "d_kv": 4, "d_ff": 24, "vocab_size": 40})"},
    {"umt5 with its decoder", R"({"model_type": "umt5", "architectures": ["UMT5ForConditionalGeneration"],
      "num_layers": 2, "num_decoder_layers": 1, "d_model": 16, "num_heads": 2, "d_kv": 4, "d_ff": 24,
      "vocab_size": 40})"},
    {"umt5", R"({"model_type": "umt5", "num_layers": 2, "d_model": 16, "num_heads": 2, "d_kv": 4, "d_ff": 24,
      "vocab_size": 40})"},
    {"vit", R"({"model_type": "vit", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
      "intermediate_size": 32, "image_size": 8, "patch_size": 4})"},
    {"whisper", R"({"model_type": "whisper", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
      "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
      "vocab_size": 40, "num_mel_bins": 4, "max_source_positions": 6, "max_target_positions": 32})"},
});

Model Built(const std::string& text, const char* name) {
  const Result<HfConfig> config = HfConfig::Parse(text, name);
  STOWAGE_CHECK(config.ok());
  Result<Model> model = BuildModel(*config, name);
  STOWAGE_CHECK(model.ok());
  return *std::move(model);
}

// Every number of that key.
void Multiply(std::string& config, const std::string& key, int factor) {
  const std::string field = '"' + key + "\": ";
  for (std::size_t at = 0; (at = config.find(field, at)) != std::string::npos;) {
    at += field.size();
    const std::size_t end = config.find_first_not_of("0123456789", at);
    config.replace(at, end - at, std::to_string(std::stoi(config.substr(at, end - at)) * factor));
  }
}

}  // namespace

std::span<const TinyConfig> TinyConfigs() { return kConfigs; }

Model TinyModel(const TinyConfig& tiny) { return Built(tiny.config, tiny.name); }

Model WiderModel(const TinyConfig& tiny) {
  std::string config = tiny.config;
  for (const char* key : {"hidden_size", "n_embd", "d_model"}) Multiply(config, key, 4);
  for (const char* key : {"intermediate_size", "moe_intermediate_size", "intermediate_size_mlp", "ffn_dim", "d_ff",
                          "encoder_ffn_dim", "decoder_ffn_dim"}) {
    Multiply(config, key, 16);
  }
  Multiply(config, "vocab_size", 20);
  return Built(config, tiny.name);
}

}  // namespace stowage
