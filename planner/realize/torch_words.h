// What the forward passes of transformers' families are written with. Internal to planner/realize.
//
// A family's file is the Python text of its modeling_*.py, method by method, statement by statement:
//
//   Python                                            here
//   class LlamaMLP: def forward(self, x):             ModuleScope self(t, "mlp");
//     gate = self.gate_proj(x)                        Ref gate = t.Linear("gate_proj", x);
//     act = self.act_fn(gate)                         Ref act = t.Activation("act_fn", gate);
//
// A word that takes a module's name means a child of the module that runs. A child that the model lacks, or whose
// tensors do not fit, is remembered (status()); from there on the events mean nothing, but the walk goes on safely.
// Sizes come from the weights' shapes and from element counts of the operands.
// Long because it is one vocabulary, read as a whole.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/model/request.h"
#include "planner/realize/torch_eager.h"

namespace stowage::torch_eager {

// What a cache layer holds, and what its update() returns: all positions that this pass sees.
struct KeyValues {
  Ref keys, values;
  Ref scalar;  // DynamicSlidingWindowLayer's of its window, StaticLayer's of the positions so far
};

// What an encoder-decoder keeps beside its decoder's own cache: the encoder's result, which its caller hands to every
// pass, and each layer's keys and values of it, made in the first pass.
struct CrossCaches {
  Ref encoded;
  std::vector<KeyValues> layers;
};
struct CrossSizes {
  Spec encoded, own, cross;  // own, cross: keys or values of a layer
};

// The masks of a pass; absent ones are left to the kernel (is_causal) or not needed.
struct Masks {
  Ref full, sliding;
};

// cos and sin of a rotary embedding.
struct Rotary {
  Ref cos, sin;
};

// Of an attention: query heads, key-value heads, their width.
struct Heads {
  std::int64_t query, key, dim;
  std::int64_t groups() const { return query / (key > 0 ? key : 1); }
};

// Which dimensions rotate together: i and i + half, or neighbours (Cohere); the tables in the model's dtype, or in fp32
// (OLMo 2).
enum class RotaryForm { kHalves, kInterleaved, kWide };

class TorchWords {
 public:
  TorchWords(const Model& model, const Pass& pass, TorchProgram* program);

  const Model& model;
  const TransformerShape& s;
  const Pass& pass;
  const DType dtype;  // of the embedding table, as every parameter that computes
  Eager eager;
  std::vector<KeyValues> cache;  // by layer; default-constructed while a layer is not initialized

  // ---- modules
  ModuleId Child(std::string_view name);                       // must exist
  ModuleId FindChild(std::string_view name) const;             // or kNoId
  ModuleId FindPath(std::string_view path) const;              // below the running module, by a dotted path; or kNoId
  std::vector<ModuleId> Layers(std::string_view name);         // the members of a ModuleList, s.layers of them
  TensorId Own(ModuleId module, std::string_view name) const;  // a tensor the module owns, or kNoId
  Weights WeightsOf(ModuleId module) const;                    // its parameters, not its buffers
  const Shape& WeightShape(ModuleId module);                   // of the first parameter; {0, 0} when it has none
  void Fail(std::string what);                                 // the first failure is kept
  const Status& status() const { return status_; }
  Status Refuse(std::string_view what) const;  // "the torch runtime of model 'x': what"

  // ---- tensors
  std::int64_t Rows() const { return pass.batch * pass.tokens; }
  Count SeenCount() const { return {pass.past + pass.tokens, pass.past_step}; }  // positions after this pass
  // As a layer without a window returns them: a static one's are all there are.
  Count KeyCount() const { return pass.reserved > 0 ? Count{pass.reserved} : SeenCount(); }
  Spec Of(std::int64_t elements) const { return {{elements}, dtype}; }
  Ref To(const Ref& x, DType type);  // x.to(type): x itself when it has that dtype
  Ref Unary(std::string_view op, const Ref& x) { return eager.Op(op, x.spec(), {&x}); }
  // The result has the elements of `a`, and fp32 if one of them has.
  Ref Binary(std::string_view op, const Ref& a, const Ref& b) {
    const DType wide = b.spec().dtype == DType::kF32 ? DType::kF32 : a.spec().dtype;
    return eager.Op(op, {a.spec().elements, wide}, {&a, &b});
  }
  Ref Mul(const Ref& a, const Ref& b) { return Binary("mul.Tensor", a, b); }
  Ref Add(const Ref& a, const Ref& b) { return Binary("add.Tensor", a, b); }

  // ---- modules that compute
  Ref Embedding(std::string_view name, const Ref& ids);
  // nn.Linear and Conv1D of contiguous rows: mm, or addmm with a bias.
  Ref Linear(std::string_view name, const Ref& x);
  // LlamaRMSNorm over rows as wide as its weight; `wide`: OLMo 2's, which multiplies by the weight before it narrows.
  Ref RmsNorm(std::string_view name, const Ref& x, bool wide = false);
  Ref Identity(std::string_view name, const Ref& x);   // nn.Dropout and the like: the module runs, nothing is made
  Ref LayerNorm(std::string_view name, const Ref& x);  // nn.LayerNorm
  // ACT2FN by the class of the module (torch_activation.cc). `x` is handed over: Python's caller keeps no name for it.
  Ref Activation(std::string_view name, const Ref& x);  // ACT2FN by the class of the module (torch_activation.cc)

  // ---- what decoders share
  Ref TokenIds();     // the caller's input_ids
  Ref PositionIds();  // torch.arange(tokens) + past: one row for all sequences
  // LlamaRotaryEmbedding (torch_rope.cc, as Rotate()); Gemma 3 has a buffer for each kind of layer, Cohere interleaves.
  Rotary RotaryEmbedding(std::string_view name, const Ref& position_ids, std::string_view buffer = "inv_freq",
                         RotaryForm form = RotaryForm::kHalves);
  // (x * cos) + (rotate_half(x) * sin) over rows of `width`, the width of cos.
  Ref Rotate(const Ref& x, const Rotary& rotary, std::int64_t width);

  // ---- the cache (torch_attention.cc, as the rest of this part)
  std::int64_t Window(std::size_t layer) const { return s.windows.empty() ? 0 : s.windows[layer]; }
  // Before a decode pass: so many elements a position and sequence. A sliding layer sees its last window - 1 positions;
  // its storage is that of the prefill of pass.past positions.
  void AdoptCache(std::int64_t key_width, std::int64_t value_width);
  // past_key_values.update(key, value, layer): DynamicLayer and DynamicSlidingWindowLayer grow by concatenation;
  // StaticLayer and StaticSlidingWindowLayer (pass.reserved) write in place. Without a cache: what came in.
  KeyValues Append(std::size_t layer, const Ref& key, const Ref& value);
  // An encoder-decoder's caches before a decode pass, as they grow, and after a pass.
  void AdoptCrossed(CrossCaches& crossed, const CrossSizes& sizes);
  KeyValues AppendCrossed(KeyValues& cross, const Ref& key, const Ref& value);
  void KeepCrossed(CrossCaches crossed);           // in place of KeepCache
  Count CachedPositions(std::size_t layer) const;  // of a layer after update(), as the pass sees them

  // ---- masks and attention (torch_attention.cc)
  Heads heads() const { return {s.heads, s.kv_heads, s.head_dim}; }
  // create_causal_mask, create_sliding_window_causal_mask for sdpa: made only where is_causal does not do, and by each
  // decode pass over a static cache. CausalMask() is as wide as the first layer without a window, else the first one.
  Ref CausalMask();
  bool NeedsSlidingMask() const;
  Ref SdpaMask(std::int64_t window, Count keys);
  // ALL_ATTENTION_FUNCTIONS["sdpa"]: a fused kernel. `mask` may be empty.
  Ref SdpaAttention(const Ref& query, const KeyValues& kv, const Ref& mask, Heads heads);
  // F.scaled_dot_product_attention alone, with as many key-value heads as it is given.
  Ref FusedKernel(const Ref& query, const Ref& keys, const Ref& values, const Ref& mask, Heads heads);
  Ref EagerMask(std::int64_t window, Count keys);  // the same as a float table for every sequence
  // eager_attention_forward: whole tables of scores. The caller holds the weights, too.
  struct Attended {
    Ref output, weights;
  };
  Attended EagerAttention(const Ref& query, const KeyValues& kv, const Ref& mask, Heads heads);
  Ref Softmax(const Ref& scores);

  // ---- what the caller holds after the pass, in the order in which it would let go
  void KeepOutput(Ref ref);
  void KeepCache();            // of all layers
  void KeepModel();            // what the model made for its next passes
  void SetFirstPassDiffers();  // TorchProgram::own_text

 private:
  std::int64_t Reserved(std::size_t layer) const;  // positions of a static layer
  KeyValues AppendStatic(std::size_t layer, const Ref& key, const Ref& value);
  void NoteOffset(const Ref& first, const Ref& last);                  // of a mask: TorchProgram::offsets
  void LookAtLength(const Ref& position_ids);                          // torch_rope.cc
  void ChooseFrequencies(const Ref& position_ids, std::int64_t half);  // torch_rope.cc
  Ref RotateHalf(const Ref& x, std::int64_t width);
  Ref RepeatKv(const Ref& x, Heads heads);

  TorchProgram* program_;
  std::vector<Ref> held_by_model_;
  Status status_ = OkStatus();
  Shape no_shape_ = {0, 0};
};

// The forward of a child module, from its pre-hooks to its hooks: declare it before the locals of the method.
class ModuleScope {
 public:
  ModuleScope(TorchWords& words, std::string_view name) : ModuleScope(words, words.Child(name)) {}
  // `unread`: an argument that it does not use, which the hooks of accelerate copy to another GPU nevertheless.
  ModuleScope(TorchWords& words, ModuleId module, const Ref* unread = nullptr) : words_(words), module_(module) {
    words_.eager.Enter(module, unread);
  }
  ~ModuleScope() { words_.eager.Exit(module_); }
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  TorchWords& words_;
  const ModuleId module_;
};

}  // namespace stowage::torch_eager
