// Rotary embeddings (modeling_rope_utils.py, transformers 5.23) in the words of torch_words.h.
#include <utility>

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {

// dynamic_frequency_update, as long as the length stays within max_position_embeddings: two comparisons that the host
// waits for. Longer ones are refused beforehand.
void TorchWords::LookAtLength(const Ref& position_ids) {
  Ref largest = eager.Op("max.default", {{1}, DType::kI64}, {&position_ids});
  Ref seq_len = Unary("add.Tensor", largest);
  largest.Drop();
  eager.Op("gt.Scalar", {{1}, DType::kBool}, {&seq_len}).Drop();
  eager.Op("lt.Scalar", {{1}, DType::kBool}, {&seq_len}).Drop();
  seq_len.Drop();
}

// longrope_frequency_update: both sets of frequencies are there, and one is copied over the buffer. The long one is made by
// the first pass and stays with the model.
void TorchWords::ChooseFrequencies(const Ref& position_ids, std::int64_t half) {
  const Spec frequencies = {{half}, DType::kF32};
  Ref largest = eager.Op("max.default", {{1}, DType::kI64}, {&position_ids});
  Ref seq_len = Unary("add.Tensor", largest);
  largest.Drop();
  if (pass.past == 0) {
    Ref ext_factors = eager.Op("_to_copy.default", frequencies, {});
    Ref range = eager.Op("arange.start_step", {{half}, DType::kI64}, {});
    Ref wide = To(range, DType::kF32);
    range.Drop();
    Ref inv_freq_shape = Unary("div.Tensor", wide);
    wide.Drop();
    Ref power = Unary("pow.Scalar", inv_freq_shape);
    Ref product = Mul(ext_factors, power);
    power.Drop();
    Ref inverse = Unary("reciprocal.default", product);
    Ref long_inv_freq = Unary("mul.Tensor", inverse);
    inverse.Drop();
    product.Drop();
    ext_factors.Drop();
    inv_freq_shape.Drop();
    eager.SetRole(long_inv_freq, TorchRole::kModel);
    held_by_model_.push_back(std::move(long_inv_freq));
  }
  Ref is_long = eager.Op("gt.Scalar", {{1}, DType::kBool}, {&seq_len});
  Ref inv_freq = eager.Op("where.self", frequencies, {&is_long});
  is_long.Drop();
  eager.Launch("copy_.default", {&inv_freq}, {}, {}, AffineFlops{});
  seq_len.Drop();
  inv_freq.Drop();
}

Rotary TorchWords::RotaryEmbedding(std::string_view name, const Ref& position_ids, std::string_view buffer_name,
                                   RotaryForm form) {
  const ModuleId module = FindChild(name);
  ModuleScope self(*this, module);
  const TensorId buffer = Own(module, buffer_name);
  std::int64_t half = (s.head_dim + 1) / 2;
  if (buffer != kNoId) half = Elements(model.tensors[buffer].shape);
  if (model.rope.type == "dynamic") LookAtLength(position_ids);
  if (model.rope.type == "longrope") ChooseFrequencies(position_ids, half);
  Ref positions = To(position_ids, DType::kF32);
  Weights inv_freq;  // a buffer: it stays on the device under every offload
  if (buffer != kNoId) {
    inv_freq.tensors.push_back(buffer);
    inv_freq.bytes = model.tensors[buffer].bytes();
  }
  Ref freqs = eager.Op("mul.Tensor", {{pass.tokens * half}, DType::kF32}, {&positions}, inv_freq);
  positions.Drop();
  const Spec both = {{pass.tokens * 2 * half}, DType::kF32};
  Ref emb = form == RotaryForm::kInterleaved ? eager.Op("clone.default", both, {&freqs})
                                             : eager.Op("cat.default", both, {&freqs, &freqs});
  Ref raw = Unary("cos.default", emb);
  Ref cos = Unary("mul.Tensor", raw);  // * attention_scaling, be it 1
  raw.Drop();
  raw = Unary("sin.default", emb);
  Ref sin = Unary("mul.Tensor", raw);
  raw.Drop();
  Rotary result;
  result.cos = To(cos, form == RotaryForm::kWide ? DType::kF32 : dtype);
  result.sin = To(sin, form == RotaryForm::kWide ? DType::kF32 : dtype);
  freqs.Drop();
  emb.Drop();
  cos.Drop();
  sin.Drop();
  return result;
}

Ref TorchWords::RotateHalf(const Ref& x, std::int64_t width) {
  const Count first = x.spec().elements / width * (width / 2);
  const Count second = x.spec().elements / width * (width - width / 2);
  const Ref x1 = x.View(first);
  const Ref x2 = x.View(second);
  Ref negative = Unary("neg.default", x2);
  Ref out = eager.Op("cat.default", x.spec(), {&negative, &x1});
  negative.Drop();
  return out;
}

Ref TorchWords::Rotate(const Ref& x, const Rotary& rotary, std::int64_t width) {
  Ref left = Mul(x, rotary.cos);
  Ref rotated = RotateHalf(x, width);
  Ref right = Mul(rotated, rotary.sin);
  rotated.Drop();
  Ref out = Add(left, right);
  left.Drop();
  right.Drop();
  return out;
}

}  // namespace stowage::torch_eager
