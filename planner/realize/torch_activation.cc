// transformers' activations.py (ACT2FN), by the class of the module.
#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {
namespace {

struct Kernel {
  std::string_view class_name;
  std::string_view op;
};

// Those that are one kernel.
constexpr auto kKernels = std::to_array<Kernel>({
    {"GELUActivation", "gelu.default"},
    {"GELUTanh", "gelu.default"},
    {"Hardswish", "hardswish.default"},
    {"LeakyReLU", "leaky_relu.default"},
    {"MishActivation", "mish.default"},
    {"ReLU", "relu.default"},
    {"ReLU6", "hardtanh.default"},
    {"SiLU", "silu.default"},
    {"SiLUActivation", "silu.default"},
    {"Tanh", "tanh.default"},
});

// 0.5 * x * (1.0 + tanh(c * (x + 0.044715 * pow(x, 3.0))))
Ref NewGelu(TorchWords& t, const Ref& x) {
  Ref half = t.Unary("mul.Tensor", x);
  Ref a = t.Unary("pow.Tensor_Scalar", x);
  const auto next = [&](std::string_view op) {
    Ref b = t.Unary(op, a);
    a = std::move(b);
  };
  next("mul.Tensor");
  Ref sum = t.Add(x, a);
  a = std::move(sum);
  next("mul.Tensor");
  next("tanh.default");
  next("add.Tensor");
  Ref out = t.Mul(half, a);
  half.Drop();
  a.Drop();
  return out;
}

// 0.5 * x * (1.0 + tanh(x * c * (1.0 + 0.044715 * x * x))); bloom_gelu_forward has its factors in another order
Ref FastGelu(TorchWords& t, const Ref& x) {
  Ref half = t.Unary("mul.Tensor", x);
  Ref left = t.Unary("mul.Tensor", x);
  Ref a = t.Unary("mul.Tensor", x);
  Ref b = t.Mul(a, x);
  a = std::move(b);
  b = t.Unary("add.Tensor", a);
  a = std::move(b);
  b = t.Mul(left, a);
  left.Drop();
  a = std::move(b);
  b = t.Unary("tanh.default", a);
  a = std::move(b);
  b = t.Unary("add.Tensor", a);
  a = std::move(b);
  Ref out = t.Mul(half, a);
  half.Drop();
  a.Drop();
  return out;
}

// x * sigmoid(1.702 * x)
Ref QuickGelu(TorchWords& t, const Ref& x) {
  Ref scaled = t.Unary("mul.Tensor", x);
  Ref gate = t.Unary("sigmoid.default", scaled);
  scaled.Drop();
  return t.Mul(x, gate);
}

Ref ReluSquared(TorchWords& t, const Ref& x) {
  Ref relu_applied = t.Unary("relu.default", x);
  return t.Unary("pow.Tensor_Scalar", relu_applied);
}

struct Composite {
  std::string_view class_name;
  Ref (*forward)(TorchWords& t, const Ref& x);
};

constexpr auto kComposites = std::to_array<Composite>({
    {"AccurateGELUActivation", NewGelu},
    {"BloomGelu", FastGelu},
    {"FastGELUActivation", FastGelu},
    {"NewGELUActivation", NewGelu},
    {"QuickGELUActivation", QuickGelu},
    {"ReLUSquaredActivation", ReluSquared},
});

}  // namespace

Ref TorchWords::Activation(std::string_view name, const Ref& x) {
  const ModuleId module = FindChild(name);  // a tree without it, or without its class: silu, no mark
  ModuleScope self(*this, module);
  const std::string_view kind = module == kNoId ? std::string_view() : model.modules[module].class_name;
  if (kind.empty()) return Unary("silu.default", x);
  for (const Kernel& kernel : kKernels) {
    if (kernel.class_name == kind) return Unary(kernel.op, x);
  }
  for (const Composite& composite : kComposites) {
    if (composite.class_name == kind) return composite.forward(*this, x);
  }
  Fail(fmt::format("computes with {}, which the torch runtime does not know yet", kind));
  return x;
}

}  // namespace stowage::torch_eager
