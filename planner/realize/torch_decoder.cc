#include "planner/realize/torch_decoder.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Masks MakeMasks(TorchWords& t, const DecoderText& text) {
  // For sdpa the full mask is made only over a static cache: a prefill is causal by the kernel's flag, one token sees
  // everything that grew.
  Masks masks;
  if (text.eager) {
    masks.full = t.EagerMask(0, t.KeyCount());
  } else if (text.masks != MaskText::kChosen || t.s.windows.empty()) {
    masks.full = t.CausalMask();
  }
  if (text.masks == MaskText::kCausal) return masks;
  if (text.sliding_mask != nullptr) {
    masks.sliding = text.sliding_mask(t);
    return masks;
  }
  for (std::size_t i = 0; i < t.cache.size(); ++i) {
    if (t.Window(i) == 0) continue;
    const Count keys = t.CachedPositions(i);
    if (text.eager) {
      masks.sliding = t.EagerMask(t.Window(i), keys);
    } else if (t.NeedsSlidingMask()) {
      masks.sliding = t.SdpaMask(t.Window(i), keys);
    }
    break;
  }
  return masks;
}

struct Rotaries {
  Rotary full, sliding;
};

Rotaries MakeRotaries(TorchWords& t, const DecoderText& text, const Ref& position_ids) {
  const auto make = [&](bool sliding) {
    return text.rotary != nullptr ? text.rotary(t, position_ids, sliding)
                                  : t.RotaryEmbedding("rotary_emb", position_ids);
  };
  Rotaries out;
  bool full = !text.rotary_by_type || t.s.windows.empty();
  bool sliding = false;
  for (std::size_t i = 0; text.rotary_by_type && i < t.cache.size(); ++i) (t.Window(i) > 0 ? sliding : full) = true;
  if (full) out.full = make(false);
  if (sliding) out.sliding = make(true);
  return out;
}

}  // namespace

Ref DecoderBody(TorchWords& t, const DecoderText& text, const Ref& input_ids, const Ref* given) {
  Ref inputs_embeds = given != nullptr        ? *given
                      : text.embed != nullptr ? text.embed(t, input_ids)
                                              : t.Embedding(text.names.embed, input_ids);
  Ref position_ids = t.PositionIds();
  Masks masks = MakeMasks(t, text);
  Ref hidden_states = inputs_embeds;
  if (!text.names.dropout.empty()) hidden_states = t.Identity(text.names.dropout, inputs_embeds);
  Rotaries rotary = MakeRotaries(t, text, position_ids);
  const std::vector<ModuleId> layers = t.Layers(text.names.layers);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool slides = t.Window(i) > 0;
    const Rotary& angles = slides && text.rotary_by_type ? rotary.sliding : rotary.full;
    Ref layer_output;
    {
      ModuleScope layer(t, layers[i]);
      layer_output = text.layer(t, hidden_states, {i, angles, slides ? masks.sliding : masks.full});
    }
    hidden_states = std::move(layer_output);
  }
  hidden_states = text.norm(t, text.names.norm, hidden_states);
  const bool outlives = text.masks == MaskText::kByType || text.masks == MaskText::kByTypeAlone;
  if (text.masks != MaskText::kByType) position_ids.Drop();
  if (!outlives) inputs_embeds.Drop();
  masks.full.Drop();
  masks.sliding.Drop();
  inputs_embeds.Drop();  // mask_kwargs
  position_ids.Drop();
  for (Rotary* angles : {&rotary.full, &rotary.sliding}) {
    angles->cos.Drop();
    angles->sin.Drop();
  }
  return hidden_states;
}

Ref RmsNorm(TorchWords& t, std::string_view name, const Ref& x) { return t.RmsNorm(name, x); }

Ref LayerNorm(TorchWords& t, std::string_view name, const Ref& x) { return t.LayerNorm(name, x); }

Ref GatedMlp(TorchWords& t, const Ref& x, std::string_view name, std::string_view act_name) {
  ModuleScope self(t, name);
  Ref gate = t.Linear("gate_proj", x);
  Ref act = t.Activation(act_name, gate);
  gate.Drop();
  Ref up = t.Linear("up_proj", x);
  Ref product = t.Mul(act, up);
  act.Drop();
  up.Drop();
  Ref down = t.Linear("down_proj", product);
  product.Drop();
  return down;
}

Ref AttendAndProject(TorchWords& t, const LayerInput& in, Ref query, Ref key, Ref value, Ref qkv,
                     std::string_view output) {
  KeyValues kv = t.Append(in.index, key, value);
  key = std::move(kv.keys);
  value = std::move(kv.values);
  Ref attn_output = t.SdpaAttention(query, {key, value, {}}, in.mask, t.heads());
  Ref projected = t.Linear(output, attn_output);
  attn_output = std::move(projected);
  qkv.Drop();
  query.Drop();
  key.Drop();
  value.Drop();
  return attn_output;
}

// The logits of <X>ForCausalLM: logit_scale and final_logit_softcapping where a family has them.
Ref Logits(TorchWords& t, const DecoderText& text, const Ref& hidden_states) {
  Ref logits = t.Linear(text.names.head, hidden_states);
  const auto next = [&](std::string_view op) {
    Ref result = t.Unary(op, logits);
    logits = std::move(result);
  };
  if (text.scaled_logits) next("mul.Tensor");
  if (t.model.forward.logit_softcap > 0) {
    next("div.Tensor");
    next("tanh.default");
    next("mul.Tensor");
  }
  return logits;
}

Status CheckDecoder(const TorchWords& t, bool own_frequencies) {
  const std::string& rope = t.model.rope.type;
  if (own_frequencies && (rope == "dynamic" || rope == "longrope")) {
    return t.Refuse(fmt::format("rope '{}' in a family with frequencies of its own is not realized yet", rope));
  }
  const std::int64_t length = t.pass.past + t.pass.tokens;
  if (rope != "dynamic" || length <= t.s.max_positions) return OkStatus();
  return t.Refuse(
      fmt::format("rope 'dynamic' computes new frequencies for {} positions, more than {}, which is not "
                  "realized yet",
                  length, t.s.max_positions));
}

void AdoptDecoderCache(TorchWords& t) {
  const bool latent = t.s.kv_lora_rank > 0;
  const std::int64_t heads = t.s.kv_heads * t.s.head_dim;
  t.AdoptCache(latent ? t.s.kv_lora_rank : heads, latent ? t.s.rope_head_dim : heads);
}

// Runs the root's forward, after the cache was adopted; `body` and `head` inside it.
template <class BodyOf, class HeadOf>
Status Run(TorchWords& t, const DecoderNames& names, BodyOf body, HeadOf head) {
  Ref input_ids = t.TokenIds();
  Ref out;
  {
    ModuleScope root(t, 0);
    const std::size_t dot = names.body.find('.');
    const bool headless = t.FindChild(names.embed) != kNoId;
    ModuleId module = t.FindPath(names.body);
    if (headless) module = dot == names.body.npos ? kNoId : t.Child(names.body.substr(dot + 1));
    if (module == kNoId && !headless) t.Child(names.body);  // names what is missing
    {
      ModuleScope scope(t, module);
      out = body(input_ids);
    }
    if (!headless) {
      Ref logits = head(out);
      out = std::move(logits);
    }
  }
  input_ids.Drop();
  t.KeepOutput(std::move(out));
  t.KeepCache();
  t.KeepModel();
  return OkStatus();
}

Status RunCausal(TorchWords& t, BodyForward body, const DecoderNames& names, std::int64_t width) {
  t.AdoptCache(width, width);
  return Run(
      t, names, [&](const Ref& ids) { return body(t, ids); },
      [&](const Ref& hidden_states) { return t.Linear(names.head, hidden_states); });
}

Status ForwardDecoder(TorchWords& t, const DecoderText& text) {
  STOWAGE_RETURN_IF_ERROR(CheckDecoder(t, text.own_frequencies));
  AdoptDecoderCache(t);
  return Run(
      t, text.names, [&](const Ref& ids) { return DecoderBody(t, text, ids); },
      [&](const Ref& hidden_states) { return Logits(t, text, hidden_states); });
}

}  // namespace stowage::torch_eager
