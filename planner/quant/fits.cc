#include "planner/quant/fits.h"

#include <algorithm>
#include <array>

#include "planner/families/families.h"
#include "planner/quant/quantize.h"

namespace stowage {
namespace {

// One of each kind: two schemes of nearly the same size tell nobody more than one does.
constexpr std::array kShown = std::to_array<std::string_view>(
    {"q8_0", "int8", "fp8", "q6_k", "q5_k_m", "q4_k_m", "nf4", "nf4-double", "gptq", "mxfp4", "q3_k_m", "q2_k"});

}  // namespace

RequestMemory MemoryOf(const Model& model, const Request& request) {
  const TransformerShape& s = model.shape;
  const DType dtype = model.ComputeDType();
  const std::int64_t rows = request.batch * request.prompt_tokens;
  const std::int64_t widest = 2 * s.hidden + std::max(2 * s.intermediate, (s.heads + 2 * s.kv_heads) * s.head_dim);
  return {.kv = CacheBytes(model, request.CachePositions()) * request.batch,
          .activations = SizeOf(dtype, rows * widest),
          .logits = SizeOf(dtype, (request.all_logits ? rows : request.batch) * s.vocab)};
}

std::vector<FormatFit> FormatsThatFit(const Model& model, const Request& request, Bytes budget, Bytes reserved) {
  const Bytes beside = MemoryOf(model, request).total() + reserved;
  const auto fit = [&](std::string_view name, std::string_view about, Bytes weights) {
    return FormatFit{name, about, weights, weights + beside, weights + beside <= budget};
  };
  std::vector<FormatFit> out = {fit("auto", "as it is", model.WeightBytes())};
  const std::vector<TensorFacts> facts = FactsOf(model);
  for (const std::string_view name : kShown) {
    const QuantScheme& scheme = *FindScheme(name);
    const Result<Bytes> weights = QuantizedWeightBytes(model, facts, scheme);
    if (weights) out.push_back(fit(scheme.name, scheme.about, *weights));
  }
  std::stable_sort(out.begin() + 1, out.end(),
                   [](const FormatFit& a, const FormatFit& b) { return a.weights > b.weights; });
  return out;
}

}  // namespace stowage
