// transformers' modeling_t5.py, modeling_mt5.py and modeling_umt5.py (5.23): encoders (T5EncoderModel and its kin) and
// encoder-decoders (T5Model, T5ForConditionalGeneration). Facts of that text which decide the memory:
//  - Attention gets its position bias as a mask of every head and pair of positions, copied to a contiguous table in
//    each layer. T5 and mT5 compute the bias once and hold on to it; UMT5 computes one per layer. Cross attention gets
//    one of zeros.
//  - Cross attention's keys and values are made of the encoder's rows once and cached.
//  - In fp16 each half of a block is clamped, as long as its rows are in fp16: from_pretrained keeps wo in fp32, and then
//    so are they from the first block's end on.
// Long because it is one text, read beside that of transformers.
#include <utility>

#include "planner/realize/torch_encoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

// T5LayerNorm. Unlike Llama's, the rows themselves are widened by the product with an fp32 column, not before it.
Ref Norm(TorchWords& t, std::string_view name, const Ref& x) {
  const ModuleId module = t.Child(name);
  ModuleScope self(t, module);
  const std::int64_t width = Elements(t.WeightShape(module));
  if (width == 0) return x;
  Ref wide = t.To(x, DType::kF32);
  Ref squares = t.Unary("pow.Tensor_Scalar", wide);
  wide.Drop();
  Ref variance = t.eager.Op("mean.dim", {x.spec().elements / width, DType::kF32}, {&squares});
  squares.Drop();
  Ref sum = t.Unary("add.Tensor", variance);
  Ref scale = t.Unary("rsqrt.default", sum);
  sum.Drop();
  Ref hidden_states = t.eager.Op("mul.Tensor", {x.spec().elements, DType::kF32}, {&x, &scale});
  scale.Drop();
  hidden_states = t.To(hidden_states, t.dtype);
  Ref out = t.eager.Op("mul.Tensor", hidden_states.spec(), {&hidden_states}, t.WeightsOf(module));
  hidden_states.Drop();
  variance.Drop();
  return out;
}

// Of a stack in a pass: its queries a sequence, what each sees of itself and, in a decoder, of the encoder.
struct Stack {
  bool decoder = false;
  bool umt5 = false;
  std::int64_t queries = 0;
  Count keys;
  std::int64_t source = 0;
  CrossCaches* caches = nullptr;  // a decoder's
};

// 32 buckets or so: a row of the bias table for each pair of positions.
class Buckets {
 public:
  Buckets(TorchWords& t, const Stack& stack) : t_(t), stack_(stack), pairs_(stack.keys * stack.queries) {}

  // UMT5 names the logarithm; T5 keeps it a temporary.
  Ref Of(const Ref& relative_position) {
    Ref relative_buckets;
    Ref distance = stack_.decoder ? Behind(relative_position) : Either(relative_position, relative_buckets);
    Ref is_small = t_.eager.Op("lt.Scalar", {pairs_, DType::kBool}, {&distance});
    Ref chain = t_.To(distance, DType::kF32);
    for (const std::string_view op : {"div.Tensor", "log.default", "div.Tensor", "mul.Tensor"}) Next(op, chain);
    Ref log_ratio = stack_.umt5 ? chain : Ref();
    Ref narrow = t_.To(chain, DType::kI64);
    chain = std::move(narrow);
    Next("add.Tensor", chain);
    Ref if_large = std::move(chain);
    Ref limit = t_.Unary("full_like.default", if_large);
    Ref least = t_.Binary("minimum.default", if_large, limit);
    limit.Drop();
    if_large = std::move(least);
    {
      const Ref chosen = t_.eager.Op("where.self", {pairs_, DType::kI64}, {&is_small, &distance, &if_large});
      if (stack_.decoder) {  // relative_buckets is the number 0 so far
        relative_buckets = t_.Unary("add.Tensor", chosen);
      } else {
        t_.eager.Launch("add_.Tensor", {&relative_buckets, &chosen}, {&relative_buckets}, {}, {});
      }
    }
    distance.Drop();
    is_small.Drop();
    log_ratio.Drop();
    if_large.Drop();
    return relative_buckets;
  }

 private:
  // A half of the buckets for those before, the other for those after.
  Ref Either(const Ref& relative_position, Ref& relative_buckets) {
    Ref positive = t_.eager.Op("gt.Scalar", {pairs_, DType::kBool}, {&relative_position});
    Ref chain = t_.To(positive, DType::kI64);
    positive.Drop();
    for (const std::string_view op : {"mul.Tensor", "add.Tensor"}) Next(op, chain);
    relative_buckets = std::move(chain);
    return t_.Unary("abs.default", relative_position);
  }

  // -torch.min(relative_position, torch.zeros_like(relative_position))
  Ref Behind(const Ref& relative_position) {
    Ref zeros = t_.Unary("zeros_like.default", relative_position);
    Ref least = t_.Binary("minimum.default", relative_position, zeros);
    zeros.Drop();
    return t_.Unary("neg.default", least);
  }

  void Next(std::string_view op, Ref& x) {
    Ref next = t_.Unary(op, x);
    x = std::move(next);
  }

  TorchWords& t_;
  const Stack& stack_;
  const Count pairs_;
};

// compute_bias: [1, heads, queries, keys], a permuted view of the table's rows.
Ref ComputeBias(TorchWords& t, const Stack& stack) {
  const Spec row = {{stack.queries}, DType::kI64};
  Ref range = t.eager.Op("arange.default", row, {});
  Ref context_position = t.Unary("add.Tensor", range);
  range.Drop();
  Ref memory_position = t.eager.Op("arange.default", {stack.keys, DType::kI64}, {});
  const Spec pairs = {stack.keys * stack.queries, DType::kI64};
  Ref relative_position = t.eager.Op("sub.Tensor", pairs, {&memory_position, &context_position});
  Ref buckets = Buckets(t, stack).Of(relative_position);
  Ref values = t.Embedding("relative_attention_bias", buckets);
  for (Ref* local : {&context_position, &memory_position, &relative_position, &buckets}) local->Drop();
  return values;
}

// From the query on; takes over the method's locals. A `permuted` bias lies with its heads innermost.
Ref Attend(TorchWords& t, const Stack& stack, Ref query, KeyValues kv, Ref& bias, bool permuted) {
  const AttentionSize size = {t.s.heads, stack.queries, permuted ? stack.keys : Count{stack.source}};
  Ref attn_output;
  {
    // create_position_bias_mask(...).contiguous()
    const bool contiguous = !permuted || t.s.heads == 1 || size.keys == Count{1};
    const Ref mask = contiguous ? bias : t.Unary("clone.default", bias);
    attn_output = FusedAttention(t, query, kv.keys, kv.values, mask, size);
  }
  Ref projected = t.Linear("o", attn_output);
  attn_output = std::move(projected);
  query.Drop();
  kv.keys.Drop();
  kv.values.Drop();
  if (stack.umt5) bias = Ref();
  return attn_output;
}

// `bias` is computed where it is empty; T5 hands it on.
Ref Attention(TorchWords& t, const Stack& stack, const Ref& hidden_states, Ref& bias, std::size_t layer) {
  ModuleScope self(t, "SelfAttention");
  Ref query = t.Linear("q", hidden_states);
  KeyValues kv;
  kv.keys = t.Linear("k", hidden_states);
  kv.values = t.Linear("v", hidden_states);
  if (stack.decoder) {
    KeyValues cached = t.Append(layer, kv.keys, kv.values);
    kv.keys = std::move(cached.keys);
    kv.values = std::move(cached.values);
  }
  if (t.FindChild("relative_attention_bias") != kNoId) {
    bias = ComputeBias(t, stack);
    if (!stack.umt5) t.eager.SetReturned(bias);
  }
  return Attend(t, stack, std::move(query), std::move(kv), bias, /*permuted=*/true);
}

// Keys and values of the encoder's rows are made in the first pass and found in the cache from then on.
Ref CrossAttention(TorchWords& t, const Stack& stack, const Ref& hidden_states, Ref& bias, std::size_t layer) {
  ModuleScope self(t, "EncDecAttention");
  Ref query = t.Linear("q", hidden_states);
  KeyValues kv;
  KeyValues& cross = stack.caches->layers[layer];
  if (cross.keys.id() != kNoId) {
    kv = cross;
  } else {
    kv.keys = t.Linear("k", stack.caches->encoded);
    kv.values = t.Linear("v", stack.caches->encoded);
    KeyValues cached = t.AppendCrossed(cross, kv.keys, kv.values);
    kv.keys = std::move(cached.keys);
    kv.values = std::move(cached.values);
  }
  if (bias.id() == kNoId) {
    bias = t.eager.Op("zeros.default", t.Of(t.s.heads * stack.queries * stack.source), {});
    if (!stack.umt5) t.eager.SetReturned(bias);
  }
  return Attend(t, stack, std::move(query), std::move(kv), bias, /*permuted=*/false);
}

Ref SelfAttentionLayer(TorchWords& t, const Stack& stack, const Ref& hidden_states, Ref& bias, std::size_t layer) {
  Ref normed_hidden_states = Norm(t, "layer_norm", hidden_states);
  Ref attention_output = Attention(t, stack, normed_hidden_states, bias, layer);
  attention_output = t.Identity("dropout", attention_output);
  Ref sum = t.Add(hidden_states, attention_output);
  if (stack.umt5) {  // attention_output is a tuple there, which goes with the locals
    normed_hidden_states.Drop();
    attention_output.Drop();
    return sum;
  }
  attention_output = std::move(sum);
  normed_hidden_states.Drop();
  return attention_output;
}

Ref CrossAttentionLayer(TorchWords& t, const Stack& stack, const Ref& hidden_states, Ref& bias, std::size_t layer) {
  Ref normed_hidden_states = Norm(t, "layer_norm", hidden_states);
  Ref attention_output = CrossAttention(t, stack, normed_hidden_states, bias, layer);
  attention_output = t.Identity("dropout", attention_output);
  Ref layer_output = t.Add(hidden_states, attention_output);
  normed_hidden_states.Drop();
  attention_output.Drop();
  return layer_output;
}

// if hidden_states.dtype != self.wo.weight.dtype: hidden_states = hidden_states.to(self.wo.weight.dtype)
void Project(TorchWords& t, Ref& hidden_states) {
  const TensorId wo = t.Own(t.Child("wo"), "weight");
  if (wo != kNoId) hidden_states = t.To(hidden_states, t.model.tensors[wo].dtype);
  Ref out = t.Linear("wo", hidden_states);
  hidden_states = std::move(out);
}

Ref GatedActDense(TorchWords& t, const Ref& x) {
  Ref hidden_gelu;
  {
    Ref gate = t.Linear("wi_0", x);
    hidden_gelu = t.Activation("act", gate);
  }
  Ref hidden_linear = t.Linear("wi_1", x);
  Ref hidden_states = t.Mul(hidden_gelu, hidden_linear);
  hidden_states = t.Identity("dropout", hidden_states);
  Project(t, hidden_states);
  hidden_gelu.Drop();
  hidden_linear.Drop();
  return hidden_states;
}

Ref ActDense(TorchWords& t, const Ref& x) {
  Ref hidden_states = t.Linear("wi", x);
  Ref next = t.Activation("act", hidden_states);
  hidden_states = std::move(next);
  hidden_states = t.Identity("dropout", hidden_states);
  Project(t, hidden_states);
  return hidden_states;
}

Ref FeedForward(TorchWords& t, const Ref& hidden_states) {
  Ref forwarded_states = Norm(t, "layer_norm", hidden_states);
  {
    Ref dense;
    {
      ModuleScope self(t, "DenseReluDense");
      dense = t.FindChild("wi_0") != kNoId ? GatedActDense(t, forwarded_states) : ActDense(t, forwarded_states);
    }
    forwarded_states = std::move(dense);
  }
  forwarded_states = t.Identity("dropout", forwarded_states);
  Ref out = t.Add(hidden_states, forwarded_states);
  forwarded_states.Drop();
  return out;
}

// if hidden_states.dtype == torch.float16: hidden_states = torch.clamp(hidden_states, -clamp_value, clamp_value)
void Clamp(TorchWords& t, Ref& hidden_states, Ref& clamp_value) {
  if (hidden_states.spec().dtype != DType::kF16) return;
  const Spec scalar = {{1}, DType::kF32};
  Ref infinite = t.eager.Op("isinf.default", {hidden_states.spec().elements, DType::kBool}, {&hidden_states});
  Ref any = t.eager.Op("any.default", {{1}, DType::kBool}, {&infinite});
  infinite.Drop();
  Ref less = t.eager.Op("scalar_tensor.default", scalar, {});
  Ref most = t.eager.Op("scalar_tensor.default", scalar, {});
  Ref value = t.eager.Op("where.self", scalar, {&any, &less, &most});
  less.Drop();
  most.Drop();
  any.Drop();
  clamp_value = std::move(value);
  Ref least = t.Unary("neg.default", clamp_value);
  Ref clamped = t.eager.Op("clamp.Tensor", hidden_states.spec(), {&hidden_states, &least, &clamp_value});
  least.Drop();
  hidden_states = std::move(clamped);
}

struct Biases {
  Ref self, cross;
};

Ref Block(TorchWords& t, const Stack& stack, const Ref& x, Biases& biases, std::size_t index) {
  const std::vector<ModuleId> parts = Members(t, "layer");
  if (parts.size() != (stack.decoder ? 3 : 2)) {
    t.Fail("has a block of another number of parts");
    return x;
  }
  Ref hidden_states, clamp_value;
  {
    ModuleScope attention(t, parts[0]);
    hidden_states = SelfAttentionLayer(t, stack, x, biases.self, index);
  }
  Clamp(t, hidden_states, clamp_value);
  if (stack.decoder) {
    Ref attended;
    {
      ModuleScope attention(t, parts[1]);
      attended = CrossAttentionLayer(t, stack, hidden_states, biases.cross, index);
    }
    hidden_states = std::move(attended);
    Clamp(t, hidden_states, clamp_value);
  }
  Ref out;
  {
    ModuleScope feed_forward(t, parts.back());
    out = FeedForward(t, hidden_states);
  }
  hidden_states = std::move(out);
  Clamp(t, hidden_states, clamp_value);
  clamp_value.Drop();
  return hidden_states;
}

Ref Run(TorchWords& t, const Stack& stack, const Ref& input_ids) {
  ModuleScope self(t, stack.decoder ? "decoder" : "encoder");
  Ref inputs_embeds = t.Embedding("embed_tokens", input_ids);
  Ref hidden_states = t.Identity("dropout", inputs_embeds);
  Biases biases;
  const std::vector<ModuleId> blocks = stack.decoder ? t.Layers("block") : Members(t, "block");
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    Ref layer_output;
    {
      ModuleScope block(t, blocks[i]);
      layer_output = Block(t, stack, hidden_states, biases, i);
    }
    hidden_states = std::move(layer_output);
  }
  Ref normed = Norm(t, "final_layer_norm", hidden_states);
  hidden_states = std::move(normed);
  hidden_states = t.Identity("dropout", hidden_states);
  inputs_embeds.Drop();
  biases.self.Drop();
  biases.cross.Drop();
  return hidden_states;
}

// T5Model.forward and what T5ForConditionalGeneration.forward adds to it; `prompt` is empty over a cache.
Ref EncodeAndDecode(TorchWords& t, Stack encoder, Stack decoder, const Ref& prompt, const Ref& decoder_input_ids) {
  ModuleScope root(t, 0);
  if (prompt.id() != kNoId) decoder.caches->encoded = Run(t, encoder, prompt);
  Ref sequence_output = Run(t, decoder, decoder_input_ids);
  if (!t.model.class_name.ends_with("ForConditionalGeneration")) return sequence_output;
  Ref held = sequence_output;  // by decoder_outputs
  if (t.model.forward.logit_scale != 1) {
    Ref scaled = t.Unary("mul.Tensor", sequence_output);
    sequence_output = std::move(scaled);
  }
  Ref lm_logits = t.Linear("lm_head", sequence_output);
  held.Drop();
  sequence_output.Drop();
  return lm_logits;
}

// A first pass encodes the prompt and decodes one start token. Later ones decode one token over the caches.
Status Generate(TorchWords& t) {
  const bool first = t.pass.past == 0, umt5 = t.model.family == "umt5";
  const std::int64_t source = first ? t.pass.tokens : t.pass.prompt;
  const Count past = first ? Count{0} : Count{t.pass.past - source + t.s.cross_positions, t.pass.past_step};
  if (!t.pass.keeps_cache) return t.Refuse("an encoder-decoder without a cache (--kv none) is not realized");
  if (t.pass.reserved > 0) return t.Refuse("an encoder-decoder with a static cache is not realized");
  if (source < 1 || past.base < 0) return t.Refuse("a pass over a cache without the prompt that the encoder saw");
  CrossCaches caches;
  caches.layers.resize(t.cache.size());
  const Stack encoder = {.umt5 = umt5, .queries = source, .keys = {source}};
  const Stack decoder = {
      .decoder = true, .umt5 = umt5, .queries = 1, .keys = past + Count{1}, .source = source, .caches = &caches};
  t.SetFirstPassDiffers();
  const std::int64_t row = t.pass.batch * t.s.heads * t.s.head_dim;
  if (!first) {
    t.AdoptCrossed(caches, {.encoded = t.Of(t.pass.batch * source * t.s.hidden),
                            .own = {past * row, t.dtype},
                            .cross = t.Of(source * row)});
  }
  Ref prompt = first ? t.TokenIds() : Ref();
  const Spec one_each = {{t.pass.batch}, DType::kI64};
  Ref decoder_input_ids = first ? t.eager.Op("zeros.default", one_each, {}) : t.TokenIds();
  Ref out = EncodeAndDecode(t, encoder, decoder, prompt, decoder_input_ids);
  prompt.Drop();
  decoder_input_ids.Drop();
  t.KeepOutput(std::move(out));
  t.KeepCrossed(std::move(caches));
  return OkStatus();
}

}  // namespace

Status ForwardT5(TorchWords& t) {
  if (t.model.shape.cross_positions > 0) return Generate(t);
  STOWAGE_RETURN_IF_ERROR(CheckIsPrefill(t));
  Ref input_ids = t.TokenIds();
  Ref out;
  {
    ModuleScope root(t, 0);
    const Stack encoder = {.umt5 = t.model.family == "umt5", .queries = t.pass.tokens, .keys = {t.pass.tokens}};
    out = Run(t, encoder, input_ids);
  }
  input_ids.Drop();
  t.KeepOutput(std::move(out));
  return OkStatus();
}

}  // namespace stowage::torch_eager
