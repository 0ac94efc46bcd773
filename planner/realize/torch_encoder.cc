#include "planner/realize/torch_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace stowage::torch_eager {
namespace {

double Float(std::int64_t n) { return static_cast<double>(n); }

}  // namespace

Status CheckIsPrefill(const TorchWords& t) {
  if (t.pass.past == 0 && t.pass.past_step == 0) return OkStatus();
  return t.Refuse(
      fmt::format("an encoder caches nothing, so there is no pass over {} cached positions; a prefill is "
                  "its only one",
                  t.pass.past));
}

Ref FusedAttention(TorchWords& t, const Ref& query, const Ref& key, const Ref& value, const Ref& mask,
                   AttentionSize size) {
  Ref out = t.eager.Empty("empty.memory_format", query.spec());
  Ref lse = t.eager.Empty("empty.memory_format", {{t.pass.batch * size.heads * size.queries}, DType::kF32});
  // Two products of 2 flops for each dimension of a head and pair of query and key.
  const double n = Float(size.queries);
  const double hidden = size.causal ? n * (n - 1) / 2 : 0;
  const double per_pair = 4.0 * Float(query.spec().elements.base) / n;
  const AffineFlops flops = {per_pair * (n * Float(size.keys.base) - hidden), per_pair * n * Float(size.keys.step)};
  if (mask.id() == kNoId) {
    t.eager.Launch("scaled_dot_product_attention", {&query, &key, &value}, {&lse, &out}, {}, flops);
  } else {
    t.eager.Launch("scaled_dot_product_attention", {&query, &key, &value, &mask}, {&lse, &out}, {}, flops);
  }
  return out;
}

Ref PlainMlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref hidden_states = t.Linear("fc1", x);
  Ref next = t.Activation("activation_fn", hidden_states);
  hidden_states = std::move(next);
  next = t.Linear("fc2", hidden_states);
  hidden_states = std::move(next);
  return hidden_states;
}

std::vector<ModuleId> Members(TorchWords& t, std::string_view list) {
  const ModuleId module = t.Child(list);
  return module == kNoId ? std::vector<ModuleId>() : t.model.modules[module].children;
}

Ref Convolution(TorchWords& t, std::string_view name, const Ref& x, std::int64_t positions) {
  const ModuleId module = t.Child(name);
  ModuleScope self(t, module);
  const Shape& shape = t.WeightShape(module);  // [out, in, sides ...]
  const std::int64_t out = t.pass.batch * positions * shape.front();
  const double taps = Float(Elements(shape) / std::max<std::int64_t>(1, shape.front()));
  return t.eager.Op("convolution.default", t.Of(out), {&x}, t.WeightsOf(module), AffineFlops{2.0 * Float(out) * taps});
}

}  // namespace stowage::torch_eager
