#include "planner/realize/native.h"

#include <fmt/format.h>

#include <string>

#include "planner/realize/native_realizer.h"

namespace stowage {
namespace {

AffineBytes Shift(AffineBytes b, std::int64_t first, std::int64_t stride) {
  return {b.base + first * b.step, stride * b.step};
}

std::string OperandText(const Operand& o, const NativeProgram& program, const Model& model) {
  const auto affine = [](AffineBytes b) {
    return b.step == 0 ? fmt::format("{}", b.base) : fmt::format("{}+{}i", b.base, b.step);
  };
  std::string what;
  switch (o.source) {
    case Operand::Source::kActivation:
      what = program.activations[o.id].name;
      break;
    case Operand::Source::kWeight:
      what = model.tensors[o.id].name;
      break;
    case Operand::Source::kKeys:
      what = fmt::format("keys.{}", o.id);
      break;
    case Operand::Source::kValues:
      what = fmt::format("values.{}", o.id);
      break;
    case Operand::Source::kTokens:
      what = "tokens";
      break;
  }
  return fmt::format("{}[{}:{}]", what, affine(o.offset), affine(o.bytes));
}

}  // namespace

Result<NativeProgram> RealizeNative(const Model& model, const OpGraph& graph) { return Realizer(model, graph).Run(); }

bool DependsOnPass(const Kernel& kernel) {
  return kernel.past_step != 0 || kernel.flops.step != 0 || kernel.bytes.step != 0;
}

Kernel AtPasses(const Kernel& kernel, std::int64_t first, std::int64_t stride) {
  Kernel k = kernel;
  k.past = kernel.past + first * kernel.past_step;
  k.past_step = stride * kernel.past_step;
  k.flops = {kernel.flops.base + static_cast<double>(first) * kernel.flops.step,
             static_cast<double>(stride) * kernel.flops.step};
  k.bytes = Shift(kernel.bytes, first, stride);
  return k;
}

Operand AtPasses(const Operand& operand, std::int64_t first, std::int64_t stride) {
  return {operand.source, operand.id, Shift(operand.offset, first, stride), Shift(operand.bytes, first, stride)};
}

std::string Dump(const NativeProgram& program, const Model& model) {
  std::string out = program.pass.Name() + "\n";
  for (const NativeKernel& k : program.kernels) {
    out += fmt::format("{} {}{}", k.kernel.name, Name(k.kernel.kind), k.kernel.accumulate ? " +=" : "");
    if (k.kernel.function != Function::kNone) out += fmt::format(" {}", Name(k.kernel.function));
    for (const Operand& o : k.reads) out += " " + OperandText(o, program, model);
    out += " ->";
    for (const Operand& o : k.writes) out += " " + OperandText(o, program, model);
    out += "\n";
  }
  for (const Activation& a : program.activations) {
    out += fmt::format("activation {} {} [{}, {}]\n", a.name, a.bytes.value(), a.first, a.last);
  }
  return out;
}

}  // namespace stowage
