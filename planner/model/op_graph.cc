#include "planner/model/op_graph.h"

#include <fmt/format.h>

#include <array>

namespace stowage {
namespace {

std::string ValueList(const OpGraph& graph, const std::vector<ValueId>& ids) {
  std::string out;
  for (const ValueId id : ids) out += (out.empty() ? "" : ", ") + graph.values[id].name;
  return "(" + out + ")";
}

std::string Affine(std::int64_t base, std::int64_t step) {
  return step == 0 ? fmt::format("{}", base) : fmt::format("{}+{}i", base, step);
}

}  // namespace

std::string_view Name(OpKind kind) {
  static constexpr std::array<std::string_view, kOpKinds> kNames = {
      "embedding", "rms_norm",    "linear",         "rope",        "cache_append",     "attention",        "silu",
      "mul",       "add",         "last_token",     "argmax",      "layer_norm",       "rms_norm_1p",      "l2_norm",
      "add_rows",  "convolution", "prepend_row",    "split_heads", "split_halves",     "latent_attention", "gelu",
      "gelu_tanh", "quick_gelu",  "relu",           "tanh",        "other_activation", "clamped_swiglu",   "softcap",
      "scale",     "route",       "grouped_linear", "combine",     "first_token",      "select_token"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string Dump(const OpGraph& graph, const Model& model) {
  std::string out = graph.pass.Name() + "\n";
  for (const Op& op : graph.ops) {
    out += fmt::format("{} {} {} -> {}", op.name, Name(op.kind), ValueList(graph, op.inputs),
                       ValueList(graph, op.outputs));
    for (const TensorId t : op.weights) out += " w:" + model.tensors[t].name;
    if (op.window > 0) out += fmt::format(" window {}", op.window);
    if (op.touched < 1) out += fmt::format(" touched {:.3f}", op.touched);
    out += fmt::format(" flops {} weight_bytes {} activation_bytes {}\n",
                       Affine(static_cast<std::int64_t>(op.flops.base), static_cast<std::int64_t>(op.flops.step)),
                       Affine(op.weight_bytes.base, op.weight_bytes.step),
                       Affine(op.activation_bytes.base, op.activation_bytes.step));
  }
  return out;
}

}  // namespace stowage
