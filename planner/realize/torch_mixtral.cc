// The sparse blocks of transformers' modeling_mixtral.py and modeling_qwen3_moe.py (5.23). Routers choose by an fp32
// softmax; Mixtral weighs the experts' outputs in fp32, Qwen 3 in the model's dtype. The layers around them are Llama's.
#include <tuple>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_experts.h"

namespace stowage::torch_eager {
namespace {

double Float(std::int64_t n) { return static_cast<double>(n); }

Routing Route(TorchWords& t, const Ref& hidden_states, bool normalize, bool narrow) {
  ModuleScope self(t, "gate");
  const ModuleId module = t.eager.Current();
  const std::int64_t experts = t.WeightShape(module).front();
  const std::int64_t width = t.WeightShape(module).back();
  Routing out;
  const AffineFlops flops = {2.0 * Float(t.Rows()) * Float(experts) * Float(width)};
  out.logits = t.eager.Op("mm.default", t.Of(t.Rows() * experts), {&hidden_states}, t.WeightsOf(module), flops);
  Ref probabilities;
  if (narrow) {  // Qwen: softmax(logits, dtype=float)
    probabilities = t.Softmax(out.logits);
  } else {  // Mixtral: softmax(logits.float())
    Ref wide = t.To(out.logits, DType::kF32);
    probabilities = t.Unary("_softmax.default", wide);
  }
  std::tie(out.weights, out.indices) = TopK(t, probabilities, t.Rows() * t.s.experts_per_token);
  if (normalize) {
    const Ref sum = t.eager.Op("sum.dim_IntList", {{t.Rows()}, DType::kF32}, {&out.weights});
    t.eager.Launch("div_.Tensor", {&out.weights, &sum}, {&out.weights}, {}, {Float(out.weights.spec().elements.base)});
  }
  if (narrow) out.weights = t.To(out.weights, t.dtype);
  probabilities.Drop();
  return out;
}

Ref Block(TorchWords& t, const Ref& x, bool normalize, bool narrow) {
  ModuleScope self(t, "mlp");
  Routing routing = Route(t, x, normalize, narrow);
  Ref out = RunExperts(t, "experts", x, routing, ExpertsText::kGated);
  routing.logits.Drop();
  routing.weights.Drop();
  routing.indices.Drop();
  return out;
}

}  // namespace

Ref MixtralMoe(TorchWords& t, const Ref& x) { return Block(t, x, /*normalize=*/true, /*narrow=*/false); }

Ref Qwen3Moe(TorchWords& t, const Ref& x) {
  return IsSparse(t, "mlp") ? Block(t, x, t.model.forward.router.normalized, /*narrow=*/true) : GatedMlp(t, x);
}

}  // namespace stowage::torch_eager
