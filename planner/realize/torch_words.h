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

// What DynamicLayer holds.
struct KeyValues {
  Ref keys, values;
};

// cos and sin of a rotary embedding.
struct Rotary {
  Ref cos, sin;
};

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
  std::vector<ModuleId> Layers(std::string_view name);         // the members of a ModuleList, s.layers of them
  TensorId Own(ModuleId module, std::string_view name) const;  // a tensor the module owns, or kNoId
  Weights WeightsOf(ModuleId module) const;                    // its parameters, not its buffers
  const Shape& WeightShape(ModuleId module);                   // of the first parameter; {0, 0} when it has none
  void Fail(std::string what);                                 // the first failure is kept
  const Status& status() const { return status_; }
  Status Refuse(std::string_view what) const;  // "the torch runtime of model 'x': what"

  // ---- tensors
  std::int64_t Rows() const { return pass.batch * pass.tokens; }
  Count KeyCount() const { return {pass.past + pass.tokens, pass.past_step}; }  // positions after this pass
  Spec Of(std::int64_t elements) const { return {{elements}, dtype}; }
  Ref To(const Ref& x, DType type);  // x.to(type): x itself when it has that dtype
  Ref Unary(std::string_view op, const Ref& x) { return eager.Op(op, x.spec(), {&x}); }
  // The result has the elements and dtype of `a`.
  Ref Binary(std::string_view op, const Ref& a, const Ref& b) { return eager.Op(op, a.spec(), {&a, &b}); }
  Ref Mul(const Ref& a, const Ref& b) { return Binary("mul.Tensor", a, b); }
  Ref Add(const Ref& a, const Ref& b) { return Binary("add.Tensor", a, b); }

  // ---- modules that compute
  Ref Embedding(std::string_view name, const Ref& ids);
  Ref Linear(std::string_view name, const Ref& x);      // nn.Linear of contiguous rows: mm, or addmm with a bias
  Ref RmsNorm(std::string_view name, const Ref& x);     // LlamaRMSNorm over rows as wide as its weight
  Ref Activation(std::string_view name, const Ref& x);  // by the class of the module

  // ---- what decoders share
  Ref TokenIds();     // the caller's input_ids
  Ref PositionIds();  // torch.arange(tokens) + past: one row for all sequences
  Rotary RotaryEmbedding(std::string_view name, const Ref& position_ids);  // LlamaRotaryEmbedding
  Ref Rotate(const Ref& x, const Rotary& rotary);                          // (x * cos) + (rotate_half(x) * sin)
  void AdoptCache(std::int64_t width);  // before a decode pass: `width` elements a position and sequence
  // past_key_values.update(key, value, layer): DynamicLayer grows by concatenation. Without a cache: what came in.
  KeyValues Append(std::size_t layer, const Ref& key, const Ref& value);
  // scaled_dot_product_attention by a fused kernel, without a mask: the output, and the log-sum-exp that goes at once.
  Ref Attention(const Ref& query, const KeyValues& kv);

  // ---- what the caller holds after the pass, in the order in which it would let go
  void KeepOutput(Ref ref);
  void KeepCache();  // of all layers

 private:
  Ref RotateHalf(const Ref& x);
  void AppendTo(Ref& cached, const Ref& states);

  TorchProgram* program_;
  Status status_ = OkStatus();
  Shape no_shape_ = {0, 0};
};

// The forward of a child module, from its pre-hooks to its hooks: declare it before the locals of the method.
class ModuleScope {
 public:
  ModuleScope(TorchWords& words, std::string_view name) : ModuleScope(words, words.Child(name)) {}
  ModuleScope(TorchWords& words, ModuleId module) : words_(words), module_(module) { words_.eager.Enter(module); }
  ~ModuleScope() { words_.eager.Exit(module_); }
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  TorchWords& words_;
  const ModuleId module_;
};

}  // namespace stowage::torch_eager
