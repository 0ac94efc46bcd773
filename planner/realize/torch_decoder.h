// The frame that transformers' decoders since Llama share: the text of <X>Model.forward and <X>ForCausalLM.forward.
// Internal to planner/realize. A family gives its layer and says which of the variants of that text it has.
#pragma once

#include <cstddef>
#include <string_view>

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {

// How the masks come about.
enum class MaskText {
  kCausal,       // causal_mask = create_causal_mask(...)
  kChosen,       // one of the two functions by config.sliding_window, the mask for all layers
  kByTypeAlone,  // as kByType, with masks that are not told the positions (gpt-oss)
  kByType,       // a dict: the full one and, if a layer slides, the sliding one; mask_kwargs outlives the layers
};

// What a layer is given beside its hidden states.
struct LayerInput {
  std::size_t index;
  const Rotary& rotary;
  const Ref& mask;
};

using LayerForward = Ref (*)(TorchWords& t, const Ref& hidden_states, const LayerInput& in);  // inside its module

using NormForward = Ref (*)(TorchWords& t, std::string_view name, const Ref& x);

// The names a class gives to its parts.
struct DecoderNames {
  std::string_view body = "model", embed = "embed_tokens", layers = "layers", norm = "norm", head = "lm_head";
  std::string_view dropout = {};  // run on the embeddings
};

struct DecoderText {
  LayerForward layer = nullptr;
  MaskText masks = MaskText::kCausal;
  NormForward norm = nullptr;
  Ref (*embed)(TorchWords& t, const Ref& input_ids) = nullptr;  // nullptr: nn.Embedding
  // Of a kind of layer; nullptr: LlamaRotaryEmbedding.
  Rotary (*rotary)(TorchWords& t, const Ref& position_ids, bool sliding) = nullptr;
  bool rotary_by_type = false;   // one for each kind of layer that occurs
  bool own_frequencies = false;  // not those of TorchWords::RotaryEmbedding alone: no rope that recomputes them
  bool scaled_logits = false;    // logits * logit_scale, be it 1
  DecoderNames names = {};
  Ref (*sliding_mask)(TorchWords& t) = nullptr;  // nullptr: TorchWords::SdpaMask; called at every pass, may make none
  bool eager = false;                            // a class without sdpa: eager_mask, a float mask at every pass
};

Status ForwardDecoder(TorchWords& t, const DecoderText& text);

// Its parts, for a root of another text: what is refused; the cache before a decode pass; <X>Model.forward, inside its
// module. The caller holds `inputs_embeds` if it gives them.
Status CheckDecoder(const TorchWords& t, bool own_frequencies = false);
void AdoptDecoderCache(TorchWords& t);
Ref DecoderBody(TorchWords& t, const DecoderText& text, const Ref& input_ids, const Ref* inputs_embeds = nullptr);

// The frame alone, around a body of its own: the cache of `width` elements a position, the inputs, the root, the body
// inside its module, the head. A model without a head has names.embed below its root and is its own body; a body with a
// dot is reached past its parent, or, without a head, through it.
using BodyForward = Ref (*)(TorchWords& t, const Ref& input_ids);
Status RunCausal(TorchWords& t, BodyForward body, const DecoderNames& names, std::int64_t width);

// Parts that several families share word for word, with their common names.
Ref RmsNorm(TorchWords& t, std::string_view name, const Ref& x);  // LlamaRMSNorm
Ref LayerNorm(TorchWords& t, std::string_view name, const Ref& x);
// down_proj(act(gate_proj(x)) * up_proj(x)): the module `name` with its activation `act`.
Ref GatedMlp(TorchWords& t, const Ref& x, std::string_view name, std::string_view act = "act_fn");
inline Ref GatedMlp(TorchWords& t, const Ref& x) { return GatedMlp(t, x, "mlp"); }

// From the rotated query, key and value on: update of the cache, attention, o_proj. Takes over the
// method's locals; `qkv` is one that comes before them.
Ref AttendAndProject(TorchWords& t, const LayerInput& in, Ref query, Ref key, Ref value, Ref qkv = {},
                     std::string_view output = "o_proj");

}  // namespace stowage::torch_eager
