#include "tools/model_report.h"

#include <gtest/gtest.h>

#include <string>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

TEST(ModelReport, SummarisesLlama8B) {
  EXPECT_EQ(SummaryText(*ZooModel("llama-8b")), R"(model           llama-3.1-8b (LlamaForCausalLM)
parameters      8,030,261,248
weights         16.06 GB in 291 tensors (16.06 GB bf16)
largest tensor  model.embed_tokens.weight [128256, 4096] 1.05 GB
largest layer   model.embed_tokens (Embedding) 1.05 GB
largest block   model.layers.0 (LlamaDecoderLayer) 436.2 MB
cache           131.1 kB per token
fp32 waste      16.06 GB if loaded in torch's default dtype (transformers before 5: without torch_dtype)
files           none: sizes follow from the zoo's facts of meta-llama/Llama-3.1-8B
request         batch 1, 512 prompt and 128 new tokens
  cache         83.76 MB (computed)
  activations   37.75 MB (computed: the widest moment of a fused prefill)
  logits        256.5 kB (computed: of the last position)
  context       479.2 MB (assumed: the largest CUDA context seen, ollama's reserve)
  workspace     8.52 MB, on Hopper and Blackwell 33.55 MB (published: torch's for cuBLAS; the native runtime takes none)
)");
}

TEST(ModelReport, SummaryJsonOfATiedModel) {
  EXPECT_EQ(SummaryJson(*ZooModel("llama-1b")), R"({
  "name": "llama-3.2-1b",
  "family": "llama",
  "parameters": 1235814400,
  "weights_bytes": 2471628800,
  "tensors": 146,
  "largest_tensor": {
    "name": "model.embed_tokens.weight",
    "bytes": 525336576
  },
  "largest_block": {
    "name": "model.layers.0",
    "class": "LlamaDecoderLayer",
    "bytes": 121643008
  },
  "no_split_classes": [
    "LlamaDecoderLayer"
  ],
  "tied_groups": [
    [
      "model.embed_tokens.weight",
      "lm_head.weight"
    ]
  ],
  "dtypes": {
    "bf16": 2471628800
  },
  "kv_bytes_per_token": 32768,
  "quantization": null,
  "largest_layer": {
    "name": "model.embed_tokens",
    "class": "Embedding",
    "bytes": 525336576
  },
  "fp32_waste_bytes": 2471628800,
  "memory": {
    "batch": 1,
    "prompt_tokens": 512,
    "new_tokens": 128,
    "kv_bytes": 20938752,
    "activations_bytes": 20971520,
    "logits_bytes": 256512,
    "context_bytes": 479199232,
    "torch_workspace_bytes": 8519680
  },
  "source": "the zoo's facts of meta-llama/Llama-3.2-1B",
  "notes": []
}
)");
}

Model Tiny() {
  return *BuildModel(*HfConfig::Parse(R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 16,
      "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 10, "tie_word_embeddings": true,
      "dtype": "float16"})",
                                      "config.json"),
                     "tiny");
}

TEST(ModelReport, DrawsTheTree) {
  EXPECT_EQ(TreeText(Tiny()), R"(LlamaForCausalLM  1.49 kB
  model LlamaModel  1.49 kB
    embed_tokens Embedding  weight [10, 8] fp16
    layers ModuleList  1.31 kB
      0 LlamaDecoderLayer  1.31 kB
        self_attn LlamaAttention  512 B
          q_proj Linear  weight [8, 8] fp16
          k_proj Linear  weight [8, 8] fp16
          v_proj Linear  weight [8, 8] fp16
          o_proj Linear  weight [8, 8] fp16
        mlp LlamaMLP  768 B
          gate_proj Linear  weight [16, 8] fp16
          up_proj Linear  weight [16, 8] fp16
          down_proj Linear  weight [8, 16] fp16
          act_fn SiLUActivation
        input_layernorm LlamaRMSNorm  weight [8] fp16
        post_attention_layernorm LlamaRMSNorm  weight [8] fp16
    norm LlamaRMSNorm  weight [8] fp16
    rotary_emb LlamaRotaryEmbedding  inv_freq [2] fp32 (buffer, not saved)  original_inv_freq [2] fp32 (buffer, not saved)
  lm_head Linear  weight [10, 8] fp16 = model.embed_tokens.weight
)");
}

TEST(ModelReport, ListsWhatACheckpointHolds) {
  const std::string text = TensorsText(Tiny());
  EXPECT_EQ(text.substr(0, text.find('\n', text.find('\n') + 1) + 1),
            "bytes  dtype  name                                            shape\n"
            "  160  fp16   model.embed_tokens.weight                       [10, 8]\n");
  EXPECT_EQ(text.find("lm_head"), std::string::npos);
  EXPECT_EQ(text.find("inv_freq"), std::string::npos);
  EXPECT_NE(TensorsJson(Tiny()).find("\"name\": \"model.norm.weight\""), std::string::npos);
}

TEST(ModelReport, ShowsAHeaderInTheOrderOfTheData) {
  SafetensorsHeader header;
  header.data_begin = 80;
  header.metadata = {{"format", "pt"}};
  header.tensors = {{"a", DType::kBF16, {2, 3}, 80, 12}};
  EXPECT_EQ(HeaderText(header),
            "1 tensors, data from byte 80\n"
            "format = pt\n"
            "offset  bytes  dtype  name  shape\n"
            "    80     12  bf16   a     [2, 3]\n");
}

TEST(ModelReport, ShowsWhatAnIndexSays) {
  const CheckpointIndex index = *ParseCheckpointIndex(
      R"({"metadata": {"total_size": 2.5e9}, "weight_map": {"b": "2.bin", "a": "1.bin", "c": "2.bin"}})", "i");
  EXPECT_EQ(IndexText(index), R"(3 tensors in 2 shards, 2.50 GB stated
     1  1.bin
     2  2.bin
b  2.bin
a  1.bin
c  2.bin
)");
  EXPECT_EQ(IndexJson(*ParseCheckpointIndex(R"({"weight_map": {"a": "1.bin"}})", "i")), R"({
  "total_size": null,
  "shards": [
    "1.bin"
  ],
  "tensors": [
    {
      "name": "a",
      "shard": "1.bin"
    }
  ]
}
)");
}

TEST(ModelReport, AnIndexAloneHasNoShapes) {
  Model model;
  model.name = "m";
  model.class_name = "weights only: there is no config.json";
  model.family = "weights only";
  model.modules.push_back({"", model.class_name, kNoId, {}, {0}});
  model.tensors.push_back({.name = "a", .shape = {0}, .module = 0});
  model.names_only = true;
  model.stated_bytes = Bytes(1000);
  model.origin = "x.index.json";
  model.notes = {"No shapes."};
  EXPECT_EQ(SummaryText(model), R"(model           m (weights only: there is no config.json)
weights         1.00 kB stated by the index, in 1 tensors of unknown shapes
files           none read: x.index.json
note            No shapes.
)");
  EXPECT_NE(SummaryJson(model).find(R"("parameters": null)"), std::string::npos);
  EXPECT_NE(SummaryJson(model).find(R"("weights_bytes": 1000)"), std::string::npos);
  EXPECT_EQ(TensorsText(model), "a\n");
}

}  // namespace
}  // namespace stowage
