#include "planner/realize/torch_experts.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>

namespace stowage::torch_eager {
namespace {

double Float(std::int64_t n) { return static_cast<double>(n); }

std::pair<Ref, Ref> Sort(TorchWords& t, const Ref& x) {
  std::pair<Ref, Ref> out;
  out.first = t.eager.Empty("sort.default", x.spec());
  out.second = t.eager.Empty("sort.default", {x.spec().elements, DType::kI64});
  const double n = Float(x.spec().elements.base);
  t.eager.Launch("sort.default", {&x}, {&out.first, &out.second}, {}, {n * std::log2(n + 1)});
  return out;
}

// grouped_mm_experts_forward.
class GroupedMm {
 public:
  GroupedMm(TorchWords& t, ModuleId module, ExpertsText text, std::int64_t top_k)
      : t_(t), module_(module), text_(text), rows_(t.Rows()), picks_(rows_ * top_k) {}

  Ref Run(const Ref& hidden_states, const Routing& routing) {
    const std::int64_t hidden = hidden_states.spec().elements.base / rows_;
    if (!ReadShapes(hidden)) return hidden_states;
    const Spec picks = {{picks_}, DType::kI64};
    auto [expert_ids_g, perm] = Sort(t_, routing.indices);
    Ref rows = t_.eager.Op("floor_divide.default", picks, {&perm});
    Ref selected = t_.eager.Op("index.Tensor", t_.Of(picks_ * hidden), {&hidden_states, &rows});
    rows.Drop();
    Ref sample_weights =
        t_.eager.Op("index.Tensor", {{picks_}, routing.weights.spec().dtype}, {&routing.weights, &perm});
    Ref histc_input = t_.To(expert_ids_g, DType::kI32);
    Ref per_expert = t_.eager.Op("histc.default", {{experts_}, DType::kI32}, {&histc_input});
    Ref offsets = t_.Unary("cumsum.default", per_expert);
    Ref biases = Biases("gate_up_proj_bias", expert_ids_g, 2 * width_);
    Ref proj_out = Multiply("gate_up_proj", selected, 2 * width_, hidden, offsets);
    AddBiases(proj_out, biases);
    proj_out = text_ == ExpertsText::kGptOss ? ClampedSwiglu(proj_out) : GatedActivation(proj_out);
    if (text_ == ExpertsText::kGptOss) biases = Biases("down_proj_bias", expert_ids_g, hidden);
    proj_out = Multiply("down_proj", proj_out, hidden, width_, offsets);
    AddBiases(proj_out, biases);
    const DType wide = routing.weights.spec().dtype;  // fp32 weights widen the product
    const Spec weighted = {proj_out.spec().elements, wide};
    Ref weighted_out = t_.eager.Op("mul.Tensor", weighted, {&proj_out, &sample_weights});
    Ref inv_perm = t_.eager.Empty("empty_like.default", picks);
    Ref range = t_.eager.Op("arange.default", picks, {});
    t_.eager.Launch("index_put_.default", {&perm, &range}, {&inv_perm}, {}, {Float(picks_)});
    range.Drop();
    weighted_out = t_.eager.Op("index.Tensor", weighted, {&weighted_out, &inv_perm});
    const AffineFlops adds = {Float(weighted.elements.base)};
    Ref summed = t_.eager.Op("sum.dim_IntList", {{rows_ * hidden}, wide}, {&weighted_out}, {}, adds);
    Ref out = t_.To(summed, t_.dtype);
    for (Ref* local : {&expert_ids_g, &perm, &selected, &sample_weights, &histc_input, &per_expert, &offsets, &biases,
                       &proj_out, &weighted_out, &inv_perm, &summed}) {
      local->Drop();
    }
    return out;
  }

 private:
  const Tensor* Find(std::string_view name) {
    const TensorId id = t_.Own(module_, name);
    if (id != kNoId) return &t_.model.tensors[id];
    const std::string where = module_ == kNoId ? "the experts" : "'" + t_.model.modules[module_].name + "'";
    t_.Fail(fmt::format("has no weight '{}' in {}", name, where));
    return nullptr;
  }

  bool ReadShapes(std::int64_t hidden) {
    const Tensor* gate_up = Find("gate_up_proj");
    const Tensor* down = Find("down_proj");
    if (gate_up == nullptr || down == nullptr) return false;
    const bool transposed = text_ == ExpertsText::kGptOss;
    if (gate_up->shape.size() != 3 || down->shape.size() != 3) {
      t_.Fail(fmt::format("has experts of shape {}, not stacked matrices", FormatShape(gate_up->shape)));
      return false;
    }
    experts_ = gate_up->shape[0];
    width_ = down->shape[transposed ? 1 : 2];
    const Shape expected = transposed ? Shape{experts_, hidden, 2 * width_} : Shape{experts_, 2 * width_, hidden};
    const std::int64_t top_k = picks_ / rows_;
    if (gate_up->shape != expected || top_k < 1 || top_k > experts_) {
      t_.Fail(fmt::format("has experts of shape {} for {} a token of width {}", FormatShape(gate_up->shape), top_k,
                          hidden));
      return false;
    }
    for (const std::int64_t row : {hidden, width_}) {
      const Bytes bytes = SizeOf(t_.dtype, row);
      if (bytes.value() % 16 == 0) continue;
      t_.Fail(fmt::format("has experts with rows of {} B; torch's grouped_mm takes multiples of 16", bytes.value()));
      return false;
    }
    const double distinct = ExpectedExperts(experts_, top_k, rows_);
    read_share_ = distinct / Float(experts_);
    return true;
  }

  // self.gate_up_proj_bias[expert_ids_g]: a row for each pick.
  Ref Biases(std::string_view name, const Ref& expert_ids, std::int64_t width) {
    if (text_ != ExpertsText::kGptOss) return {};
    Weights weights;
    if (const TensorId id = t_.Own(module_, name); id != kNoId) {
      weights.tensors.push_back(id);
      weights.bytes = SizeOf(t_.dtype, picks_ * width);
    } else {
      t_.Fail(fmt::format("has no weight '{}'", name));
    }
    return t_.eager.Op("index.Tensor", t_.Of(picks_ * width), {&expert_ids}, weights);
  }

  void AddBiases(const Ref& out, const Ref& biases) {
    if (biases.id() == kNoId) return;
    t_.eager.Launch("add_.Tensor", {&out, &biases}, {&out}, {}, {Float(out.spec().elements.base)});
  }

  Ref Multiply(std::string_view name, const Ref& x, std::int64_t out, std::int64_t in, const Ref& offsets) {
    Weights weights;
    const TensorId id = t_.Own(module_, name);
    weights.tensors.push_back(id);
    const auto whole = static_cast<double>(t_.model.tensors[id].bytes().value());
    weights.bytes = Bytes(static_cast<std::int64_t>(whole * read_share_));
    const AffineFlops flops = {2.0 * Float(picks_) * Float(in) * Float(out)};
    return t_.eager.Op("_grouped_mm.default", t_.Of(picks_ * out), {&x, &offsets}, weights, flops);
  }

  // self.act_fn(gate) * up
  Ref GatedActivation(const Ref& gate_up) {
    const Ref gate = gate_up.View({picks_ * width_});
    const Ref up = gate_up.View({picks_ * width_});
    Ref act = t_.Activation("act_fn", gate);
    Ref out = t_.Mul(act, up);
    act.Drop();
    return out;
  }

  // GptOssExperts._apply_gate
  Ref ClampedSwiglu(const Ref& gate_up) {
    Ref gate = gate_up.View({picks_ * width_});
    Ref up = gate;
    gate = t_.Unary("clamp.default", gate);
    up = t_.Unary("clamp.default", up);
    Ref scaled = t_.Unary("mul.Tensor", gate);
    Ref sigmoid = t_.Unary("sigmoid.default", scaled);
    scaled.Drop();
    Ref glu = t_.Mul(gate, sigmoid);
    sigmoid.Drop();
    Ref shifted = t_.Unary("add.Tensor", up);
    Ref out = t_.Mul(shifted, glu);
    shifted.Drop();
    gate.Drop();
    up.Drop();
    glu.Drop();
    return out;
  }

  TorchWords& t_;
  const ModuleId module_;
  const ExpertsText text_;
  const std::int64_t rows_, picks_;
  std::int64_t experts_ = 0, width_ = 0;
  double read_share_ = 1;  // of the experts' weights
};

}  // namespace

double ExpectedExperts(std::int64_t experts, std::int64_t per_token, std::int64_t tokens) {
  return Float(experts) * (1 - std::pow(1 - Float(per_token) / Float(experts), Float(tokens)));
}

Status CheckRouter(const TorchWords& t) {
  if (t.model.forward.router.keeps_logits) return t.Refuse("output_router_logits is not realized yet");
  if (t.s.experts == 0 || (t.s.experts_per_token >= 1 && t.s.experts_per_token <= t.s.experts)) return OkStatus();
  return t.Refuse(fmt::format("{} of {} experts cannot be chosen", t.s.experts_per_token, t.s.experts));
}

bool IsSparse(const TorchWords& t, std::string_view block) {
  const ModuleId module = t.FindChild(block);
  if (module == kNoId) return false;
  for (const ModuleId child : t.model.modules[module].children) {
    if (t.model.modules[child].name.ends_with(".experts")) return true;
  }
  return false;
}

std::pair<Ref, Ref> TopK(TorchWords& t, const Ref& x, std::int64_t count) {
  std::pair<Ref, Ref> out;
  out.first = t.eager.Empty("topk.default", {{count}, x.spec().dtype});
  out.second = t.eager.Empty("topk.default", {{count}, DType::kI64});
  t.eager.Launch("topk.default", {&x}, {&out.first, &out.second}, {}, {Float(x.spec().elements.base)});
  return out;
}

Ref RunExperts(TorchWords& t, std::string_view name, const Ref& hidden_states, const Routing& routing,
               ExpertsText text) {
  const ModuleId module = t.Child(name);
  ModuleScope self(t, module);
  return GroupedMm(t, module, text, routing.indices.spec().elements.base / t.Rows()).Run(hidden_states, routing);
}

}  // namespace stowage::torch_eager
