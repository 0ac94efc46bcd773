// Facts of a language model that its module tree does not show: sizes that passes are made of, positions, and what the
// forward pass does beyond its modules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stowage {

// Facts of a decoder-only language model that sizes of passes are made of. Field names follow config.json.
struct TransformerShape {
  std::int64_t layers = 0;        // num_hidden_layers
  std::int64_t hidden = 0;        // hidden_size
  std::int64_t intermediate = 0;  // intermediate_size
  std::int64_t heads = 0;         // num_attention_heads
  std::int64_t kv_heads = 0;      // num_key_value_heads
  std::int64_t head_dim = 0;
  std::int64_t vocab = 0;          // vocab_size
  std::int64_t max_positions = 0;  // max_position_embeddings
  double norm_eps = 1e-5;          // rms_norm_eps
  double rope_theta = 10000;
  std::int64_t experts = 0;            // routed experts of a sparse layer; 0: every layer is dense
  std::int64_t experts_per_token = 0;  // num_experts_per_tok
  // Latent attention (MLA): a layer caches one latent of kv_lora_rank and one rotary key of rope_head_dim a position,
  // whatever the heads. 0: keys and values of kv_heads heads.
  std::int64_t kv_lora_rank = 0;
  std::int64_t rope_head_dim = 0;
  // Heads whose keys and values transformers caches, where these are more than kv_heads: falcon-40b repeats them before it
  // caches them. 0: kv_heads.
  std::int64_t cached_heads = 0;
  // The last layers that have no cache of their own and read that of an earlier one (num_kv_shared_layers).
  std::int64_t kv_shared_layers = 0;
  // Encoder-decoders: positions that a layer caches beyond those of the request. The prompt is in the cross attention's
  // cache, so for T5 it is the token that the decoder starts with; for Whisper the frames, whose number is fixed.
  std::int64_t cross_positions = 0;
  // Per layer, the positions a query sees, itself included (sliding_window, attention_chunk_size); 0, or empty: all.
  std::vector<std::int64_t> windows;
};

// rope_scaling / rope_parameters of config.json. type "default" means none.
struct RopeScaling {
  std::string type = "default";  // default, linear, llama3
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  std::int64_t original_max_positions = 0;
  bool interleaved = false;  // deepseek: pairs of neighbours rotate, not halves
};

// How a sparse layer chooses experts, beyond their number (TransformerShape).
struct RouterFacts {
  bool normalized = false;            // norm_topk_prob: chosen weights are divided by their sum
  bool keeps_logits = false;          // output_router_logits: every layer's logits outlive the pass
  std::int64_t groups = 0;            // n_group: the best groups are chosen first, experts among theirs; 0: no groups
  std::int64_t groups_per_token = 0;  // topk_group
};

// What the forward pass does beyond what the module tree shows.
struct ForwardFacts {
  bool alibi = false;            // scores get a bias by distance, in place of rope
  bool parallel = false;         // attention and MLP read the same rows; both are added to the residual
  bool normed_residual = false;  // the residual is the normed row (bloom)
  bool norm_first = true;        // false: each half is normed after its residual was added (opt-350m)
  double score_softcap = 0;      // scores = cap tanh(scores / cap); 0: none
  double logit_softcap = 0;
  double logit_scale = 1;
  double score_scale = 0;     // of q k; 0: 1 / sqrt(head_dim)
  bool chunked = false;       // windows are chunks: a query sees its own from the start (llama4)
  std::vector<bool> rotates;  // per layer, whether rope is applied; empty: in all that have rope
  bool tempers = false;       // llama4: queries of layers without rope are scaled by their position
  RouterFacts router;
  std::int64_t eos_token = -1;     // clip pools where it is; 2: where the largest id is; -1: none
  std::int64_t encoder_heads = 0;  // whisper; shape.heads are the decoder's
  // Whisper: ids that generate() puts before its answer: start, language, task, no timestamps (English models: the first
  // and the last).
  std::int64_t forced_tokens = 0;
  bool own_head_in_files = false;  // t5: the class ties the head, unless the files hold one too, as these do (t5.h)
  std::int64_t image_side = 0;     // vit: pixels
};

}  // namespace stowage
