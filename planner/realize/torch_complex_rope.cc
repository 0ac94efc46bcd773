#include "planner/realize/torch_complex_rope.h"

namespace stowage::torch_eager {

Rotary ComplexRotaryEmbedding(TorchWords& t, const Ref& position_ids, bool /*sliding*/) {
  const ModuleId module = t.FindChild("rotary_emb");
  ModuleScope self(t, module);
  Weights inv_freq;  // a buffer: it stays on the device under every offload
  std::int64_t half = (t.s.rope_head_dim > 0 ? t.s.rope_head_dim : t.s.head_dim) / 2;
  if (const TensorId buffer = t.Own(module, "inv_freq"); buffer != kNoId) {
    inv_freq.tensors.push_back(buffer);
    inv_freq.bytes = t.model.tensors[buffer].bytes();
    half = Elements(t.model.tensors[buffer].shape);
  }
  Ref positions = t.To(position_ids, DType::kF32);
  Ref freqs = t.eager.Op("mul.Tensor", {{t.pass.tokens * half}, DType::kF32}, {&positions}, inv_freq);
  positions.Drop();
  const Spec complex = {freqs.spec().elements * 2, DType::kF32};
  Ref ones = t.Unary("ones_like.default", freqs);
  Ref polar = t.eager.Op("polar.default", complex, {&ones, &freqs});
  ones.Drop();
  Rotary out;
  out.cos = t.Unary("mul.Tensor", polar);  // * attention_scaling
  polar.Drop();
  freqs.Drop();
  return out;
}

std::pair<Ref, Ref> RotateComplex(TorchWords& t, const Ref& xq, const Ref& xk, const Ref& freqs_cis, ComplexText text) {
  Ref complex_q = t.To(xq, DType::kF32);
  Ref complex_k = t.To(xk, DType::kF32);
  std::pair<Ref, Ref> out;
  Ref xq_out = t.Mul(complex_q, freqs_cis);
  if (text == ComplexText::kOneByOne) {
    out.first = t.To(xq_out, t.dtype);
    xq_out.Drop();
  }
  Ref xk_out = t.Mul(complex_k, freqs_cis);
  if (text == ComplexText::kTogether) out.first = t.To(xq_out, t.dtype);
  out.second = t.To(xk_out, t.dtype);
  if (text == ComplexText::kOneByOne) xk_out.Drop();
  for (Ref* local : {&complex_q, &complex_k, &xq_out, &xk_out}) local->Drop();
  return out;
}

}  // namespace stowage::torch_eager
