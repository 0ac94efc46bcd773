#include "planner/realize/torch_decoder.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Masks MakeMasks(TorchWords& t, MaskText text) {
  Masks masks;
  // The full mask is never made for sdpa: a prefill is causal by the kernel's flag, one token sees everything.
  if (text == MaskText::kCausal || !t.NeedsSlidingMask()) return masks;
  for (std::size_t i = 0; i < t.cache.size(); ++i) {
    if (t.Window(i) == 0) continue;
    masks.sliding = t.SdpaMask(t.Window(i), t.CachedPositions(i));
    break;
  }
  return masks;
}

// <X>Model.forward, inside its module.
Ref Body(TorchWords& t, const DecoderText& text, const Ref& input_ids) {
  Ref inputs_embeds = t.Embedding("embed_tokens", input_ids);
  Ref position_ids = t.PositionIds();
  Masks masks = MakeMasks(t, text.masks);
  Ref hidden_states = inputs_embeds;
  Rotary rotary = t.RotaryEmbedding("rotary_emb", position_ids);
  const std::vector<ModuleId> layers = t.Layers("layers");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Ref& mask = t.Window(i) > 0 ? masks.sliding : masks.full;
    Ref layer_output;
    {
      ModuleScope layer(t, layers[i]);
      layer_output = text.layer(t, hidden_states, {i, rotary, mask});
    }
    hidden_states = std::move(layer_output);
  }
  hidden_states = text.norm(t, "norm", hidden_states);
  if (text.masks != MaskText::kByType) {
    position_ids.Drop();
    inputs_embeds.Drop();
  }
  masks.full.Drop();
  masks.sliding.Drop();
  inputs_embeds.Drop();  // mask_kwargs
  position_ids.Drop();
  rotary.cos.Drop();
  rotary.sin.Drop();
  return hidden_states;
}

}  // namespace

Ref RmsNorm(TorchWords& t, std::string_view name, const Ref& x) { return t.RmsNorm(name, x); }

Ref GatedMlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref gate = t.Linear("gate_proj", x);
  Ref act = t.Activation("act_fn", gate);
  gate.Drop();
  Ref up = t.Linear("up_proj", x);
  Ref product = t.Mul(act, up);
  act.Drop();
  up.Drop();
  Ref down = t.Linear("down_proj", product);
  product.Drop();
  return down;
}

Status ForwardDecoder(TorchWords& t, const DecoderText& text) {
  const std::string& rope = t.model.rope.type;
  if (rope == "dynamic" || rope == "longrope") {
    return t.Refuse(fmt::format("rope '{}' recomputes its frequencies, which is not realized yet", rope));
  }
  t.AdoptCache(t.s.kv_heads * t.s.head_dim);
  Ref input_ids = t.TokenIds();
  Ref out;
  {
    ModuleScope root(t, 0);
    if (t.FindChild("embed_tokens") != kNoId) {  // <X>Model
      out = Body(t, text, input_ids);
    } else {
      {
        ModuleScope body(t, "model");
        out = Body(t, text, input_ids);
      }
      Ref logits = t.Linear("lm_head", out);
      out = std::move(logits);
    }
  }
  input_ids.Drop();
  t.KeepOutput(std::move(out));
  t.KeepCache();
  return OkStatus();
}

}  // namespace stowage::torch_eager
