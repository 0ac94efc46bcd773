#include "planner/strategy/testing/random_task.h"

#include <utility>

#include "planner/base/check.h"
#include "planner/families/families.h"
#include "planner/families/llama.h"
#include "planner/machine/build_machine.h"

namespace stowage {

Model TinyLlamaModel(const TinyLlamaOptions& o) {
  LlamaConfig config;
  config.shape = {.layers = o.layers,
                  .hidden = o.heads * o.head_dim,
                  .intermediate = o.intermediate,
                  .heads = o.heads,
                  .kv_heads = o.kv_heads,
                  .head_dim = o.head_dim,
                  .vocab = o.vocab,
                  .max_positions = 4096};
  config.dtype = o.file_dtype;
  config.tie_word_embeddings = o.tied;
  config.attention_bias = config.mlp_bias = o.bias;
  config.head = o.head;
  const Status sound = CheckLlamaConfig(config, "test");
  STOWAGE_CHECK(sound.ok());
  Model model = BuildLlama(config, "tiny");
  if (o.checkpoint) {
    model.files = {"model.safetensors"};
    std::int64_t at = 1000;  // files need no alignment
    for (Tensor& t : model.tensors) {
      if (t.buffer || t.tied_to != kNoId) continue;
      t.source = FileSlice{.file = 0, .offset = at, .dtype = o.file_dtype};
      at += t.bytes().value();
    }
  }
  if (o.dtype != o.file_dtype) SetDType(model, o.dtype);
  return model;
}

Machine TinyMachine() {
  Result<Machine> machine = BuildMachine({.gpus = {"generic:15GB"}, .cpu = "30GB"}, {});
  STOWAGE_CHECK(machine.ok());
  return *std::move(machine);
}

TestTask RandomTask(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto pick = [&](std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(most - least + 1));
  };
  TinyLlamaOptions o;
  o.kv_heads = pick(1, 3);
  o.heads = o.kv_heads * pick(1, 3);
  o.head_dim = 2 * pick(1, 24);
  o.layers = pick(1, 4);
  o.intermediate = pick(1, 300);
  o.vocab = pick(2, 900);
  o.tied = pick(0, 2) == 0;
  o.bias = pick(0, 3) == 0;
  o.checkpoint = pick(0, 3) != 0;
  o.file_dtype = pick(0, 1) == 0 ? DType::kBF16 : DType::kF32;
  o.dtype = pick(0, 1) == 0 ? DType::kBF16 : DType::kF32;
  TestTask out{TinyLlamaModel(o), TinyMachine(), {}};
  constexpr std::int64_t kNew[] = {0, 1, 2, 3, 5, 9, 17, 40};
  out.request = {.batch = pick(1, 3), .prompt_tokens = pick(1, 12), .new_tokens = kNew[pick(0, 7)]};
  out.request.all_logits = pick(0, 3) == 0;
  return out;
}

}  // namespace stowage
