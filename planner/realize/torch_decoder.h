// The frame that transformers' decoders since Llama share: the text of <X>Model.forward and <X>ForCausalLM.forward.
// Internal to planner/realize. A family gives its layer and says which of the variants of that text it has.
#pragma once

#include <cstddef>

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {

// How the masks come about.
enum class MaskText {
  kCausal,  // causal_mask = create_causal_mask(...)
  kChosen,  // one of the two functions by config.sliding_window, the mask for all layers
  kByType,  // a dict: the full one and, if a layer slides, the sliding one; mask_kwargs outlives the layers
};

// What a layer is given beside its hidden states.
struct LayerInput {
  std::size_t index;
  const Rotary& rotary;
  const Ref& mask;
};

using LayerForward = Ref (*)(TorchWords& t, const Ref& hidden_states, const LayerInput& in);  // inside its module

struct DecoderText {
  LayerForward layer = nullptr;
  MaskText masks = MaskText::kCausal;
  Ref (*norm)(TorchWords& t, std::string_view name, const Ref& x) = nullptr;
};

Status ForwardDecoder(TorchWords& t, const DecoderText& text);

// Layers and parts that several families share word for word, with their common names.
Ref GatedMlp(TorchWords& t, const Ref& x);                      // mlp: down(act(gate(x)) * up(x))
Ref RmsNorm(TorchWords& t, std::string_view name, const Ref& x);  // LlamaRMSNorm
Ref LayerNorm(TorchWords& t, std::string_view name, const Ref& x);

}  // namespace stowage::torch_eager
