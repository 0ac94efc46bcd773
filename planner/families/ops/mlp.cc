#include "planner/families/ops/mlp.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "planner/base/check.h"

namespace stowage {
namespace {

ModuleId ActivationOf(const GraphBuilder& g, ModuleId module) {
  return g.FindAny(module, {"act_fn", "activation_fn", "act", "gelu_impl", "intermediate_act_fn"});
}

struct Halves {
  ValueId gate, up;
};

Halves Split(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId both) {
  const std::int64_t rows = g.value(both).rows, width = g.value(both).width / 2;
  const std::string& name = g.NameOf(module);
  const Halves out = {g.Activation(name + ".gate", rows, width), g.Activation(name + ".up", rows, width)};
  g.Emit(OpKind::kSplitHalves, name + ".split", module, layer, {both}, {out.gate, out.up}, 0).activation_bytes = {};
  return out;
}

ValueId Gated(GraphBuilder& g, ModuleId module, ModuleId activation, std::int32_t layer, Halves h) {
  const ValueId act = g.Activate(activation, layer, h.gate);
  return g.Elementwise(OpKind::kMul, g.NameOf(module) + ".mul", module, layer, {act, h.up}, 1);
}

// The tensors of one matrix of all experts: weights first, then what belongs to them.
struct ExpertMatrix {
  std::string name;
  std::vector<TensorId> weights;
  std::vector<TensorId> extras;  // scales, biases
  std::int64_t out = 0;          // width of a row's result
  std::int64_t parameters = 0;   // multiplied with a row by one expert
  bool bias = false;
};

void AddTensors(const GraphBuilder& g, ModuleId linear, ExpertMatrix& m) {
  const TensorId weight = g.OwnTensor(linear, "weight");
  STOWAGE_CHECK(weight != kNoId);
  m.weights.push_back(weight);
  m.out = g.tensor(weight).shape[0];
  m.parameters = Elements(g.tensor(weight).shape);
  for (const TensorId t : g.model().modules[static_cast<std::size_t>(linear)].tensors) {
    if (t != weight) m.extras.push_back(t);
  }
  m.bias = m.bias || g.OwnTensor(linear, "bias") != kNoId;
}

// `experts` is a list of modules with a Linear each.
ExpertMatrix Separate(const GraphBuilder& g, ModuleId experts, std::initializer_list<std::string_view> names) {
  ExpertMatrix m;
  for (const ModuleId expert : g.Children(experts)) {
    const ModuleId linear = g.FindAny(expert, names);
    if (m.name.empty()) m.name = g.NameOf(experts) + g.NameOf(linear).substr(g.NameOf(expert).size());
    AddTensors(g, linear, m);
  }
  return m;
}

// `experts` owns tensors [E, …] with all experts' matrices, perhaps packed in blocks with scales.
ExpertMatrix Stacked(const GraphBuilder& g, ModuleId experts, const std::string& name, std::int64_t out) {
  ExpertMatrix m;
  m.name = g.NameOf(experts) + "." + name;
  m.out = out;
  for (const char* suffix : {"", "_blocks", "_scales", "_bias"}) {
    const TensorId t = g.OwnTensor(experts, name + suffix);
    if (t == kNoId) continue;
    const Tensor& tensor = g.tensor(t);
    const std::string_view ending = suffix;
    (m.weights.empty() ? m.weights : m.extras).push_back(t);
    if (m.parameters == 0) {
      m.parameters = Elements(tensor.shape) / tensor.shape[0] * (ending == "_blocks" ? tensor.weights_per_element : 1);
    }
    m.bias = m.bias || ending == "_bias";
  }
  return m;
}

// Each of x's rows by each of its experts: `copies` rows come out of one row of x.
ValueId Grouped(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x, ValueId routes, const ExpertMatrix& m,
                std::int64_t copies, double touched) {
  const std::int64_t rows = g.value(x).rows * copies;
  const ValueId out = g.Activation(m.name + ".out", rows, m.out);
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(m.parameters) +
                       (m.bias ? static_cast<double>(rows * m.out) : 0);
  Op& op = g.Emit(OpKind::kGroupedLinear, m.name, module, layer, {x, routes}, {out}, flops);
  for (const TensorId t : m.weights) g.Use(op, t);
  for (const TensorId t : m.extras) g.Use(op, t);
  op.weight_bytes.base = std::llround(static_cast<double>(op.weight_bytes.base) * touched);
  op.touched = touched;
  return out;
}

// The router's product: a Linear, or a module that owns its weight. Biases that correct the choice belong to the route.
ValueId Route(GraphBuilder& g, ModuleId router, std::int32_t layer, ValueId x) {
  const TransformerShape& s = g.shape();
  const TensorId weight = g.OwnTensor(router, "weight"), bias = g.OwnTensor(router, "bias");
  const std::int64_t rows = g.value(x).rows;
  const ValueId logits = g.Activation(g.NameOf(router) + ".out", rows, s.experts);
  const std::int64_t outputs = rows * s.experts;
  Op& op = g.Emit(OpKind::kLinear, g.NameOf(router), router, layer, {x}, {logits},
                  2.0 * static_cast<double>(outputs) * static_cast<double>(g.value(x).width) +
                      (bias == kNoId ? 0 : static_cast<double>(outputs)));
  g.Use(op, weight);
  g.Use(op, bias);
  const ValueId routes =
      g.Add({g.NameOf(router) + ".routes", ValueKind::kActivation, DType::kI32, rows, 2 * s.experts_per_token});
  Op& route = g.Emit(OpKind::kRoute, g.NameOf(router) + ".route", router, layer, {logits}, {routes},
                     kActivationFlops * static_cast<double>(outputs));
  g.Use(route, g.OwnTensor(router, "e_score_correction_bias"));
  return routes;
}

// gate, up, activation: by matrices of modules, or by stacked ones; returns rows * experts_per_token rows.
ValueId ExpertsUp(GraphBuilder& g, ModuleId module, ModuleId experts, std::int32_t layer, ValueId x, ValueId routes,
                  double touched) {
  const std::int64_t k = g.shape().experts_per_token, width = g.shape().intermediate;
  if (!g.Children(experts).empty() && g.ClassOf(experts) == "ModuleList") {
    const ValueId gate = Grouped(g, experts, layer, x, routes, Separate(g, experts, {"gate_proj", "w1"}), k, touched);
    const ValueId up = Grouped(g, experts, layer, x, routes, Separate(g, experts, {"up_proj", "w3"}), k, touched);
    return Gated(g, experts, ActivationOf(g, g.Children(experts)[0]), layer, {gate, up});
  }
  const ExpertMatrix both = Stacked(g, experts, "gate_up_proj", 2 * width);
  const Halves h = Split(g, experts, layer, Grouped(g, experts, layer, x, routes, both, k, touched));
  const ModuleId act = ActivationOf(g, experts);
  if (act != kNoId) return Gated(g, module, act, layer, h);
  return g.Elementwise(OpKind::kClampedSwiglu, g.NameOf(experts) + ".act", experts, layer, {h.gate, h.up},
                       2 + kActivationFlops);
}

}  // namespace

double ExpectedExperts(std::int64_t experts, std::int64_t per_row, std::int64_t rows) {
  const double e = static_cast<double>(experts);
  return e * (1 - std::pow(1 - static_cast<double>(per_row) / e, static_cast<double>(rows)));
}

ValueId DenseMlp(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x) {
  const ModuleId down = g.FindAny(module, {"down_proj", "fc2", "c_proj", "fc_out", "dense_4h_to_h", "wo"});
  ValueId y;
  if (const ModuleId gate = g.FindAny(module, {"gate_proj", "wi_0"}); gate != kNoId) {
    const ValueId a = g.Linear(gate, layer, x);
    const ValueId b = g.Linear(g.FindAny(module, {"up_proj", "wi_1"}), layer, x);
    y = Gated(g, module, ActivationOf(g, module), layer, {a, b});
  } else if (const ModuleId both = g.Find(module, "gate_up_proj"); both != kNoId) {
    y = Gated(g, module, ActivationOf(g, module), layer, Split(g, module, layer, g.Linear(both, layer, x)));
  } else {
    const ModuleId up = g.FindAny(module, {"fc1", "c_fc", "fc_in", "dense_h_to_4h", "wi"});
    y = g.Activate(ActivationOf(g, module), layer, g.Linear(up, layer, x));
  }
  return g.Linear(down, layer, y);
}

bool IsMoe(const GraphBuilder& g, ModuleId module) { return g.Find(module, "experts") != kNoId; }

ValueId MoeMlp(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId normed, ValueId residual,
               const std::string& residual_name) {
  const TransformerShape& s = g.shape();
  const ModuleId experts = g.Find(module, "experts");
  const std::int64_t rows = g.value(normed).rows;
  const double touched = ExpectedExperts(s.experts, s.experts_per_token, rows) / static_cast<double>(s.experts);
  const ValueId routes = Route(g, g.FindAny(module, {"gate", "router"}), layer, normed);
  const ValueId inner = ExpertsUp(g, module, experts, layer, normed, routes, touched);
  const ExpertMatrix down = g.ClassOf(experts) == "ModuleList" ? Separate(g, experts, {"down_proj", "w2"})
                                                               : Stacked(g, experts, "down_proj", s.hidden);
  const ValueId parts = Grouped(g, experts, layer, inner, routes, down, 1, touched);
  const ValueId sum = g.Activation(g.NameOf(experts) + ".sum", rows, s.hidden);
  g.Emit(OpKind::kCombine, g.NameOf(experts) + ".combine", experts, layer, {parts, routes}, {sum},
         2.0 * static_cast<double>(g.value(parts).rows * s.hidden));
  const ModuleId shared = g.FindAny(module, {"shared_expert", "shared_experts"});
  const ValueId x =
      g.Residual(shared == kNoId ? residual_name : residual_name + ".routed", module, layer, residual, sum);
  if (shared == kNoId) return x;
  return g.Residual(residual_name, module, layer, x, DenseMlp(g, shared, layer, normed));
}

}  // namespace stowage
